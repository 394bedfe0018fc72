"""What a set of recordings shows beyond its nulls, in words. A rule is one row of `RULES`; where no interval lies
on one side of zero, nothing is said. NumPy only.
"""

from dataclasses import dataclass

import numpy as np

from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import LEAST_MODELS, MOVES, arrays_of, by_kind, excess, head_excess, heads, moves
from analysis.registry import Registry
from analysis.sinks.intervals import LEAST_PROMPTS, Estimates, paired_difference
from analysis.sinks.metrics import HEAD_METRICS
from analysis.sinks.movement import MOVEMENT_NULLS

NOISE = (
    "Each sentence holds at 95 % for all layers together, over the prompts; of random weights against each of the "
    "models. That other prompts, lengths or samplers would show the same is not in these intervals."
)


@dataclass(frozen=True)
class Rule:
    """What is said where a measure of movement lies above or below a null. name: `measure:null`. above, below: with
    {layers}, {value} and {null}; empty: that direction says nothing about movement.
    """

    measure: str
    null: str
    above: str = ""
    below: str = ""

    @property
    def name(self) -> str:
        return f"{self.measure}:{self.null}"


RULES: Registry[Rule] = Registry(
    Rule(
        "change",
        "fixed",
        above="{layers}: attention moves more than the writing of tokens explains; a position's corrected share "
        "changes by {value} a step, {null} if shares were fixed for as long as a token's state stays.",
    ),
    Rule(
        "change",
        "random",
        above="{layers}: attention moves more than in random weights ({value} against {null} a step).",
    ),
    Rule(
        "births",
        "fixed",
        above="{layers}: more sinks are born than the writing of tokens explains ({value} against {null} a step).",
    ),
    Rule(
        "births",
        "random",
        above="{layers}: more sinks are born than in random weights ({value} against {null} a step).",
    ),
    Rule(
        "births",
        "shuffled",
        below="{layers}: sinks stay where they are far more than chance would have it; {value} are born a step, {null} "
        "if as many stood at random positions of the same state.",
    ),
    Rule(
        "deaths-written",
        "shuffled",
        above="{layers}: {value} of the deaths of sinks coincide with their own token being written, {null} by chance.",
    ),
    Rule(
        "births-written",
        "shuffled",
        above="{layers}: {value} of the births of sinks coincide with their own token being written, {null} by chance.",
    ),
    Rule(
        "births-neighbour",
        "shuffled",
        above="{layers}: {value} of the births coincide with a neighbour being written, {null} by chance.",
    ),
    Rule(
        "deaths-neighbour",
        "shuffled",
        above="{layers}: {value} of the deaths coincide with a neighbour being written, {null} by chance.",
    ),
    Rule(
        "births-block",
        "shuffled",
        above="{layers}: {value} of the births coincide with a block being opened, {null} by chance.",
    ),
    Rule(
        "deaths-block",
        "shuffled",
        above="{layers}: {value} of the deaths coincide with a block being opened, {null} by chance.",
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
        "random",
        above="{layers}: the centre of the sinks moves more than in random weights (variance {value} against {null}).",
        below="{layers}: the centre of the sinks moves less than in random weights (variance {value} against {null}).",
    ),
)
"""The null of fixed shares has no births but by writing, so that what coincides with writing is not held against it."""


def movement_in_words(recordings: RecordingSet) -> list[str]:
    """A sentence for every rule whose measure lies on one side of its null in at least one layer."""
    sentences: list[str] = []
    if recordings.prompts < LEAST_PROMPTS:
        return sentences
    for rule in RULES.values():
        difference = excess(recordings, rule.measure, rule.null)
        observed = moves(recordings, rule.measure).value
        null = moves(recordings, rule.measure, rule.null).value
        for template, layers in ((rule.above, _above(difference)), (rule.below, _below(difference))):
            layers = layers[layers < recordings.layers]
            if template and len(layers):
                percent = MOVES[rule.measure].percent
                sentences.append(
                    template.format(
                        layers=layers_in_words(layers, recordings.layers),
                        value=_range(observed[layers], percent),
                        null=_range(null[layers], percent),
                    )
                )
    return sentences


def silent_nulls(recordings: RecordingSet) -> list[str]:
    """What nothing is said about, and why."""
    if recordings.prompts < LEAST_PROMPTS:
        return [f"Nothing is said about {recordings.prompts} prompts: a claim needs {LEAST_PROMPTS}."]
    if len(recordings.info.random_seeds) < LEAST_MODELS:
        return [f"Nothing is said about {MOVEMENT_NULLS['random'].title}: a claim needs {LEAST_MODELS} models."]
    return []


def kinds_in_words(recordings: RecordingSet) -> list[str]:
    """For each kind of token, the layers that pay it more attention than each random-weight model does; only kinds that
    make up at least a tenth of a layer's sinks there.
    """
    models = len(recordings.info.random_seeds)
    if models < LEAST_MODELS or recordings.prompts < LEAST_PROMPTS:
        return []
    trained = arrays_of(recordings, "trained")
    observed = (trained["token_share"], np.broadcast_to(trained["tokens"][:, None], trained["token_share"].shape))
    portion = by_kind(recordings, "portion").value
    share = by_kind(recordings, "corrected-share").value
    sentences = []
    for kind, name in enumerate(recordings.kinds):
        above = np.ones(recordings.layers + 1, bool)
        for model in range(models):
            drawn = arrays_of(recordings, "random", model)
            null = (drawn["token_share"], np.broadcast_to(drawn["tokens"][:, None], drawn["token_share"].shape))
            first, second = ((part[0][..., kind], part[1][..., kind]) for part in (observed, null))
            difference = paired_difference(first, second)
            above &= np.nan_to_num(difference.low, nan=-1.0) > 0
        layers = np.flatnonzero(above[:-1] & (np.nan_to_num(portion[:-1, kind]) >= 0.1))
        if len(layers):
            which = layers_in_words(layers, recordings.layers)
            rests = "rests" if len(layers) == 1 else "rest"
            part, times = _range(portion[layers, kind], True), _range(share[layers, kind], False)
            sentences.append(
                f"{which} {rests} on {_KIND_TITLES.get(name, name)}: {part} of the sinks, each with {times} times the "
                "attention that uniform attention would give it."
            )
    return sentences


_LEAST = 0.0001  # smaller numbers are not written out
_KIND_TITLES = {"undecided": "undecided tokens", "first": "the first token", "last": "the last token", "word": "words"}


def heads_in_words(recordings: RecordingSet, measure: str) -> str:
    """In how many heads a row of `metrics.of_mass` lies beyond random weights, and in which most."""
    if len(recordings.info.random_seeds) < LEAST_MODELS:
        return f"Of fewer than {LEAST_MODELS} random-weight models nothing is said beside them."
    if recordings.prompts < LEAST_PROMPTS:
        return f"Of fewer than {LEAST_PROMPTS} prompts nothing is said beside random weights."
    percent, difference = HEAD_METRICS[measure].percent, head_excess(recordings, measure)
    values, random = (heads(recordings, measure, which) for which in ("trained", "random"))
    above = np.nan_to_num(difference.low, nan=-1.0) > 0
    below = np.nan_to_num(difference.high, nan=1.0) < 0
    if not (above | below).any():
        return "No head is shown to differ from random weights."
    sides = [
        f"{side.sum()} of {side.size} heads show {word} each random-weight model"
        for side, word in ((above, "more than"), (below, "less than"))
        if side.any()
    ]
    strongest = np.where(above | below, np.abs(difference.value), -np.inf)
    layer, head = np.unravel_index(int(strongest.argmax()), strongest.shape)
    ends = " to ".join(number(end[layer, head], percent) for end in (values.low, values.high))
    return (
        f"{'; '.join(sides)}, at 95 % for all heads together. Farthest from it: layer {layer}, head {head} with "
        f"{number(values.value[layer, head], percent)} ({ends}), random weights "
        f"{number(random.value[layer, head], percent)}."
    )


def layers_in_words(layers: np.ndarray, count: int) -> str:
    """'Layer 3', 'Layers 0–2 and 5', 'All 8 layers'."""
    numbers = sorted(int(layer) for layer in layers)
    if len(numbers) == count > 1:
        return f"All {count} layers"
    runs: list[list[int]] = []
    for layer in numbers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}{'–' if len(run) > 2 else ', '}{run[-1]}" for run in runs]
    *others, last = [part for piece in parts for part in piece.split(", ")]
    return f"Layer{'s' if len(numbers) > 1 else ''} {', '.join(others) + ' and ' if others else ''}{last}"


def _range(values: np.ndarray, percent: bool) -> str:
    low, high = np.nanmin(values), np.nanmax(values)
    lowest, highest = (number(value, percent) for value in (low, high))
    return lowest if lowest == highest else f"{lowest} to {highest}"


def number(value: float, percent: bool) -> str:
    """A value as sentences write it."""
    if percent:
        return f"{value:.0%}"
    return f"{value:.3g}" if value >= _LEAST or value == 0 else f"less than {_LEAST}"


def _above(difference: Estimates) -> np.ndarray:
    return np.flatnonzero(np.nan_to_num(difference.low, nan=-1.0) > 0)


def _below(difference: Estimates) -> np.ndarray:
    return np.flatnonzero(np.nan_to_num(difference.high, nan=1.0) < 0)
