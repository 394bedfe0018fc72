"""The benchmark of verdicts: sets resume, rows keep their bars, and drawn studies are what they are said to be."""

import numpy as np
import pytest

from benchmarks.honesty import __main__ as program
from benchmarks.honesty import movement, parts, pruning, scores
from benchmarks.honesty.parts import PARTS, Sets, as_said, at_least, at_most, few_of
from benchmarks.honesty.scores import DISCOUNT, Task
from tests.recording.made_sets import a_set


@pytest.fixture
def scored() -> list[Task]:
    rng = np.random.default_rng(0)
    return scores.simulated(rng, 5, [np.repeat(np.arange(40), 1 + np.arange(40) % 4)] * 2)


def test_sets_that_are_written_down_are_not_drawn_again(tmp_path):
    drawn = []

    def one(number: int) -> dict[str, float]:
        drawn.append(number)
        return {"there": float(number % 2)}

    assert [row["there"] for row in Sets(tmp_path).run("x", 4, one)] == [0, 1, 0, 1]
    with (tmp_path / "x.jsonl").open("a") as file:
        file.write('{"set": 4, "the')  # cut off while it was written
    assert len(Sets(tmp_path).run("x", 6, one)) == 6
    assert drawn == [0, 1, 2, 3, 4, 5]
    assert len(Sets(tmp_path, most=2).run("x", 6, one)) == 2


def test_a_row_keeps_its_bar_or_misses_it():
    rows = [{"a": 1.0}] * 8 + [{"a": 0.0}] * 92
    assert not at_most("x", rows, "a").holds and at_most("x", rows[1:], "a", 0.08).holds
    assert at_least("x", rows[:8], "a", 0.8).holds and not at_least("x", rows, "a", 0.8).holds
    assert as_said("x", rows, "a", 0.1).holds and not as_said("x", rows, "a", 0.2).holds
    assert as_said("x", rows, "a", 0.2).value.endswith("plan 20.0 %")
    assert few_of("x", rows[6:30], "a").holds and not few_of("x", rows[:24], "a").holds
    assert not few_of("x", rows[30:40], "a").holds, "too few nulls"


def test_exchanging_methods_leaves_no_difference_and_planting_makes_it(scored):
    rng, effects, planted = np.random.default_rng(1), [], []
    for _ in range(200):
        free = scores.exchanged(scored, rng)
        for before, after in zip(scored, free, strict=True):
            assert np.array_equal(np.sort(before.scores, axis=0), np.sort(after.scores, axis=0))
        effects.append(pruning.difference(free, DISCOUNT).value)
        planted.append(pruning.difference(scores.planted(free, rng, 0.03, scored), DISCOUNT).value)
    assert np.mean(effects) == pytest.approx(0, abs=3 * np.std(effects) / 14)
    assert np.mean(np.subtract(planted, effects)) == pytest.approx(0.03, abs=0.004)
    more = [
        pruning.difference(scores.planted(scores.exchanged(scored, rng), rng, 0.3, scored), DISCOUNT).value
        for _ in range(99)
    ]
    assert np.mean(more) == pytest.approx(0.3, abs=0.02), "beyond the items that differ"


def test_a_drawn_study_has_its_size_and_its_clusters(scored):
    study = scores.drawn(scored, np.random.default_rng(2), seeds=7, items_a_task=30)
    assert [task.scores.shape for task in study] == [(3, 7, 30)] * 2
    whole = scores.drawn(scored, np.random.default_rng(2), seeds=2)
    assert all(len(np.unique(task.clusters)) == 40 for task in whole)
    assert [size.items for size in scores.sizes(scored)] == [len(task.clusters) for task in scored]


def test_what_is_stored_are_three_methods_on_all_bundled_items():
    stored = scores.stored()
    assert set(stored) == {0.5, 0.7}
    for of_tasks in stored.values():
        assert len(of_tasks) == 6 and sum(task.scores.shape[-1] for task in of_tasks) == 3024
        assert of_tasks[0].scores.shape[1] >= 6
        assert 0.3 < np.mean([task.scores.mean() for task in of_tasks]) < 0.95


def test_every_part_runs_and_the_table_has_its_bars(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pruning, "SIZES", pruning.SIZES[:1])
    monkeypatch.setattr(pruning, "PILOTS", 2)
    for part in PARTS.values():
        if part.target.startswith("benchmarks.honesty.pruning:"):
            program.main(["--only", part.name, "--sets", "2", "--into", str(tmp_path)])
    printed = capsys.readouterr().out
    for bar in ("≤ 7 %", "≥ 93 %", "± 5 points", "≥ 80 %", "≤ 3 of ≥ 20"):
        assert f"| {bar} |" in printed
    assert parts.PARTS.keys() >= {"simulated", "resampled", "power", "halves"}


def test_false_sentences_and_intervals_of_sets_are_counted_under_true_nulls(tmp_path, monkeypatch):
    monkeypatch.setattr(movement, "SIZES", movement.SIZES[:1])
    drawn = a_set(0, prompts=60)
    rows = movement.rows_of(drawn, Sets(tmp_path, most=20))
    assert len(rows) == len(movement.SIZES) * (len(movement.NULLS) + 1) and {row.sets for row in rows} == {20}
    assert all(float(row.value.split("%")[0]) <= 15 for row in rows[: -len(movement.SIZES)])
    assert all(row.holds for row in rows[-len(movement.SIZES) :]), rows[-2:]
    shifted = movement.population(drawn)
    shifted[0][0][:, 0] *= 3
    assert movement.paired_differences([shifted])[0].low[0] > 0, "what differs is found"
