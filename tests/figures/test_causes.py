"""Figures of what sinks do."""

import numpy as np

from analysis.figures.causes import channel_map, filled_steps, interval_curve, lens_map


def test_positions_are_joined_where_both_filled_them():
    filled = np.array([[-1, 0, 2, 3], [-1, 1, 2, -1]])
    figure = filled_steps(filled, np.array([False, True, False, True]), ["p", "a", "b", "c"])
    differ, same, first, second = figure.data
    assert list(differ.x[:2]) == [1, 1] and list(differ.y[:2]) == [0, 1] and list(same.x[:2]) == [2, 2]
    assert (first.name, second.name) == ("this text", "the text beside")
    assert list(first.x) == [1, 2, 3] and list(second.x) == [1, 2]


def test_a_band_is_drawn_only_where_there_is_an_interval():
    band, line = interval_curve(np.array([1.0, 2.0]), np.array([0.5, np.nan]), np.array([1.5, np.nan]), "tokens").data
    assert len(band.x) == 2 and list(line.y) == [1, 2]


def test_channels_and_lens_mark_sinks_and_show_tokens_as_text():
    ratio = np.array([[10.0, 1000.0], [5.0, 1.0]])
    heat, _ = channel_map(
        np.array([[4.0, 44.0], [20.0, 9.0]]), np.array([[1, 2], [3, 4]]), ratio > 50, [["a", "b"], ["c", "d"]]
    ).data
    assert heat.colorbar.ticktext == ("5", "10", "20")
    heat, marks = channel_map(ratio, np.array([[1, 2], [3, 4]]), ratio > 50, [["<i>", "b"], ["c", "d"]]).data
    np.testing.assert_allclose(heat.z, np.log10(ratio).T)
    assert heat.text[0][0] == "&lt;i&gt;" and (list(marks.x), list(marks.y)) == ([0], [1])
    figure = lens_map(np.array([[0.1, 0.2]]), [["<i>", "b"]], ["0 ‘a’", "3 ‘<b>’"], np.array([False, True]))
    heat, marks = figure.data[:2]
    assert heat.text[0][0] == "&lt;i&gt;" and heat.customdata[0][1] == "3 ‘&lt;b&gt;’"
    assert list(marks.x) == [heat.x[1]] and list(heat.x) == list(heat.customdata[0])
    # Plotly leaves out names of categories that have no room, on a phone, unless it is given the ticks.
    assert figure.layout.xaxis.type == "category" and figure.layout.xaxis.tickvals is None
    assert figure.layout.yaxis.tickvals == (0,)
    many = lens_map(np.zeros((1, 60)), [["a"] * 60], [f"{at} ‘a’" for at in range(60)], np.zeros(60, bool)).data[0]
    assert (heat.xgap, many.xgap) == (1, 0), "gaps between many cells would be as wide as they are on a phone"
