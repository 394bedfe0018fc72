"""The figures and tables of sets of recordings, for the page and the command line alike. Imports no torch."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.figures import dynamics, layer_kinds, masks
from analysis.figures.export import Exhibit
from analysis.recording import set_contrast, set_counts, set_measures, set_verdicts
from analysis.recording.layer_answers import SetAnswer, answer_of
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_words import number
from analysis.sinks.intervals import Estimates
from analysis.sinks.metrics import CURVES, HEAD_METRICS
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS
from analysis.sinks.token_states import ALL, undecided_named
from analysis.specs import DEFINITIONS
from analysis.words import percent

Sets = Mapping[str, RecordingSet]
"""Sets by what they are called, a row of a figure each."""

PANELS = ("births", "change", "births-written", "deaths-written", "centroid-variance")
"""The rows of `MOVES` that the figure shows, beside the life of a sink; the tables hold all."""
SUMS_LAYERS = (
    "This sums the layers: those with the heaviest sinks decide, and the sinks of the others are hidden. Which tokens "
    "are the sinks of a layer is told layer by layer."
)
CENTROID_CAVEAT = (
    "The temporal variance of the centroid is the published measure. It tells how far the sinks' centre moves. It does "
    "not tell how much attention moves, and few sinks that come and go scatter as widely in random weights: read it "
    "beside its nulls."
)


def noise_of(sets: Iterable[RecordingSet]) -> str:
    """What undecided tokens of all these hold, of `Architecture.noise`; mask where any of them has [MASK]."""
    noises = {recordings.info.model.noise for recordings in sets}
    return "uniform" if noises == {"uniform"} else "mask"


def layers_by_kind(sets: Sets) -> Exhibit:
    """Which kinds of token each layer's sinks are: a row a model."""
    rows = [_layer_kinds(name, recordings) for name, recordings in sets.items()]
    prompts = ", ".join(f"{recordings.prompts} ({name})" for name, recordings in sets.items())
    formulas = "\n\n".join(
        f"{row.title}: {row.sentence}\n\n$${row.formula}$$"
        for row in (set_measures.KIND_MEASURES[name] for name in ("count", "corrected-share"))
    )
    return Exhibit(
        "The sinks of each layer",
        "Bars: sinks per step, by kind of token. Dots: attention to a sink by kind, × uniform attention (dotted line); "
        f"grey lines: mean over all sinks of the layer. 95 % intervals over prompts: {prompts}. Kinds below "
        f"{percent(layer_kinds.LEAST_PORTION, 0)} of a layer's sinks have no dot. Random weights: "
        f"{MOVEMENT_NULLS['random'].sentence}. {set_counts.IID_SENTENCE}",
        layer_kinds.layer_kinds(rows),
        kind_table(sets),
        formula=formulas,
        name="layers-by-kind",
    )


def movement(name: str, recordings: RecordingSet) -> Exhibit:
    """How the sinks of one model move, by layer, beside the nulls."""
    measures = [measure for measure in PANELS if measure in set_measures.MOVES]
    life = set_measures.KIND_MEASURES["life"]
    panels = [
        layer_kinds.MovePanel(
            set_measures.MOVES[measure].title,
            _layers(set_measures.moves(recordings, measure)),
            {
                null.title: _layers(set_measures.moves(recordings, measure, null.name))
                for null in MOVEMENT_NULLS.values()
                if not null.weights or null.name in recordings.weight_nulls
            },
            set_measures.MOVES[measure].percent,
        )
        for measure in measures
    ]
    panels.append(
        layer_kinds.MovePanel(
            f"{life.title} ({life.unit})",
            _layers(set_measures.of_all_kinds(recordings, life.name)),
            {
                MOVEMENT_NULLS[null].title: _layers(set_measures.of_all_kinds(recordings, life.name, null))
                for null in recordings.weight_nulls
            },
        )
    )
    nulls = " ".join(f"{null.title.capitalize()}: {null.sentence}." for null in MOVEMENT_NULLS.values())
    formulas = "\n\n".join(
        f"{row.title}: $${row.formula}$$" for row in (*(set_measures.MOVES[measure] for measure in measures), life)
    )
    return Exhibit(
        f"How the sinks of {name} move",
        f"Each layer over {recordings.prompts} prompts, with its nulls. {nulls} {CENTROID_CAVEAT}",
        layer_kinds.movement(panels),
        movement_table({name: recordings}),
        formula=formulas,
        name="movement",
    )


def counts(sets: Sets) -> Exhibit | None:
    """Return the chart of sinks per layer by other ways of counting; None if no set was recorded with them."""
    told = {name: (recordings, set_counts.count_by_variant(recordings)) for name, recordings in sets.items()}
    told = {name: pair for name, pair in told.items() if pair[1]}
    if not told:
        return None
    panels = [
        layer_kinds.MovePanel(
            f"sinks per step, {name}",
            _layers(set_measures.of_all_kinds(recordings, "count")),
            {how: _layers(estimates) for how, estimates in counted.items()},
        )
        for name, (recordings, counted) in told.items()
    ]
    tables = [
        pd.DataFrame(
            {
                "model": name,
                "layer": recordings.scopes,
                "counted": how,
                "sinks per step": estimates.value,
                "low": estimates.low,
                "high": estimates.high,
            }
        )
        for name, (recordings, counted) in told.items()
        for how, estimates in {"as set": set_measures.of_all_kinds(recordings, "count"), **counted}.items()
    ]
    return Exhibit(
        "How many sinks, by how they are counted",
        f"Sinks per step of each layer under three definitions, for k from 1.5 to 3, at half the length, and in "
        f"{set_counts.IID}. {set_counts.IID_SENTENCE} Intervals: 95 %, over prompts.",
        layer_kinds.movement(panels),
        pd.concat(tables).reset_index(drop=True),
        formula="\n\n".join(f"{row.title}: $${row.formula}$$" for row in DEFINITIONS.values()),
        name="counts",
    )


def curve(sets: Sets, measure: str, scope: int, split: str = ALL, singles: bool = False) -> Exhibit:
    """A row of `CURVES` over the steps, for one layer or, with −1, all together. split: on which tokens sinks count.
    singles: with the curve of every prompt by itself, and those numbers in the table.
    """
    metric, series, tables = CURVES[measure], [], []
    for name, recordings in sets.items():
        which = ["trained", *(["random"] if recordings.info.random_seeds and split == ALL else [])]
        for part in which:
            estimates = set_measures.curve(recordings, measure, scope, part, split)
            label = name if part == "trained" else f"{name}, random weights"
            steps = np.arange(len(estimates.value))
            rows = None
            if singles and part == "trained":
                rows = set_measures.single_curves(recordings, measure, scope, part, split)
            series.append(
                dynamics.Series(
                    label, steps, estimates.value[None], part == "random", estimates.low, estimates.high, rows
                )
            )
            numbers = {"mean": (estimates.value, estimates.low, estimates.high)}
            nothing = np.full(len(steps), np.nan)
            for place, row in enumerate(() if rows is None else rows, start=1):
                numbers[f"prompt {place}"] = (row, nothing, nothing)
            tables += [
                pd.DataFrame({"series": label, "of": of, "step": steps, metric.axis: value, "low": low, "high": high})
                for of, (value, low, high) in numbers.items()
            ]
    called = next(iter(sets.values())).scopes[scope]
    on = "" if split == ALL else f" ({undecided_named(split, noise_of(sets.values()))})"
    return Exhibit(
        f"{metric.title}, {called}{on}",
        f"{metric.sentence} Mean over prompts with its 95 % interval, of each step by itself."
        + (" Thin lines: every prompt by itself." if singles else ""),
        dynamics.curves(series, "denoising step", metric.axis, percent=metric.percent),
        pd.concat(tables),
        formula=f"$${metric.formula}$$",
        name=f"curve-{measure}",
    )


def kinds_over_steps(sets: Sets, scope: int) -> Exhibit:
    """Sinks a step by kind over the steps, mean over prompts: a panel a model."""
    counts = {name: set_measures.counts_over_steps(recordings, scope) for name, recordings in sets.items()}
    first = next(iter(sets.values()))
    kinds = [undecided_named(kind, noise_of(sets.values())) for kind in first.info.kinds]
    tables = []
    for name, rows in counts.items():
        table = pd.DataFrame(rows, columns=kinds)
        table.insert(0, "step", np.arange(len(table)))
        table.insert(0, "model", name)
        tables.append(table)
    sums = f" {SUMS_LAYERS}" if scope in (-1, first.layers) else ""
    return Exhibit(
        f"Which tokens are sinks, {first.scopes[scope]}",
        f"The sinks of every step by kind, mean over the prompts that have the step.{sums}",
        dynamics.kinds_over_steps(counts, kinds),
        pd.concat(tables),
        formula="The first kind is any token that is not decided yet, wherever it stands; then its position decides "
        "(first, last), then its text.",
        name="kinds-over-steps",
    )


def heads(name: str, recordings: RecordingSet, measure: str) -> Exhibit:
    """A row of `metrics.of_mass` for every head, mean over prompts, beside that of random weights."""
    metric = HEAD_METRICS[measure]
    grids, tables = [], []
    for which, title in (("trained", name), ("random", "random weights")):
        if which == "random" and not recordings.info.random_seeds:
            continue
        estimates = set_measures.heads(recordings, measure, which)
        intervals = np.empty(estimates.value.shape, object)
        for cell in np.ndindex(intervals.shape):
            ends = (number(float(end[cell]), metric.percent) for end in (estimates.low, estimates.high))
            intervals[cell] = f"95 % interval over prompts {' to '.join(ends)}"
        grids.append(masks.Grid(title, estimates.value, intervals))
        layer, head = (axis.ravel() for axis in np.indices(estimates.value.shape))
        numbers = {end: getattr(estimates, end).ravel() for end in ("value", "low", "high")}
        tables.append(pd.DataFrame({"of": title, "layer": layer, "head": head, **numbers}))
    finding = set_verdicts.heads_in_words(recordings, measure)
    return Exhibit(
        f"{metric.title} by layer and head, {name}",
        f"{metric.sentence}, mean over {recordings.prompts} prompts.",
        masks.grids(grids, metric.title.lower(), "head", percent=metric.percent),
        pd.concat(tables),
        formula=f"$${metric.formula}$$",
        finding=finding,
        name=f"heads-{measure}",
    )


# --- tables -----------------------------------------------------------------------------------------------------


def kind_table(sets: Sets) -> pd.DataFrame:
    """Every row of `KIND_MEASURES` by model, layer and kind, with intervals, of the trained and of other weights."""
    tables = []
    for name, recordings in sets.items():
        for which in ("trained", *recordings.weight_nulls):
            for row in set_measures.KIND_MEASURES.values():
                estimates = set_measures.by_kind(recordings, row.name, which)
                tables.append(
                    pd.DataFrame(
                        {
                            "model": name,
                            "weights": which,
                            "layer": np.repeat(recordings.scopes, len(recordings.info.kinds)),
                            "kind": list(recordings.kinds) * len(recordings.scopes),
                            "measure": row.title,
                            "value": estimates.value.ravel(),
                            "low": estimates.low.ravel(),
                            "high": estimates.high.ravel(),
                        }
                    )
                )
    return pd.concat(tables).dropna(subset="value").reset_index(drop=True)


def movement_table(sets: Sets) -> pd.DataFrame:
    """Every row of `MOVES` by model and layer, with intervals, and the same of every null."""
    tables = []
    for name, recordings in sets.items():
        for row in set_measures.MOVES.values():
            for which in ("trained", *MOVEMENT_NULLS):
                if which in WEIGHT_NULLS and which not in recordings.weight_nulls:
                    continue
                estimates = set_measures.moves(recordings, row.name, which)
                tables.append(
                    pd.DataFrame(
                        {
                            "model": name,
                            "layer": recordings.scopes,
                            "measure": row.title,
                            "of": "observed" if which == "trained" else MOVEMENT_NULLS[which].title,
                            "value": estimates.value,
                            "low": estimates.low,
                            "high": estimates.high,
                        }
                    )
                )
    return pd.concat(tables).reset_index(drop=True)


def prompt_table(recordings: RecordingSet) -> pd.DataFrame:
    """Every prompt, what the model wrote, and its own numbers over all layers together."""
    arrays = set_measures.arrays_of(recordings, "trained")
    sinks = arrays["sinks"].sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = arrays["share"][:, :-1].sum(axis=(1, 2)) / sinks[:, :-1].sum(axis=1)
    return pd.DataFrame(
        {
            "prompt": [prompt.text for prompt in recordings.info.prompts],
            "written": [prompt.written for prompt in recordings.info.prompts],
            "tokens": [prompt.tokens for prompt in recordings.info.prompts],
            "steps": [prompt.steps for prompt in recordings.info.prompts],
            "sinks per step and layer": sinks[:, :-1].mean(axis=1) / arrays["steps"],
            "corrected share of a sink": share,
        }
    )


def answers(sets: Sets) -> dict[str, SetAnswer]:
    """Return what each set shows layer by layer, by name. All of it holds simultaneously."""
    families = set_contrast.families(sets)
    return {name: answer_of(recordings, families) for name, recordings in sets.items()}


def words(sets: Sets, told: Mapping[str, SetAnswer] | None = None) -> dict[str, list[str]]:
    """Return sentences on what each set shows beyond its nulls, by name; empty where it shows nothing. All of them hold
    simultaneously. told: of `answers`, where they are there already.
    """
    told = answers(sets) if told is None else told
    said = {name: answer.said.sentences for name, answer in told.items()}
    for name, sentence in set_contrast.contrasts_in_words(sets):
        said[name].append(sentence)
    return said


def _layer_kinds(name: str, recordings: RecordingSet) -> layer_kinds.LayerKinds:
    names = ("count", "corrected-share")
    counts, shares = (_layers(set_measures.by_kind(recordings, measure)) for measure in names)
    portions = np.nan_to_num(set_measures.by_kind(recordings, "portion").value[:-1])
    means = _layers(set_measures.of_all_kinds(recordings, "corrected-share"))
    model = layer_kinds.LayerKinds(name, recordings.kinds, counts, shares, portions, means)
    if recordings.info.random_seeds:
        drawn = [_layers(set_measures.of_all_kinds(recordings, measure, "random")) for measure in names]
        model = replace(model, random_counts=drawn[0], random_shares=drawn[1])
    counted = set_counts.count_by_variant(recordings)
    return replace(model, iid_counts=_layers(counted[set_counts.IID])) if counted else model


def _layers(estimates: Estimates) -> Estimates:
    """Without the last scope, which is all layers together."""
    return Estimates(estimates.value[:-1], estimates.low[:-1], estimates.high[:-1])
