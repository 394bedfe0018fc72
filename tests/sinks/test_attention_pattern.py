"""What uniform attention gives each key, against loops over queries and keys and a model whose queries are all 0."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from analysis.attention import IMPLEMENTATION, MassObserver, register
from analysis.sinks.definitions import attention_share, corrected_share, find_sinks, mean_mass
from analysis.sinks.metrics import variance_points
from analysis.sinks.step_inputs import AttentionPattern, expected_share, seeing_queries
from analysis.specs import SinkParams
from tests.helpers import TINY
from tests.recording.block_texts import block_trajectory

KINDS = ("bidirectional", "block-causal", "open-block", "causal")


def sees(kind, starts, end, window, query, key):
    """Whether a query sees a key, by the words of `AttentionKind`."""
    before_query = [start for start in starts if start <= query]
    block_start = max(before_query, default=0)
    after_query = [start for start in starts if start > query]
    block_end = min(after_query, default=end)
    if kind == "bidirectional":
        return key < end and (not window or abs(query - key) < window)
    if kind == "causal" or (kind == "open-block" and not before_query):
        from_where, visible = query, key <= query
    else:
        from_where, visible = block_start, key < block_end
    return visible and key < end and (not window or key > from_where - window)


@st.composite
def texts(draw):
    length = draw(st.integers(1, 14))
    end = draw(st.integers(1, length))
    start = draw(st.integers(0, end - 1))
    present = np.array([draw(st.booleans()) if position < end else False for position in range(length)])
    present[draw(st.integers(start, end - 1))] = True
    starts = sorted(draw(st.sets(st.integers(0, length - 1), max_size=4)))
    return draw(st.sampled_from(KINDS)), starts, (start, end), present, draw(st.sampled_from([0, 1, 2, 5]))


@settings(max_examples=400, deadline=None)
@given(texts())
def test_uniform_shares_and_seeing_queries_equal_loops(case):
    kind, starts, (start, end), present, window = case
    if kind == "open-block":
        starts = starts[:1]
    length = len(present)
    asking = [query for query in range(start, end) if present[query]]
    share, seeing = np.zeros(length), np.zeros(length)
    for query in asking:
        keys = [key for key in range(length) if present[key] and sees(kind, starts, end, window, query, key)]
        for key in keys:
            share[key] += 1 / len(keys) / len(asking)
            seeing[key] += 1
    got = expected_share(kind, starts, (start, end), present, window)
    np.testing.assert_allclose(got[present], share[present], atol=1e-12)
    assert np.isnan(got[~present]).all()
    np.testing.assert_allclose(seeing_queries(kind, starts, (start, end), present, window), seeing, atol=1e-9)


# --- a model whose queries are 0 --------------------------------------------------------------------------------

LENGTH, BLOCK, PROMPT = 20, 4, 6


@pytest.fixture(scope="module")
def even_model():
    """A tiny Llama on our attention whose queries are all 0, so that each spreads its attention evenly."""
    register()
    torch.manual_seed(0)
    network = LlamaForCausalLM(LlamaConfig(**TINY, attn_implementation=IMPLEMENTATION)).eval()
    for block in network.model.layers:
        torch.nn.init.zeros_(block.self_attn.q_proj.weight)
    return network


def mask_of(kind: str, starts, end: int, window: int = 0) -> torch.Tensor:
    rows = [[sees(kind, starts, end, window, query, key) for key in range(end)] for query in range(end)]
    return torch.tensor(rows)[None, None]


@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize(
    ("kind", "starts"),
    [
        ("bidirectional", ()),
        ("causal", ()),
        ("block-causal", range(0, LENGTH, BLOCK)),
        ("block-causal", (0, *range(PROMPT % BLOCK, LENGTH, BLOCK))),
        ("open-block", (PROMPT + 2 * BLOCK,)),
    ],
)
def test_a_model_with_even_attention_has_a_corrected_share_of_one(even_model, kind, starts, window):
    observer = MassObserver()
    with torch.no_grad():
        even_model(
            input_ids=torch.arange(5, 5 + LENGTH)[None],
            attention_mask=mask_of(kind, starts, LENGTH, window),
            attn_observer=observer,
            use_cache=False,
        )
    mass = observer.take().mass.numpy()
    opened = (starts[0] if kind == "open-block" else 0, LENGTH)
    pattern = AttentionPattern(
        kind, np.ones((1, LENGTH), bool), np.array([[0, LENGTH]]), np.array([opened]), tuple(starts), (window,) * 2
    )
    np.testing.assert_allclose(corrected_share(mass, pattern.uniform_mass), 1, atol=1e-6)
    assert pattern.uniform_share.sum() == pytest.approx(1)
    assert not find_sinks(corrected_share(mass, pattern.uniform_mass), SinkParams(definition="above-others")).any()


def test_queries_of_the_open_block_alone_have_one_too(even_model):
    """As with a cached prefix: keys are the whole text so far, queries its last block."""
    start = LENGTH - BLOCK
    sums = []

    def observe(layer, inputs):
        probabilities = torch.cat(list(inputs.probabilities()), dim=2)
        sums.append(probabilities[:, :, start:].sum(dim=2))

    with torch.no_grad():
        even_model(
            input_ids=torch.arange(5, 5 + LENGTH)[None],
            attention_mask=mask_of("block-causal", range(0, LENGTH, BLOCK), LENGTH),
            attn_observer=observe,
            use_cache=False,
        )
    mass = torch.stack(sums, dim=1).numpy()
    np.testing.assert_allclose(mass.sum(-1), BLOCK, rtol=1e-5)
    queries = np.array([[start, LENGTH]])
    pattern = AttentionPattern(
        "block-causal", np.ones((1, LENGTH), bool), queries, queries, tuple(range(0, LENGTH, BLOCK))
    )
    relative = mass * np.float32(LENGTH / BLOCK)
    np.testing.assert_allclose(corrected_share(relative, pattern.uniform_mass), 1, atol=1e-6)
    np.testing.assert_allclose(attention_share(relative).sum(-1), 1, rtol=1e-5)
    # A key that all four queries attend to alone has a mean attention of 1 from the queries that see it.
    assert pattern.visible().tolist() == [[LENGTH] * LENGTH]


def test_layers_with_windows_have_uniform_shares_of_their_own():
    pattern = AttentionPattern(
        "causal", np.ones((1, 8), bool), np.array([[0, 8]]), np.array([[8, 8]]), windows=(0, 3, 0)
    )
    assert pattern.uniform_mass.shape == pattern.largest_mass.shape == (1, 3, 1, 8)
    np.testing.assert_array_equal(pattern.uniform_mass[0, 0], pattern.uniform_mass[0, 2])
    assert pattern.visible(1)[0].tolist() == [3, 3, 3, 3, 3, 3, 2, 1]
    assert pattern.visible(0)[0].tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    np.testing.assert_allclose(pattern.uniform_share.sum(), 1)


@pytest.mark.parametrize("cached", [False, True])
def test_measures_of_a_text_of_blocks_are_of_the_shares(cached):
    """Which part of the text asks changes the mass, but no measure that is made of shares."""
    recording = block_trajectory(cached)
    relative, pattern = recording.relative_mass(), recording.pattern
    asking = 4 if cached else recording.present.sum(axis=1)[:, None, None, None]
    np.testing.assert_allclose(attention_share(relative), recording.mass / asking, rtol=1e-5)
    level, mean = 0.1, mean_mass(relative)
    flags = find_sinks(mean, SinkParams(definition="mean-attention", attention_level=level), pattern.visible())
    for step in range(recording.steps):
        start, end = recording.queries[step]
        for key in range(recording.positions):
            if not recording.present[step, key]:
                assert not flags[step, key]
                continue
            block = max(at for at in recording.info.block_starts if at <= key)
            seeing = sum(query >= block for query in range(start, end))  # queries of its block and of later ones
            attention = recording.mass[step, :, :, key].mean() / seeing if seeing else 0
            if abs(attention - level) > 1e-5:
                assert flags[step, key] == (attention > level)
    spatial, temporal, names = variance_points(relative, SinkParams(k=1), False, pattern.uniform_mass)
    assert len(spatial) == len(temporal) == len(names) == 2 and np.isfinite(spatial).all()
