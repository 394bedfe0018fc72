"""Token text: escaped, shaded, outlined."""

from analysis.sinks.step_inputs import TokenState
from pages.parts.tokens import changed_text, confidence_color, legend, token_text

GIVEN, COMMITTED, ACCEPTED, UNDECIDED = (
    TokenState.GIVEN,
    TokenState.COMMITTED,
    TokenState.ACCEPTED,
    TokenState.UNDECIDED,
)


def test_markup_in_tokens_is_escaped():
    html = token_text(["<img src=x onerror=alert(1)>", '"&'], [COMMITTED, COMMITTED], [0.9, None], [False, True])
    assert "<img" not in html
    assert "&lt;img" in html
    assert "&quot;&amp;" in html


def test_classes_follow_what_a_token_is():
    html = token_text(["a", "[MASK]", "b"], [GIVEN, UNDECIDED, COMMITTED], [None, None, 0.8], [False, False, True])
    prompt, mask, word = html.split("</span>")[:3]
    assert 'class="prompt"' in prompt
    assert 'class="mask"' in mask
    assert 'class="new"' in word
    assert confidence_color(0.8) in word
    assert "confidence 80 %" in word


def test_padding_is_left_out():
    assert token_text(["a", ""], [GIVEN, TokenState.ABSENT], [None, None], [False, False]).count("<span") == 1


def test_shades_differ_between_sure_and_unsure():
    assert len({confidence_color(value) for value in (0.05, 0.4, 0.6, 0.99)}) == 4


def test_changed_tokens_are_shaded_and_escaped():
    same, changed = changed_text(["<b>", "x\n"], [True, False]).split("</span>")[:2]
    assert "changed" not in same
    assert "&lt;b&gt;" in same
    assert 'class="changed">x⏎' in changed


def test_tokens_left_out_are_marked_where_they_were():
    html = changed_text(["a", "b"], [True, True], missing=[0, 2, 1])
    first, gap, second, end, _ = html.split("</span>")
    assert "gap" not in first and "gap" not in second
    assert 'aria-label="2 tokens left out here"' in gap and 'title="1 token left out here"' in end
    assert "gap" not in changed_text(["a"], [True])


def test_drafts_and_the_open_block_are_shown():
    html = token_text(["a", "b", "c"], [GIVEN, ACCEPTED, UNDECIDED], [None, 0.9, None], [False] * 3, open_block=(1, 3))
    prompt, edge, draft, mask, last_edge = html.split("</span>")[:5]
    assert 'class="prompt"' in prompt
    assert all('class="edge"' in border for border in (edge, last_edge))
    assert 'class="accepted"' in draft and "may be taken back" in draft and 'class="mask"' in mask
    assert 'class="edge"' not in token_text(["a"], [GIVEN], [None], [True])


def test_a_legend_names_blocks_where_there_are_some():
    assert "open block" in legend(blocks=True) and "open block" not in legend()
