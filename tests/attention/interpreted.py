"""`TRITON_INTERPRET=1 python -m tests.attention.interpreted`: the kernels of attention mass in Triton's interpreter on
the CPU beside the chunked sums. Prints one JSON object: by case, the largest gap and the largest mass.
"""

import json
from itertools import product

import torch

from analysis.attention import AttentionInputs, fused

LENGTH = 70  # more than a block of 64, and no multiple of one


def blockwise(length: int, block: int) -> torch.Tensor:
    """What a text written in blocks may attend to: its own block and those before it."""
    blocks = torch.arange(length) // block
    return (blocks[None, :] <= blocks[:, None])[None, None]


def padded(length: int) -> torch.Tensor:
    """Two texts, the second of which is shorter, as one row for all queries."""
    mask = torch.ones(2, 1, 1, length, dtype=torch.bool)
    mask[1, ..., -9:] = False
    return mask


def masks() -> dict[str, tuple[torch.Tensor | None, bool]]:
    """Mask and causality by name."""
    some = torch.rand(2, 1, LENGTH, LENGTH, generator=torch.Generator().manual_seed(1)) < 0.5
    some[0, 0, 5] = False  # a query that may attend to nothing
    added = torch.zeros(2, 1, LENGTH, LENGTH).masked_fill(~some, torch.finfo(torch.float32).min)
    window = blockwise(LENGTH, 1)[0, 0] & ~blockwise(LENGTH, 1)[0, 0].tril(-40)
    return {
        "bidirectional": (None, False),
        "causal": (None, True),
        "blockwise": (blockwise(LENGTH, 16), False),
        "padded": (padded(LENGTH), False),
        "any": (some, False),
        "added": (added, False),
        "added, infinite": (torch.zeros(1, 1, LENGTH, LENGTH).masked_fill(~window, float("-inf")), False),
    }


def gap(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, causal: bool) -> tuple[float, float]:
    """The largest difference of a mass, and the largest mass."""
    scaling = query.shape[-1] ** -0.5
    assert fused.serves(query, key, mask)
    expected = AttentionInputs(query, key, key, mask, scaling, causal).chunked_mass()
    measured = fused.kernel_mass(query, key, mask, scaling, causal)
    return float((measured - expected).abs().max()), float(expected.max())


def main() -> None:
    """Every mask with a small head; every width and precision without one; cached decoding's few queries."""
    generator = torch.Generator().manual_seed(0)

    def draw(heads: int, length: int, width: int, dtype: torch.dtype) -> torch.Tensor:
        return (3 * torch.randn(2, length, heads, width, generator=generator)).to(dtype).transpose(1, 2)

    gaps = {}
    for (name, (mask, causal)), key_heads in product(masks().items(), (4, 2, 1)):
        query, key = draw(4, LENGTH, 20, torch.float32), draw(key_heads, LENGTH, 20, torch.float32)
        gaps[f"{name}, {key_heads} key heads"] = gap(query, key, mask, causal)
    for width, dtype in product((64, 128, 256), (torch.float32, torch.bfloat16)):
        query, key = draw(2, LENGTH, width, dtype), draw(1, LENGTH, width, dtype)
        gaps[f"width {width}, {dtype}"] = gap(query, key, None, True)
    gaps["few queries"] = gap(draw(2, 3, 32, torch.float32), draw(2, LENGTH, 32, torch.float32), None, False)
    print(json.dumps(gaps))


if __name__ == "__main__":
    main()
