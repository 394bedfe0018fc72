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
    figure = accuracy_by_setting(rows, 0.93, 0.375)
    first, second, _, runs = figure.data
    np.testing.assert_allclose((first.x[0], first.error_x.array[0]), (90, 5), rtol=1e-5)
    assert second.error_x.array is None
    assert (first.marker.color, second.marker.color) == (REFERENCE, METHOD_LOOKS["sink-wanda"].color)
    assert list(runs.x) == [89, 91] and all(0 < y < 0.5 for y in runs.y)
    assert list(figure.layout.yaxis.ticktext) == [
        "<b>50 %</b>  Without discount",
        "With &lt;b&gt;",
        "<b>70 %</b>  With discount",
    ]
    assert [note.text for note in figure.layout.annotations] == ["dense 93.0 %"], "chance is far beneath"
    assert 60 < figure.layout.xaxis.range[0] < 70 and figure.layout.xaxis.range[1] >= 100
    assert figure.layout.xaxis.ticksuffix == " %"


def test_names_of_levels_that_are_close_stand_on_both_sides():
    rows = [Scores("", "No pruning", "none", 0.4, 0.3, 0.5, ())]
    names = accuracy_by_setting(rows, 0.42, 0.375).layout.annotations
    assert [name.xanchor for name in names] == ["left", "right"]
    assert not accuracy_by_setting(rows, None, None).layout.annotations
