"""Visibility of keys: in a text that is written block by block, and through a window."""

from dataclasses import dataclass, replace

import torch

from analysis.models.family import Architecture

Span = tuple[int, int]
"""Positions of a text: the first, and one past the last."""


@dataclass(frozen=True)
class Layout:
    """Block boundaries of a text.

    block: tokens per block. border: a position at which a block begins; the others are whole blocks away, before it as
    well. open_from: start of the open block, for attention that treats it differently; None if there is none.
    beside_clean: the tokens are a noised text followed by its clean copy, in which each noised block sees itself and
    the clean text before it, as in training (BD3LM, arXiv 2503.09573): every block is open over a clean prefix.
    """

    block: int
    border: int = 0
    open_from: int | None = None
    beside_clean: bool = False

    def starts(self, length: int) -> tuple[int, ...]:
        """Return the starts of the blocks of a text of this length; the first block starts with the text."""
        return (0, *range(self.end(0), length, self.block)) if length else ()

    def start(self, position: int) -> int:
        """Return the start of a position's block; 0 if the first block begins before the text."""
        return max(0, self.border + (position - self.border) // self.block * self.block)

    def end(self, position: int) -> int:
        """Return the end of a position's block: one past its last position."""
        return self.border + ((position - self.border) // self.block + 1) * self.block


def layout_of(architecture: Architecture, prompt_length: int, block: int | None = None) -> Layout:
    """The blocks of a text after a prompt of this length; block: tokens a block, the model's own by default.

    Raises ValueError for a family without blocks.
    """
    size = block or architecture.block_size
    if architecture.anchor is None or size is None:
        raise ValueError(f"{architecture.name} has no blocks.")
    border = {"start": 0, "padded-prompt": prompt_length % size, "prompt-end": prompt_length}[architecture.anchor]
    return Layout(size, border)


def visible(
    architecture: Architecture, length: int, layout: Layout, device: torch.device | None = None
) -> torch.Tensor:
    """Return the keys (columns) that each query (row) sees, (S, S) bool, in a family that attends by blocks.

    block-causal: key j if the block of j is not after that of i. open-block: key j ≤ i, and from `open_from` on every
    key. Raises ValueError for other families.
    """
    positions = torch.arange(length, device=device)
    if layout.beside_clean:
        text = length // 2
        clean = visible(architecture, text, replace(layout, beside_clean=False, open_from=None), device)
        blocks = torch.div(positions[:text] - layout.border, layout.block, rounding_mode="floor")
        same_block, earlier = blocks[:, None] == blocks, blocks[:, None] > blocks
        return torch.cat(
            [torch.cat([same_block, earlier], dim=1), torch.cat([torch.zeros_like(same_block), clean], dim=1)]
        )
    if architecture.attention == "block-causal":
        blocks = torch.div(positions - layout.border, layout.block, rounding_mode="floor")
        return blocks[:, None] >= blocks
    if architecture.attention == "open-block":
        earlier = positions[:, None] >= positions
        return earlier if layout.open_from is None else earlier | (positions >= layout.open_from)[:, None]
    raise ValueError(f"{architecture.name} does not attend by blocks.")


def seeing_queries(architecture: Architecture, length: int, layout: Layout) -> torch.Tensor:
    """Return the number of queries that see each key, (S,) float32. Raises ValueError for a family without blocks."""
    return visible(architecture, length, layout).sum(dim=0).float()
