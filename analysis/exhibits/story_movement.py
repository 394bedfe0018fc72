"""The story's finding on how sinks move: new sinks per step, beside the nulls and the other model."""

from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from analysis.exhibits import story_parts
from analysis.exhibits.story_parts import (
    Measured,
    beside,
    called,
    layer_names,
    number,
    recordings,
    rows_of,
    spread,
    within,
)
from analysis.figures.story import Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.findings.layers import PLACES, SHARP
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import KIND_MEASURES, MOVES
from analysis.recording.set_tables import ALL_KINDS
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.study.findings import Findings
from analysis.words import UNTRAINED, counted


def movement(findings: Findings) -> Told | None:
    """Tell how many sinks are born per step, beside the nulls and the other model."""
    names, source = called(findings), findings.parameters.model.source
    by_model = {model: births for model in names if "observed" in (births := _births(findings, model))}
    if source not in by_model:
        return None
    observed, nulls = by_model[source]["observed"], _nulls(by_model[source])
    value, hardest = Measured.mean(observed).value, _strictest(nulls)
    drawn = dict.fromkeys(("fixed", hardest))
    groups = []
    for beat, (model, births) in enumerate(by_model.items()):
        own, of = births["observed"], _nulls(births)
        marks = [_births_mark("trained", own, own, charts.SINK, beat)]
        marks += [
            _births_mark(MOVEMENT_NULLS[null].labelled, of[null], own, charts.NULL, beat)
            for null in drawn
            if null in of
        ]
        groups.append(Group(names[model], tuple(marks)))
    steps = int(recordings(findings)[0].frames[-1]) if findings.playback else None
    beats = [f"A layer gains {number(value)} new sinks per step."]
    whose = f"{within(findings, source)}'s" if len(by_model) > 1 else "the model's"
    title, takeaway = _title(observed, nulls, value, steps, whose), list(beats)
    if nulls:
        written = ["Writing alone: each token keeps its attention until it is written."] if "fixed" in nulls else []
        called_null = MOVEMENT_NULLS[hardest].called
        beats = [f"{_by_layer(observed, nulls[hardest], called_null)}."]
        takeaway = [*written, f"{_by_layer(observed, nulls[hardest], called_null, numbers=False)}."]
    others = [_other(names[model], births) for model, births in by_model.items() if model != source]
    notes = [_NEW, *([chance] if (chance := _chance(nulls, value)) else [])]
    if steps is not None and not story_parts.rare(value, steps):
        notes.append(f"Over {steps} steps a layer gains {counted(round(value * steps), 'sink')}.")
    notes += [
        f"{names[model]}, {_called(of)}: {_births_told(rows)}, over {findings.parameters.prompts} prompts."
        for model, births in by_model.items()
        for of, rows in births.items()
    ]
    notes += [f"{MOVEMENT_NULLS[null].called.capitalize()}: {MOVEMENT_NULLS[null].sentence}." for null in nulls]
    return Told(
        "movement",
        title,
        charts.bars(groups, f"new sinks per step, mean over layers and {findings.parameters.prompts} prompts"),
        "; ".join(f"{group.title}, {mark.label}: {mark.told}" for group in groups for mark in group.marks),
        (*beats, *others),
        f"{_models_told(findings, nulls)}{_at_a_time(findings, source)}",
        tuple(notes),
        meaning=story_parts.of_movement(value, steps, *_lives(findings, source)),
        takeaway=" ".join(takeaway),
    )


def _lives(findings: Findings, source: str) -> tuple[list[float], list[float]]:
    """Return for how many steps in a row a position stays a sink, by layer, of the model and of an equally sharp
    untrained one; empty where not known.
    """
    of: dict[str, list[float]] = {}
    for row in rows_of(findings, "movement", model=source, measure=KIND_MEASURES["life"].title):
        if row["layer"] != ALL_LAYERS and row["value"] is not None:
            of.setdefault(row["of"], []).append(row["value"])
    return of.get("observed", []), of.get(MOVEMENT_NULLS[SHARP].title, [])


def _counts(findings: Findings, source: str, weights: str) -> dict[str, float]:
    """Return the number of sinks per step in each layer; empty where that was not measured."""
    counts: dict[str, float] = {}
    for row in rows_of(findings, "layers", model=source, weights=weights, measure=KIND_MEASURES["count"].title):
        if row["layer"] != ALL_LAYERS and row["kind"] != ALL_KINDS and row["value"] is not None:
            counts[row["layer"]] = counts.get(row["layer"], 0.0) + row["value"]
    return counts


_NEW = "A new sink is a position that crosses the threshold."


def _at_a_time(findings: Findings, source: str) -> str:
    """Tell how many sinks a layer has at a time, the mean over layers; what makes a new one where that is not known."""
    own, untrained = (_counts(findings, source, weights) for weights in ("trained", SHARP))
    if not own:
        return _NEW
    beside = f" (untrained {fmean(untrained.values()):.1f})" if untrained else ""
    return f"A layer has {fmean(own.values()):.1f} sinks at a time{beside}."


def _models_told(findings: Findings, nulls: Collection[str]) -> str:
    """Tell of how many models each number is, where untrained ones are among them."""
    return (
        f"One trained model, {findings.parameters.random_models} untrained; intervals over prompts. "
        if SHARP in nulls
        else ""
    )


Rows = Sequence[Mapping[str, Any]]


def _called(title: str) -> str:
    """Return what sentences call a null, by its title in tables; anything else is what it is."""
    return next((null.called for null in MOVEMENT_NULLS.values() if null.title == title), title)


def _nulls(births: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return what each null of chance predicts, by its name: all but random positions, where sinks move most."""
    return {
        name: births[null.title] for name, null in MOVEMENT_NULLS.items() if name != PLACES and null.title in births
    }


def _strictest(nulls: Mapping[str, Rows]) -> str:
    """Return the null that gains most sinks, the hardest to exceed; empty where there is none."""
    return max(nulls, key=lambda null: Measured.mean(nulls[null]).value, default="")


def _title(observed: Rows, nulls: Mapping[str, Rows], value: float, steps: int | None, whose: str) -> str:
    """Tell how many new sinks there are beside what writing alone explains, and beside equally sharp untrained models
    where these gain more, by means over layers. whose: what the title calls the model.
    """
    if "fixed" not in nulls:
        return f"A layer gains {story_parts.rate(value, steps)}"
    side = _side(observed, nulls["fixed"])
    moving = side > 0 and not story_parts.rare(value, steps)
    if moving and SHARP in nulls and _side(observed, nulls[SHARP]) < 0:
        untrained = Measured.mean(nulls[SHARP]).told(beside=Measured.mean(observed)).partition(" [")[0]
        moves = f"sinks move, but less than untrained: {number(value)} new per layer and step"
        return f"{whose[0].upper()}{whose[1:]} {moves} against {untrained}"
    beside = f"{_SIDES[side]} than {_WRITTEN} ({_beside(nulls['fixed'], value)})"
    born = f"New sinks keep appearing: {number(value)}" if moving else f"{number(value)} new sinks"
    return f"{born} per layer and step, {beside}"


_WRITTEN = "writing tokens explains"
_SIDES = {1: "more", -1: "fewer", 0: "not clearly more"}


def _side(observed: Rows, null: Rows) -> int:
    """Return 1 where the mean over layers lies above that of a null, -1 where below, 0 where the intervals overlap. The
    means of the layers' ends are no narrower than an interval of the mean.
    """
    low, high = _ends(observed)
    least, most = _ends(null)
    return 1 if low > most else -1 if high < least else 0


def _ends(rows: Rows) -> tuple[float, float]:
    """Return the ends of a mean's interval, which every row of movement has."""
    mean = Measured.mean(rows)
    return mean.low or 0.0, mean.high or 0.0


def _other(name: str, births: Mapping[str, Rows]) -> str:
    """Tell how many sinks a layer of another model gains, beside the null that gains most."""
    nulls, gained = _nulls(births), Measured.mean(births["observed"]).value
    if SHARP in nulls and (side := _side(births["observed"], nulls[SHARP])):
        more = "more" if side > 0 else "fewer"
        return f"{name}: {more} than untrained, {number(gained)} against {_beside(nulls[SHARP], gained)}."
    hardest = _strictest(nulls)
    most = f" ({MOVEMENT_NULLS[hardest].labelled}: {_beside(nulls[hardest], gained)})" if nulls else ""
    return f"{name}: {number(gained)}{most}."


_ASKS = {
    "fixed": "Does attention move by itself",
    "random": "Does training move sinks",
    "permuted": "Does training move sinks",
    "matched": "Does training steady them",
}
"""Question that the comparison with a null answers."""


def _chance(nulls: Mapping[str, Rows], observed: float) -> str:
    """Tell what each null gains and which question it answers; empty where there is none."""
    answering: dict[str, list[str]] = {}
    for null, rows in nulls.items():
        answering.setdefault(_ASKS[null], []).append(f"{MOVEMENT_NULLS[null].called}: {_beside(rows, observed)}")
    told = " ".join(f"{question} ({', '.join(those)})?" for question, those in answering.items())
    return f"Each baseline asks another question. {told}" if told else ""


def _by_layer(observed: Rows, null: Rows, called: str, numbers: bool = True) -> str:
    """Return which layers gain more and which fewer new sinks than by a null of this name. numbers: with the means."""
    whose = "in untrained models" if called == UNTRAINED else f"with {called}"
    told = list[str]()
    for layers, side in ((_layers_above(observed, null), "more"), (_layers_above(null, observed), "fewer")):
        if layers:
            names = layer_names(layers)
            gain = (
                f"{names} {side}" if told else f"{names} gain{'s' * (len(layers) == 1)} {side} new sinks than {whose}"
            )
            own, other = ([row for row in rows if row["layer"] in layers] for rows in (observed, null))
            mean = Measured.mean(own)
            against = f" ({mean.told()} against {Measured.mean(other).told(beside=mean)})" if numbers else ""
            told.append(f"{gain}{against}")
    if not told:
        return f"No layer gains significantly more or fewer new sinks than {whose}"
    return f"{told[0][0].upper()}{', '.join(told)[1:]}"


def _births(findings: Findings, source: str) -> dict[str, list[Mapping[str, Any]]]:
    """Return births per step of each layer, observed and of each null."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows_of(findings, "movement", model=source, measure=MOVES["births"].title):
        if row["layer"] != ALL_LAYERS and row["value"] is not None:
            found.setdefault(row["of"], []).append(row)
    return found


def _births_mark(label: str, rows: Rows, observed: Rows, tone: str, beat: int) -> Mark:
    mean = Measured.mean(rows)
    return Mark(label, mean.value, mean.told(beside=Measured.mean(observed)), tone, mean.low, mean.high, beat=beat)


def _births_told(rows: Rows) -> str:
    """Say the mean over layers, with the mean of their intervals' ends, and the least and most of a layer."""
    values = [row["value"] for row in rows]
    return f"{Measured.mean(rows).told()} (layers {spread(min(values), max(values), number)})"


def _beside(rows: Rows, observed: float) -> str:
    return beside(Measured.mean(rows).value, observed)


def _layers_above(observed: Sequence[Mapping[str, Any]], null: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the layers whose interval lies above that of the null."""
    highest = {row["layer"]: row["high"] for row in null}
    return [row["layer"] for row in observed if row["layer"] in highest and row["low"] > highest[row["layer"]]]
