"""Small inputs on which a quicker way to the attention mass is tried against plain softmax before it is used."""

from collections.abc import Iterator

import torch

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
