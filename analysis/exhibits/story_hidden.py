"""The story's finding on what hiding sinks does to text and predictions."""

from collections.abc import Sequence
from math import exp

from markupsafe import Markup

from analysis.evaluation.ablation_effects import COUNT, MASKED, MASS, MEASURES, Change
from analysis.exhibits import story_parts, story_sinks
from analysis.exhibits.ablation import lengths_of
from analysis.exhibits.story_example import texts
from analysis.exhibits.story_parts import called, rows_of, within
from analysis.exhibits.story_text import (
    AGAINST,
    by_attention,
    early_told,
    ends_earlier,
    halves_told,
    hidden_moves,
    levels_of,
    masked_told,
    moved_beside,
    no_less_with_random,
    no_match,
    open_briefly,
    open_controls,
    open_told,
    predictions_told,
    strictest,
    text_causes,
    text_matters,
    told_by,
    untouched_of,
)
from analysis.figures.story import Summary, Told, charts
from analysis.figures.story.charts import Group, Mark
from analysis.findings.ablations import (
    HIDDEN,
    LENGTH,
    could_show,
    endings,
    perplexity,
    perplexity_change,
    repetition,
    side_of,
    size_told,
    tokens_changed,
)
from analysis.specs import CONTROLS
from analysis.statistics.decisions import BETTER, CANNOT_TELL, EQUIVALENT, WAITING, WORSE, decide, interval_words
from analysis.statistics.differences import flipped
from analysis.study import rules
from analysis.study.findings import Cause, Findings
from analysis.words import counted, listed, percent


def hidden(findings: Findings) -> Told | None:
    """Tell what changes when the sinks are hidden: one text first, then the mean over prompts."""
    spec = findings.parameters
    against = [cause for cause in findings.causes if cause.control == COUNT]
    primary = [cause for cause in against if cause.measure == spec.primary] or against[:1]
    if not primary:
        return None
    own = next((cause for cause in primary if cause.model == spec.model.source), primary[0])
    by_model = findings.causes_by_model
    verdict = rules.sinks_matter(findings)[list(by_model).index(own.model)]
    margin = rules.shift_of(spec, own.measure)
    example = texts(findings, own.model)
    notes = [verdict.numbers]
    those = by_model[own.model]
    effects, levels = _effects(findings, primary), _levels(findings, [own.model])
    others = _levels(findings, [model for model in by_model if model != own.model])
    at_equal = rules.cause_of(those, spec.primary, MASS)
    over = _over_prompts(own, at_equal, those)
    measure = MEASURES[own.measure]
    notes += [
        f"{HIDDEN}. {_DRAWN_ONCE}{' Perplexity is under the untouched model.' * bool(levels)}",
        predictions_told(those, rules.shift_of(spec, "divergence")),
        halves_told(those),
        early_told(those),
        by_attention(those),
        could_show({of: cause.effect for of, cause in text_causes(those).items()}).strip(),
        _tested(those),
        f"{measure.title}: {measure.axis}.",
    ]
    where = f"In {within(findings, own.model)}, " if len(called(findings)) > 1 else ""
    title = _text_title(own, those, margin, where)
    changed, untrained = _tokens_changed(those), _random_weights(findings)
    first = _endings(those) or changed
    said = (open_told(those) if title else []) or [first]
    as_random = untrained if no_less_with_random(those) else ""
    beats = list(filter(None, (over, *said, as_random)))
    notes += [line for line in dict.fromkeys((first, changed, untrained)) if line not in beats]
    takeaways = [_levels_told(own.effect.n, those) or over, first]
    if title:
        takeaways = open_briefly(those) or said
    takeaways += [as_random]
    notes += [_beside_own(findings, model) for model in by_model if model != own.model]
    notes += [_matched(at_equal, those)]
    held = [f"{100 * side.share:.1f} %" for side in own.sides]
    return Told(
        "hidden",
        title
        or _hidden_title(own, decide(own.effect, margin))
        + ("" if at_equal is None else _at_equal(at_equal, decide(own.effect, margin), margin)),
        levels or effects,
        verdict.numbers if example is None else f"{example.alt} {verdict.numbers}",
        tuple(beats or [f"Means over {counted(own.effect.n, 'prompt')}."]),
        " ".join(filter(None, (_not_shown(held, at_equal, those), _any_kind(findings, those)))),
        tuple(filter(None, notes)),
        meaning=_meaning(findings, own, at_equal, those, margin),
        takeaway=" ".join(filter(None, takeaways)),
        folded=others + effects if levels else None,
        summaries=_summaries(own, those),
        brief=_text_brief(own, those, margin),
        example=example,
    )


def _beside_own(findings: Findings, model: str) -> str:
    """Tell how perplexity with the sinks of another model hidden differs from that with each control; empty where that
    was not measured.
    """
    there = text_causes(findings.causes_by_model[model])
    name = called(findings).get(model, model)
    told = [
        f"{perplexity_change(cause.effect)} {AGAINST[control]}{_reached(cause)}" for control, cause in there.items()
    ]
    return f"{name}: {'; '.join(told)}." if told else ""


def _reached(cause: Cause) -> str:
    """Tell in how many prompts there are tokens for a control, where others have none."""
    return f" ({counted(cause.effect.n, 'prompt')} with a match)" if cause.unmatched else ""


def _levels_told(prompts: int, causes: Sequence[Cause]) -> str:
    """Tell perplexity with nothing, with the sinks and with the tokens of each control hidden; empty where that was not
    measured.
    """
    there = text_causes(causes)
    if not there:
        return ""
    others = ", ".join(f"{levels_of(cause)[1]} with {_title(control)}" for control, cause in there.items())
    before, sinks = perplexity(untouched_of(causes)), levels_of(there[COUNT])[0]
    return f"Over {prompts} prompts perplexity is {before}; {sinks} with sinks hidden; {others}."


def _endings(causes: Sequence[Cause]) -> str:
    """Tell where texts end with the sinks and with the tokens of each control hidden; empty where that is alike, or not
    measured.
    """
    there = text_causes(causes)
    lengths = lengths_of(there)
    return endings((there[COUNT].tokens, there[COUNT].tokens_before), lengths) if lengths else ""


def _tokens_changed(causes: Sequence[Cause]) -> str:
    """Tell how many tokens of 100 change with the sinks and with the tokens of the strictest control hidden; empty
    where that was not measured.
    """
    of = {cause.control: cause for cause in causes if cause.measure == "aligned"}
    there = {name: of[name] for name in ((strictest(causes) or COUNT), COUNT) if name in of}
    if not there:
        return ""
    first = next(iter(there.values()))
    levels = {name: (cause.sides[1].value, flipped(cause.effect)) for name, cause in there.items()}
    return tokens_changed(first.sides[0].value, levels, first.unrelated)


def _summaries(own: Cause, causes: Sequence[Cause]) -> tuple[Summary, ...]:
    """Return the rows of the last slide, beside the strictest control: perplexity, and where texts end or else how many
    tokens change; the outcome where perplexity was not measured.
    """
    there, control = text_causes(causes), strictest(causes) or COUNT
    if not there:
        named = f"Hiding sinks: {MEASURES[own.measure].title.lower()}"
        return (Summary(named, interval_words(own.effect, rules.unit_of(own.measure)), rules.AS_MANY),)
    quantity = f"Perplexity with sinks hidden (with nothing: {perplexity(untouched_of(causes))})"
    beside = [_baseline(name, there[name]) for name in dict.fromkeys((control, told_by(causes)))]
    own_level = there[control].sides[0]
    ends = f" [{perplexity(own_level.low)}, {perplexity(own_level.high)}]" if own_level.low == own_level.low else ""
    rows = [Summary(quantity, f"{levels_of(there[control])[0]}{ends}", "; ".join(beside))]
    longer = there[control].longer
    if longer is not None and side_of(longer):
        length, word = there[control].tokens, "later" if longer.value > 0 else "earlier"
        apart = f"{size_told(longer, LENGTH, word)} than {_HELD[control].removeprefix('for ')}"
        before = there[control].tokens_before
        untouched = f" (untouched: {before:.0f})" if before else ""
        rows.append(Summary(f"Token where texts end, sinks hidden{untouched}", f"{length:.0f}", f"{apart} (means)"))
        return tuple(rows)
    changed = rules.cause_of(causes, "aligned", control)
    if changed is not None:
        sinks, others = (f"{100 * side.value:.0f}" for side in changed.sides)
        unrelated = "" if changed.unrelated is None else f"; two unrelated texts: {100 * (1 - changed.unrelated):.0f}"
        rows.append(Summary("Tokens of 100 that change", sinks, f"{_title(control)}: {others}{unrelated}"))
    return tuple(rows)


def _baseline(control: str, cause: Cause) -> str:
    """Return perplexity with a control's tokens hidden, and by how much that with the sinks differs from it."""
    return f"{_SHORT[control]}: {levels_of(cause)[1]} (sinks\u00a0{perplexity_change(cause.effect)})"


def _title(control: str) -> str:
    return CONTROLS[control].title


def _meaning(findings: Findings, own: Cause, at_equal: Cause | None, causes: Sequence[Cause], margin: float) -> str:
    """Tell what it means in practice: by the text where hiding sinks changes more of it, else by the primary outcome.
    causes: of the same model.
    """
    model = within(findings, own.model) if len(called(findings)) > 1 else ""
    if _by_text(own, causes, margin):
        alike = text_causes(causes).get(MASS)
        equal = None if alike is None else {1: BETTER, 0: CANNOT_TELL, -1: WORSE}[side_of(alike.effect)]
        earlier = alike is not None and ends_earlier(alike)
        return story_parts.of_hiding(BETTER, True, equal, True, model, earlier, _title(told_by(causes)))
    of = {cause.measure: cause.effect for cause in causes if cause.control == MASS}
    both = {"divergence", "nll"} <= of.keys()
    return story_parts.of_hiding(
        decide(own.effect, margin),
        (own.effect.value > 0) == (rules.HIDING[own.measure].matters > 0),
        None if at_equal is None else decide(at_equal.effect, margin),
        not both or side_of(of["divergence"]) == side_of(of["nll"]),
        model,
    )


def _by_text(own: Cause, causes: Sequence[Cause], margin: float) -> bool:
    """Return whether perplexity tells the finding: it rises, and predictions shift, more than with as many tokens."""
    return own.measure == "divergence" and decide(own.effect, margin) == BETTER and text_matters(causes)


def _tested(causes: Sequence[Cause]) -> str:
    """Tell how the marks of the text are called significant; empty where it is compared with as many tokens alone."""
    others = [_title(control) for control in text_causes(causes) if control != COUNT]
    if not others:
        return ""
    held = "; ".join(f"{_title(control)}: {CONTROLS[control].help}" for control in text_causes(causes))
    return (
        f"Perplexity, against {listed(others)}: significant where the interval leaves out 0, without correction. "
        f"{held[0].upper()}{held[1:]}."
    )


_DRAWN_ONCE = "Random tokens are drawn once."


def _not_shown(held: Sequence[str], at_equal: Cause | None, causes: Sequence[Cause]) -> str:
    """Tell what the comparisons leave open."""
    there = text_causes(causes)
    repeated = {of: cause.repeated for of, cause in there.items() if cause.repeated is not None}
    apart = any(cause.longer is not None and side_of(cause.longer) for cause in there.values())
    begins = {of: cause.begins for of, cause in there.items() if cause.begins is not None and of != COUNT}
    alike = listed([f"{perplexity_change(one.sinks)} {AGAINST[of]}" for of, one in begins.items()])
    ends = f"Texts differ in length{f'; over the tokens that all reach: {alike}' if alike else ''}." if apart else ""
    return " ".join(filter(None, (_unmatched(held, at_equal, causes), ends, repetition(repeated))))


def _unmatched(held: Sequence[str], at_equal: Cause | None, causes: Sequence[Cause]) -> str:
    if at_equal is not None:
        if not at_equal.sides[0].masked > 0:
            return _DRAWN_ONCE
        sinks, others = (percent(side.masked, 0) for side in at_equal.sides)
        if not no_match(causes):
            return f"{_DRAWN_ONCE} {sinks} of sinks hidden are masked, {others} of {_title(MASS)}."
        return "No control matches the sinks in both masking and attention."
    return f"Sinks hold {held[0]} of the attention, the others {held[1]}: part of a difference can come from that."


def _matched(at_equal: Cause | None, causes: Sequence[Cause]) -> str:
    """Tell in what each control differs from the sinks, where none matches them; empty elsewhere."""
    if at_equal is None or not no_match(causes):
        return ""
    others = percent(at_equal.sides[1].masked, 0)
    most, fewest = (f"{side.tokens:.1f}" for side in reversed(at_equal.sides))
    return (
        f"Of {_title(MASS)} ({most} per step, sinks: {fewest}) only {others} are masked, and {_title(MASKED)} draw "
        "less attention than sinks."
    )


def _any_kind(findings: Findings, causes: Sequence[Cause]) -> str:
    """Tell that the controls may be no masked positions, where a model has these and was not compared with them."""
    rows = rows_of(findings, "layers", model=causes[0].model)
    masks = any(row["kind"] in story_sinks.MASKED and row["value"] for row in rows)
    if not masks or MASKED in text_causes(causes):
        return ""
    return f"Random tokens may be of any kind; Causes compares with {_title(MASKED)}."


def _random_weights(findings: Findings) -> str:
    """Tell, of each model alike, what hiding as much does with random weights, and of which the effect is no more than
    that; empty where it was not measured.
    """
    told = list[str]()
    for model in called(findings):
        causes = findings.causes_by_model.get(model, [])
        own = rules.cause_of(causes, "nll", COUNT)
        if own is not None and own.untrained is not None:
            so = f" (trained {perplexity_change(own.effect)})" if no_less_with_random(causes) else ""
            told.append(f"{perplexity_change(own.untrained)} in {within(findings, model)}{so}")
    return f"Random weights, perplexity against {_title(COUNT)}: {'; '.join(told)}." if told else ""


def _over_prompts(own: Cause, at_equal: Cause | None, causes: Sequence[Cause]) -> str:
    """Tell the primary outcome; nothing where perplexity was measured, which the figure holds. causes: of the same
    model.
    """
    if text_causes(causes):
        return ""
    over = f"Over {own.effect.n} prompts"
    unit = rules.unit_of(own.measure)
    named = MEASURES[own.measure].title.lower()
    told = f"{over}, sinks minus {_title(COUNT)}: {named} {interval_words(own.effect, unit)}"
    return f"{told}." if at_equal is None else f"{told}; at equal attention {interval_words(at_equal.effect, unit)}."


_AGAINST = {name: f"against {_title(name)}" for name in (COUNT, MASKED, MASS)}
_UNTRAINED = f"random weights, against {_title(COUNT)}"


def _effects(findings: Findings, causes: Sequence[Cause]) -> Markup:
    """Draw the effects of hiding sinks against every control, per model, beside random weights."""
    names, unit = called(findings), rules.unit_of(causes[0].measure)
    groups = []
    for beat, cause in enumerate(causes):
        of_model = findings.causes_by_model[cause.model]
        those = {one.control: one.effect for one in of_model if one.measure == cause.measure}
        rows = [(label, those[name], charts.SINK) for name, label in _AGAINST.items() if name in those]
        rows += [(_UNTRAINED, cause.untrained, charts.NULL)] if cause.untrained is not None else []
        marks = tuple(
            Mark(
                label,
                effect.value,
                interval_words(effect, unit),
                of,
                effect.low,
                effect.high,
                filled=effect.shown,
                beat=beat,
            )
            for label, effect, of in rows
            if effect.low == effect.low
        )
        groups.append(Group(names.get(cause.model, cause.model), marks))
    measure = MEASURES[causes[0].measure]
    axis = f"{measure.title}, sinks minus others ({unit.name})"
    band = rules.shift_of(findings.parameters, causes[0].measure)
    return charts.intervals(groups, axis, unit.scale, band, unit.margin(band))


def _levels(findings: Findings, models: Sequence[str]) -> Markup:
    """Draw perplexity with nothing, with the sinks and with each control's tokens hidden, per model of these; empty
    where that was not measured.
    """
    groups, prompts = [], 0
    for beat, model in enumerate(models):
        causes = findings.causes_by_model[model]
        there = text_causes(causes)
        if not there:
            continue
        prompts = max(prompts, there[COUNT].effect.n)
        before = untouched_of(causes)
        marks = [
            Mark("nothing", exp(before), perplexity(before), charts.NULL, beat=beat),
            _level("sinks", there[COUNT].sides[0], charts.SINK, beat),
        ]
        rows = sorted(there.items(), key=lambda each: (each[0] == MASS, each[1].unmatched, -each[1].sides[1].value))
        for control, cause in rows:  # in the order of the first screen
            marks += _beside_sinks(control, cause, beat)
        groups.append(Group(f"Hidden in {within(findings, model)}", tuple(marks), "sinks vs this row"))
    if not groups:
        return Markup()
    return charts.bars(groups, f"perplexity up to and with the end token (lower is better), {prompts} prompts")


def _beside_sinks(control: str, cause: Cause, beat: int) -> list[Mark]:
    """Return the row of a control: perplexity with its tokens hidden, and by how much that with the sinks differs, of
    the same prompts; below the sinks of these prompts where others lack the control.
    """
    sinks, others = cause.sides
    beside = perplexity_change(cause.effect)
    if not cause.unmatched:
        return [_level(f"{_title(control)}{masked_told(cause)}", others, charts.NULL, beat, beside)]
    these = f"sinks ({counted(cause.effect.n, 'prompt')} with a match)"
    name = f"{_SHORT[control]} (same {cause.effect.n})"
    return [_level(these, sinks, charts.SINK, beat), _level(name, others, charts.NULL, beat, beside)]


def _level(name: str, side: Change, tone: str, beat: int, beside: str = "") -> Mark:
    """Return the row of perplexity with some tokens hidden. beside: by how much that with the sinks differs."""
    drawn = exp(side.value), perplexity(side.value), tone, exp(side.low), exp(side.high)
    return Mark(name, *drawn, beat=beat, aside=beside)


def _text_title(own: Cause, causes: Sequence[Cause], margin: float, where: str) -> str:
    """Return the title where perplexity tells the finding; else nothing. where: its beginning, of whose text it is."""
    if not _by_text(own, causes, margin):
        return ""
    hiding = f"{where}hiding" if where else "Hiding"
    there = text_causes(causes)
    less = "".join(f"; {_HELD[name]} less" for name in open_controls(causes) if side_of(there[name].effect))
    return f"{hiding} sinks {moved_beside(causes)}{less}"


def _text_brief(own: Cause, causes: Sequence[Cause], margin: float) -> str:
    """Return the title in a few words; empty where `_text_title` is."""
    if not _by_text(own, causes, margin):
        return ""
    there, control, open_ones = text_causes(causes), told_by(causes), open_controls(causes)
    if open_ones == [MASS]:
        return f"Token for token, sinks matter{'; at equal attention, less' if side_of(there[MASS].effect) else ''}"
    return f"Hiding sinks {hidden_moves(causes)} ({levels_of(there[control])[1]} {_HELD[control]})"


_SHORT = {COUNT: "as many random", MASKED: "other masked", MASS: "random, equal attention"}
_HELD = {COUNT: "for as many random tokens", MASKED: "for other masked positions", MASS: "at equal attention"}
"""The controls in the title of the last slide."""


def _hidden_title(cause: Cause, outcome: str) -> str:
    words = rules.HIDING[cause.measure]
    other = rules.AS_MANY
    if outcome == WAITING:
        return "What hiding the sinks changes is not known yet"
    if outcome == EQUIVALENT:
        return f"Hiding the sinks changes about as much as {other}"
    if outcome == CANNOT_TELL:
        return f"This study cannot tell whether hiding the sinks changes more than {other}"
    does = words.higher if cause.effect.value > 0 else words.lower
    return f"Hiding the sinks {does.replace('its', 'the')} than {other}"


def _at_equal(cause: Cause, outcome: str, margin: float) -> str:
    """Tell whether the decision holds at equal attention, as the end of the title."""
    equal = decide(cause.effect, margin)
    if outcome not in (BETTER, WORSE) or equal == WAITING:
        return ""
    others = rules.AS_MUCH
    if equal == outcome:
        return f", and than {others}"
    if equal == CANNOT_TELL:
        return f"; against {others} this study cannot tell"
    if equal == EQUIVALENT:
        return f", but about as much as hiding {others}"
    words = rules.HIDING[cause.measure]
    does = words.higher if cause.effect.value > 0 else words.lower
    return f", but {'more' if 'more' in does else 'less'} than hiding {others}"
