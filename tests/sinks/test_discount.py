"""Token weights from attention mass, against the formula written out and the published scores."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.sinks.definitions import moments
from analysis.sinks.discount import sink_scores, step_weights, token_weights
from analysis.specs import DiscountParams, StepParams

# Hundredths: masses so small that their squares vanish in float32 do not occur.
MASS = arrays(np.float32, (2, 3, 2, 6), elements=st.integers(0, 5000).map(lambda value: np.float32(value / 100)))


def slow_score(row: list[float], params: DiscountParams) -> list[float]:
    mean = sum(row) / len(row)
    std = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row))
    scores = []
    for value in row:
        if params.sink_score == "hard":
            scores.append(float(value > mean + params.sink_std * std))
            continue
        if params.alpha_unit == "std":
            argument = ((value - mean) / std if std > 1e-6 * mean else 0) - params.sink_std
        else:
            argument = value - (mean + params.sink_std * std)
        argument = max(-500.0, min(500.0, params.sink_alpha * argument))
        scores.append(1 / (1 + math.exp(-argument)))
    return scores


@given(MASS, st.floats(0, 4), st.floats(0.5, 5), st.sampled_from(["raw", "std"]))
def test_soft_scores_equal_the_formula(mass, k, alpha, unit):
    params = DiscountParams(sink_std=k, sink_alpha=alpha, alpha_unit=unit)
    found = sink_scores(mass, params)
    for index in np.ndindex(mass.shape[:-1]):
        row = [float(value) for value in mass[index]]
        if unit == "std" and 0 < np.std(row) < 1e-3 * np.mean(row):
            continue  # float32 cannot tell so small a deviation from none
        assert found[index] == pytest.approx(slow_score(row, params), abs=2e-3)


def test_soft_score_is_half_at_the_threshold_and_steep():
    """Of 1, 2, 3, 6 the mean is 3 and the deviation √3.5: with k = 3/√3.5 the last lies on the threshold of 6."""
    mass = np.array([[1.0, 2.0, 3.0, 6.0]], np.float32)
    k = 3 / math.sqrt(3.5)
    for alpha in (0.5, 2.0, 5.0):
        score = sink_scores(mass, DiscountParams(sink_std=k, sink_alpha=alpha))[0]
        expected = [1 / (1 + math.exp(alpha * (6 - value))) for value in (1, 2, 3)]
        assert score == pytest.approx([*expected, 0.5], abs=1e-5)
    assert sink_scores(mass, DiscountParams(sink_std=k - 1))[0, 3] > 0.999, "√3.5 above the threshold"


@given(MASS, st.integers(1, 5))
def test_positions_that_are_not_there_change_no_score(mass, missing):
    params = DiscountParams()
    padded = np.concatenate([mass, np.full((*mass.shape[:-1], missing), np.nan, np.float32)], axis=-1)
    assert sink_scores(padded, params)[..., :6] == pytest.approx(sink_scores(mass, params), abs=2e-3)


@given(MASS, st.sampled_from(["raw", "std"]), st.sampled_from(["soft", "hard"]))
def test_scores_by_the_known_moments_of_a_row_are_those_of_the_row(mass, unit, score):
    params = DiscountParams(alpha_unit=unit, sink_score=score, sink_std=1.0)
    some = sink_scores(mass[..., 2:4], params, moments(mass))
    assert np.array_equal(some, sink_scores(mass, params)[..., 2:4])


def test_hard_scores_are_one_above_the_threshold_alone():
    mass = np.array([1.0] * 9 + [11.0], np.float32)
    scores = sink_scores(mass, DiscountParams(sink_score="hard"))
    assert scores.tolist() == [0] * 9 + [1]


def test_the_published_scores_are_met(golden):
    _, expected, _ = golden
    mass = expected["attention_mass"].numpy()
    weights = token_weights(mass, DiscountParams())
    assert weights.shape == (4, 5, 1, 48)
    assert abs(1 - weights[:, :, 0] - expected["soft_sink_score"].numpy()).max() < 1e-4


@given(MASS, st.floats(0, 1))
def test_scope_steps_and_strength_do_what_they_say(mass, strength):
    each = DiscountParams(discount_strength=strength)
    layer = token_weights(mass, each.model_copy(update={"sink_scope": "layer"}))
    assert layer.shape == (2, 3, 2, 6)
    assert np.array_equal(layer[:, :, 1], token_weights(mass[:, :, 1:], each)[:, :, 0])
    mean = token_weights(mass, each.model_copy(update={"sink_steps": "mean"}))
    assert mean.shape == (2, 1, 1, 6)
    assert np.allclose(mean, token_weights(mass, each).mean(axis=1, keepdims=True), atol=1e-6)
    full = 1 - token_weights(mass, DiscountParams())
    assert np.allclose(1 - token_weights(mass, each), strength * full, atol=1e-6)


def test_steps_weigh_by_their_noise_in_either_order():
    levels, every = (1, 25, 50), {"first_step": 1, "last_step": 50}
    assert step_weights(levels, 50, StepParams(step_weighting="noisy", **every)).tolist() == [0.02, 0.5, 1.0]
    assert step_weights(levels, 50, StepParams(step_weighting="clean", **every)).tolist() == [1.0, 0.52, 0.02]
    assert step_weights(levels, 50, StepParams(first_step=2, last_step=25)).tolist() == [0.0, 1.0, 0.0]
