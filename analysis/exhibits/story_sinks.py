"""The story's finding on what a sink is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.exhibits import story_parts
from analysis.exhibits.story_parts import Measured, called, factor, recordings, rows_of, share, step_words, within
from analysis.figures.layer_kinds import ALL_TOKENS
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.findings.layers import SHARP
from analysis.recording.playback import UNDECIDED, Played, frame_beside, opening_frame
from analysis.recording.set_file import ALL_LAYERS
from analysis.recording.set_measures import KIND_MEASURES
from analysis.recording.set_tables import ALL_KINDS
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.specs import DEFINITIONS, SinkParams
from analysis.study.findings import Findings
from analysis.words import KINDS_TOLD, counted

MASKED = ("[MASK]", "undecided")


def sink(findings: Findings) -> Told | None:
    """Tell what a sink is: what sinks draw over all prompts, and one text among the recordings to watch; of that text
    alone where nothing was measured over prompts.
    """
    played = recordings(findings)
    frame = opening_frame(played) if played else None
    told = {model: _Draws.of(findings, model) for model in called(findings)}
    draws = {model: one for model, one in told.items() if one is not None}
    text = [] if frame is None else _one_text(findings, played[0], frame)
    if findings.parameters.model.source not in draws:
        return None if frame is None else _sink_of_one_text(findings, played, frame, text[1:])
    groups = [
        Group(
            called(findings)[model],
            (_draws_mark("its sinks", one.own, charts.SINK), _draws_mark(one.labelled, one.null, charts.NULL)),
        )
        for model, one in draws.items()
    ]
    own, *others = draws.values()
    times, null = factor(own.own.value), factor(own.null.value)
    prompts, source = findings.parameters.prompts, findings.parameters.model.source
    whose = f" of {within(findings, source)}" if len(called(findings)) > 1 else ""
    meant = _MEANT.get(own.weights, "")
    beats = [
        f"{called(findings)[model]}, over {prompts} prompts: a sink draws {one.own.told(_EVEN_SPLIT)}, in {one.called} "
        f"{one.null.told(_TIMES)}."
        for model, one in draws.items()
    ]
    return Told(
        "sink",
        f"A sink{whose} draws {times} × an even split of attention; in {own.called}, {null} ×",
        charts.bars(groups, f"attention of a sink, × an even split, mean over {prompts} prompts", line=_EVEN),
        " ".join(beats),
        tuple(text or beats),
        f"Sinks: attention {threshold()}, so high by definition; layers averaged.{_SPLIT if others else ''}{meant}",
        (*(beats if text else ()), *filter(None, (_of_commonest(findings), _weights_told(own)))),
        plays=True,
        meaning=story_parts.of_sinks(_clear(_drawn(findings))),
        takeaway=(text or beats)[0],
        summaries=(
            Summary(
                "Attention of a sink (layers averaged), × an even split",
                own.own.told(),
                f"{own.labelled}: {own.null.told()}",
            ),
        ),
    )


def _draws_mark(label: str, draws: Measured, tone: str) -> Mark:
    return Mark(label, draws.value, draws.told(_TIMES), tone, draws.low, draws.high)


_EVEN = (1.0, "an even split, 1 ×")
_TIMES, _EVEN_SPLIT = " ×", " × an even split"
_SPLIT = " Even split: every token attends evenly to all it may."


@dataclass(frozen=True)
class _Draws:
    """Attention that a model's sinks draw over all prompts, averaged over layers, and in the other weights where they
    draw most. own, null: × an even split. weights: the name of these.
    """

    own: Measured
    null: Measured
    weights: str

    @property
    def called(self) -> str:
        """The name that sentences give those weights."""
        return MOVEMENT_NULLS[self.weights].called

    @property
    def labelled(self) -> str:
        """The name that figures give them."""
        return MOVEMENT_NULLS[self.weights].labelled

    @classmethod
    def of(cls, findings: Findings, model: str) -> "_Draws | None":
        """Return it of a model; None where it was not measured."""
        together = {name: draws_by_layer(findings, model, name).get(ALL_LAYERS) for name in _weights(findings)}
        known = {name: value for name, value in together.items() if value is not None and name != "trained"}
        own = together.get("trained")
        if own is None or not known:
            return None
        hardest = max(known, key=lambda name: known[name].value)
        return cls(own, known[hardest], hardest)


def threshold() -> str:
    """Return how much attention makes a token a sink, by the one definition that studies have: `above mean + 2 std of a
    step`.
    """
    params = SinkParams()
    row = DEFINITIONS[params.definition]
    level = f"{getattr(params, row.parameter):g}"
    told = row.title.removeprefix("Mass ").replace("k·std", f"{level} std")
    return f"{told} of a step" if row.in_deviations else f"{told} ({row.parameter} = {level})"


def _weights_told(draws: _Draws) -> str:
    return f"{draws.called[0].upper()}{draws.called[1:]}: {MOVEMENT_NULLS[draws.weights].sentence}."


def _of_commonest(findings: Findings) -> str:
    """Tell what the commonest kind of sink draws, with its interval; empty where that was not measured."""
    drawn = _drawn(findings)
    if drawn is None or drawn[0]["low"] is None:
        return ""
    row = drawn[0]
    kind = KINDS_TOLD.get(row["kind"], row["kind"])
    return f"Sinks that are {kind} draw {Measured.of(row).told(_TIMES)}, the interval over prompts."


def _one_text(findings: Findings, track: Played, frame: int) -> list[str]:
    """Tell the sinks of one step of one text, and how far they are the masked positions."""
    masked, step = _Masked.of(track, frame), step_words(track, frame)
    takes, even = share(float(track.strength[frame])), share(float(track.even[frame]))
    told = (
        f"One text, {step}: {_sinks_take(track, frame)} take {takes} of the attention, an even split gives them {even}."
    )
    whose = f"{within(findings, track.title)}'s" if len(called(findings)) > 1 else "its"
    return [told, *([masked.in_words(whose)] if masked.there else [])]


def _sink_of_one_text(findings: Findings, played: tuple[Played, ...], frame: int, masked: list[str]) -> Told:
    """Tell what a sink is by one text alone."""
    last, names = len(played[0].frames) - 1, called(findings)
    groups, beats, limits = list[Group](), list[str](), _Masked.of(played[0], frame).limits
    for track in played:
        at = frame_beside(frame, last, len(track.frames) - 1)
        name, held, even = names.get(track.title, track.title), float(track.strength[at]), float(track.even[at])
        times = held / even if even else 0.0
        marks = (Mark(_sinks_take(track, at), times, f"{factor(times)} ×", beat=len(beats)),)
        groups.append(Group(name, marks))
        beats.append(
            f"{name}, {step_words(track, at)}: {_sinks_take(track, at)} take {share(held)} of the attention, an even "
            f"split gives them {share(even)}."
        )
    first = groups[0].marks[0]
    return Told(
        "sink",
        f"In one text, {first.label} draw {first.told} an even split of attention",
        charts.bars(groups, "attention of the sinks in one step of one text, × an even split", line=_EVEN),
        " ".join(beats),
        (*beats, *masked),
        f"One text and step, all layers averaged.{limits}",
        (_SPLIT.strip(),) if len(played) > 1 else (),
        plays=True,
        meaning=story_parts.of_sinks(_clear(_drawn(findings))),
        takeaway=beats[0],
        summaries=(Summary("Attention to the sinks, one text", f"{first.told} an even split", ""),),
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
            f"{told}. Over all steps of this text {share(self.of_sinks)} of sinks are masked, {but} "
            f"{share(self.becoming)} of masked positions are sinks."
        )

    @property
    def limits(self) -> str:
        """Tell what the frame cannot show, as a further sentence; empty where sinks and masks are not the same."""
        if not self.same:
            return ""
        return " Here sinks and masks coincide."


def _sinks_take(track: Played, at: int) -> str:
    return f"{int(track.sinks[at].sum())} of {_there(track, at)} tokens"


def masked_of_all(findings: Findings) -> Measured | None:
    """Return which share of the model's sinks is masked positions, with all layers averaged first; None where that was
    not measured.
    """
    rows = rows_of(
        findings,
        "layers",
        model=findings.parameters.model.source,
        layer=ALL_LAYERS,
        measure=KIND_MEASURES["portion"].title,
        weights="trained",
    )
    return next((Measured.of(row) for row in rows if row["kind"] in MASKED and row["value"] is not None), None)


def of_all_layers(findings: Findings, source: str, measure: str) -> list[Mapping[str, Any]]:
    """Return the rows of a measure of `KIND_MEASURES`, one per kind of token, with all layers averaged."""
    title = KIND_MEASURES[measure].title
    return rows_of(findings, "layers", model=source, layer=ALL_LAYERS, measure=title, weights="trained")


def of_tokens(findings: Findings, source: str) -> dict[str, dict[str, float]]:
    """Return the share of all tokens that is of each kind, as the row of a figure; empty where the study, of an earlier
    version, does not hold it.
    """
    rows = {row["kind"]: row["value"] for row in of_all_layers(findings, source, "tokens")}
    return {ALL_TOKENS: rows} if rows else {}


def masked_tokens(findings: Findings) -> float:
    """Return the share of masked positions among all tokens; 0 where unknown."""
    every = of_tokens(findings, findings.parameters.model.source).values()
    return sum(value for row in every for kind, value in row.items() if kind in MASKED)


def has_sinks(findings: Findings) -> str:
    """Tell what the model's sinks draw over all prompts, averaged over all layers, beside the other weights whose sinks
    draw most, and how many of them are masked; empty where that was not measured.
    """
    drawn, draws = _drawn(findings), _Draws.of(findings, findings.parameters.model.source)
    if drawn is None or draws is None:
        return ""
    has = "has sinks:" if _clear(drawn) else "has no clear sinks: tokens above the threshold draw"
    beside = "untrained models" if draws.weights == SHARP else _MODELS.get(draws.weights, draws.called)
    own, null = factor(draws.own.value), factor(draws.null.value)
    told = f"Averaged over layers, this model {has} {own}{_EVEN_SPLIT} ({beside}: {null}{_TIMES})"
    masked, of_all = masked_of_all(findings), masked_tokens(findings)
    if masked is None or not (masked.low or 0.0) > of_all > 0 or not _clear(drawn):
        return f"{told}."
    return f"{told}, {share(masked.value)} masked (all tokens: {share(of_all)})."


_MODELS = {
    "random": "an untrained model of the same shape",
    "permuted": "the model with its weights shuffled",
    SHARP: "equally sharp untrained models",
}
"""Other weights, for a reader who knows no null."""
_MEANT = {null: f" {null[0].upper()}{null[1:]} weights: {told}." for null, told in _MODELS.items()} | {
    SHARP: " Equally sharp: random weights, attention as peaked as in the model."
}


def _weights(findings: Findings) -> list[str]:
    """Return the names of all weights whose sinks were recorded, `trained` and the nulls."""
    return list(dict.fromkeys(row["weights"] for row in findings.tables.get("layers", ())))


def draws_by_layer(findings: Findings, model: str, weights: str) -> dict[str, Measured]:
    """Return the corrected share of a model's sink of any kind by layer, over kinds by their number of sinks."""
    found = dict[str, dict[str, dict[str, Mapping[str, Any]]]]()
    for row in rows_of(findings, "layers", model=model, weights=weights):
        if row["kind"] != ALL_KINDS and row["value"] is not None:
            found.setdefault(row["layer"], {}).setdefault(row["measure"], {})[row["kind"]] = row
    means = {}
    for layer, measures in found.items():
        counts, draws = (measures.get(KIND_MEASURES[name].title, {}) for name in ("count", "corrected-share"))
        there = {kind: row["value"] for kind, row in counts.items() if kind in draws and row["value"] > 0}
        if there:
            means[layer] = Measured.mean([draws[kind] for kind in there], list(there.values()))
    return means


Drawn = tuple[Mapping[str, Any], Mapping[str, Any]]


def _clear(drawn: Drawn | None) -> bool | None:
    """Return whether the sinks draw more than those of any other weights; None where that was not measured."""
    return None if drawn is None else (drawn[0]["low"] or 0.0) > (drawn[1]["high"] or drawn[1]["value"])


def _drawn(findings: Findings) -> Drawn | None:
    """Return what the model's commonest kind of sink draws over all prompts, and what the sinks of the other weights
    draw where they draw most; None where that was not measured.
    """
    rows = rows_of(findings, "layers", model=findings.parameters.model.source, layer=ALL_LAYERS)
    portions, draws = (
        [row for row in rows if row["measure"] == KIND_MEASURES[name].title and row["value"] is not None]
        for name in ("portion", "corrected-share")
    )
    nulls = [row for row in draws if row["weights"] != "trained"]
    own = [row for row in portions if row["weights"] == "trained"]
    commonest = max(own, key=lambda row: row["value"], default=None)
    if commonest is None or not nulls:
        return None
    of_kind = [row for row in draws if (row["weights"], row["kind"]) == ("trained", commonest["kind"])]
    return (of_kind[0], max(nulls, key=lambda row: row["high"] or row["value"])) if of_kind else None
