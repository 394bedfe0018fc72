"""Helpers that the story's findings share: names of models, numbers as they are read, and the study's recordings and
comparisons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import floor, log10
from types import MappingProxyType
from typing import Any

import numpy as np

from analysis.evaluation.ablation_effects import COUNT, MASKED, MASS, UNIT
from analysis.figures.story import charts
from analysis.findings.ablations import side_of
from analysis.findings.pruning_cost import cost_words
from analysis.models.registry import entry
from analysis.recording.playback import UNDECIDED, Played, unpacked
from analysis.specs import CONTROLS, METHODS, StudySpec
from analysis.statistics.decisions import (
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    NATS,
    POINTS,
    WAITING,
    WORSE,
    Unit,
    decide,
    interval_words,
    seen,
)
from analysis.statistics.differences import Difference
from analysis.study import rules
from analysis.study.findings import Cause, Contrast, Findings
from analysis.words import listed, runs

# --- names and numbers ------------------------------------------------------------------------------------------


def about(findings: Findings) -> str:
    """Introduce the models by the names that all sentences use: the one measured, with the first sentence of its
    summary, and the one it is compared with.
    """
    spec = spec_of(findings)
    source, known = spec.model.source, entry(spec.model.source)
    told = source
    if known is not None:
        summary = known.summary.partition(". ")[0].removesuffix(".")
        told = f"{summary[0].lower() if summary.startswith('A ') else summary[0]}{summary[1:]}"
    if spec.reference is None:
        return f"Model: {told}."
    return f"Models: {told} and {_other(spec)}{'' if _is_twin(spec) else f' ({spec.reference.source})'}."


def _other(spec: StudySpec) -> str:
    """Return what the model is that it is compared with, within a sentence."""
    return "its left-to-right twin" if _is_twin(spec) else "a left-to-right model"


def _is_twin(spec: StudySpec) -> bool:
    known = entry(spec.model.source)
    return known is not None and spec.reference is not None and known.reference == spec.reference.source


def called(findings: Findings) -> Mapping[str, str]:
    """Return the names of the models, by their sources, the model first: one pair of names in all sentences, charts
    and slides. `about` introduces them.
    """
    spec = spec_of(findings)
    if spec.reference is None:
        return MappingProxyType({spec.model.source: "The model"})
    other = _other(spec).partition(" ")[2]
    return MappingProxyType(
        {spec.model.source: "Diffusion model", spec.reference.source: f"{other[0].upper()}{other[1:]}"}
    )


def within(findings: Findings, source: str) -> str:
    """Return the name of a model within a sentence, as `the diffusion model`."""
    name = called(findings).get(source, source)
    if name == source:
        return name
    bare = name.removeprefix("The ")
    return f"the {bare[0].lower()}{bare[1:]}"


def day(moment: str) -> str:
    """Return the day of a moment in ISO 8601, as `28 November 2026`."""
    when = datetime.fromisoformat(moment)
    return f"{when.day} {when:%B %Y}"


def spec_of(findings: Findings) -> StudySpec:
    """Return the parameters of a study."""
    return StudySpec.model_validate(findings.spec)


def number(value: float) -> str:
    """Return a number with two significant digits."""
    text = f"{value:.2g}"
    return f"{float(text):g}" if "e" in text and value >= 1e-4 else text.replace("-", "−")


def beside(value: float, observed: float) -> str:
    """Return a number beside an observed one: with two significant digits, and no more decimals than that has."""
    decimals = len(number(observed).partition(".")[2])
    return number(round(value, decimals))


def factor(value: float) -> str:
    """Return a multiple with two significant digits, also where they are zeros."""
    return f"{value:#.2g}".removesuffix(".") if value < 99.5 else f"{value:.0f}"


@dataclass(frozen=True)
class Measured:
    """A mean over prompts with its 95 % interval, whose ends are None where it was not measured."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Measured":
        """Return what a row of a study's table holds."""
        return cls(row["value"], row["low"], row["high"])

    @classmethod
    def mean(cls, rows: Sequence[Mapping[str, Any]], weights: Sequence[float] | None = None) -> "Measured":
        """Return the mean of rows, weighted where weights are given, with the same mean of their intervals' ends: no
        narrower than an interval of the mean.
        """
        ends = ([row[end] for row in rows] for end in ("value", "low", "high"))
        value, low, high = (None if None in values else float(np.average(values, weights=weights)) for values in ends)
        return cls(0.0 if value is None else value, low, high)

    def told(self, unit: str = "", beside: "Measured | None" = None) -> str:
        """Return it with its interval, `2.47 × [2.42, 2.52]`, in two significant digits and those the interval
        supports. beside: what it is held against; it gets no more decimals than that has.
        """
        if self.low is None or self.high is None:
            return f"{number(self.value)}{unit}"
        decimals = min(one._decimals for one in (self, beside) if one is not None)
        value, low, high = (f"{end:.{decimals}f}".replace("-", "−") for end in (self.value, self.low, self.high))
        return f"{value}{unit} [{low}, {high}]"

    @property
    def _decimals(self) -> int:
        half = 0.0 if self.low is None or self.high is None else (self.high - self.low) / 2
        sizes = [(abs(self.value), 1), (half, 0)]
        return max([0, *(more - floor(log10(size)) for size, more in sizes if size > 0)])


def share(value: float) -> str:
    """Return a share in per cent, with two significant digits."""
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:.2g} %"


def tokens_more(agreement: Difference) -> tuple[str, str]:
    """Return a difference of agreement with the untouched text as tokens of 100 that change, and its interval:
    `31 more` and `[23, 39]`.
    """
    value, low, high = (-100 * end for end in (agreement.value, agreement.high, agreement.low))
    decimals, fewer = int(high - low < 2), value < 0
    crosses = low < 0 < high
    ends = (low, high) if crosses or not fewer else (-high, -low)
    rounded = (round(end, decimals) + 0.0 for end in ends)  # no −0
    told = ", ".join(f"{end:{'+' if crosses else ''}.{decimals}f}" for end in rounded).replace("-", "−")
    return f"{abs(value):.{decimals}f} {'fewer' if fewer else 'more'}", f"[{told}]"


def text_causes(causes: Sequence[Cause]) -> dict[str, Cause]:
    """Return what hiding sinks does to the text against each control that it was compared with; empty without the one
    of as many random tokens. causes: of one model.
    """
    of = {cause.control: cause for cause in causes if cause.measure == "aligned"}
    there = {
        name: of[name] for name in (COUNT, MASKED, MASS) if name in of and of[name].effect.low == of[name].effect.low
    }
    return there if COUNT in there else {}


def text_changed(causes: Sequence[Cause]) -> dict[str, str]:
    """Return how many more tokens of the text change where sinks are hidden than where the tokens of a control are, by
    control. causes: of one model.
    """
    return {control: " ".join(tokens_more(cause.effect)) for control, cause in text_causes(causes).items()}


def text_levels(causes: Sequence[Cause]) -> dict[str, tuple[str, str]]:
    """Return how many tokens of 100 change with the sinks and with a control's tokens hidden, by control; empty where
    the study does not hold it of each. causes: of one model.
    """
    there = text_causes(causes)
    changed = {name: [100 * (1 - level) for level in cause.levels or ()] for name, cause in there.items()}
    if not all(changed.values()):
        return {}
    return {name: (f"{sinks:.0f}", f"{others:.0f}") for name, (sinks, others) in changed.items()}


def level_beside(cause: Cause) -> str:
    """Return how many tokens of 100 change with a control's tokens hidden, as it is read beside what the sinks change
    and the difference of both; empty where its rounding contradicts these, or where the study does not hold it.
    """
    if cause.levels is None:
        return ""
    sinks, others = (round(100 * (1 - level)) for level in cause.levels)
    more = tokens_more(cause.effect)[0].partition(" ")[0]
    return f"{others}" if more == f"{abs(sinks - others)}" else ""


def beside_sinks(causes: Sequence[Cause]) -> str:
    """Return how much of the text changes with the tokens of the strictest control hidden, as a clause beside what the
    sinks change: `hiding random tokens of equal attention changes 43`. causes: of one model, with levels.
    """
    control = strictest(causes) or COUNT
    cause, (sinks, others) = text_causes(causes)[control], text_levels(causes)[control]
    over = f" where sinks change {sinks}" if cause.unmatched else ""
    open_one = "" if side_of(cause.effect) else " (not significant)"
    return f"hiding {CONTROLS[control].title} changes {others}{over}{open_one}"


def than_controls(causes: Sequence[Cause]) -> list[str]:
    """Return by how much more of the text changes than with each control, a clause each: `31 more [23, 39] than hiding
    as many random tokens (32)`, `20 more [10, 29] than random tokens of equal attention (43)`. causes: of one model.
    """
    levels, told = text_levels(causes), list[str]()
    for control, cause in text_causes(causes).items():
        more, interval = tokens_more(cause.effect)
        beside = ", ".join(filter(None, (level_beside(cause), "" if side_of(cause.effect) else "not significant")))
        ending = f" ({beside})" if beside else ""
        title = CONTROLS[control].title
        if cause.unmatched:
            change = f"{levels[control][0]} change, " if levels else ""
            over = f"over the {cause.effect.n} prompts that have {title}"
            told.append(f"{over} {change}{more} {interval} than with these{ending}")
        else:
            told.append(f"{more} {interval} than {'' if told else 'hiding '}{title}{ending}")
    return told


def text_in_words(causes: Sequence[Cause]) -> str:
    """Return a sentence on how much of the text changes; empty where that was not measured. causes: of one model."""
    there, levels = text_causes(causes), text_levels(causes)
    if not there:
        return ""
    told = f"{levels[COUNT][0]} of 100 tokens: " if levels else ""
    of = "" if levels else " (of 100 tokens)"
    could = "" if any(side_of(cause.effect) for cause in there.values()) else _could_see(there[COUNT].effect)
    return f"Hiding sinks changes {told}{', '.join(than_controls(causes))}{of}{could}."


def text_effect(causes: Sequence[Cause], control: str) -> Difference:
    """Return the difference of agreement with the untouched text, against a control of `text_causes`."""
    return text_causes(causes)[control].effect


def text_matters(causes: Sequence[Cause]) -> bool:
    """Return whether hiding sinks changes more of the text than hiding as many random tokens, and than with random
    weights. causes: of one model.
    """
    return bool(text_causes(causes)) and side_of(text_effect(causes, COUNT)) < 0 and not no_less_with_random(causes)


def strictest(causes: Sequence[Cause]) -> str:
    """Return the control of `text_causes` that sinks exceed by least, one that they do not exceed before all others;
    empty where there is none but as many random tokens. causes: of one model.
    """
    others = {name: cause for name, cause in text_causes(causes).items() if name != COUNT}
    return max(others, key=lambda name: (side_of(others[name].effect) >= 0, others[name].effect.value), default="")


def control_told(causes: Sequence[Cause]) -> str:
    """Tell by how much more of the text changes with the sinks hidden than with the tokens of the strictest control,
    and how much with as many random tokens: `20 more [10, 29]; as many random tokens: 32.` Where a study holds no
    levels, or not over the same prompts, the control is named. causes: of one model.
    """
    control = strictest(causes)
    cause = text_causes(causes)[control or COUNT]
    if not control:
        return f"{' '.join(tokens_more(cause.effect))}."
    effect, levels = cause.effect, text_levels(causes)
    if levels and not cause.unmatched:
        return f"{' '.join(tokens_more(effect))}; {CONTROLS[COUNT].title}: {levels[COUNT][1]}."
    told = " ".join(tokens_more(replace(effect, value=-effect.value, low=-effect.high, high=-effect.low)))
    told += "" if side_of(effect) else ", not significant"
    title = f"{CONTROLS[control].title[0].upper()}{CONTROLS[control].title[1:]}"
    if cause.unmatched:
        title += f", over the {effect.n} prompts that have these"
    if control in levels:
        return f"{title}: {levels[control][1]} beside {levels[control][0]} ({told})."
    return f"{title}: {told}."


def quality_told(causes: Sequence[Cause], margin: float) -> str:
    """Tell that a changed text is no worse one, and how far predictions shift beside random tokens of equal attention
    where that was measured. causes, margin: as of `predictions_told`.
    """
    told, cause = "Changed, not necessarily worse", _at_equal(causes)
    outcome = WAITING if cause is None else decide(cause.effect, margin)
    if cause is None or outcome not in _PREDICTIONS:
        return f"{told}."
    joint = {EQUIVALENT: "as with", CANNOT_TELL: "from those with"}.get(outcome, "than with")
    others = "" if strictest(causes) == MASS else f" {joint} {CONTROLS[MASS].title}"
    numbers = interval_words(cause.effect, NATS)
    if cause.levels is not None:
        numbers = f"{' against '.join(_levels_apart(cause))} {NATS.name}"
    return f"{told}; predictions {_PREDICTIONS[outcome]}{others} (KL {numbers})."


def _at_equal(causes: Sequence[Cause]) -> Cause | None:
    """Return what hiding sinks does to predictions at equal attention."""
    return next((one for one in causes if (one.measure, one.control) == ("divergence", MASS)), None)


def _levels_apart(cause: Cause) -> list[str]:
    """Return the levels with the sinks and with the control hidden, in as many decimals as tell them apart."""
    decimals = min(max(2, -floor(log10(abs(cause.effect.value) or 1))), 4)
    return [f"{abs(level):.{decimals}f}" for level in cause.levels or ()]


def predictions_told(causes: Sequence[Cause], margin: float) -> str:
    """Tell how far predictions shift with the sinks and with random tokens of equal attention hidden, and whether the
    text does the same; empty where either was not measured. causes: of one model. margin: of the predictions, in nats.
    """
    cause = _at_equal(causes)
    outcome = WAITING if cause is None else decide(cause.effect, margin)
    if cause is None or outcome not in _PREDICTIONS or MASS not in text_causes(causes):
        return ""
    side = side_of(text_effect(causes, MASS))  # agreement falls as the text changes
    but = "and" if (side, outcome) in ((-1, BETTER), (1, WORSE), (0, EQUIVALENT)) else "but"
    verdict = f"{_TEXT[side]}, {but} predictions {_PREDICTIONS[outcome]}"
    if (side, outcome) == (0, CANNOT_TELL):
        verdict = "neither text nor predictions differ significantly"
    if cause.levels is None:
        return f"At equal attention {verdict} ({interval_words(cause.effect, NATS)})."
    sinks, others = _levels_apart(cause)
    return (
        f"At equal attention a step's predicted probabilities shift by {sinks} nats (KL divergence) with sinks hidden, "
        f"by {others} with random tokens: {verdict}."
    )


_TEXT = {-1: "the text changes more", 0: "the text does not differ significantly", 1: "the text changes less"}
_PREDICTIONS = {
    BETTER: "shift more",
    WORSE: "shift less",
    EQUIVALENT: "shift about as much",
    CANNOT_TELL: "do not differ significantly",
}


def no_less_with_random(causes: Sequence[Cause]) -> bool:
    """Return whether hiding as much changes no less of the text with random weights. causes: of one model."""
    own = next((one for one in causes if (one.measure, one.control) == ("aligned", COUNT)), None)
    if own is None or own.untrained is None:
        return False
    return side_of(own.untrained) < 0 and own.effect.high >= own.untrained.low


def by_attention(causes: Sequence[Cause]) -> str:
    """Return how many more tokens of the text change per unit of attention hidden, and what would have been detected
    where that is not significant; empty where that was not measured. causes: of one model.
    """
    effect = next((one.effect for one in causes if (one.measure, one.control) == ("aligned", UNIT)), None)
    if effect is None or effect.low != effect.low:
        return ""
    could = "" if side_of(effect) else _could_see(effect)
    return f"Per unit of attention, {' '.join(tokens_more(effect))}{could}."


def _could_see(effect: Difference) -> str:
    """Return which difference would have been detected, as the end of a clause."""
    return seen(effect, POINTS if effect.detectable() >= 1 else _OF_100)


_OF_100 = Unit("tokens", 100.0, 0)


def spread(low: float, high: float, write: Callable[[float], str]) -> str:
    """Return a range, or one value where its ends read alike."""
    first, last = write(low), write(high)
    return first if first == last else f"{first.removesuffix(' %')} to {last}"


# --- the player's recordings ------------------------------------------------------------------------------------


def recordings(findings: Findings) -> tuple[Played, ...]:
    """Return the recordings to watch, empty until they are there."""
    tracks = (findings.playback or {}).get("tracks", ())
    return tuple(unpacked(track) for track in tracks)


def step_words(track: Played, frame: int) -> str:
    """Return the step of a frame beside the first and the last one, which count from 0 as everywhere."""
    return f"step {int(track.frames[frame])} (0–{int(track.frames[-1]) - 1})"


def position(track: Played, frame: int, place: int) -> charts.Token:
    """Return a position of a recording at a frame."""
    masked = bool(track.flags[frame, place] & UNDECIDED)
    return charts.Token(
        str(track.words[frame, place]), float(track.mass[frame, place]), bool(track.sinks[frame, place]), masked
    )


# --- comparisons of prunings


def discounts(findings: Findings, kind: str = "discount") -> dict[str, Contrast]:
    """Return the comparisons of a kind by setting, sparsity by sparsity; with the method where there are several."""
    contrasts = [one for one in findings.pruning.contrasts if one.kind == kind] if findings.pruning else []
    several = len({one.method for one in contrasts}) > 1
    return {
        f"{100 * one.sparsity:g} %{f' ({METHODS[one.method].title})' if several else ''}": one
        for one in sorted(contrasts, key=lambda one: (one.method, one.sparsity))
    }


def accuracies(findings: Findings, contrast: Contrast) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the accuracies of the second and of the first method of a comparison, one per calibration seed that both
    have; empty where the study does not hold them.
    """
    by_method = {
        one.method: dict(zip(one.seeds, one.by_seed, strict=False))
        for one in (findings.pruning.settings if findings.pruning is not None else ())
        if one.sparsity == contrast.sparsity and not one.part
    }
    second, first = by_method.get(contrast.against, {}), by_method.get(contrast.method, {})
    seeds = sorted(second.keys() & first.keys())
    return tuple(second[seed] for seed in seeds), tuple(first[seed] for seed in seeds)


def outcomes_of(findings: Findings, by_setting: Mapping[str, Contrast]) -> dict[str, str]:
    """Return the decision at each setting."""
    pruning = findings.pruning
    above = pruning is None or rules.above_chance(pruning)
    return {name: decide(one.effect, rules.margin_of(findings), above) for name, one in by_setting.items()}


def cost_of(findings: Findings, contrast: Contrast) -> Difference | None:
    """Return what pruning without the discount, by the control of a comparison, does to accuracy in a study. None where
    the study does not hold that.
    """
    pruning = findings.pruning
    ways = () if pruning is None else pruning.waterfalls
    at = (contrast.method, contrast.sparsity)
    first = next((way.without for way in ways if (way.method, way.sparsity) == at), None)
    return None if pruning is None or first is None else replace(first, above_chance=rules.above_chance(pruning))


@dataclass(frozen=True)
class Price:
    """Cost of pruning at a setting, and the discount's effect on it. cost: accuracy without the discount minus the
    dense model's. effect: with the discount minus without it. outcome: the decision on it.
    """

    setting: str
    cost: Difference
    effect: Difference
    outcome: str

    @property
    def words(self) -> str:
        """Both as one clause: `removing 70 % of the weights costs 21 points of accuracy [18, 25]; the discount wins
        back 2.3 [1.3, 3.0]`.
        """
        return f"removing {self.removed} {cost_words(self.cost, 'points of accuracy ')}; the discount {self._does}"

    @property
    def after_another(self) -> str:
        """The same where one was told in full: `Removing 50 % costs 1.3 points [0.4, 3.0]; it wins back …`."""
        return f"Removing {self.setting} {cost_words(self.cost)}; it {self._does}."

    @property
    def removed(self) -> str:
        """The setting in words, as `70 % of the weights`."""
        return self.setting.replace(" %", " % of the weights", 1)

    @property
    def _does(self) -> str:
        value, _, interval = interval_words(self.effect).partition(f" {POINTS.name} ")
        if self.outcome == BETTER:
            return f"wins back {value.removeprefix('+')} {interval.replace('+', '')}"
        return f"changes accuracy by {value} {interval}"


def prices_of(findings: Findings, by_setting: Mapping[str, Contrast]) -> list[Price]:
    """Return what pruning costs at each setting, the most first; empty where the study does not hold it of each."""
    costs = {name: cost_of(findings, contrast) for name, contrast in by_setting.items()}
    outcomes = outcomes_of(findings, by_setting)
    prices = [
        Price(name, cost, by_setting[name].effect, outcomes[name]) for name, cost in costs.items() if cost is not None
    ]
    return sorted(prices, key=lambda price: price.cost.value) if len(prices) == len(costs) else []


def needs(findings: Findings) -> tuple[str, ...]:
    """Tell what it would take to settle what the study cannot tell about the discount."""
    return tuple(f"{name}: {one.needs}" for name, one in discounts(findings).items() if one.needs)


def layer_names(layers: Sequence[str]) -> str:
    """Return `layers 0–2 and 5` of `layer 0` and so on."""
    numbers = [int(layer.rpartition(" ")[2]) for layer in layers]
    told = listed([f"{first}" if first == last else f"{first}–{last}" for first, last in runs(numbers)])
    return f"layer{'s' if len(numbers) > 1 else ''} {told}" if numbers else ""


def movement_rows(findings: Findings, source: str) -> list[Mapping[str, Any]]:
    """Return the rows on how the sinks of a model move."""
    return [row for row in findings.tables.get("movement", ()) if row["model"] == source]
