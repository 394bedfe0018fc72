"""A demonstration: short recordings of the bundled pair run, and nothing else runs or is changed, whoever asks."""

import pytest

from analysis.engine import Engine
from analysis.engine.job_store import Label
from analysis.engine.permissions import JOBS_RUN, LONGEST_PROMPT, MOST_TOKENS, MOST_WAITING, ONLY_READ, refusal
from analysis.engine.runs import Run, remove, remove_run, save_label
from analysis.errors import UserError
from analysis.jobs import JOBS
from analysis.specs import AlternativesSpec, AutoregressiveSampling, Branch, LLaDASampling, ModelSpec, RecordSpec
from tests.engine.helpers import PATIENCE, engine_in

SHORT = LLaDASampling(gen_length=4, steps=2)


def short(**changes) -> RecordSpec:
    return RecordSpec(**{"prompt": "mia has a dog .", "sampling": SHORT, **changes})


def test_recordings_of_the_pair_within_the_bounds_are_run():
    assert refusal("record", short(), 0) == ""
    most = LLaDASampling(gen_length=MOST_TOKENS, steps=MOST_TOKENS)
    assert refusal("record", short(prompt="a" * LONGEST_PROMPT, sampling=most), MOST_WAITING - 1) == ""
    pair = short(model=ModelSpec(source="bundled-ar"), sampling=AutoregressiveSampling(gen_length=4))
    assert refusal("record", pair, 0) == ""


def test_branches_within_the_bounds_are_recordings_and_their_alternatives_are_read():
    branch = Branch(parent="0" * 64, step=1, position=6, token=5, word="dog", tokens=(1, 2, 3))
    assert refusal("record", short(branch=branch), 0) == ""
    longer = LLaDASampling(gen_length=MOST_TOKENS + 1, steps=2)
    assert "up to" in refusal("record", short(branch=branch, sampling=longer), 0)
    question = AlternativesSpec(tokens=(1, 2, 3), position=2)
    assert refusal("alternatives", question, 0) == ""
    assert "run or wait already" in refusal("alternatives", question, MOST_WAITING)
    assert refusal("alternatives", question.model_copy(update={"model": ModelSpec(source="gpt2")}), 0) == ONLY_READ


@pytest.mark.parametrize(
    ("changes", "waiting", "says"),
    [
        ({"prompt": "a" * (LONGEST_PROMPT + 1)}, 0, "up to"),
        ({"sampling": LLaDASampling(gen_length=MOST_TOKENS + 1, steps=2)}, 0, "up to"),
        ({"sampling": LLaDASampling(gen_length=4, steps=MOST_TOKENS + 1)}, 0, "up to"),
        ({}, MOST_WAITING, "run or wait already"),
        ({"model": ModelSpec(source="gpt2")}, 0, "demonstration"),
        ({"model": ModelSpec(source="/etc")}, 0, "demonstration"),
        ({"model": ModelSpec(source="bundled", device="cpu")}, 0, "demonstration"),
    ],
)
def test_what_goes_beyond_the_bounds_is_refused_with_the_reason(changes, waiting, says):
    assert says in refusal("record", short(**changes), waiting)


def test_no_other_job_is_run_whatever_it_asks():
    for kind, job in JOBS.items():
        if kind not in JOBS_RUN:
            assert refusal(kind, job.spec.model_construct(model=ModelSpec()), 0) == ONLY_READ
    assert refusal("record", RecordSpecOfAnother(), 0) == ONLY_READ


class RecordSpecOfAnother(RecordSpec):
    """A spec that asks for more than a recording does."""


def refused(act, *given) -> None:
    with pytest.raises(UserError, match="demonstration"):
        act(*given)


@pytest.mark.slow
def test_the_engine_records_and_refuses_every_change(tmp_path, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_DEMO", "1")
    with engine_in(tmp_path) as engine:
        done = engine.wait(engine.submit("record", short(), "somebody").id, PATIENCE)
        assert done.state == "done", done.reason
        for kind, job in JOBS.items():
            if kind not in JOBS_RUN:
                refused(engine.submit, kind, job.spec.model_construct(model=ModelSpec(source="bundled")))
        run = Run("0" * 12, "pruned", "a run", "source", "bundled", 0.0, record=done)
        for act, *given in (
            (engine.receive_recording, b"", "a file"),
            (engine.add_recording, tmp_path / "none"),
            (engine.cancel, done.id),
            (engine.retry_failed, done.id),
            (engine.finish_early, done.id),
            (engine.forget, done.id),
            (engine.forget_result, done),
            (remove, engine, [done]),
            (remove_run, engine, run),
            (save_label, engine, run, Label(name="mine")),
        ):
            refused(act, *given)
        assert [job.id for job in engine.jobs()] == [done.id] and engine.has_result(done)
        assert engine.submit("record", short()).id == done.id, "what is stored is read"


def test_without_the_variable_nothing_is_refused(store, monkeypatch):
    monkeypatch.setenv("SINKSCOPE_DEMO", "0")
    engine = Engine(store)
    assert not engine.authorizer.demo
    engine.authorizer.demand("remove")
    engine.close()
