"""Accuracy without and with the sink discount along sparsities as one figure: of a sweep, or of a study's findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.evaluation.sweep_scores import Comparison, Setting, from_dense
from analysis.exhibits.scored_runs import EXPLAINED
from analysis.exhibits.story_parts import accuracies, cost_of, discounts
from analysis.figures.export import Exhibit
from analysis.figures.style import METHOD_LOOKS, REFERENCE, Look, colors_by_method, ends_of
from analysis.figures.sweep import Change, Line, accuracies_and_change
from analysis.findings.evaluations import MARGIN, bare_words
from analysis.specs import METHODS, PruneSpec, against, setting_key
from analysis.statistics.decisions import POINTS, over_seeds
from analysis.statistics.differences import Difference, in_family
from analysis.study.findings import Findings
from analysis.study.rules import above_chance
from analysis.words import counted

TITLE = "Accuracy without and with the sink discount"
_PUBLISHED, _WITHOUT, _WITH = "as published", "without", "with discount"
_LOST, _GAINED = "pruning alone", "discount on top"
_FORMULA = (
    "Right answers, the mean over tasks and calibration seeds. The difference is taken on the same items, seed by "
    "seed, before rounding."
    f"\n\n{EXPLAINED}"
)


@dataclass(frozen=True)
class DiscountLevels:
    """Scores of a method with the discount, of its control and, where there are any, of its published baseline along
    sparsities. methods: of the lines, that with the discount last. lost: the control minus the dense model. gained:
    with the discount minus without it. noise: what the intervals are over.
    """

    methods: tuple[str, ...]
    lines: tuple[Line, ...]
    lost: Change
    gained: Change
    dense: float
    chance: float | None
    noise: str

    @property
    def losses(self) -> dict[float, Difference]:
        """Change of accuracy from pruning without the discount, by sparsity."""
        return dict(zip(self.lost.x.tolist(), self.lost.differences, strict=True))

    @property
    def size(self) -> str:
        """What was pruned, as `2 sparsities × 3 variants × 6 seeds`."""
        return size_words(len(self.gained.x), len(self.lines), _most_seeds(self.lines))

    @property
    def shown(self) -> Exhibit:
        """The lines, and what the discount changes beneath."""
        (color,) = colors_by_method(self.methods[-1:])
        drawn = accuracies_and_change(self.lines, self.gained, self.dense, self.chance, MARGIN, color)
        return Exhibit(TITLE, self.noise, drawn, self._table(), formula=_FORMULA)

    def _table(self) -> pd.DataFrame:
        frame = pd.DataFrame({"sparsity": self.gained.x})
        for line in self.lines:
            frame[f"{line.name}, %"] = 100 * line.value
        for change in (self.lost, self.gained):
            titles = (f"{change.name}{end}, points" for end in ("", ", low", ", high"))
            frame = frame.assign(**dict(zip(titles, ends_of(change.differences, 100), strict=True)))
        return frame


def size_words(sparsities: int, variants: int, seeds: int) -> str:
    """Return how much is pruned."""
    sizes = counted(sparsities, "sparsity", "sparsities"), counted(variants, "variant"), counted(seeds, "seed")
    return " × ".join(sizes)


def _most_seeds(lines: Sequence[Line]) -> int:
    return max(len(each) for line in lines for each in line.seeds)


def pairs_along(compared: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """Return the comparisons with a control by the method with the discount and what is not the default, each along
    the sparsities."""
    pairs: dict[str, list[Comparison]] = {}
    for one in sorted(compared, key=lambda one: one.setting.pruning.sparsity):
        pairs.setdefault(one.setting.label, []).append(one)
    return pairs


def levels_of_sweep(pair: Sequence[Comparison], settings: Sequence[Setting] = ()) -> DiscountLevels:
    """Return the accuracies behind comparisons with a control along sparsities. settings: of the sweep, among which the
    published baseline may be.
    """
    first = pair[0].setting
    by_key = {setting_key(one.pruning): one.by_seed for one in settings if isinstance(one.pruning, PruneSpec)}
    scores = {}
    for one in pair:
        baseline = against(one.setting.pruning, "published")
        published = () if baseline is None else by_key.get(setting_key(baseline), ())
        scores[one.setting.pruning.sparsity] = published, one.other.by_seed, one.setting.by_seed
    lost = in_family([replace(from_dense(one.other), above_chance=one.other.above_chance) for one in pair])
    return _levels(
        first.pruning.method,
        scores,
        lost,
        [one.difference for one in pair],
        (first.dense.value, first.chance),
        pair[0].difference.n,
    )


def levels_of_study(findings: Findings) -> DiscountLevels | None:
    """Return the accuracies of the first method that a study has pruned with a discount, at the sparsities of which it
    holds what pruning costs; None where there is none."""
    pruning = findings.pruning
    every = [one for one in discounts(findings).values() if all(accuracies(findings, one))]
    priced = [(one, cost) for one in every if (cost := cost_of(findings, one)) and one.method == every[0].method]
    if pruning is None or not priced:
        return None
    contrasts, costs = zip(*priced, strict=True)
    method, above = contrasts[0].method, above_chance(pruning)
    published = {
        one.sparsity: one.by_seed
        for one in pruning.settings
        if one.method == METHODS[method].published and not one.part
    }
    return _levels(
        method,
        {one.sparsity: [published.get(one.sparsity, ()), *accuracies(findings, one)] for one in contrasts},
        costs,
        [replace(one.effect, above_chance=above) for one in contrasts],
        (pruning.dense, pruning.chance),
        pruning.items,
    )


def _levels(
    method: str,
    scores: Mapping[float, Sequence[Sequence[float] | np.ndarray]],
    lost: Sequence[Difference],
    gained: Sequence[Difference],
    levels: tuple[float, float | None],
    items: int,
) -> DiscountLevels:
    """Return what is drawn. scores: by sparsity, those of each calibration seed of the published baseline, of the
    control and with the discount. levels: of the dense model and of chance.
    """
    x, row = np.array(list(scores)), METHODS[method]
    losses = _change(_LOST, x, lost)
    (color,) = colors_by_method([method])
    published, control = row.published or "", row.control or method
    variants = (
        (published, _PUBLISHED, METHOD_LOOKS.get(published, Look(REFERENCE, "circle"))),
        (control, _WITHOUT, Look(REFERENCE, "square")),
        (method, _WITH, Look(color, "diamond")),
    )
    lines = {}
    for (of, name, look), seeds in zip(variants, zip(*scores.values(), strict=True), strict=True):
        if all(map(len, seeds)) and not (name == _PUBLISHED and published == control):
            means = np.array([np.mean(each) for each in seeds])
            lines[of, name] = Line(name, x, means, seeds, look, losses if name == _WITHOUT else None)
    marks = _marks(items, _most_seeds([*lines.values()]))
    drawn = (published, _PUBLISHED) in lines
    noise = f"As published: {METHODS[published].title} on clean text; {marks}" if drawn else marks
    methods, gains = tuple(of for of, _ in lines), _change(_GAINED, x, gained)
    return DiscountLevels(methods, (*lines.values(),), losses, gains, *levels, f"{noise[0].upper()}{noise[1:]}")


def _marks(items: int, seeds: int) -> str:
    """Say what is drawn."""
    over, dots, free = "one seed", "", "."
    if seeds > 1:
        over = over_seeds(seeds)
        dots = "; small dots: seeds"
        free = f". Intervals are Student's, with {counted(seeds - 1, 'degree')} of freedom between seeds."
    bars = f"bars: 95 % intervals over {items:,} items and {over} (upper plot: change from dense, without the discount)"
    return f"large marks: means{dots}; {bars}; grey band: ±{POINTS.margin(MARGIN)}{free}"


def _change(name: str, x: np.ndarray, differences: Sequence[Difference]) -> Change:
    return Change(name, x, differences, [bare_words(one) for one in differences])
