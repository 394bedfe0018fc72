"""Say in one line per finding of the story what it means in practice, for whoever runs or prunes such a model.

Every line follows from the decision or the numbers of its finding and claims nothing beyond them; it is empty where
nothing follows yet.
"""

from collections.abc import Mapping, Sequence

from analysis.statistics.decisions import AT_CHANCE, BETTER, CANNOT_TELL, EQUIVALENT, ONE_SEED, WAITING, WORSE
from analysis.words import counted, listed

_ALIKE = 0.8  # a ratio from here to its inverse reads as "about as much"
# Xiao et al., arXiv 2309.17453.
_FIRST = "Keeping the first token, the usual rule,"


def of_sinks(clear: bool | None) -> str:
    """Return what it means that a few tokens draw much attention. clear: whether the model has sinks over all prompts,
    None where that was not measured.
    """
    if clear is False:
        return "Over all prompts this model has no clear sinks: methods built for sinks have little to act on."
    return "A cache that ranks tokens by attention keeps sinks, needed or not."


def of_place(masked: str, kinds: Mapping[str, int], layers: int) -> str:
    """Return what it means where the sinks are. masked: the layers most of whose sinks are masked positions, in words;
    kinds: in how many of the layers a kind holds most sinks.
    """
    if masked:
        return f"{_FIRST} misses most sinks of {masked}."
    first, others = kinds.get("first", 0), sum(count for kind, count in kinds.items() if kind != "first")
    if others:
        return f"{_FIRST} misses most sinks in {others} of {layers} layers."
    if first:
        return f"{_FIRST} keeps most sinks in {first} of {layers} layers."
    return "No rule by the kind of token finds them: measure the attention."


def of_movement(births: float, steps: int | None) -> str:
    """Return what it means how often a layer gains a sink. births, steps: as of `rate`."""
    if births >= 1:
        return "Look for sinks at every step."
    if rare(births, steps):
        return "Looking for sinks once per text is enough."
    return "A list of sinks made once goes stale."


def rate(births: float, steps: int | None) -> str:
    """Return how often a layer gains a sink, after `gains`. births: per step and layer. steps: of a whole text, None
    where not known.
    """
    if births >= 1:
        return f"about {counted(round(births), 'new sink')} per step"
    if rare(births, steps):
        return "less than one new sink per text"
    every = round(1 / births)
    return f"a new sink about every {'step' if every == 1 else f'{every} steps'}"


def rare(births: float, steps: int | None) -> bool:
    """Return whether a layer gains less than one sink per text. births, steps: as of `rate`."""
    return births <= 0 or (steps is not None and births * steps < 1)


def of_hiding(outcome: str, more: bool, at_equal: str | None, agree: bool, model: str = "") -> str:
    """Return what the effect of hiding sinks means. outcome: the decision against as many tokens; more: whether sinks
    change more than these. at_equal: the decision at equal attention, None where not compared. agree: whether
    predictions and text agree there. model: whose sinks were hidden, where there are several.
    """
    if outcome == EQUIVALENT:
        return "By this measure sinks need no special care when tokens are dropped."
    if outcome == CANNOT_TELL:
        return "This is no ground to spare the sinks, nor to drop them: record more prompts."
    if outcome not in (BETTER, WORSE):
        return ""
    if not more:
        return "By this measure sinks are safer to drop than other tokens."
    when = f"In {model}, when" if model else "When"
    if at_equal in (None, outcome):
        why = ": less text changes" if agree else ": the predictions say so, the text alone does not"
        return f"{when} tokens are dropped, spare the sinks{why}."
    told = f"{when} a fixed number of tokens is dropped, spare the sinks; for a fixed amount of attention "
    if not agree:
        return f"{told}predictions and text disagree."
    return told + ("this study cannot tell." if at_equal in (CANNOT_TELL, WAITING) else "they need no special care.")


def of_masks(changed: float, by_seed: float | None) -> str:
    """Return what the change of the choice means, beside that by another calibration seed; None where there is none."""
    if not changed:
        return "The discount has no effect here: the same weights are removed with and without it."
    if not by_seed:
        return "Prune with a second calibration seed before reading anything into this."
    ratio = changed / by_seed
    more = "about as much" if _ALIKE <= ratio <= 1 / _ALIKE else "more" if ratio < 1 else "less"
    than = "as" if more == "about as much" else "than"
    return f"Which weights are removed depends {more} on the calibration sample {than} on the discount."


def of_accuracy(outcomes: Mapping[str, str]) -> str:
    """Return whether to prune with the discount. outcomes: the decision at each setting."""
    where: dict[str, list[str]] = {}
    for setting, outcome in outcomes.items():
        where.setdefault(outcome, []).append(setting)
    if len(where) == 1:
        return _CHOICES[next(iter(where))]
    told = [f"{_AT[outcome]} {listed(where[outcome])}" for outcome in _AT if outcome in where]
    undecided: Sequence[str] = [setting for name, those in where.items() if name not in _AT for setting in those]
    told += [f"undecided at {listed(undecided)}"] if undecided else []
    return f"The discount: {', '.join(told)}."


_CHOICES = {
    BETTER: "When pruning this model, switch the discount on.",
    WORSE: "When pruning this model, leave the discount off.",
    EQUIVALENT: "Leave the discount out: it changes too little.",
    CANNOT_TELL: "This is no reason to switch the discount on, nor off: a larger study is needed.",
    ONE_SEED: "Prune with more calibration seeds before choosing.",
    AT_CHANCE: "Choose tasks that the dense model can do.",
    WAITING: "",
}
_AT = {BETTER: "on at", WORSE: "off at", EQUIVALENT: "not worth it at"}
