"""Adding a job is one row: the engine runs it, keeps what it left, and the command line has it as a verb."""

import json
from contextlib import closing

import dask
import pytest

from analysis import __main__ as command_line
from analysis.engine import Engine
from analysis.engine.job_store import read_record
from analysis.jobs import JOBS
from analysis.specs import ModelSpec, sentence
from cache.store import Store
from cache.stores import Responses
from tests.engine.added_job import ROW, VERB, CountPartial, CountSpec, CountSummary
from tests.engine.helpers import PATIENCE

TEXT = "mia has a small dog ."
SPEC = CountSpec(model=ModelSpec(device="cpu"), text=TEXT, times=3)


@pytest.fixture
def added(monkeypatch):
    """The row in the table, for one test."""
    monkeypatch.setitem(JOBS, "count", ROW)


@pytest.mark.slow
def test_the_engine_runs_an_added_job_and_keeps_what_it_left(added, tmp_path, bundled):
    with dask.config.set({"distributed.worker.preload": ["tests.engine.added_job"]}):
        store = Store(tmp_path / "store")
        engine = Engine(store, devices=["cpu"])
        try:
            job = engine.wait(engine.submit("count", SPEC).id, PATIENCE)
            assert job.state == "done", job.reason
            tokens = len(bundled.encode(TEXT, "off")[0])
            assert job.summary_as(CountSummary) == {"tokens": tokens, "counted_before": False}
            assert job.parameters(CountSpec) == SPEC
            assert engine.progress(job.id).details_as(CountPartial)["so_far"] == [tokens] * 3
            assert json.loads(engine.result(job).file.read_text()) == [tokens] * 3
            assert engine.submit("count", SPEC).id == job.id, "the same question is answered by reading"
            again = engine.wait(engine.submit("count", SPEC.model_copy(update={"times": 1})).id, PATIENCE)
            assert again.summary_as(CountSummary)["counted_before"], "jobs of one engine share its stores"
        finally:
            engine.close()
            store.close()
    with closing(Responses(tmp_path / "store")) as responses:
        assert responses.get(TEXT) == {"tokens": tokens}
    with closing(Responses()) as elsewhere:
        assert elsewhere.get(TEXT) is None, "the engine's store is used, not the environment's"


def test_the_command_line_has_an_added_verb(added, tmp_path, bundled, monkeypatch, capsys):
    monkeypatch.setitem(command_line.VERBS, "count", VERB)
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    tokens = len(bundled.encode(TEXT, "off")[0])
    for known in (False, True):
        assert command_line.main(["count", "--text", TEXT, "--device", "cpu", "--times", "2"]) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out) == {"tokens": tokens, "counted_before": known}
        assert "counting 2/2" in printed.err
    assert command_line.main(["count", "--text", TEXT, "--times", "10"]) == 2
    assert capsys.readouterr().err == "error: Times must be at most 9, not 10\n"


def test_sentences_know_the_labels_of_an_added_job_and_records_of_it_go_with_its_row(added, monkeypatch):
    with pytest.raises(ValueError) as caught:
        CountSpec(text="")
    assert sentence(caught.value) == "Text is empty"
    stored = {"id": "a", "kind": "count", "spec": {"text": "mia"}, "created": 1.0}
    assert read_record(stored).parameters(CountSpec).times == 1
    monkeypatch.delitem(JOBS, "count")
    assert read_record(stored) is None
