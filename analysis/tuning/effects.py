"""From stored statistics to feature scores and masks of any discount, without a forward. NumPy only.

    s_j = Σ_n Σ_t c_t · √(Σ_b ω²_{n,t,b} · X²_{n,t,b,j})        (arXiv 2602.17664; the step weights c are ours)

X²_b is x² summed over group b of a sequence's tokens at one noise level. A group is one token, which is exact, or the
tokens in one range of z = (M − mean)/std of their attention mass M. ω² of a range is its tokens' mean. Where thresholds
k lie, ranges are a tenth of a standard deviation wide and begin at its multiples, so that k falls between two.

Shapes: N sequences, T noise levels, L layers, S positions, B groups, F features, R rows of a projection.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from analysis.machine.process import one_blas_thread
from analysis.sinks.definitions import moments
from analysis.sinks.discount import discounted, scored_mass, sink_scores, standardised, token_weights
from analysis.specs import DiscountParams

# Of z, between bins; below and above lie one bin each. Every threshold k that can be set is an edge; below them φ is
# smooth.
EDGES = (*(step / 4 for step in range(-8, 0)), *(step / 10 for step in range(61)), 7.0, 9.0)
BINS = len(EDGES) + 1


# --- tokens -----------------------------------------------------------------------------------------------------


def standardised_mass(mass: np.ndarray, scope: str) -> np.ndarray:
    """z of every token, float32: (N, T, 1, S) of all layers' mass together, (N, T, L, S) with scope 'layer'.

    mass: (N, T, L, S).
    """
    scored = scored_mass(mass, scope)
    return standardised(scored, moments(scored))


def bins_of(z: np.ndarray, edges: Sequence[float] = EDGES) -> np.ndarray:
    """The bin of each z, 0 … len(edges)."""
    return np.searchsorted(np.asarray(edges, np.float32), z, side="right")


def why_needs_a_run(grouping: str, scopes: tuple[str, ...], discount: DiscountParams) -> str:
    """Return why statistics stored like this cannot serve a setting, or ''."""
    if grouping == "tokens":
        return ""
    if discount.sink_steps == "mean":
        return (
            "Scores averaged over the steps mix tokens of one bin, so this setting needs a run: store the squares by "
            "token, or prune with it."
        )
    if discount.sink_scope not in scopes:
        return (
            "Bins were stored for the sinks of the whole model alone, so this setting needs a run: calibrate again "
            "with bins for each layer's own sinks, or prune with it."
        )
    return ""


def group_weights(
    mass: np.ndarray, grouping: str, discount: DiscountParams, edges: Sequence[float] = EDGES
) -> np.ndarray:
    """ω² of every group, float32: (N, T, 1 or L, B), the mean over its tokens; 1 for a bin without any.

    mass: (N, T, L, S). grouping: 'tokens' or 'bins'. edges: of the bins.
    """
    sequences, levels = mass.shape[:2]
    squared = np.square(token_weights(mass, discount))
    squared = np.broadcast_to(squared, (sequences, levels, *squared.shape[2:]))
    if grouping == "tokens":
        return squared
    bins, groups = bins_of(standardised_mass(mass, discount.sink_scope), edges), len(edges) + 1
    rows = int(np.prod(bins.shape[:-1]))
    place = (np.arange(rows)[:, None] * groups + bins.reshape(rows, -1)).ravel()
    count = np.bincount(place, minlength=rows * groups)
    total = np.bincount(place, weights=squared.ravel(), minlength=rows * groups)
    mean = np.divide(total, count, out=np.ones_like(total), where=count > 0)
    return mean.astype(np.float32).reshape(*bins.shape[:-1], groups)


@dataclass(frozen=True)
class DiscountCurve:
    """ω over z: the median over all rows of mass, and the tenth and ninetieth percentile, (Z,) each.

    Rows differ where α counts in mass: the same z is more mass where it spreads more. counts (Z − 1,): tokens between
    two z; beyond either end they count as in the outermost.
    """

    z: np.ndarray
    low: np.ndarray
    median: np.ndarray
    high: np.ndarray
    counts: np.ndarray


def discount_curve(mass: np.ndarray, discount: DiscountParams, steps: np.ndarray, layer: int) -> DiscountCurve:
    """The curve of a discount over the tokens of the levels that count. layer: used with scope 'layer'.

    What a step's own mass gives; with `sink_steps` mean, ω is then averaged over the steps.
    """
    scored = scored_mass(mass[:, steps > 0], discount.sink_scope)
    scored = scored[:, :, layer if discount.sink_scope == "layer" else 0].reshape(-1, mass.shape[-1])
    row = moments(scored)
    z = np.linspace(-2, 8, 201, dtype=np.float32)
    scores = sink_scores(row.mean + row.std * z, discount, row)
    low, median, high = np.quantile(discounted(scores, discount), [0.1, 0.5, 0.9], axis=0)
    tokens = np.clip(standardised(scored, row).ravel(), z[0], z[-1])
    return DiscountCurve(z, low, median, high, np.histogram(tokens, z)[0])


def seen_tokens(
    mass: np.ndarray, discount: DiscountParams, sequence: int, level: int, layer: int
) -> tuple[np.ndarray, np.ndarray]:
    """ω and z of one sequence's tokens at one noise level, (S,) each. layer: used with scope 'layer'."""
    masses = mass[sequence : sequence + 1]
    weights, z = token_weights(masses, discount)[0], standardised_mass(masses, discount.sink_scope)[0]
    layer = layer if discount.sink_scope == "layer" else 0
    return weights[level if len(weights) > 1 else 0, layer], z[level, layer]


# --- scores and masks -------------------------------------------------------------------------------------------


def scores_by_step(squares: np.ndarray, weights: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Σ_n √(Σ_b ω²·X²) of every level, (T, F) float64. squares: (N, T, B, F), weights: ω² (N, T, B), both float32.

    Levels whose steps (T,) are 0 are left out and stay 0.
    """
    scores = np.zeros((squares.shape[1], squares.shape[3]))
    for level in np.flatnonzero(steps):
        summed = np.matmul(weights[:, level, None], squares[:, level])[:, 0]
        scores[level] = np.sqrt(summed).sum(axis=0, dtype=np.float64)
    return scores


def lowest(score: np.ndarray, count: int) -> np.ndarray:
    """True at the `count` lowest of each row of score (R, F), bool. Of equal scores the first go."""
    if count == 0 or count == score.shape[1]:
        return np.full(score.shape, count > 0)
    threshold = np.partition(score, count - 1, axis=1)[:, count - 1 : count]
    chosen = score <= threshold
    for row in np.flatnonzero(chosen.sum(axis=1) > count):
        chosen[row] = False
        chosen[row, np.argsort(score[row], kind="stable")[:count]] = True
    return chosen


def pruned_mask(weight: np.ndarray, scores: np.ndarray, sparsity: float) -> np.ndarray:
    """True where a weight goes, bool (R, F): at the lowest ⌊F · sparsity⌋ of |W|·s in each row."""
    return lowest(np.abs(weight) * scores.astype(np.float32), int(np.floor(weight.shape[1] * sparsity + 1e-9)))


def output_energy(weight: np.ndarray, gram: np.ndarray) -> float:
    """‖WX‖² on the inputs whose Gram matrix XᵀX is (F, F)."""
    return max(float(np.vdot(weight @ gram, weight)), 0.0)


def output_error(weight: np.ndarray, pruned: np.ndarray, gram: np.ndarray, energy: float) -> float:
    """‖WX − W̃X‖ / ‖WX‖, W̃ without the pruned weights. energy: ‖WX‖²; NaN where that is 0."""
    gone = weight * pruned  # sooner than where()
    return float(np.sqrt(output_energy(gone, gram) / energy)) if energy > 0 else float("nan")


# --- a layer ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerStatistics:
    """Stored statistics of one layer. Inputs go by the name of the first projection that reads them.

    inputs: projection -> its input. squares: input -> X² (N, T, B, F). plain, other_seed: input -> `scores_by_step`
    with ω = 1 (T, F), of these sequences and of another calibration seed's, empty where that was not run. weights:
    projection -> W (R, F) float32, all rows or some of `outputs`. grams: input -> held-out XᵀX (F, F) float32; empty
    where there are none.
    """

    inputs: Mapping[str, str]
    squares: Mapping[str, np.ndarray]
    plain: Mapping[str, np.ndarray]
    other_seed: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]
    outputs: Mapping[str, int]
    grams: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Effects:
    """Effects of a setting beside ω = 1: of one layer by projection, in the order of `LayerStatistics.inputs`, (P,)
    each; of several layers (L, P).

    changed: share of mask bits that differ; spread: half the width of its 95 % interval, 0 where every row is stored.
    floor: the share that differs between two calibration seeds, both with ω = 1, NaN without the other one. error,
    plain_error, other_error: of the outputs with the setting, with ω = 1, and with ω = 1 and the other seed; NaN
    without Gram matrices.
    """

    changed: np.ndarray
    spread: np.ndarray
    floor: np.ndarray
    error: np.ndarray
    plain_error: np.ndarray
    other_error: np.ndarray

    @property
    def error_change(self) -> np.ndarray:
        """The output error against that of ω = 1, less 1: below 0 the discount serves the outputs better."""
        whole = np.where(self.plain_error > 0, self.plain_error, np.nan)
        return self.error / whole - 1


@dataclass(frozen=True)
class LayerEffect(Effects):
    """Those of one layer. shifts: input -> s/s₁ of each feature, divided by their median, less 1, (F,)."""

    shifts: dict[str, np.ndarray]


@dataclass(frozen=True)
class Plain:
    """ω = 1 in one layer, the baseline of discounts. By projection: masks (R, F), floor, error, energy ‖WX‖²,
    other_error: of another seed's masks; by input: scores (F,). What needs another seed is NaN without one, and what
    needs Gram matrices without these.
    """

    scores: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]
    floor: dict[str, float]
    error: dict[str, float]
    energy: dict[str, float]
    other_error: dict[str, float]


@one_blas_thread()
def plain_layer(layer: LayerStatistics, steps: np.ndarray, sparsity: float) -> Plain:
    """Compute the masks without a discount, and the floor. steps: c (T,)."""
    scores, other = (
        {name: steps @ squares for name, squares in sums.items()} for sums in (layer.plain, layer.other_seed)
    )
    masks, floor, error, energy, other_error = {}, {}, {}, {}, {}
    for name, given in layer.inputs.items():
        weight, gram = layer.weights[name], layer.grams.get(given)
        masks[name] = pruned_mask(weight, scores[given], sparsity)
        energy[name] = np.nan if gram is None else output_energy(weight, gram)
        error[name] = np.nan if gram is None else output_error(weight, masks[name], gram, energy[name])
        floor[name] = other_error[name] = np.nan
        if given in other:
            unlike = pruned_mask(weight, other[given], sparsity)
            floor[name] = float((masks[name] != unlike).mean())
            other_error[name] = np.nan if gram is None else output_error(weight, unlike, gram, energy[name])
    return Plain(scores, masks, floor, error, energy, other_error)


def seed_masks(
    layer: LayerStatistics, steps: np.ndarray, sparsity: float
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Of every projection the masks (R, F) of this and of another calibration seed, without a discount. steps:
    c (T,).
    """
    for name, given in layer.inputs.items():
        weight = layer.weights[name]
        scores = (steps @ sums[given] for sums in (layer.plain, layer.other_seed))
        first, second = (pruned_mask(weight, score, sparsity) for score in scores)
        yield name, (first, second)


@one_blas_thread()
def layer_effect(
    layer: LayerStatistics, plain: Plain, weights: np.ndarray, steps: np.ndarray, sparsity: float
) -> LayerEffect:
    """Compute the scores and masks of one layer. plain: of the same steps and sparsity. weights: ω² of its groups
    (N, T, B), steps: c (T,).
    """
    scores = {name: steps @ scores_by_step(squares, weights, steps) for name, squares in layer.squares.items()}
    rows = []
    for name, given in layer.inputs.items():
        weight, gram = layer.weights[name], layer.grams.get(given)
        mask = pruned_mask(weight, scores[given], sparsity)
        by_row = (mask != plain.masks[name]).mean(axis=1)
        of_outputs = np.nan if gram is None else output_error(weight, mask, gram, plain.energy[name])
        interval = _spread(by_row, layer.outputs[name])
        beside = plain.floor[name], of_outputs, plain.error[name], plain.other_error[name]
        rows.append((by_row.mean(), interval, *beside))
    shifts = {name: _shift(scores[name], plain.scores[name]) for name in scores}
    changed, spread, floor, error, plain_error, other_error = np.array(rows).T
    return LayerEffect(changed, spread, floor, error, plain_error, other_error, shifts)


def _spread(by_row: np.ndarray, outputs: int) -> float:
    """Half the width of the 95 % interval of a mean over some of a matrix's rows, drawn without replacement.

    t₀.₉₇₅(n − 1)·s·√((1 − n/N)/n) for n of N rows (Cochran, Sampling Techniques, §2.8): Student's, as few rows make s
    itself uncertain.
    """
    rows = len(by_row)
    if rows == outputs:
        return 0.0
    from scipy.special import stdtrit

    return float(stdtrit(rows - 1, 0.975) * by_row.std(ddof=1) * np.sqrt((1 - rows / outputs) / rows))


def _shift(scores: np.ndarray, plain: np.ndarray) -> np.ndarray:
    ratio = np.divide(scores, plain, out=np.ones_like(scores), where=plain > 0)
    median = np.median(ratio)
    return ratio / median - 1 if median > 0 else np.zeros_like(ratio)


# --- the whole model --------------------------------------------------------------------------------------------


def together(effects: list[LayerEffect], layers: int = 0) -> Effects:
    """The layers' numbers stacked, and below them NaN for those of `layers` that are not there yet."""
    names = [field.name for field in fields(Effects)]
    missing = np.full((max(0, layers - len(effects)), len(effects[0].changed)), np.nan)
    return Effects(*(np.concatenate([[getattr(effect, name) for effect in effects], missing]) for name in names))


@dataclass(frozen=True)
class Total:
    """Over all projections: shares of all mask bits, and means of the output errors. The floor and other_error are NaN
    without another seed, all errors are without Gram matrices.
    """

    changed: float
    floor: float
    error: float
    plain_error: float
    other_error: float


def total(effects: Effects, sizes: np.ndarray) -> Total:
    """sizes: weights of every projection, (L, P)."""
    changed, floor = (float((values * sizes).sum() / sizes.sum()) for values in (effects.changed, effects.floor))
    errors = (float(values.mean()) for values in (effects.error, effects.plain_error, effects.other_error))
    return Total(changed, floor, *errors)


def shift_quantiles(shifts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By input: the 1st, 25th, 50th, 75th and 99th percentile of its features' shifts, (5,)."""
    return {name: np.percentile(values, [1, 25, 50, 75, 99]) for name, values in shifts.items()}
