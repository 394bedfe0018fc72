"""What recorded routes say, against slow loops and cases whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.sinks import routing
from analysis.sinks.definitions import mean_of_finite

STEPS, LAYERS, CHOSEN, POSITIONS, EXPERTS = 4, 2, 2, 7, 5


def routes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    order = rng.random((STEPS, LAYERS, POSITIONS, EXPERTS)).argsort(axis=-1)[..., :CHOSEN]
    return order.transpose(0, 1, 3, 2).astype(np.uint8), rng.random((STEPS, POSITIONS)) < 0.7


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_load_and_turnover_are_those_of_a_slow_loop(seed):
    experts, where = routes(seed)
    shares, changed = routing.load(experts, where, EXPERTS), routing.turnover(experts, where)
    for step in range(STEPS):
        for layer in range(LAYERS):
            chosen = [int(expert) for at in np.flatnonzero(where[step]) for expert in experts[step, layer, :, at]]
            if chosen:
                expected = [chosen.count(expert) / len(chosen) for expert in range(EXPERTS)]
                np.testing.assert_allclose(shares[step, layer], expected)
            else:
                assert np.isnan(shares[step, layer]).all()
            new = [
                len(set(experts[step, layer, :, at].tolist()) - set(experts[step - 1, layer, :, at].tolist())) / CHOSEN
                for at in range(POSITIONS)
                if step and where[step, at] and where[step - 1, at]
            ]
            assert changed[step, layer] == pytest.approx(np.mean(new)) if new else np.isnan(changed[step, layer])
    mean = mean_of_finite(changed, 1)
    assert np.isnan(mean[0])


def test_an_even_load_has_all_the_entropy_and_one_expert_alone_none():
    shares = np.array([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(routing.entropy(shares), [1, 0, 0.5])
    np.testing.assert_allclose(routing.unused(shares), [0, 0.75, 0.5])
    np.testing.assert_allclose(routing.distance(shares, shares[:1]), [0, 0.75, 0.5])
    assert np.isnan(routing.unused(np.full(4, np.nan)))


def test_means_over_steps_leave_out_steps_of_nothing():
    shares = np.stack([np.full((1, 2), np.nan), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])])
    np.testing.assert_allclose(mean_of_finite(shares), [[0.5, 0.5]])
    assert np.isnan(mean_of_finite(shares[:1])).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_random_tokens_are_as_many_of_the_same_states_and_none_of_the_sinks(seed):
    rng = np.random.default_rng(seed)
    state, among = rng.integers(0, 3, (STEPS, 12)), rng.random((STEPS, 12)) < 0.8
    flags = among & (rng.random((STEPS, 12)) < 0.2)
    drawn = routing.drawn_alike(flags, state, among, rng)
    assert not (drawn & flags).any()
    assert not (drawn & ~among).any()
    for step in range(STEPS):
        for kind in range(3):
            of_kind = state[step] == kind
            there = int((among[step] & ~flags[step] & of_kind).sum())
            assert (drawn[step] & of_kind).sum() == min(int((flags[step] & of_kind).sum()), there)


def test_the_experts_that_differ_most_come_in_order():
    assert routing.most_different(np.array([0.1, 0.5, 0.0, 0.4]), np.array([0.1, 0.1, 0.3, 0.5]), 2).tolist() == [1, 2]


def test_positions_without_weights_were_not_routed():
    weights = np.full((2, 1, 2, 3), np.nan)
    weights[1, :, :, 1] = 0.5
    assert routing.routed(weights).tolist() == [[False] * 3, [False, True, False]]
