"""Runs beside their controls: which two make a pair, and which pairs are seeds of one setting."""

from typing import cast

import pytest

from analysis.engine.run_pairs import pairs_by_setting, sweep_of
from analysis.engine.runs import Run
from analysis.errors import UserError
from analysis.pruned.report_file import Report
from analysis.specs import CalibrationParams, DiscountParams, EvaluateSpec, ModelSpec, PruneSpec, grid, setting_key


def run(method: str, seed: int = 0, dtype: str = "float32", **settings) -> Run:
    spec = PruneSpec(method=method, calibration=CalibrationParams(seed=seed), **settings)
    parameters = spec.model_dump(mode="json")
    return Run(
        f"{method} {seed} {settings} {dtype}",
        "pruned",
        method,
        "/folder",
        "bundled",
        0.0,
        parameters=parameters,
        report=cast(Report, {"model": {"dtype": dtype}}),
    )


def both(seed: int, **settings) -> list[Run]:
    return [run("sink-wanda", seed, **settings), run("wanda-noised", seed, **settings)]


def test_pairs_that_differ_in_their_seed_alone_stand_together_by_seed():
    groups = pairs_by_setting([*both(3), *both(0), *both(1, sparsity=0.7), run("magnitude")])
    assert [[pair.seed for pair in group] for group in groups] == [[0, 3], [1]]
    for pair in groups[0]:
        assert (pair.run.automatic, pair.control.automatic) == ("sink-wanda", "wanda-noised")


def test_the_asked_setting_comes_first_whatever_its_seed():
    asked = PruneSpec(method="sink-wanda", sparsity=0.7, calibration=CalibrationParams(seed=9))
    first, _ = pairs_by_setting([*both(0), *both(1, sparsity=0.7)], [asked])
    assert first[0].spec.sparsity == 0.7


@pytest.mark.parametrize(
    "control",
    [run("wanda-noised", 1), run("wanda-noised", sparsity=0.6), run("wanda-noised", dtype="bfloat16"), run("wanda")],
)
def test_a_run_of_another_seed_sparsity_precision_or_method_is_no_control(control):
    assert pairs_by_setting([run("sink-wanda"), control]) == []


def test_discounts_that_differ_share_a_control_and_are_settings_of_their_own():
    weak = run("sink-wanda", discount=DiscountParams(discount_strength=0.5))
    groups = pairs_by_setting([weak, *both(0)])
    assert len(groups) == 2 and {group[0].control.automatic for group in groups} == {"wanda-noised"}


def test_runs_and_their_controls_are_a_sweep_of_what_they_differ_by():
    text = CalibrationParams(samples=5, seq_len=32)
    weak = DiscountParams(discount_strength=0.5)
    prunings = [
        PruneSpec(method=method, sparsity=sparsity, calibration=text.model_copy(update={"seed": seed}), **more)
        for method, more in (("wanda-noised", {}), ("sink-wanda", {"discount": weak}))
        for sparsity in (0.5, 0.7)
        for seed in (0, 1)
    ]
    scored = EvaluateSpec(compare=(ModelSpec(source="elsewhere"),), names=("dense", "one"), limit=3)
    spec = sweep_of(prunings, scored, (0, 1), keep="checkpoints")
    assert (spec.methods, spec.sparsities, spec.strengths) == (("wanda-noised", "sink-wanda"), (0.5, 0.7), (0.5,))
    assert (spec.evaluation.limit, spec.evaluation.compare, spec.keep) == (3, (), "checkpoints")
    swept = {(setting_key(one), one.calibration.seed) for one in grid(spec).prunings}
    assert swept == {(setting_key(one), one.calibration.seed) for one in prunings}
    with pytest.raises(UserError, match="not all combinations"):
        sweep_of(prunings[:-2], scored, (0, 1))
