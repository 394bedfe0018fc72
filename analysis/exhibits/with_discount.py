"""One pruning with and without the sink discount: what a study has found of it, and the figures of the weights it
changes and of the accuracies, the same for a study and for runs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.evaluation.tables import DENSE_ROLE, ROLES
from analysis.exhibits.story_parts import accuracies, cost_of, discounts, spec_of
from analysis.figures.accuracy import Accuracy, accuracy_levels
from analysis.figures.export import Exhibit
from analysis.figures.style import REFERENCE, colors_by_method
from analysis.findings import finding_of
from analysis.specs import METHODS, PruneSpec, detail
from analysis.statistics.decisions import interval_words
from analysis.statistics.differences import Difference
from analysis.study.findings import Contrast, Findings, MaskChange
from analysis.words import counted, percent

_CHANGED = (
    "A weight counts where it is kept without the discount and pruned with it, or the reverse. Dots: calibration seeds."
)
_SEED_DECIMALS = 2  # of a per cent, for shares of weights


def contrast_at(findings: Findings, spec: PruneSpec) -> Contrast | None:
    """Return a study's comparison of a pruning with and without the discount; None where it has not made this one.
    spec: the pruning with the discount."""
    at = (spec.method, spec.sparsity)
    return next(
        (one for one in discounts(findings).values() if (one.method, one.sparsity) == at and not detail(spec)), None
    )


def at_other_sparsities(findings: Findings, contrast: Contrast) -> dict[float, tuple[Difference, Difference]]:
    """Return what pruning without the discount does to accuracy, and with minus without it, at the other sparsities of
    a study."""
    others = [
        one
        for one in discounts(findings).values()
        if one.method == contrast.method and one.sparsity != contrast.sparsity
    ]
    costs = {one.sparsity: (cost_of(findings, one), one.effect) for one in others}
    return {at: (cost, effect) for at, (cost, effect) in costs.items() if cost is not None}


def compared_in(findings: Findings, contrast: Contrast) -> str:
    """Return what a study compares, in sentences."""
    pruning, spec = findings.pruning, spec_of(findings)
    ways = () if pruning is None else pruning.waterfalls
    own = METHODS[contrast.against].title
    first = next((way.stages[0].title for way in ways if way.method == contrast.method), own)
    return (
        f"The cost: {first} against the dense model. The discount: {METHODS[contrast.method].title} against the same "
        f"pruning of the same noised text without it. Calibration: {spec.samples} sequences of {spec.seq_len} tokens."
    )


def changed_at(findings: Findings, contrast: Contrast) -> MaskChange | None:
    """Return how far a study's masks with and without the discount differ; None if they were not compared."""
    at = (contrast.method, contrast.sparsity)
    return next((one for one in findings.mask_changes if (one.method, one.sparsity) == at and one.changed), None)


def weights_changed(changed: Sequence[float], floor: Sequence[float], chance: float) -> Exhibit:
    """Return what share of the weights the discount changes, one per calibration seed, beside what another calibration
    seed changes, one per pair of seeds; none where that is not known. chance: of independent masks.
    """
    kinds = [("Sink discount", changed, colors_by_method([PruneSpec().method])[0])]
    kinds += [("Another calibration seed", floor, REFERENCE)] if floor else []
    rows = [_row(name, values, percent(np.mean(values)), color) for name, values, color in kinds]
    whole, seeds = float(np.mean(changed)), float(np.mean(floor)) if floor else None
    table = pd.DataFrame([{"what changes": name, "weights changed, %": 100 * np.mean(all)} for name, all, _ in kinds])
    return Exhibit(
        "Weights changed",
        f"{_CHANGED} Independent masks would differ in {percent(chance)}.",
        accuracy_levels(rows, "weights changed; dots: seeds", _SEED_DECIMALS, from_zero=True),
        table,
        finding=finding_of("discounted mask", whole, seeds, chance),
    )


def accuracies_of_study(findings: Findings, contrast: Contrast) -> Exhibit | None:
    """Return the accuracies of the dense model and of the pruned ones without and with the discount; None where the
    study does not hold them, nor their intervals over items."""
    both, pruning = accuracies(findings, contrast), findings.pruning
    if pruning is None or not all(both):
        return None
    colors = REFERENCE, colors_by_method([contrast.method])[0]
    (dense,) = colors_by_method(["dense"])
    rows = [_row(DENSE_ROLE, (pruning.dense,), percent(pruning.dense, 1), dense)]
    for name, values, color in zip(ROLES, both, colors, strict=True):
        rows.append(_row(name, values, percent(np.mean(values), 1), color))
    chance = "" if pruning.chance is None else f"; chance: {percent(pruning.chance, 1)}"
    seeds = len(both[0])
    return Exhibit(
        "Accuracy",
        f"With minus without: {interval_words(contrast.effect)}{chance}. Right answers to {pruning.items:,} items, the "
        f"mean over tasks and {counted(seeds, 'calibration seed')}.",
        accuracy_levels(rows, "right answers" + ("; dots: seeds" if seeds > 1 else "")),
        pd.DataFrame([{"model": row.name, "accuracy, %": row.value} for row in rows]),
    )


def _row(name: str, values: Sequence[float], words: str, color: str) -> Accuracy:
    """Return a row of a mean with what its seeds give alone; no interval."""
    mean = 100 * float(np.mean(values))
    seeds = tuple(100 * one for one in values) if len(values) > 1 else ()
    return Accuracy(name, mean, mean, mean, seeds, words, color)
