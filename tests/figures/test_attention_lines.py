"""One token's attention as lines over the text."""

import numpy as np

from analysis.figures import attention_lines as lines

LABELS = ["the", "cat", "<b>sat</b>", "\n", ".", "a very long token of text"]
NAMES = [f"‘{at}’ at {at}" for at in range(len(LABELS))]
TITLES = ["layer 0, head 1", "layer 2, head 3"]


def test_lines_lead_to_what_is_paid_more_than_uniform_attention_would():
    shares = np.array([[0.05, 0.5, 0.3, 0.05, 0.05, 0.05], [1 / 6] * 6])
    figure = lines.attention_lines(shares, TITLES, LABELS, NAMES, 2, 1 / 6)
    marks = {trace.name: trace for trace in figure.data if trace.mode == "markers"}
    assert [row[1] for row in marks[TITLES[0]].customdata] == NAMES[1:3]
    assert [row[0] for row in marks[TITLES[0]].customdata] == ["50.0%", "30.0%"]
    assert list(marks[TITLES[0]].marker.symbol) == ["circle", "circle-open"], "what it pays itself is a ring"
    assert len(marks[TITLES[1]].x) == 0, "of an even head there is nothing to draw"
    curves = [trace for trace in figure.data if trace.mode == "lines"]
    assert len(curves) == 1 and curves[0].line.width > 3
    text = figure.data[-1]
    assert curves[0].x[0] == text.x[2] and curves[0].x[-1] == text.x[1]


def test_tokens_are_shown_as_they_are_and_lines_of_text_are_no_longer_than_a_phone_has_room_for():
    figure = lines.attention_lines(np.full((1, 6), 1 / 6), TITLES[:1], LABELS, NAMES, 0, 1)
    text = figure.data[-1].text
    assert text[0] == "<b>the</b>" and text[2] == "&lt;b&gt;sat&lt;/b&gt;" and text[3] == "⏎" and text[5].endswith("…")
    words = ["word"] * 60
    x, y = lines.placed(words)
    assert x.max() + 2 <= lines.LINE and np.unique(y).tolist() == list(np.arange(y.min(), 1))
    assert all(np.diff(x[y == line]).min() >= 5 for line in np.unique(y)), "no word stands on another"


def test_of_a_head_the_strongest_are_drawn():
    row = np.linspace(0, 1, 30) / 14.5
    assert lines.strongest(row, 0.01).tolist() == list(range(29, 29 - lines.MOST_LINES, -1))
    assert not len(lines.strongest(np.zeros(4), 0.0))
