"""Cost of a sink-aware pruning, step by step: the published baseline, its noise (the control), the discount."""

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.evaluation import comparing, conditions
from analysis.evaluation.comparing import Pair
from analysis.evaluation.results import AVERAGE, Results
from analysis.specs import METHODS
from analysis.statistics.differences import Difference


@dataclass(frozen=True)
class Stage:
    """A step from one model to the next. pair: the model, and the one before it. total: the whole way from the first
    model, not a step of it.
    """

    title: str
    pair: Pair
    difference: Difference
    total: bool = False


def decomposed(results: Results) -> list[int]:
    """The sink-aware runs whose cost can be taken apart: those whose control is here, by their numbers."""
    every = comparing.conditions_of(results)
    return [model for model in range(1, len(every)) if conditions.chain(every, model)]


def stages(results: Results, model: int, task: str) -> list[Stage]:
    """The steps from the first model to a sink-aware run, each a paired difference, and at last the whole way.

    task: a benchmark's name, or `AVERAGE`. On the same items the steps add up to the whole. Without the published
    baseline the first step is the control. Empty where the run has no control here.
    """
    every = comparing.conditions_of(results)
    chain = conditions.chain(every, model)
    if not chain:
        return []
    way = [0, *chain]
    pairs = [*zip(way[1:], way[:-1], strict=True)]
    differences = comparing.family(results, [*pairs, (model, 0)])
    titles = [METHODS[every[chain[0]][conditions.METHOD]].title]
    if len(chain) > 2:
        titles.append("+ noise (control)")
    titles.append("+ discount")
    steps = [Stage(title, pair, _on(differences[pair], task)) for title, pair in zip(titles, pairs, strict=True)]
    whole = METHODS[every[model][conditions.METHOD]].title
    return [*steps, Stage(f"{whole} in all", (model, 0), _on(differences[model, 0], task), total=True)]


def _on(differences: Mapping[str, Difference], task: str) -> Difference:
    return comparing.overall(differences) if task == AVERAGE else differences[task]
