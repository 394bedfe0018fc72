"""What a study's numbers say: a table of rules, and sentences that claim no more than their intervals and tests hold.

A rule looks at one difference with its interval, its adjusted p and the difference that was asked about. A claim is
what rules are applied to: one row of `CLAIMS`, with a sentence for every outcome.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.evaluation.significance import LEVEL, p_words, points
from analysis.registry import Registry
from analysis.specs import METHODS, StudySpec
from analysis.specs.study import SINK_AWARE
from analysis.study.findings import Cause, Contrast, Effect, Findings


@dataclass(frozen=True)
class Rule:
    """An outcome, and when it holds. help: the rule in words. order: which one speaks where sparsities differ: the
    lowest.
    """

    name: str
    title: str
    help: str
    holds: Callable[[Effect, float], bool]
    order: int


def _tested(effect: Effect) -> bool:
    return effect.p is not None


def _differs(effect: Effect) -> bool:
    p = effect.p if effect.p_adjusted is None else effect.p_adjusted
    return effect.value != 0 and p is not None and p < 1 - LEVEL


def _within(effect: Effect, margin: float) -> bool:
    return -margin <= effect.low and effect.high <= margin


RULES: Registry[Rule] = Registry(
    Rule(
        "waiting", "not all in", "Some answers are still to come, so nothing is tested.", lambda e, d: not _tested(e), 0
    ),
    Rule(
        "small",
        "shown, but smaller than asked about",
        "Adjusted p < 0.05, and the whole interval lies within ± the difference asked about.",
        lambda e, d: _differs(e) and _within(e, d),
        4,
    ),
    Rule(
        "shown",
        "shown",
        "Adjusted p < 0.05, and the difference is positive.",
        lambda e, d: _differs(e) and e.value > 0,
        2,
    ),
    Rule(
        "reversed",
        "shown the other way",
        "Adjusted p < 0.05, and the difference is negative.",
        lambda e, d: _differs(e) and e.value < 0,
        1,
    ),
    Rule(
        "refuted",
        "refuted within ± the difference asked about",
        "Not shown, and the whole interval lies within ± the difference asked about.",
        lambda e, d: _within(e, d),
        5,
    ),
    Rule("not shown", "not shown", "None of the others: the interval leaves both open.", lambda e, d: True, 3),
)
"""The first that holds speaks for a difference."""


def outcome(effect: Effect, margin: float) -> str:
    """The name of the rule that speaks for a difference. margin: the difference asked about, a share."""
    return next(rule.name for rule in RULES.values() if rule.holds(effect, margin))


def together(effects: Sequence[Effect], margin: float) -> str:
    """The name of the rule that speaks for differences at several sparsities.

    Waiting while any waits. Shown, or shown the other way, where it is at any of them; "mixed" where both are. Refuted
    where all are refuted or small. Else not shown.
    """
    names = {outcome(effect, margin) for effect in effects}
    if {"shown", "reversed"} <= names and "waiting" not in names:
        return "mixed"
    return min(names, key=lambda name: RULES[name].order, default="waiting")


# --- claims -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """What is claimed of a contrast. sentences: by outcome, with {method}, {against} and {margin} to be filled in.
    controlled: what the comparison holds equal.
    """

    name: str
    title: str
    sentences: dict[str, str]
    controlled: str


CLAIMS: Registry[Claim] = Registry(
    Claim(
        "discount",
        "Does the discount itself help?",
        {
            "waiting": "Whether discounting the sinks helps is not known yet: runs are still to come.",
            "shown": "Yes: discounting the sinks makes the pruned model better.",
            "reversed": "No: discounting the sinks makes the pruned model worse.",
            "mixed": "It depends on the sparsity: discounting the sinks helps at one and hurts at another.",
            "small": "Discounting the sinks changes the pruned model, but by less than ±{margin} points.",
            "refuted": "No: discounting the sinks changes accuracy by less than ±{margin} points.",
            "not shown": "Not shown: this study cannot tell whether discounting the sinks helps.",
        },
        "{method} and {against} see the same noised text with the same seeds, in the same order and norm, on the same "
        "items with the same masks; the discount is the only thing that differs.",
    ),
    Claim(
        "noise",
        "Does noise in the calibration text help?",
        {
            "waiting": "Whether noise in the calibration text helps is not known yet: runs are still to come.",
            "shown": "Yes: calibrating on noised text makes the pruned model better, with no discount at all.",
            "reversed": "No: calibrating on noised text makes the pruned model worse.",
            "mixed": "It depends on the sparsity: noised text helps at one and hurts at another.",
            "small": "Noised text changes the pruned model, but by less than ±{margin} points.",
            "refuted": "No: noised text changes accuracy by less than ±{margin} points.",
            "not shown": "Not shown: this study cannot tell whether noised text helps.",
        },
        "{method} and {against} see the same text with the same seeds, on the same items with the same masks. The "
        "noise comes with the order of layers and the norm of the published recipe, which differ too.",
    ),
    Claim(
        "recipe",
        "Is the whole recipe better than what it was published against?",
        {
            "waiting": "Whether {method} beats {against} is not known yet: runs are still to come.",
            "shown": "Yes: {method} beats {against}, noise and discount together.",
            "reversed": "No: {method} is worse than {against}.",
            "mixed": "It depends on the sparsity: {method} beats {against} at one and loses at another.",
            "small": "{method} differs from {against}, but by less than ±{margin} points.",
            "refuted": "No: {method} and {against} differ by less than ±{margin} points.",
            "not shown": "Not shown: this study cannot tell {method} from {against}.",
        },
        "{method} and {against} see the same text with the same seeds, on the same items with the same masks. Noise, "
        "order, norm and discount differ together, so a gain alone says nothing about sinks.",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """What is said of a claim. numbers: the differences it rests on, in words. controlled, left_out: sentences. needs:
    what it would take, where it is not shown.
    """

    claim: str
    title: str
    outcome: str
    sentence: str
    numbers: str
    controlled: str
    left_out: str
    needs: str


def verdicts(findings: Findings) -> list[Verdict]:
    """What the study says of every claim that it has numbers for: of each sink-aware method its discount, its noise and
    the whole recipe.
    """
    verdicts = [_matter(cause) for cause in findings.causes]
    if findings.pruning is None:
        return verdicts
    margin = margin_of(findings)
    for contrasts in _groups(findings.pruning.contrasts):
        first = contrasts[0]
        conclusion = together([contrast.effect for contrast in contrasts], margin)
        names = {
            "method": METHODS[first.method].title,
            "against": METHODS[first.against].title,
            "margin": f"{100 * margin:g}",
        }
        claim = CLAIMS[first.kind]
        verdicts.append(
            Verdict(
                first.kind,
                _title(claim, first.method),
                conclusion,
                claim.sentences[conclusion].format(**names),
                _numbers(contrasts),
                claim.controlled.format(**names),
                _left_out(contrasts, findings),
                next((contrast.needs for contrast in reversed(contrasts) if contrast.needs), "")
                if conclusion == "not shown"
                else "",
            )
        )
    return verdicts


_MATTER = {
    "waiting": "Whether the sinks of {model} matter is not known yet.",
    "shown": "Yes: {model} predicts something else when nobody may look at its sinks, more so than when nobody may "
    "look at as many other positions of the same state.",
    "reversed": "No: blocking the sinks of {model} changes less than blocking as many other positions.",
    "not shown": "Not shown: blocking the sinks of {model} changes no more than blocking as many other positions, as "
    "far as these prompts can tell.",
}


def _matter(cause: Cause) -> Verdict:
    """Whether blocking a model's sinks changes more than blocking matched positions."""
    effect = cause.effect
    conclusion = outcome(effect, 0.0)
    conclusion = conclusion if conclusion in _MATTER else "not shown"
    difference = f"{effect.value:+.3g} nats [{effect.low:+.3g}, {effect.high:+.3g}]".replace("-", "−")
    p = effect.p if effect.p_adjusted is None else effect.p_adjusted
    held = " and ".join("none" if share is None else f"{share:.1%}" for share in cause.shares)
    return Verdict(
        "matter",
        "Do sinks matter?",
        conclusion,
        _MATTER[conclusion].format(model=cause.model),
        f"Change of the predictions of {cause.model}, sinks − matched positions: {difference}"
        + (f", {p_words(p)}." if p is not None else "."),
        f"As many positions of the same state are blocked in every step, in all layers. Blocked attention: {held}, "
        "which differs, as sinks are where attention goes.",
        f"The interval is of the choice of {effect.n} prompts; the seed of the sampler and of the matched positions is "
        "one. Not covered: other texts, other samplers, what changes in quality.",
        "",
    )


def answer(findings: Findings) -> list[str]:
    """The answer to the study's question, in a few sentences: the first verdicts, put together."""
    first = {verdict.claim: verdict for verdict in reversed(verdicts(findings))}
    outcomes = {claim: verdict.outcome for claim, verdict in first.items()}
    sentences = []
    if "matter" in first:
        sentences.append(f"Do sinks matter? {first['matter'].sentence}")
    if "discount" in first:
        sentences.append(f"Does discounting sinks help pruning? {first['discount'].sentence}")
    if outcomes.get("noise") == "shown" and outcomes.get("discount") in ("refuted", "small", "not shown"):
        sentences.append("What gain there is comes with the noise in the calibration text, not with the sinks.")
    elif outcomes.get("recipe") == "shown" and outcomes.get("discount") in ("refuted", "small", "not shown"):
        sentences.append("The whole recipe gains, but that gain cannot be put down to the sinks.")
    elif outcomes.get("recipe") == "shown" and outcomes.get("discount") == "shown":
        sentences.append("The gain of the published recipe is, at least in part, the discount's.")
    return sentences


def margin_of(findings: Findings) -> float:
    """The difference asked about, a share."""
    return StudySpec.model_validate(findings.spec).difference / 100


def _title(claim: Claim, method: str) -> str:
    """A claim's title; of a second sink-aware method with its name."""
    if method in SINK_AWARE:
        return claim.title
    return f"{claim.title.removesuffix('?')} ({METHODS[method].title})?"


def _groups(contrasts: Sequence[Contrast]) -> list[list[Contrast]]:
    """Contrasts of one claim and one pair of methods, along the sparsities; the discount first."""
    groups: dict[tuple[str, str, str], list[Contrast]] = {}
    for contrast in contrasts:
        groups.setdefault((contrast.kind, contrast.method, contrast.against), []).append(contrast)
    order = list(CLAIMS)
    return [
        sorted(group, key=lambda contrast: contrast.sparsity)
        for _, group in sorted(groups.items(), key=lambda item: order.index(item[0][0]))
    ]


def effect_words(effect: Effect) -> str:
    """`−0.1 points [−0.5, +0.3], p = 0.81`: the p is adjusted, and there is none while answers come in."""
    p = effect.p if effect.p_adjusted is None else effect.p_adjusted
    interval = f"{points(effect.value)} points [{points(effect.low)}, {points(effect.high)}]"
    return f"{interval}, interim" if effect.p is None or p is None else f"{interval}, {p_words(p)}"


def _numbers(contrasts: Sequence[Contrast]) -> str:
    first = contrasts[0]
    pair = f"{METHODS[first.method].title} − {METHODS[first.against].title}"
    numbers = "; ".join(f"at {100 * contrast.sparsity:g} % {effect_words(contrast.effect)}" for contrast in contrasts)
    return f"{pair}: {numbers}."


def _left_out(contrasts: Sequence[Contrast], findings: Findings) -> str:
    """What the intervals hold, and what a study of one model and these tasks cannot say."""
    pruning = findings.pruning
    held = pruning.noise if pruning is not None else ""
    return f"{held} Not covered: other models, other tasks, other calibration texts and lengths."


def rule_help(outcome: str) -> str:
    """The rule behind an outcome, in words."""
    if outcome == "mixed":
        return "Shown at one sparsity, and shown the other way at another."
    return RULES[outcome].help
