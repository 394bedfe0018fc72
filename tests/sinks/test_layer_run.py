"""One recording by layer: sums by kind, movement and its nulls, checked against plain counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analysis.sinks.definitions import KINDS
from analysis.sinks.layer_run import LayerRun, counts_over_steps, curves, sums_by_kind
from analysis.sinks.metrics import CURVES
from analysis.sinks.movement import COINCIDENCES, held_fixed, movement, shuffled
from analysis.sinks.step_inputs import AttentionPattern, TokenState
from analysis.specs import SinkParams

LAYERS = 2


def a_run(steps: int = 5, positions: int = 12, seed: int = 0, block: int | None = None) -> LayerRun:
    """A text of which each step writes one more token, with random attention."""
    rng = np.random.default_rng(seed)
    mass = rng.gamma(0.3, size=(steps, LAYERS, positions)).astype(np.float32)
    mass *= positions / mass.sum(axis=-1, keepdims=True)
    written = np.arange(positions) < positions - steps + np.arange(steps)[:, None]
    state = np.where(written, TokenState.COMMITTED, TokenState.UNDECIDED).astype(np.int8)
    kinds = np.where(written, KINDS.index("word"), KINDS.index("[MASK]")).astype(np.int8)
    queries = np.tile([0, positions], (steps, 1)).astype(np.int32)
    starts = np.zeros(steps, int) if block is None else np.arange(steps) // block * block
    open_block = np.stack([starts, np.full(steps, positions)], axis=1).astype(np.int32)
    pattern = AttentionPattern("bidirectional", np.ones((steps, positions), bool), queries, open_block)
    return LayerRun(mass, kinds, state, pattern, 2, np.arange(positions))


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(bool, (5, LAYERS + 1, 12), elements=st.booleans()))
def test_sums_by_kind_are_those_of_counting_every_sink_in_every_step(sinks: np.ndarray) -> None:
    run = a_run()
    expected = {name: np.zeros((LAYERS + 1, len(KINDS))) for name in ("sinks", "share", "runs", "lived")}
    for scope in range(LAYERS + 1):
        for position in range(12):
            born = -1
            for step in range(5):
                if not sinks[step, scope, position]:
                    continue
                kind = run.kinds[step, position]
                expected["sinks"][scope, kind] += 1
                expected["share"][scope, kind] += run.corrected_share[step, scope, position]
                if step == 0 or not sinks[step - 1, scope, position]:
                    born = kind
                    expected["runs"][scope, born] += 1
                expected["lived"][scope, born] += 1
    sums = sums_by_kind(run, sinks)
    for name, values in expected.items():
        np.testing.assert_allclose(sums[name], values, rtol=1e-5, err_msg=name)
    assert counts_over_steps(run, sinks).sum(axis=1).tolist() == expected["sinks"].tolist()
    assert sums["lived"].sum() == sums["sinks"].sum()


def test_the_last_scope_is_all_layers_together() -> None:
    run = a_run()
    np.testing.assert_allclose(run.by_scope[:, -1], run.mass.mean(axis=1), rtol=1e-6)
    values = curves(run, run.sinks(SinkParams()))
    assert values.shape == (LAYERS + 1, len(CURVES), 5)
    count = values[:, list(CURVES).index("count")]
    assert count.tolist() == run.sinks(SinkParams()).sum(axis=-1).T.tolist()


def test_a_death_at_a_token_that_was_just_written_coincides_with_writing() -> None:
    run = a_run(block=2)
    written = [int(np.flatnonzero(run.state[step] == TokenState.UNDECIDED)[0]) for step in range(5)]
    sinks = np.zeros((5, LAYERS + 1, 12), bool)
    sinks[0, 0, written[0]] = True  # written after step 0
    sinks[1, 1, written[1] + 1] = True  # its neighbour is written, and a block opened: the nearer thing counts
    sinks[1, 2, 0] = True  # far from what is written, while a block is opened
    sinks[2:, 2, 5] = True  # born then, too, and lives on
    sums = movement(run, sinks)
    names = list(COINCIDENCES)
    assert [names[int(row.argmax())] for row in sums["deaths"]] == ["written", "neighbour", "block"]
    assert sums["deaths"].sum() == 3
    assert sums["births"][2, names.index("block")] == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_shuffling_leaves_each_step_as_many_sinks_of_each_state(seed: int) -> None:
    run = a_run(seed=seed)
    sinks = run.sinks(SinkParams(k=1))
    from analysis.sinks import movement as module

    for changed, flags in module._shuffles(run, sinks, 3, np.random.default_rng(seed)):
        for state in (TokenState.COMMITTED, TokenState.UNDECIDED):
            there = (run.state == state)[:, None]
            assert (flags & there).sum(axis=-1).tolist() == (sinks & there).sum(axis=-1).tolist()
        np.testing.assert_allclose(np.sort(changed.mass, axis=-1), np.sort(run.mass, axis=-1), rtol=1e-6)
    still = movement(run, np.broadcast_to(sinks[:1], sinks.shape))
    moved = shuffled(run, np.broadcast_to(sinks[:1], sinks.shape), 5, np.random.default_rng(0))
    assert still["births"].sum() == 0 < moved["births"].sum()


def test_held_fixed_moves_nothing_where_no_token_is_written_and_keeps_what_writing_moves() -> None:
    run = a_run()
    still = LayerRun(
        run.mass, np.zeros_like(run.kinds), np.full_like(run.state, 0), run.pattern, run.prompt_length, run.final
    )
    assert movement(still, still.sinks(SinkParams()))["change_squares"].sum() > 0
    sums = held_fixed(still, SinkParams())
    assert sums["change_squares"].max() < 1e-9 and sums["births"].sum() == sums["deaths"].sum() == 0
    by_state = np.where(run.state == TokenState.UNDECIDED, 2.0, 0.5).astype(np.float32)
    only_writing = run.with_mass(np.repeat(by_state[:, None], LAYERS, axis=1))
    recorded = movement(only_writing, only_writing.sinks(SinkParams()))
    for name, values in held_fixed(only_writing, SinkParams()).items():
        np.testing.assert_allclose(values, recorded[name], rtol=1e-5, err_msg=name)
