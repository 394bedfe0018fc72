"""Sizes of tasks in items and clusters, before any of them is read. Imports neither lm-eval nor torch."""

from collections.abc import Sequence
from functools import cache

from analysis.evaluation.bundled.data import cluster_sizes
from analysis.evaluation.planning import TaskItems
from analysis.evaluation.presets import BUNDLED_PREFIX, PRESETS, Preset, expand


def known_sizes(names: Sequence[str]) -> tuple[list[TaskItems], list[str]]:
    """Of tasks and suites of right answers: those whose sizes are known, and the names of the others.

    Where the hub's clusters are known by their number alone, they are taken as equally large.
    """
    known, unknown = [], []
    for name in expand(tuple(names)):
        row = PRESETS.get(name)
        if row is None or (row.counts_right and not _is_known(row)):
            unknown.append(name)
        elif row.counts_right:
            known.append(_items_of(name))
    return known, unknown


@cache
def _items_of(name: str) -> TaskItems:
    row = PRESETS[name]
    return TaskItems(row.title, _sizes(row), subjects=row.clusters > 0)


def _is_known(row: Preset) -> bool:
    return row.task.startswith(BUNDLED_PREFIX) or row.items > 0


def _sizes(row: Preset) -> tuple[int, ...]:
    if row.task.startswith(BUNDLED_PREFIX):
        return cluster_sizes(row.task.removeprefix(BUNDLED_PREFIX))
    clusters = row.clusters or row.items
    least, more = divmod(row.items, clusters)
    return tuple(least + (number < more) for number in range(clusters))
