"""The story's finding on where sinks are: which tokens, layer by layer, and whether they go as these are written.

The story's finding on how sinks move: new sinks per step, beside the nulls and the other model.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any

from analysis.exhibits import story_parts
from analysis.exhibits.story_parts import (
    Measured,
    beside,
    called,
    factor,
    layer_names,
    number,
    recordings,
    rows_of,
    share,
    spread,
    within,
)
from analysis.exhibits.story_sinks import KINDS_TOLD, MASKED, draws_by_layer
from analysis.figures.layer_kinds import ALL_TOKENS
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.figures.style import KIND_COLORS
from analysis.findings.layers import CLEARLY, PLACES, SHARP
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import KIND_MEASURES, MOVES
from analysis.recording.set_tables import ALL_KINDS
from analysis.sinks.definitions import KINDS
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS, MovementNull
from analysis.statistics.decisions import POINTS
from analysis.study.findings import Findings
from analysis.words import counted, listed

_LEGEND = {"[MASK]": "masked position", "undecided": "undecided position", "first": "first token", "last": "last token"}
_COLORS = {
    _LEGEND.get(kind, kind): color
    for kind, color in (*zip((MASKED[0], *KINDS[1:]), KIND_COLORS, strict=False), (MASKED[1], KIND_COLORS[0]))
}


def place(findings: Findings) -> Told | None:
    """Tell which tokens are sinks, layer by layer, and whether they go as these are written."""
    portions = _portions(findings)
    source = findings.parameters.model.source
    if source not in portions:
        return None
    names = called(findings)
    groups = {
        names.get(model, model): {
            row: {_LEGEND.get(kind, kind): value for kind, value in parts.items()}
            for row, parts in (
                _of_tokens(findings, model)
                | {layer: {kind: row["value"] for kind, row in kinds.items()} for layer, kinds in layers.items()}
            ).items()
        }
        for model, layers in portions.items()
    }
    masked = layer_names(_mostly_masked(portions[source]))
    written = _written(findings, source)
    null, most = _untrained(findings, portions[source])
    title = _commonest(portions[source])
    summaries: tuple[Summary, ...] = ()
    if masked:
        of_all = _masked_tokens(findings)
        of_layers = _masked_rows(portions[source])
        rows = [of_layers[layer] for layer in _mostly_masked(portions[source])]
        among = f"{'at least ' if len(rows) > 1 else ''}{_share_told(min(rows, key=lambda row: row['value']))}"
        title = f"In {masked}, {among} of sinks are masked positions"
        title += f"; of all tokens, {of_all.partition(' of')[0]}" if of_all else ""
        beside = "; ".join(filter(None, (of_all, most and f"untrained at most {most}")))
        summaries = (Summary(f"Sinks of {masked} that are masked positions", among, beside),)
    tokens = {model: _of_tokens(findings, model).get(ALL_TOKENS, {}) for model in portions}
    others = _with_other_weights(findings)
    beats, notes = (
        [
            f"{names.get(model, model)}: {_layers_told(layers, tokens[model], others.get(model, {}), told)}."
            for model, layers in portions.items()
        ]
        for told in (False, True)
    )
    if tokens[source]:
        stands_out = f"{_MORE_COMMON}{_THAN_OTHERS if source in others else ''}."
        beats[0], notes[0] = (f"{stands_out} {told}" for told in (beats[0], notes[0]))
    untrained = f"In {null.called}, at most {most} of the sinks of {masked} are masked." if null else ""
    own = _layers_told(portions[source], tokens[source], others.get(source, {}), without=MASKED)
    twins = [
        f"{names.get(model, model)}: {_layers_told(layers, tokens[model], others.get(model, {}))}"
        for model, layers in portions.items()
        if model != source
    ]
    led = ". ".join(told.partition("; none in ")[0] for told in (own, *twins))
    short = f"{null.labelled[0].upper()}{null.labelled[1:]}: at most {most}. " if null else ""
    in_short = f"{short}{'Also over' if masked else 'Over'}-represented: {led}."
    prompts = findings.parameters.prompts
    beats += [untrained] if untrained else []
    notes += filter(None, (_together(findings, source, portions[source]),))
    if written:
        notes.append(
            f"Of sinks that end, {share(written[0]['value'])} do so as their own token is written; at random positions "
            f"{share(written[1]['value'])}."
        )
    return Told(
        "place",
        title,
        charts.stacks(groups, _COLORS, f"share of each layer's sinks by kind, {prompts} prompts"),
        " ".join(beats),
        tuple(beats),
        f"This does not say why{'' if tokens[source] else _BY_NUMBER}.{_averaged(findings, source, portions[source])}",
        (*notes, *_masked_told(portions[source])),
        meaning=story_parts.of_place(masked, Counter(_most(portions[source])), len(portions[source])),
        takeaway=in_short if tokens[source] else beats[0],
        summaries=summaries,
    )


_MORE_COMMON = f"Kinds at least {POINTS.margin(CLEARLY)} above all tokens"
_THAN_OTHERS = ", untrained and shuffled weights"


def _share_told(row: Mapping[str, Any]) -> str:
    """Return a share in per cent with its interval, where it has one."""
    told = share(row["value"])
    return told if row["low"] is None else f"{told} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


_BY_NUMBER = ": while much of a text is masked, many sinks would be masked by number alone"


def _of_tokens(findings: Findings, source: str) -> dict[str, dict[str, float]]:
    """Return the share of all tokens that is of each kind, as the row of a figure; empty where the study, of an earlier
    version, does not hold it.
    """
    rows = {row["kind"]: row["value"] for row in _of_all_layers(findings, source, "tokens")}
    return {ALL_TOKENS: rows} if rows else {}


def _masked_tokens(findings: Findings) -> str:
    """Return the share of masked positions among all tokens; empty where unknown."""
    tokens = sum(
        value
        for row in _of_tokens(findings, findings.parameters.model.source).values()
        for kind, value in row.items()
        if kind in MASKED
    )
    return f"{share(tokens)} of all tokens" if tokens else ""


def _averaged(findings: Findings, source: str, layers: "Layers") -> str:
    """Tell, as a further sentence, how many sinks are masked positions once all layers are averaged, and in which
    layers sinks draw most where that explains it; empty where that was not measured.
    """
    shares = [row["value"] for row in _of_all_layers(findings, source, "portion") if row["kind"] in MASKED]
    if not shares or shares[0] is None:
        return ""
    where = _mostly_masked(layers)
    strongest = f": sinks of {layer_names(where)} draw most" if _strongest(findings, source, layers, where) else ""
    return f" With layers averaged first, {share(shares[0])} are masked{strongest}."


def _masked_told(layers: "Layers") -> list[str]:
    """Tell which share of the sinks of each layer most of whose sinks are masked is, with its interval."""
    rows = _masked_rows(layers)
    told = [f"{layer} {_share_told(rows[layer])}" for layer in _mostly_masked(layers)]
    return [f"Sinks that are masked positions: {listed(told)}."] if told else []


def _of_all_layers(findings: Findings, source: str, measure: str) -> list[Mapping[str, Any]]:
    """Return the rows of a measure of `KIND_MEASURES`, one per kind of token, with all layers averaged."""
    title = KIND_MEASURES[measure].title
    return rows_of(findings, "layers", model=source, layer=ALL_LAYERS, measure=title, weights="trained")


def _together(findings: Findings, source: str, layers: "Layers") -> str:
    """Tell which kind most sinks are once all layers are averaged, where single layers differ; empty where none holds
    most of them, or where it leads in every layer.
    """
    most = max(_of_all_layers(findings, source, "portion"), key=lambda row: row["value"] or 0.0, default=None)
    if most is None or (most["value"] or 0.0) <= 0.5:
        return ""
    where = [layer for layer, kinds in layers.items() if _commonest_kind(kinds) == most["kind"]]
    kind = KINDS_TOLD.get(most["kind"], most["kind"])
    told = (
        f"Over {findings.parameters.prompts} prompts, all layers averaged, {share(most['value'])} of sinks are {kind}"
    )
    if not where or len(where) == len(layers):
        return ""
    if strongest := _strongest(findings, source, layers, where):
        inside, outside = (f"{spread(*ends, factor)} ×" for ends in strongest)
        told += (
            f": {layer_names(where)} concentrate{'' if len(where) > 1 else 's'} attention most "
            f"({inside} against {outside})"
        )
    return f"{told}."


def _strongest(
    findings: Findings, source: str, layers: "Layers", where: Sequence[str]
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return the least and the most that the sinks of these layers draw, and of all others, × an even split; None
    unless each of these draws more than all others.
    """
    draws = draws_by_layer(findings, source, "trained")
    inside, outside = (
        [draws[layer].value for layer in layers if (layer in where) is held and layer in draws]
        for held in (True, False)
    )
    if not inside or not outside or min(inside) <= max(outside):
        return None
    return (min(inside), max(inside)), (min(outside), max(outside))


def _commonest_kind(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    return max(kinds, key=lambda kind: kinds[kind]["value"] or 0.0)


Kinds = Mapping[str, Mapping[str, Any]]


def _leading(kinds: Kinds, tokens: Mapping[str, float], untrained: Kinds) -> list[str]:
    """Return the kinds that lead a layer (see `_layers_told`), the one furthest above its share of all tokens first."""
    if not tokens:
        most = _commonest_kind(kinds)
        return [most] if (kinds[most]["value"] or 0.0) > 0.5 else []
    above = {
        kind: row["value"] - tokens[kind]
        for kind, row in kinds.items()
        if kind in tokens
        and (row["low"] or 0.0) > tokens[kind]
        and row["value"] >= CLEARLY + max(tokens[kind], (untrained.get(kind, {}).get("value") or 0.0))
    }
    return sorted(above, key=above.__getitem__, reverse=True)


Layers = Mapping[str, Kinds]
Portions = Mapping[str, Layers]


def _untrained(findings: Findings, layers: Layers) -> tuple[MovementNull | None, str]:
    """Return the other weights that have most masked positions among their sinks, in the layers most of whose sinks are
    in the model itself, and their highest share in a layer; None where there are no such layers, or no other weights.
    """
    source, there = findings.parameters.model.source, _mostly_masked(layers)
    shares = {
        null: max((rows[layer]["value"] for layer in there if layer in rows), default=None)
        for null in WEIGHT_NULLS
        for rows in (_masked_rows(_portions(findings, null).get(source, {})),)
    }
    known = {null: share for null, share in shares.items() if share is not None}
    if not known:
        return None, ""
    most = max(known, key=known.__getitem__)
    return MOVEMENT_NULLS[most], share(known[most])


def _portions(findings: Findings, weights: str = "trained") -> Portions:
    """Return the share of each layer's sinks that is of a kind: by model, layer and kind. weights: of the model, or a
    row of `WEIGHT_NULLS`.
    """
    found: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in rows_of(findings, "layers", measure=KIND_MEASURES["portion"].title, weights=weights):
        if row["layer"] != ALL_LAYERS:
            found.setdefault(row["model"], {}).setdefault(row["layer"], {})[row["kind"]] = row
    return found


def _with_other_weights(findings: Findings) -> Portions:
    """Return the largest share of each layer's sinks that is of a kind with any of `WEIGHT_NULLS`, as `_portions`."""
    most: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for null in WEIGHT_NULLS:
        for model, layers in _portions(findings, null).items():
            for layer, kinds in layers.items():
                held = most.setdefault(model, {}).setdefault(layer, {})
                for kind, row in kinds.items():
                    if kind not in held or (row["value"] or 0.0) > (held[kind]["value"] or 0.0):
                        held[kind] = row
    return most


def _masked_rows(layers: Layers) -> dict[str, Mapping[str, Any]]:
    """Return the row of masked positions of each layer."""
    return {layer: row for layer, kinds in layers.items() for kind, row in kinds.items() if kind in MASKED}


def _mostly_masked(layers: Layers) -> list[str]:
    """Return the layers most of whose sinks are masked positions."""
    return [layer for layer, row in _masked_rows(layers).items() if row["low"] is not None and row["low"] > 0.5]


def _most(layers: Layers) -> list[str]:
    """Return the kind that holds more than half of a layer's sinks, for each layer with one."""
    return [kind for kinds in layers.values() for kind, row in kinds.items() if (row["low"] or 0.0) > 0.5]


def _commonest(layers: Layers) -> str:
    """Return the kind that holds more than half of the sinks in most layers, in words."""
    most = _most(layers)
    if not most:
        return "No kind of token holds most sinks in any layer"
    kind = max(most, key=most.count)
    return f"In {most.count(kind)} of {len(layers)} layers most sinks are {KINDS_TOLD.get(kind, kind)}"


def _layers_told(
    layers: Layers, tokens: Mapping[str, float], untrained: Layers, shares: bool = False, without: Collection[str] = ()
) -> str:
    """Return the kinds that lead each group of layers: `masked positions in layers 0–2 (88 to 100 %), …`.

    tokens: the share of all tokens that is of each kind. Where it is known, every kind leads that lies clearly above
    it, and above its share with other weights, where these were recorded; else the one that most sinks are. untrained:
    the latter. shares: give its share of the sinks. without: kinds that are not told.
    """
    leading: dict[str, list[str]] = {}
    apart, alike = list[str](), dict[str, list[str]]()
    for layer, kinds in layers.items():
        leads = _leading(kinds, tokens, untrained.get(layer, {}))
        apart += [] if leads else [layer]
        for kind in () if leads or not tokens else _leading(kinds, tokens, {}):
            alike.setdefault(kind, []).append(layer)
        for kind in leads:
            leading.setdefault(kind, []).append(layer)
    told = []
    for kind, those in leading.items():
        if kind in without:
            continue
        values = [layers[layer][kind]["value"] for layer in those] if shares else []
        beside = f", {share(tokens[kind])} of all tokens" if kind in tokens else ""
        held = f" ({spread(min(values), max(values), share)}{beside})" if shares else ""
        told.append(f"{KINDS_TOLD.get(kind, kind)} in {layer_names(those)}{held}")
    rest = f"{'none' if tokens else 'mixed'} in {layer_names(apart)}" if apart else ""
    close = [
        KINDS_TOLD.get(kind, kind) + ("" if those == apart else f" in {layer_names(those)}")
        for kind, those in alike.items()
    ]
    rest += f" ({listed(close)} as with these)" if close else ""
    return "; ".join(filter(None, (listed(told), rest)))


def _written(findings: Findings, source: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return the rows on how many of the sinks that end do so as their token is written, observed and at random
    positions; None where either is missing.
    """
    rows = rows_of(findings, "movement", model=source, layer=ALL_LAYERS, measure=MOVES["deaths-written"].title)
    by_null = {row["of"]: row for row in rows if row["value"] is not None}
    chance = by_null.get(MOVEMENT_NULLS["shuffled"].title)
    return (by_null["observed"], chance) if "observed" in by_null and chance else None


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
        marks = [_births_mark("trained", own, own, charts.MODEL, beat)]
        marks += [
            _births_mark(MOVEMENT_NULLS[null].labelled, of[null], own, charts.NULL, beat)
            for null in drawn
            if null in of
        ]
        groups.append(Group(names[model], tuple(marks)))
    steps = int(recordings(findings)[0].frames[-1]) if findings.playback else None
    beats = [f"A layer gains {number(value)} new sinks per step."]
    if nulls:
        beside = f"Beside {MOVEMENT_NULLS[hardest].called}"
        beats = [f"{beside}: {_by_layer(observed, nulls[hardest])}."]
    beats += [_other(names[model], births) for model, births in by_model.items() if model != source]
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
        _title(observed, nulls, value, steps, within(findings, source) if len(by_model) > 1 else ""),
        charts.bars(groups, f"new sinks per layer and step, mean over {findings.parameters.prompts} prompts"),
        "; ".join(f"{group.title}, {mark.label}: {mark.told}" for group in groups for mark in group.marks),
        tuple(beats),
        f"{_WRITING if 'fixed' in nulls else ''}{_at_a_time(findings, source)}",
        tuple(notes),
        meaning=story_parts.of_movement(value, steps, *_lives(findings, source)),
        takeaway=" ".join(beats),
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


_WRITING = "Writing alone: a position's attention changes only as its token is written. "
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


def _title(observed: Rows, nulls: Mapping[str, Rows], value: float, steps: int | None, model: str) -> str:
    """Tell how many new sinks there are beside what writing alone explains, and beside an equally sharp untrained model
    where that gains more, by means over layers. model: where there are several.
    """
    if "fixed" not in nulls:
        return f"A layer gains {story_parts.rate(value, steps)}"
    side = _side(observed, nulls["fixed"])
    moving = side > 0 and not story_parts.rare(value, steps)
    if moving and SHARP in nulls and _side(observed, nulls[SHARP]) < 0:
        where = f"In {model}, t" if model else "T"
        beside = f"{number(value)} new per layer and step, {_beside(nulls[SHARP], value)} untrained"
        return f"{where}raining makes sinks steadier: {beside}"
    beside = f"{_SIDES[side]} than writing tokens explains ({_beside(nulls['fixed'], value)})"
    born = f"New sinks keep appearing: {number(value)}" if moving else f"{number(value)} new sinks"
    return f"{born} per layer and step, {beside}"


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
        steady = "less steady" if side > 0 else "steadier"
        return f"{name}, {steady}: {number(gained)}, untrained {_beside(nulls[SHARP], gained)}."
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


def _by_layer(observed: Rows, null: Rows) -> str:
    """Return in which layers the model gains more and fewer than by a null."""
    above, below = _layers_above(observed, null), _layers_above(null, observed)
    more = "more only" if 2 * len(above) < len(observed) else "more"
    told = [f"{side} in {layer_names(layers)}" for layers, side in ((above, more), (below, "fewer")) if layers]
    return ", ".join(told) or "significantly more or fewer in no layer"


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
