"""The figures of sets of recordings, for the page and the command line alike. Imports no torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from analysis.figures import dynamics, layer_kinds, masks
from analysis.figures.export import Exhibit
from analysis.figures.style import cell_texts
from analysis.findings import finding_of
from analysis.findings.layers import MOVES_BY, PLACES, SHARP, SHUFFLED, KindShares, in_layers
from analysis.recording import set_measures
from analysis.recording.set_file import ALL_LAYERS, RecordingSet
from analysis.recording.set_measures import KIND_MEASURES, MOVES
from analysis.recording.set_tables import (
    ALL_KINDS,
    AS_SET,
    COUNT,
    ENDS,
    KIND_LABELS,
    OBSERVED,
    Sets,
    count_table,
    kind_table,
    movement_table,
    number,
    prompts_of,
)
from analysis.sinks.intervals import Estimates
from analysis.sinks.metrics import CURVES, HEAD_METRICS
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS, null_name
from analysis.sinks.step_inputs import ALL, undecided_named
from analysis.specs import DEFINITIONS
from analysis.words import UNTRAINED, in_sentence, percent

PANELS = ("births", "change", "births-written", "deaths-written", "centroid-variance", "life")
"""Measures that the figure of movement shows, of `MOVES` and the life of a sink; the tables hold all."""
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
    """Return what undecided tokens of all sets hold, as `Architecture.noise`; mask if any set has [MASK]."""
    noises = {recordings.info.model.noise for recordings in sets}
    return "uniform" if noises == {"uniform"} else "mask"


def layers_by_kind(sets: Sets) -> Exhibit:
    """Return the figure of which tokens each layer's sinks are, a panel a model."""
    return layers_shown(kind_table(sets), prompts_of(sets))


def each_by_layer(sets: Sets) -> list[Exhibit]:
    """Return the same, a figure per model."""
    return each_shown(kind_table(sets), prompts_of(sets))


def each_shown(kinds: pd.DataFrame, prompts: Mapping[str, int]) -> list[Exhibit]:
    """Return the figures of `each_by_layer` of the table of sets. prompts: by model."""
    rows = layer_rows(kinds)
    return [
        replace(
            layers_shown(kinds[kinds["model"] == row.name], {row.name: prompts[row.name]}),
            title=row.name,
            figure=layer_kinds.layer_kinds([row], rows),
        )
        for row in rows
    ]


def layers_shown(kinds: pd.DataFrame, prompts: Mapping[str, int]) -> Exhibit:
    """Return the figure of `layers_by_kind` of the table of sets. prompts: by model."""
    counts = list(dict.fromkeys(prompts.values()))
    of = ", ".join(f"{count} ({name})" for name, count in prompts.items()) if len(counts) > 1 else str(counts[0])
    row, rows = KIND_MEASURES["portion"], layer_rows(kinds)
    return Exhibit(
        "The sinks of each layer",
        f"{of} prompts; 95 % intervals {_widths(kind_shares(kinds))}. Of which kind a layer's sinks are, beneath all "
        "tokens. At the right: of the kind whose number is bold, which stands out most, the shares in that layer of "
        f"{UNTRAINED} and with shuffled weights (each matrix in random order; permuted in the table).",
        layer_kinds.layer_kinds(rows),
        kinds,
        formula=f"{row.title}: $${row.formula}$$",
        name="layers-by-kind",
    )


def _widths(shares: Mapping[str, KindShares]) -> str:
    """Return how far the ends of the intervals are from their shares at most. One model's headline has its own where
    the others are twice as far: `within ±3 points (masked, layers 0–2), else ±13`.
    """
    apart = [
        np.fmax(*(np.nan_to_num(np.abs(end - each.portions.value)) for end in (each.portions.low, each.portions.high)))
        for each in shares.values()
    ]
    widest = _points(max(each.max() for each in apart))
    leads = [lead for each in shares.values() for lead in each.leads()[:1]]
    if len(shares) > 1 or not leads:
        return f"within ±{widest} points"
    [first], [portions], [all_apart] = leads, shares.values(), apart
    led = np.zeros(all_apart.shape, bool)
    led[list(first.layers), list(portions.kinds).index(first.kind)] = True
    there, elsewhere = _points(all_apart[led].max()), _points(all_apart[~led].max(initial=0))
    if 2 * there > elsewhere:
        return f"within ±{widest} points"
    kind = KIND_LABELS.get(first.kind, first.kind)
    return f"within ±{there} points ({kind}, {in_layers(first.layers, len(led))}), else ±{elsewhere}"


def _points(share: float) -> int:
    return int(np.ceil(100 * share))


def strengths(sets: Sets) -> Exhibit:
    """Return the chart of the attention to a sink by layer and kind, beside other weights."""
    table = kind_table(sets)
    row = KIND_MEASURES["corrected-share"]
    models = []
    for name, recordings in sets.items():
        bands = _Bands(table[table["model"] == name])
        labels = [KIND_LABELS.get(kind, kind) for kind in bands.kinds]
        shares, portions = (bands.of("trained", measure, *bands.kinds) for measure in (row.title, _PORTION))
        often = portions.value >= layer_kinds.LEAST_PORTION
        shown = Estimates(*(np.where(often, part, np.nan) for part in (shares.value, shares.low, shares.high)))
        others = {MOVEMENT_NULLS[null].labelled: bands.together(null, row.title) for null in recordings.weight_nulls}
        models.append(layer_kinds.KindStrengths(name, labels, shown, bands.together("trained", row.title), others))
    return Exhibit(
        "How strong the sinks are, by kind",
        f"{row.sentence} Dots: means over prompts with their 95 % intervals, by kind of token; grey line: all sinks of "
        "the layer; other grey marks: the sinks of other weights; dotted: uniform attention. Kinds below "
        f"{percent(layer_kinds.LEAST_PORTION, 0)} of a layer's sinks have no dot.",
        layer_kinds.kind_strengths(models),
        table[table["measure"] == row.title],
        formula=f"$${row.formula}$$",
        name="strengths",
    )


def movement(name: str, recordings: RecordingSet, shown: Sequence[str] = PANELS) -> Exhibit:
    """Draw how the sinks of one model move, by layer, beside the nulls. shown: measures, of `PANELS`."""
    return movement_shown(name, movement_table({name: recordings}), recordings.prompts, shown)


def each_births(sets: Sets) -> list[Exhibit]:
    """Draw the new sinks per step of every model by layer, a figure per model, beside the nulls that they are held
    against: all but random positions, where most would be new.
    """
    table = movement_table(sets)
    told = table[(table["measure"] == MOVES[MOVES_BY].title) & (table["of"] != MOVEMENT_NULLS[PLACES].title)]
    drawn = told[told["layer"] != ALL_LAYERS]
    low, high = drawn["low"].fillna(drawn["value"]).min(), drawn["high"].fillna(drawn["value"]).max()
    span = (low, high) if low > 0 else None
    exhibits = []
    for name, recordings in sets.items():
        rows = told[told["model"] == name]
        bands = _bands(rows, "of")
        panel = layer_kinds.MovePanel(
            "new sinks per step, log scale" if span else "new sinks per step", bands.pop(OBSERVED), bands
        )
        nulls = " ".join(
            f"{null.labelled.capitalize()}: {null.sentence}."
            for null in MOVEMENT_NULLS.values()
            if null.labelled in bands
        )
        exhibits.append(
            Exhibit(
                name,
                f"{recordings.prompts} prompts, with 95 % intervals. {nulls}",
                layer_kinds.movement([panel], span),
                rows,
                formula=f"{MOVES[MOVES_BY].title}: $${MOVES[MOVES_BY].formula}$$",
                name="births",
            )
        )
    return exhibits


def movement_shown(name: str, moved: pd.DataFrame, prompts: int, shown: Sequence[str] = PANELS) -> Exhibit:
    """Show the same of the model's table."""
    life = KIND_MEASURES["life"]
    measures = [life if measure == life.name else MOVES[measure] for measure in shown]
    panels = []
    for measure in measures:
        bands = _bands(moved[moved["measure"] == measure.title], "of")
        if OBSERVED in bands:
            title = f"{life.title} ({life.unit})" if measure is life else measure.title
            panels.append(layer_kinds.MovePanel(title, bands.pop(OBSERVED), bands, measure.percent))
    nulls = " ".join(f"{null.labelled.capitalize()}: {null.sentence}." for null in MOVEMENT_NULLS.values())
    caveat = f" {CENTROID_CAVEAT}" if "centroid-variance" in shown else ""
    return Exhibit(
        f"How the sinks of {in_sentence(name)} move",
        f"Each layer over {prompts} prompts with 95 % intervals, beside its nulls. {nulls}{caveat}",
        layer_kinds.movement(panels),
        moved,
        formula="\n\n".join(f"{row.title}: $${row.formula}$$" for row in measures),
        name="movement",
    )


def counts(sets: Sets) -> Exhibit:
    """Return the chart of sinks per layer by other ways of counting."""
    return counts_shown(count_table(sets))


def counts_shown(counted: pd.DataFrame) -> Exhibit:
    """Show the same of the table of sets."""
    panels = []
    for name, table in counted.groupby("model", sort=False):
        bands = _bands(table, "counted", COUNT)
        panels.append(layer_kinds.MovePanel(f"sinks per step, {name}", bands.pop(AS_SET), bands))
    return Exhibit(
        "How many sinks, by how they are counted",
        f"Sinks per step of each layer under three definitions, for k from 1.5 to 3, at half the length, and in "
        f"{set_measures.IID}. {set_measures.IID_SENTENCE} Intervals: 95 %, over prompts.",
        layer_kinds.movement(panels),
        counted,
        formula="\n\n".join(f"{row.title}: $${row.formula}$$" for row in DEFINITIONS.values()),
        name="counts",
    )


def curve(sets: Sets, measure: str, scope: int, split: str = ALL, singles: bool = False) -> Exhibit:
    """Show a row of `CURVES` over the steps, for one layer or, with −1, all together. split: tokens on which sinks
    count. singles: with each prompt's own curve, and those numbers in the table.
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
    """Show sinks per step by kind over the steps, mean over prompts: one panel per model."""
    counts = {name: set_measures.counts_over_steps(recordings, scope) for name, recordings in sets.items()}
    first = next(iter(sets.values()))
    kinds = [undecided_named(kind, noise_of(sets.values())) for kind in first.info.kinds]
    tables = {name: pd.DataFrame(rows, columns=kinds) for name, rows in counts.items()}
    sums = f" {SUMS_LAYERS}" if scope in (-1, first.layers) else ""
    return Exhibit(
        f"Which tokens are sinks, {first.scopes[scope]}",
        f"The sinks of every step by kind, mean over the prompts that have the step.{sums}",
        dynamics.kinds_over_steps(counts, [KIND_LABELS.get(kind, kind) for kind in kinds]),
        pd.concat(tables, names=["model", "step"]).reset_index(),
        formula="The first kind is any token that is not decided yet, wherever it stands; then its position decides "
        "(first, last), then its text.",
        name="kinds-over-steps",
    )


def heads_of_sets(sets: Sets, measure: str) -> dict[str, Exhibit]:
    """Return `heads` of every set that has the measure, by name, on one colour scale."""
    there = {name: recordings for name, recordings in sets.items() if measure in recordings.info.head_metrics}
    tops = [np.nanmax(set_measures.heads(recordings, measure).value) for recordings in there.values()]
    return {name: heads(name, recordings, measure, float(max(tops))) for name, recordings in there.items()}


def _interval(as_percent: bool, low: float, high: float) -> str:
    """Return an interval for a cell's hover; empty where so few prompts give none."""
    ends = " to ".join(number(end, as_percent) for end in (low, high))
    return f"95 % interval over prompts {ends}" if low == low else ""


def heads(name: str, recordings: RecordingSet, measure: str, top: float = 0.0) -> Exhibit:
    """Show a row of `metrics.of_mass` for every head, mean over prompts, beside random weights. top: least upper end of
    the colours.
    """
    metric = HEAD_METRICS[measure]
    grids, tables = [], []
    for which, title in (("trained", name), ("random", "random weights")):
        if which == "random" and not recordings.info.random_seeds:
            continue
        estimates = set_measures.heads(recordings, measure, which)
        intervals = cell_texts(partial(_interval, metric.percent), estimates.low, estimates.high)
        grids.append(masks.Grid(title, estimates.value, intervals))
        layer, head = (axis.ravel() for axis in np.indices(estimates.value.shape))
        numbers = {end: getattr(estimates, end).ravel() for end in ("value", "low", "high")}
        tables.append(pd.DataFrame({"of": title, "layer": layer, "head": head, **numbers}))
    return Exhibit(
        f"{metric.title} by layer and head, {in_sentence(name)}",
        f"{metric.sentence}, mean over {recordings.prompts} prompts.",
        masks.grids(grids, metric.title.lower(), "head", percent=metric.percent, top=top),
        pd.concat(tables),
        formula=f"$${metric.formula}$$",
        finding=finding_of("heads beyond random weights", recordings, measure),
        name=f"heads-{measure}",
    )


_PORTION, _TOKENS, _COUNT = (KIND_MEASURES[name].title for name in ("portion", "tokens", "count"))


def kind_shares(kinds: pd.DataFrame) -> dict[str, KindShares]:
    """Return of which kinds the sinks of every model of the table are."""
    return {
        str(name): KindShares(
            bands.kinds,
            bands.of("trained", _PORTION, *bands.kinds),
            bands.tokens,
            {null: bands.of(null, _PORTION, *bands.kinds).value for null in WEIGHT_NULLS},
        )
        for name, bands in ((name, _Bands(table)) for name, table in kinds.groupby("model", sort=False))
    }


def layer_rows(kinds: pd.DataFrame) -> list[layer_kinds.LayerKinds]:
    """Return the figure's data of every model."""
    rows, shares = [], kind_shares(kinds)
    for name, table in kinds.groupby("model", sort=False):
        bands = _Bands(table)
        rows.append(
            layer_kinds.LayerKinds(
                str(name),
                [KIND_LABELS.get(kind, kind) for kind in bands.kinds],
                bands.of("trained", _PORTION, *bands.kinds),
                np.nansum(bands.of("trained", _COUNT, *bands.kinds).value, axis=1),
                bands.tokens if np.isfinite(bands.tokens).all() else None,
                bands.of(SHARP, _PORTION, *bands.kinds).value,
                bands.of(SHUFFLED, _PORTION, *bands.kinds).value,
                shares[str(name)].leading(),
                shares[str(name)].leading(clearly=False),
            )
        )
    return rows


class _Bands:
    """The values of one model's rows of `kind_table` by layer and kind."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._rows = dict(iter(table[table["layer"] != ALL_LAYERS].groupby(["weights", "measure"], sort=False)))
        self._trained = self._rows["trained", KIND_MEASURES["count"].title]
        self._layers = self._trained["layer"].unique()
        self.kinds = [str(kind) for kind in self._trained["kind"].unique() if kind != ALL_KINDS]

    def of(self, weights: str, measure: str, *kinds: str) -> Estimates:
        """Return values by layer and kind, (L, kinds), NaN if there is none."""
        found = self._rows.get((weights, measure), self._trained.iloc[:0])
        row = pd.Index(self._layers).get_indexer(pd.Index(found["layer"]))
        column = pd.Index(kinds).get_indexer(pd.Index(found["kind"]))
        asked = (row >= 0) & (column >= 0)
        ends = np.full((len(ENDS), len(self._layers), len(kinds)), np.nan)
        ends[:, row[asked], column[asked]] = found.loc[asked, list(ENDS)].to_numpy(float).T
        return Estimates(*ends)

    @property
    def tokens(self) -> np.ndarray:
        """The share of all tokens that is of each kind, (K,), NaN where that is not known."""
        shares: np.ndarray = self.of("trained", _TOKENS, *self.kinds).value[0]
        return shares

    def together(self, weights: str, measure: str) -> Estimates:
        """Return values of all kinds by layer, (L,)."""
        drawn = self.of(weights, measure, ALL_KINDS)
        return Estimates(drawn.value[:, 0], drawn.low[:, 0], drawn.high[:, 0])


def _bands(table: pd.DataFrame, by: str, value: str = "value") -> dict[str, Estimates]:
    """Return the values by layer, without all layers together, by a column's names."""
    groups = table[table["layer"] != ALL_LAYERS].groupby(by, sort=False)
    return {
        null_name(str(name)): Estimates(*(rows[end].to_numpy(float) for end in (value, "low", "high")))
        for name, rows in groups
    }
