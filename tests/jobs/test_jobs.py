"""The table of jobs: one row a job, typed parameters and summaries, and records that older versions wrote."""

import dataclasses

import pytest
from pydantic import ValidationError

from analysis.engine.job_store import JobRecord, read_record
from analysis.jobs import JOBS, Job
from analysis.jobs.summaries import RecordSummary
from analysis.registry import Registry
from analysis.specs import JobSpec, LLaDASampling, ModelSpec, PruneSpec, RecordSpec, Spec

STORED = {"id": "a1", "kind": "record", "spec": {"prompt": "one day"}, "state": "done", "created": 1.0}


def test_a_name_is_taken_once():
    row = JOBS["record"]
    table = Registry(row)
    with pytest.raises(ValueError, match="There is a row named 'record' already"):
        table.add(row)
    with pytest.raises(ValueError, match="There is a row named 'record' already"):
        Registry(row, dataclasses.replace(row, title="Another"))
    with pytest.raises(ValueError, match="There is a row named 'record' already"):
        table.update({"record": row})
    with pytest.raises(ValueError, match="cannot stand under 'recording'"):
        table["recording"] = row
    assert list(table) == ["record"]


def test_a_record_that_an_older_version_stored_still_reads():
    record = read_record({**STORED, "summary": {"text": "ben", "steps": 4}, "a_field_of_then": 1})
    assert record.parameters(RecordSpec).prompt == "one day"
    assert record.parameters().model == ModelSpec()
    assert record.summary_as(RecordSummary)["steps"] == 4
    assert read_record({**STORED, "kind": "a job of another version"}) is None
    assert read_record({"id": "a1"}) is None


def test_parameters_are_read_as_what_the_row_says_only():
    record = JobRecord(**STORED)
    with pytest.raises(TypeError, match="'record' takes a RecordSpec, not a PruneSpec"):
        record.parameters(PruneSpec)
    unload = JobRecord(**{**STORED, "kind": "unload", "spec": {}})
    assert type(unload.parameters(Spec)) is JOBS["unload"].spec
    with pytest.raises(TypeError, match="not a JobSpec"):
        unload.parameters()
    with pytest.raises(ValidationError):
        JobRecord(**{**STORED, "spec": {"a_parameter_of_then": 1}}).parameters()


@pytest.mark.parametrize(
    "job", [job for job in JOBS.values() if job.run and job.run.__module__.startswith("analysis.")]
)
def test_what_is_kept_or_runs_between_steps_is_asked_of_a_model(job: Job):
    assert issubclass(job.spec, JobSpec) or not (job.stored or job.short)
    assert job.spec.__doc__


def test_a_recording_is_short_by_its_weights_and_the_tokens_of_its_forwards(tmp_path):
    def short(**fields):
        sampling = {"gen_length": 48, "steps": 48} | fields.pop("sampling", {})
        spec = RecordSpec(sampling=LLaDASampling(**sampling), **{"prompt": "the key is red. ", **fields})
        return JOBS["record"].is_short(spec)

    assert short()
    assert not short(prompt="the key is red. " * 2000)
    assert not short(sampling={"gen_length": 2048, "steps": 2048})
    assert not short(model=ModelSpec(source=str(tmp_path / "nothing")))
    assert not short(model=ModelSpec(source="someone/not-downloaded"))
