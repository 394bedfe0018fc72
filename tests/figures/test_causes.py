"""Figures of what sinks do."""

import numpy as np
import pytest

from analysis.figures.causes import (
    DifferenceRow,
    LevelRow,
    channel_map,
    control_differences,
    effect_intervals,
    filled_steps,
    interval_curve,
    lens_map,
    levels_with_differences,
)


def test_effects_are_filled_where_they_are_shown():
    figure = effect_intervals(
        ["a", "b<b>"],
        ["blocked", "held"],
        np.array([0.5, 0.1]),
        np.array([0.3, -0.2]),
        np.array([0.8, 0.3]),
        [True, False],
        "KL divergence from the untouched prediction (nats)",
    )
    first, second = figure.data
    assert max(len(line) for line in figure.layout.xaxis.title.text.split("<br>")) <= 24
    assert first.marker.symbol == ("circle",) and second.marker.symbol == ("circle-open",)
    np.testing.assert_allclose([*first.error_x.array, *first.error_x.arrayminus], [0.3, 0.2])
    long = effect_intervals(
        ["one of many words, that take three lines or more"] * 2, ["a"] * 2, *np.zeros((3, 2)), [True] * 2, ""
    )
    assert long.layout.height > figure.layout.height, "names of several lines have room"
    assert second.text == ("b&lt;b&gt;",) and figure.layout.yaxis.ticktext == ("a", "b&lt;b&gt;")


def test_a_difference_stands_beside_the_line_of_none_with_its_interval_and_its_levels_in_the_hover():
    rows = [
        DifferenceRow("as many", "sinks", 0.3, 0.1, 0.5, True, "+0.3 nats [+0.1, +0.5]", "0.5, control 0.2"),
        DifferenceRow("equal <i>", "sinks", 0.1, -0.1, 0.3, False, "+0.1 nats [-0.1, +0.3]", "0.5, control 0.4"),
    ]
    figure = control_differences(rows, "nats")
    (dots,) = figure.data
    ends = np.array(dots.x) - dots.error_x.arrayminus, np.array(dots.x) + dots.error_x.array
    np.testing.assert_allclose(ends, [[0.1, -0.1], [0.5, 0.3]], atol=1e-12)
    assert dots.marker.symbol == ("circle", "circle-open") and "control 0.2" in dots.text[0]
    line, first, second = (note.text for note in figure.layout.annotations)
    assert line == "same as control" and "equal &lt;i&gt;" in second and "+0.3 nats" in first
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes} == {(0, 0)}
    low, high = figure.layout.xaxis.range
    assert low < -0.1 and high > 0.5, "the line and every interval are in view"


def test_levels_stand_with_their_intervals_and_the_difference_from_the_first_in_words():
    rows = [
        LevelRow("sinks <i>", "3.1 tokens", 60.0, 50.0, 70.0, True, "sinks minus control"),
        LevelRow("as many", "3.1 tokens", 30.0, 20.0, 40.0, True, "+30 [+20, +40]"),
        LevelRow("equal", "7.5 tokens", 55.0, np.nan, np.nan, False, "+5 [-5, +15]"),
        LevelRow("nats", "7.5 tokens", 55.0, np.nan, np.nan, False, "+0.044 [+0.033, +0.055]"),
    ]
    figure = levels_with_differences(rows, "changed tokens (of 100)")
    first, others = figure.data
    assert list(first.x) == [60] and list(others.x) == [30, 55, 55] and first.marker.color != others.marker.color
    assert others.marker.symbol == ("circle", "circle-open", "circle-open")
    np.testing.assert_allclose([*others.error_x.array, *others.error_x.arrayminus], [10, 0, 0, 10, 0, 0])
    texts = [note.text for note in figure.layout.annotations]
    assert (
        texts[0] == "sinks &lt;i&gt;<br>3.1 tokens"
        and "<b>55</b><br>+5 [-5, +15]" in texts
        and "<b>55</b><br>+0.044<br>[+0.033, +0.055]" in texts
        and {"<b>60</b>", "<b>sinks minus<br>control</b>"} <= {*texts}
    ), "a level stands beside its own row"
    beside = [note for note in figure.layout.annotations if note.x == 1]
    assert {(note.xref, note.xanchor) for note in beside} == {("paper", "left")} and figure.layout.margin.r > 100
    low, high = figure.layout.xaxis.range
    assert low == 0 and 80 < high < 82 and figure.layout.xaxis.dtick == 20, "the axis ends at a tick beyond 70"
    nats = levels_with_differences([LevelRow("sinks", "", 0.13, 0.12, 0.15, True, "")], "nats").layout.xaxis
    assert nats.dtick == pytest.approx(0.05) and nats.range[1] == pytest.approx(0.15, rel=0.02)
    assert levels_with_differences([LevelRow("sinks", "", 0.0, 0.0, 0.0, True, "")], "nats").layout.xaxis.range[1] > 0


def test_positions_are_joined_where_both_filled_them():
    filled = np.array([[-1, 0, 2, 3], [-1, 1, 2, -1]])
    figure = filled_steps(filled, np.array([False, True, False, True]), ["p", "a", "b", "c"])
    differ, same, first, second = figure.data
    assert list(differ.x[:2]) == [1, 1] and list(differ.y[:2]) == [0, 1] and list(same.x[:2]) == [2, 2]
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
