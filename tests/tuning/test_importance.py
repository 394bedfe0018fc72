"""Importances beside those of Optuna's own evaluator, which is the reference."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from analysis.specs.suggestion import searchable
from analysis.tuning.importance import shares
from analysis.tuning.search_space import space

RANGES = space(searchable())


def drawn(range_, rng):
    if isinstance(range_, CategoricalDistribution):
        return range_.choices[rng.integers(len(range_.choices))]
    return round(range_.low + range_.step * int(rng.integers(range_.high / range_.step)), 9)


@pytest.mark.parametrize("maximise", [False, True])
@pytest.mark.parametrize("trials", [8, 40, 200])
def test_shares_are_those_of_optuna(trials, maximise):
    rng = np.random.default_rng(trials)
    settings = [{name: drawn(range_, rng) for name, range_ in RANGES.items()} for _ in range(trials)]
    # Rounded, so that some are equal.
    values = [round(abs(setting["sink_std"] - 4) + (setting["sink_score"] == "hard"), 1) for setting in settings]
    study = optuna.create_study(direction="maximize" if maximise else "minimize")
    study.add_trials(
        optuna.trial.create_trial(params=setting, distributions=RANGES, value=value)
        for setting, value in zip(settings, values, strict=True)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so where few trials are among the best
        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
        reference = get_param_importances(study, evaluator=evaluator)
    ours = shares(RANGES, settings, values, 0.25, maximise)
    assert ours == pytest.approx(reference, rel=1e-9)
    assert list(ours.values()) == sorted(ours.values(), reverse=True)
