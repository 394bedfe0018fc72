"""Searching the parameters of the discount: the space from their own fields, and Optuna's sampler over it.

Every setting is drawn by a sampler of its own, seeded by the search's seed and the number of trials before it, from
those trials alone. So a search that goes on from stored trials draws what one without a break draws.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.study import StudyDirection

from analysis.specs import DiscountParams, choices
from analysis.specs.base import bounds, extra

FOR_IMPORTANCE = 8  # trials before importances are given
TOP = 0.25  # share of the trials that importance explains

optuna.logging.set_verbosity(optuna.logging.WARNING)

Space = dict[str, BaseDistribution]


def space(names: Sequence[str], leave_out: Mapping[str, Sequence[Any]] | None = None) -> Space:
    """The range of every parameter as its field has it: numbers by their step, or all choices but those left out.

    A bound that its field excludes is one step inside. What has one choice left is not in the space.
    """
    ranges: Space = {}
    for name in names:
        field = DiscountParams.model_fields[name]
        allowed = [choice for choice in choices(field) if choice not in (leave_out or {}).get(name, ())]
        if len(allowed) > 1:
            ranges[name] = CategoricalDistribution(allowed)
        if choices(field):
            continue
        step = extra(field)["step"]
        low, high, _ = bounds(field, step)
        if low is None or high is None:
            raise ValueError(f"'{name}' has no range to search. Give its field a least and a largest value.")
        if field.annotation is int:
            ranges[name] = IntDistribution(int(low), int(high), step=int(step))
        else:
            ranges[name] = FloatDistribution(float(low), float(high), step=float(step))
    return ranges


def _lies_in(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low <= value <= distribution.high


class Search:
    """Trials of discounts that differ from `base` in a space alone, and Optuna's word on them."""

    def __init__(self, ranges: Space, base: DiscountParams, seed: int, maximise: bool) -> None:
        self._space, self._base, self._seed = ranges, base, seed
        self._direction = StudyDirection.MAXIMIZE if maximise else StudyDirection.MINIMIZE
        self._trials: list[optuna.trial.FrozenTrial] = []

    def holds(self, discount: DiscountParams) -> bool:
        """Return True if a setting lies in the space: all that is not searched is as in the base."""
        values = self._searched(discount)
        if self._base.model_copy(update=values) != discount:
            return False
        return all(_lies_in(distribution, values[name]) for name, distribution in self._space.items())

    def tell(self, discount: DiscountParams, value: float) -> None:
        """Record the value of a setting of the space."""
        trial = optuna.trial.create_trial(params=self._searched(discount), distributions=self._space, value=value)
        self._trials.append(trial)

    def ask(self) -> DiscountParams:
        """The next setting to try: at random for the first ten trials, then by a Parzen estimator (TPE)."""
        study = self._study()
        seed = np.random.SeedSequence([self._seed, len(self._trials)]).generate_state(1)[0]
        study.sampler = TPESampler(seed=int(seed))
        drawn = study.ask(self._space).params
        # A multiple of a step is not its nearest number: 0.1 · 3 is 0.30000000000000004.
        rounded = {name: round(value, 9) if isinstance(value, float) else value for name, value in drawn.items()}
        return self._base.model_copy(update=rounded)

    def importances(self) -> dict[str, float]:
        """By parameter, how much its values in the best quarter of the trials differ from those in all, as shares.

        PED-ANOVA (arXiv 2304.10255). Empty before `FOR_IMPORTANCE` trials, and where the trials are all alike.
        """
        if len(self._trials) < FOR_IMPORTANCE or not self._space:
            return {}
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # a second: it has sklearn

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says so where few trials are in the best quarter
            evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)
            shares = get_param_importances(self._study(), evaluator=evaluator, normalize=False)
        total = sum(shares.values())
        return {name: value / total for name, value in shares.items()} if total > 0 else {}

    def _searched(self, discount: DiscountParams) -> dict[str, Any]:
        return {name: getattr(discount, name) for name in self._space}

    def _study(self) -> optuna.Study:
        study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), direction=self._direction)
        study.add_trials(self._trials)
        return study
