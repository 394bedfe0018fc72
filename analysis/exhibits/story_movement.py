"""The story's finding on how sinks move: new sinks per step, beside the nulls and the other model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.exhibits import story_meanings
from analysis.exhibits.story_parts import (
    called,
    layer_names,
    movement_rows,
    null_name,
    number,
    recordings,
    spec_of,
    spread,
    tone,
)
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import MOVES
from analysis.sinks.movement import MOVEMENT_NULLS
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
        marks = [_births_mark("observed", births["observed"], tone(findings, model), beat)]
        drawn = [null.title for null in MOVEMENT_NULLS.values() if not null.weights and null.title in births]
        drawn += _strongest_weights(births)
        marks += [_births_mark(null_name(title), births[title], charts.NULL, beat) for title in drawn]
        groups.append(Group(name, tuple(marks)))
    if source not in by_model:
        return None
    observed = by_model[source]["observed"]
    fixed, positions = (by_model[source].get(MOVEMENT_NULLS[name].title) for name in ("fixed", "shuffled"))
    value = float(np.mean([row["value"] for row in observed]))
    steps = int(recordings(findings)[0].frames[-1]) if findings.playback else None
    rate = story_meanings.rate(value, steps)
    hardest = (_strongest_weights(by_model[source]) or [""])[0]
    beats = [f"A layer gains {number(value)} new sinks per step{_beside(observed, fixed, positions)}."]
    beats += [_hardest(observed, hardest, by_model[source][hardest])] if hardest else []
    others = [model for model in by_model if model != source]
    beats += [f"{names[model]}: {_mean(by_model[model]['observed'])}." for model in others]
    notes = [
        f"{names[model]}, {null_name(of)}: {_births_told(rows)}, over {spec_of(findings).prompts} prompts."
        for model, births in by_model.items()
        for of, rows in births.items()
    ]
    sharp = MOVEMENT_NULLS["matched"]
    if any(sharp.title in births for births in by_model.values()):
        notes.append(f"{null_name(sharp.title).capitalize()}: {sharp.sentence}.")
    return Told(
        "movement",
        _moves(observed, fixed, rate) + _but(by_model[source], fixed),
        charts.bars(groups, "new sinks per layer and step, mean over layers", dot="one layer"),
        "; ".join(
            f"{names[model]}, {null_name(of)}: {_mean(rows)}"
            for model, births in by_model.items()
            for of, rows in births.items()
        ),
        tuple(beats),
        "It counts positions that become sinks, not how much attention moves.",
        tuple(notes),
        plays=True,
        meaning=story_meanings.of_movement(value, steps),
        takeaway=beats[1 if hardest else 0],
        summary=Summary(
            "New sinks per layer and step",
            number(value),
            "; ".join(
                [f"{_mean(rows)} {of}" for rows, of in ((fixed, "by writing alone"),) if rows]
                + ([f"{_mean(by_model[source][hardest])} with {null_name(hardest)}"] if hardest else [])
            ),
        ),
    )


def _strongest_weights(births: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The title of the other weights whose sinks move most, the hardest to exceed; empty where none were drawn."""
    titles = [null.title for null in MOVEMENT_NULLS.values() if null.weights and null.title in births]
    return [max(titles, key=lambda title: float(np.mean([row["value"] for row in births[title]])))] if titles else []


Rows = Sequence[Mapping[str, Any]]


def _moves(observed: Rows, fixed: Rows | None, rate: str) -> str:
    """Return whether sinks move more than the writing of tokens explains, in every layer, in some or in none. rate: of
    new sinks, in words.
    """
    above = [] if fixed is None else _layers_above(observed, fixed)
    if fixed is None:
        return f"A layer gains {rate}"
    if len(above) == len(observed):
        return f"A layer gains {rate}, more often than writing explains"
    if above:
        return f"Only in {layer_names(above)} do new sinks appear more often than the writing of tokens explains"
    if len(_layers_above(fixed, observed)) == len(observed):
        return f"A layer gains {rate}, less than writing alone would give"
    return "No layer is shown to gain sinks more often than the writing of tokens explains"


def _but(births: Mapping[str, Rows], fixed: Rows | None) -> str:
    """Return in which layers all untrained weights are exceeded, as the end of the title, where writing alone is
    exceeded in every layer; empty elsewhere.
    """
    observed, nulls = births["observed"], [null.title for null in MOVEMENT_NULLS.values() if null.weights]
    if fixed is None or not births.keys() & set(nulls) or len(_layers_above(observed, fixed)) < len(observed):
        return ""
    above = [_layers_above(observed, births[title]) for title in nulls if title in births]
    all_of = [layer for layer in above[0] if all(layer in layers for layers in above)]
    if len(all_of) == len(observed):
        return "; every layer exceeds all untrained weights"
    exceed = "exceeds" if len(all_of) < 2 else "exceed"
    return f"; {f'only {layer_names(all_of)}' if all_of else 'no layer'} {exceed} all untrained weights"


def _hardest(observed: Rows, hardest: str, null: Rows) -> str:
    """Tell the untrained weights that gain most sinks, and in which layers the model gains more and fewer."""
    above, below = _layers_above(observed, null), _layers_above(null, observed)
    told = ", ".join(
        f"{side} in {layer_names(layers)}" for layers, side in ((above, "more"), (below, "fewer")) if layers
    )
    told = f"the model {told}" if told else "no layer differs significantly"
    return f"The strictest baseline, {null_name(hardest)}, gains {_mean(null)}: {told}."


def _beside(observed: Rows, fixed: Rows | None, positions: Rows | None) -> str:
    """Return how many would appear under the nulls, as the end of a sentence."""
    told = [] if fixed is None else [f"{_mean(fixed)} if only writing moved them"]
    told += [] if positions is None else [f"{_mean(positions)} at random positions"]
    if not told:
        return ""
    stay = positions is not None and _mostly_stay(observed, positions)
    return f", {listed(told)}{': most stay' if stay else ''}"


def _mostly_stay(observed: Rows, positions: Rows) -> bool:
    """Return whether fewer than half of the sinks are new in a step, in every layer: a layer has at least as many sinks
    as appear in it at random positions.
    """
    drawn = {row["layer"]: row["low"] for row in positions}
    return all(row["high"] < 0.5 * drawn.get(row["layer"], 0.0) for row in observed)


def _births(findings: Findings, source: str) -> dict[str, list[Mapping[str, Any]]]:
    """Births per step of each layer, observed and of each null."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in movement_rows(findings, source):
        if row["measure"] == MOVES["births"].title and row["layer"] != ALL_LAYERS and row["value"] is not None:
            found.setdefault(row["of"], []).append(row)
    return found


def _births_mark(label: str, rows: Sequence[Mapping[str, Any]], tone_of: str, beat: int) -> Mark:
    values = [row["value"] for row in rows]
    told = f"{_mean(rows)} ({spread(min(values), max(values), number)})"
    return Mark(label, float(np.mean(values)), told, tone_of, dots=tuple(values), beat=beat)


def _births_told(rows: Sequence[Mapping[str, Any]]) -> str:
    """The mean over layers, with the least and the most of a layer."""
    values = [row["value"] for row in rows]
    return f"{_mean(rows)} (layers {spread(min(values), max(values), number)})"


def _mean(rows: Sequence[Mapping[str, Any]]) -> str:
    return number(float(np.mean([row["value"] for row in rows])))


def _layers_above(observed: Sequence[Mapping[str, Any]], null: Sequence[Mapping[str, Any]]) -> list[str]:
    """The layers whose interval lies above that of the null."""
    highest = {row["layer"]: row["high"] for row in null}
    return [row["layer"] for row in observed if row["layer"] in highest and row["low"] > highest[row["layer"]]]
