"""Token text: escaped, shaded, outlined."""

from pages.parts.tokens import changed_text, confidence_color, token_text


def test_markup_in_tokens_is_escaped():
    html = token_text(["<img src=x onerror=alert(1)>", '"&'], [False, False], [0.9, None], 0)
    assert "<img" not in html
    assert "&lt;img" in html
    assert "&quot;&amp;" in html


def test_classes_follow_what_a_token_is():
    html = token_text(["a", "[MASK]", "b"], [False, True, False], [None, None, 0.8], 1, sinks=[False, True, False])
    prompt, mask, word = html.split("</span>")[:3]
    assert 'class="prompt"' in prompt
    assert 'class="mask sink"' in mask
    assert "attention sink" in mask
    assert confidence_color(0.8) in word
    assert "confidence 80%" in word


def test_padding_is_left_out():
    assert token_text(["a", ""], [False, False], [None, None], 2).count("<span") == 1


def test_shades_differ_between_sure_and_unsure():
    assert len({confidence_color(value) for value in (0.05, 0.4, 0.6, 0.99)}) == 4


def test_changed_tokens_are_shaded_and_escaped():
    same, changed = changed_text(["<b>", "x\n"], [True, False]).split("</span>")[:2]
    assert "changed" not in same
    assert "&lt;b&gt;" in same
    assert "class=changed>x⏎" in changed
