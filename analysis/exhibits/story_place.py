"""The story's finding on where sinks are: which tokens, layer by layer, and whether they go as these are written."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from analysis.exhibits import story_parts
from analysis.exhibits.story_parts import called, factor, layer_names, rows_of, share, spread, within
from analysis.exhibits.story_sinks import MASKED, draws_by_layer, masked_of_all, masked_tokens, of_all_layers, of_tokens
from analysis.figures.layer_kinds import ALL_TOKENS
from analysis.figures.story import Summary, Told, charts
from analysis.figures.style import KIND_COLORS
from analysis.findings.layers import CLEARLY
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import KIND_MEASURES, MOVES
from analysis.sinks.definitions import KINDS
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS, MovementNull
from analysis.statistics.decisions import POINTS
from analysis.study.findings import Findings
from analysis.words import KINDS_TOLD, listed

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
                of_tokens(findings, model)
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
        masked_share = masked_tokens(findings)
        of_all = f"{share(masked_share)} of all tokens" if masked_share else ""
        of_layers = _masked_rows(portions[source])
        rows = [of_layers[layer] for layer in _mostly_masked(portions[source])]
        values = [row["value"] for row in rows]
        among = spread(min(values), max(values), share)
        if among == share(rows[0]["value"]):  # alike in all layers
            among = _share_told(min(rows, key=lambda row: row["value"]))
        whose = f"{within(findings, source)}'s " if len(names) > 1 else ""
        title = f"In {whose}{masked}, {among} of sinks are masked positions"
        title += f"; of all tokens, {of_all.partition(' of')[0]}" if of_all else ""
        beside = "; ".join(filter(None, (of_all, most and f"untrained at most {most}")))
        least = f"at least {_share_told(min(rows, key=lambda row: row['value']))}" if len(rows) > 1 else among
        summaries = (Summary(f"Sinks of {masked} that are masked positions", least, beside),)
    tokens = {model: of_tokens(findings, model).get(ALL_TOKENS, {}) for model in portions}
    others = _with_other_weights(findings)
    beats, notes = (
        [
            f"{names.get(model, model)}: {_layers_told(layers, tokens[model], others.get(model, {}), told)}."
            for model, layers in portions.items()
        ]
        for told in (False, True)
    )
    above = f"all tokens{_OTHER_WEIGHTS * (source in others)}"
    rule = f"Standing out: at least {POINTS.margin(CLEARLY)} above {above}."
    if tokens[source]:
        beats[0], notes[0] = (f"Standing out, {told[0].lower()}{told[1:]}" for told in (beats[0], notes[0]))
    untrained = f"In {null.called}, at most {most} of sinks in {masked} are masked." if null else ""
    own = _layers_told(portions[source], tokens[source], others.get(source, {}), without=MASKED)
    lead = "Also standing" if masked else "Standing"
    elsewhere = [
        f"{names.get(model, model)}: {_layers_told(layers, tokens[model], others.get(model, {}), close=False)}."
        for model, layers in portions.items()
        if model != source and tokens[model]
    ]
    in_short = " ".join(filter(None, (untrained, f"{lead} out: {own}.", *elsewhere)))
    prompts = findings.parameters.prompts
    beats += [untrained] if untrained else []
    notes += [together] if (together := _together(findings, source, portions[source])) else []
    if written:
        notes.append(
            f"Of sinks that end, {share(written[0]['value'])} do so as their own token is written; at random positions "
            f"{share(written[1]['value'])}."
        )
    return Told(
        "place",
        title,
        charts.stacks(groups, _COLORS, f"each layer's own sinks by kind, {prompts} prompts{_averaged(findings)}"),
        " ".join(beats),
        tuple(beats),
        rule if tokens[source] else _BY_NUMBER,
        (*notes, *_masked_told(portions[source])),
        meaning=story_parts.of_place(
            "every layer" if masked and _rarely_first(portions[source]) else masked,
            Counter(_most(portions[source])),
            len(portions[source]),
        ),
        takeaway=in_short if tokens[source] else beats[0],
        summaries=summaries,
    )


_OTHER_WEIGHTS = ", untrained and shuffled weights"


def _share_told(row: Mapping[str, Any]) -> str:
    """Return a share in per cent with its interval, where it has one."""
    told = share(row["value"])
    return told if row["low"] is None else f"{told} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"


_BY_NUMBER = "While much of a text is masked, many sinks would be masked by number alone."


def _averaged(findings: Findings) -> str:
    """Tell how many sinks are masked positions once all layers are averaged, in brackets after a space; empty where
    that was not measured.
    """
    masked = masked_of_all(findings)
    return "" if masked is None else f" (layers averaged first: {share(masked.value)} masked)"


def _masked_told(layers: "Layers") -> list[str]:
    """Tell which share of the sinks of each layer most of whose sinks are masked is, with its interval."""
    rows = _masked_rows(layers)
    told = [f"{layer} {_share_told(rows[layer])}" for layer in _mostly_masked(layers)]
    return [f"Sinks that are masked positions: {listed(told)}."] if told else []


def _together(findings: Findings, source: str, layers: "Layers") -> str:
    """Tell which kind most sinks are once all layers are averaged, where single layers differ; empty where none holds
    most of them, or where it leads in every layer.
    """
    most = max(of_all_layers(findings, source, "portion"), key=lambda row: row["value"] or 0.0, default=None)
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


def _rarely_first(layers: Layers) -> bool:
    """Return whether the first token holds less than half of the sinks of every layer."""
    ends = [kinds["first"]["high"] for kinds in layers.values() if "first" in kinds]
    return all(end is not None and end < 0.5 for end in ends)


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
    layers: Layers,
    tokens: Mapping[str, float],
    untrained: Layers,
    shares: bool = False,
    without: Collection[str] = (),
    close: bool = True,
) -> str:
    """Return the kinds that lead each group of layers: `masked positions in layers 0–2 (88 to 100 %), …`.

    tokens: the share of all tokens that is of each kind. Where it is known, every kind leads that lies clearly above
    it, and above its share with other weights, where these were recorded; else the one that most sinks are. untrained:
    the latter. shares: give its share of the sinks, and the layers that no kind leads. without: kinds left out. close:
    name the kinds that other weights keep from leading.
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
    near = {
        kind: KINDS_TOLD.get(kind, kind) + ("" if those == apart else f" in {layer_names(those)}")
        for kind, those in alike.items()
    }
    if tokens and told and not shares:
        near.pop(_REST, None)
        return listed(told) + (f"; {listed(list(near.values()))}: {_AS_COMMON}" if near and close else "")
    rest = f"{'none' if tokens else 'mixed'} in {layer_names(apart)}" if apart else ""
    rest += f" ({listed(list(near.values()))}: {_AS_COMMON})" if near and shares else ""
    return "; ".join(filter(None, (listed(told), rest)))


_AS_COMMON = "as common with other weights"
_REST = "word"  # what sinks are that are of no other kind


def _written(findings: Findings, source: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return the rows on how many of the sinks that end do so as their token is written, observed and at random
    positions; None where either is missing.
    """
    rows = rows_of(findings, "movement", model=source, layer=ALL_LAYERS, measure=MOVES["deaths-written"].title)
    by_null = {row["of"]: row for row in rows if row["value"] is not None}
    chance = by_null.get(MOVEMENT_NULLS["shuffled"].title)
    return (by_null["observed"], chance) if "observed" in by_null and chance else None
