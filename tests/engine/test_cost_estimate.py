"""A sweep's estimate takes scoring as it took before, on as many items or scaled from others."""

from types import SimpleNamespace

import pytest

from analysis.engine import JobRecord
from analysis.engine.cost_estimate import _seconds_a_model, added, foresee, most
from analysis.specs import CalibrationParams, EvaluateSpec, ModelSpec, PruneSpec, SweepSpec, grid


def scored(limit: int | None, seconds: float, tasks: tuple[str, ...] = ("bundled",)) -> JobRecord:
    """An evaluation of two models."""
    spec = EvaluateSpec(compare=(ModelSpec(source="pruned"),), limit=limit, tasks=tasks)
    return JobRecord(
        id="0" * 12,
        kind="evaluate",
        spec=spec.model_dump(mode="json"),
        state="done",
        created=1.0,
        started=1.0,
        finished=1.0 + seconds,
        summary={"answers": 100, "restored": 0},
    )


def test_scoring_is_foreseen_by_as_many_items_else_scaled_from_others():
    asked = EvaluateSpec(limit=128)
    assert _seconds_a_model([scored(64, 20.0)], asked) == 20.0
    assert _seconds_a_model([scored(64, 20.0), scored(128, 30.0)], asked) == 15.0, "measured goes first"
    assert _seconds_a_model([scored(64, 20.0, ("piqa",)), scored(None, 20.0)], asked) is None


def pruned(samples: int, seconds: float) -> JobRecord:
    """A finished pruning with so many calibration sequences."""
    spec = PruneSpec(calibration=CalibrationParams(samples=samples, seq_len=64), out="")
    return scored(64, seconds).model_copy(update={"kind": "prune", "spec": spec.model_dump(mode="json")})


@pytest.mark.parametrize(("samples", "seconds"), [(32, 20.0), (64, 40.0), (8, 20.0), (600, 600.0)])
def test_pruning_is_foreseen_by_as_much_text_else_scaled_up_from_less(samples, seconds):
    spec = SweepSpec(
        methods=("sink-wanda",),
        sparsities=(0.5,),
        seeds=(0,),
        pruning=PruneSpec(calibration=CalibrationParams(samples=samples, seq_len=64), out=""),
    )
    jobs = {"prune": [pruned(32, 20.0), pruned(512, 512.0)], "evaluate": [], "estimate": []}
    engine = SimpleNamespace(jobs=jobs.__getitem__, answered=lambda kind, key: None, workers=lambda: 1)
    foreseen = foresee(engine, SimpleNamespace(unanswered=lambda spec: grid(spec).prunings), spec)
    assert foreseen.seconds == seconds and not foreseen.unmeasured
    said = f"1 model: about {most(seconds)} at most to prune on an idle machine; scoring time not known."
    assert added(foreseen) == said
    assert added(foreseen, start=9.0) == said.replace(most(seconds), most(seconds + 9.0)), "with the worker's start"
    assert len(foreseen.estimates) == 1, "how much memory it takes is still not known"


def test_what_takes_at_most_is_rounded_up():
    assert [most(seconds) for seconds in (89.2, 326.0, 7210.0)] == ["90 s", "6 min", "2.1 h"]


def test_scoring_takes_the_mean_so_that_the_sum_over_many_is_not_below_what_they_took():
    assert _seconds_a_model([scored(128, seconds) for seconds in (20.0, 20.0, 80.0)], EvaluateSpec(limit=128)) == 20.0
