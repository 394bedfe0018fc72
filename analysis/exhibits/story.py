"""The story of a study: what it is about, the answer, and six findings, each with one figure and what it does not show.

The page, the slides and the report read this one table. Every sentence is made of the study's own numbers; a finding
whose numbers a study lacks is left out.
"""

import re
from collections.abc import Sequence

from markupsafe import Markup

from analysis.exhibits import story_sinks
from analysis.exhibits.story_answers import answers_of
from analysis.exhibits.story_parts import (
    about,
    called,
    day,
    factor,
    needs,
    position,
    recipe,
    recordings,
    size_told,
    within,
)
from analysis.figures.story import CANNOT_TELL as NO_ANSWER
from analysis.figures.story import Answer, Story, Told, charts
from analysis.findings import said_of
from analysis.recording.playback import opening_frame
from analysis.specs import QUESTION, SIZES, StudySpec
from analysis.statistics.decisions import NATS, POINTS
from analysis.study import rules
from analysis.study.findings import Findings
from analysis.words import counted

_SHOWN = 9  # tokens in the picture of a sink
TERM = "attention sinks"
WHAT = f"Diffusion language models fill blanks ([MASK]) in steps. They look most at a few tokens, the {TERM}."


def story_of(findings: Findings) -> Story:
    """Return the story of what a study has found by now."""
    picture, told = _picture(findings)
    shown = tuple(said_of("story", findings))
    answers = answers_of(findings)
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
        reading=_reading(answers, POINTS.margin(rules.margin_of(findings))),
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


_ANSWERING = {"hidden": "Hiding tokens", "accuracy": "Pruning"}
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


def _reading(answers: Sequence[Answer], margin: str) -> str:
    """Tell how to read the numbers of the answers. margin: of accuracy, as text."""
    told = ["Intervals: 95 %."] if any("[" in answer.words for answer in answers) else []
    if any(f"less than {margin}" in answer.lead for answer in answers):
        told.append(f"Margin: {margin}, set beforehand.")
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
    where = f"One text at its strongest step ({int(track.frames[at])}); orange: sinks ({above})."
    has = story_sinks.has_sinks(findings)
    told = f"One step of one text: {who} draws {times} an even split. {has}".strip()
    return charts.skyline(tokens, where) + charts.caption(has), told


# --- what is thin -----------------------------------------------------------------------------------------------


def thin(findings: Findings) -> str:
    """Tell that a study is small, or under way; empty where it is neither. Its closing lines tell the planned size."""
    if findings.state in ("queued", "running"):
        return "This study is under way: what follows is what it has found so far."
    spec = findings.parameters
    if not _is_small(spec):
        return ""
    size = f"{counted(spec.prompts, 'prompt')}, {counted(len(spec.seeds), 'calibration seed')}"
    return f"Small study: {size}."


def _is_small(spec: StudySpec) -> bool:
    planned = SIZES["standard"].values
    return spec.prompts < planned["prompts"] or len(spec.seeds) < len(planned["seeds"])


def _closing(findings: Findings) -> tuple[str, ...]:
    spec, pruning = findings.parameters, findings.pruning
    size = size_told(spec.model) or "one size"
    whose = within(findings, spec.model.source) if len(called(findings)) > 1 else "one model"
    lines = [f"Measured in {whose} ({size}): results may not transfer.", about(findings)]
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
