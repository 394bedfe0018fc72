"""One text of a model with and without its sinks: an example of what hiding them does."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from analysis.evaluation.ablation_effects import COUNT, MASKED, MASS
from analysis.exhibits.story_text import AGAINST
from analysis.figures.story import Example, charts
from analysis.figures.story.charts import Line
from analysis.findings.ablations import LENGTH, perplexity, size_told
from analysis.sinks.agreement import Agreement, agreement
from analysis.specs import CONTROLS
from analysis.study import rules
from analysis.study.findings import Cause, Continuation, Findings, Score
from analysis.words import percent


def texts(findings: Findings, model: str) -> Example | None:
    """Return one text of a model as it writes it untouched, with its sinks hidden and with random tokens hidden, of
    equal attention where the study has them, shaded where it differs. None where the study has none."""
    text = next((one for one in findings.continuations if one.model == model), None)
    if text is None:
        return None
    control = MASS if MASS in text.others else COUNT
    alike = [_agreement(text.untouched, words) for words in _variants(text, control)]
    causes = findings.causes_by_model.get(model, ())
    title = early = _ends_early(text, control)
    if not early:
        sinks, others = (int((~each.kept[1]).sum()) for each in alike)
        shares = [percent(int((~each.kept[1]).sum()) / len(each.kept[1]), 0) for each in alike]
        title = (
            f"In one text hiding sinks changes {sinks} of {len(text.hidden)} tokens ({shares[0]}); hiding "
            f"{CONTROLS[control].title}: {others} ({shares[1]})"
        )
    in_place = _by_position(causes, control)
    begins = any(_begins_inside(words) for words in _variants(text, control))
    longest = max(len(text.untouched), *map(len, _variants(text, control)))
    sinks_moved, others_moved = (round((1 - each.by_position) * longest) for each in alike)
    return Example(
        title,
        *text_shown(text, control),
        f"{_SHADED}{_BOS if begins else ''}",
        (_ends_over_all(causes, control, longest) if early else "") + _EXAMPLE,
        f"The others may have moved: by position {sinks_moved} (sinks) and {others_moved} (random) of {longest} "
        f"differ{in_place}.",
    )


def _ends_early(text: Continuation, control: str) -> str:
    """Return a title that tells where the text ends with its sinks hidden, if that is earlier than untouched and than
    with a control's tokens hidden; else nothing.
    """
    if text.scores is None or control not in text.scores[1]:
        return ""
    (_, untouched), (_, sinks), (_, others) = text.scores[0], text.scores[1][""], text.scores[1][control]
    if sinks >= min(untouched, others):
        return ""
    length = len(_variants(text, control)[1])
    instead = f"not within {length}" if others == length else f"at {others}"
    hidden = AGAINST[control] if control == MASS else f"with {CONTROLS[control].title} hidden"
    if others == length == untouched:
        hidden = f"untouched, or {hidden}"
    return f"One text ends at token {sinks} with sinks hidden; {hidden}, {instead}"


_SHADED = "Shaded, underlined: does not line up with the first text. [EOS]: end of text. Faint: after it, not shaded."
_EXAMPLE = "Chosen as typical in changed tokens, perplexity and length."


def _ends_over_all(causes: Sequence[Cause], control: str, length: int) -> str:
    """Tell where texts end over all prompts with their sinks hidden, beside those with a control's tokens hidden; empty
    where that was not measured. length: of a text that does not end.
    """
    cause = rules.cause_of(causes, "nll", control)
    if cause is None or not cause.tokens or cause.longer is None:
        return ""
    apart = size_told(cause.longer, LENGTH, "earlier" if cause.longer.value < 0 else "later")
    others = AGAINST[control] if control == MASS else f"with {CONTROLS[control].title} hidden"
    half = f" (median: {cause.medians[0]:.0f})" if cause.medians[0] else ""
    ends = f"texts end at token {cause.tokens:.0f} with sinks hidden{half}, {apart} than {others}"
    untouched = f"untouched: {cause.tokens_before:.0f}; " if cause.tokens_before else ""
    return f"Over {cause.effect.n} prompts, {ends} ({untouched}capped at {length}). "


def _begins_inside(words: Sequence[str]) -> bool:
    """Return whether a text begins anew where none has ended."""
    return any(word == "[BOS]" and before != "[EOS]" for before, word in pairwise(words))


_BOS = " [BOS] inside a text is an error."


def _variants(text: Continuation, control: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the text with its sinks and with a control's tokens hidden."""
    return text.hidden, text.matched if control == COUNT else text.others[control]


OTHERS_HIDDEN: Mapping[str, str] = {
    name: f"{CONTROLS[name].title[0].upper()}{CONTROLS[name].title[1:]}" for name in (COUNT, MASKED, MASS)
}
"""The controls by what they hide of one text, as its titles call it."""


def text_shown(text: Continuation, control: str = COUNT) -> tuple[Markup, str]:
    """Draw one text and tell it, as `texts`. control: hidden beneath the sinks, of `OTHERS_HIDDEN`."""
    names = "Sinks hidden", f"{OTHERS_HIDDEN[control]} hidden"
    variants = dict(zip(names, _variants(text, control), strict=True))
    same = {name: _kept(text.untouched, words) for name, words in variants.items()}
    changed = {name: sum(not kept for kept in flags) for name, flags in same.items()}
    before, after = ((0.0, 0), {}) if text.scores is None else text.scores
    lines = [Line(f"Nothing hidden{_perplexity(before, ': ')}", text.untouched, None, before[1] or len(text.untouched))]
    for (name, words), key in zip(variants.items(), ("", control), strict=True):
        nats, until = after.get(key, (0.0, 0))
        told = f"{changed[name]} of {len(words)} differ{_left_out(text.untouched, words)}"
        scored = _perplexity((nats, until), ", ")
        if 0 < until < len(words):
            before_end = sum(not kept for kept in same[name][:until])
            told = f"ends at token {until}, {before_end} of {until} differ"
            scored += f" ({changed[name]} of all {len(words)} differ)"
        lines.append(Line(f"{name}: {told}{scored}", words, same[name], until or len(words)))
    told = f"One text, untouched and {'; '.join(line.title.lower() for line in lines[1:])}."
    return charts.aligned(text.prompt, which_prompt(text), lines), told


def _perplexity(score: Score, after: str) -> str:
    """Return the perplexity of a text, up to its end, as the end of its title; empty where it was not measured. after:
    what stands before it."""
    nats, tokens = score
    return f"{after}perplexity {perplexity(nats)}" if tokens else ""


def which_prompt(text: Continuation) -> str:
    """Return which of the prompts a text goes on from."""
    return f"Prompt {text.number} of {text.median_of}"


def _by_position(causes: Sequence[Cause], control: str) -> str:
    """Tell, as the end of a sentence, how many tokens of 100 differ at their position over all prompts, with the sinks
    and with a control's tokens hidden; empty where the study does not hold that."""
    cause = rules.cause_of(causes, "aligned", control)
    if cause is None or cause.by_position is None:
        return ""
    sinks, others = (f"{100 * (1 - agreement):.0f}" for agreement in cause.by_position)
    return f"; over {cause.effect.n} prompts, {sinks} and {others} of 100"


def _left_out(untouched: Sequence[str], words: Sequence[str]) -> str:
    """Tell how many tokens shorter a text is, as the end of its title."""
    shorter = len(untouched) - len(words)
    return f", {shorter} fewer in all" if shorter > 0 else ""


def _kept(first: Sequence[str], second: Sequence[str]) -> tuple[bool, ...]:
    """Return whether each token of the second text is part of its longest alignment with the first, of which the tokens
    that both begin with are one part."""
    begin = next((at for at, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), len(second))
    return (True,) * begin + tuple(_agreement(first[begin:], second[begin:]).kept[1].tolist())


def _agreement(first: Sequence[str], second: Sequence[str]) -> Agreement:
    ids = {word: number for number, word in enumerate(dict.fromkeys((*first, *second)))}
    before, after = (np.array([ids[word] for word in words], np.int64) for words in (first, second))
    return agreement(before, after)
