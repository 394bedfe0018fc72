"""Figures of sweeps: bands over seeds, levels marked, and another's numbers told apart."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.exhibits.discount_levels import levels_of_study
from analysis.exhibits.scored_runs import bare_title
from analysis.figures import sweep as figures
from analysis.figures.frontier import Points, Saving, frontier
from analysis.figures.style import METHOD_LOOKS
from analysis.findings.pruning_cost import bare_words
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
    far = figures.accuracy([curve()], "sparsity", 0.75, 0.2)
    assert [line.y0 for line in far.layout.shapes] == [75], "most of the plot would be empty"
    assert [name.text for name in far.layout.annotations] == ["chance ↓<br>20.0 %", "dense<br>75.0 %"]
    assert far.layout.annotations[0].yanchor == "bottom", "at the foot of the plot, where no other level is named"
    low = figures.accuracy([curve()], "sparsity", 0.5, 0.05)
    assert low.layout.annotations[0].yanchor == "top", "beneath the plot, clear of the name of a low level"
    every = np.ones(1)
    level = figures.accuracy([figures.Curve("Wanda", 0.5 * every, every, every, every, every)], "sparsity", 1.0, 0.25)
    assert level.layout.yaxis.rangemode == "tozero" and [line.y0 for line in level.layout.shapes] == [100, 25]


def test_anothers_numbers_are_dotted_and_open_in_the_colours_of_their_methods():
    mine, theirs = figures.accuracy([curve(), curve("theirs", 0.0, reference=True)], "sparsity", None, None).data[1:]
    assert (theirs.line.dash, mine.line.dash) == ("dot", "solid") and theirs.line.color != mine.line.color
    published = figures.Curve("Sink-Wanda", *[np.array([0.5])] * 5, "sink-wanda", reference=True)
    assert figures.accuracy([published], "sparsity", None, None).data[-1].line.color == METHOD_LOOKS["sink-wanda"].color
    assert theirs.marker.symbol.endswith("-open") and not mine.marker.symbol.endswith("-open")


def test_the_published_baseline_stands_beside_both_where_it_was_pruned_at_every_sparsity():
    study = read(EXAMPLE)
    told = levels_of_study(study)
    assert told.methods == ("wanda", "wanda-noised", "sink-wanda")
    assert told.setup == ("Wanda on noised text (part masked), λ = 1. 2 sparsities × 3 methods × 6 seeds.")
    assert told.margin == 0.02
    first = {one.sparsity: np.mean(one.by_seed) for one in study.pruning.settings if one.method == "wanda"}
    table = told.shown.table.set_index(["method", "sparsity"])
    np.testing.assert_allclose(table.loc["Wanda as published", "accuracy, %"], [100 * first[at] for at in (0.5, 0.7)])
    assert told.drawn == "768 items of 6 tasks; whiskers: 95 % intervals of the change from dense."
    assert told.noise == ("Intervals are over items and 6 seeds, Student's, with 5 degrees of freedom between seeds.")
    recipes = {one.sparsity: one.effect for one in study.pruning.contrasts if one.kind == "recipe"}
    points = table["discount minus this row, points"]
    assert points["With discount"].isna().all()
    np.testing.assert_allclose(points["Wanda as published"], [100 * recipes[at].value for at in (0.5, 0.7)])
    assert told.against_published.endswith(f": {bare_words(recipes[0.7])} at 70 %, undecided.")
    some = [one for one in study.pruning.settings if (one.method, one.sparsity) != ("wanda", 0.5)]
    without = levels_of_study(study.model_copy(update={"pruning": study.pruning.model_copy(update={"settings": some})}))
    assert without.methods == ("wanda-noised", "sink-wanda") and "2 methods" in without.setup
    assert not without.published and without.against_published == "", "there is no such row"


def test_levels_are_drawn_with_their_intervals_beside_what_the_discount_adds() -> None:
    study = read(EXAMPLE)
    told = levels_of_study(study)
    assert told is not None and study.pruning is not None
    table, notes = told.shown.table, " ".join(note.text for note in told.changes.figure.layout.annotations)
    assert list(zip(table["sparsity"], table["method"], strict=True)) == [
        (sparsity, name)
        for sparsity in (0.5, 0.7)
        for name in ("Wanda as published", "Without discount", "With discount")
    ]
    np.testing.assert_allclose(table["minus dense, points"], table["accuracy, %"] - 100 * study.pruning.dense)
    for one in told.scores:
        assert (one.beyond is None) == (one.method == told.method)
        assert one.beyond is None or bare_words(one.beyond) in notes
    curves = {trace.name: trace for trace in told.shown.figure.data}
    assert list(curves) == ["Wanda as published", "Without discount", "With discount"]
    [line] = [note.text for note in told.shown.figure.layout.annotations if "\u2003" in note.text]
    signs = zip(curves.values(), "●■◆", strict=True)
    named = [
        f'<span style="color:{curve.marker.color or curve.line.color}">{sign}</span> {curve.name}'
        for curve, sign in signs
    ]
    assert line.split("\u2003") == named and not told.shown.figure.layout.showlegend, "in a line where they fit one"
    for one in told.scores:
        assert one.lost is not None
        curve, place = curves[bare_title(one.method)], list(told.gained).index(one.sparsity)
        assert curve.y[place] == pytest.approx(100 * np.mean(one.by_seed))
        low, high = (100 * (study.pruning.dense + end) for end in (one.lost.low, one.lost.high))
        assert curve.error_y.arrayminus[place] == pytest.approx(curve.y[place] - low, abs=1e-4)
        assert curve.error_y.array[place] == pytest.approx(high - curve.y[place], abs=1e-4)


def test_all_rows_have_the_interval_of_their_change_from_dense_or_none_has():
    study = read(EXAMPLE)
    assert all(one.lost is not None for one in levels_of_study(study).scores)
    ways = [way.model_copy(update={"stages": way.stages[1:]}) for way in study.pruning.waterfalls]
    none = levels_of_study(study.model_copy(update={"pruning": study.pruning.model_copy(update={"waterfalls": ways})}))
    assert len(none.scores) == 6 and all(one.lost is None for one in none.scores)
    assert "from dense" not in none.drawn and "minus dense" not in " ".join(none.shown.table)


def test_a_map_says_its_numbers_and_leaves_gaps_empty():
    figure = figures.grid_map(np.array([[0.5, np.nan]]), ["<i>a"], ["60 %", "70 %"], "sparsity", "steps")
    cells = figure.data[0]
    assert list(cells.text[0]) == ["50.0", ""]
    assert cells.y[0] == "&lt;i&gt;a"
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("sparsity", "steps")
    assert cells.colorbar.title.text == "accuracy, %"


def test_every_sparsity_that_was_measured_has_one_tick():
    alone = figures.Curve("Wanda", *[np.array([0.7])] * 4, np.array([1]))
    axis = figures.accuracy([alone], "sparsity", 0.9, 0.4).layout.xaxis
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


def test_what_moves_accuracy_is_told_of_pairs_of_models_that_differ_in_one_setting_alone() -> None:
    told = levels_of_study(read(EXAMPLE))
    assert told is not None and told.moved is not None
    by_setting = {(one.method, one.sparsity): 100 * np.asarray(one.by_seed) for one in told.scores}
    table = told.moved.table.set_index("what changes")
    discount = np.concatenate([by_setting["sink-wanda", at] - by_setting["wanda-noised", at] for at in (0.5, 0.7)])
    assert table.loc["without → with discount", "typical, points"] == pytest.approx(np.sqrt(np.mean(discount**2)))
    assert table.loc["without → with discount", "max, points"] == pytest.approx(np.abs(discount).max())
    assert list(table["pairs"]) == [18, 90, 12, 12], "of 36 models"
    sparsity = np.concatenate([by_setting[method, 0.5] - by_setting[method, 0.7] for method in told.methods])
    assert table.loc["50 % → 70 % sparsity", "typical, points"] == pytest.approx(np.sqrt(np.mean(sparsity**2)))
    assert list(table["typical, points"]) == sorted(table["typical, points"], reverse=True)
    assert told.moved.sentence.startswith(
        "Sparsity moves accuracy by 20 points, another calibration seed by 1.1 and the discount by 0.5. Of two"
    )
    drawn = [value for trace in told.moved.figure.data for value in trace.x]
    assert sorted(drawn, reverse=True) == pytest.approx(list(table["typical, points"]))


def test_without_a_second_seed_or_along_many_sparsities_nothing_is_told_to_move_accuracy() -> None:
    told = levels_of_study(read(EXAMPLE))
    assert told is not None
    one_seed = replace(told, scores=tuple(one._replace(by_seed=one.by_seed[:1]) for one in told.scores))
    assert one_seed.moved is None, "nothing to hold it against"
    more = [one._replace(sparsity=0.9) for one in told.scores if one.sparsity == 0.7]
    many = replace(told, scores=(*told.scores, *more), gained={**told.gained, 0.9: told.gained[0.7]})
    assert many.moved is None, "their accuracies make a curve"
    apart = tuple(one._replace(seeds=(place,) * 6) for place, one in enumerate(told.scores))
    assert {one.name for one in replace(told, scores=apart).moves} == {"another calibration seed"}, "no pairs"
