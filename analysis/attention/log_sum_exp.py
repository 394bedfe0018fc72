"""Attention mass on a CPU from the log-sum-exp that PyTorch's fused attention computes for each query.

It takes one more product of queries and keys and one exponential, but no second softmax. It rounds differently from the
softmax, by about 1e-6 of a mass; in half precision, where the kernel uses a fast exponential, by about 5e-5. So it
serves display only; calibration makes its masks from `AttentionInputs.mass`.

The kernel's names are private to PyTorch (`torch.ops.aten`). It is used only if it exists, is what the model's
attention would run, and matches that attention and plain softmax on small inputs.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import torch
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

SCALING = 0.125


def small_inputs(
    dtype: torch.dtype, device: torch.device | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, bool, torch.Tensor]]:
    """Yield query, key, value, mask, whether attention is causal, and the mass that plain softmax gives, (B, H, S)."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 80, 64, generator=generator).to(device, dtype) for heads in (4, 2, 2))
    allowed = (torch.rand(2, 1, 80, 80, generator=generator) < 0.7) | torch.eye(80, dtype=torch.bool)
    allowed = allowed.to(device)
    scores = SCALING * query.float() @ key.float().repeat_interleave(2, dim=1).transpose(2, 3)
    everywhere = torch.ones_like(allowed)
    for mask, causal, seen in ((None, False, everywhere), (None, True, everywhere.tril()), (allowed, False, allowed)):
        softmax = scores.masked_fill(~seen, torch.finfo(torch.float32).min).softmax(-1)
        yield query, key, value, mask, causal, softmax.sum(2)


TOLERANCE = 1e-4  # largest deviation from plain softmax, as a share of the largest mass, for it to be used
_LOG2 = math.log2(math.e)
# Scores in one piece, and keys of a piece where one head's scores are more: smaller ones would fit a core's own cache,
# and cost more than they save in threads that wait for each other at each.
_PIECE, _KEYS = 2**21, 1024
_log = logging.getLogger("sinkscope")


class Attended(NamedTuple):
    """Result of fused attention: output (B, H, Q, D), and the log-sum-exp of each query's scores (B, H, Q) float32."""

    output: torch.Tensor
    log_sum_exp: torch.Tensor


def attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float, causal: bool
) -> Attended | None:
    """The model's own attention with its log-sum-exp; None where that is not to be had, or of no use for the mass.

    query (B, H, Q, D), key and value (B, H_kv, S, D), mask (1 or B, 1, 1 or Q, S), bool or added to the scores, or
    None. The output has the bits of `scaled_dot_product_attention`, which is the same kernel.
    """
    if query.device.type != "cpu" or query.dtype == torch.float64 or query.shape[2] == 1:
        return None
    if causal and query.shape[2] != key.shape[2]:
        return None
    if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
        return None
    if mask is not None and not _sees_something(mask):
        return None
    if not _proved(query.dtype) or not _is_chosen(query, key, value, mask, scaling, causal):
        return None
    return _fused(query, key, value, mask, scaling, causal)


def _sees_something(mask: torch.Tensor) -> bool:
    """Return True if all heads share the mask and every query sees a key: one that sees none has no log-sum-exp."""
    if mask.shape[1] != 1:
        return False
    allowed = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    return bool(allowed.any(dim=-1).all())


def _is_chosen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float, causal: bool
) -> bool:
    """Return True if `scaled_dot_product_attention` would run this kernel."""
    grouped = query.shape[1] != key.shape[1]
    choice = torch._fused_sdp_choice(
        query, key, value, attn_mask=mask, dropout_p=0.0, is_causal=causal, scale=scaling, enable_gqa=grouped
    )
    return bool(choice == SDPBackend.FLASH_ATTENTION.value)


def _fused(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float, causal: bool
) -> Attended:
    if mask is not None and mask.dtype == torch.bool:
        # As `scaled_dot_product_attention` does it.
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, float("-inf"))
    output, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, attn_mask=mask, scale=scaling
    )
    return Attended(output, log_sum_exp)


@lru_cache(maxsize=8)
def _proved(dtype: torch.dtype) -> bool:
    """Return True if PyTorch has the kernel, and it and `mass` match plain attention on a small input."""
    try:
        for query, key, value, mask, causal, softmax in small_inputs(dtype):
            _is_chosen(query, key, value, mask, SCALING, causal)  # can it be called, whatever the settings
            output, log_sum_exp = _fused(query, key, value, mask, SCALING, causal)
            plain = scaled_dot_product_attention(
                query, key, value, attn_mask=mask, is_causal=causal, scale=SCALING, enable_gqa=True
            )
            if not torch.equal(output, plain):
                raise ValueError("its output is not that of the model's attention")
            gap = (mass(query, key, mask, SCALING, causal, log_sum_exp) - softmax).abs().max() / softmax.max()
            if not float(gap) <= TOLERANCE:
                raise ValueError(f"mass differs from plain softmax by {float(gap):.2g} of the largest")
    except Exception as error:  # another version of PyTorch
        _log.warning("Attention mass is summed by softmax, as PyTorch's log-sum-exp does not serve: %s", error)
        return False
    return True


def mass(
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
    causal: bool,
    log_sum_exp: torch.Tensor,
) -> torch.Tensor:
    """Σ_q exp(q·k · scaling − log_sum_exp_q), the sum over queries of the attention paid to each key, (B, H, S)
    float32. Shapes as of `attended`.
    """
    batch, heads, queries, width = query.shape
    key_heads, keys = key.shape[1], key.shape[2]
    group = heads // key_heads
    columns = keys if group * queries * keys <= _PIECE else min(keys, _KEYS)
    lines = min(queries, max(1, _PIECE // (group * columns)))
    pairs = max(1, _PIECE // (group * lines * columns))  # of a sequence and a key head
    rows, shared = max(1, pairs // key_heads), min(pairs, key_heads)
    # By key head, so that the query heads that share one are rows of one product; one head after the other in memory,
    # where models hold them side by side: strides of a whole layer take twice as long.
    grouped = query.float().contiguous().view(batch, key_heads, group, queries, width)
    turned = key.float().contiguous().transpose(2, 3)
    below = (-_LOG2 * log_sum_exp).reshape(batch, key_heads, group, queries, 1)
    positions = torch.arange(max(queries, keys))
    summed = query.new_zeros((batch, key_heads, group, keys), dtype=torch.float32)
    # One buffer for all pieces, or each would have to be fetched into the cache.
    memory = query.new_empty(min(rows, batch) * shared * group * lines * columns, dtype=torch.float32)
    for row in range(0, batch, rows):
        for head in range(0, key_heads, shared):
            part = slice(row, row + rows), slice(head, head + shared)
            left, right, less, sums = grouped[part], turned[part].flatten(0, 1), below[part], summed[part]
            seen = mask if mask is None or mask.shape[0] == 1 else mask[part[0]]
            for line in range(0, queries, lines):
                asking = slice(line, min(line + lines, queries))
                folded = left[..., asking, :].reshape(len(right), -1, width)
                lower = less[..., asking, :].reshape(len(right), -1, 1)
                for column in range(0, asking.stop if causal else keys, columns):
                    there = slice(column, min(column + columns, keys))
                    shape = (len(right), folded.shape[1], there.stop - column)
                    weights = memory[: math.prod(shape)].view(shape)
                    with _exact_products(query.dtype):
                        torch.bmm(folded, right[..., there], out=weights)
                    # Powers of two, as PyTorch's exp takes up to a hundred times as long where a result is next to 0.
                    torch.add(lower, weights, alpha=scaling * _LOG2, out=weights)
                    by_query = weights.view(*left.shape[:3], -1, shape[-1])
                    mine = seen
                    if seen is not None:
                        mine = (seen if seen.shape[2] == 1 else seen[:, :, asking])[..., there][:, :, None]
                    if mine is not None and mine.dtype != torch.bool:
                        by_query.add_(mine, alpha=_LOG2)
                    weights.exp2_()
                    if mine is not None and mine.dtype == torch.bool:
                        by_query.masked_fill_(~mine, 0)
                    if causal and there.stop > line:
                        by_query.masked_fill_(positions[there] > positions[asking, None], 0)
                    sums[..., there] += by_query.sum(dim=3)
    return summed.flatten(1, 2)


@contextmanager
def _exact_products(dtype: torch.dtype) -> Iterator[None]:
    """While open, compute products of float32 that hold bfloat16 with the processor's bfloat16 instructions: no bit of
    them is lost, and sums stay in float32. The setting is process-wide, so nothing else may multiply meanwhile.
    """
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if dtype != torch.bfloat16 or matmul is None or not _has_tiles():
        yield
        return
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


@lru_cache(maxsize=1)
def _has_tiles() -> bool:
    """Return True if the processor multiplies tiles of bfloat16 (AMX); others would emulate it."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    return ask is not None and bool(ask().get("amx_bf16"))
