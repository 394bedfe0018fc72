"""The story's findings on sinks: what one is, where they are, how they move."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.exhibits import story_meanings
from analysis.exhibits.story_parts import (
    called,
    factor,
    number,
    position,
    recordings,
    share,
    spec_of,
    spread,
    tone,
    within,
)
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.figures.style import KIND_COLORS
from analysis.recording.playback import Played, frame_beside, opening_frame
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import KIND_MEASURES, MOVES
from analysis.sinks.definitions import KINDS
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.study.findings import Findings
from analysis.words import listed, runs

_MASKED = ("[MASK]", "undecided")
_MIXED = "mixed"
_AT = {
    "[MASK]": "masked positions",
    "undecided": "undecided positions",
    "first": "the first token",
    "last": "the last token",
    "end of text": "end-of-text tokens",
    "punctuation": "punctuation",
    "word": "words",
}
_NULLS = {MOVEMENT_NULLS["fixed"].title: "writing of tokens alone"}
_COLORS = dict(zip((_MASKED[0], *KINDS[1:]), KIND_COLORS, strict=False)) | {_MASKED[1]: KIND_COLORS[0]}


def sink(findings: Findings) -> Told | None:
    """Tell what a sink is, by the recordings to watch."""
    played = recordings(findings)
    frame = opening_frame(played) if played else None
    if frame is None:
        return None
    last = len(played[0].frames) - 1
    groups: list[Group] = []
    beats: list[str] = []
    notes: list[str] = []
    strongest: list[str] = []
    names = called(findings)
    for track in played:
        at = frame_beside(frame, last, len(track.frames) - 1)
        there = track.mass[at] > 0
        count, tokens, held = int(track.sinks[at].sum()), int(there.sum()), float(track.strength[at])
        even = count / tokens
        top = int((track.mass[at] * track.sinks[at]).argmax())
        name = names.get(track.title, track.title)
        groups.append(
            Group(
                name,
                (
                    Mark(
                        "its sinks", held, f"{share(held)} of attention", tone(findings, track.title), beat=len(beats)
                    ),
                    Mark(
                        "an even split",
                        even,
                        f"{share(even)} ({count} of {tokens} tokens)",
                        charts.NULL,
                        beat=len(beats),
                    ),
                ),
            )
        )
        token = position(track, at, top)
        who = f"position {top}, still masked," if token.masked else f"‘{token.text.strip()}’ at {top}"
        draws = f"{who} draws {factor(float(track.mass[at, top]))} × an even split"
        beats.append(f"{name}: {draws}.")
        strongest.append(f"In {within(findings, track.title)}, {draws}.")
        takes = f"{count} of {tokens} tokens take{'s' if count == 1 else ''} {share(held)}"
        notes.append(f"{name}, step {int(track.frames[at])}: {takes}; an even split is {share(even)}.")
    first = groups[0].marks
    return Told(
        "sink",
        f"{_sinks_take(played[0], frame)} take {share(first[0].value)} of the attention; an even split would give them "
        f"{share(first[1].value)}",
        charts.bars(groups, "share of all attention in the step shown (%)", 100),
        " ".join(notes),
        tuple(beats),
        "One text and one step, averaged over all layers and heads.",
        tuple(notes),
        plays=True,
        meaning=story_meanings.of_sinks(_clear(_drawn(findings))),
        takeaway=" ".join(strongest),
        summary=Summary("Attention to the sinks", share(first[0].value), f"{share(first[1].value)} by an even split"),
    )


def _sinks_take(track: Played, at: int) -> str:
    count, tokens = int(track.sinks[at].sum()), int((track.mass[at] > 0).sum())
    return f"{count} of {tokens} tokens"


def has_sinks(findings: Findings) -> str:
    """Tell what the model's commonest kind of sink draws over all prompts, beside the other weights whose sinks draw
    most; empty where that was not measured.
    """
    drawn = _drawn(findings)
    if drawn is None:
        return ""
    own, null = drawn
    who = _AT.get(own["kind"], own["kind"])
    told = (
        f"over {spec_of(findings).prompts} prompts its commonest sinks ({who}) draw {factor(own['value'])} × an even "
        "split; with scrambled weights"
    )
    random = f"{factor(null['value'])} ×"
    if _clear(drawn):
        return f"This model has sinks: {told} at most {random}."
    return f"This model has no clear sinks: {told} up to {random}."


Drawn = tuple[Mapping[str, Any], Mapping[str, Any]]


def _clear(drawn: Drawn | None) -> bool | None:
    """Return whether the sinks draw more than those of any other weights; None where that was not measured."""
    return None if drawn is None else (drawn[0]["low"] or 0.0) > (drawn[1]["high"] or drawn[1]["value"])


def _drawn(findings: Findings) -> Drawn | None:
    """Return what the model's commonest kind of sink draws over all prompts, and what the sinks of the other weights
    draw where they draw most; None where that was not measured.
    """
    source = spec_of(findings).model.source
    rows = [
        row
        for row in findings.tables.get("layers", ())
        if (row["model"], row["layer"]) == (source, ALL_LAYERS) and row["value"] is not None
    ]
    portions = [row for row in rows if (row["measure"], row["weights"]) == (KIND_MEASURES["portion"].title, "trained")]
    draws = [row for row in rows if row["measure"] == KIND_MEASURES["corrected-share"].title]
    nulls = [row for row in draws if row["weights"] != "trained"]
    commonest = max(portions, key=lambda row: row["value"], default=None)
    if commonest is None or not nulls:
        return None
    of_kind = [row for row in draws if (row["weights"], row["kind"]) == ("trained", commonest["kind"])]
    return (of_kind[0], max(nulls, key=lambda row: row["high"] or row["value"])) if of_kind else None


# --- where they are ---------------------------------------------------------------------------------------------


def place(findings: Findings) -> Told | None:
    """Tell which tokens are sinks, layer by layer, and whether they go as these are written."""
    portions = _portions(findings)
    source = spec_of(findings).model.source
    if source not in portions:
        return None
    names = called(findings)
    groups = {
        names.get(model, model): {
            layer: {kind: row["value"] for kind, row in kinds.items()} for layer, kinds in layers.items()
        }
        for model, layers in portions.items()
    }
    masked = _where_masked(portions[source])
    written = _written(findings, source)
    title = f"In {masked} the sinks are masked positions" if masked else _commonest(portions[source])
    if written and written[0]["low"] > written[1]["high"]:
        title += f", and {'most' if written[0]['low'] > 0.5 else 'many'} end as their token is written"
    beats = [f"{names.get(model, model)}: {_layers_told(layers)}." for model, layers in portions.items()]
    notes = [f"{names.get(model, model)}: {_layers_told(layers, shares=True)}." for model, layers in portions.items()]
    ends, summary = "", None
    if written:
        ends = (
            f"Of the sinks that end, {share(written[0]['value'])} do so as their own token is written; at random "
            f"positions {share(written[1]['value'])} would."
        )
        beats.append(ends)
        summary = Summary(
            "Sinks that end as their token is written",
            share(written[0]["value"]),
            f"{share(written[1]['value'])} at random positions",
        )
    return Told(
        "place",
        title,
        charts.stacks(groups, _COLORS, "share of each layer's sinks, by what the token is"),
        " ".join(beats),
        tuple(beats),
        "It does not show why: while most of a text is masked, many sinks would be masked by number alone.",
        (*notes, f"{spec_of(findings).prompts} prompts per model."),
        plays=True,
        meaning=story_meanings.of_place(masked, Counter(_most(portions[source])), len(portions[source])),
        takeaway=ends or beats[0],
        summary=summary,
    )


Portions = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]


def _portions(findings: Findings) -> Portions:
    """The share of each layer's sinks that is of a kind: by model, layer and kind."""
    found: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in findings.tables.get("layers", ()):
        if (
            row["measure"] == KIND_MEASURES["portion"].title
            and row["weights"] == "trained"
            and row["layer"] != ALL_LAYERS
        ):
            found.setdefault(row["model"], {}).setdefault(row["layer"], {})[row["kind"]] = row
    return found


def _where_masked(layers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The layers most of whose sinks are masked positions, in words."""
    rows = {layer: row for layer, kinds in layers.items() for kind, row in kinds.items() if kind in _MASKED}
    return _layer_names([layer for layer, row in rows.items() if row["low"] is not None and row["low"] > 0.5])


def _layer_names(layers: Sequence[str]) -> str:
    """`layers 0–2 and 5` of `layer 0` and so on."""
    numbers = [int(layer.rpartition(" ")[2]) for layer in layers]
    told = listed([f"{first}" if first == last else f"{first}–{last}" for first, last in runs(numbers)])
    return f"layer{'s' if len(numbers) > 1 else ''} {told}" if numbers else ""


def _most(layers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """The kind that holds more than half of a layer's sinks, of each layer that has one."""
    return [kind for kinds in layers.values() for kind, row in kinds.items() if (row["low"] or 0.0) > 0.5]


def _commonest(layers: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The kind that holds more than half of the sinks in most layers, in words."""
    most = _most(layers)
    if not most:
        return "No kind of token holds most sinks in any layer"
    kind = max(most, key=most.count)
    return f"In {most.count(kind)} of {len(layers)} layers most sinks are {_AT.get(kind, kind)}"


def _layers_told(layers: Mapping[str, Mapping[str, Mapping[str, Any]]], shares: bool = False) -> str:
    """Return the leading kind of each group of layers: `masked positions in layers 0–2 (88 to 100 %), …`.

    shares: give its share of the sinks; else a layer in which no kind holds half of them is called mixed.
    """
    leading: dict[str, list[str]] = {}
    for layer, kinds in layers.items():
        kind = max(kinds, key=lambda kind: kinds[kind]["value"] or 0.0)
        mixed = not shares and (kinds[kind]["value"] or 0.0) <= 0.5
        leading.setdefault(_MIXED if mixed else kind, []).append(layer)
    told = []
    mixed_in = f"; mixed in {_layer_names(leading.pop(_MIXED))}" if _MIXED in leading and len(leading) > 1 else ""
    for kind, those in leading.items():
        values = [layers[layer][kind]["value"] for layer in those] if shares else []
        held = f" ({spread(min(values), max(values), share)})" if shares else ""
        told.append(f"{_AT.get(kind, kind)} in {_layer_names(those)}{held}")
    return f"{listed(told)}{mixed_in}"


def _written(findings: Findings, source: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return the rows on how many of the sinks that end do so as their token is written, observed and at random
    positions; None where either is missing.
    """
    rows = [
        row
        for row in _movement(findings, source)
        if row["measure"] == MOVES["deaths-written"].title and row["layer"] == ALL_LAYERS and row["value"] is not None
    ]
    by_null = {row["of"]: row for row in rows}
    chance = by_null.get(MOVEMENT_NULLS["shuffled"].title)
    return (by_null["observed"], chance) if "observed" in by_null and chance else None


# --- how they move ----------------------------------------------------------------------------------------------


def _movement(findings: Findings, source: str) -> list[Mapping[str, Any]]:
    return [row for row in findings.tables.get("movement", ()) if row["model"] == source]


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
        marks += [_births_mark(_NULLS.get(title, title), births[title], charts.NULL, beat) for title in drawn]
        groups.append(Group(name, tuple(marks)))
    if source not in by_model:
        return None
    observed = by_model[source]["observed"]
    fixed, positions = (by_model[source].get(MOVEMENT_NULLS[name].title) for name in ("fixed", "shuffled"))
    value = float(np.mean([row["value"] for row in observed]))
    steps = int(recordings(findings)[0].frames[-1]) if findings.playback else None
    rate = story_meanings.rate(value, steps)
    beats = [f"A layer gains {number(value)} new sinks per step.{_beside(observed, fixed, positions)}"]
    others = [model for model in by_model if model != source]
    beats += [f"{names[model]}: {_mean(by_model[model]['observed'])}." for model in others]
    return Told(
        "movement",
        _moves(observed, fixed, rate),
        charts.bars(groups, "new sinks per layer and step: mean over layers, and the least and most of a layer"),
        "; ".join(
            f"{names[model]}, {of}: {_mean(rows)}" for model, births in by_model.items() for of, rows in births.items()
        ),
        tuple(beats),
        "It counts positions that become sinks, not how much attention moves.",
        tuple(
            f"{names[model]}, {of}: {_births_told(rows)}, over {spec_of(findings).prompts} prompts."
            for model, births in by_model.items()
            for of, rows in births.items()
        ),
        plays=True,
        meaning=story_meanings.of_movement(value, steps),
        takeaway=beats[0],
        summary=Summary(
            "New sinks per layer and step", number(value), "" if fixed is None else f"{_mean(fixed)} by writing alone"
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
        return f"A layer gains {rate}, more often than the writing of tokens explains"
    if above:
        return f"Only in {_layer_names(above)} do new sinks appear more often than the writing of tokens explains"
    if len(_layers_above(fixed, observed)) == len(observed):
        return f"A layer gains {rate}, less often than the writing of tokens would make them"
    return "No layer is shown to gain sinks more often than the writing of tokens explains"


def _beside(observed: Rows, fixed: Rows | None, positions: Rows | None) -> str:
    """Return how many would appear under the nulls, as a sentence after another one."""
    told = [] if fixed is None else [f"{_mean(fixed)} if only the writing of tokens moved sinks"]
    told += [] if positions is None else [f"{_mean(positions)} if they were at random positions"]
    if not told:
        return ""
    stay = positions is not None and _mostly_stay(observed, positions)
    return f" It would gain {listed(told)}{': most stay where they are' if stay else ''}."


def _mostly_stay(observed: Rows, positions: Rows) -> bool:
    """Return whether fewer than half of the sinks are new in a step, in every layer: a layer has at least as many sinks
    as appear in it at random positions.
    """
    drawn = {row["layer"]: row["low"] for row in positions}
    return all(row["high"] < 0.5 * drawn.get(row["layer"], 0.0) for row in observed)


def _births(findings: Findings, source: str) -> dict[str, list[Mapping[str, Any]]]:
    """Births per step of each layer, observed and of each null."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in _movement(findings, source):
        if row["measure"] == MOVES["births"].title and row["layer"] != ALL_LAYERS and row["value"] is not None:
            found.setdefault(row["of"], []).append(row)
    return found


def _births_mark(label: str, rows: Sequence[Mapping[str, Any]], tone_of: str, beat: int) -> Mark:
    values = [row["value"] for row in rows]
    return Mark(label, float(np.mean(values)), _births_told(rows), tone_of, min(values), max(values), beat=beat)


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
