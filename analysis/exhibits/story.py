"""The story of a study: what it is about, the answer, and six findings, each with one figure and what it does not show.

The page, the slides and the report read this one table. Every sentence is made of the study's own numbers; a finding
whose numbers a study lacks is left out.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from analysis.evaluation.ablation_effects import COUNT, MASS, MEASURES
from analysis.exhibits import story_sinks
from analysis.exhibits.story_parts import (
    about,
    accuracies,
    at_equal_attention,
    called,
    changes_told,
    discounts,
    factor,
    needs,
    of_cost,
    outcomes_of,
    position,
    recordings,
    spec_of,
    text_changed,
    text_in_words,
    won_back,
)
from analysis.figures.story import Answer, Story, charts
from analysis.findings import said_of
from analysis.recording.playback import opening_frame
from analysis.specs import QUESTION, SIZES, PruneSpec, StudySpec, detail
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
from analysis.study.findings import Cause, Contrast, Findings
from analysis.words import counted, listed, percent

_SHOWN = 9  # tokens in the picture of a sink
TERM = "attention sinks"
WHAT = (
    f"Diffusion language models unmask text in steps. A few tokens, {TERM}, draw several times their "
    "share of attention."
)


def story_of(findings: Findings) -> Story:
    """Return the story of what a study has found by now."""
    picture, told = _picture(findings)
    answers = tuple(filter(None, (_matter(findings), _discount(findings))))
    sentences = " ".join(answer.sentence for answer in answers)
    reading = " ".join(told for sign, told in _READING.items() if sign in sentences)
    return Story(
        question=QUESTION,
        what=WHAT,
        term=TERM,
        command=findings.command,
        about=about(findings),
        answers=answers,
        thin=thin(findings),
        reading=reading,
        picture=picture,
        picture_told=told,
        findings=tuple(said_of("story", findings)),
        closing=_closing(findings),
    )


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


_READING = {" nats": "Nats: how far predictions move.", "[": "[…]: 95 % interval."}
"""How to read the answers, by what stands in them."""


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
    hatched = "; hatched: [MASK]" if any(token.masked for token in tokens) else ""
    where = f"Step {track.frames[at]} of one text; orange: sinks{hatched}"
    has = story_sinks.has_sinks(findings)
    told = f"One step of one text: {who} draws {times} an even split. {has}".strip()
    return charts.skyline(tokens, times, where) + charts.caption(has), told


# --- the answer -------------------------------------------------------------------------------------------------

_YES_NO = ("Yes: ", "No: ", "It depends: ")


def _matter(findings: Findings) -> Answer | None:
    models = list(dict.fromkeys(cause.model for cause in findings.causes))
    if not models:
        return None
    causes = [cause for cause in findings.causes if cause.model == models[0]]
    spec = spec_of(findings)
    text = "" if MEASURES[spec.primary].percent else text_in_words(causes)
    sentence, lead = rules.matter_sentence(causes, spec, "hiding them", numbers=not text), ""
    sentence = sentence.replace("its predictions", "predictions", 1).replace("its", "the", 1)
    for word in _YES_NO:
        if sentence.startswith(word):
            lead, sentence = f"{word.removesuffix(': ')}.", sentence.removeprefix(word)
    told = f"{sentence[0].upper()}{sentence[1:]} {text}".strip()
    if lead == "It depends.":
        lead, told = _token_for_token(causes, spec, told)
    return Answer("Do sinks matter?", lead, told)


def _token_for_token(causes: Sequence[Cause], spec: StudySpec, told: str) -> tuple[str, str]:
    """Return lead and sentence where hiding sinks changes more than hiding as many other tokens, but not more
    than hiding others with as much attention. told: the sentence where predictions or text were not measured.
    """
    amounts, levels = text_changed(causes), changes_told(causes)
    beside = at_equal_attention(causes, rules.shift_of(spec, "divergence"))
    if COUNT not in amounts or not beside:
        return "Per token, yes.", told
    first = f"{levels[0].upper()}{levels[1:]}" if levels else f"Tokens of 100 that change: {listed(_apart(amounts))}"
    return f"Per token, yes; at equal attention, {beside}.", f"{first}."


def _apart(amounts: Mapping[str, str]) -> list[str]:
    """Return the differences from both controls, with their names."""
    return [
        f"{amounts[COUNT]} than with as many others hidden",
        f"{amounts[MASS]} than with others of as much attention",
    ]


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
    sentence = _pruned(findings, by_setting)
    open_ones = [effects[name] for name, outcome in outcomes.items() if outcome == CANNOT_TELL]
    seen = [size for effect in open_ones if (size := effect.detectable()) == size]
    if seen and max(seen) < TOO_COARSE:
        sizes = dict.fromkeys(POINTS.size(size).removesuffix(" points") for size in seen)
        sentence += f" It would have detected ±{listed(list(sizes))} points."
    elif seen and min(seen) >= TOO_COARSE:
        sentence += f" It would have detected nothing below {100 * TOO_COARSE:.0f} points."
    lead, brief, margin = lead_of(set(outcomes.values())), "", POINTS.margin(rules.margin_of(findings))
    if set(outcomes.values()) == {EQUIVALENT}:
        lead, brief = f"No: less than {margin}.", f"No: accuracy changes by less than {margin}."
        gains, back = any(one.shown and one.value > 0 for one in effects.values()), won_back(findings, by_setting)
        if gains:
            lead = f"Not by {margin} or more."  # significant, and too small to matter
        if back is not None and back[1] > rules.margin_of(findings):
            lead = brief = f"{'Little' if gains else 'No'}: at {back[0]} it wins back {of_cost(*back[1:])}."
    elif set(outcomes.values()) in ({BETTER}, {WORSE}):
        changes = [f"{POINTS.number(one.value)} {POINTS.name} at {name}" for name, one in effects.items()]
        brief = f"{lead.removesuffix('.')}: {listed(changes)}."
    return Answer("Does counting them less (discount) help?", lead, sentence, brief)


def _pruned(findings: Findings, by_setting: Mapping[str, Contrast]) -> str:
    """Tell the accuracy of the dense model, and of the pruned ones without and with the discount, at each setting with
    the difference; differences alone where the study does not hold the accuracies.
    """
    back = won_back(findings, by_setting)
    first = next(iter(by_setting)) if back is None else back[0]
    ordered = {first: by_setting[first], **by_setting}
    told = {name: interval_words(contrast.effect) for name, contrast in ordered.items()}
    later = {name: words.replace(f" {POINTS.name}", "", 1) for name, words in list(told.items())[1:]}
    levels = {name: accuracies(findings, contrast) for name, contrast in by_setting.items()}
    pairs = {name: [percent(np.mean(values), 1) for values in both] for name, both in levels.items() if both[0]}
    if findings.pruning is None or pairs.keys() != told.keys():
        changes = listed([f"{told[first]} at {first}", *(f"{words} at {name}" for name, words in later.items())])
        return f"Counting sinks less while pruning changes accuracy by {changes} sparsity."
    dense, (without, discounted) = percent(findings.pruning.dense, 1), pairs[first]
    others = "; ".join(f"{name}: {' and '.join(pairs[name])} ({words})" for name, words in later.items())
    return (
        f"Pruning {first} takes accuracy from {dense} to {without}; with it, to {discounted} "
        f"({told[first]}).{others and f' Pruning {others}.'}"
    )


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


def cost_at(findings: Findings, sparsity: float) -> float | None:
    """Return how much accuracy a study lost by pruning without the discount, a share; None where that is not stored."""
    for contrast in discounts(findings).values():
        without = accuracies(findings, contrast)[0]
        if contrast.sparsity == sparsity and without and findings.pruning is not None:
            return findings.pruning.dense - float(np.mean(without))
    return None


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
    spec = spec_of(findings)
    if not _is_small(spec):
        return ""
    size = f"{counted(spec.prompts, 'prompt')}, {counted(len(spec.seeds), 'calibration seed')}"
    items = "" if findings.pruning is None else f", {findings.pruning.items:,} items"
    return f"Small study: {size}{items}."


def _is_small(spec: StudySpec) -> bool:
    planned = SIZES["standard"].values
    return spec.prompts < planned["prompts"] or len(spec.seeds) < len(planned["seeds"])


def _closing(findings: Findings) -> tuple[str, ...]:
    spec, pruning = spec_of(findings), findings.pruning
    lines = ["One model of one size: it says nothing about others.", about(findings)]
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
