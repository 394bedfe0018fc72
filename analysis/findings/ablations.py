"""Sentences on an ablation over many prompts beside its controls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from analysis.evaluation.ablation_effects import (
    COUNT,
    MASKED,
    MASS,
    UNIT,
    Begins,
    Change,
    Row,
    answer_rows,
    as_change,
    begins_of,
    changes_of,
    effect_of,
    length_of,
    means_of,
    rise_of,
)
from analysis.specs import CONTROLS, INTERVENTIONS, MASS_TOLERANCE
from analysis.statistics.decisions import NATS, Unit, interval_words
from analysis.statistics.differences import Difference
from analysis.words import counted, listed, percent

Summary = Mapping[str, Any]
"""The summary of an `ablate_set` job: `rows` and their `effects`."""
PREDICTIONS: Final = "divergence"
"""The measure of how far predictions shift."""
HIDDEN: Final = "Hidden: not attended to"
"""What hiding a token is, without a full stop."""

# --- the answer -------------------------------------------------------------------------------------------------

THAN: Final[Mapping[str, str]] = {name: CONTROLS[name].title for name in (COUNT, MASKED, MASS)}
"""The controls of the answer, as after "than hiding"."""
_TEXT: Final = "nll"
_MANIFOLD = 2.0  # nats, from which on perplexity changes by a multiple rather than by per cent
TOKENS: Final = Unit("tokens", 100.0, 0)
"""Changes of the text: of 100 tokens."""
LENGTH: Final = Unit("tokens", 1.0, 0)
"""Changes of where a text ends."""
Levels = Mapping[str, tuple[float, Difference]]
"""What is measured with the tokens of each control hidden, and by how much it is more with the sinks hidden."""
PER_UNIT: Final = "Per unit of attention"
"""The beginning of the answer's last sentence."""
PERPLEXITY: Final = (
    "Perplexity of each text under the untouched model, lower is better: e to the negative log-likelihood per token, "
    "over all tokens of all texts up to where they end; one that does not end counts whole. Of a diffusion model that "
    "is the bound of LLaDA (arXiv 2502.09992)."
)
"""What perplexity is."""
_THAN: Final = {1: "more than with", -1: "less than with", 0: "not significantly more or less than with"}
_LATER: Final = {1: "later than with", -1: "earlier than with", 0: "not significantly earlier or later than with"}
_HIGHER: Final = {1: "higher than with", -1: "lower than with", 0: "not significantly higher or lower than with"}
MORE_OR_LESS: Final = {1: "significantly more", -1: "significantly less", 0: "not significantly more or less"}
"""Words for the side of a difference."""


def perplexity(nats: float) -> str:
    """Return the perplexity of a negative log-likelihood in nats per token, with two significant digits."""
    value = float(np.exp(nats))
    return f"{value:#.2g}".removesuffix(".") if value < 99.5 else f"{float(f'{value:.2g}'):,.0f}"


def _shares(difference: Difference) -> tuple[float, ...]:
    """Return estimate and ends of a difference in nats per token as per cent of perplexity."""
    return tuple(100 * (float(np.exp(end)) - 1) for end in (difference.value, difference.low, difference.high))


def perplexity_change(difference: Difference) -> str:
    """Return a difference in nats per token as a change of perplexity: `−18 % [−32, −2]`."""
    value, low, high = (f"{share:+,}".replace("-", "−").replace("+0", "0") for share in map(round, _shares(difference)))
    return f"{value} % [{low}, {high}]"


def perplexity_seen(difference: Difference) -> str:
    """Return which difference in perplexity the data could have shown: `21 % of perplexity`, or of few prompts `240
    times the perplexity`; empty if unknown."""
    size = difference.detectable()
    if size is None or not np.isfinite(size):
        return ""
    if size >= _MANIFOLD:
        return f"{perplexity(size)} times the perplexity"
    return f"{float(f'{100 * np.expm1(size):.2g}'):g} % of perplexity"


def could_show(differences: Mapping[str, Difference]) -> str:
    """Say which difference in perplexity would have been detected from each control from which that with the sinks
    hidden is not significantly apart, after a space; empty where there is none. differences: by control, in nats.
    """
    seen = {of: perplexity_seen(one) for of, one in differences.items() if not side_of(one)}
    told = [f"{size} from {THAN[of]}" for of, size in seen.items() if size]
    return f" A difference of {listed(told)} would have been detected." if told else ""


def moved(nats: float, rise: Difference) -> str:
    """Return what hiding some tokens does to perplexity: `raises perplexity from 2.6 to 4.0`. nats: the negative
    log-likelihood with these hidden; rise: by how much that is above the one with nothing hidden."""
    before, after, side = perplexity(nats - rise.value), perplexity(nats), side_of(rise)
    if not side:
        return f"does not significantly change perplexity ({before} to {after})"
    return f"{'raises' if side > 0 else 'lowers'} perplexity from {before} to {after}"


def answer(summary: Summary) -> list[str]:
    """Say what hiding the sinks does to the perplexity of the text beside hiding each control. Empty where sinks were
    not compared.
    """
    if told := _no_sinks(summary["rows"]):
        return [told]
    compared = effects_by_control(summary, _TEXT)
    if not compared:
        return []
    row = next(iter(compared.values()))
    rise = rise_of(summary["rows"], row)
    begins = {of: found for of, one in compared.items() if (found := begins_of(summary["rows"], one)) is not None}
    said = perplexity_with_each(rise, *levels_by_control(summary, compared), begins, row["intervention"])
    return [*said[:-1], f"{said[-1]}{_detectable(compared)}"]


def perplexity_with_each(
    rise: Difference, sinks: float, others: Levels, begins: Mapping[str, Begins] | None = None, done: str = "attention"
) -> list[str]:
    """Say beside which controls hiding the sinks hurts the text more, then beside which it does not, then the same of
    beginnings alike in length. Of as many random tokens and other masked positions, where perplexity exceeds both on
    all prompts, only the one that it exceeds by less is told. All are in nats per token. rise: with the sinks, above
    nothing. done: to the positions, of `INTERVENTIONS`. begins: by control, where measured.
    """
    whole = max(difference.n for _, difference in others.values())
    exceeded = {of: level for of, (level, one) in others.items() if side_of(one) > 0 and one.n == whole and of != MASS}
    told = {
        of: level for of, level in others.items() if of not in exceeded or of == max(exceeded, key=exceeded.__getitem__)
    }
    hurt = {of: each for of, each in told.items() if side_of(each[1]) > 0}
    rest = {of: each for of, each in told.items() if of not in hurt}
    who = "Hiding the sinks" if done == "attention" else f"Sinks, {INTERVENTIONS[done].title}: this"
    if not hurt or side_of(rise) <= 0 or any(one.n < whole for _, one in hurt.values()):
        said = [f"{who} {moved(sinks, rise)}: {_beside_each(told, _HIGHER, perplexity)}."]
    else:
        than = "than hiding" if done == "attention" else "than with"
        levels = listed([perplexity(level) for level, _ in hurt.values()])
        before = perplexity(sinks - rise.value)
        said = [
            f"{who} hurts the text more {than} {listed([THAN[of] for of in hurt])}: perplexity {perplexity(sinks)} "
            f"against {levels} (nothing hidden: {before})."
        ]
        said += [f"Perplexity is {_beside_each(rest, _HIGHER, perplexity, whole)}."] * bool(rest)
    return [*said, *_of_beginnings(begins or {}, told)]


def _of_beginnings(begins: Mapping[str, Begins], told: Levels) -> list[str]:
    """Say by how much perplexity is higher or lower than with each control over the beginnings that all texts of a
    prompt reach; nothing where texts are alike in length, or that was not measured."""
    alike = {of: begins[of] for of in told if of in begins}
    if not alike or not any(one.shorter for one in alike.values()):
        return []
    each = listed([f"{perplexity_change(one.sinks)} against {THAN[of]}" for of, one in alike.items()])
    tokens = max(one.tokens for one in alike.values())
    return [f"Over the tokens that all texts of a prompt reach (mean: {tokens:.0f}): {each}."]


def _beside_each(others: Levels, words: Mapping[int, str], told: Callable[[float], str], whole: int = 0) -> str:
    """Say on which side of each control a level with the sinks lies, and the level with it. words: by the side. whole:
    number of prompts of most controls; of the largest here by default."""
    whole = whole or max(difference.n for _, difference in others.values())
    by_side: dict[int, list[str]] = {}
    for of, (value, difference) in others.items():
        level = told(value)
        if difference.n < whole:  # on some prompts no tokens draw as much
            level += f" beside {told(value + difference.value)} over {difference.n} prompts"
        by_side.setdefault(side_of(difference), []).append(f"{THAN[of]} ({level})")
    return ", ".join(f"{words[side]} {listed(by_side[side])}" for side in (1, -1, 0) if side in by_side)


def answer_in_numbers(summary: Summary) -> list[str]:
    """Say how many tokens change, how far predictions shift, and what is left of both per unit of attention. Empty
    where sinks were not compared.
    """
    return list(filter(None, (_changed(summary), _predictions(summary), _per_unit(summary["effects"]))))


def _changed(summary: Summary) -> str:
    """Say how many tokens of the text change with the sinks and with each control hidden."""
    compared = effects_by_control(summary, "aligned")
    return tokens_changed(*levels_by_control(summary, compared), summary.get("unrelated")) if compared else ""


def tokens_changed(sinks: float, others: Levels, unrelated: float | None) -> str:
    """Say how many tokens of 100 change with the sinks and with the tokens of each control hidden. sinks: a share of
    the tokens. unrelated: the share that two unrelated texts have in common, where known.
    """
    scale = "" if unrelated is None else f" (two unrelated texts: {_tokens(1 - unrelated)})"
    beside = listed([f"{_tokens(value)} with {THAN[of]}" for of, (value, _) in others.items()])
    return f"Hiding the sinks changes {_tokens(sinks)} of 100 tokens{scale}, {beside}."


Held = tuple[float, float]
"""Of some tokens, the share of all attention that they draw, and the share of them that is masked."""


def caveats(summary: Summary) -> str:
    """Say what the comparison leaves open: where texts end earlier, where repetition flatters those without sinks, and
    where no control matches the sinks in both attention and masking. Empty where sinks were not compared.
    """
    compared, rows = effects_by_control(summary, _TEXT), summary["rows"]
    held = {of: changes_of(rows, row) for of, row in compared.items()}
    return caveats_of(
        {of: ((one.share, one.masked), (two.share, two.masked)) for of, (one, two) in held.items()},
        {of: means_of(rows, row, "repeated") for of, row in compared.items()},
        next((ends_of(rows, row) for row in compared.values()), (0.0, 0.0)),
        lengths(summary),
    )


def ends_of(rows: Sequence[Row], effect: Row) -> tuple[float, float]:
    """Return how many tokens texts have up to where they end with the sinks and with nothing hidden."""
    return means_of(rows, effect, "tokens")[0], means_of(rows, effect, "tokens_before")[0]


def lengths(summary: Summary) -> Levels:
    """Return how many tokens texts have up to where they end with the tokens of each control hidden, and by how many
    they have more with the sinks hidden."""
    rows = summary["rows"]
    compared = effects_by_control(summary, _TEXT)
    return {of: (means_of(rows, row, "tokens")[1], length_of(rows, row)) for of, row in compared.items()}


def caveats_of(
    held: Mapping[str, tuple[Held, Held]],
    repeated: Mapping[str, tuple[float, float]],
    tokens: tuple[float, float],
    lengths: Levels,
) -> str:
    """Say the same of what the sinks and the tokens of each control hold, of how much the texts repeat, and of how long
    they are."""
    return " ".join(filter(None, (endings(tokens, lengths) if lengths else "", repetition(repeated), _no_match(held))))


def endings(tokens: tuple[float, float], others: Levels) -> str:
    """Say where texts end with the sinks and with the tokens of each control hidden; empty where that is alike. Beyond
    their end perplexity does not count. tokens: of the texts with the sinks and with nothing hidden, 0 if not known.
    """
    if not any(side_of(difference) for _, difference in others.values()):
        return ""
    most = max(difference.n for _, difference in others.values())
    sides = {side_of(difference) for _, difference in others.values()}
    if len(others) == 1 or len(sides) > 1 or any(difference.n < most for _, difference in others.values()):
        return (
            f"With sinks hidden, texts end at token {_told(tokens)}, {_beside_each(others, _LATER, '{:.0f}'.format)}."
        )
    ends = dict.fromkeys(f"{value:.0f}" for value in sorted(value for value, _ in others.values()))
    alike = " to ".join(dict.fromkeys((next(iter(ends)), [*ends][-1])))
    return f"With sinks hidden, texts end at token {_told(tokens)}, {_LATER[sides.pop()]} any control ({alike})."


def _told(tokens: tuple[float, float]) -> str:
    hidden, untouched = tokens
    return f"{hidden:.0f}{f' (nothing hidden: {untouched:.0f})' if untouched else ''}"


def ends_beside(tokens: tuple[float, float], others: Levels) -> tuple[str, ...]:
    """Return where texts end with the sinks hidden, then with the tokens of each control hidden, and how much later or
    earlier that is; nothing where `endings` is empty. tokens, others: as of `endings`.
    """
    if not endings(tokens, others):
        return ()
    sides = (
        f"ends at {at:.0f}: {size_told(one, LENGTH, 'later' if one.value < 0 else 'earlier')}"
        for at, one in others.values()
    )
    return f"text ends at token {tokens[0]:.0f}", *sides


def repetition(repeated: Mapping[str, tuple[float, float]]) -> str:
    """Say that perplexity is lower for repetition, where texts without the sinks repeat more than those without the
    tokens of the strictest control. repeated: the shares of tokens that equal the one before, at both, by control.
    """
    control = next((name for name in (MASS, MASKED, COUNT) if name in repeated), None)
    if control is None or repeated[control][0] - repeated[control][1] < _REPEATS:
        return ""
    sinks, others = (percent(share, 0) for share in repeated[control])
    return f"Repetition lowers perplexity: {sinks} of tokens repeat the one before, {others} with {THAN[control]}."


_REPEATS: Final = 0.01  # difference in the share of repeated tokens that is told


def _no_match(held: Mapping[str, tuple[Held, Held]]) -> str:
    """Say which of attention and masking each of the two strict controls lacks; empty where one of them lacks none."""
    if not {MASKED, MASS} <= held.keys():
        return ""
    (drawn, _), (light, _) = held[MASKED]
    (_, masked), (_, fewer) = held[MASS]
    if not neither_matches((drawn, light), (masked, fewer)):
        return ""
    return "No control matches the sinks in both masking and attention."


def neither_matches(attention: tuple[float, float], masking: tuple[float, float]) -> bool:
    """Return whether no control matches the sinks in both. attention: that sinks and other masked positions draw;
    masking: the share of sinks, and of random tokens of equal attention, that is masked.
    """
    return is_less(attention[1], attention[0]) and is_less(masking[1], masking[0])


def size_told(difference: Difference, unit: Unit, word: str) -> str:
    """Return the size of a difference, the word for its side and the interval: `20 fewer [10, 29]`."""
    value, low, high = difference.value, difference.low, difference.high
    size = replace(difference, value=-value, low=-high, high=-low) if value < 0 else difference
    number, _, ends = interval_words(size, unit).replace("+", "").partition(f" {unit.name}")
    return f"{number} {word}{ends}"


def effects_by_control(summary: Summary, measure: str) -> dict[str, dict[str, Any]]:
    """Return the changes of the answer in a measure by their control."""
    return {row["against"]: as_change(row) for row in answer_rows(summary["effects"], measure, tuple(THAN))}


def levels_by_control(summary: Summary, compared: Mapping[str, Row]) -> tuple[float, Levels]:
    """Return the change with the sinks hidden, and that with each control. compared: of `_compared`."""
    changes = {of: changes_of(summary["rows"], row) for of, row in compared.items()}
    sinks = next((both[0].value for both in changes.values()), 0.0)
    return sinks, {of: (changes[of][1].value, effect_of(row)) for of, row in compared.items()}


def _predictions(summary: Summary) -> str:
    """Say how far the predictions shift with the sinks hidden, and whether that is more than with each control."""
    compared = effects_by_control(summary, PREDICTIONS)
    if not compared:
        return ""
    sinks, others = levels_by_control(summary, compared)
    return f"With the sinks hidden, predictions shift {_beside(sinks, others)}.{_detectable(compared)}"


def _beside(sinks: float, others: Levels) -> str:
    """Say by how much predictions shift with the sinks hidden, and whether that is more than with each control, as
    after "shift": `by 0.09 nats (KL), more than with as many random tokens (0.046), less than with …`.
    """
    by_side: dict[int, list[str]] = {}
    for of, (value, difference) in sorted(others.items(), key=lambda each: -side_of(each[1][1])):
        by_side.setdefault(side_of(difference), []).append(f"{THAN[of]} ({value:.2g})")
    told = [f"{_THAN[side]} {listed(those)}" for side, those in by_side.items()]
    return f"by {sinks:.2g} nats (KL), {', '.join(told)}"


def too_light(sinks: Change, control: Change) -> str:
    """Say how much attention a control's tokens draw where that is less than the sinks draw; else nothing."""
    light = is_less(control.share, sinks.share)
    return f"{percent(control.share, 0)} beside {percent(sinks.share, 0)}" if light else ""


def is_less(control: float, sinks: float) -> bool:
    """Return whether what a control's tokens hold is less than what the sinks hold, beyond the tolerance."""
    return control < (1 - MASS_TOLERANCE) * sinks


def _tokens(share: float) -> str:
    """Return a share of changed tokens as a number of 100."""
    return f"{100 * share:.2g}" if 0.0005 < share < 0.1 else f"{100 * share:.0f}"


def _per_unit(effects: Sequence[Row]) -> str:
    """Say what is left of the differences per unit of attention hidden."""
    told: dict[int, list[str]] = {}
    for measure, what in ((_TEXT, "perplexity"), (PREDICTIONS, "the predictions")):
        for row in answer_rows(effects, measure, (UNIT,)):
            told.setdefault(side_of(effect_of(as_change(row))), []).append(what)
    if not told:
        return ""
    if list(told) == [0]:
        return f"{PER_UNIT}, sinks and {THAN[COUNT]} do not differ significantly."
    clauses = [f"sinks change {listed(what)} {MORE_OR_LESS[side]}" for side, what in told.items() if side]
    rest = f"; for {listed(told[0])} no difference is significant" if 0 in told else ""
    return f"{PER_UNIT}, {', and '.join(clauses)} than {THAN[COUNT]}{rest}."


def first_beside_mean(summary: Summary) -> str:
    """Say how many tokens of the text that is shown change with the sinks hidden, beside the mean over all prompts;
    empty where sinks were not compared. Of texts of two lengths only the share is told.
    """
    drawn = answer_rows(summary["effects"], "aligned", (COUNT,))
    if not drawn:
        return ""
    target = next(row for row in summary["rows"] if _same_target(row, drawn[0]))
    here, mean = 1 - target["aligned"][summary["shown"]], changes_of(summary["rows"], drawn[0])[0].value
    lengths, share = {len(words) for words in _first_texts(summary)}, percent(here, 0)
    [length] = lengths if len(lengths) == 1 else [0]
    changed = f"{here * length:.0f} of {length} tokens ({share};" if length else f"{share} of tokens ("
    return f"Hiding sinks changes {changed}{' ' * bool(length)}over all prompts {percent(mean, 0)})."


def _first_texts(summary: Summary) -> list[Sequence[str]]:
    """Return the tokens of the text that is shown, untouched and with its sinks hidden; empty where none are."""
    hidden = [row["words"] for row in summary["texts"] if _of_hidden_sinks(row)]
    return [summary["untouched"], *hidden] if hidden else []


def _of_hidden_sinks(row: Row) -> bool:
    return not row["control"] and row["intervention"] == "attention" and row["target"] == "sinks"


def _same_target(row: Row, effect: Row) -> bool:
    return not row["control"] and all(row[name] == effect[name] for name in ("intervention", "target"))


def _no_sinks(rows: Sequence[Row]) -> str:
    """Say where no prompt had a sink by the definition in use; else nothing."""
    targets = [row for row in rows if row["target"] == "sinks" and not row["control"]]
    if not targets or any(any(row["count"]) for row in targets):
        return ""
    return f"None of the {len(targets[0]['count'])} prompts has a sink by this definition, so nothing was compared."


def _detectable(compared: Mapping[str, Row]) -> str:
    """Say which difference would have been detected, where none is significant."""
    change = compared.get(COUNT)
    if change is None or any(side_of(effect_of(row)) for row in compared.values()):
        return ""
    size = effect_of(change).detectable()
    if size is None or not np.isfinite(size):
        return ""
    amount = perplexity_seen(effect_of(change)) if change["measure"] == _TEXT else f"{size:.2g} nats"
    return f" A difference of {amount} from as many random tokens would have been detected."


def without_sinks(effect: Row) -> str:
    """Say how many prompts are left out; nothing if none is."""
    count = effect["left_out"]
    return f" {counted(count, 'prompt')} had no sinks and {'are' if count > 1 else 'is'} left out." if count else ""


# --- predictions against perplexity -------------------------------------------------------------------------------

WHERE: Final[Mapping[str, str]] = {COUNT: "Against as many matched tokens", MASS: "At equal attention"}
"""The controls against which predictions and perplexity are compared in words."""


def disagreements(summary: Summary) -> list[str]:
    """Say against which controls hiding sinks does another thing to the predictions than to perplexity."""
    found = {
        (row["intervention"], row["against"], row["measure"]): effect_of(row)
        for row in summary["effects"]
        if row["target"] == "sinks" and row["low"] is not None
    }
    interventions = dict.fromkeys(name for name, _, _ in found)
    told = []
    for name in interventions:
        for control, where in WHERE.items():
            pair = [found.get((name, control, measure)) for measure in (PREDICTIONS, _TEXT)]
            if pair[0] is not None and pair[1] is not None:
                which = (
                    where if len(interventions) == 1 else f"{INTERVENTIONS[name].title.capitalize()}: {where.lower()}"
                )
                told.append(disagreement(pair[0], pair[1], which))
    return list(filter(None, told))


def disagreement(predictions: Difference, text: Difference, where: str) -> str:
    """Say that hiding sinks, compared with one control, does another thing to the predictions than to perplexity; empty
    where both show the same. predictions, text: sinks minus control of `divergence` and of `nll`. where: the control,
    before a comma.
    """
    sides = side_of(predictions), side_of(text)  # 1: more than the control
    if sides[0] == sides[1]:
        return ""
    raised = {1: "perplexity is higher", -1: "perplexity is lower", 0: "perplexity does not differ significantly"}
    return (
        f"{where}, hiding the sinks shifts predictions {MORE_OR_LESS[sides[0]]} "
        f"({interval_words(predictions, NATS)}); {raised[sides[1]]} ({perplexity_change(text)})."
    )


def side_of(effect: Difference) -> int:
    """Return 1 or −1 where an effect lies significantly above or below 0, else 0."""
    if effect.adjusted is not None and not effect.shown:
        return 0
    return int(effect.low > 0) - int(effect.high < 0)


def correction(summary: Summary) -> list[str]:
    """Say over how many tests significance is corrected and what intervals cover; empty where nothing was tested."""
    tests = [row["tests"] for row in summary["effects"] if row["p_holm"] is not None]
    if not tests:
        return []
    return [
        f"Significant: after Holm correction over {counted(max(tests), 'test')} per measure. Intervals cover the "
        "choice of prompts, not the seed."
    ]
