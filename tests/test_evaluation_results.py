"""Curves and tables of an evaluation, and their figures."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.evaluation import curves, results, significance, tables
from analysis.figures import accuracy as figures

BENCHMARK = {
    "kind": "multiple_choice", "metric": "acc", "planned": 40, "draws": 32, "shots": 0, "guidance": 0.0,
    "gen_length": None, "source": "ours",
}  # fmt: skip


def written(path, counts=(40, 40, 25), names=("dense", "wanda-noised", "sink-wanda")) -> results.Results:
    """Two benchmarks; the models have answered so many items of each."""
    rng = np.random.default_rng(0)
    lines = [
        {
            "line": "header", "names": names, "models": [{}] * len(names), "problems": [],
            "benchmarks": [{"name": name, "title": name.upper(), **BENCHMARK} for name in ("a", "b")],
        }
    ]  # fmt: skip
    for benchmark in "ab":
        for place in range(40):
            key = f"{benchmark}/{place}"
            lines.append(
                {
                    "line": "document", "key": key, "benchmark": benchmark, "place": place,
                    "question": f"Question {place}",
                    "choices": ["yes", "no"], "right": 0,
                }
            )  # fmt: skip
            for model, count in enumerate(counts):
                if place < count:
                    value = rng.normal(0.6 - 0.5 * model)
                    lines.append(
                        {
                            "line": "answer", "key": key, "model": model, "metrics": {"acc": float(value > 0)},
                            "restored": False, "responses": [[value, False], [0.0, False]], "draws": [32, 32],
                        }
                    )  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"line": "ans')  # the last line is being written
    return results.read(path)


@pytest.fixture
def found(tmp_path) -> results.Results:
    return written(tmp_path / "items.jsonl")


def test_curves_end_at_the_estimates(found):
    for model, curve in enumerate(curves.accuracy_curves(found, "a")):
        one = significance.estimate(results.scores(found, "a", model)[0])
        assert (curve.mean[-1], curve.low[-1], curve.high[-1], len(curve.items)) == pytest.approx(
            (one.value, one.low, one.high, one.n)
        )
    pair = (1, 0)
    (curve,) = curves.difference_curves(found, "b", [pair])
    one = results.differences(found, pair)["b"]
    assert (curve.mean[-1], curve.low[-1], curve.high[-1]) == pytest.approx((one.value, one.low, one.high))
    for model, curve in enumerate(curves.accuracy_curves(found, results.AVERAGE)):
        mean = significance.average([results.scores(found, name, model)[0] for name in "ab"])
        assert (curve.mean[-1], curve.low[-1], curve.high[-1]) == pytest.approx((mean.value, mean.low, mean.high))


def test_bands_never_claim_certainty():
    """Items that are all alike have an interval, too, the one of the tables."""
    same = np.zeros(12)
    curve = curves.running_difference(same, same, "x")
    one = significance.difference(same, same, False)
    assert (curve.low[-1], curve.high[-1]) == pytest.approx((one.low, one.high))
    mean = curves.average_curve([np.ones(12), np.ones(9)], "x")
    whole = significance.average([np.ones(12), np.ones(9)])
    assert (mean.low[-1], mean.high[-1]) == pytest.approx((whole.low, whole.high))
    assert (mean.high - mean.low)[1:].min() > 0.1


def test_only_pairs_with_all_items_are_tested(found):
    assert results.pairs(found) == [(1, 0), (2, 0), (2, 1)]
    assert all(one.p is not None for one in results.differences(found, (1, 0)).values())
    for one in results.differences(found, (2, 0)).values():
        assert one.p is None
        assert one.n == 25
        assert one.words.startswith("interim")
    assert results.is_final(found, "a", (0, 1))
    assert not results.all_final(found, results.AVERAGE)
    assert not tables.summary(found)["complete"]
    last = tables.difference_table(found, [(2, 0)])[-1]
    assert last["in words"].startswith("interim")


def without(found: results.Results, *gone: tuple[str, int]) -> results.Results:
    """As if these items had not been answered by these models."""
    return replace(found, answers={key: answer for key, answer in found.answers.items() if key not in gone})


def test_no_task_is_tested_before_the_items_of_all_are_in(found):
    """Holm's family is fixed at the start, so that a task done early is not tested against fewer."""
    pair = (1, 0)
    early = without(found, ("b/39", 1))
    assert results.is_final(early, "a", pair)
    assert all(one.p is None and one.words.startswith("interim") for one in results.differences(early, pair).values())
    columns = [set(row) for row in tables.difference_table(early, [pair])]
    assert not any({"p", "p (Holm)"} & some for some in columns)
    assert "p (Holm)" in tables.difference_table(found, [pair])[-1]
    assert tables.verdicts(early, [pair])[0].endswith("interim, no tests yet.")


def test_averages_are_over_what_every_model_has_begun(found):
    """Else a model that is behind would be averaged over other tasks than the rest."""
    behind = without(found, *((f"b/{place}", 2) for place in range(40)))
    assert [one.name for one in results.begun(behind)] == ["a"]
    for model, row in enumerate(tables.accuracy_grid(behind)):
        own = significance.estimate(results.scores(behind, "a", model)[0])
        assert row["Average of 1 of 2 tasks"].startswith(f"{100 * own.value:.1f} [")
    for model, curve in enumerate(curves.accuracy_curves(behind, results.AVERAGE)):
        assert curve.mean[-1] == pytest.approx(results.scores(behind, "a", model)[0].mean())
    alone = without(found, *((f"{name}/{place}", model) for name in "ab" for place in range(40) for model in (1, 2)))
    assert len(results.begun(alone)) == 2  # models that have not come to their turn do not count


def test_the_grid_and_the_verdicts_say_what_the_estimates_say(found):
    (row, *_), (verdict, *_) = tables.accuracy_grid(found), tables.verdicts(found, [(1, 0)])
    one = significance.estimate(results.scores(found, "a", 0)[0])
    assert row["A"] == f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"
    mean = results.average_difference(found, (1, 0))
    sign = "−" if mean.value < 0 else "+"
    assert verdict.startswith(f"wanda-noised against dense: on average {sign}{abs(100 * mean.value):.1f} points [")
    worse = [name.upper() for name, each in results.differences(found, (1, 0)).items() if each.words == "worse"]
    assert (f"worse on {', '.join(worse)}" if worse else "no difference shown on any task") in verdict


def test_a_growing_file_is_read_on_from_where_it_was(tmp_path):
    written(tmp_path / "whole")
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)[:-1]
    path = tmp_path / "growing"
    path.write_text("".join(lines[:20]) + lines[20][:9])
    growing = results.Growing(path)
    first = growing.read()
    path.write_text("".join(lines))
    then = growing.read()
    assert 0 < len(first.answers) < len(then.answers)
    assert then == results.read(path)
    assert growing.read() == then


def test_one_item_in_full(found):
    item = tables.disagreements(found, 0, 1)[0]["item"]
    first, second = tables.choice_table(found, item, 0, 1)
    assert (first["choice"], first["right"], second["right"]) == ("yes", True, False)
    assert first["dense log-likelihood"] == found.answers[item, 0].values[0]
    assert first["dense chose"] != first["wanda-noised chose"]


def test_dots_are_full_where_a_difference_is_shown():
    rows = [
        figures.Whisker("Average", "x", -2.0, -3.0, -1.0, True, "far"),
        figures.Whisker("Average", "y", 1.0, -1.0, 3.0, False, "near"),
        figures.Whisker("A", "x", np.nan, np.nan, np.nan, False, "nothing yet"),
    ]
    x, y = figures.whiskers(rows, {"x": "#111111", "y": "#222222"}, "points").data
    assert (list(x.marker.symbol), list(y.marker.symbol)) == (["circle"], ["circle-open"])
    assert (x.x[0], x.error_x.array[0], x.error_x.arrayminus[0]) == (-2.0, 1.0, 1.0)
    assert -0.5 < x.y[0] < 0 < y.y[0] < 0.5  # side by side in the first row


def test_models_are_paired_by_item_not_by_place_in_line(tmp_path):
    """A model that has answered other items than the one before it shares only what both have."""
    found = written(tmp_path / "x", counts=(10, 40, 5))
    first, keys = results.scores(found, "a", 1, [2])
    assert keys == [f"a/{place}" for place in range(5)]
    assert len(first) == 5


def test_disagreements(found):
    rows = tables.disagreements(found, 0, 1)
    assert rows
    for row in rows:
        assert row["dense chose"] != row["wanda-noised chose"]
        assert row["right"] == "yes"
        assert row["who is right"] == ("dense" if row["dense chose"] == "yes" else "wanda-noised")
    assert tables.filtered(rows, "dense", "") == [row for row in rows if row["who is right"] == "dense"]
    assert tables.filtered(rows, None, "QUESTION yes") == rows
    assert tables.filtered(rows, None, "nothing") == []
    assert {row["task"] for row in tables.disagreements(found, 0, 1, "b")} == {"B"}


def test_figures_draw_a_line_and_a_band_a_model(found):
    drawn = curves.accuracy_curves(found, "a")
    figure = figures.running(drawn, [figures.color_of(model) for model in range(3)], "accuracy")
    assert [trace.name for trace in figure.data if trace.mode == "lines"] == list(found.names)
    assert len(figure.data) == 6
    assert all(np.asarray(trace.y).dtype == np.float32 for trace in figure.data)
    assert figure.data[1].y[-1] == pytest.approx(drawn[0].mean[-1])
    points = figures.running(curves.difference_curves(found, "a", [(1, 0)]), ["#000000"], "points", difference=True)
    assert points.data[1].y[-1] == pytest.approx(100 * results.differences(found, (1, 0))["a"].value, rel=1e-5)
    assert not figures.running([curves.running_accuracy(np.zeros(0), "none")], ["#000000"], "accuracy").data


def test_long_curves_are_thinned_and_keep_their_end():
    at = figures.thinned(14_042)
    assert len(at) <= figures.MAX_POINTS
    assert (at[0], at[-1]) == (0, 14_041)
    assert (np.diff(at) > 0).all()
