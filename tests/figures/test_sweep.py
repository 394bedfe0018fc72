"""Figures of sweeps: bands over seeds, intervals of differences, levels marked, and another's numbers told apart."""

import numpy as np

from analysis.exhibits.discount_levels import levels_of_study
from analysis.figures import sweep as figures
from analysis.figures.frontier import Points, Saving, frontier
from analysis.figures.style import METHOD_LOOKS, REFERENCE, Look
from analysis.findings.evaluations import bare_words
from analysis.statistics.differences import Difference
from analysis.study.findings import EXAMPLE, read


def curve(name: str = "Wanda", spread: float = 0.02, reference: bool = False) -> figures.Curve:
    mean = np.array([0.7, 0.5])
    x = np.array([0.6, 0.7])
    return figures.Curve(name, x, mean, mean - spread, mean + spread, np.array([8, 8]), reference=reference)


def test_a_curve_has_a_band_over_its_seeds_and_none_for_one_seed():
    figure = figures.accuracy([curve(), curve("one seed", spread=0.0)], "sparsity", 0.9, 0.375)
    assert [trace.mode for trace in figure.data] == ["none", "lines+markers", "lines+markers"]
    band = figure.data[0]
    np.testing.assert_allclose(band.y, [72, 52, 48, 68], rtol=1e-6)
    assert [line.y0 for line in figure.layout.shapes] == [90, 37.5]
    assert [text.text for text in figure.layout.annotations] == ["dense<br>90.0 %", "chance<br>37.5 %"]
    assert len(figures.accuracy([curve()], "bytes", None, None).layout.shapes) == 0


def test_the_names_of_levels_stand_beside_the_plot_where_nothing_crosses_them():
    figure = figures.accuracy([curve()], "sparsity", 0.9, 0.375)
    assert {(name.x, name.xanchor) for name in figure.layout.annotations} == {(1, "left")}
    assert figure.layout.margin.r > 40, "as wide as a name"
    close = figures.accuracy([curve()], "sparsity", 0.4, 0.375).layout.annotations
    assert [name.yanchor for name in close] == ["bottom", "top"], "one above the other"


def test_anothers_numbers_are_dotted_and_open_in_the_colours_of_their_methods():
    mine, theirs = figures.accuracy([curve(), curve("theirs", 0.0, reference=True)], "sparsity", None, None).data[1:]
    assert (theirs.line.dash, mine.line.dash) == ("dot", "solid") and theirs.line.color != mine.line.color
    published = figures.Curve("Sink-Wanda", *[np.array([0.5])] * 5, "sink-wanda", reference=True)
    assert figures.accuracy([published], "sparsity", None, None).data[-1].line.color == METHOD_LOOKS["sink-wanda"].color
    assert theirs.marker.symbol.endswith("-open") and not mine.marker.symbol.endswith("-open")


def test_differences_stand_around_zero_with_their_intervals():
    delta = figures.Delta(
        "Sink-Wanda − control",
        [0.6, 0.7],
        [Difference(0.002, -0.004, 0.009, 100, 100), Difference(-0.01, -0.02, -0.001, 100, 100)],
        [False, True],
        ["not shown", "worse <b>"],
    )
    figure = figures.deltas([delta])
    (drawn,) = figure.data
    np.testing.assert_allclose(drawn.y, [0.2, -1.0], rtol=1e-5)
    np.testing.assert_allclose(drawn.error_y.array, [0.7, 0.9], rtol=1e-4)
    np.testing.assert_allclose(drawn.error_y.arrayminus, [0.6, 1.0], rtol=1e-4)
    assert [symbol.endswith("-open") for symbol in drawn.marker.symbol] == [True, False]
    assert drawn.text[1] == "worse &lt;b&gt;"
    assert [line.y0 for line in figure.layout.shapes] == [0]


PHONE = 282  # pixels of the plot


def test_each_mark_has_its_value_above_it_and_differences_the_look_of_the_discount():
    x = np.array([0.5, 0.7])
    lost = [Difference(-0.03, -0.06, 0.0, 100, 100), Difference(-0.21, -0.32, -0.09, 100, 100)]
    gained = [Difference(0.01, -0.02, 0.04, 100, 100), Difference(0.001, -0.05, 0.06, 100, 100)]
    losses, gains = ["−3.0 [−6.0, 0.0]", "−21 [−32, −9]"], ["+1.0 [−2.0, +4.0]", "+0.1 [−5.0, +6.0]"]
    loss = figures.Change("from dense", x, lost, losses)
    published = figures.Line("as published", x, np.array([0.895, 0.71]), Look("#3097ff", "circle"))
    without = figures.Line("without", x, np.array([0.9, 0.72]), Look(REFERENCE, "square"), loss)
    other = figures.Line("with <", x, np.array([0.91, 0.721]), Look("#ef7010", "diamond"))
    lines = published, without, other
    gain = figures.Change("minus without <", x, gained, gains, without.look)
    recipe = figures.Change("minus as published", x[1:], gained[1:], gains[1:], published.look)
    figure = figures.accuracies_and_changes(lines, [recipe, gain], 0.93, 0.375, 0.02)
    *marks, beside, changed = figure.data
    first, third, second = marks
    np.testing.assert_allclose(second.error_y.array, [3, 12], rtol=1e-5)
    assert first.error_y.array is third.error_y.array is None
    assert first.mode == second.mode == third.mode == "markers", "two points are no trend"
    assert [one.name for one in marks] == ["as published", "with &lt;", "without"], "in the legend, from left to right"
    assert len({one.marker.color for one in marks}) == 3 and list(second.customdata) == losses
    for drawn, line in ((beside, first), (changed, second)):
        assert (drawn.marker.color, drawn.marker.symbol) == (third.marker.color, third.marker.symbol), "of the discount"
        assert set(drawn.x) <= set(line.x), "above what it is from"
        assert drawn.yaxis == "y" and drawn.showlegend is False
    np.testing.assert_allclose(changed.y, [1, 0.1])
    np.testing.assert_allclose(changed.error_y.arrayminus, [3, 5.1], rtol=1e-5)
    start, end = figure.layout.xaxis.range
    pixel = (end - start) / PHONE
    notes = {(note.text, round(float(note.x), 3)): note for note in figure.layout.annotations}
    low, high = figure.layout.yaxis2.range
    for line, values in zip(marks, (("89.5", "71.0"), ("91.0", "72.1"), ("90.0", "72.0")), strict=True):
        for at, value in enumerate(values):
            top = line.y[at] + (0 if line.error_y.array is None else line.error_y.array[at])
            assert top - 1e-6 <= notes[value, round(float(line.x[at]), 3)].y < high
    assert notes["90.0", 0.55].y == 93, "its interval ends at the dense line"
    written = sorted(note.x for (text, _), note in notes.items() if text[0].isdigit())
    assert np.diff(written).min() > 26 * pixel, "values do not touch on a phone"
    below = sorted(note.x for (text, _), note in notes.items() if text.startswith("<b>+"))
    assert len(below) == 3 and np.diff(below).min() > 66 * pixel, "nor do intervals"
    assert below[-1] + 33 * pixel < end
    assert notes["<b>+0.1</b><br>[−5.0, +6.0]", round(float(beside.x[0]), 3)].y == 6, "above the interval"
    named = {round(float(note.x), 3): note for note in figure.layout.annotations if "minus " in note.text.lower()}
    for drawn, name in ((beside, "minus as<br>published"), (changed, "minus without<br>&lt;")):
        for x in drawn.x:
            note = named[round(float(x), 3)]
            assert (note.text, note.y, note.yref, note.yanchor) == (name, 0, "y domain", "bottom"), "beneath its mark"
    texts = {text for text, _ in notes}
    assert texts > {"<b>Accuracy, %</b> (dashed: dense model 93.0)", "<b>With discount minus the others, points</b>"}
    assert 37.5 < low <= notes["↓ chance 37.5", 0].y < 61 < 93 < high
    shapes = [(shape.yref, shape.y0, shape.y1) for shape in figure.layout.shapes]
    assert shapes == [("y2", 93, 93), ("y", -2, 2), ("y", 0, 0)]
    low, high = figure.layout.yaxis.range
    assert -10 < low < -5 and high > 6
    (bottom, top), (_, accuracies) = figure.layout.yaxis.domain, figure.layout.yaxis2.domain
    assert bottom > accuracies and top - bottom > accuracies, "the differences, which answer, come first and are taller"
    near = figures.accuracies_and_changes(lines[1:], [gain], 0.93, 0.7, 0.02)
    assert ("y2", 70, 70) in [(shape.yref, shape.y0, shape.y1) for shape in near.layout.shapes]
    names = [note.text for note in near.layout.annotations]
    assert "chance 70.0" in names and "<b>With discount minus without &lt;, points</b>" in names
    assert list(figure.layout.xaxis2.ticktext) == ["50 %", "70 %"]


def test_a_value_that_the_dense_line_would_cross_stands_above_that():
    line = figures.Line("with", np.array([0.5, 0.7]), np.array([0.92, 0.6]), Look("#ef7010", "diamond"))
    none = [Difference(0.0, -0.01, 0.01, 100, 100)] * 2
    change = figures.Change("discount on top", line.x, none, ["0.0 [−1.0, +1.0]"] * 2)
    figure = figures.accuracies_and_changes([line], [change], 0.93, 0.375, 0.02)
    places = {note.text: note.y for note in figure.layout.annotations}
    assert (places["92.0"], places["60.0"]) == (93, 60)


def test_of_many_sparsities_no_mark_has_a_value_and_one_alone_is_not_at_the_edge():
    def drawn(*x: float):
        at, none = np.array(x), [Difference(0.0, -0.01, 0.01, 100, 100)] * len(x)
        line = figures.Line("with", at, 0.9 - at / 10, Look("#ef7010", "diamond"))
        change = figures.Change("discount on top", at, none, ["0.0 [−1.0, +1.0]"] * len(x))
        return figures.accuracies_and_changes([line], [change], 0.93, None, 0.02)

    many = drawn(0.2, 0.5, 0.7)
    texts = [note.text for note in many.layout.annotations if not note.text.startswith("<b>")]
    assert texts == ["0.0"] * 3, "a phone has no room for intervals"
    assert many.data[0].mode == "lines+markers"
    assert not many.data[1].showlegend
    low, high = drawn(0.7).layout.xaxis.range
    assert low < 0.7 - 0.3 * (high - low) < 0.7 + 0.4 * (high - low) < high


def test_differences_from_several_are_told_apart_in_the_legend_where_none_has_its_name_beneath():
    at, none = np.array([0.2, 0.5, 0.7]), [Difference(0.0, -0.01, 0.01, 100, 100)] * 3
    line = figures.Line("with", at, 0.9 - at / 10, Look("#ef7010", "diamond"))
    names = "minus as published", "minus without discount"
    changes = [figures.Change(name, at, none, ["0.0 [−1.0, +1.0]"] * 3) for name in names]
    figure = figures.accuracies_and_changes([line], changes, 0.93, None, 0.02)
    assert [one.name for one in figure.data if one.showlegend is not False] == ["with", *names]
    assert not any(note.text.startswith("minus") for note in figure.layout.annotations)


def test_the_published_baseline_stands_beside_both_where_it_was_pruned_at_every_sparsity():
    study = read(EXAMPLE)
    told = levels_of_study(study)
    assert told.methods == ("wanda", "wanda-noised", "sink-wanda")
    assert told.setup == (
        "Sink-Wanda, λ = 1 (sinks count for nothing): Wanda on noised text (as seen while denoising) with the "
        "discount; baseline: without it. 2 sparsities × 3 variants × 6 seeds; 768 items of 6 tasks."
    )
    assert told.margin == 0.02
    first = {one.sparsity: np.mean(one.by_seed) for one in study.pruning.settings if one.method == "wanda"}
    np.testing.assert_allclose(told.shown.table["as published, %"], [100 * first[at] for at in (0.5, 0.7)])
    assert told.noise.startswith(
        "Whiskers above: 95 % interval of the difference; below: of the change from dense; grey: ±2 points; "
        "differences taken before rounding. Intervals are over 768 items of 6 tasks and 6 seeds. As published: Wanda, "
        "clean text; the others: noised text. Intervals are Student's"
    )
    recipes = {one.sparsity: one.effect for one in study.pruning.contrasts if one.kind == "recipe"}
    points = told.shown.table["with discount minus as published, points"]
    np.testing.assert_allclose(points, [100 * recipes[at].value for at in (0.5, 0.7)])
    assert told.against_published.endswith(f": {bare_words(recipes[0.7])} at 70 %, not inside: undecided.")
    some = [one for one in study.pruning.settings if (one.method, one.sparsity) != ("wanda", 0.5)]
    without = levels_of_study(study.model_copy(update={"pruning": study.pruning.model_copy(update={"settings": some})}))
    assert without.methods == ("wanda-noised", "sink-wanda") and "As published" not in without.noise
    assert without.published is None and without.against_published == "", "there is no such mark"


def test_all_marks_have_the_interval_of_their_change_from_dense_or_none_has():
    study = read(EXAMPLE)
    for line in levels_of_study(study).lines:
        np.testing.assert_allclose([one.value for one in line.lost.differences], line.value - study.pruning.dense)
    ways = [way.model_copy(update={"stages": way.stages[1:]}) for way in study.pruning.waterfalls]
    none = levels_of_study(study.model_copy(update={"pruning": study.pruning.model_copy(update={"waterfalls": ways})}))
    assert len(none.lines) == 3 and all(line.lost is None for line in none.lines)
    assert "from dense" not in none.noise and "from dense" not in " ".join(none.shown.table)


def test_a_map_says_its_numbers_and_leaves_gaps_empty():
    figure = figures.grid_map(np.array([[0.5, np.nan]]), ["<i>a"], ["60 %", "70 %"], "sparsity", "steps")
    cells = figure.data[0]
    assert list(cells.text[0]) == ["50.0", ""]
    assert cells.y[0] == "&lt;i&gt;a"
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("sparsity", "steps")
    assert cells.colorbar.title.text == "accuracy, %"


def test_every_sparsity_that_was_measured_has_one_tick():
    alone = figures.Curve("Wanda", *[np.array([0.7])] * 4, np.array([1]))
    delta = figures.Delta("difference", [0.7], [Difference(0.7, 0.7, 0.7, 100, 100)], [False], ["not shown"])
    for figure in (figures.accuracy([alone], "sparsity", 0.9, 0.4), figures.deltas([delta])):
        for axis in figure.select_xaxes():
            np.testing.assert_allclose(axis.tickvals, [0.7])
            assert axis.range[0] < 0.7 < axis.range[1] and axis.range[1] - axis.range[0] >= 0.02, "no two read 70 %"
    np.testing.assert_allclose(figures.accuracy([curve()], "sparsity", 0.9, 0.4).layout.xaxis.tickvals, [0.6, 0.7])


def test_accuracies_read_in_per_cent_with_a_space_and_no_interval_ends_at_the_edge():
    wide = Points(np.array([5.0]), np.array([0.9]), np.array([0.42]), np.array([1.0]))
    own = Saving("Sink-Wanda", wide, wide, "sink-wanda", "wanda-noised")
    plane = frontier([Saving("Wanda", wide, method="wanda"), own], (9.0, 0.93), "MB", "accuracy", percent=True)
    low, high = plane.layout.yaxis.range
    assert low < 42 and high > 100
    looks = {trace.name: (trace.marker.color, trace.marker.symbol) for trace in plane.data if trace.name}
    assert looks["Sink-Wanda"] == METHOD_LOOKS["sink-wanda"] and looks["Wanda"] == METHOD_LOOKS["wanda"]
    color, symbol = METHOD_LOOKS["wanda-noised"]
    assert looks["Sink-Wanda: its control"] == (color, f"{symbol}-open"), "as it is drawn where it stands alone"
    curves = figures.accuracy([curve()], "sparsity", 0.9, 0.375)
    assert plane.layout.yaxis.ticksuffix == curves.layout.yaxis.ticksuffix == " %"
    assert list(curves.layout.xaxis.ticktext) == ["60 %", "70 %"]
    cells = figures.grid_map(np.array([[0.5, 0.6]]), ["a"], ["b", "c"], "", "", True).data[0]
    assert (cells.zmin, cells.zmax) == (0, 100)
