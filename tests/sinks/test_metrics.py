"""Metrics of sinks against slow loops and known cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.sinks import definitions, metrics
from analysis.specs import SinkParams
from tests.sinks.test_definitions import masses, pattern_of


def finite(row):
    return [float(value) for value in row if not math.isnan(value)]


@settings(max_examples=60, deadline=None)
@given(masses())
def test_entropy_and_gini_equal_loops(case):
    mass, _ = case
    entropy, gini = metrics.entropy(mass), metrics.gini(mass)
    for index in np.ndindex(mass.shape[:3]):
        values = finite(mass[index])
        count, total = len(values), sum(values)
        expected = -sum(value / total * math.log(value / total) for value in values if value > 0)
        assert entropy[index] == pytest.approx(expected / math.log(max(count, 2)), abs=1e-4)
        differences = sum(abs(one - other) for one in values for other in values)
        assert gini[index] == pytest.approx(differences / (2 * count * total), abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(masses())
def test_variances_equal_loops(case):
    mass, _ = case
    share = definitions.attention_share(mass)[:, 0, 0]
    by_position = metrics.position_variance(share)
    for position in range(share.shape[1]):
        values = finite(share[:, position])
        if not values:
            assert math.isnan(by_position[position])
            continue
        mean = sum(values) / len(values)
        assert by_position[position] == pytest.approx(
            sum((value - mean) ** 2 for value in values) / len(values), abs=1e-5
        )


@settings(max_examples=60, deadline=None)
@given(masses())
def test_head_metrics_equal_loops(case):
    mass, bidirectional = case
    params = SinkParams(k=0.5)
    pattern = pattern_of(mass, bidirectional)
    flags = definitions.find_sinks(definitions.mean_mass(mass), params, pattern.visible())
    heads = metrics.Heads(mass, flags, params, pattern.largest_mass)
    lifetime = metrics.HEAD_METRICS["lifetime"].compute(heads)
    variance = metrics.HEAD_METRICS["temporal-variance"].compute(heads)
    first = metrics.HEAD_METRICS["first"].compute(heads)
    for layer in range(mass.shape[1]):
        for head in range(mass.shape[2]):
            row = mass[:, layer, head]
            own = definitions.find_sinks(row, params, pattern.visible())
            runs, steps = 0, 0
            for position in range(row.shape[1]):
                history = own[:, position].tolist()
                steps += sum(history)
                runs += sum(now and not before for before, now in zip([False, *history[:-1]], history, strict=True))
            expected = steps / runs if runs else math.nan
            assert lifetime[layer, head] == pytest.approx(expected, nan_ok=True)
            centroid = finite(definitions.sink_centroid(row, own))
            spread = np.var(centroid) if len(centroid) > 1 else math.nan
            assert variance[layer, head] == pytest.approx(spread, nan_ok=True, abs=1e-5)
            for step in range(len(mass)):
                assert first[step, layer, head] == pytest.approx(row[step, 0] / len(finite(row[step])), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(masses())
def test_every_curve_has_a_number_a_step(case):
    mass, bidirectional = case
    mean = definitions.mean_mass(mass)
    flags = definitions.find_sinks(mean, SinkParams(k=1), pattern_of(mass, bidirectional).visible())
    for name, curve in metrics.CURVES.items():
        values = curve.compute(mean, flags, np.ones_like(flags))
        assert values.shape == (len(mass),), name
        if name in ("strength", "centroid", "turnover", "gini"):
            assert ((values[np.isfinite(values)] >= -1e-5) & (values[np.isfinite(values)] <= 1 + 1e-5)).all(), name


@settings(max_examples=60, deadline=None)
@given(masses(), st.floats(0.2, 1), st.integers(0, 1000))
def test_curves_equal_loops(case, part, seed):
    """Over the positions looked at: how many sinks, what share of all attention they get, how far shares lie apart."""
    mass, bidirectional = case
    mean = definitions.mean_mass(mass)
    looked_at = np.random.default_rng(seed).random(mean.shape) < part
    visible = pattern_of(mass, bidirectional).visible()
    flags = definitions.find_sinks(mean, SinkParams(k=0.5), visible) & looked_at
    found = {name: curve.compute(mean, flags, looked_at) for name, curve in metrics.CURVES.items()}
    for step, row in enumerate(mean.astype(float)):
        there = [position for position in range(len(row)) if not math.isnan(row[position])]
        whole = math.fsum(row[position] for position in there)
        at = [position for position in there if flags[step, position]]
        assert found["count"][step] == len(at)
        assert found["strength"][step] == pytest.approx(math.fsum(row[position] for position in at) / whole, rel=1e-4)
        shares = [row[position] / whole for position in there if looked_at[step, position]]
        if not shares:
            assert math.isnan(found["share-variance"][step])
            continue
        middle = math.fsum(shares) / len(shares)
        spread = math.fsum((share - middle) ** 2 for share in shares) / len(shares)
        assert found["share-variance"][step] == pytest.approx(spread, rel=1e-3, abs=1e-9)


def test_sinks_with_small_values_have_a_ratio_below_one():
    mass = np.ones((2, 1, 4, 5), np.float32)
    flags = np.zeros((2, 5), bool)
    flags[0, 1] = True
    norms = np.ones((2, 1, 2, 5), np.float32)
    norms[:, :, 1, 1] = 0.25
    ratio = metrics.HEAD_METRICS["value-norm"].compute(metrics.Heads(mass, flags, SinkParams(), None, norms))
    assert ratio[0, 0].tolist() == [1, 1, 0.25, 0.25]
    assert np.isnan(ratio[1]).all()
    with pytest.raises(ValueError, match="no value norms"):
        metrics.HEAD_METRICS["value-norm"].compute(metrics.Heads(mass, flags, SinkParams()))


def test_a_sink_that_stays_has_no_temporal_variance_and_one_that_moves_has():
    steps = np.arange(6)
    still = np.ones((6, 1, 1, 10), np.float32)
    moving = still.copy()
    still[:, 0, 0, 3] = 50
    moving[steps, 0, 0, steps + 2] = 50
    variance = []
    for mass in (still, moving):
        flags = definitions.find_sinks(definitions.mean_mass(mass), SinkParams())
        heads = metrics.Heads(mass, flags, SinkParams())
        variance.append(float(metrics.HEAD_METRICS["temporal-variance"].compute(heads)[0, 0]))
    assert variance[0] == 0
    assert variance[1] == pytest.approx(np.var((steps + 2) / 10))


def test_variance_points_follow_a_loop_and_can_leave_positions_out():
    rng = np.random.default_rng(0)
    mass = rng.pareto(1.5, (5, 2, 3, 12)).astype(np.float32) + 0.01
    mass *= 12 / mass.sum(-1, keepdims=True)
    counted = rng.random((5, 12)) < 0.5
    for by_head in (True, False):
        spatial, temporal, names = metrics.variance_points(mass, SinkParams(k=0.5), by_head, None, counted)
        groups = mass if by_head else mass.mean(2, keepdims=True)
        assert len(names) == groups.shape[1] * groups.shape[2]
        for index, (layer, head) in enumerate(np.ndindex(groups.shape[1:3])):
            share = groups[:, layer, head]  # the corrected share of a bidirectional head is its mass
            own = definitions.find_sinks(share, SinkParams(k=0.5)) & counted
            means = [
                share[counted[:, position], position].mean() for position in range(12) if counted[:, position].any()
            ]
            assert spatial[index] == pytest.approx(np.var(means), rel=1e-4)
            assert temporal[index] == pytest.approx(np.nanvar(definitions.sink_centroid(share, own)), rel=1e-4)


def test_the_highest_head_can_be_sought_in_one_layer_or_head():
    values = np.array([[1.0, 5.0, np.nan], [4.0, 2.0, 3.0]])
    assert metrics.highest(values) == (0, 1)
    assert metrics.highest(values, layer=1) == (1, 0)
    assert metrics.highest(values, head=2) == (1, 2)
    assert metrics.highest(np.full((2, 2), np.nan), layer=1) == (1, 0)


def test_the_strongest_position_counts_what_is_there():
    mass = np.array([[1.0, 2.0, np.nan], [1.0, 1.0, 2.5]], np.float32)[:, None]
    assert metrics.strongest_position(mass).tolist() == [1]
    assert metrics.strongest_position(mass[1:]).tolist() == [2]


@settings(max_examples=40, deadline=None)
@given(masses())
def test_known_moments_and_what_every_query_sees_change_nothing(case):
    mass, _ = case
    known = metrics.head_moments(mass)
    visible = pattern_of(mass, True).largest_mass
    for params in (SinkParams(k=0.5), SinkParams(definition="mean-attention"), SinkParams(definition="above-others")):
        for step in range(len(mass)):
            plain = definitions.find_sinks(mass[step], params)
            quick = definitions.find_sinks(mass[step], params, visible[step], known.at(step))
            np.testing.assert_array_equal(plain, quick)


def test_variances_of_a_causal_model_are_of_the_corrected_share():
    rng = np.random.default_rng(1)
    mass = np.full((3, 2, 2, 6), np.nan, np.float32)
    for step in range(3):
        mass[step, :, :, : step + 4] = rng.pareto(1.5, (2, 2, step + 4)) + 0.1
    uniform = pattern_of(mass, False).uniform_mass
    spatial, temporal, _ = metrics.variance_points(mass, SinkParams(k=0.5), True, uniform)
    share = definitions.corrected_share(mass, uniform)
    for index, (layer, head) in enumerate(np.ndindex(2, 2)):
        row = share[:, layer, head]
        own = definitions.find_sinks(row, SinkParams(k=0.5))
        means = np.array([np.mean(finite(column)) for column in row.T if np.isfinite(column).any()])
        assert spatial[index] == pytest.approx(np.var(means), rel=1e-4)
        expected = metrics.temporal_variance(definitions.sink_centroid(row, own))
        assert temporal[index] == pytest.approx(expected, rel=1e-4, nan_ok=True)
