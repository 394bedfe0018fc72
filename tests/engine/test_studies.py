"""Studies in a real engine: every part once, an interruption survived, and nothing repeated."""

import pytest

from analysis.engine import Engine
from analysis.engine.studies import children_of, departures, new_study
from analysis.errors import UserError
from analysis.specs import ModelSpec, StudySpec
from analysis.study import rules
from analysis.study.gather import gather
from tests.conftest import GOLDEN
from tests.engine.helpers import PATIENCE, engine_in, until
from tests.helpers import tiny_llada

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    return tiny_llada(tmp_path_factory.mktemp("tiny") / "model", 0)


def small(tiny: str, **changes) -> StudySpec:
    return StudySpec(
        **{
            "model": ModelSpec(source=tiny, device="cpu"),
            "prompt": "one day ben goes to the zoo .",
            "gen_length": 4,
            "prompts": 2,
            "random_models": 0,
            "sparsities": (0.5,),
            "seeds": (0,),
            "samples": 2,
            "seq_len": 32,
            "tasks": ("bundled_agreement",),
            "limit": 2,
            **changes,
        }
    )


def finished(engine: Engine) -> dict[str, tuple[float | None, float | None]]:
    """When every job that is done began and ended, by its id; planned ones are no work of their own."""
    return {
        job.id: (job.started, job.finished)
        for job in engine.jobs()
        if job.state == "done" and job.kind not in ("study", "sweep")
    }


def test_a_study_that_was_cut_off_goes_on_and_repeats_nothing(tmp_path, tiny):
    spec = small(tiny)
    with engine_in(tmp_path) as first:
        record = first.submit("study", spec)
        until(lambda: any(job.kind == "evaluate" for job in first.jobs() if job.state == "done"))
    with engine_in(tmp_path) as second:
        assert second.job(record.id).state == "running"
        before = finished(second)
        assert before
        ended = second.wait(record.id, PATIENCE)
        assert ended.state == "done", ended.reason
        after = finished(second)
        assert {job_id: after[job_id] for job_id in before} == before
        kinds = [second.job(job_id).kind for job_id in after]
        assert [kinds.count(kind) for kind in ("record", "record_set", "ablate_set", "prune", "evaluate")] == [
            1,
            1,
            1,
            3,
            4,
        ]
        assert [part.state for part in second.parts(ended) if part.state != "not asked"]
        found = gather(ended, second)
        assert {one.claim for one in rules.verdicts(found)} == {"matter", "discount", "noise", "recipe"}
        assert found.pruning.waiting == 0 and found.command.startswith("python -m analysis study --model")
    with engine_in(tmp_path, alone=True) as third:
        assert third.submit("study", spec).id == record.id
        assert third.worker_pids() == [], "nothing is left to run"


def test_a_study_of_a_model_that_is_none_is_refused_at_once(tmp_path, tiny):
    with engine_in(tmp_path) as engine, pytest.raises(UserError, match="There is no model"):
        engine.submit("study", small("none such"))


def test_a_study_of_diffusiongemma_asks_what_it_can_answer_and_says_in_what_it_departs():
    """Its own noise in sequences that hold a canvas, no random weights, no ablation; the reference is asked for all."""
    model, reference = (ModelSpec(source=str(GOLDEN / name)) for name in ("diffusion-gemma", "llada-mha"))
    alone, beside = new_study(model, seq_len=20), new_study(model, reference=reference)
    children = children_of(alone)
    assert [child.spec.random_models for child in children["sinks"]] == [0]
    calibration = children["pruning"][0].spec.pruning.calibration
    assert (calibration.noise, calibration.seq_len) == ("random-tokens", 32)
    assert children["causes"] == []
    reason = f"Sinks of {model.source} are not hidden. Keys of DiffusionGemma cannot be hidden: its layers hold "
    assert departures(alone, "causes") == departures(beside, "causes") == f"{reason}different ones."
    assert "have 32 tokens, the last 16 of them the canvas" in departures(alone, "pruning")
    assert departures(beside, "pruning") == departures(alone, "watch") == ""
    children = children_of(beside)
    assert [child.spec.random_models for child in children["sinks"]] == [0, 3]
    assert [child.spec.model for child in children["causes"]] == [reference]
    assert departures(new_study(reference), "causes") == ""
