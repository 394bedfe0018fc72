"""Token text: escaped, shaded, outlined."""

from analysis.sinks.token_states import TokenState
from pages.parts.tokens import changed_text, confidence_color, legend, token_text

GIVEN, COMMITTED, ACCEPTED, UNDECIDED = (
    TokenState.GIVEN,
    TokenState.COMMITTED,
    TokenState.ACCEPTED,
    TokenState.UNDECIDED,
)


def test_markup_in_tokens_is_escaped():
    html = token_text(["<img src=x onerror=alert(1)>", '"&'], [COMMITTED, COMMITTED], [0.9, None])
    assert "<img" not in html
    assert "&lt;img" in html
    assert "&quot;&amp;" in html


def test_classes_follow_what_a_token_is():
    html = token_text(
        ["a", "[MASK]", "b"], [GIVEN, UNDECIDED, COMMITTED], [None, None, 0.8], sinks=[False, True, False]
    )
    prompt, mask, word = html.split("</span>")[:3]
    assert 'class="prompt"' in prompt
    assert 'class="mask sink"' in mask
    assert "attention sink" in mask
    assert confidence_color(0.8) in word
    assert "confidence 80%" in word


def test_padding_is_left_out():
    assert token_text(["a", ""], [GIVEN, TokenState.ABSENT], [None, None]).count("<span") == 1


def test_shades_differ_between_sure_and_unsure():
    assert len({confidence_color(value) for value in (0.05, 0.4, 0.6, 0.99)}) == 4


def test_changed_tokens_are_shaded_and_escaped():
    same, changed = changed_text(["<b>", "x\n"], [True, False]).split("</span>")[:2]
    assert "changed" not in same
    assert "&lt;b&gt;" in same
    assert "class=changed>x⏎" in changed


def test_what_may_go_what_changed_and_the_open_block_are_shown():
    html = token_text(
        ["a", "b", "[MASK]", "d"],
        [GIVEN, ACCEPTED, UNDECIDED, COMMITTED],
        [None, 0.9, None, 0.8],
        before={2: "<c>", 3: "x"},
        open_block=(1, 4),
    )
    prompt, edge, draft, taken, edited, last_edge = html.split("</span>")[:6]
    assert 'class="prompt"' in prompt
    assert all('class="edge"' in border for border in (edge, last_edge))
    assert 'class="accepted"' in draft and "may be taken back" in draft
    assert 'class="mask taken"' in taken and "taken back, was ‘&lt;c&gt;’" in taken
    assert 'class="edited"' in edited and "edited, was ‘x’" in edited
    assert 'class="edge"' not in token_text(["a"], [GIVEN], [None])


def test_a_legend_names_what_there_is():
    assert "may be taken back" not in legend() and "edited" not in legend() and "open block" not in legend()
    whole = legend(accepted=True, changed=True, blocks=True)
    assert all(word in whole for word in ("may be taken back", "edited", "taken back", "open block", "attention sink"))
