"""The observer: exact mass whatever the chunk, the mask or the grouping, and never a whole layer's S×S tensor."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from analysis import attention
from analysis.attention import AttentionInputs, MapObserver, MassObserver
from analysis.models.load import load
from analysis.specs import ModelSpec
from tests.helpers import save_tiny


def plain_probabilities(query, key, mask, scaling, causal):
    """The textbook formula, all at once."""
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = (query @ key.transpose(2, 3)) * scaling
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    if causal:
        size = query.shape[2]
        scores = scores.masked_fill(torch.ones(size, size).triu(1).bool(), float("-inf"))
    return scores.softmax(-1)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 40),
    groups=st.sampled_from([(4, 4), (4, 2), (4, 1)]),
    chunk=st.integers(1, 50),
    causal=st.booleans(),
    padding=st.integers(0, 5),
    pieces=st.integers(1, 10_000),
    seed=st.integers(0, 1000),
)
def test_chunked_probabilities_equal_the_textbook(length, groups, chunk, causal, padding, pieces, seed):
    heads, key_heads = groups
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(2, heads, length, 8, generator=generator)
    key = torch.randn(2, key_heads, length, 8, generator=generator)
    mask = None
    if padding and padding < length and not causal:
        mask = torch.ones(2, 1, length, length, dtype=torch.bool)
        mask[..., -padding:] = False
    value = torch.randn(2, key_heads, length, 8, generator=generator)
    inputs = AttentionInputs(query, key, value, mask, 0.3, causal)
    whole = torch.cat(list(inputs.probabilities(chunk)), dim=2)
    expected = plain_probabilities(query, key, mask, 0.3, causal)
    assert torch.allclose(whole, expected, atol=1e-5)
    observer = MassObserver()
    observer.rows = 1
    observer(0, inputs)
    mass, norms, _ = observer.take()
    assert mass.shape == (1, 1, heads, length)
    assert torch.allclose(norms, value[:1, None].square().sum(-1).sqrt())
    assert torch.allclose(mass[:, 0], expected[:1].sum(2), atol=1e-4)
    with patch.object(attention, "_CACHED", pieces):
        assert torch.allclose(inputs.mass(), expected.sum(2), atol=1e-4)
    single = MapObserver(0, heads - 1)
    single(0, inputs)
    assert torch.allclose(single.map, expected[0, heads - 1], atol=1e-5)


def test_observing_changes_no_logit(bundled):
    ids = torch.arange(5, 45)[None]
    assert torch.equal(bundled.predict(ids), bundled.predict(ids, MassObserver()))


@pytest.mark.parametrize("causal", [True, False])
def test_mass_equals_transformers_own_eager_attention(tmp_path, causal):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    model = load(ModelSpec(source=str(tmp_path), device="cpu"))
    eager = LlamaForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    model.network.config.is_causal = causal
    eager.config.is_causal = causal
    for network in (model.network, eager):
        for layer in network.model.layers:
            layer.self_attn.is_causal = causal
    ids = torch.arange(5, 25)[None]
    observer = MassObserver()
    model.predict(ids, observer)
    attentions = torch.stack(eager(ids, output_attentions=True).attentions, dim=1)
    assert torch.allclose(observer.take().mass, attentions.sum(dim=3), atol=1e-5)
    if causal:
        assert attentions[0, 0, 0, 0, 1] == 0


def test_half_precision_mass_is_what_fused_attention_computes():
    """With the identity as values, SDPA's output is its attention: the mass must agree with that of the same inputs."""
    generator = torch.Generator().manual_seed(0)
    query, key = (8 * torch.randn(1, 2, 48, 16, generator=generator) for _ in range(2))
    query, key = query.bfloat16(), key.bfloat16()
    value = torch.eye(48)[None, None].expand(1, 2, 48, 48)
    fused = torch.nn.functional.scaled_dot_product_attention(query.float(), key.float(), value, scale=0.25)
    inputs = AttentionInputs(query, key, query, None, 0.25, False)
    assert (torch.cat(list(inputs.probabilities()), dim=2) - fused).abs().max() < 1e-4


def test_padding_is_not_ignored(bundled):
    ids = torch.arange(5, 25)[None]
    observer = MassObserver()
    keep = torch.ones_like(ids)
    keep[0, -4:] = 0
    bundled.network(input_ids=ids, attention_mask=keep, use_cache=False, attn_observer=observer)
    mass = observer.take().mass
    assert mass[..., -4:].abs().max() == 0
    assert torch.allclose(mass.sum(-1), torch.tensor(20.0))


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements any operation has returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_layer_ever_holds_its_whole_attention(bundled):
    length, heads = 1024, bundled.geometry.heads  # more scores than one piece holds
    ids = torch.randint(5, 400, (1, length))
    with torch.no_grad(), LargestTensor() as seen:  # without the head, whose logits are larger still
        bundled.network.model(input_ids=ids, use_cache=False, attn_observer=MassObserver())
    assert seen.elements < heads * length * length
