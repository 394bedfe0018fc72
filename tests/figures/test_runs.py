"""The figure of runs: a row per setting with its cost and interval, runs as dots, and levels with their names."""

from dataclasses import replace

import numpy as np

from analysis.figures.pruning import Scores, accuracy_by_setting
from analysis.figures.style import METHOD_LOOKS, REFERENCE

MARK = f'<span style="color:{METHOD_LOOKS["sink-wanda"].color}">◆</span> '
LINE = 15.6  # pixels of a line of text, as Plotly sets it


def test_a_setting_has_its_cost_its_interval_its_runs_and_the_colour_of_its_method():
    rows = [
        Scores(
            "50 %",
            "Without discount",
            "noised text",
            "",
            0.9,
            0.85,
            0.95,
            (0.89, 0.91),
            "90.0 %",
            "−3.0 [−8, +2]",
            "<9",
        ),
        Scores("50 %", "With <b>", "", "sink-wanda", 0.91, np.nan, np.nan, (), "91.0 %"),
        Scores("70 %", "With discount", "", "sink-wanda", 0.72, 0.7, 0.74, (), "72.0 %"),
    ]
    figure = accuracy_by_setting(rows, 0.93, 0.375, "sink-wanda")
    first, runs, second, third = figure.data
    np.testing.assert_allclose((first.x[0], first.error_x.array[0]), (90, 5), rtol=1e-5)
    assert second.error_x.array is None
    assert (first.marker.color, second.marker.color) == (REFERENCE, METHOD_LOOKS["sink-wanda"].color)
    assert list(runs.x) == [89, 91]
    assert first.y[0] < runs.y[0] < second.y[0] < third.y[0] < figure.layout.yaxis.range[0]
    assert [note.text for note in figure.layout.annotations] == [
        "<b>50 % of the weights removed</b>",
        "Without discount · noised text",
        f"<b>90.0 %</b><br>−3.0 [−8, +2]<br>{MARK}&lt;9",
        "With &lt;b&gt;",
        "<b>91.0 %</b>",
        "<b>70 % of the weights removed</b>",
        "With discount",
        "<b>72.0 %</b>",
        f"<b>accuracy</b><br>minus dense, points<br>{MARK}discount minus this",
        "← chance 37.5 %",
        "dense 93.0 %",
    ]
    numbers = [note.y for note in figure.layout.annotations if note.x == 1 and "0 %</b>" in note.text]
    assert numbers == [first.y[0], second.y[0], third.y[0]], "beside their marks"
    guides = [shape.y0 for shape in figure.layout.shapes if shape.y0 == shape.y1]
    assert guides == [first.y[0], second.y[0], third.y[0]], "lead from a name to its numbers"
    head, numbers = (
        next(note for note in figure.layout.annotations if of in note.text) for of in ("minus this", "&lt;9")
    )
    assert head.yshift <= figure.layout.margin.t, "no line is cut"
    assert numbers.y - 1.5 * LINE >= head.y - head.yshift + 3 * LINE, "the head does not touch what is beneath"
    alone = accuracy_by_setting([replace(rows[1], name="A method with a name that is long")], None, None)
    assert [note.text for note in alone.layout.annotations if note.x == 1] == ["<b>91.0 %</b>", "<b>accuracy</b>"]
    assert alone.layout.margin.r < figure.layout.margin.r
    low, high = figure.layout.xaxis.range
    assert 60 < low < 70 and 95 <= high <= 101


def test_every_row_stands_beneath_its_name_and_above_the_next_one():
    rows = [
        Scores(f"{group} %", name, "", "magnitude", 0.8, np.nan, np.nan, (0.8,), "")
        for group in (50, 70)
        for name in "ab"
    ]
    figure = accuracy_by_setting(rows, None, None)
    means, dots = figure.data[::2], figure.data[1::2]
    named = [note.y for note in figure.layout.annotations if note.text in "ab"]
    heads = [note.y for note in figure.layout.annotations if "removed" in note.text]
    for name, mean, dot, after in zip(named, means, dots, [*named[1:], np.inf], strict=True):
        assert name < mean.y[0] < dot.y[0] < after
    assert dots[1].y[0] < heads[1] < named[2]


def test_chance_is_drawn_where_an_accuracy_comes_near():
    rows = [Scores("", "No pruning", "", "none", 0.4, 0.3, 0.5, (), "40.0 %")]
    names = [note.text for note in accuracy_by_setting(rows, 0.42, 0.375).layout.annotations]
    assert {"dense 42.0 %", "chance 37.5 %"} <= set(names)
    assert [note.text for note in accuracy_by_setting(rows, None, None).layout.annotations] == [
        "<b>No weights removed</b>",
        "No pruning",
        "<b>40.0 %</b>",
        "<b>accuracy</b>",
    ]
