"""The answers to a study's two questions: whether sinks matter, and whether counting them less helps pruning.

Each is one sentence, a small figure of what it rests on, and the differences with their intervals.
"""

from collections.abc import Mapping, Sequence
from math import exp

from analysis.evaluation.ablation_effects import COUNT, MASKED, MASS, MEASURES
from analysis.exhibits.story_parts import Price, chance_line, discounts, outcomes_of, prices_of
from analysis.exhibits.story_text import (
    changes_told,
    could_see,
    levels_of,
    masked_told,
    open_controls,
    strictest,
    text_causes,
    text_matters,
    told_by,
    untouched_of,
    yes_by_text,
)
from analysis.figures.story import Answer, charts
from analysis.figures.story.charts import Mark
from analysis.findings.ablations import perplexity
from analysis.specs import CONTROLS, PruneSpec, detail
from analysis.statistics.decisions import (
    AT_CHANCE,
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    ONE_SEED,
    POINTS,
    TOO_COARSE,
    WAITING,
    WORSE,
    interval_words,
)
from analysis.statistics.differences import Difference
from analysis.study import rules
from analysis.study.findings import Cause, Findings
from analysis.words import listed, percent


def answers_of(findings: Findings) -> tuple[Answer, ...]:
    """Return the answers that a study has by now."""
    return tuple(filter(None, (_matter(findings), _discount(findings))))


# --- whether sinks matter ----------------------------------------------------------------------------------------


def _matter(findings: Findings) -> Answer | None:
    causes = next(iter(findings.causes_by_model.values()), None)
    if causes is None:
        return None
    spec = findings.parameters
    by_text = {} if MEASURES[spec.primary].percent else text_causes(causes)
    said = rules.matter_sentence(causes, spec, "hiding them", numbers=not by_text)
    lead = said.replace("its predictions", "predictions", 1).replace("its", "the", 1)
    if by_text and said.startswith(("Yes: ", "It depends: ")) and text_matters(causes):
        lead = yes_by_text(causes)
    asked = "Do this model's sinks matter?"
    if not by_text:
        return Answer(asked, lead, "")
    told = dict.fromkeys((told_by(causes), *open_controls(causes), strictest(causes) or COUNT))
    marks = _levels(causes, {name: by_text[name] for name in told})
    levels = f"{_HEADING}: {', '.join(f'{mark.label} {mark.told}' for mark in marks)}."
    sentence = " ".join((*changes_told(causes, list(told)), could_see(causes)))
    return Answer(asked, lead, sentence.strip(), charts.few_bars(f"{_HEADING}:", marks), levels)


_HEADING = "Perplexity (surprise of the model, lower is better), hiding"


def _levels(causes: Sequence[Cause], controls: Mapping[str, Cause]) -> list[Mark]:
    """Return perplexity with nothing, the sinks and each control's tokens hidden, and how many of these there are per
    step. Where a control was not found in all prompts, its row tells in how many.
    """
    before, sinks = untouched_of(causes), text_causes(causes)[COUNT].sides[0]
    marks = [
        Mark("nothing", exp(before), perplexity(before), charts.NULL),
        Mark(
            f"sinks ({sinks.tokens:.1f} per step)",
            exp(sinks.value),
            perplexity(sinks.value),
            charts.SINK,
            exp(sinks.low),
            exp(sinks.high),
        ),
    ]
    for name, cause in sorted(controls.items(), key=lambda each: (each[0] == MASS, -each[1].sides[1].value)):
        side, masked = cause.sides[1], masked_told(cause)
        label = f"as many random{masked}" if masked else CONTROLS[name].title
        label = f"random, equal attention ({side.tokens:.1f})" if name == MASS else label
        label = f"{label} ({side.tokens:.1f})" if name == MASKED else label
        label += f" ({cause.effect.n} prompts)" if cause.unmatched else ""
        marks.append(Mark(label, exp(side.value), levels_of(cause)[1], charts.NULL, exp(side.low), exp(side.high)))
    return marks


# --- whether counting them less helps pruning --------------------------------------------------------------------

_LEADS = {
    BETTER: "Yes.",
    WORSE: "No, it hurts.",
    EQUIVALENT: "No.",
    CANNOT_TELL: "This study cannot tell.",
    ONE_SEED: "One calibration seed cannot tell.",
    AT_CHANCE: "It cannot be judged: the dense model is at chance.",
    WAITING: "Not known yet.",
}


def _discount(findings: Findings) -> Answer | None:
    by_setting = discounts(findings)
    if not by_setting:
        return None
    outcomes = outcomes_of(findings, by_setting)
    effects = {name: contrast.effect for name, contrast in by_setting.items()}
    prices, margin = prices_of(findings, by_setting), rules.margin_of(findings)
    only = next(iter(outcomes.values())) if len(set(outcomes.values())) == 1 else ""
    lead = lead_of(set(outcomes.values()))
    items = 0 if findings.pruning is None else findings.pruning.items
    sentence = _changed({price.setting: price.effect for price in prices} or effects, items)
    if only == EQUIVALENT:
        clear = any(one.shown for one in effects.values())
        lead = f"No{'' if clear else ' measurable'} gain: accuracy changes by less than {POINTS.margin(margin)}."
        if any(one.shown and one.value > 0 for one in effects.values()):
            lead = f"Little: it gains less than {POINTS.margin(margin)}."  # significant, and too small to matter
    elif only in (BETTER, WORSE):
        setting, effect = next(iter(({price.setting: price.effect for price in prices} or effects).items()))
        lead = f"{lead.removesuffix('.')}: {POINTS.number(effect.value)} {POINTS.name} of accuracy at {setting}."
    open_ones = [effects[name] for name, outcome in outcomes.items() if outcome == CANNOT_TELL]
    seen = [size for effect in open_ones if (size := effect.detectable()) == size]
    if seen and max(seen) < TOO_COARSE:
        sizes = dict.fromkeys(POINTS.size(size).removesuffix(" points") for size in seen)
        sentence += f" It would have detected ±{listed(list(sizes))} points."
    elif seen and min(seen) >= TOO_COARSE:
        sentence += f" It would have detected nothing below {100 * TOO_COARSE:.0f} points."
    asked = "Pruning removes the lowest-scoring weights. Should sinks count less in the score (the discount)?"
    pruning = findings.pruning
    if not prices or pruning is None:
        return Answer(asked, lead, sentence)
    marks = _accuracies(pruning.dense, prices[0])
    heading = f"Accuracy{chance_line(pruning)}; pruned: {prices[0].removed} removed"
    levels = f"{heading}: {', '.join(f'{mark.label} {mark.told}' for mark in marks)}."
    return Answer(asked, lead, sentence, charts.few_bars(heading, marks, pruning.chance), levels)


def _accuracies(dense: float, price: Price) -> list[Mark]:
    """Return the accuracy of the dense model, and pruned without and with the discount, in whole per cent where these
    differ by as much as they do before rounding.
    """
    without = dense + price.cost.value
    discounted = without + price.effect.value
    decimals = int(round(100 * discounted) - round(100 * without) != round(100 * price.effect.value))
    values = {
        "dense (unpruned)": (dense, charts.NULL),
        "pruned, no discount": (without, charts.NULL),
        "pruned, with discount": (discounted, charts.SINK),
    }
    return [Mark(name, value, percent(value, decimals), tone) for name, (value, tone) in values.items()]


def _changed(effects: Mapping[str, Difference], items: int) -> str:
    """Tell by how much the discount changes accuracy at each setting. items: that were scored, 0 where not known."""
    told = [f"{interval_words(effect)} at {name}" for name, effect in effects.items()]
    later = [each.replace(f" {POINTS.name}", "", 1) for each in told[1:]]
    return f"Change{f' on {items:,} items' if items else ''}: {'; '.join([*told[:1], *later])}."


def discount_at(findings: Findings, settings: Mapping[str, PruneSpec]) -> dict[str, Difference]:
    """Return what the study has found of the discount at those settings, by their names, at which it can tell.

    settings: prunings with the discount.
    """
    by_setting = discounts(findings)
    outcomes = outcomes_of(findings, by_setting)
    told = {
        (one.method, one.sparsity): one.effect
        for name, one in by_setting.items()
        if outcomes[name] in (BETTER, WORSE, EQUIVALENT)
    }
    asked = {name: (one.method, one.sparsity) for name, one in settings.items() if not detail(one)}
    return {name: told[at] for name, at in asked.items() if at in told}


def lead_of(outcomes: set[str]) -> str:
    """Return the first words of the answer to whether the discount helps, by its outcomes at all settings."""
    if len(outcomes) == 1:
        return _LEADS[next(iter(outcomes))]
    if {BETTER, WORSE} <= outcomes:
        return "It helps at some settings and hurts at others."
    if BETTER in outcomes:
        return "At some settings."
    if WORSE in outcomes:
        return "It hurts at some settings."
    return "No gain is shown."
