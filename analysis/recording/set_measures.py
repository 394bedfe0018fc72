"""Measures of a set of recordings beside their nulls, with intervals over its prompts: where the sinks are, by layer
and kind, how they move, and checks of their count. NumPy only; shapes as in `set_file`.

A measure is one row of `KIND_MEASURES` (a number per scope and kind) or `MOVES` (a number per scope). Checks hold the
count against log-normal attention, other definitions and half the length; a layer's answer is the most common kind of
its sinks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.recording.set_file import BY_KIND, RecordingSet
from analysis.registry import Registry
from analysis.sinks.intervals import LEAST_PROMPTS, LEVEL, Estimates, Parts, paired_differences, quotient
from analysis.sinks.layer_run import VARIANTS
from analysis.sinks.movement import COINCIDENCES, WEIGHT_NULLS
from analysis.sinks.step_inputs import ALL

LEAST_MODELS = 3  # of a null of other weights that a claim needs

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SetMeasure:
    """A quotient of sums. unit: for axes. parts: (arrays with the prompts first) -> numerator and denominator, of one
    shape or broadcast to it. percent: shown as per cent. root: it is the root of the quotient.
    """

    name: str
    title: str
    unit: str
    sentence: str
    formula: str
    parts: Callable[[Arrays], Parts]
    percent: bool = False
    root: bool = False


def _steps(arrays: Arrays) -> np.ndarray:
    return arrays["steps"][:, None, None]


KIND_MEASURES: Registry[SetMeasure] = Registry(
    SetMeasure(
        "corrected-share",
        "Corrected share of the sinks",
        "corrected share",
        "How much more attention a sink gets than uniform attention would give it, which is 1.",
        r"\operatorname{mean}_{t,\,s \in \text{sinks}_{t,l}} \frac{a_{t,l,s}}{u_{t,l,s}}",
        lambda arrays: (arrays["share"], arrays["sinks"]),
    ),
    SetMeasure(
        "count",
        "Sinks per step",
        "sinks per step",
        "How many sinks a layer has in a step.",
        r"\operatorname{mean}_t \#\,\text{sinks}_{t,l}",
        lambda arrays: (arrays["sinks"], _steps(arrays)),
    ),
    SetMeasure(
        "life",
        "How long a sink lives",
        "steps",
        "For how many steps in a row a position stays a sink, as far as it was recorded, by its kind at the beginning.",
        r"\frac{\text{steps as a sink}}{\text{times of becoming one}}",
        lambda arrays: (arrays["lived"], arrays["runs"]),
    ),
    SetMeasure(
        "portion",
        "Share of the layer's sinks",
        "share of the sinks",
        "Which part of a layer's sinks is of a kind.",
        r"\frac{\#\,\text{sinks of the kind}}{\#\,\text{sinks of the layer}}",
        lambda arrays: (arrays["sinks"], arrays["sinks"].sum(axis=-1, keepdims=True)),
        percent=True,
    ),
    SetMeasure(
        "strength",
        "Attention to the sinks",
        "share of attention",
        "Which part of a layer's attention goes to its sinks.",
        r"\operatorname{mean}_t \sum_{s \in \text{sinks}_{t,l}} a_{t,l,s}",
        lambda arrays: (arrays["attention"], _steps(arrays)),
        percent=True,
    ),
    SetMeasure(
        "token-share",
        "Corrected share of every token",
        "corrected share",
        "How much attention a token of a kind gets, sink or not, beside uniform attention, which gives 1.",
        r"\operatorname{mean}_{t,\,s\ \text{of the kind}} \frac{a_{t,l,s}}{u_{t,l,s}}",
        lambda arrays: (arrays["token_share"], arrays["tokens"][:, None, :]),
    ),
    SetMeasure(
        "tokens",
        "Share of all tokens",
        "share of all tokens",
        "Which part of all tokens is of a kind, sink or not: the baseline of its share of the sinks.",
        r"\frac{\#\,\text{tokens of the kind}}{\#\,\text{tokens}}",
        lambda arrays: (
            np.broadcast_to(arrays["tokens"][:, None, :], arrays["sinks"].shape),
            arrays["tokens"].sum(axis=-1)[:, None, None],
        ),
        percent=True,
    ),
)


def _of_pairs(name: str, coincidence: str | None = None) -> Callable[[Arrays], Parts]:
    def parts(arrays: Arrays) -> Parts:
        events = arrays[name]
        if coincidence is None:
            return events.sum(axis=-1), np.broadcast_to(arrays["pairs"][:, None], events.shape[:2])
        index = list(COINCIDENCES).index(coincidence)
        return events[..., index], events.sum(axis=-1)

    return parts


MOVES: Registry[SetMeasure] = Registry(
    SetMeasure(
        "change",
        "Change of the corrected share from step to step",
        "RMS change",
        "How far the corrected share of a position changes from a step to the next; of uniform attention it is 1.",
        r"\sqrt{\operatorname{mean}_{t,s} (r_{t+1,l,s} - r_{t,l,s})^2}",
        lambda arrays: (
            arrays["change_squares"],
            np.broadcast_to(arrays["changes"][:, None], arrays["change_squares"].shape),
        ),
        root=True,
    ),
    SetMeasure(
        "births",
        "Births per step",
        "births per step",
        "How many positions become a sink from one step to the next.",
        r"\operatorname{mean}_t |\text{sinks}_{t+1,l} \setminus \text{sinks}_{t,l}|",
        _of_pairs("births"),
    ),
    SetMeasure(
        "deaths",
        "Deaths per step",
        "deaths per step",
        "How many positions stop being a sink from one step to the next.",
        r"\operatorname{mean}_t |\text{sinks}_{t,l} \setminus \text{sinks}_{t+1,l}|",
        _of_pairs("deaths"),
    ),
    *(
        SetMeasure(
            f"{event}-{row.name}",
            f"{event.capitalize()} that coincide with {row.title}",
            f"share of the {event}",
            f"Which part of the {event} coincides with {row.title}. {row.help}",
            r"\frac{\#\,\text{such " + event + r"}}{\#\,\text{" + event + "}}",
            _of_pairs(event, row.name),
            percent=True,
        )
        for event in ("births", "deaths")
        for row in COINCIDENCES.values()
    ),
    SetMeasure(
        "centroid-variance",
        "Temporal variance of the centroid",
        "variance of c/S",
        "The published measure: how far the sinks' centre moves over the steps. It weighs a sink that barely is one as "
        "much as a strong one, and few sinks scatter more than many.",
        r"\operatorname{Var}_t(c_{t,l} / S)",
        lambda arrays: (arrays["centroid_variance"], np.ones_like(arrays["centroid_variance"])),
    ),
)


# --- estimates --------------------------------------------------------------------------------------------------


def by_kind(recordings: RecordingSet, measure: str, which: str = "trained") -> Estimates:
    """A row of `KIND_MEASURES` for every scope and kind, (G, K). which: trained, or a null of other weights."""
    return _estimates(KIND_MEASURES[measure], arrays_of(recordings, which), recordings.clusters)


def of_all_kinds(recordings: RecordingSet, measure: str, which: str = "trained") -> Estimates:
    """The same for every scope with all kinds together, (G,)."""
    together = {
        name: values.sum(axis=-1, keepdims=True) if BY_KIND.get(name, "").endswith("K") else values
        for name, values in arrays_of(recordings, which).items()
    }
    return _estimates(KIND_MEASURES[measure], together, recordings.clusters).each(lambda part: part[..., 0])


def moves(recordings: RecordingSet, measure: str, which: str = "trained") -> Estimates:
    """A row of `MOVES` for every scope, (G,). which: trained, or the name of a null."""
    return _estimates(MOVES[measure], arrays_of(recordings, which), recordings.clusters)


def _estimates(row: SetMeasure, arrays: Arrays, clusters: np.ndarray | None) -> Estimates:
    """Return a row's estimates. The interval of a share does not go beyond 1."""
    estimates = quotient(*row.parts(arrays), clusters)
    if row.percent:
        estimates = replace(estimates, high=np.minimum(estimates.high, 1))
    return estimates.each(np.sqrt) if row.root else estimates


@dataclass(frozen=True)
class Comparison:
    """A measure and its null. observed: its parts, (N, G) each. nulls: the same parts of each of the null's models, or
    one entry if the null is not a model; empty where no claim can be made.
    """

    name: str
    observed: Parts
    nulls: tuple[Parts, ...]


def compared(recordings: RecordingSet, name: str, parts: Callable[[Arrays], Parts], null: str) -> Comparison:
    """Return a quotient of sums of the trained model and the same of a null; without the null's models if they are too
    few, or saw too few prompts, for a claim.
    """
    observed = parts(arrays_of(recordings, "trained"))
    if null not in WEIGHT_NULLS:
        return Comparison(name, observed, (parts(arrays_of(recordings, null)),))
    models = range(len(recordings.info.seeds_of(null))) if enough(recordings, null) else ()
    return Comparison(name, observed, tuple(parts(arrays_of(recordings, null, model)) for model in models))


def enough(recordings: RecordingSet, null: str) -> bool:
    """Return whether a null of other weights has enough models, and each of them enough prompts, for a claim."""
    seen = prompts_seen(recordings, null)
    return len(seen) >= LEAST_MODELS and min(seen) >= LEAST_PROMPTS


def prompts_seen(recordings: RecordingSet, null: str) -> list[int]:
    """Count the clusters of prompts that each model of a null saw."""
    if null not in recordings.weight_nulls:
        return []
    seen = np.isfinite(recordings.part(null)["steps"])
    return [len(set(recordings.clusters[row])) for row in seen]


def excesses(recordings: RecordingSet, comparisons: Sequence[Comparison], level: float = LEVEL) -> list[Estimates]:
    """Return the excess of each measure over its null, paired by prompt, (G,) each, with simultaneous intervals at
    `level`. Of several models the closest counts, as the difference to each must be significant; NaN where there is
    none. For a measure that is a root, the squares are compared.
    """
    pairs = [(one.observed, null) for one in comparisons for null in one.nulls]
    told = iter(paired_differences(pairs, recordings.clusters, level=level) if pairs else ())
    return [_closest([next(told) for _ in one.nulls], one.observed[0].shape[1:]) for one in comparisons]


def _closest(each: Sequence[Estimates], shape: tuple[int, ...]) -> Estimates:
    """Return the difference to the closest model, with the lowest and highest end of all intervals."""
    if not each:
        return Estimates(*np.full((3, *shape), np.nan))
    values, lows, highs = (
        np.stack([getattr(difference, name) for difference in each]) for name in ("value", "low", "high")
    )
    closest = np.argmin(np.abs(np.nan_to_num(values, nan=np.inf)), axis=0)[None]
    # A value lies above all models only where it lies above each; one model without a value leaves nothing to say.
    return Estimates(np.take_along_axis(values, closest, axis=0)[0], lows.min(axis=0), highs.max(axis=0))


def curve(recordings: RecordingSet, name: str, scope: int = -1, which: str = "trained", split: str = ALL) -> Estimates:
    """A row of `CURVES` over the steps, mean over the prompts whose recording has the step, (T,)."""
    return quotient(single_curves(recordings, name, scope, which, split), clusters=recordings.clusters)


def single_curves(
    recordings: RecordingSet, name: str, scope: int = -1, which: str = "trained", split: str = ALL
) -> np.ndarray:
    """The same of every prompt by itself, (N, T), NaN after the end of a recording. split: a row of `SPLITS`; random
    weights are told of all tokens alone, and parts only of sets that have them (`parts_of`).
    """
    arrays, info = recordings.part(which), recordings.info
    if split == ALL:
        return np.asarray(arrays["curves"][:, scope, info.curves.index(name)])
    return np.asarray(arrays["split_curves"][:, info.parts.index(split), scope, info.split_curves.index(name)])


def parts_of(recordings: RecordingSet, name: str) -> tuple[str, ...]:
    """The splits of which a set can tell a row of `CURVES`: all tokens, and the parts it was recorded with."""
    return (ALL, *(recordings.info.parts if name in recordings.info.split_curves else ()))


def heads(recordings: RecordingSet, name: str, which: str = "trained") -> Estimates:
    """A row of `metrics.of_mass` for every head, mean over the prompts that have a value, (L, H)."""
    return quotient(single_heads(recordings, name, which), clusters=recordings.clusters)


def head_excess(recordings: RecordingSet, name: str) -> Estimates:
    """The same less what random weights give, paired by prompt, (L, H), with intervals that hold for all heads
    together; of several models as in `excesses`.
    """

    def parts(arrays: Arrays) -> Parts:
        values = arrays["heads"][:, recordings.info.head_metrics.index(name)]
        values = values.reshape(len(values), -1)
        return values, np.ones_like(values)

    [flat] = excesses(recordings, [compared(recordings, name, parts, "random")])
    return flat.each(lambda part: part.reshape(recordings.layers, recordings.info.heads))


def single_heads(recordings: RecordingSet, name: str, which: str = "trained") -> np.ndarray:
    """The same of every prompt by itself, (N, L, H). which: trained or random, the mean over its models."""
    return arrays_of(recordings, which)["heads"][:, recordings.info.head_metrics.index(name)]


def counts_over_steps(recordings: RecordingSet, scope: int) -> np.ndarray:
    """Sinks of each kind in each step, mean over the prompts whose recording has the step, (T, K)."""
    counts = recordings.part("trained")["counts"][:, scope]
    steps = np.array([prompt.steps for prompt in recordings.info.prompts])
    there = (np.arange(counts.shape[1]) < steps[:, None]).sum(axis=0)
    return counts.sum(axis=0) / there[:, None]


def arrays_of(recordings: RecordingSet, which: str, model: int | None = None) -> dict[str, np.ndarray]:
    """The sums of every prompt, (N, …). Of other weights those of one model, or the mean over the models that saw the
    prompt; NaN where none did.
    """
    if which not in WEIGHT_NULLS:
        return recordings.sums(which)
    if model is None:
        return recordings.over_models[which]
    return {name: values[model] for name, values in recordings.sums(which).items()}


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


def _per_step(name: str) -> Callable[[Arrays], Parts]:
    def parts(arrays: Arrays) -> Parts:
        values = arrays["sinks"].sum(axis=-1) if name == "sinks" else arrays[name]
        return values, np.broadcast_to(arrays["steps"][:, None], values.shape)

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
    """Return the checks of a set as comparisons."""
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
    half the length.
    """
    arrays, info, clusters = arrays_of(recordings, "trained"), recordings.info, recordings.clusters
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
