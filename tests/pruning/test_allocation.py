"""Sharing sparsity out over layers: the overall sparsity exactly, bounds, order, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import UserError
from analysis.pruning.allocation import (
    ALLOCATIONS,
    CEILING,
    layer_sparsities,
    outlier_ratio,
    tail_exponent,
    weight_counts,
)

COUNTS = st.integers(1, 12)
SPARSITY = st.floats(0, 0.95)
SPREAD = st.floats(0, 0.5)


@st.composite
def cases(draw):
    """Sizes (some zero, not all) and outlier ratios of a model."""
    count = draw(COUNTS)
    sizes = draw(st.lists(st.sampled_from([0, 1000, 3000, 50_000_000]), min_size=count, max_size=count))
    sizes[draw(st.integers(0, count - 1))] = 2000
    ratios = draw(st.lists(st.floats(0, 0.2), min_size=count, max_size=count))
    return np.array(sizes), np.array(ratios)


@settings(max_examples=60, deadline=None)
@given(allocation=st.sampled_from(sorted(ALLOCATIONS)), case=cases(), sparsity=SPARSITY, spread=SPREAD)
def test_the_overall_sparsity_is_exact_and_every_layer_within_bounds(allocation, case, sparsity, spread):
    sizes, ratios = case
    shares = layer_sparsities(allocation, sparsity, sizes, ratios, spread)
    assert shares.shape == sizes.shape
    assert (shares[sizes == 0] == 0).all()
    pruned = shares[sizes > 0]
    assert abs(shares @ sizes / sizes.sum() - sparsity) < 1e-9
    assert (pruned >= max(0, sparsity - spread)).all()
    assert (pruned <= max(sparsity, min(CEILING, sparsity + spread))).all()


@settings(max_examples=60, deadline=None)
@given(case=cases(), sparsity=SPARSITY, spread=SPREAD)
def test_more_outliers_are_never_sparser(case, sparsity, spread):
    sizes, ratios = case
    shares = layer_sparsities("owl", sparsity, sizes, ratios, spread)[sizes > 0]
    in_order = shares[np.argsort(ratios[sizes > 0], kind="stable")]
    assert (np.diff(in_order) <= 1e-12).all()


@settings(max_examples=60, deadline=None)
@given(case=cases(), sparsity=SPARSITY, spread=SPREAD)
def test_later_layers_are_never_sparser_by_depth(case, sparsity, spread):
    sizes, _ = case
    shares = layer_sparsities("depth", sparsity, sizes, None, spread)[sizes > 0]
    assert (np.diff(shares) <= 1e-12).all()


@settings(max_examples=100, deadline=None)
@given(
    allocation=st.sampled_from(["owl", "owl-projection", "alpha", "depth"]),
    case=cases(),
    sparsity=SPARSITY,
    spread=SPREAD,
    matrices=st.data(),
)
def test_counted_weights_meet_the_overall_sparsity_to_one_weight(allocation, case, sparsity, spread, matrices):
    sizes, ratios = case
    shares = layer_sparsities(allocation, sparsity, sizes, ratios, spread)
    parts = [matrices.draw(st.integers(1, 7)) for _ in sizes]
    of_layer = np.repeat(np.arange(len(sizes)), parts)
    of_matrix = np.concatenate(
        [np.diff(np.arange(count + 1) * size // count) for size, count in zip(sizes, parts, strict=True)]
    )
    counts = weight_counts(shares[of_layer], of_matrix)
    assert abs(counts.sum() - sparsity * sizes.sum()) <= 1
    assert (abs(counts - shares[of_layer] * of_matrix) <= 1).all()
    assert ((counts >= 0) & (counts <= of_matrix)).all()


def test_owl_is_the_published_formula_where_nothing_is_clipped():
    """S_l = S − 2λ·(D_l − mean D)/(max D − min D), for a mean in the middle of the range."""
    ratios = np.array([0.01, 0.02, 0.04, 0.05])
    shares = layer_sparsities("owl", 0.5, np.full(4, 100), ratios, 0.08)
    np.testing.assert_allclose(shares, 0.5 - 0.16 * (ratios - 0.03) / 0.04, atol=1e-12)


def test_alpha_is_linear_in_the_exponent():
    shares = layer_sparsities("alpha", 0.5, np.full(3, 100), np.array([2.0, 3.0, 4.0]), 0.1)
    np.testing.assert_allclose(shares, [0.4, 0.5, 0.6])
    with pytest.raises(ValueError, match="alpha needs"):
        layer_sparsities("alpha", 0.5, np.ones(2))


@pytest.mark.parametrize("exponent", [1.5, 2.5, 4.0])
def test_the_tail_exponent_is_that_of_a_power_law(exponent):
    """A matrix whose eigenvalues are the quantiles of p(λ) ∝ λ^−α: Hill's estimate is α."""
    count = 400
    quantiles = (np.arange(count) + 0.5) / count
    eigenvalues = (1 - quantiles) ** (-1 / (exponent - 1))
    assert tail_exponent(torch.diag(torch.from_numpy(eigenvalues).sqrt())) == pytest.approx(exponent, rel=0.05)


def test_the_tail_exponent_ignores_scale_layout_and_rank():
    weight = torch.randn(40, 24, generator=torch.Generator().manual_seed(0))
    exponent = tail_exponent(weight)
    assert tail_exponent(7 * weight) == pytest.approx(exponent, rel=1e-4)
    assert tail_exponent(weight.T) == pytest.approx(exponent, rel=1e-4)
    assert tail_exponent(torch.cat([weight, weight])) == pytest.approx(exponent, rel=1e-3)
    assert np.isnan(tail_exponent(torch.zeros(4, 4)))


def test_depth_is_a_linear_ramp():
    np.testing.assert_allclose(layer_sparsities("depth", 0.5, np.full(5, 7), None, 0.08), [0.58, 0.54, 0.5, 0.46, 0.42])
    skipped = layer_sparsities("depth", 0.5, np.array([0, 7, 7, 7]), None, 0.08)
    np.testing.assert_allclose(skipped, [0, 0.58, 0.5, 0.42])


def test_uniform_is_the_sparsity_itself():
    assert layer_sparsities("uniform", 0.35, np.array([3, 0, 9])).tolist() == [0.35, 0, 0.35]
    assert layer_sparsities("owl", 0.35, np.array([3, 9]), np.array([0.1, 0.1])).tolist() == [0.35, 0.35]


def test_a_lone_layer_of_outliers_stays_within_the_range():
    shares = layer_sparsities("owl", 0.5, np.full(5, 10), np.array([0.2, 0, 0, 0, 0]), 0.08)
    np.testing.assert_allclose(shares, [0.42, 0.52, 0.52, 0.52, 0.52])


def test_refusals():
    with pytest.raises(UserError, match="Known: uniform, owl, owl-projection, alpha, depth"):
        layer_sparsities("random", 0.5, np.ones(2))
    with pytest.raises(UserError, match="nothing to prune"):
        layer_sparsities("uniform", 0.5, np.zeros(2))
    with pytest.raises(UserError, match="between 0 and 1"):
        layer_sparsities("uniform", 1.0, np.ones(2))
    with pytest.raises(UserError, match="not a number"):
        layer_sparsities("owl", 0.5, np.ones(2), np.array([np.nan, 0]))
    with pytest.raises(ValueError, match="owl needs"):
        layer_sparsities("owl", 0.5, np.ones(2))


@settings(max_examples=60, deadline=None)
@given(
    matrices=st.lists(
        st.lists(st.integers(0, 60).map(lambda value: 1.5**value), min_size=1, max_size=12), min_size=1, max_size=5
    ),
    threshold=st.floats(0.1, 20),
)
def test_the_outlier_ratio_is_that_of_all_scores_of_the_block_together(matrices, threshold):
    together = [value for matrix in matrices for value in matrix]
    level = threshold * sum(together) / len(together)
    found = outlier_ratio([torch.tensor([matrix], dtype=torch.float64) for matrix in matrices], threshold)
    clear = [abs(value - level) > 1e-9 * level for value in together]
    if all(clear):
        assert found == sum(value > level for value in together) / len(together)


def test_outliers_are_counted_against_the_mean_of_the_whole_block():
    # Against its own mean of 0.1 the one of the first matrix would be an outlier, against 13.4 of both it is none.
    quiet, loud = torch.zeros(1, 10), torch.full((1, 10), 26.7)
    quiet[0, 0] = 1.0
    assert outlier_ratio([quiet, loud], 5) == 0
    assert outlier_ratio([quiet], 5) == pytest.approx(1 / 10)
    small, large = torch.ones(10, 10), torch.ones(10, 10)
    large[0, :4] = 100.0
    # The mean of all 200 is 2.98, so 5 times it is 14.9: the 4 large ones of 200.
    assert outlier_ratio((score for score in (small, large)), 5) == pytest.approx(4 / 200)
    assert outlier_ratio([small], 5) == 0
    assert outlier_ratio([torch.zeros(3, 3)], 5) == 0
    assert outlier_ratio([], 5) == 0
