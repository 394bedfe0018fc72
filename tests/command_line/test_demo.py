"""Content of a demonstration: the jobs that the pages show, each requested once."""

from analysis.__main__ import main
from analysis.command_line.demo import _ABOUT, _KINDS, _asked, _recordings
from analysis.engine.permissions import refusal
from analysis.engine.studies import new_study
from analysis.jobs import JOBS
from analysis.specs import ModelSpec


def test_only_kinds_that_there_are_are_run(capsys):
    assert {kind for kind, _ in [*_recordings(), *_asked(study=True)]} | {*_ABOUT} == {*_KINDS}
    assert main(["demo", "--only", "record,recrod"]) == 2
    assert "--only takes record, reference, " in capsys.readouterr().err


def test_every_page_gets_something_and_nothing_is_asked_twice():
    asked = [*_recordings(), *_asked(study=True)]
    assert {kind for kind, _ in asked} == {"record", "record_set", "ablate_set", "calibrate", "sweep", "study"}
    assert all(isinstance(spec, JOBS[kind].spec) for kind, spec in asked)
    assert len({(kind, spec.model_dump_json()) for kind, spec in asked}) == len(asked)
    sweep = next(spec for kind, spec in asked if kind == "sweep")
    assert sweep.model_copy(update={"keep": "masks"}) == new_study(ModelSpec()).sweep(), "pages agree with the study"
    recordings = [spec for kind, spec in asked if kind == "record"]
    assert {spec.model.source for spec in recordings} == {"bundled", "bundled-ar"}
    assert not any(refusal("record", spec, 0) for spec in recordings), "a visitor may ask the same"
    assert [kind for kind, _ in [*_recordings(), *_asked(study=False)]] == [
        kind for kind, _ in asked if kind != "study"
    ]
