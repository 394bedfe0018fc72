"""Sweeps: what their grids hold, and that no method gets copies along what it does not look at."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.specs import (
    METHODS,
    CalibrationParams,
    DiscountParams,
    EvaluateSpec,
    ModelSpec,
    PruneSpec,
    StepParams,
    SweepSpec,
    against,
    grid,
    sentence,
    step_range,
    without_seed,
)


def problem(**changes) -> str:
    with pytest.raises(ValidationError) as caught:
        SweepSpec(**changes)
    return sentence(caught.value)


def test_a_method_gets_no_copies_along_an_axis_that_it_does_not_look_at():
    spec = SweepSpec(
        methods=tuple(name for name, row in METHODS.items() if row.removes),
        sparsities=(0.5, 0.7),
        strengths=(0.5, 1.0),
        stds=(1.0, 2.0, 3.0),
        step_ranges=("0-25", "26-50"),
        seeds=(0, 1, 2),
    )
    counts = Counter(point.method for point in grid(spec).prunings)
    assert counts == {
        "magnitude": 2,
        "wanda": 2 * 3,
        "wanda-noised": 2 * 3 * 2,
        **dict.fromkeys(("sink-wanda", "sham-wanda", "light-wanda"), 2 * 3 * 2 * 6),
        "sparsegpt": 2 * 3,
        **dict.fromkeys(("sink-sparsegpt", "sham-sparsegpt"), 2 * 3 * 6),
    }


def test_a_pattern_that_fixes_the_sparsity_has_one_and_what_cannot_be_cut_is_left_out_and_said():
    spec = SweepSpec(methods=("wanda", "sparsegpt"), patterns=("2:4", "structured"), sparsities=(0.3, 0.6))
    made = grid(spec)
    assert [(point.method, point.pattern, point.sparsity) for point in made.prunings] == [
        ("wanda", "2:4", 0.5),
        ("wanda", "structured", 0.3),
        ("wanda", "structured", 0.6),
        ("sparsegpt", "2:4", 0.5),
    ]
    assert made.left_out == ("SparseGPT scores no whole units, so it is left out of structured pruning.",)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([name for name, row in METHODS.items() if row.removes]), min_size=1, max_size=6),
    st.lists(st.sampled_from([0.2, 0.5, 0.6]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["unstructured", "2:4", "4:8"]), min_size=1, max_size=3),
    st.lists(st.integers(0, 5), min_size=1, max_size=3),
    st.lists(st.sampled_from([0.5, 1.0]), min_size=1, max_size=2),
)
def test_every_point_is_there_once_and_its_counterparts_are_points_where_their_methods_are(
    methods, sparsities, patterns, seeds, strengths
):
    spec = SweepSpec(
        methods=tuple(methods),
        sparsities=tuple(sparsities),
        patterns=tuple(patterns),
        seeds=tuple(seeds),
        strengths=tuple(strengths),
    )
    points = grid(spec).prunings
    assert len({point.model_dump_json() for point in points}) == len(points)
    for point in points:
        row = METHODS[point.method]
        assert row.discounted or point.discount == DiscountParams()
        assert row.weighs_steps or point.steps == StepParams()
        for relation in ("control", "published"):
            other = against(point, relation)
            assert (other is None) == (getattr(row, relation) is None)
            if other is not None:
                assert (other in points) == (other.method in methods)
                assert (other.sparsity, other.pattern, other.calibration) == (
                    point.sparsity,
                    point.pattern,
                    point.calibration,
                )
    settings_of = Counter(without_seed(point).model_dump_json() for point in points)
    for point in points:
        expected = len(set(seeds)) if METHODS[point.method].calibrated else 1
        assert settings_of[without_seed(point).model_dump_json()] == expected


def test_what_all_points_share_comes_from_one_pruning_and_one_evaluation():
    base = PruneSpec(calibration=CalibrationParams(samples=64, seq_len=128), allocation="owl", sparsity=0.9, out="x")
    spec = SweepSpec(
        model=ModelSpec(device="cpu"),
        methods=("sink-wanda",),
        sparsities=(0.6,),
        step_ranges=("5-30",),
        seeds=(3,),
        pruning=base,
        evaluation=EvaluateSpec(tasks=("physical",), limit=9, seed=4),
    )
    (point,) = grid(spec).prunings
    assert (point.calibration.samples, point.calibration.seed, point.allocation) == (64, 3, "owl")
    assert (point.sparsity, point.out, point.model.device) == (0.6, "", "cpu")
    assert step_range(point) == "5-30"
    dense, both = spec.evaluation_of(spec.model), spec.evaluation_of(spec.model, "folder", "pruned")
    assert (dense.compare, dense.names, dense.limit, dense.seed) == ((), ("dense",), 9, 4)
    assert both.models[1] == ModelSpec(source="folder", device="cpu") and both.names == ("dense", "pruned")
    assert SweepSpec.model_validate(json.loads(spec.model_dump_json())) == spec


def test_seeds_can_be_given_as_a_span():
    assert SweepSpec(seeds=("0-3", "7", 2)).seeds == (0, 1, 2, 3, 7)
    assert SweepSpec(seeds=("0 – 2",)).seeds == (0, 1, 2)
    assert problem(seeds=("3-1",)) == "The range of calibration seeds '3-1' ends before it begins. Write 1-3."
    assert problem(seeds=("0-1000000",)) == "'0-1000000' is 1,000,001 calibration seeds. A sweep takes at most 256."
    for nonsense in ("0-a", "1.5", "0-1-2", "9" * 5000):
        assert "Give whole numbers, or a range such as 0-7." in problem(seeds=(nonsense,))


def test_what_is_wrong_with_a_sweep_is_one_sentence():
    assert problem(sparsities=(1.5,)) == "Sparsity must be at most 0.95, not 1.5"
    assert problem(sparsities=("50%",)) == "Sparsities: each must be a number, not '50%'"
    assert problem(seeds=(-1,)) == "Calibration seed must be at least 0, not -1"
    assert problem(step_ranges=("early",)).startswith("'early' is no range of noise steps")
    assert problem(step_ranges=("30-10",)) == "The first step (30) must not exceed the last (10)."
    assert problem(methods=("sparsegpt",), patterns=("structured",)).startswith("Nothing is left to prune")
    assert problem(seeds=tuple(range(256)), sparsities=tuple(n / 100 for n in range(64)), stds=(0, 1, 2, 3)).startswith(
        "These axes have more than 50,000 combinations"
    )
    assert "a sweep takes 2,000" in problem(seeds=tuple(range(200)), sparsities=tuple(n / 100 for n in range(20)))
    assert "equal draws" in problem(evaluation=EvaluateSpec(early_draws=True))
    assert "named twice" in problem(other_models=(ModelSpec(),))
    uniform = PruneSpec(calibration=CalibrationParams(noise="uniform"))
    assert "has no steps to tell apart" in problem(pruning=uniform, step_ranges=("0-25",))
    SweepSpec(pruning=uniform)
