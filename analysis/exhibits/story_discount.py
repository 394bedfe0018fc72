"""The story's findings on what discounting sinks does to masks and accuracy."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from analysis.exhibits import story_meanings
from analysis.exhibits.story_parts import accuracies, discounts, needs, outcomes_of, prices_of, share, spread
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.findings import said_of
from analysis.findings.pruning_cost import cost_words
from analysis.specs import METHODS
from analysis.statistics.decisions import (
    AT_CHANCE,
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    ONE_SEED,
    POINTS,
    WAITING,
    WORSE,
    conclusions,
    interval_words,
    tests_in_words,
)
from analysis.study import rules
from analysis.study.findings import Contrast, Findings, MaskChange
from analysis.words import listed, percent, times


def masks(findings: Findings) -> Told | None:
    """Tell how many weights the discount prunes differently, beside two calibration seeds."""
    changes = [one for one in findings.mask_changes if one.changed]
    if not changes:
        return None
    told = max(changes, key=_beside_seeds)  # at the setting where it changes most beside the seeds
    value, floor = float(np.mean(told.changed)), float(np.mean(told.floor)) if told.floor else 0.0
    several = len({one.method for one in changes}) > 1
    groups = []
    for change in changes:
        named = f" ({METHODS[change.method].title})" if several else ""
        marks = [Mark("discount on or off", float(np.mean(change.changed)), _mean(change.changed), dots=change.changed)]
        if change.floor:
            marks.append(
                Mark(
                    "another calibration seed",
                    float(np.mean(change.floor)),
                    _mean(change.floor),
                    charts.NULL,
                    dots=change.floor,
                    beat=1,
                )
            )
        groups.append(Group(f"{100 * change.sparsity:g} % of the weights removed{named}", tuple(marks)))
    title = f"The discount changes the choice for {share(value)} of the weights"
    if floor:
        title += f", {times(value, floor)} what another calibration seed changes" if value else "; another seed does"
    at = f" at {100 * told.sparsity:g} %" if len(changes) > 1 else ""
    removed = f"With {100 * told.sparsity:g} % removed"
    beats = [f"{removed}, the discount changes the choice for {share(value)} of the weights."]
    if floor:
        beats.append(f"Two calibration seeds differ in {share(floor)}, independent choices in {share(told.chance)}.")
    return Told(
        "masks",
        title,
        charts.bars(
            groups, "weights that only one of two choices removes (% of all)", 100, "one seed or pair of seeds"
        ),
        " ".join(beats),
        tuple(beats),
        "A small change can still matter: the next finding measures accuracy.",
        tuple(
            f"{METHODS[one.method].title}, {100 * one.sparsity:g} %: {_runs(one.changed)}; seeds {_runs(one.floor)}; "
            f"chance {share(one.chance)}."
            for one in changes
        ),
        meaning=story_meanings.of_masks(value, floor or None),
        takeaway=" ".join(beats),
        summary=Summary(
            f"Weights the discount chooses differently{at}",
            share(value),
            f"{share(floor)} by another seed" if floor else "",
        ),
    )


def _beside_seeds(change: MaskChange) -> float:
    floor = float(np.mean(change.floor)) if change.floor else 0.0
    return float(np.mean(change.changed)) / floor if floor else 0.0


def _mean(values: Sequence[float]) -> str:
    return share(float(np.mean(values)))


def _runs(values: Sequence[float]) -> str:
    if not values:
        return "–"
    told = _mean(values)
    return told if len(values) == 1 else f"{told} ({spread(min(values), max(values), share)})"


def accuracy(findings: Findings) -> Told | None:
    """Tell what the discount does to accuracy, beside the dense model and the same pruning without it."""
    by_setting, pruning = discounts(findings), findings.pruning
    if not by_setting or pruning is None:
        return None
    outcomes, margin, above = outcomes_of(findings, by_setting), rules.margin_of(findings), rules.above_chance(pruning)
    noise = discounts(findings, "noise")
    of_discount = {name: one.effect for name, one in by_setting.items()}
    of_noise = {name: one.effect for name, one in noise.items()}
    alone = f"The discount alone: {conclusions(of_discount, margin, above)}"
    beats = [f"{alone}."]
    rest = f"The rest of the recipe (noise, order and norm): {conclusions(of_noise, margin, above)}."
    came_with = said_of("gain", pruning, margin, above)
    beats += [f"{said[0].upper()}{said[1:]}" for said in came_with]
    levels, differences = _levels(findings, by_setting), _differences(by_setting, noise, margin)
    without = listed(
        [percent(np.mean(both[0]), 1) for one in by_setting.values() if (both := accuracies(findings, one))[0]]
    )
    return Told(
        "accuracy",
        _accuracy_title(findings, by_setting, outcomes, margin),
        levels or differences,
        " ".join(beats),
        tuple(beats),
        f"{pruning.items:,} items; no other models, tasks or calibration texts."
        f"{_cost_below(findings, outcomes, margin)}",
        (*filter(None, (rest if of_noise else "", tests_in_words(of_discount), pruning.noise)), *needs(findings)),
        meaning=story_meanings.of_accuracy(outcomes),
        takeaway=beats[0],
        summary=Summary(
            f"Points of accuracy with the discount, at {listed(list(of_discount))}",
            listed([interval_words(effect).replace(f" {POINTS.name}", "") for effect in of_discount.values()]),
            f"the same pruning without it{without and f': {without}'}",
        ),
        folded=differences if levels else None,
    )


def _cost_below(findings: Findings, outcomes: Mapping[str, str], margin: float) -> str:
    """Tell, as a further sentence, where a margin that rules out a difference exceeds what pruning itself costs."""
    told = [
        f"{price.setting} pruning itself {cost_words(price.cost)}"
        for price in prices_of(findings, discounts(findings))
        if outcomes[price.setting] == EQUIVALENT and 0 < -price.cost.value < margin
    ]
    return f" At {listed(told)}, an estimate below that margin." if told else ""


def _levels(findings: Findings, by_setting: Mapping[str, Contrast]) -> Markup:
    """Draw the accuracy of the dense model, and of the pruned ones without and with the discount, a dot per calibration
    seed; empty where the study does not hold them.
    """
    pruning, groups = findings.pruning, list[Group]()
    for name, contrast in by_setting.items():
        without, discounted = accuracies(findings, contrast)
        if not without:
            return Markup()
        means = [float(np.mean(values)) for values in (without, discounted)]
        marks = (
            Mark("without the discount", means[0], percent(means[0], 1), charts.NULL, dots=without),
            Mark("with the discount", means[1], interval_words(contrast.effect), dots=discounted),
        )
        groups.append(Group(name.replace(" %", " % of weights removed", 1), marks))
    if pruning is None:
        return Markup()
    dense = Group("", (Mark("unpruned", pruning.dense, percent(pruning.dense, 1), charts.NULL),))
    return charts.bars([dense, *groups], "accuracy (%)", 100, "one calibration seed")


def _differences(by_setting: Mapping[str, Contrast], noise: Mapping[str, Contrast], margin: float) -> Markup:
    """Draw the change of accuracy by the discount, and by the rest of its recipe."""
    kinds = (
        ("The discount alone", by_setting, charts.MODEL),
        ("The rest of the recipe (noise, order, norm), no discount", noise, charts.NULL),
    )
    groups = [
        Group(
            title,
            tuple(
                Mark(
                    name,
                    one.effect.value,
                    interval_words(one.effect),
                    of,
                    one.effect.low,
                    one.effect.high,
                    filled=one.effect.shown,
                )
                for name, one in rows.items()
            ),
        )
        for title, rows, of in kinds
        if rows
    ]
    return charts.intervals(groups, "change of accuracy (points)", 100, margin, POINTS.margin(margin))


_VERBS = {BETTER: "raises accuracy", WORSE: "lowers accuracy"}


def _accuracy_title(
    findings: Findings, by_setting: Mapping[str, Contrast], outcomes: Mapping[str, str], margin: float
) -> str:
    """Return the title, by the decisions at all settings."""
    by_outcome: dict[str, list[str]] = {}
    for name, outcome in outcomes.items():
        by_outcome.setdefault(outcome, []).append(name)
    least, only = POINTS.margin(margin), next(iter(by_outcome)) if len(by_outcome) == 1 else ""
    if only == CANNOT_TELL:
        return "This study cannot tell whether the discount changes accuracy"
    if only == EQUIVALENT:
        dearest = next((price for price in prices_of(findings, by_setting) if -price.cost.value > margin), None)
        beside = "" if dearest is None else f"; removing {dearest.removed} {cost_words(dearest.cost)}"
        return f"The discount changes accuracy by less than {least}{beside}"
    if only == ONE_SEED:
        return "One calibration seed cannot tell whether the discount changes accuracy"
    if only == AT_CHANCE:
        return "The dense model is at chance, so its prunings cannot be compared"
    if only == WAITING:
        return "What the discount does to accuracy is not known yet"
    told = [f"{_VERBS[outcome]} at {listed(names)}" for outcome, names in by_outcome.items() if outcome in _VERBS]
    if EQUIVALENT in by_outcome:
        told.append(f"changes it by less than {least} at {listed(by_outcome[EQUIVALENT])}")
    title = f"The discount {listed(told)}" if told else "What the discount does depends on the sparsity"
    rest = [name for outcome in (CANNOT_TELL, ONE_SEED, WAITING) for name in by_outcome.get(outcome, [])]
    return f"{title}; this study cannot tell at {listed(rest)}" if rest else title
