"""The accuracies of a sweep along its axes, against means taken by hand."""

import numpy as np
import pytest

from analysis.evaluation.sweep_scores import Setting
from analysis.exhibits import sweeps
from analysis.specs import METHODS, CalibrationParams, PruneSpec, StepParams


def setting(method: str, sparsity: float, by_seed: list[float], last_step: int = 1000) -> Setting:
    """A setting of two tasks with these accuracies of its seeds on both, of 10 items each; the dense model's is 0.8."""
    runs = np.array([[1.0] * round(10 * share) + [0.0] * (10 - round(10 * share)) for share in by_seed])
    dense = np.array([1.0] * 8 + [0.0] * 2)
    pruning = PruneSpec(
        method=method, sparsity=sparsity, out="", calibration=CalibrationParams(), steps=StepParams(last_step=last_step)
    )
    tasks = {name: (runs, dense, np.arange(10)) for name in ("one", "two")}
    titles, chances = {"one": "One", "two": "Two"}, {"one": 0.5, "two": 0.5}
    return Setting(pruning, tuple(range(len(by_seed))), len(by_seed), tasks, titles, chances)


def test_a_curve_along_the_sparsity_spans_its_seeds():
    settings = [
        setting("sink-wanda", 0.7, [0.4, 0.6]),
        setting("sink-wanda", 0.5, [0.9]),
        setting("wanda", 0.5, [0.7, 0.8, 0.9]),
    ]
    sink, wanda = sweeps.by_sparsity(settings)
    assert (sink.name, wanda.name) == (METHODS["sink-wanda"].title, METHODS["wanda"].title)
    np.testing.assert_allclose(
        [sink.x, sink.mean, sink.low, sink.high], [[0.5, 0.7], [0.9, 0.5], [0.9, 0.4], [0.9, 0.6]]
    )
    assert sink.seeds.tolist() == [1, 2] and wanda.seeds.tolist() == [3]
    np.testing.assert_allclose([wanda.mean[0], wanda.low[0], wanda.high[0]], [0.8, 0.7, 0.9])


def test_the_map_of_tasks_begins_with_the_dense_model():
    grid = sweeps.by_task([setting("wanda", 0.5, [0.4, 0.6])])
    assert (grid.rows, grid.columns) == (["dense", METHODS["wanda"].title], ["One", "Two"])
    np.testing.assert_allclose(grid.values, [[0.8, 0.8], [0.5, 0.5]])


def test_the_map_of_noise_steps_has_gaps_where_nothing_is_scored():
    settings = [
        setting("sink-wanda", 0.5, [0.6]),
        setting("sink-wanda", 0.7, [0.4]),
        setting("sink-wanda", 0.5, [0.8], last_step=25),
        setting("wanda", 0.7, [0.1]),
    ]
    assert len(sweeps.step_ranges(settings)) == 2, "wanda weighs no steps"
    grid = sweeps.by_steps(settings, "sink-wanda")
    assert grid.columns == ["50 %", "70 %"] and grid.rows == sweeps.step_ranges(settings)
    assert grid.values[0] == pytest.approx([0.6, 0.4])
    assert grid.values[1][0] == pytest.approx(0.8) and np.isnan(grid.values[1][1])
