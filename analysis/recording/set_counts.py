"""Checks of a set's sink counts: against log-normal attention, under other definitions, and at half the length. NumPy
only.

A layer's answer is the most common kind of its sinks. Shapes as in `set_file`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import Arrays, Comparison, arrays_of
from analysis.registry import Registry
from analysis.sinks.count_checks import VARIANTS
from analysis.sinks.intervals import Estimates, Parts, quotient

IID = "log-normal attention"
IID_SENTENCE = (
    "Log-normal attention: independent mass with the mean and the spread that the logarithm of the mass has over the "
    "positions of each step. Mean + k·std marks sinks there, too."
)


@dataclass(frozen=True)
class Check:
    """A number per layer against the same of log-normal attention. observed, null: the parts of both. above, below:
    sentences with {layers}, {value} and {null}. shown: conversion of a value to the displayed unit.
    """

    name: str
    observed: Callable[[Arrays], Parts]
    null: Callable[[Arrays], Parts]
    above: str
    below: str = ""
    shown: Callable[[np.ndarray], np.ndarray] = np.asarray


def _steps(arrays: Arrays, like: np.ndarray) -> np.ndarray:
    return np.broadcast_to(arrays["steps"][:, None], like.shape)


def _per_step(name: str) -> Callable[[Arrays], Parts]:
    def parts(arrays: Arrays) -> Parts:
        values = arrays["sinks"].sum(axis=-1) if name == "sinks" else arrays[name]
        return values, _steps(arrays, values)

    return parts


CHECKS: Registry[Check] = Registry(
    Check(
        "count",
        _per_step("sinks"),
        _per_step("iid_sinks"),
        above="{layers}: more sinks than in " + IID + " ({value} per step against {null}).",
        below="{layers}: fewer sinks than in " + IID + " ({value} per step against {null}).",
    ),
    Check(
        "gap",
        lambda arrays: (arrays["gap"], arrays["gap_steps"]),
        lambda arrays: (arrays["iid_gap"], arrays["iid_gap_steps"]),
        above="{layers}: a gap sets the sinks apart. The lightest draws {value} × the attention of the heaviest other "
        "token, and {null} × in " + IID + ".",
        shown=np.exp,
    ),
    Check(
        "tail",
        _per_step("tail"),
        _per_step("iid_tail"),
        above="{layers}: a heavier tail than in " + IID + ". The heaviest token lies {value} standard deviations of "
        "log-mass above the mean, against {null} there.",
    ),
)


def comparisons(recordings: RecordingSet) -> list[Comparison]:
    """Return the checks of a set as comparisons; none if the set was recorded without them."""
    if not recordings.info.variants:
        return []
    arrays = arrays_of(recordings, "trained")
    return [Comparison(row.name, row.observed(arrays), (row.null(arrays),)) for row in CHECKS.values()]


def set_apart(family: Mapping[str, Estimates], layers: int) -> np.ndarray | None:
    """Return the layers in which a significant gap or a heavy tail sets the sinks apart, (L,) bool; None where neither
    was tested.
    """
    there = [family[name] for name in ("gap", "tail") if name in family]
    if not there:
        return None
    return np.any([np.nan_to_num(difference.low[:layers], nan=-1.0) > 0 for difference in there], axis=0)


def count_by_variant(recordings: RecordingSet) -> dict[str, Estimates]:
    """Return the sinks per step of every scope, (G,), by other ways of counting, then in log-normal attention and at
    half the length; empty for a set that was recorded without them.
    """
    arrays, info, clusters = arrays_of(recordings, "trained"), recordings.info, recordings.clusters
    if not info.variants:
        return {}
    counts = {
        VARIANTS[name].title if name in VARIANTS else name: quotient(
            arrays["variants"][:, place].sum(axis=-1), arrays["steps"][:, None], clusters
        )
        for place, name in enumerate(info.variants)
        if name not in VARIANTS or VARIANTS[name].params != info.sinks
    }
    counts[IID] = quotient(arrays["iid_sinks"], arrays["steps"][:, None], clusters)
    if info.half_tokens:
        sinks = arrays["half_sinks"].sum(axis=-1)
        counts[f"{info.half_tokens} new tokens"] = quotient(sinks, arrays["half_steps"][:, None], clusters)
    return counts
