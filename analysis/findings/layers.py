"""Findings for each layer of a set of recordings, one row each: the number of sinks and their kinds, their strength
beside uniform attention, and whether they move more than each null. NumPy only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.findings import findings_of, set_contrast
from analysis.findings.sets import LEAST_PORTION, family_of
from analysis.recording import set_measures
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import arrays_of, by_kind, moves, of_all_kinds
from analysis.recording.set_tables import Sets, layers_in_words, number, spread
from analysis.sinks.intervals import LEVEL, Estimates
from analysis.sinks.movement import MOVEMENT_NULLS
from analysis.words import KINDS_TOLD, listed, percent

MOVES_BY = "births"
"""The row of `MOVES` by which a layer's sinks are said to move."""
ABOVE, BELOW, OPEN, UNTESTED = "↑", "↓", "–", ""
"""A layer beside a null: significantly more, significantly fewer, not significant, not tested."""
IN_IID = f"in {set_measures.IID}"
"""The column with the sinks per step of the null of counts."""
PLACES = "shuffled"
"""The null with sinks anywhere in every step: the most movement possible, which no model should exceed."""
SHARP = "matched"
"""The null of untrained models with equally sharp attention."""
SHUFFLED = "permuted"
"""The null of weights in random order, each matrix by itself."""
CLEARLY = 0.1
"""A kind leads in a layer where its share of the sinks is at least so far above its share of all tokens."""
SINK = "Sink: attention (× even split) above {} per layer and step."
"""The definition of a sink, of a criterion."""
STANDS_OUT = f"Stands out (bold): at least {100 * CLEARLY:g} points above all tokens, untrained and shuffled weights."
"""When a kind of token stands out among the sinks of a layer, as `Lead.clear`."""
SIGNIFICANTLY = (
    "Above all tokens also significantly; bold is the kind furthest above. As in untrained models, as with scrambled "
    f"weights: less than {100 * CLEARLY:g} points above these. Shuffled: each matrix in random order (permuted in the "
    "table)."
)
"""What that leaves out."""
LEGEND: Mapping[str, str] = {
    "× uniform": "× uniform: attention to a sink divided by what uniform attention under the model's mask gives it "
    "(corrected share): mean over all sinks of the layer, with its 95 % interval over prompts. In the figure it is "
    "split by kind.",
    IN_IID: f"{IN_IID[0].upper()}{IN_IID[1:]}: the count in such attention of the same mean and spread.",
    "outliers": f"Outliers: a significant gap below the sinks, or a heavier tail than {set_measures.IID}; by error in "
    f"at most {percent(1 - LEVEL, 0)} of the layers.",
    "vs random positions": f"vs: {ABOVE} more or {BELOW} fewer new sinks per step than the null, {OPEN} not "
    "significant; all layers and nulls jointly at 95 %.",
}
"""Columns of the table that need a word, and their explanation."""


@dataclass(frozen=True)
class Lead:
    """A kind of token that leads in some layers, as of `KindShares`. shares: of the sinks of each of them that are of
    the kind. tokens: its share of all tokens. others: its shares of the sinks of other weights in the same layers, NaN
    without sinks, by their name in `MOVEMENT_NULLS`. ends: of the shares' intervals, empty where they are not known.
    """

    kind: str
    layers: tuple[int, ...]
    shares: tuple[float, ...]
    tokens: float
    others: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    ends: tuple[tuple[float, float], ...] = ()

    @property
    def untrained(self) -> tuple[str, float] | None:
        """The other weights that the kind is held against, as sharp ones where there are any, else those with most of
        it, and their largest share in one of the layers; None where there are none.
        """
        most = {null: max(there) for null, shares in self.others.items() if (there := _finite(shares))}
        null = SHARP if SHARP in most else max(most, key=most.__getitem__, default=None)
        return None if null is None else (null, most[null])

    @property
    def clear(self) -> tuple[int, ...]:
        """The layers in which the kind stands out: no other weights come within `CLEARLY` of its share."""
        near = {at for places in self.close.values() for at in places}
        return tuple(layer for at, layer in enumerate(self.layers) if at not in near)

    @property
    def close(self) -> Mapping[str, tuple[int, ...]]:
        """In which of the layers, by place, other weights come within `CLEARLY` of the share, by their name."""
        near = {
            null: tuple(
                at for at, (own, other) in enumerate(zip(self.shares, shares, strict=True)) if other > own - CLEARLY
            )
            for null, shares in self.others.items()
        }
        return {null: places for null, places in near.items() if places}


@dataclass(frozen=True)
class KindShares:
    """Of which kinds the sinks of a model are. portions (L, K): the share of a layer's sinks that is of a kind, NaN
    without sinks. tokens (K,): the share of all tokens. others (L, K): the portions with other weights, by the null.
    """

    kinds: Sequence[str]
    portions: Estimates
    tokens: np.ndarray
    others: Mapping[str, np.ndarray] = field(default_factory=dict)

    def _leading(self) -> np.ndarray:
        """Return which kinds lead in each layer: significantly, and by `CLEARLY`, above their share of all tokens,
        (L, K).
        """
        portions = self.portions
        leading: np.ndarray = (portions.low > self.tokens) & (portions.value >= self.tokens + CLEARLY)
        return leading

    def leading(self, clearly: bool = True) -> dict[int, int]:
        """Return the kind that is furthest above its share of all tokens in each layer in which one leads. clearly: and
        stands out from other weights, too.
        """
        above: dict[int, dict[int, float]] = {}
        for lead in self.leads():
            for layer in lead.clear if clearly else lead.layers:
                share = lead.shares[lead.layers.index(layer)]
                above.setdefault(layer, {})[list(self.kinds).index(lead.kind)] = share - lead.tokens
        return {layer: max(kinds, key=kinds.__getitem__) for layer, kinds in above.items()}

    def leads(self) -> tuple[Lead, ...]:
        """Return the kinds that lead, first the one furthest above its share of all tokens in all its layers."""
        leading, leads = self._leading(), []
        for place, (kind, share) in enumerate(zip(self.kinds, self.tokens.tolist(), strict=True)):
            there = np.flatnonzero(leading[:, place])
            if len(there):
                value = self.portions.value[there, place]
                others = {null: tuple(portions[there, place].tolist()) for null, portions in self.others.items()}
                low, high = (end[there, place].tolist() for end in (self.portions.low, self.portions.high))
                ends = tuple(zip(low, high, strict=True))
                leads.append(Lead(kind, tuple(there.tolist()), tuple(value.tolist()), share, others, ends))
        return tuple(sorted(leads, key=lambda lead: -sum(share - lead.tokens for share in lead.shares)))


def terms_told(criterion: str, prompts: str, untrained: str = "") -> str:
    """Explain in a few words what sentences call a sink, standing out and untrained. prompts: how many the means are
    over. untrained: how many models; "" where it is not known.
    """
    models = f"{untrained}, " if untrained else ""
    return (
        f"{SINK.format(criterion)} {STANDS_OUT} Untrained: {models}equally sharp attention. Means over {prompts}; "
        "point for 95 % intervals."
    )


def _finite(shares: Sequence[float]) -> list[float]:
    return [share for share in shares if np.isfinite(share)]


@dataclass(frozen=True)
class LayerAnswer:
    """One layer. count: sinks per step; iid: the same in log-normal attention, None where it was not recorded.
    kinds: names and portions of the sinks, most common first, from 10 % on. strength: corrected share of the sinks with
    the ends of its interval. attention: the share of the layer's attention that goes to them. outliers: whether a gap
    or a heavy tail sets them apart, None where that was not tested. births: new sinks per step. moved: above a null,
    below it or neither, by the null's name.
    """

    layer: int
    count: float
    iid: float | None
    kinds: tuple[tuple[str, float], ...]
    strength: tuple[float, float, float]
    attention: float
    outliers: bool | None
    births: float
    moved: Mapping[str, str]


@dataclass(frozen=True)
class SetAnswer:
    """The layers of a set and what they show. leads: the kinds that are more common among sinks than among all tokens,
    the one furthest above first. kinds: the same in a sentence. where: also how strong and how many sinks are.
    movement: in which layers they move more than every null. exceptions: which nulls the other layers do not exceed.
    Sentences that say nothing are empty. said: everything else, by the finding.
    """

    layers: tuple[LayerAnswer, ...]
    leads: tuple[Lead, ...]
    kinds: str
    where: str
    movement: str
    exceptions: str
    said: Mapping[str, list[str]]

    @property
    def sentences(self) -> list[str]:
        """All of its sentences."""
        return [sentence for those in self.said.values() for sentence in those]


def answer_of(recordings: RecordingSet, families: int = 1) -> SetAnswer:
    """Return what a set shows, layer by layer. families: as of `family_of`."""
    family = family_of(recordings, families)
    portion = by_kind(recordings, "portion")  # of all layers together last
    of_layers = Estimates(*(end[: recordings.layers] for end in (portion.value, portion.low, portion.high)))
    nulls = {null: by_kind(recordings, "portion", null).value[: recordings.layers] for null in recordings.weight_nulls}
    shares = KindShares(recordings.kinds, of_layers, token_shares(recordings), nulls)
    layers = tuple(_layers(recordings, family, shares))
    said = findings_of("record_set", recordings, family)
    leads = shares.leads()
    kinds = _kinds_told(layers, leads)
    where = f"{kinds} {_strength(recordings, layers)}".strip()
    return SetAnswer(layers, leads, kinds, where, *_movement(layers), said)


def answers(sets: Sets) -> dict[str, SetAnswer]:
    """Return what each set shows layer by layer, by name. All of it holds simultaneously."""
    families = set_contrast.families(sets)
    return {name: answer_of(recordings, families) for name, recordings in sets.items()}


def words(sets: Sets, told: Mapping[str, SetAnswer] | None = None) -> dict[str, list[str]]:
    """Return sentences on what each set shows beyond its nulls, by name; empty where it shows nothing. All of them hold
    simultaneously. told: of `answers`, where they are there already.
    """
    told = answers(sets) if told is None else told
    said = {name: answer.sentences for name, answer in told.items()}
    for name, sentence in set_contrast.contrasts_in_words(sets):
        said[name].append(sentence)
    return said


def _layers(recordings: RecordingSet, family: Mapping[str, Estimates], shares: KindShares) -> list[LayerAnswer]:
    count, strength, attention = (of_all_kinds(recordings, name) for name in ("count", "corrected-share", "strength"))
    portions = np.nan_to_num(shares.portions.value)
    iid = set_measures.count_by_variant(recordings).get(set_measures.IID)
    births = moves(recordings, MOVES_BY).value
    apart = set_measures.set_apart(family, recordings.layers)
    marks = {null: _marks(family.get(f"{MOVES_BY}:{null}"), recordings.layers) for null in MOVEMENT_NULLS}
    return [
        LayerAnswer(
            layer,
            float(count.value[layer]),
            None if iid is None else float(iid.value[layer]),
            tuple(
                (recordings.kinds[kind], float(portions[layer, kind]))
                for kind in np.argsort(-portions[layer], kind="stable")
                if portions[layer, kind] >= LEAST_PORTION
            ),
            (float(strength.value[layer]), float(strength.low[layer]), float(strength.high[layer])),
            float(attention.value[layer]),
            None if apart is None else bool(apart[layer]),
            float(births[layer]),
            {null: rows[layer] for null, rows in marks.items()},
        )
        for layer in range(recordings.layers)
    ]


def token_shares(recordings: RecordingSet) -> np.ndarray:
    """Return the share of all tokens that are of each kind, (K,)."""
    tokens = arrays_of(recordings, "trained")["tokens"].sum(axis=0)
    shares: np.ndarray = tokens / tokens.sum()
    return shares


def _marks(difference: Estimates | None, layers: int) -> list[str]:
    """Mark each layer by its difference from a null, (G,)."""
    if difference is None:
        return [UNTESTED] * layers
    ends = zip(difference.low[:layers], difference.high[:layers], strict=True)
    return [
        UNTESTED if not np.isfinite([low, high]).all() else ABOVE if low > 0 else BELOW if high < 0 else OPEN
        for low, high in ends
    ]


# --- sentences --------------------------------------------------------------------------------------------------


def _strength(recordings: RecordingSet, layers: Sequence[LayerAnswer]) -> str:
    """Tell how strong the sinks are beside uniform attention and other weights, and how many."""
    with_sinks = [one for one in layers if one.kinds]
    if not with_sinks:
        return ""
    strength = spread(np.array([one.strength[0] for one in with_sinks]), False)
    drawn = strengths_of_others(recordings)[:, :-1]
    beside = f"; {OTHERS}: {spread(drawn, False)} ×" if drawn.size else ""
    none = [one.layer for one in layers if not one.kinds]
    have = "has" if len(none) == 1 else "have"
    without = f" {layers_in_words(np.array(none), len(layers))} {have} no sinks." if none else ""
    return f"Sinks draw {strength} × uniform attention (layer means{beside}).{_counted(with_sinks)}{without}"


OTHERS = "scrambled weights"
"""Every null of other weights, in one word."""


def strengths_of_others(recordings: RecordingSet) -> np.ndarray:
    """Return the corrected shares of the sinks of other weights, (nulls, L + 1), all layers together last."""
    nulls = [of_all_kinds(recordings, "corrected-share", null).value for null in recordings.weight_nulls]
    return np.array(nulls).reshape(len(nulls), recordings.layers + 1)


def _kinds_told(layers: Sequence[LayerAnswer], leads: Sequence[Lead]) -> str:
    """Tell in which layers which kind is more common among sinks than among all tokens."""
    if not any(one.kinds for one in layers):
        return "No layer has sinks by this definition."
    if not leads:
        return "In no layer is any kind of token clearly more common among sinks than among all tokens."
    told = [
        f"{kind_title(lead.kind)} in {in_layers(lead.layers, len(layers))} ({share_range(lead.shares)} of the sinks, "
        f"{number(lead.tokens, True)} of all tokens)"
        for lead in leads
    ]
    return f"More common among sinks than among all tokens: {listed(told)}."


def share_range(shares: Sequence[float]) -> str:
    """Return the least and the largest of shares: `85–100 %`."""
    low, high = (number(end, True) for end in (min(shares), max(shares)))
    return low if low == high else f"{low.removesuffix(' %')}–{high}"


def kind_title(kind: str) -> str:
    """Return the name of a kind of token in a sentence."""
    return KINDS_TOLD.get(kind, kind)


def _counted(layers: Sequence[LayerAnswer]) -> str:
    """Tell how many sinks a step has beside log-normal attention, and in how many layers they are outliers; empty where
    that was not recorded.
    """
    iid = [one.iid for one in layers if one.iid is not None]
    judged = [one.outliers for one in layers if one.outliers is not None]
    told = []
    if iid:
        counts = np.array([one.count for one in layers])
        told.append(f" Sinks per step: {spread(counts, False)} ({set_measures.IID}: {spread(np.array(iid), False)}).")
    if judged:
        told.append(f" They are outliers in {sum(judged)} of {len(judged)} layers.")
    return "".join(told)


def _movement(layers: Sequence[LayerAnswer]) -> tuple[str, str]:
    """Tell in which layers sinks move more than every null, and which nulls the others do not exceed; empty where
    nothing was tested.
    """
    nulls, every = movement_nulls(layers), beyond_every_null(layers)
    if not nulls:
        return "", ""
    of_all = f"all {len(nulls)} nulls" if len(nulls) > 1 else MOVEMENT_NULLS[nulls[0]].called
    if len(every) == len(layers):
        return f"Sinks move more than {_expected(nulls)} in {in_layers(every, len(layers))}.", ""
    where_not: dict[tuple[int, ...], list[str]] = {}
    for null in nulls:
        numbers = tuple(one.layer for one in layers if one.moved[null] != ABOVE)
        if numbers:
            where_not.setdefault(numbers, []).append(MOVEMENT_NULLS[null].called)
    if not every and [len(numbers) for numbers in where_not] == [len(layers)]:
        than = f"any of the {len(nulls)} nulls predicts" if len(nulls) > 1 else _expected(nulls)
        return f"In no layer do sinks move significantly more than {than}.", ""
    rest = listed([f"{listed(nulls)} in {in_layers(numbers, len(layers))}" for numbers, nulls in where_not.items()])
    told = f"In no layer do sinks move more than {of_all}."
    if every:
        told = f"Sinks move more than {of_all} in {in_layers(every, len(layers))}."
    return told, f"Not significantly more than {rest}."


def movement_nulls(layers: Sequence[LayerAnswer]) -> list[str]:
    """Return the nulls that the movement of a set's sinks was held against."""
    return [null for null in MOVEMENT_NULLS if null != PLACES and any(one.moved[null] for one in layers)]


def beyond_every_null(layers: Sequence[LayerAnswer]) -> list[int]:
    """Return the layers in which sinks move more than every null that was tested."""
    nulls = movement_nulls(layers)
    return [one.layer for one in layers if nulls and all(one.moved[null] == ABOVE for null in nulls)]


def _expected(nulls: Sequence[str]) -> str:
    return f"expected from {listed([MOVEMENT_NULLS[null].called for null in nulls])}"


def in_layers(numbers: Sequence[int], count: int) -> str:
    """Return some of `count` layers within a sentence."""
    words = layers_in_words(np.array(numbers), count)
    return f"{words[0].lower()}{words[1:]}"


# --- table ------------------------------------------------------------------------------------------------------


def layer_table(answer: SetAnswer) -> pd.DataFrame:
    """Return a row per layer as pages show it, all cells text; columns that no layer fills are left out."""
    rows = [
        {
            "layer": str(one.layer),
            "sinks are": ", ".join(f"{kind}\u00a0{number(portion, True)}" for kind, portion in one.kinds[:2]) or "none",
            "× uniform": _with_interval(one.strength) if one.kinds else "",
            "share of attention": number(one.attention, True),
            "sinks per step": number(one.count, False),
            IN_IID: "" if one.iid is None else number(one.iid, False),
            "outliers": "" if one.outliers is None else "yes" if one.outliers else "no",
        }
        for one in answer.layers
    ]
    return _filled(rows)


def movement_table(answer: SetAnswer) -> pd.DataFrame:
    """Return a row per layer with its new sinks per step beside each null, as `layer_table`."""
    return _filled(
        [
            {"layer": str(one.layer), "new per step": number(one.births, False)}
            | {f"vs {MOVEMENT_NULLS[null].called}": mark for null, mark in one.moved.items()}
            for one in answer.layers
        ]
    )


def _filled(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    return table.loc[:, (table != "").any()]


def legend(table: pd.DataFrame) -> str:
    """Explain the columns of `layer_table` or `movement_table`."""
    return " ".join(words for column, words in LEGEND.items() if column in table)


def _with_interval(ends: Sequence[float]) -> str:
    value, low, high = (number(end, False) for end in ends)
    return f"{value}\u00a0[{low},\u00a0{high}]"  # on one line
