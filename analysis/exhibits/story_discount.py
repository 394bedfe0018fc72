"""The story's findings on what discounting sinks does to masks and accuracy."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from analysis.exhibits import story_parts
from analysis.exhibits.story_parts import (
    accuracies,
    discounts,
    items_told,
    needs,
    outcomes_of,
    prices_of,
    recipe,
    share,
    spread,
)
from analysis.exhibits.with_discount import against_published, published_of_study
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.findings import said_of
from analysis.findings.ablations import side_of
from analysis.findings.masks import few_changed
from analysis.findings.pruning_cost import apart_by_rounding, bare_words, cost_words, loss_words
from analysis.pruned.report_file import plain_title
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
    decide,
    interval_words,
    tests_in_words,
)
from analysis.statistics.differences import Difference
from analysis.study import rules
from analysis.study.findings import Contrast, Findings, MaskChange, Pruning
from analysis.words import counted, listed, percent


def masks(findings: Findings) -> Told | None:
    """Tell how many weights the discount prunes differently, beside two calibration seeds."""
    changes = [one for one in findings.mask_changes if one.changed]
    if not changes:
        return None
    told = max(changes, key=lambda one: (one.sparsity, _beside_seeds(one)))
    value, floor = float(np.mean(told.changed)), float(np.mean(told.floor)) if told.floor else 0.0
    several = len({one.method for one in changes}) > 1
    groups = []
    for change in changes:
        named = f" ({METHODS[change.method].title})" if several else ""
        runs = (
            ("discount on or off, same sample", change.changed, charts.SINK),
            ("other sample, no discount", change.floor, charts.NULL),
        )
        marks = [
            Mark(name, float(np.mean(values)), _runs(values), tone, min(values), max(values))
            for name, values, tone in runs
            if values
        ]
        groups.append(Group(f"{100 * change.sparsity:g} % of the weights removed{named}", tuple(marks)))
    removed = f"{100 * told.sparsity:g} % removed"
    title = f"With {removed}, the discount chooses {share(value)} of weights differently"
    title += f"; another calibration sample changes {share(floor)}" if floor else ""
    if few_changed(told.changed, told.floor):
        numbers = f"{share(value)} against {share(floor)} with {removed}"
        title = f"The discount swaps far fewer weights than another calibration sample does: {numbers}"
    chances = {f"{100 * one.sparsity:g} %": share(one.chance) for one in changes}
    drawn = listed([f"{one} ({each} removed)" for each, one in chances.items()])
    beat = recipe(findings)
    return Told(
        "masks",
        title,
        charts.bars(groups, "% of all weights, kept in one run but not in the other", 100, _range_told(changes)),
        beat,
        (beat,),
        f"{_calibration(findings)}{_untried(findings)}",
        (
            *(
                f"{METHODS[one.method].title}, {100 * one.sparsity:g} %: {_runs(one.changed)}; seeds "
                f"{_runs(one.floor)}; chance {share(one.chance)}."
                for one in changes
            ),
            f"Random choices would differ in {drawn}.",
        ),
        meaning=story_parts.of_masks(told.changed, told.floor),
        takeaway=beat,
        defines=True,
        summaries=(
            (
                Summary(
                    f"Weights chosen differently, {removed}",
                    _runs(told.changed, "seeds: "),
                    f"another calibration sample: {_runs(told.floor)}",
                ),
            )
            if floor
            else ()
        ),
    )


def _calibration(findings: Findings) -> str:
    """Tell on how much text masks are calibrated."""
    spec = findings.parameters
    return f"Calibration: {counted(spec.samples, 'sequence')} of {counted(spec.seq_len, 'token')}."


def _untried(findings: Findings) -> str:
    """Tell, with a space before it, that no other tokens were discounted, where a study has no method that does so."""
    tried = any(METHODS[name].tokens == "sham" for name in findings.parameters.methods)
    return "" if tried else " Discounting as many random tokens was not tried."


def _range_told(changes: Sequence[MaskChange]) -> str:
    """Tell what the whisker of a bar is: the range over calibration seeds, or over pairs of them."""
    seeds = max(len(change.changed) for change in changes)
    pairs = max(len(change.floor) for change in changes)
    of_seeds = f"range of {counted(seeds, 'seed')}"
    return f"{of_seeds}, or of their {counted(pairs, 'pair')}" if pairs else of_seeds


def _beside_seeds(change: MaskChange) -> float:
    floor = float(np.mean(change.floor)) if change.floor else 0.0
    return float(np.mean(change.changed)) / floor if floor else 0.0


def _mean(values: Sequence[float]) -> str:
    return share(float(np.mean(values)))


def _runs(values: Sequence[float], of: str = "") -> str:
    """Return a mean, and the least and most of several values, after what these are of."""
    if not values:
        return "–"
    told = _mean(values)
    return told if len(values) == 1 else f"{told} ({of}{spread(min(values), max(values), share)})"


def accuracy(findings: Findings) -> Told | None:
    """Tell what the discount does to accuracy, beside the dense model and the same pruning without it."""
    by_setting, pruning = discounts(findings), findings.pruning
    if not by_setting or pruning is None:
        return None
    outcomes, margin, above = outcomes_of(findings, by_setting), rules.margin_of(findings), rules.above_chance(pruning)
    noise = discounts(findings, "noise")
    of_discount = {name: one.effect for name, one in by_setting.items()}
    of_noise = {name: one.effect for name, one in noise.items()}
    alone = f"The discount alone: {conclusions(of_discount, margin, above)}."
    levels = _chance_told(pruning) if all(accuracies(findings, one)[0] for one in by_setting.values()) else ""
    beats = [levels or alone]
    rest = f"The rest of the recipe (noise, order and norm): {conclusions(of_noise, margin, above)}."
    came_with = said_of("gain", pruning, margin, above)
    beats += [f"{said[0].upper()}{said[1:]}" for said in came_with]
    equal = set(outcomes.values()) == {EQUIVALENT}
    unseen, published = _cost_unseen(findings, by_setting), _against_published(findings, by_setting, outcomes)
    lead = unseen or beats[0]
    beats[0] = f"{lead}{published}"
    return Told(
        "accuracy",
        _accuracy_title(findings, by_setting, outcomes, margin),
        _levels(findings, by_setting, pruning) + _changes(findings, by_setting, margin),
        " ".join(beats),
        tuple(beats),
        f"{recipe(findings, brief=True)}; intervals over {items_told(pruning)}{_seeds_told(by_setting)}"
        f"{_rounding_told(findings, by_setting)}{_noised_told(findings)}.",
        (
            *filter(
                None,
                (levels and alone, levels if unseen else "", rest if of_noise else "", tests_in_words(of_discount)),
            ),
            pruning.noise,
            f"Margin: ±{POINTS.margin(margin)}, fixed in the study's specification before it ran.",
            *needs(findings),
        ),
        meaning=story_parts.of_accuracy(outcomes),
        takeaway=lead,
        summaries=(_summary(findings, by_setting, outcomes, margin),),
        brief=f"The discount alone changes accuracy by less than {POINTS.margin(margin)}" if equal else "",
    )


def _seeds_told(by_setting: Mapping[str, Contrast]) -> str:
    """Return over how many calibration seeds the intervals are as well, as the end of a list."""
    seeds = max(one.effect.seeds for one in by_setting.values())
    return f" and {counted(seeds, 'seed')}" if any(one.effect.holds_seeds for one in by_setting.values()) else ""


def _summary(
    findings: Findings, by_setting: Mapping[str, Contrast], outcomes: Mapping[str, str], margin: float
) -> Summary:
    """Return the row of the last slide: the setting where pruning costs most, or all where their outcomes differ."""
    costs = {price.setting: price.cost for price in prices_of(findings, by_setting)}
    settings = list(by_setting) if len(set(outcomes.values())) > 1 else [next(iter(costs or by_setting))]
    told = [bare_words(by_setting[name].effect) for name in settings]
    baseline = "the same pruning without it"
    if len(settings) == 1 and settings[0] in costs:
        baseline = f"pruning alone {cost_words(costs[settings[0]])}"
    removed = _removed(listed(settings)).replace(" of the weights", "")
    method = next(iter(by_setting.values())).method
    published = {percent(at, 0): one for at, one in published_of_study(findings, method).items()}
    if len(settings) == 1 and settings[0] in published:
        gain = published[settings[0]]
        baseline += (
            f"; against {plain_title(METHODS[method].published or '')} {bare_words(gain)}{_undecided(gain, margin)}"
        )
    return Summary(f"Accuracy change from the discount, points, {removed}", listed(told), baseline)


def _chance_told(pruning: Pruning) -> str:
    """Tell the accuracy of guessing; empty where it is not known."""
    return "" if pruning.chance is None else f"Guessing scores {percent(pruning.chance, 1)}."


def _against_published(findings: Findings, by_setting: Mapping[str, Contrast], outcomes: Mapping[str, str]) -> str:
    """Tell, as a further sentence, how the first method with the discount does against its published baseline; empty
    where the study does not compare them.
    """
    method = next(iter(by_setting.values())).method
    margin = rules.margin_of(findings) if set(outcomes.values()) == {EQUIVALENT} else 0.0
    told = against_published(method, published_of_study(findings, method), margin)
    return f" {told}" if told else ""


def _cost_unseen(findings: Findings, by_setting: Mapping[str, Contrast]) -> str:
    """Tell where pruning itself costs nothing significant, so that there is nothing to win back."""
    told = [price.setting for price in prices_of(findings, by_setting) if price.cost.low < 0 < price.cost.high]
    return f"At {listed(told)}, the cost of pruning itself is not significant." if told else ""


def _levels(findings: Findings, by_setting: Mapping[str, Contrast], pruning: Pruning) -> Markup:
    """Draw the accuracy of the dense model and, where pruning costs most, of the published baseline as far as the study
    holds it, and without and with the discount; empty where the study does not hold these.
    """
    name = next((price.setting for price in prices_of(findings, by_setting)), next(iter(by_setting)))
    contrast = by_setting[name]
    published = contrast.model_copy(update={"against": METHODS[contrast.method].published})
    without, discounted = accuracies(findings, contrast)
    if not without or not discounted:
        return Markup()
    rows = {
        "dense (unpruned)": (pruning.dense,),
        f"{_published(contrast)}{_text_of(published.against)}": accuracies(findings, published)[0],
        f"no discount{_text_of(contrast.against)}": without,
        f"with discount{_text_of(contrast.method)}": discounted,
    }
    means = {label: float(np.mean(values)) for label, values in rows.items() if values}
    tones = dict.fromkeys(means, charts.NULL) | dict.fromkeys(list(means)[-1:], charts.SINK)
    marks = [Mark(label, mean, percent(mean, 1), tones[label]) for label, mean in means.items()]
    return charts.few_bars(story_parts.accuracy_heading(pruning, name), marks, pruning.chance)


def _noised_told(findings: Findings) -> str:
    """Tell what noised text is, as the end of a list; empty where no recording shows what the model's noise is."""
    played = story_parts.recordings(findings)
    return f"; noised text: tokens {'masked' if played[0].masks else 'replaced'} at random" if played else ""


def _text_of(method: str | None) -> str:
    """Return on what text a method calibrates, in brackets."""
    return f" ({'noised' if METHODS[method].noised else 'clean'} text)" if method else ""


def _published(contrast: Contrast) -> str:
    return plain_title(METHODS[contrast.method].published or "")


def _rounding_told(findings: Findings, by_setting: Mapping[str, Contrast]) -> str:
    """Tell that differences are of numbers before rounding, where those that are drawn differ otherwise."""
    drawn = [
        (float(np.mean(without)), float(np.mean(discounted)), one.effect)
        for one in by_setting.values()
        for without, discounted in [accuracies(findings, one)]
        if without and discounted
    ]
    told = apart_by_rounding(drawn)
    return f"; {told}" if told else ""


def _changes(findings: Findings, by_setting: Mapping[str, Contrast], margin: float) -> Markup:
    """Draw by how much the discount changes accuracy at each setting, and what is gained on the published baseline,
    under what pruning alone does, as far as the study holds it.
    """
    costs = {price.setting: price.cost for price in prices_of(findings, by_setting)}
    groups = []
    for name, contrast in by_setting.items():
        published = published_of_study(findings, contrast.method).get(contrast.sparsity)
        rows = {"against no discount": contrast.effect}
        if published is not None:
            rows[f"against {_published(contrast)}"] = published
        marks = [
            Mark(label, one.value, told, charts.SINK, one.low, one.high, filled=side_of(one) != 0)
            for label, one in rows.items()
            for told in [f"{interval_words(one)}{_undecided(one, margin)}"]
        ]
        alone = f" (pruning itself: {loss_words(costs[name])})" if name in costs else ""
        groups.append(Group(f"With discount, {_removed(name).replace(' of the weights', '')}{alone}", tuple(marks)))
    return charts.intervals(
        groups, "change of accuracy, points (right: better)", 100, margin, POINTS.margin(margin).partition(" ")[0]
    )


def _undecided(effect: Difference, margin: float) -> str:
    """Return `, undecided` where an effect may lie on either side of the margin."""
    reaches_out = effect.low < -margin or margin < effect.high
    return ", undecided" if reaches_out and decide(effect, margin) == CANNOT_TELL else ""


def _removed(setting: str) -> str:
    return setting.replace(" %", " % of the weights removed", 1)


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
        beside = "" if dearest is None else f"; removing {dearest.removed} without it {cost_words(dearest.cost)}"
        return f"The discount alone changes accuracy by less than {least}{beside}"
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
