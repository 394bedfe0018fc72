"""Attention mass from the log-sum-exp of fused attention: what the softmax says, beside the same output to the bit; and
the softmax itself for calibration, and wherever PyTorch does not give what is used."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis.attention import (
    AttentionInputs,
    BlockedKeys,
    LayerMassObserver,
    MassObserver,
    log_sum_exp,
    observed_attention,
)
from tests.attention.interpreted import LENGTH, masks

GENERATOR = torch.Generator().manual_seed(0)
# bfloat16: fused attention itself takes a quick exponential, whose log-sum-exp is off by some 5e-5.
GAPS = {torch.float32: 1e-5, torch.bfloat16: 5e-4, torch.float16: 5e-4}


def drawn(heads: int, queries: int = LENGTH, width: int = 16, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """As models have it: heads side by side in memory."""
    return torch.randn(2, queries, heads, width, generator=GENERATOR).to(dtype).transpose(1, 2)


def forward(inputs: AttentionInputs, **options) -> torch.Tensor:
    module: Any = torch.nn.Module()
    module.layer_idx, module.is_causal = 0, inputs.causal
    module.num_key_value_groups = inputs.query.shape[1] // inputs.key.shape[1]
    with torch.no_grad():
        given = inputs.query, inputs.key, inputs.value, inputs.mask
        return observed_attention(module, *given, scaling=inputs.scaling, **options)[0]


class Asking:
    """An observer that keeps both masses, and whether the attention knew its log-sum-exp."""

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        self.known = inputs.log_sum_exp is not None and inputs.log_sum_exp() is not None
        self.shown, self.mass, self.inputs = inputs.shown_mass(), inputs.mass(), inputs


@pytest.mark.parametrize("dtype", GAPS)
@pytest.mark.parametrize("name", masks())
def test_the_mass_is_that_of_the_softmax_and_the_output_that_of_the_model(name, dtype):
    mask, causal = masks()[name]
    if name == "added":
        mask = mask.clamp(min=torch.finfo(dtype).min)
    mask = mask if mask is None or mask.dtype == torch.bool else mask.to(dtype)
    for key_heads, piece, keys in ((4, 2**18, 256), (2, 2**13, 16), (1, 600, 32)):
        inputs = AttentionInputs(
            drawn(4, dtype=dtype), *(drawn(key_heads, dtype=dtype) for _ in range(2)), mask, 0.3, causal
        )
        seen = Asking()
        with patch.object(log_sum_exp, "_PIECE", piece), patch.object(log_sum_exp, "_KEYS", keys):
            output = forward(inputs, attn_observer=seen)
        assert torch.equal(output, forward(inputs))
        assert torch.equal(seen.mass, inputs.chunked_mass())
        assert (seen.shown - seen.mass).abs().max() < GAPS[dtype] < seen.mass.max()
        # Rows that may attend to nothing share themselves out evenly in the softmax.
        assert seen.known == (name not in ("any", "added"))


@pytest.mark.parametrize("dtype", GAPS)
def test_parts_of_the_batch_the_queries_and_the_heads_have_their_own_mass(dtype):
    inputs = AttentionInputs(drawn(4, 9, dtype=dtype), *(drawn(2, dtype=dtype) for _ in range(2)), None, 0.3, False)
    seen = Asking()
    assert torch.equal(forward(inputs, attn_observer=seen), forward(inputs)) and seen.known
    for part in (seen.inputs.rows(1), seen.inputs.queries_from(4), seen.inputs.head(3), seen.inputs.rows(1).head(1)):
        assert part.log_sum_exp().shape == part.query.shape[:3]
        assert (part.shown_mass() - part.chunked_mass()).abs().max() < GAPS[dtype]


def test_calibration_sums_the_softmax_to_the_bit_and_what_is_shown_does_not():
    inputs = AttentionInputs(drawn(4), drawn(2), drawn(2), None, 0.3, False)
    calibrating, showing = LayerMassObserver(), MassObserver()
    assert log_sum_exp._proved(torch.float32)
    with patch.object(log_sum_exp, "mass", wraps=log_sum_exp.mass) as from_it:
        forward(inputs, attn_observer=calibrating)
        assert not from_it.called
        forward(inputs, attn_observer=showing)
        assert from_it.called
    assert torch.equal(calibrating.take()[:, 0], inputs.chunked_mass().sum(dim=1))


def test_attention_that_was_changed_is_not_taken_for_the_models_own():
    inputs = AttentionInputs(drawn(4), drawn(2), drawn(2), None, 0.3, False)
    seen, blocked = Asking(), BlockedKeys(torch.arange(LENGTH) < 3)
    forward(inputs, attn_observer=seen, attn_edit=blocked)
    assert not seen.known and seen.shown[..., :3].max() == 0


def test_what_it_does_not_serve_is_left_to_the_softmax():
    def knows(query, key=None, value=None, mask=None, causal=False):
        key = query if key is None else key
        return log_sum_exp.attended(query, key, key if value is None else value, mask, 0.3, causal) is not None

    some = drawn(2)
    assert knows(some) and knows(some, causal=True)
    assert not knows(some.double())
    assert not knows(drawn(2, queries=1), some), "one query is packed otherwise"
    assert not knows(drawn(2, queries=3), some, causal=True)
    assert not knows(some, value=drawn(2, width=8))
    assert not knows(some, mask=torch.ones(1, 2, LENGTH, LENGTH, dtype=torch.bool)), "a mask for each head"
    assert not knows(some.clone().requires_grad_())
    with sdpa_kernel(SDPBackend.MATH):
        assert not knows(some), "another kernel gives other bits"
    inputs = AttentionInputs(some, some, some, None, 0.3, False)
    seen = Asking()
    forward(inputs, attn_observer=seen, dropout=0.1)
    assert not seen.known


def missing(*_, **__):
    raise AttributeError("no such operator")


def of_another_signature(query, key, value):
    raise AssertionError("not reached")


def of_another_kernel(query, key, value, mask, scaling, causal):
    output = torch.zeros_like(query)
    return log_sum_exp.Attended(output, torch.zeros(query.shape[:3]))


def with_another_log_sum_exp(query, key, value, mask, scaling, causal, fused=log_sum_exp._fused):
    output, known = fused(query, key, value, mask, scaling, causal)
    return log_sum_exp.Attended(output, known + 0.01)


@pytest.mark.parametrize("other", [missing, of_another_signature, of_another_kernel, with_another_log_sum_exp])
def test_a_pytorch_without_the_kernel_or_with_another_one_sums_the_softmax(monkeypatch, caplog, other):
    monkeypatch.setattr(log_sum_exp, "_fused", other)
    log_sum_exp._proved.cache_clear()
    inputs = AttentionInputs(drawn(4), drawn(2), drawn(2), None, 0.3, False)
    seen = Asking()
    output = forward(inputs, attn_observer=seen)
    log_sum_exp._proved.cache_clear()
    assert not seen.known and "summed by softmax" in caplog.text
    assert torch.equal(seen.shown, inputs.chunked_mass()) and torch.equal(output, forward(inputs))


def test_a_pytorch_that_does_not_say_which_kernel_it_would_run_sums_the_softmax(monkeypatch):
    monkeypatch.delattr(torch, "_fused_sdp_choice")
    log_sum_exp._proved.cache_clear()
    some = drawn(2)
    assert log_sum_exp.attended(some, some, some, None, 0.3, False) is None
    log_sum_exp._proved.cache_clear()


@pytest.mark.parametrize("tiles", [True, False])
def test_products_of_bfloat16_keep_their_bits_and_leave_those_of_float32_alone(monkeypatch, tiles):
    monkeypatch.setattr(log_sum_exp, "_has_tiles", lambda: tiles)
    before = torch.backends.mkldnn.matmul.fp32_precision
    query = (3 * drawn(2, 128, 64, torch.bfloat16)).contiguous()
    with log_sum_exp._exact_products(torch.bfloat16):
        product = query[0].float() @ query[0].float().transpose(1, 2)
    exact = (query[0].double() @ query[0].double().transpose(1, 2)).float()
    assert (product - exact).abs().max() < 1e-5 * exact.abs().max()
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    with log_sum_exp._exact_products(torch.float32):
        assert torch.backends.mkldnn.matmul.fp32_precision == before
    inputs = AttentionInputs(query, query, query, None, 0.125, False)
    known = log_sum_exp.attended(query, query, query, None, 0.125, False)
    mass = log_sum_exp.mass(query, query, None, 0.125, False, known.log_sum_exp)
    assert (mass - inputs.chunked_mass()).abs().max() < 5e-4


def test_a_recording_asks_for_the_quick_mass_of_every_layer(bundled):
    observer = MassObserver()
    tokens = torch.arange(5, 45)[None]
    assert log_sum_exp._proved(torch.float32)
    with patch.object(log_sum_exp, "mass", wraps=log_sum_exp.mass) as quick:
        bundled.predict(tokens, observer)
    assert quick.call_count == bundled.geometry.layers
    with patch.object(AttentionInputs, "shown_mass", AttentionInputs.mass):
        slow = MassObserver()
        bundled.predict(tokens, slow)
    assert (observer.take().mass - slow.take().mass).abs().max() < 1e-4
