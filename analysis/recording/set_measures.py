"""What a set of recordings shows, with bootstrap intervals over its prompts: where the sinks are by layer and kind, and
how they move, beside their nulls. NumPy only; shapes as in `set_file`.

A measure is one row of `KIND_MEASURES` (a number a scope and kind) or `MOVES` (a number a scope).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.recording.set_file import BY_KIND, RecordingSet
from analysis.registry import Registry
from analysis.sinks.intervals import Estimates, paired_difference, quotient
from analysis.sinks.movement import COINCIDENCES
from analysis.sinks.token_states import ALL

LEAST_MODELS = 3  # random-weight models that a claim needs

Arrays = Mapping[str, np.ndarray]
Parts = tuple[np.ndarray, np.ndarray]
"""Numerator and denominator of a quotient of sums over prompts."""


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
        "Sinks a step",
        "sinks a step",
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
)


def _of_pairs(name: str, coincidence: str | None = None) -> Callable[[Arrays], Parts]:
    def parts(arrays: Arrays) -> Parts:
        events = arrays[name]
        if coincidence is None:
            return events.sum(axis=-1), np.broadcast_to(arrays["pairs"][:, None], events.shape[:2])
        index = list(COINCIDENCES).index(coincidence)
        return events[..., index], events.sum(axis=-1)

    return parts


def _mean_square(arrays: Arrays) -> Parts:
    return arrays["change_squares"], np.broadcast_to(arrays["changes"][:, None], arrays["change_squares"].shape)


def _mean_variance(arrays: Arrays) -> Parts:
    variance = arrays["centroid_variance"]
    return variance, np.ones_like(variance)


MOVES: Registry[SetMeasure] = Registry(
    SetMeasure(
        "change",
        "Change of the corrected share from step to step",
        "RMS change",
        "How far the corrected share of a position changes from a step to the next; of uniform attention it is 1.",
        r"\sqrt{\operatorname{mean}_{t,s} (r_{t+1,l,s} - r_{t,l,s})^2}",
        _mean_square,
        root=True,
    ),
    SetMeasure(
        "births",
        "Births a step",
        "births a step",
        "How many positions become a sink from one step to the next.",
        r"\operatorname{mean}_t |\text{sinks}_{t+1,l} \setminus \text{sinks}_{t,l}|",
        _of_pairs("births"),
    ),
    SetMeasure(
        "deaths",
        "Deaths a step",
        "deaths a step",
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
        _mean_variance,
    ),
)


# --- estimates --------------------------------------------------------------------------------------------------


def by_kind(recordings: RecordingSet, measure: str, which: str = "trained") -> Estimates:
    """A row of `KIND_MEASURES` for every scope and kind, (G, K). which: trained or random."""
    return quotient(*KIND_MEASURES[measure].parts(arrays_of(recordings, which)))


def of_all_kinds(recordings: RecordingSet, measure: str, which: str = "trained") -> Estimates:
    """The same for every scope with all kinds together, (G,)."""
    together = {
        name: values.sum(axis=-1, keepdims=True) if BY_KIND.get(name, "").endswith("K") else values
        for name, values in arrays_of(recordings, which).items()
    }
    estimates = quotient(*KIND_MEASURES[measure].parts(together))
    return Estimates(estimates.value[..., 0], estimates.low[..., 0], estimates.high[..., 0])


def moves(recordings: RecordingSet, measure: str, which: str = "trained") -> Estimates:
    """A row of `MOVES` for every scope, (G,). which: trained, or the name of a null."""
    estimates = quotient(*MOVES[measure].parts(arrays_of(recordings, which)))
    if not MOVES[measure].root:
        return estimates
    return Estimates(np.sqrt(estimates.value), np.sqrt(estimates.low), np.sqrt(estimates.high))


def excess(recordings: RecordingSet, measure: str, null: str) -> Estimates:
    """A row of `MOVES` less what a null gives, paired by prompt, (G,), with intervals that hold for all G together.

    Of random weights the one of the models that comes closest is taken, as the difference to each must be shown; of
    fewer than three models nothing is told, and of a measure that is a root the squares are compared.
    """
    parts = MOVES[measure].parts
    observed = parts(arrays_of(recordings, "trained"))
    if null != "random":
        return paired_difference(observed, parts(arrays_of(recordings, null)))
    return _beyond_each_model(recordings, observed, lambda model: parts(arrays_of(recordings, null, model)))


def _beyond_each_model(recordings: RecordingSet, observed: Parts, of_model: Callable[[int], Parts]) -> Estimates:
    """The difference to that random-weight model which comes closest, with the intervals of all of them together; NaN
    where there are fewer than `LEAST_MODELS`.
    """
    models = len(recordings.info.random_seeds)
    if models < LEAST_MODELS:
        nothing = np.full(observed[0].shape[1:], np.nan)
        return Estimates(nothing, nothing, nothing)
    differences = [paired_difference(observed, of_model(model)) for model in range(models)]
    values, lows, highs = (
        np.stack([getattr(difference, name) for difference in differences]) for name in ("value", "low", "high")
    )
    closest = np.argmin(np.abs(np.nan_to_num(values, nan=np.inf)), axis=0)[None]
    value = np.take_along_axis(values, closest, axis=0)[0]
    # Above all models only where above each of them; a model that cannot be told of leaves nothing to say.
    return Estimates(value, lows.min(axis=0), highs.max(axis=0))


def curve(recordings: RecordingSet, name: str, scope: int = -1, which: str = "trained", split: str = ALL) -> Estimates:
    """A row of `CURVES` over the steps, mean over the prompts whose recording has the step, (T,)."""
    return quotient(single_curves(recordings, name, scope, which, split))


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
    return quotient(single_heads(recordings, name, which))


def head_excess(recordings: RecordingSet, name: str) -> Estimates:
    """The same less what random weights give, paired by prompt, (L, H), with intervals that hold for all heads
    together; of several models as in `excess`.
    """

    def parts(which: str, model: int | None = None) -> Parts:
        values = arrays_of(recordings, which, model)["heads"][:, recordings.info.head_metrics.index(name)]
        values = values.reshape(len(values), -1)
        return values, np.ones_like(values)

    flat = _beyond_each_model(recordings, parts("trained"), lambda model: parts("random", model))
    shape = recordings.layers, recordings.info.heads
    return Estimates(flat.value.reshape(shape), flat.low.reshape(shape), flat.high.reshape(shape))


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
    """The sums of every prompt, (N, …). Of random weights those of one model, or the mean over the models that saw the
    prompt; NaN where none did.
    """
    over_steps = {"curves", "counts", "split_curves"}
    sums = {name: values for name, values in recordings.part(which).items() if name not in over_steps}
    if which != "random":
        return sums
    if model is not None:
        return {name: values[model] for name, values in sums.items()}
    return {name: _mean_of_finite(values) for name, values in sums.items()}


def _mean_of_finite(values: np.ndarray) -> np.ndarray:
    there = np.isfinite(values)
    count = there.sum(axis=0)
    return np.where(there, values, 0).sum(axis=0) / np.where(count > 0, count, np.nan)
