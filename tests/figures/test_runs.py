"""The figure of runs: a row per setting with its interval, runs as dots, and levels with their names."""

import numpy as np

from analysis.figures.runs import Scores, accuracy_by_setting
from analysis.figures.style import METHOD_LOOKS, REFERENCE


def test_a_setting_has_its_interval_its_runs_and_the_colour_of_its_method():
    rows = [
        Scores("50 %", "Without discount", "", 0.9, 0.85, 0.95, (0.89, 0.91)),
        Scores("50 %", "With <b>", "sink-wanda", 0.91, np.nan, np.nan, ()),
        Scores("70 %", "With discount", "sink-wanda", 0.72, 0.7, 0.74, ()),
    ]
    heads = {"": ("weights removed", "with − without"), "50 %": ("+1.0 [−9, <9]",)}
    figure = accuracy_by_setting(rows, 0.93, 0.375, heads)
    first, runs, second, third = figure.data
    np.testing.assert_allclose((first.x[0], first.error_x.array[0]), (90, 5), rtol=1e-5)
    assert second.error_x.array is None and list(second.text) == ["91.0"]
    assert (first.marker.color, second.marker.color) == (REFERENCE, METHOD_LOOKS["sink-wanda"].color)
    assert list(runs.x) == [89, 91] and all(0 < y < 0.5 for y in runs.y)
    assert [trace.xaxis for trace in figure.data] == ["x", "x", "x", "x2"], "a panel for each sparsity"
    assert [trace.y[0] for trace in (first, second, third)] == [0, 1, 2], "a row for each name"
    assert list(figure.layout.yaxis.ticktext) == ["Without discount", "With &lt;b&gt;", "With discount"]
    assert [note.text for note in figure.layout.annotations] == [
        "<b>50 %</b><br>+1.0 [−9, &lt;9]",
        "<b>70 %</b>",
        "weights removed<br>with − without",
        "dense 93.0 %",
        "dense",
    ]
    low, high = figure.layout.xaxis.range
    assert 60 < low < 70 and 95 <= high <= 101 and figure.layout.xaxis2.range == (low, high)


def test_many_groups_stand_in_several_lines_of_panels():
    rows = [Scores(f"{at} %", "Magnitude", "magnitude", 0.9 - at / 100, np.nan, np.nan, ()) for at in range(10, 60, 10)]
    figure = accuracy_by_setting(rows, None, None)
    assert [trace.yaxis for trace in figure.data] == ["y", "y2", "y3", "y4", "y5"]
    assert figure.layout.yaxis5.domain[1] < figure.layout.yaxis.domain[0]


def test_chance_is_drawn_where_an_accuracy_comes_near():
    rows = [Scores("", "No pruning", "none", 0.4, 0.3, 0.5, ())]
    names = [note.text for note in accuracy_by_setting(rows, 0.42, 0.375).layout.annotations]
    assert {"dense 42.0 %", "chance 37.5 %"} <= set(names)
    assert [note.text for note in accuracy_by_setting(rows, None, None).layout.annotations] == ["<b></b>"]
