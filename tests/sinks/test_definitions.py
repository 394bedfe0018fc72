"""Sink formulas against slow loops and known cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.sinks import definitions
from analysis.sinks.step_inputs import AttentionPattern, expected_share
from analysis.specs import DEFINITIONS, SinkParams


@st.composite
def masses(draw):
    """Mass (T, L, H, S) whose heads sum to S; causal ones grow and are padded with NaN."""
    steps, layers, heads, length = (draw(st.integers(1, size)) for size in (4, 3, 3, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    causal = draw(st.booleans())
    mass = np.full((steps, layers, heads, length), np.nan, np.float32)
    for step in range(steps):
        present = max(1, length - steps + step + 1) if causal else length
        raw = rng.pareto(1.5, (layers, heads, present)) + 1e-3
        mass[step, :, :, :present] = raw / raw.sum(-1, keepdims=True) * present
    return mass, not causal


def pattern_of(mass, bidirectional):
    """How a model attends whose mass (T, …, S) is NaN from where the text has not got to."""
    there = np.isfinite(mass.reshape(len(mass), -1, mass.shape[-1])[:, 0])
    queries = np.stack([np.zeros(len(mass), int), there.sum(axis=1)], axis=1)
    return AttentionPattern("bidirectional" if bidirectional else "causal", there, queries, queries)


def present(row):
    return [index for index, value in enumerate(row) if not math.isnan(value)]


@settings(max_examples=80, deadline=None)
@given(masses(), st.floats(0, 3))
def test_deviation_sinks_equal_a_loop(case, k):
    mass, bidirectional = case
    total = definitions.total_mass(mass)
    found = definitions.find_sinks(total, SinkParams(k=k), pattern_of(mass, bidirectional).visible())
    for step, row in enumerate(total):
        values = [float(row[index]) for index in present(row)]
        mean = sum(values) / len(values)
        std = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
        for index in range(len(row)):
            margin = float(row[index]) - (mean + k * std) if index in present(row) else -1
            if abs(margin) > 1e-3 * max(1.0, mean):
                assert found[step, index] == (margin > 0)


@settings(max_examples=80, deadline=None)
@given(masses(), st.floats(0.05, 0.9), st.floats(0.5, 8))
def test_the_other_definitions_equal_loops(case, level, epsilon):
    mass, bidirectional = case
    mean, visible = definitions.mean_mass(mass), pattern_of(mass, bidirectional).visible()
    by_attention = definitions.find_sinks(mean, SinkParams(definition="mean-attention", attention_level=level), visible)
    by_others = definitions.find_sinks(mean, SinkParams(definition="above-others", epsilon=epsilon), visible)
    for step, row in enumerate(mean):
        there = present(row)
        for index in range(len(row)):
            if index not in there:
                assert not by_attention[step, index]
                assert not by_others[step, index]
                continue
            queries = len(there) if bidirectional else len(there) - index
            margin = float(row[index]) / queries - level
            if abs(margin) > 1e-4:
                assert by_attention[step, index] == (margin > 0)
            others = [float(row[other]) for other in there if other != index]
            margin = float(row[index]) - sum(others) / max(len(others), 1) - epsilon
            if abs(margin) > 1e-3:
                assert by_others[step, index] == (margin > 0)


@settings(max_examples=60, deadline=None)
@given(masses())
def test_strength_centroid_and_turnover_equal_loops(case):
    mass, bidirectional = case
    total = definitions.total_mass(mass)
    pattern = pattern_of(mass, bidirectional)
    found = definitions.find_sinks(total, SinkParams(k=0.5), pattern.visible())
    strength = definitions.sink_strength(mass, found)
    centroid = definitions.sink_centroid(total, found)
    turned = definitions.turnover(found)
    uniform = definitions.uniform_strength(found, pattern.uniform_share)
    for step in range(len(mass)):
        at = np.flatnonzero(found[step])
        for layer in range(mass.shape[1]):
            for head in range(mass.shape[2]):
                row = mass[step, layer, head]
                expected = sum(float(row[index]) for index in at) / sum(float(row[index]) for index in present(row))
                assert strength[step, layer, head] == pytest.approx(expected, rel=1e-4)
        length = len(present(total[step]))
        if len(at) == 0:
            assert math.isnan(centroid[step])
        else:
            weights = [float(total[step, index]) for index in at]
            expected = sum(index * weight for index, weight in zip(at, weights, strict=True)) / sum(weights) / length
            assert centroid[step] == pytest.approx(expected, rel=1e-4)
        shares = shares_by_formula(length, bidirectional)
        assert uniform[step] == pytest.approx(sum(shares[index] for index in at))
        if step:
            before, after = set(np.flatnonzero(found[step - 1])), set(at)
            if before | after:
                assert turned[step - 1] == pytest.approx(1 - len(before & after) / len(before | after))
            else:
                assert math.isnan(turned[step - 1])


def shares_by_formula(length, bidirectional):
    """1/S for each key when bidirectional; (1/S)·Σ_{q≥s} 1/(q+1) when causal."""
    if bidirectional:
        return [1 / length] * length
    return [sum(1 / (query + 1) for query in range(key, length)) / length for key in range(length)]


@given(st.integers(1, 60))
def test_uniform_shares_follow_their_formulas(length):
    for kind in ("bidirectional", "causal"):
        share = expected_share(kind, (), (0, length), np.ones(length, bool))
        assert share.sum() == pytest.approx(1)
        np.testing.assert_allclose(share, shares_by_formula(length, kind == "bidirectional"), rtol=1e-9)


def test_uniform_causal_attention_gives_the_first_of_48_its_known_share():
    assert expected_share("causal", (), (0, 48), np.ones(48, bool))[0] == pytest.approx(0.093, abs=5e-4)


def test_half_precision_mass_is_summed_in_float32():
    mass = np.full((1, 32, 64, 4), 1.0, np.float16)
    mass[..., 0] = 1.001
    total = definitions.total_mass(mass)
    assert total.dtype == np.float32
    np.testing.assert_allclose(total[0], 32 * 64 * mass[0, 0, 0].astype(np.float32), rtol=1e-6)


def test_gaussian_reference_counts_what_noise_would_give():
    rng = np.random.default_rng(0)
    noise = rng.normal(10, 1, (4000, 48)).astype(np.float32)
    counted = definitions.find_sinks(noise, SinkParams(k=2.0)).sum(-1).mean()
    expected = definitions.gaussian_reference(np.array([48]), SinkParams(k=2.0))
    assert expected == pytest.approx(1.092, abs=1e-3)
    assert counted == pytest.approx(expected[0], rel=0.1)
    assert definitions.gaussian_reference(np.array([48]), SinkParams(definition="mean-attention")) is None


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_definition_names_its_parameter_and_has_its_threshold(definition):
    assert DEFINITIONS[definition].parameter in SinkParams.model_fields
    assert definition in definitions.THRESHOLDS


@settings(max_examples=60, deadline=None)
@given(masses(), st.sampled_from(list(DEFINITIONS)))
def test_a_common_threshold_divides_the_sinks_of_a_step_from_the_rest(case, definition):
    mass, bidirectional = case
    params = SinkParams(definition=definition)
    visible = pattern_of(mass, bidirectional).visible()
    for row, seen in zip(definitions.mean_mass(mass), visible, strict=True):
        level = definitions.common_threshold(row, params, seen)
        if level is None:
            assert DEFINITIONS[definition].parameter == "attention_level" and not bidirectional
        else:
            sinks = definitions.find_sinks(row, params, seen)
            np.testing.assert_array_equal(sinks, row > np.float32(level))


def test_kinds_follow_masking_then_position_then_text():
    tokens = np.array([[2, 9, 7, 1, 3, 8], [2, 9, 7, 8, -1, -1]])
    masked = tokens == 1
    text = {1: "[MASK]", 2: "[BOS]", 3: "[EOS]", 7: " ,", 8: "dog", 9: "it's"}
    kinds = definitions.token_kinds(tokens, masked, text, {3})
    names = [[definitions.KINDS[kind] if kind >= 0 else None for kind in row] for row in kinds]
    assert names[0] == ["first", "word", "punctuation", "[MASK]", "end of text", "last"]
    assert names[1] == ["first", "word", "punctuation", "last", None, None]
    flags = np.ones_like(masked)
    assert definitions.count_by_kind(flags, kinds).sum(axis=1).tolist() == [6, 4]


def test_the_bundled_model_has_sinks_that_move(trajectory):
    total = definitions.total_mass(trajectory.mass)
    found = definitions.find_sinks(total, SinkParams())
    assert found.any(axis=1).mean() > 0.5
    assert len({tuple(np.flatnonzero(row)) for row in found}) > 1


def test_strength_at_another_recordings_sinks_is_a_sum_over_its_positions():
    rng = np.random.default_rng(0)
    mass, flags = rng.random((3, 5)).astype(np.float32), rng.random((4, 6)) < 0.5
    mass[2, 3:] = np.nan  # a text that has not got there
    got = definitions.strength_at(mass, flags)
    for step in range(3):
        there = [s for s in range(5) if not np.isnan(mass[step, s])]
        expected = sum(mass[step, s] for s in there if flags[step, s]) / sum(mass[step, s] for s in there)
        assert got[step] == pytest.approx(expected)
    assert len(got) == 3


def test_kept_share_has_no_number_where_there_was_nothing_to_keep():
    kept = definitions.kept_share(np.array([0.2, 0.3, 0.1]), np.array([0.4, 0.0]))
    np.testing.assert_array_equal(kept, [0.5, np.nan])


def test_shared_inputs_leave_padding_out():
    first = np.array([[1, 2, 3], [1, 2, -1]])
    other = np.array([[1, 9, 3, 4], [1, 2, 3, 4], [0, 0, 0, 0]])
    assert definitions.shared_inputs(first, other) == pytest.approx(4 / 5)
