"""Drawing only until an item's answer is clear: whole rounds of draws, for one model that is compared with none.

Every round is an unbiased estimate of its own, stratified over all numbers of masked tokens, so an item that stops
after r rounds has the mean of r of them. An item stops when its best answer leads the second by `CLEAR` standard errors
of that lead over the rounds. Which rounds are drawn then depends on the model: no basis for comparing two.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.evaluation import likelihood
from analysis.evaluation.likelihood import Likelihood, OnResult, Request
from analysis.evaluation.masked_sets import is_exact
from analysis.models.loaded import LoadedModel

ROUNDS = 8
LEAST_ROUNDS = 3
CLEAR = 4.0


def log_likelihoods(
    model: LoadedModel,
    requests: Sequence[Request],
    items: Sequence[Hashable],
    draws: int,
    seed: int,
    on_result: OnResult,
    **options: Any,
) -> list[Likelihood]:
    """As `likelihood.log_likelihoods` with at most `draws`, item by item. items: which item each answer belongs to."""
    each = max(1, draws // ROUNDS)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        members[item].append(index)
    whole = [m for m in members.values() if all(is_exact(len(requests[i].continuation), draws) for i in m)]
    results: dict[int, Likelihood] = {}

    def done(index: int, result: Likelihood) -> None:
        results[index] = result
        on_result(index, result)

    exact = [index for group in whole for index in group]
    likelihood.log_likelihoods(
        model, [requests[i] for i in exact], draws, seed, lambda i, result: done(exact[i], result), **options
    )
    open_ = [group for group in members.values() if group not in whole]
    values: dict[int, list[float]] = defaultdict(list)
    for number in range(1, max(1, draws // each) + 1):
        pending = [index for group in open_ for index in group]
        # Each round has seeds of its own; the task's name is part of every seed.
        renamed = [replace(requests[i], task=f"{requests[i].task} round {number}") for i in pending]
        drawn = likelihood.log_likelihoods(model, renamed, each, seed, **options)
        for index, result in zip(pending, drawn, strict=True):
            values[index].append(result.value)
        left = []
        for group in open_:
            if number * each + each > draws or _is_clear([values[index] for index in group]):
                for index in group:
                    done(index, Likelihood(float(np.mean(values[index])), False, number * each, tokens=drawn[0].tokens))
            else:
                left.append(group)
        open_ = left
        if not open_:
            break
    return [results[index] for index in range(len(requests))]


def _is_clear(values: list[list[float]]) -> bool:
    """Return True if the best answer leads by enough. values: one row per answer, one column per round."""
    rounds = np.array(values)
    if rounds.shape[0] < 2 or rounds.shape[1] < LEAST_ROUNDS:
        return False
    order = rounds.mean(axis=1).argsort()
    lead = rounds[order[-1]] - rounds[order[-2]]
    return bool(lead.mean() > CLEAR * lead.std(ddof=1) / np.sqrt(len(lead)))
