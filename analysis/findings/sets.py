"""Sentences on what a set of recordings shows beyond its nulls. A rule is one row of `RULES`; it says nothing where no
interval lies on one side of zero. NumPy only.

All claims about a set form one family of comparisons, and the sets that a page shows share its error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.recording import set_measures
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import (
    KIND_MEASURES,
    LEAST_MODELS,
    MOVES,
    Arrays,
    Comparison,
    arrays_of,
    by_kind,
    compared,
    enough,
    excesses,
    head_excess,
    heads,
    moves,
    prompts_seen,
)
from analysis.recording.set_tables import SINGULAR, layers_in_words, number, spread
from analysis.registry import Registry
from analysis.sinks.intervals import LEAST_PROMPTS, LEVEL, Estimates, Parts, quotient
from analysis.sinks.layer_run import VARIANTS
from analysis.sinks.metrics import HEAD_METRICS
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS
from analysis.words import KINDS_TOLD, counted, listed

NOISE = (
    "All sentences hold jointly at 95 %, over all layers and all sets shown: studentised intervals over prompts, "
    "clustered by template, from the largest difference under random signs (max-t). A null of other weights counts as "
    "exceeded where each of its models is. The intervals do not cover other prompts, lengths or samplers."
)
OTHER_WEIGHTS = "weights"
"""The null of a rule that is tested against every null of other weights."""


@dataclass(frozen=True)
class Rule:
    """Sentences for a measure of movement above or below a null. name: `measure:null`. null: a row of `MOVEMENT_NULLS`,
    or `OTHER_WEIGHTS`. above, below: with {layers}, {value} and {null}; empty if that direction says nothing about
    movement.
    """

    measure: str
    null: str
    above: str = ""
    below: str = ""

    @property
    def name(self) -> str:
        return f"{self.measure}:{self.null}"

    @property
    def nulls(self) -> tuple[str, ...]:
        """The rows of `MOVEMENT_NULLS` that it is held against."""
        return WEIGHT_NULLS if self.null == OTHER_WEIGHTS else (self.null,)


RULES: Registry[Rule] = Registry(
    Rule(
        "change",
        "fixed",
        above="{layers}: attention moves more than the writing of tokens explains. A position's corrected share "
        "changes by {value} per step; it would change by {null} if shares stayed fixed while a token's state does.",
    ),
    Rule(
        "change",
        OTHER_WEIGHTS,
        above="{layers}: attention moves more than with other weights: {value} per step against {null}.",
    ),
    Rule(
        "births",
        "fixed",
        above="{layers}: more sinks are born than the writing of tokens explains ({value} per step against {null}).",
    ),
    Rule(
        "births",
        OTHER_WEIGHTS,
        above="{layers}: more sinks are born than with other weights: {value} per step against {null}.",
        below="{layers}: fewer sinks are born than with other weights: {value} per step against {null}.",
    ),
    Rule(
        "births",
        "shuffled",
        below="{layers}: sinks stay in place more than chance predicts. {value} are born per step; with as "
        "many sinks at random positions of the same state it would be {null}.",
    ),
    Rule(
        "deaths-written",
        "shuffled",
        above="{layers}: {value} of the deaths of sinks coincide with their own token being written, against {null} by "
        "chance.",
    ),
    Rule(
        "births-written",
        "shuffled",
        above="{layers}: {value} of the births of sinks coincide with their own token being written, against {null} by "
        "chance.",
    ),
    Rule(
        "births-neighbour",
        "shuffled",
        above="{layers}: {value} of the births coincide with a neighbour being written, against {null} by chance.",
    ),
    Rule(
        "deaths-neighbour",
        "shuffled",
        above="{layers}: {value} of the deaths coincide with a neighbour being written, against {null} by chance.",
    ),
    Rule(
        "births-block",
        "shuffled",
        above="{layers}: {value} of the births coincide with a block being opened, against {null} by chance.",
    ),
    Rule(
        "deaths-block",
        "shuffled",
        above="{layers}: {value} of the deaths coincide with a block being opened, against {null} by chance.",
    ),
    Rule(
        "centroid-variance",
        "shuffled",
        above="{layers}: the centre of the sinks moves more than that of as many sinks at random positions of the same "
        "state (variance {value} against {null}).",
        below="{layers}: the centre of the sinks moves less than that of as many sinks at random positions of the same "
        "state (variance {value} against {null}).",
    ),
    Rule(
        "centroid-variance",
        OTHER_WEIGHTS,
        above="{layers}: the centre of the sinks moves more than with other weights: variance {value} against {null}.",
        below="{layers}: the centre of the sinks moves less than with other weights: variance {value} against {null}.",
    ),
)
"""The null of fixed shares has no births but by writing, so that what coincides with writing is not held against it."""


def comparisons_of(recordings: RecordingSet) -> list[Comparison]:
    """Return every comparison behind the sentences of a set, each once."""
    comparisons = [
        compared(recordings, f"{rule.measure}:{null}", MOVES[rule.measure].parts, null)
        for rule in RULES.values()
        for null in rule.nulls
    ]
    comparisons += [
        compared(recordings, f"{kind}:{null}", _token_share(number), null)
        for number, kind in enumerate(recordings.info.kinds)
        for null in WEIGHT_NULLS
    ]
    comparisons += set_measures.comparisons(recordings)
    return list({one.name: one for one in comparisons}.values())


def family_of(recordings: RecordingSet, families: int = 1) -> dict[str, Estimates]:
    """Return the differences of all comparisons of a set, by name, with simultaneous intervals; none where there are
    too few prompts for a claim. families: how many
    the page shows, which share the error of 5 %.
    """
    if recordings.prompts_apart < LEAST_PROMPTS:
        return {}
    comparisons = comparisons_of(recordings)
    told = excesses(recordings, comparisons, 1 - (1 - LEVEL) / families)
    return {one.name: difference for one, difference in zip(comparisons, told, strict=True)}


def _token_share(kind: int) -> Callable[[Arrays], Parts]:
    """Return a function for the parts of the corrected share of all tokens of a kind, sinks or not."""

    def parts(arrays: Arrays) -> Parts:
        above, below = KIND_MEASURES["token-share"].parts(arrays)
        return above[..., kind], np.broadcast_to(below, above.shape)[..., kind]

    return parts


def missing(recordings: RecordingSet, family: Mapping[str, Estimates]) -> list[str]:
    """List the claims that are missing, and why."""
    apart = recordings.prompts_apart
    if apart < LEAST_PROMPTS:
        of = "prompts" if apart == recordings.prompts else "templates of prompts"
        return [f"None of this is a claim: claims need at least {LEAST_PROMPTS} {of}, and there are {apart}."]
    few: dict[str, list[str]] = {}
    for null in WEIGHT_NULLS:
        if not enough(recordings, null):
            seen = prompts_seen(recordings, null)
            there = f"{counted(len(seen), 'model')} saw at least {min(seen)}" if seen else "none was recorded"
            few.setdefault(there, []).append(MOVEMENT_NULLS[null].called)
    return [
        f"No claims against {listed(titles)}: they need {LEAST_MODELS} models that saw {LEAST_PROMPTS} prompts each; "
        f"{there}."
        for there, titles in few.items()
    ]


def movement(recordings: RecordingSet, family: Mapping[str, Estimates]) -> list[str]:
    """Write a sentence for every rule whose measure lies on one side of its null in at least one layer, and for every
    group of layers that exceed the same nulls of other weights.
    """
    sentences = []
    for rule, template, layers_of in _held(recordings, family):
        percent, observed = MOVES[rule.measure].percent, moves(recordings, rule.measure).value
        values = {null: moves(recordings, rule.measure, null).value for null in layers_of}
        for nulls, layers in _groups(layers_of):
            null = _beside(nulls, tuple(layers_of), {name: spread(values[name][layers], percent) for name in nulls})
            sentences.append(
                template.format(
                    layers=layers_in_words(layers, recordings.layers),
                    value=spread(observed[layers], percent),
                    null=null if rule.null == OTHER_WEIGHTS else spread(values[rule.null][layers], percent),
                )
            )
    return sentences


def _held(
    recordings: RecordingSet, family: Mapping[str, Estimates]
) -> Iterator[tuple[Rule, str, dict[str, np.ndarray]]]:
    """Yield every rule and direction that has a sentence: the rule, its template, and per null the layers (L,) that lie
    on that side of it.
    """
    for rule in RULES.values() if family else ():
        told = [null for null in rule.nulls if null not in WEIGHT_NULLS or enough(recordings, null)]
        for template, sign in ((rule.above, 1), (rule.below, -1)):
            if template and told:
                differences = {null: family[f"{rule.measure}:{null}"] for null in told}
                yield (
                    rule,
                    template,
                    {null: beyond(one, sign)[: recordings.layers] for null, one in differences.items()},
                )


def layers_beyond(recordings: RecordingSet) -> dict[str, list[int]]:
    """Return the layers in which a set lies beyond every null that a rule is held against, by what the rule says, and
    the layers in which a kind of token draws more attention than other weights give it; empty below `LEAST_PROMPTS`.
    """
    if recordings.prompts_apart < LEAST_PROMPTS:
        return {}
    family = family_of(recordings)
    found = {f"the sinks include {name}": flags for name, flags in _kind_flags(recordings, family)}
    for rule, template, layers_of in _held(recordings, family):
        null = MOVEMENT_NULLS[rule.null].title if rule.null != OTHER_WEIGHTS else "other weights"
        side = "above" if template == rule.above else "below"
        found[f"{MOVES[rule.measure].title.lower()}: {side} {null}"] = layers_of
    return {what: np.flatnonzero(np.all([*of.values()], axis=0)).tolist() for what, of in found.items() if of}


def _beside(nulls: Sequence[str], told: Sequence[str], values: Mapping[str, str]) -> str:
    """Return '0.1 with random weights and 0.2 with permuted weights; not significant against …'."""
    parts = [f"{values[null]} with {MOVEMENT_NULLS[null].called}" for null in nulls]
    missing = [MOVEMENT_NULLS[null].called for null in told if null not in nulls]
    return listed(parts) + (f"; not significant against {listed(missing)}" if missing else "")


def _groups(flags: Mapping[str, np.ndarray]) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Group the layers by the names for which their flag (L,) is set, without layers that have none."""
    groups: dict[tuple[str, ...], list[int]] = {}
    if not flags:
        return []
    for layer in range(len(next(iter(flags.values())))):
        names = tuple(name for name, of in flags.items() if of[layer])
        if names:
            groups.setdefault(names, []).append(layer)
    return [(names, np.array(layers)) for names, layers in groups.items()]


LEAST_PORTION = 0.1  # of a layer's sinks that a kind makes up where it is named


def where(recordings: RecordingSet, family: Mapping[str, Estimates]) -> list[str]:
    """Say, per kind of token, which layers pay it more attention than each model of a null of other weights, with the
    multiple that was tested and the kind's share of all tokens; only kinds that are at least 10 % of a layer's sinks
    there.
    """
    told = [null for null in WEIGHT_NULLS if enough(recordings, null)]
    portion = by_kind(recordings, "portion").value[:-1]
    share = by_kind(recordings, "token-share").value[:-1]
    random = {null: by_kind(recordings, "token-share", null).value[:-1] for null in told}
    tokens = arrays_of(recordings, "trained")["tokens"].sum(axis=0)
    sentences = []
    for kind, (name, flags) in enumerate(_kind_flags(recordings, family)):
        for nulls, layers in _groups(flags):
            draws, are = ("draws", "is") if name in SINGULAR else ("draw", "are")
            values = {null: f"{spread(random[null][layers, kind], False)} ×" for null in nulls}
            sentences.append(
                f"{layers_in_words(layers, recordings.layers)}: {KINDS_TOLD.get(name, name)} {draws} "
                f"{spread(share[layers, kind], False)} × uniform attention, more than other weights give "
                f"({_beside(nulls, told, values)}), and {are} {spread(portion[layers, kind], True)} of the sinks and "
                f"{number(tokens[kind] / tokens.sum(), True)} of the tokens."
            )
    return sentences


def _kind_flags(
    recordings: RecordingSet, family: Mapping[str, Estimates]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield every kind of token and, per null of other weights, the layers (L,) in which it is at least 10 % of the
    sinks and draws more attention than each model of the null.
    """
    told = [null for null in WEIGHT_NULLS if enough(recordings, null)]
    portion = by_kind(recordings, "portion").value[:-1]
    for kind, name in enumerate(recordings.kinds if family else ()):
        often = portion[:, kind] >= LEAST_PORTION
        yield name, {null: beyond(family[f"{recordings.info.kinds[kind]}:{null}"], 1)[:-1] & often for null in told}


def beyond(difference: Estimates, sign: int) -> np.ndarray:
    """Return where an interval lies on one side of 0: above for a sign of 1, below for −1; nowhere where there is
    none.
    """
    return np.asarray(difference.low > 0 if sign > 0 else difference.high < 0)


# --- counts -----------------------------------------------------------------------------------------------------


def counts(recordings: RecordingSet, family: Mapping[str, Estimates]) -> list[str]:
    """Say which layers exceed log-normal attention, in which nothing sets sinks apart, and in which the answer
    depends on how sinks are counted. family: differences by the names of `CHECKS`.
    """
    if not family:
        return []
    arrays, layers = arrays_of(recordings, "trained"), recordings.layers
    sentences = []
    for row in set_measures.CHECKS.values():
        value, null = (quotient(*parts(arrays)).value[:layers] for parts in (row.observed, row.null))
        for template, sign in ((row.above, 1), (row.below, -1)):
            side = beyond(family[row.name], sign)[:layers]
            if template and side.any():
                sentences.append(
                    template.format(
                        layers=layers_in_words(np.flatnonzero(side), layers),
                        value=spread(row.shown(value[side]), False),
                        null=spread(row.shown(null[side]), False),
                    )
                )
    apart = set_measures.set_apart(family, layers)
    if apart is not None and not apart.all():
        sentences.append(
            f"{layers_in_words(np.flatnonzero(~apart), layers)}: no significant gap or heavy tail. Sinks there "
            "may be the upper end of a smooth distribution."
        )
    return sentences + _unsettled(recordings)


def _unsettled(recordings: RecordingSet) -> list[str]:
    """Say in which layers another definition, k or length changes the answer: to another kind, or to no sinks."""
    arrays, info, layers = arrays_of(recordings, "trained"), recordings.info, recordings.layers
    others = {
        f"with {VARIANTS[name].title if name in VARIANTS else name}": arrays["variants"][:, place]
        for place, name in enumerate(info.variants)
    }
    if info.half_tokens:
        others[f"at {info.half_tokens} new tokens"] = arrays["half_sinks"]
    sentences, none = [], {}
    for how, sinks in others.items():
        empty = np.flatnonzero(sinks.sum(axis=(0, 2))[:layers] == 0)
        if len(empty):
            called = layers_in_words(empty, layers)
            none[how] = f"in {called[0].lower()}{called[1:]} {how}"
    for layer in range(layers):
        usual = _leading(arrays["sinks"][:, layer])
        changes = [
            f"{_share(recordings, sinks[:, layer], kind)} {how}"
            for how, sinks in others.items()
            if usual is not None
            and (kind := _leading(sinks[:, layer])) not in (None, usual)
            and _leads(sinks[:, layer], kind, usual, recordings.clusters)
        ]
        if changes and usual is not None:
            sentences.append(
                f"Layer {layer}: which tokens are sinks depends on how they are counted. They are mostly "
                f"{_share(recordings, arrays['sinks'][:, layer], usual)} as counted here, but {listed(changes)}."
            )
    return sentences + ([f"There are no sinks {listed(list(none.values()))}."] if none else [])


def _leading(sinks: np.ndarray) -> int | None:
    """Return the most common kind of the sinks (N, K); None without sinks."""
    total = sinks.sum(axis=0)
    return int(total.argmax()) if total.sum() > 0 else None


def _leads(sinks: np.ndarray, kind: int, other: int, clusters: np.ndarray) -> bool:
    """Return whether one kind makes up more of the sinks (N, K) than another, by the 95 % interval over prompts."""
    difference = quotient(sinks[:, kind] - sinks[:, other], sinks.sum(axis=-1), clusters)
    return bool(difference.low > 0)


def _share(recordings: RecordingSet, sinks: np.ndarray, kind: int) -> str:
    name = recordings.kinds[kind]
    return f"{KINDS_TOLD.get(name, name)} ({number(sinks[:, kind].sum() / sinks.sum(), True)})"


# --- heads ------------------------------------------------------------------------------------------------------


def heads_beyond(recordings: RecordingSet, measure: str) -> str:
    """Say in how many heads a row of `metrics.of_mass` lies beyond random weights, and in which most."""
    if not enough(recordings, "random"):
        return f"No claim against random weights: it needs {LEAST_MODELS} models that saw {LEAST_PROMPTS} prompts each."
    percent, difference = HEAD_METRICS[measure].percent, head_excess(recordings, measure)
    values, random = (heads(recordings, measure, which) for which in ("trained", "random"))
    above, below = beyond(difference, 1), beyond(difference, -1)
    if not (above | below).any():
        return "No head differs significantly from random weights."
    sides = [
        f"{word} than in every random-weight model in {side.sum()} of {side.size} heads"
        for side, word in ((above, "higher"), (below, "lower"))
        if side.any()
    ]
    strongest = np.where(above | below, np.abs(difference.value), -np.inf)
    layer, head = np.unravel_index(int(strongest.argmax()), strongest.shape)
    ends = ", ".join(number(end[layer, head], percent).removesuffix(" %") for end in (values.low, values.high))
    own, others = (number(end[layer, head], percent) for end in (values.value, random.value))
    return (
        f"{'; '.join(sides)} (at 95 %, jointly). Largest difference: layer {layer}, head {head}, "
        f"{own} [{ends}] against {others} with random weights."
    )
