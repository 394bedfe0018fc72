"""The story's finding on how sinks move: new sinks per step, beside the nulls and the other model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.exhibits import story_meanings
from analysis.exhibits.story_parts import called, layer_names, movement_rows, number, recordings, spec_of, spread
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.findings.layers import PLACES
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import MOVES
from analysis.sinks.movement import MOVEMENT_NULLS, null_name
from analysis.study.findings import Findings
from analysis.words import listed


def movement(findings: Findings) -> Told | None:
    """Tell how many sinks are born per step, beside the nulls and the other model."""
    names, source = called(findings), spec_of(findings).model.source
    groups, by_model = [], {}
    for beat, (model, name) in enumerate(names.items()):
        births = _births(findings, model)
        if "observed" not in births:
            continue
        by_model[model] = births
        marks = [_births_mark("observed", births["observed"], charts.MODEL, beat)]
        nulls = _nulls(births)
        marks += [
            _births_mark(_labelled(null, len(nulls)), nulls[null], charts.NULL, beat)
            for null in dict.fromkeys(("fixed", _strictest(nulls)))
            if null in nulls
        ]
        groups.append(Group(name, tuple(marks)))
    if source not in by_model:
        return None
    observed = by_model[source]["observed"]
    nulls = _nulls(by_model[source])
    value = _mean_of(observed)
    steps = int(recordings(findings)[0].frames[-1]) if findings.playback else None
    rate = story_meanings.rate(value, steps)
    hardest = _strictest(nulls)
    beats = [f"A layer gains {number(value)} new sinks per step. {_chance(nulls)}".strip()]
    beats += [_hardest(observed, MOVEMENT_NULLS[hardest].called, nulls[hardest])] if len(nulls) > 1 else []
    others = [model for model in by_model if model != source]
    beats += [_other(names[model], by_model[model]) for model in others]
    notes = [
        f"{names[model]}, {null_name(of)}: {_births_told(rows)}, over {spec_of(findings).prompts} prompts."
        for model, births in by_model.items()
        for of, rows in births.items()
    ]
    notes += [f"{MOVEMENT_NULLS[null].called.capitalize()}: {MOVEMENT_NULLS[null].sentence}." for null in nulls]
    return Told(
        "movement",
        f"A layer gains {rate}{_but(by_model[source])}",
        charts.bars(groups, "new sinks per layer and step, mean over layers", dot="one layer"),
        "; ".join(f"{group.title}, {mark.label}: {mark.told}" for group in groups for mark in group.marks),
        tuple(beats),
        "It counts positions that become sinks, not how much attention moves.",
        tuple(notes),
        meaning=story_meanings.of_movement(value, steps),
        takeaway=beats[0],
        summary=Summary(
            "New sinks per layer and step",
            number(value),
            f"at most {_mean(nulls[hardest])} by chance ({MOVEMENT_NULLS[hardest].called})" if nulls else "",
        ),
    )


Rows = Sequence[Mapping[str, Any]]


def _nulls(births: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return what each null of chance predicts, by its name: all but random positions, where sinks move most."""
    return {
        name: births[null.title] for name, null in MOVEMENT_NULLS.items() if name != PLACES and null.title in births
    }


def _strictest(nulls: Mapping[str, Rows]) -> str:
    """Return the null that gains most sinks, the hardest to exceed; empty where there is none."""
    return max(nulls, key=lambda null: _mean_of(nulls[null]), default="")


def _labelled(null: str, count: int) -> str:
    """Return the label of a null. count: of all that the model is held against, of which the strictest is drawn."""
    called = MOVEMENT_NULLS[null].called
    return called if null == "fixed" else f"{called} (strictest of {count})"


def _but(births: Mapping[str, Rows]) -> str:
    """Return in which layers sinks appear more often than by every null, as the end of a sentence; empty where there is
    none to hold them against.
    """
    observed, nulls = births["observed"], _nulls(births)
    if not nulls:
        return ""
    above = [set(_layers_above(observed, rows)) for rows in nulls.values()]
    layers = [row["layer"] for row in observed if all(row["layer"] in those for those in above)]
    where = "every layer" if len(layers) == len(observed) else layer_names(layers) or "no layer"
    if all(len(_layers_above(rows, observed)) == len(observed) for rows in nulls.values()):
        return ", in every layer less than chance"
    only = "only " if 0 < len(layers) <= len(observed) / 2 else ""
    return f", {only}in {where} more than chance"


def _other(name: str, births: Mapping[str, Rows]) -> str:
    """Tell how many sinks a layer of another model gains, beside the null that gains most."""
    nulls = _nulls(births)
    most = f", chance at most {_mean(nulls[_strictest(nulls)])}" if nulls else ""
    return f"{name}: {_mean(births['observed'])}{most}."


def _chance(nulls: Mapping[str, Rows]) -> str:
    """Tell what each null predicts; empty where there is none."""
    told = [f"{_mean(rows)} ({MOVEMENT_NULLS[name].called})" for name, rows in nulls.items()]
    return f"Chance gives {listed(told)}." if told else ""


def _hardest(observed: Rows, called: str, null: Rows) -> str:
    """Tell in which layers the model gains more and fewer than by the null that gains most. called: its name."""
    above, below = _layers_above(observed, null), _layers_above(null, observed)
    told = ", ".join(
        f"{side} in {layer_names(layers)}" for layers, side in ((above, "more"), (below, "fewer")) if layers
    )
    return f"Beside the strictest, {called}: {told or 'no layer differs significantly'}."


def _births(findings: Findings, source: str) -> dict[str, list[Mapping[str, Any]]]:
    """Births per step of each layer, observed and of each null."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in movement_rows(findings, source):
        if row["measure"] == MOVES["births"].title and row["layer"] != ALL_LAYERS and row["value"] is not None:
            found.setdefault(row["of"], []).append(row)
    return found


def _births_mark(label: str, rows: Sequence[Mapping[str, Any]], tone_of: str, beat: int) -> Mark:
    values = [row["value"] for row in rows]
    return Mark(label, _mean_of(rows), _mean(rows), tone_of, dots=tuple(values), beat=beat)


def _births_told(rows: Sequence[Mapping[str, Any]]) -> str:
    """The mean over layers, with the least and the most of a layer."""
    values = [row["value"] for row in rows]
    return f"{_mean(rows)} (layers {spread(min(values), max(values), number)})"


def _mean_of(rows: Rows) -> float:
    return float(np.mean([row["value"] for row in rows]))


def _mean(rows: Rows) -> str:
    return number(_mean_of(rows))


def _layers_above(observed: Sequence[Mapping[str, Any]], null: Sequence[Mapping[str, Any]]) -> list[str]:
    """The layers whose interval lies above that of the null."""
    highest = {row["layer"]: row["high"] for row in null}
    return [row["layer"] for row in observed if row["layer"] in highest and row["low"] > highest[row["layer"]]]
