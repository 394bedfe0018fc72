"""The story's findings on sinks: what one is, and where they are."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.exhibits import story_meanings
from analysis.exhibits.story_parts import (
    called,
    factor,
    layer_names,
    movement_rows,
    position,
    recordings,
    share,
    spec_of,
    spread,
    within,
)
from analysis.figures.layer_kinds import ALL_TOKENS
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.figures.style import KIND_COLORS
from analysis.findings.layers import CLEARLY
from analysis.recording.playback import UNDECIDED, Played, frame_beside, opening_frame
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import KIND_MEASURES, MOVES
from analysis.recording.set_tables import ALL_KINDS
from analysis.sinks.definitions import KINDS
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.study.findings import Findings
from analysis.words import counted, listed

_MASKED = ("[MASK]", "undecided")
_AT = {
    "[MASK]": "masked positions",
    "undecided": "undecided positions",
    "first": "the first token",
    "last": "the last token",
    "end of text": "end-of-text tokens",
    "punctuation": "punctuation",
    "word": "words",
}
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
    names = called(findings)
    for track in played:
        at = frame_beside(frame, last, len(track.frames) - 1)
        count, tokens, held = int(track.sinks[at].sum()), _there(track, at), float(track.strength[at])
        even = float(track.even[at])
        few = ", seen by few" if even < 0.5 * count / tokens else ""
        top = int((track.mass[at] * track.sinks[at]).argmax())
        name = names.get(track.title, track.title)
        groups.append(
            Group(
                name,
                (
                    Mark("its sinks", held, f"{share(held)} of attention", charts.MODEL, beat=len(beats)),
                    Mark(
                        "an even split",
                        even,
                        f"{share(even)} ({count} of {tokens} tokens{few})",
                        charts.NULL,
                        beat=len(beats),
                    ),
                ),
            )
        )
        token = position(track, at, top)
        who = f"position {top}, still masked" if token.masked else f"‘{token.text.strip()}’ at {top}"
        step = f"step {int(track.frames[at])} of {int(track.frames[-1])}"
        draws = f"{factor(held / even)} ×{'' if beats else ' an even split'}" if count else "no sinks"
        strongest = f"; the strongest, {who}, {factor(float(track.mass[at, top]))} ×" if count > 1 else f": {who}"
        beats.append(f"{name}, {step}: {draws}{strongest if count else ''}.")
        takes = f"{count} of {tokens} tokens take{'s' if count == 1 else ''} {share(held)}"
        notes.append(f"{name}, step {int(track.frames[at])}: {takes}; an even split is {share(even)}.")
    takeaway = " ".join(beats)
    masked = _Masked.of(played[0], frame)
    beats += (
        [masked.in_words(f"{within(findings, played[0].title)}'s" if len(played) > 1 else "its")]
        if masked.there
        else []
    )
    notes += (
        ["An even split: what each token would draw if all that see it attended evenly."] if len(played) > 1 else []
    )
    first = groups[0].marks
    return Told(
        "sink",
        f"{_sinks_take(played[0], frame)} take {share(first[0].value)} of the attention; an even split would give them "
        f"{share(first[1].value)}",
        charts.bars(groups, "share of all attention in the step shown (%)", 100),
        " ".join(notes),
        tuple(beats),
        f"One text and step, all layers averaged.{masked.limits}",
        tuple(notes),
        plays=True,
        meaning=story_meanings.of_sinks(_clear(_drawn(findings))),
        takeaway=takeaway,
        summary=Summary(
            "Attention to the sinks in that step", share(first[0].value), f"{share(first[1].value)} by an even split"
        ),
    )


def _there(track: Played, at: int) -> int:
    return int((track.mass[at] > 0).sum())


@dataclass(frozen=True)
class _Masked:
    """Masked positions and sinks of a recording. sinks, there, both: how many of each a frame has, and of both.

    becoming: the share of masked positions that are sinks, over all steps; of_sinks: the share of sinks that are
    masked; of_all: of all positions.
    """

    sinks: int
    there: int
    both: int
    becoming: float
    of_sinks: float

    @classmethod
    def of(cls, track: Played, at: int) -> "_Masked":
        """Count those of a recording and of its frame `at`."""
        masked = ((track.flags & UNDECIDED) > 0)[:-1]
        sinks = track.sinks[:-1]
        both = (masked & sinks).sum()
        return cls(
            int(sinks[at].sum()),
            int(masked[at].sum()),
            int((masked[at] & sinks[at]).sum()),
            float(both / max(masked.sum(), 1)),
            float(both / max(sinks.sum(), 1)),
        )

    @property
    def same(self) -> bool:
        """True where sinks and masked positions are the same ones in the frame."""
        return self.sinks == self.there == self.both

    def in_words(self, whose: str) -> str:
        """Tell how far masked positions and sinks overlap, in the frame and over all steps. whose: sinks, as `its`."""
        theirs = f"{whose[0].upper()}{whose[1:]}"
        if self.same:
            told = f"{theirs} {counted(self.sinks, 'sink')} are exactly the {self.there} positions still masked"
            if self.sinks == 1:
                told = f"{theirs} only sink is the only position still masked"
        elif self.both == self.sinks:
            told = f"{theirs} sinks are masked, but so are {self.there - self.both} positions that are no sinks"
        else:
            told = f"{self.both} of {whose} {self.sinks} sinks are masked, and {self.there} positions in all"
        but = "but only" if self.becoming < 0.5 < self.of_sinks else "and"
        return (
            f"{told}. Over the whole text {share(self.of_sinks)} of sinks are masked, {but} {share(self.becoming)} of "
            "masked positions are sinks."
        )

    @property
    def limits(self) -> str:
        """Tell what the frame cannot show, as a further sentence; empty where sinks and masks are not the same."""
        if not self.same:
            return ""
        return " Here sinks and masks coincide."


def _sinks_take(track: Played, at: int) -> str:
    return f"{int(track.sinks[at].sum())} of {_there(track, at)} tokens"


def has_sinks(findings: Findings) -> str:
    """Tell what the model's sinks draw over all prompts, averaged over all layers, beside the other weights whose sinks
    draw most; empty where that was not measured.
    """
    drawn = _drawn(findings)
    if drawn is None:
        return ""
    together = {name: _draws(findings, name).get(ALL_LAYERS) for name in _weights(findings)}
    known = {name: value for name, value in together.items() if value is not None and name != "trained"}
    own = together.get("trained")
    if own is None or not known:
        return ""
    hardest = max(known, key=lambda name: known[name])
    has = "has sinks" if _clear(drawn) else "has no clear sinks"
    return (
        f"This model {has}: over {spec_of(findings).prompts} prompts they draw {factor(own)} × an even split; "
        f"{_MODELS.get(hardest, MOVEMENT_NULLS[hardest].called)}: {factor(known[hardest])} ×."
    )


_MODELS = {
    "random": "an untrained model of the same shape",
    "permuted": "the model with its weights shuffled",
    "matched": "an untrained model of the same shape and sharpness",
}
"""Other weights, for a reader who knows no null."""


def _weights(findings: Findings) -> list[str]:
    """Return the names of all weights whose sinks were recorded, `trained` and the nulls."""
    return list(dict.fromkeys(row["weights"] for row in findings.tables.get("layers", ())))


def _draws(findings: Findings, weights: str) -> dict[str, float]:
    """Return the corrected share of a sink of any kind by layer: the mean over kinds, by how many sinks each has."""
    source, found = spec_of(findings).model.source, dict[str, dict[str, dict[str, float]]]()
    for row in findings.tables.get("layers", ()):
        if (
            (row["model"], row["weights"]) == (source, weights)
            and row["kind"] != ALL_KINDS
            and row["value"] is not None
        ):
            found.setdefault(row["layer"], {}).setdefault(row["measure"], {})[row["kind"]] = row["value"]
    means = {}
    for layer, measures in found.items():
        counts, draws = (measures.get(KIND_MEASURES[name].title, {}) for name in ("count", "corrected-share"))
        number_of = sum(counts.get(kind, 0.0) for kind in draws)
        if number_of:
            means[layer] = sum(counts.get(kind, 0.0) * value for kind, value in draws.items()) / number_of
    return means


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
        names.get(model, model): _of_tokens(findings, model)
        | {layer: {kind: row["value"] for kind, row in kinds.items()} for layer, kinds in layers.items()}
        for model, layers in portions.items()
    }
    masked = layer_names(_mostly_masked(portions[source]))
    written = _written(findings, source)
    title = _masked_title(findings, masked, portions[source]) if masked else _commonest(portions[source])
    tokens = {model: _of_tokens(findings, model).get(ALL_TOKENS, {}) for model in portions}
    beats, notes = (
        [
            f"{names.get(model, model)}: {_layers_told(layers, tokens[model], told)}."
            for model, layers in portions.items()
        ]
        for told in (False, True)
    )
    beats += list(filter(None, (_together(findings, source, portions[source]),)))
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
        f"It does not say why{'' if _of_tokens(findings, source) else _BY_NUMBER}.",
        (*notes, f"{spec_of(findings).prompts} prompts per model."),
        meaning=story_meanings.of_place(masked, Counter(_most(portions[source])), len(portions[source])),
        takeaway=ends or beats[0],
        summary=summary,
    )


_BY_NUMBER = ": while much of a text is masked, many sinks would be masked by number alone"


def _of_tokens(findings: Findings, source: str) -> dict[str, dict[str, float]]:
    """Return the share of all tokens that is of each kind, as the row of a figure; empty where the study, of an earlier
    version, does not hold it.
    """
    rows = {
        row["kind"]: row["value"]
        for row in findings.tables.get("layers", ())
        if (row["model"], row["layer"], row["measure"], row["weights"])
        == (source, ALL_LAYERS, KIND_MEASURES["tokens"].title, "trained")
    }
    return {ALL_TOKENS: rows} if rows else {}


def _masked_title(findings: Findings, masked: str, layers: "Layers") -> str:
    """Tell which share of the sinks of those layers are masked positions, beside that of all tokens. masked: the layers
    most of whose sinks are, in words.
    """
    of_layers = _masked_rows(layers)
    shares = [of_layers[layer]["value"] for layer in _mostly_masked(layers)]
    tokens = sum(
        value
        for row in _of_tokens(findings, spec_of(findings).model.source).values()
        for kind, value in row.items()
        if kind in _MASKED
    )
    beside = f", which are {share(tokens)} of all tokens" if tokens else ""
    return f"In {masked}, {spread(min(shares), max(shares), share)} of the sinks are masked positions{beside}"


def _together(findings: Findings, source: str, layers: "Layers") -> str:
    """Tell which kind most sinks are once all layers are averaged, where single layers differ; empty where none holds
    most of them, or where it leads in every layer.
    """
    rows = [
        row
        for row in findings.tables.get("layers", ())
        if (row["model"], row["layer"], row["measure"], row["weights"])
        == (source, ALL_LAYERS, KIND_MEASURES["portion"].title, "trained")
    ]
    most = max(rows, key=lambda row: row["value"] or 0.0, default=None)
    if most is None or (most["value"] or 0.0) <= 0.5:
        return ""
    where = [layer for layer, kinds in layers.items() if _commonest_kind(kinds) == most["kind"]]
    told = f"All layers averaged, {share(most['value'])} are {_AT.get(most['kind'], most['kind'])}"
    draws = _draws(findings, "trained")
    inside, outside = (
        [draws[layer] for layer in layers if (layer in where) is held and layer in draws] for held in (True, False)
    )
    if not where or not outside:
        return ""
    if inside and min(inside) > max(outside):
        told += (
            f": {layer_names(where)} concentrate{'' if len(where) > 1 else 's'} attention most "
            f"({spread(min(inside), max(inside), factor)} × against {spread(min(outside), max(outside), factor)} ×)"
        )
    return f"{told}."


def _commonest_kind(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    return max(kinds, key=lambda kind: kinds[kind]["value"] or 0.0)


def _leading(kinds: Mapping[str, Mapping[str, Any]], tokens: Mapping[str, float]) -> str:
    """Return the kind that leads a layer (see `_layers_told`), empty where none does."""
    if not tokens:
        most = _commonest_kind(kinds)
        return most if (kinds[most]["value"] or 0.0) > 0.5 else ""
    above = {
        kind: row["value"] - tokens[kind]
        for kind, row in kinds.items()
        if kind in tokens and (row["low"] or 0.0) > tokens[kind] and row["value"] >= tokens[kind] + CLEARLY
    }
    return max(above, key=above.__getitem__, default="")


Layers = Mapping[str, Mapping[str, Mapping[str, Any]]]
Portions = Mapping[str, Layers]


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


def _masked_rows(layers: Layers) -> dict[str, Mapping[str, Any]]:
    """The row of masked positions of each layer."""
    return {layer: row for layer, kinds in layers.items() for kind, row in kinds.items() if kind in _MASKED}


def _mostly_masked(layers: Layers) -> list[str]:
    """The layers most of whose sinks are masked positions."""
    return [layer for layer, row in _masked_rows(layers).items() if row["low"] is not None and row["low"] > 0.5]


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


def _layers_told(layers: Layers, tokens: Mapping[str, float], shares: bool = False) -> str:
    """Return the kind that leads each group of layers: `masked positions in layers 0–2 (88 to 100 %), …`.

    tokens: the share of all tokens that is of each kind. Where it is known, the kind leads that lies furthest, and
    clearly, above its share; else the one that most sinks are. shares: give its share of the sinks.
    """
    leading: dict[str, list[str]] = {}
    for layer, kinds in layers.items():
        leading.setdefault(_leading(kinds, tokens), []).append(layer)
    apart = leading.pop("", [])
    told = []
    for kind, those in leading.items():
        values = [layers[layer][kind]["value"] for layer in those] if shares else []
        beside = f", {share(tokens[kind])} of all tokens" if kind in tokens else ""
        held = f" ({spread(min(values), max(values), share)}{beside})" if shares else ""
        told.append(f"{_AT.get(kind, kind)} in {layer_names(those)}{held}")
    none = f"no kind clearly more common than among all tokens in {layer_names(apart)}" if tokens and apart else ""
    mixed = f"mixed in {layer_names(apart)}" if apart and not tokens else ""
    return "; ".join(filter(None, (listed(told), none or mixed)))


def _written(findings: Findings, source: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return the rows on how many of the sinks that end do so as their token is written, observed and at random
    positions; None where either is missing.
    """
    rows = [
        row
        for row in movement_rows(findings, source)
        if row["measure"] == MOVES["deaths-written"].title and row["layer"] == ALL_LAYERS and row["value"] is not None
    ]
    by_null = {row["of"]: row for row in rows}
    chance = by_null.get(MOVEMENT_NULLS["shuffled"].title)
    return (by_null["observed"], chance) if "observed" in by_null and chance else None
