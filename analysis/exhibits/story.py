"""The story of a study: what it is about, the answer, and six findings, each with one figure and what it does not show.

The page, the slides and the report read this one table. Every sentence is made of the study's own numbers; a finding
whose numbers a study lacks is left out.
"""

import re
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from analysis.evaluation.ablation_effects import MEASURES
from analysis.exhibits import story_sinks
from analysis.exhibits.story_parts import (
    about,
    called,
    day,
    discounts,
    factor,
    needs,
    outcomes_of,
    position,
    prices_of,
    recipe,
    recordings,
    size_told,
    within,
)
from analysis.exhibits.story_text import answer_told, text_in_words, text_matters
from analysis.figures.story import CANNOT_TELL as NO_ANSWER
from analysis.figures.story import Answer, Story, Told, charts
from analysis.findings import said_of
from analysis.findings.ablations import HIDDEN
from analysis.findings.evaluations import cost_words
from analysis.recording.playback import opening_frame
from analysis.specs import QUESTION, SIZES, PruneSpec, StudySpec, detail
from analysis.statistics.decisions import (
    AT_CHANCE,
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    NATS,
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
from analysis.words import counted, listed, percent

_SHOWN = 9  # tokens in the picture of a sink
TERM = "attention sinks"
WHAT = f"Diffusion language models fill blanks ([MASK]) in steps. A few tokens, {TERM}, draw more than their share."


def story_of(findings: Findings) -> Story:
    """Return the story of what a study has found by now."""
    picture, told = _picture(findings)
    shown = tuple(said_of("story", findings))
    answers = tuple(filter(None, (_matter(findings), _discount(findings))))
    return Story(
        made=f"SinkScope study of {day(findings.created)}",
        question=QUESTION,
        what=WHAT,
        term=TERM,
        command=findings.command,
        about=about(findings),
        answers=answers,
        thin=thin(findings),
        recipe=recipe(findings),
        reading=_reading(answers),
        picture=picture,
        picture_told=told,
        findings=shown,
        in_short=_in_short(shown),
        decision={
            _ANSWERING[told.name]: told.meaning
            for told in reversed(shown)
            if _ANSWERING.get(told.name) and told.meaning
        },
        closing=_closing(findings),
    )


_ANSWERING = {"hidden": "Dropping tokens", "accuracy": "Pruning"}
"""The findings that answer the study's two questions, and what the decision on each is called."""
_NO_VERDICT = f"{NO_ANSWER} whether"


def _in_short(shown: Sequence[Told]) -> str:
    """Return the titles of what answers the study's two questions, up to where they qualify it."""
    titles = [told.brief or re.split("; |, (?=and|but)", told.title)[0] for told in shown if told.name in _ANSWERING]
    if len(titles) < 2:
        return f"{counted(len(shown), 'finding')}, each beside its baseline"
    first, second = titles
    if first.startswith(_NO_VERDICT):
        first = first.partition(" than ")[0]
        second = second.replace(_NO_VERDICT, "nor whether")
    return f"{first}{'; ' if not second.startswith('nor') else ', '}{second[0].lower()}{second[1:]}"


def playback_of(findings: Findings) -> dict[str, object] | None:
    """Return what the player takes; it opens where all its recordings have sinks."""
    if findings.playback is None:
        return None
    played = recordings(findings)
    frame = opening_frame(played)
    step = None if frame is None else int(played[0].frames[frame])
    names = called(findings)
    tracks = [{**track, "name": names.get(track["title"], track["title"])} for track in findings.playback["tracks"]]
    return {**findings.playback, "tracks": tracks, "step": step or 0, "telling": step}


def _reading(answers: Sequence[Answer]) -> str:
    """Tell how to read the numbers of the answers."""
    told = ["Brackets: 95 % intervals."] if any("[" in answer.words for answer in answers) else []
    told += [f"{HIDDEN}."] if any("hiding" in answer.words for answer in answers) else []
    told += ["Perplexity: lower is better."] if any("perplexity" in answer.words for answer in answers) else []
    units = [answer for answer in answers if re.search(rf"\b{NATS.name}\b", answer.words) and "KL" not in answer.words]
    return " ".join([*told, *([_NATS] if units else [])])


_NATS = "Nats: KL divergence."


def _picture(findings: Findings) -> tuple[Markup, str]:
    """Draw the neighbourhood of the strongest sink at the step at which the player opens, above whether the model has
    sinks at all: in multiples of an even split, both.
    """
    played = recordings(findings)
    at = opening_frame(played) if played else None
    if at is None:
        return Markup(), ""
    track = played[0]
    strongest = int((track.mass[at] * track.sinks[at]).argmax())
    first = max(0, min(strongest - _SHOWN // 2, track.mass.shape[1] - _SHOWN))
    tokens = [position(track, at, place) for place in range(first, min(first + _SHOWN, track.mass.shape[1]))]
    times = f"{factor(track.mass[at, strongest])} ×"
    name = f"‘{tokens[strongest - first].text.strip()}’"
    who = "a masked position" if tokens[strongest - first].masked else name
    above = story_sinks.threshold().removesuffix(" of a step")
    where = f"Step {int(track.frames[at])}, layers averaged; orange: sinks ({above})."
    has = story_sinks.has_sinks(findings)
    told = f"One step of one text: {who} draws {times} an even split. {has}".strip()
    return charts.skyline(tokens, times, where) + charts.caption(has), told


# --- the answer -------------------------------------------------------------------------------------------------

_YES_NO = ("Yes: ", "No: ", "It depends: ")


def _matter(findings: Findings) -> Answer | None:
    """Answer whether sinks matter."""
    causes = next(iter(findings.causes_by_model.values()), None)
    if causes is None:
        return None
    spec = findings.parameters
    text = "" if MEASURES[spec.primary].percent else text_in_words(causes)
    said = rules.matter_sentence(causes, spec, "hiding them", numbers=not text)
    if not MEASURES[spec.primary].percent and said.startswith(("Yes: ", "It depends: ")) and text_matters(causes):
        others = {
            within(findings, model): those
            for model, those in findings.causes_by_model.items()
            if model != causes[0].model
        }
        return Answer(_asks(findings, causes), *answer_told(causes, others))
    lead = said.replace("its predictions", "predictions", 1).replace("its", "the", 1)
    brief = next((f"{word.removesuffix(': ')}." for word in _YES_NO if lead.startswith(word)), "")
    return Answer(
        _asks(findings, causes), lead, text, brief or (f"{NO_ANSWER}." if lead.startswith(NO_ANSWER) else "Perhaps.")
    )


def _asks(findings: Findings, causes: Sequence[Cause]) -> str:
    model = within(findings, causes[0].model) if len(called(findings)) > 1 else "this model"
    return f"Do sinks matter in {model}?"


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
    only = next(iter(outcomes.values())) if len(set(outcomes.values())) == 1 else ""
    lead, brief = lead_of(set(outcomes.values())), ""
    prices, margin = prices_of(findings, by_setting), rules.margin_of(findings)
    sentence = _changed({price.setting: price.effect for price in prices} or effects)
    if only == EQUIVALENT:
        clear = any(one.shown for one in effects.values())
        lead = f"{'No' if clear else 'Not measurably'}: it changes accuracy by less than {POINTS.margin(margin)}."
        if any(one.shown and one.value > 0 for one in effects.values()):
            lead = f"Little: it gains less than {POINTS.margin(margin)}."  # significant, and too small to matter
        if prices and -prices[0].cost.value > margin:
            price, *others = prices
            change = interval_words(price.effect).replace(POINTS.name, f"{POINTS.name} of accuracy", 1)
            lead = f"{lead.partition(':')[0]}: {change} where pruning {price.setting} {cost_words(price.cost, '')}."
            sentence = (
                _changed({one.setting: one.effect for one in others}).replace(f" {POINTS.name}", "") if others else ""
            )
            every = {1: "This is", 2: "Both"}.get(len(effects), "All")
            inside = f"{every} within ±{POINTS.margin(margin).partition(' ')[0]}."
            sentence = f"{sentence} {inside}".strip()
            brief = f"{lead} {sentence}"
        brief = brief or lead
    elif only in (BETTER, WORSE):
        changes = [f"{POINTS.number(one.value)} {POINTS.name} at {name}" for name, one in effects.items()]
        brief = f"{lead.removesuffix('.')}: {listed(changes)}."
    elif only == CANNOT_TELL:
        name, effect = next(iter(effects.items()))
        brief = f"{lead.removesuffix('.')}: {interval_words(effect)} at {name}."
    if only in (BETTER, WORSE, CANNOT_TELL) and prices and prices[0].cost.value < 0:
        lead = f"{lead.removesuffix('.')}: {prices[0].words}."
        sentence = " ".join([*(price.after_another for price in prices[1:]), _unpruned(findings)])
        brief = brief or lead
    open_ones = [effects[name] for name, outcome in outcomes.items() if outcome == CANNOT_TELL]
    seen = [size for effect in open_ones if (size := effect.detectable()) == size]
    if seen and max(seen) < TOO_COARSE:
        sizes = dict.fromkeys(POINTS.size(size).removesuffix(" points") for size in seen)
        sentence += f" It would have detected ±{listed(list(sizes))} points."
    elif seen and min(seen) >= TOO_COARSE:
        sentence += f" It would have detected nothing below {100 * TOO_COARSE:.0f} points."
    return Answer("Does counting them less (the discount) help pruning?", lead, sentence, brief)


def _changed(effects: Mapping[str, Difference]) -> str:
    """Tell by how much the discount changes accuracy at each setting."""
    told = [f"{interval_words(effect)} at {name}" for name, effect in effects.items()]
    later = [each.replace(f" {POINTS.name}", "", 1) for each in told[1:]]
    return f"{'; '.join([*told[:1], *later])}."


def _unpruned(findings: Findings) -> str:
    return "" if findings.pruning is None else f"Unpruned: {percent(findings.pruning.dense, 1)}."


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


# --- what is thin -----------------------------------------------------------------------------------------------


def thin(findings: Findings) -> str:
    """Tell that a study is small, or under way; empty where it is neither. Its closing lines tell the planned size."""
    if findings.state in ("queued", "running"):
        return "This study is under way: what follows is what it has found so far."
    spec = findings.parameters
    if not _is_small(spec):
        return ""
    size = f"{counted(spec.prompts, 'prompt')}, {counted(len(spec.seeds), 'calibration seed')}"
    items = "" if findings.pruning is None else f", {findings.pruning.items:,} items"
    return f"Small study: {size}{items}."


def _is_small(spec: StudySpec) -> bool:
    planned = SIZES["standard"].values
    return spec.prompts < planned["prompts"] or len(spec.seeds) < len(planned["seeds"])


def _closing(findings: Findings) -> tuple[str, ...]:
    spec, pruning = findings.parameters, findings.pruning
    size = size_told(spec.model) or "one size"
    lines = [f"One model of {size}: results may not transfer.", about(findings)]
    lines.append(f"Hidden sinks: {counted(spec.prompts, 'prompt')}, one seed of the sampler.")
    if pruning is not None:
        lines.append(pruning.noise)
    if _is_small(spec):
        planned = SIZES["standard"].values
        lines.append(
            f"The standard size has {planned['prompts']} prompts, {len(planned['seeds'])} calibration seeds and all "
            "items."
        )
    return (*filter(None, lines), *needs(findings))
