"""A search as an Optuna journal: Optuna itself finds in it what the summary says."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from analysis.jobs import JOBS
from analysis.specs import DiscountParams, ModelSpec, SuggestSpec, TuneParams
from analysis.tuning.search_space import space
from tests.helpers import QuietContext
from tests.jobs import added_objective


@pytest.fixture(autouse=True)
def _added():
    with added_objective.added():
        yield


def opened(path):
    """The one study of a journal."""
    return optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))


def test_optuna_finds_every_trial_with_its_setting_value_and_facts(tmp_path):
    held = TuneParams(discount=DiscountParams(sink_score="hard"))
    spec = SuggestSpec(
        model=ModelSpec(device="cpu"),
        objective="far",
        trials=6,
        limit=2,
        setting=held,
        searched=("sink_std", "sink_alpha"),
    )
    outcome = JOBS["suggest"].run(spec, QuietContext(tmp_path, tmp_path / "home"))
    summary, study = outcome.summary, opened(outcome.file)
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.COMPLETE] * 6
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE and study.best_trial.number == summary["best"]
    assert study.best_value == max(row["value"] for row in summary["trials"])
    for row, trial in zip(summary["trials"], study.trials, strict=True):
        assert trial.value == row["value"]
        assert trial.params == {name: row["discount"][name] for name in spec.searched}
        assert trial.distributions == space(spec.searched)
        told = ("name", "published", "seconds", "discount")
        assert {name: trial.user_attrs[name] for name in told} == {name: row[name] for name in told}
        assert trial.user_attrs["changed"] == row["facts"]["changed"] == 0.5
        assert trial.duration.total_seconds() == pytest.approx(row["seconds"], abs=1e-5)
    # The published setting is not hard, and no discount has another strength.
    assert [trial.user_attrs["varies_only_searched"] for trial in study.trials] == [False, False, *[True] * 4]
    assert SuggestSpec(**study.user_attrs["parameters"]) == spec
    assert study.user_attrs["fingerprint"] == summary["fingerprint"] and study.user_attrs["notes"] == summary["notes"]
