"""Sources of a gain in pruning: noise, order and norm, the discount, and whether the discount acts by the sinks.

Rules make the sentences from the decisions on single differences (`analysis/statistics/decisions.py`).
"""

from analysis.evaluation.conditions import PLACEBOS
from analysis.specs import METHODS, RECIPE
from analysis.statistics.decisions import (
    BETTER,
    CANNOT_TELL,
    EQUIVALENT,
    POINTS,
    WAITING,
    WORSE,
    conclusions,
    decide,
    interval_words,
    percent,
    seen,
)
from analysis.study.findings import Contrast, Pruning
from analysis.words import listed

_GAINS = {
    "noise": "the gain of {method} over {against} comes with noise, order and norm together: the discount changes "
    "accuracy by less than {margin}.",
    "no discount": "{method} beats {against}, but neither part is found better by itself: the discount changes "
    "accuracy by less than {margin}, and noise, order and norm together are not found better.",
    "hurts": "{method} beats {against} although its discount makes it worse.",
    "discount": "the discount is at least part of the gain of {method} over {against}.",
    "open": "{method} beats {against}, but this study cannot tell whether the discount is part of that.",
}


def gains(pruning: Pruning, margin: float, above: bool) -> list[str]:
    """Tell what a gain of the whole recipe comes with, at the sparsities where there is one; one sentence per method
    and reason.
    """
    contrasts = sorted(pruning.contrasts, key=lambda contrast: contrast.sparsity)
    decided = {(one.kind, one.method, one.sparsity): decide(one.effect, margin, above) for one in contrasts}
    better = [
        one for one in contrasts if one.kind == "recipe" and decided["recipe", one.method, one.sparsity] == BETTER
    ]
    where: dict[tuple[str, str, str], list[str]] = {}
    for one in better:
        control = METHODS[one.method].control or ""
        discount = decided.get(("discount", one.method, one.sparsity), WAITING)
        noise = decided.get(("noise", control, one.sparsity), WAITING)
        reason = {BETTER: "discount", WORSE: "hurts", EQUIVALENT: "noise" if noise == BETTER else "no discount"}
        where.setdefault((one.method, one.against, reason.get(discount, "open")), []).append(percent(one.sparsity))
    told = [
        f"At {listed(sparsities)} "
        + _GAINS[reason].format(
            method=METHODS[method].title, against=METHODS[against].title, margin=POINTS.margin(margin)
        )
        for (method, against, reason), sparsities in where.items()
    ]
    return [*told, *filter(None, (_carried(one, pruning, margin, above) for one in better))]


def _carried(recipe: Contrast, pruning: Pruning, margin: float, above: bool) -> str:
    """Tell in a sentence which parts of a better recipe carry its gain by themselves; empty where the recipe was not
    taken apart.
    """
    parts = {
        RECIPE[one.kind.removesuffix(" alone")].title: one.effect
        for one in pruning.contrasts
        if one.kind.endswith(" alone") and (one.against, one.sparsity) == (recipe.against, recipe.sparsity)
    }
    if not parts:
        return ""
    whole = interval_words(recipe.effect)
    decisions = {name: decide(effect, margin, above) for name, effect in parts.items()}
    carrying = [name for name, decision in decisions.items() if decision == BETTER]
    subject = f"At {percent(recipe.sparsity)} {METHODS[recipe.method].title} gains {whole}"
    each = f"Alone against {METHODS[recipe.against].title}: {conclusions(parts, margin, above).replace(' at ', ': ')}."
    if not carrying:
        small = any(effect.shown and effect.value > 0 for effect in parts.values())
        gained = f"{POINTS.margin(margin)} or more" if small else "significantly"
        return f"{subject}; no part alone gains {gained}. {each}"
    verb = "carries" if len(carrying) == 1 else "carry"
    return f"{subject}; the {listed(carrying)} alone {verb} some of it. {each}"


def shams(pruning: Pruning, margin: float, above: bool) -> list[str]:
    """Tell whether a discount that helps does so by the sinks, one sentence per method and sparsity with a sham
    discount.

    Skips a sparsity where the discount is not better: there is no gain to explain.
    """
    placebos = [one for one in pruning.contrasts if one.kind in PLACEBOS]
    told, several = [], len({one.method for one in placebos}) > 1
    helping = {
        (one.method, one.sparsity)
        for one in pruning.contrasts
        if one.kind == "discount" and decide(one.effect, margin, above) == BETTER
    }
    for one in sorted(placebos, key=lambda contrast: contrast.sparsity):
        if (one.method, one.sparsity) not in helping:
            continue
        decision, least = decide(one.effect, margin, above), POINTS.margin(margin)
        asked, others = {
            "sham": ("the sinks", "random tokens of the same state"),
            "light": ("the tokens with most attention", "those with least"),
        }[one.kind]
        says = {
            BETTER: f"it matters that {asked} are discounted: discounting {others} instead helps less",
            WORSE: f"it is not {asked}: discounting {others} instead helps more",
            EQUIVALENT: f"nothing puts the gain down to {asked}: discounting {others} instead makes no difference of "
            f"±{least} or more",
        }.get(decision, f"this study cannot tell whether discounting {others} in place of {asked} helps as much")
        ending = seen(one.effect, POINTS) if decision == CANNOT_TELL else ""
        method = f" with {METHODS[one.method].title}" if several else ""
        told.append(f"At {percent(one.sparsity)}{method} {says} ({interval_words(one.effect)}{ending}).")
    return told
