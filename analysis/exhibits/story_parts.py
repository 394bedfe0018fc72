"""Helpers that the story's findings share: names of models, numbers as they are read, the study's recordings and
comparisons, and one line per finding on what it means in practice.

That line is for whoever runs or prunes such a model. It follows from the decision or the numbers of its finding, claims
nothing beyond them, and is empty where nothing follows yet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import floor, log10, prod
from pathlib import Path
from statistics import fmean, median
from types import MappingProxyType
from typing import Any

import numpy as np

from analysis.figures.story import charts
from analysis.findings.masks import few_changed
from analysis.findings.pruning_cost import cost_words
from analysis.models.registry import entry
from analysis.models.weight_files import header
from analysis.recording.playback import UNDECIDED, Played, unpacked
from analysis.specs import METHODS, ModelSpec, StudySpec
from analysis.statistics.decisions import (
    AT_CHANCE,
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    ONE_SEED,
    POINTS,
    WAITING,
    WORSE,
    decide,
    interval_words,
)
from analysis.statistics.differences import Difference
from analysis.study import rules
from analysis.study.findings import Contrast, Findings, Pruning
from analysis.words import counted, listed, percent, runs

# --- names and numbers ------------------------------------------------------------------------------------------


def about(findings: Findings) -> str:
    """Introduce the models by the names that all sentences use: the one measured, with the first sentence of its
    summary, and the one it is compared with.
    """
    spec = findings.parameters
    source, known = spec.model.source, entry(spec.model.source)
    told = source
    if known is not None:
        size = size_told(spec.model)
        told = known.summary.partition(". ")[0].removesuffix(".") + (f" ({size})" if size else "")
    if spec.reference is None:
        return f"{told}."
    if _is_twin(spec):
        return f"{told} and its left-to-right twin."
    return f"{told} and {_other(spec)} ({spec.reference.source})."


def size_told(model: ModelSpec) -> str:
    """Return the number of a shipped model's weights, as `4.7 million parameters`; empty for any other model."""
    known = entry(model.source)
    files = [] if known is None or not known.ships else Path(known.source).glob("*.safetensors")
    count = sum(prod(tensor.shape) for file in files for tensor in header(file)[0].values())
    return f"{count / 1e6:.2g} million parameters" if count else ""


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
    spec = findings.parameters
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
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:#.2g} %"


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
    text = "[MASK]" if masked and track.masks else str(track.words[frame, place])  # as every model's mask is called
    mass, sink = float(track.mass[frame, place]), bool(track.sinks[frame, place])
    return charts.Token(text, mass, sink, masked, factor(mass) if sink else "")


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


def recipe(findings: Findings, brief: bool = False) -> str:
    """Tell by which rule the discount chose weights, and how strong it was; empty where a study has no discount. brief:
    as the beginning of a sentence.
    """
    by_method = list(dict.fromkeys(one.method for one in discounts(findings).values()))
    of = [METHODS[name].title for name in by_method]
    if not of:
        return ""
    full = max(findings.parameters.strengths, default=0.0)
    if brief:
        return f"{listed(of)}, λ = {full:g}"
    bases = [METHODS[METHODS[name].published or name].title for name in by_method]
    does = "leaves sinks out" if full == 1 else "counts sinks less"
    discount = f"the discount ({listed(of)}, λ = {full:g}) {does}"
    return f"{listed(bases)} scores weights by size and inputs on a calibration sample; {discount}."


def items_told(pruning: Pruning) -> str:
    """Return on what accuracy was measured, as `768 items of 6 tasks`."""
    tasks = {name for setting in pruning.settings for name in setting.by_task}
    of = f" of {counted(len(tasks), 'task')}" if tasks else ""
    return f"{pruning.items:,} items{of}"


def accuracy_heading(pruning: Pruning, removed: str) -> str:
    """Tell over what accuracy is taken, and what the line across its bars is. removed: the share of the weights that
    the pruned models lack.
    """
    return f"Accuracy on {pruning.items:,} items, dense or with {removed} of weights removed{chance_line(pruning)}"


def chance_line(pruning: Pruning) -> str:
    """Return what the line across bars of accuracy is, with a space before it; empty where chance is not known."""
    return "" if pruning.chance is None else f" (line: chance, {percent(pruning.chance, 1)})"


def needs(findings: Findings) -> tuple[str, ...]:
    """Tell what it would take to settle what the study cannot tell about the discount."""
    return tuple(f"{name}: {one.needs}" for name, one in discounts(findings).items() if one.needs)


def layer_names(layers: Sequence[str]) -> str:
    """Return `layers 0–2 and 5` of `layer 0` and so on."""
    numbers = [int(layer.rpartition(" ")[2]) for layer in layers]
    told = listed([f"{first}" if first == last else f"{first}–{last}" for first, last in runs(numbers)])
    return f"layer{'s' if len(numbers) > 1 else ''} {told}" if numbers else ""


def rows_of(findings: Findings, table: str, **values: object) -> list[Mapping[str, Any]]:
    """Return the rows of a study's table that have these values."""
    rows = list(findings.tables.get(table, ()))
    for name, value in values.items():  # of thousands of rows the first leaves few
        rows = [row for row in rows if row[name] == value]
    return rows


# Xiao et al., arXiv 2309.17453.
_FIRST = "A cache that keeps the first token as its sink"


def of_sinks(clear: bool | None) -> str:
    """Return what it means that a model has no sinks over all prompts. clear: whether it has, None where that was not
    measured.
    """
    if clear is not False:
        return ""
    return "Over all prompts this model has no clear sinks: methods built for sinks have little to act on."


def of_place(missed: str, kinds: Mapping[str, int], layers: int) -> str:
    """Return what it means where the sinks are. missed: the layers most of whose sinks are no first token, in words;
    kinds: in how many of the layers a kind holds most sinks.
    """
    if missed:
        return f"{_FIRST} would miss most sinks of {missed}."
    first, others = kinds.get("first", 0), sum(count for kind, count in kinds.items() if kind != "first")
    if others:
        return f"{_FIRST} would miss most sinks in {others} of {layers} layers."
    if first:
        return f"{_FIRST} would keep most sinks in {first} of {layers} layers."
    return "No rule by the kind of token finds them: measure the attention."


def of_movement(births: float, steps: int | None, lives: Sequence[float] = (), untrained: Sequence[float] = ()) -> str:
    """Return what it means how often a layer gains a sink. births, steps: as of `rate`. lives: steps that a sink of
    each layer lasts, and in an untrained model; empty where not known.
    """
    if births >= 1:
        return "Look for sinks at every step."
    if rare(births, steps):
        return "Looking for sinks once per text is enough."
    if not lives or steps is None:
        return "A list of sinks made once goes stale."
    beside = f" (untrained {number(median(untrained))})" if untrained else ""
    return f"A list of sinks goes stale: a sink lasts {median(lives):.0f} of {steps} steps in the median layer{beside}."


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


def of_hiding(
    outcome: str,
    more: bool,
    at_equal: str | None,
    agree: bool,
    model: str = "",
    earlier: bool = False,
    others: str = "as many random tokens",
) -> str:
    """Return what the effect of hiding sinks means. outcome: the decision against as many tokens; more: whether sinks
    change more than these. at_equal: the decision at equal attention, None where not compared. agree: whether
    predictions and perplexity agree there. model: whose sinks were hidden, where there are several. earlier: whether
    texts end earlier there. others: what hiding sinks costs more than.
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
        why = ": perplexity rises less" if agree else ": the predictions say so, perplexity alone does not"
        return f"{when} tokens are dropped, spare the sinks{why}."
    where = f"In {model}, hiding" if model else "Hiding"
    told = f"{where} sinks costs more than hiding {others}; at equal attention, "
    if not agree:
        return f"{told}predictions and perplexity disagree."
    if at_equal not in (CANNOT_TELL, WAITING):
        return f"{told}no more."
    return (
        f"{told}perplexity does not differ significantly, but texts end earlier."
        if earlier
        else f"{told}this study cannot tell."
    )


def of_masks(changed: Sequence[float], by_seed: Sequence[float]) -> str:
    """Return what follows from how much the choice changes where it does not, where nothing stands beside it, or where
    another calibration sample changes far more. changed, by_seed: as of `few_changed`.
    """
    value = fmean(changed)
    if not value:
        return "The discount has no effect here: the same weights are removed with and without it."
    if not by_seed:
        return "Prune with a second calibration seed before reading anything into this."
    if not few_changed(changed, by_seed):
        return ""
    times = f"{fmean(by_seed) / value:.0f} times as many weights"
    return f"Fix the calibration text before comparing: another sample changes {times}."


def of_accuracy(outcomes: Mapping[str, str]) -> str:
    """Return whether to prune with the discount. outcomes: the decision at each setting."""
    where: dict[str, list[str]] = {}
    for setting, outcome in outcomes.items():
        where.setdefault(outcome, []).append(setting)
    if len(where) == 1:
        return _CHOICES[next(iter(where))].format(settings=listed(list(outcomes)))
    told = [f"{_AT[outcome]} {listed(where[outcome])}" for outcome in _AT if outcome in where]
    undecided: Sequence[str] = [setting for name, those in where.items() if name not in _AT for setting in those]
    told += [f"undecided at {listed(undecided)}"] if undecided else []
    return f"The discount: {', '.join(told)}."


_CHOICES = {
    BETTER: "When pruning this model, switch the discount on.",
    WORSE: "When pruning this model, leave the discount off.",
    EQUIVALENT: "At {settings}, leave this discount out: pruning without it does about as well.",
    CANNOT_TELL: "This is no reason to switch the discount on, nor off: a larger study is needed.",
    ONE_SEED: "Prune with more calibration seeds before choosing.",
    AT_CHANCE: "Choose tasks that the dense model can do.",
    WAITING: "",
}
_AT = {BETTER: "on at", WORSE: "off at", EQUIVALENT: "not worth it at"}
