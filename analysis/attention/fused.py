"""Attention mass by Triton kernels if Triton is available and the tensors are on a CUDA device: no scores are held, and
only three numbers per query or key are written. Elsewhere the chunked sums of `AttentionInputs` do the same.
"""

import logging
from functools import lru_cache
from importlib.util import find_spec

import torch

from analysis.attention.log_sum_exp import SCALING, small_inputs

LARGEST_HEAD = 256
TOLERANCE = 1e-3  # largest deviation of a mass from plain softmax for the kernels to be used
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_log = logging.getLogger("sinkscope")


def mass(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, scaling: float, causal: bool
) -> torch.Tensor | None:
    """The sum over queries of the attention paid to each key, (B, H, S) float32; None where the kernels do not serve.

    query (B, H, Q, D), key (B, H_kv, S, D), mask (1 or B, 1, 1 or Q, S), bool or added to the scores, or None.
    """
    if query.device.type != "cuda" or not serves(query, key, mask) or not _proved(query.device, query.dtype):
        return None
    return kernel_mass(query, key, mask, scaling, causal)


def serves(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Return True if the kernels accept such tensors, on any device."""
    known = query.dtype == key.dtype and query.dtype in _DTYPES and query.shape[-1] <= LARGEST_HEAD
    return known and (mask is None or (mask.shape[1] == 1 and (mask.dtype == torch.bool or mask.is_floating_point())))


@lru_cache(maxsize=16)
def _proved(device: torch.device, dtype: torch.dtype) -> bool:
    """Return True if Triton is available, builds the kernels, and they match plain softmax on a small input."""
    if find_spec("triton") is None:
        return False
    try:
        for query, key, _, mask, causal, softmax in small_inputs(dtype, device):
            gap = float((kernel_mass(query, key, mask, SCALING, causal) - softmax).abs().max())
            if not gap <= TOLERANCE:
                raise ValueError(f"they differ from plain softmax by {gap:.2g}")
    except Exception as error:  # no compiler, a card that Triton does not know, or another version of it
        _log.warning("Attention mass is summed in chunks, as Triton's kernels do not serve on %s: %s", device, error)
        return False
    return True


def kernel_mass(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, scaling: float, causal: bool
) -> torch.Tensor:
    """`mass` by the kernels, for tensors that they serve. Raises ImportError without Triton."""
    from analysis.attention import kernels

    batch, heads, queries, width = query.shape
    key_heads, keys = key.shape[1], key.shape[2]
    highest, total = query.new_empty((2, batch, heads, queries), dtype=torch.float32)
    summed = query.new_empty((batch, heads, keys), dtype=torch.float32)
    kind, places, strides = kernels.NO_MASK, query, (0, 0, 0)
    if mask is not None:
        whole = mask.expand(batch, 1, queries, keys)
        kind = kernels.ALLOWED if mask.dtype == torch.bool else kernels.ADDED
        places = whole.view(torch.uint8) if mask.dtype == torch.bool else whole
        strides = (whole.stride(0), whole.stride(2), whole.stride(3))
    padded = max(16, 1 << (width - 1).bit_length())
    # A block of queries and one of keys take at most 64 KiB of a multiprocessor's shared memory.
    block = 32 if padded * query.element_size() > 256 else 64
    shape = (heads, heads // key_heads, queries, keys, width, scaling, *query.stride(), *key.stride(), *strides)
    # Triton's interpreter multiplies the bit patterns of bfloat16.
    widened = query.device.type == "cpu"
    options = {"causal": causal, "kind": kind, "widened": widened, "M": block, "N": block, "D": padded, "num_stages": 2}
    rows, columns = (-(-count // block) for count in (queries, keys))
    kernels.normalise[(rows, batch * heads)](query, key, places, highest, total, *shape, **options)
    kernels.sum_over_queries[(columns, batch * heads)](query, key, places, highest, total, summed, *shape, **options)
    return summed
