"""Error of bins: mask bits by bins against those by token, on settings drawn at random. NumPy only.

The exact scores of these settings are summed while the model runs, when the squares of every token are there.
Shapes as in `analysis.tuning.effects`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from analysis.sinks.discount import step_weights, token_weights
from analysis.specs import NOISES, CalibrationParams, DiscountParams, TuneParams, choices
from analysis.specs.base import bounds, extra
from analysis.specs.tuning import searchable
from analysis.tuning.effects import LayerStatistics, group_weights, pruned_mask, scores_by_step
from analysis.words import percent

PROBES = 8
# Where bins err most: φ that rises gently over many tokens.
GENTLE = tuple(
    TuneParams(discount=DiscountParams(alpha_unit="std", sink_alpha=1.0, sink_std=threshold))
    for threshold in (0.0, 2.0)
)
ENOUGH = 100  # changed bits that a setting needs for shares of its own


class BinError(BaseModel, extra="forbid", frozen=True):
    """One setting on the stored rows: mask bits changed against ω = 1, those of them that bins miss, and false ones."""

    setting: TuneParams
    changed: int
    missed: int
    false: int


@dataclass(frozen=True)
class Shares:
    """Of the bits that settings change: missed and false ones over all, and in the worst setting with `ENOUGH` of them
    (NaN without any). settings: how many were tried.
    """

    settings: int
    missed: float
    false: float
    worst_missed: float
    worst_false: float


def shares(errors: Sequence[BinError]) -> Shares:
    """Combine the errors of several settings."""
    counts = np.array([(error.changed, error.missed, error.false) for error in errors], float).reshape(-1, 3)
    changed, missed, false = counts.sum(axis=0)
    enough = counts[counts[:, 0] >= ENOUGH]
    worst = (enough[:, 1:] / enough[:, :1]).max(axis=0) if len(enough) else (np.nan, np.nan)
    whole = changed or np.nan
    return Shares(len(counts), missed / whole, false / whole, float(worst[0]), float(worst[1]))


def in_words(errors: Sequence[BinError]) -> str:
    """Say in a sentence or two how far bins are off; errors: of the settings that were tried when they were stored."""
    if not errors:
        return "How far these bins are off was not measured when they were stored. Store the statistics again to know."
    found = shares(errors)
    if np.isnan(found.missed):
        return "How far bins are off cannot be told: none of the settings tried changes a bit."
    worst = ""
    if not np.isnan(found.worst_missed):
        worst = f" (in the worst {percent(found.worst_missed, 1)} and {percent(found.worst_false, 1)})"
    return (
        f"Bins are an estimate. Measured here on {found.settings:d} settings, {len(GENTLE)} of them gentle, where bins "
        "err most, the others drawn over the whole range of every slider: of the mask bits they change, bins miss "
        f"{percent(found.missed, 1)}, and falsely change {percent(found.false, 1)} as many{worst}. Squares by token "
        "are exact."
    )


def probe_settings(
    seed: int, scopes: Sequence[str], levels: Sequence[int], calibration: CalibrationParams
) -> list[TuneParams]:
    """The settings that bins are measured on: `GENTLE`, and random ones."""
    return [*GENTLE, *random_settings(PROBES - len(GENTLE), seed, scopes, levels, calibration)]


def random_settings(
    count: int, seed: int, scopes: Sequence[str], levels: Sequence[int], calibration: CalibrationParams
) -> list[TuneParams]:
    """Settings that the sliders can be set to, over their whole range, of those that bins serve. scopes: of the bins.
    levels: stored t.

    α is drawn by its logarithm, since most of its range is as good as a hard threshold, and every other setting is soft
    with α in std.
    """
    rng = np.random.default_rng((seed, 1))
    settings = []
    for index in range(count):
        values = {name: _drawn(name, rng) for name in searchable()}
        if index % 2 == 0:
            values |= {"sink_score": "soft", "alpha_unit": "std"}
        values |= {"sink_steps": "each", "sink_scope": scopes[int(rng.integers(len(scopes)))]}
        steps: dict[str, int | str] = {}
        if NOISES[calibration.noise].by_step:
            first, last = sorted(int(step) for step in rng.choice(levels, 2))
            weighting = ("even", "noisy", "clean")[rng.integers(3)]
            steps = {"first_step": first, "last_step": last, "step_weighting": weighting}
        sparsity = float(rng.integers(1, 20)) / 20
        setting = {"discount": DiscountParams.model_validate(values), "sparsity": sparsity, **steps}
        settings.append(TuneParams.model_validate(setting))
    return settings


def _drawn(name: str, rng: np.random.Generator) -> float | str:
    field = DiscountParams.model_fields[name]
    allowed = choices(field)
    if allowed:
        return allowed[rng.integers(len(allowed))]
    step = float(extra(field)["step"])
    low, high, by_logarithm = bounds(field, step)
    low, high = low or 0.0, high or 0.0
    drawn = np.exp(rng.uniform(np.log(low), np.log(high))) if by_logarithm else rng.uniform(low, high)
    return round(round(drawn / step) * step, 6)


def _squared(mass: np.ndarray, setting: TuneParams) -> np.ndarray:
    """ω² of every token of one row, (S,) float32. mass: (L, S)."""
    return np.square(token_weights(mass[None, None], setting.discount)[0, 0, 0])


class Probes:
    """Settings whose exact scores are summed row by row. levels: stored t, of a schedule of `total` steps."""

    def __init__(self, settings: Sequence[TuneParams], levels: tuple[int, ...], total: int) -> None:
        self.settings = list(settings)
        self.steps = np.array([step_weights(levels, total, setting) for setting in settings])  # (K, T)
        self.scores: dict[tuple[int, str], np.ndarray] = {}
        self._by_row: dict[tuple[int, int], list[np.ndarray | None]] = {}

    def weights(self, sequence: int, level: int, layer: int, mass: np.ndarray) -> np.ndarray:
        """ω² of every token of one row by each setting, (K, S) float32. mass: the row's (L, S)."""
        key = sequence, level
        if key not in self._by_row:
            self._by_row[key] = [
                None if setting.discount.sink_scope == "layer" else _squared(mass, setting) for setting in self.settings
            ]
        own = mass[layer : layer + 1]
        return np.stack(
            [
                _squared(own, setting) if known is None else known
                for setting, known in zip(self.settings, self._by_row[key], strict=True)
            ]
        )

    def add(self, layer: int, name: str, level: int, times: int, squares: np.ndarray) -> None:
        """Add Σ_tokens ω²x² (K, F) of a row that counts `times` times to the exact scores."""
        total = self.scores.setdefault((layer, name), np.zeros(squares.shape))
        total += times * self.steps[:, level, None] * np.sqrt(squares)

    def errors(
        self, layers: Sequence[LayerStatistics], mass: np.ndarray, edges: Sequence[float], scopes: Sequence[str]
    ) -> list[BinError]:
        """Compare bins with the exact scores. layers: by layer and scope in the order of `scopes`."""
        layer_errors = []
        for index, setting in enumerate(self.settings):
            weights = group_weights(mass, "bins", setting.discount, edges)
            scope, steps = scopes.index(setting.discount.sink_scope), self.steps[index]
            counts = np.zeros(3, int)
            for layer in range(len(layers) // len(scopes)):
                stored = layers[layer * len(scopes) + scope]
                layer_weights = weights[:, :, layer if weights.shape[2] > 1 else 0]
                binned = {
                    name: steps @ scores_by_step(squares, layer_weights, steps)
                    for name, squares in stored.squares.items()
                }
                for name, given in stored.inputs.items():
                    weight = stored.weights[name]
                    before = pruned_mask(weight, steps @ stored.plain[given], setting.sparsity)
                    exact = pruned_mask(weight, self.scores[layer, given][index], setting.sparsity) != before
                    by_bins = pruned_mask(weight, binned[given], setting.sparsity) != before
                    counts += (exact.sum(), (exact & ~by_bins).sum(), (by_bins & ~exact).sum())
            changed, missed, false = map(int, counts)
            layer_errors.append(BinError(setting=setting, changed=changed, missed=missed, false=false))
        return layer_errors
