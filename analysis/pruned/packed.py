"""Bytes of weights by arithmetic: pruned and quantized matrices as compact as they can be stored."""

from collections.abc import Mapping
from typing import Any

SCALE_BITS = 16  # GPTQ's checkpoints keep scales in float16, and zero points in as many bits as a code
FAKE = (
    "The files hold dequantized weights in the model's own precision (fake quantization), so they are as large and run "
    "as fast as before. Bytes of codes, scales and zero points are arithmetic."
)


def packed_bytes(count: int, kept: int, bits: int, grids: int = 0, symmetric: bool = False) -> int:
    """Return the bytes of a matrix of `count` weights, of which `kept` are not pruned, in so many bits each.

    Either every weight is stored, or one bit a weight says which are and those alone follow, whichever takes less.
    grids: how many scales go with them, each with a zero point unless the levels are symmetric.
    """
    codes = min(count * bits, count + kept * bits)
    return -(-(codes + grids * (SCALE_BITS + (0 if symmetric else bits))) // 8)


def reported_bytes(report: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the bytes of a dense model's weights and of the pruned one's by arithmetic; None of an older report."""
    size = report.get("size")
    return (int(size["dense_bytes"]), int(size["packed_bytes"])) if isinstance(size, Mapping) else None
