"""Cards whose times are computed from data sheets, without measurements."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """operations: of dense bfloat16 products, 10¹² a second. bandwidth: of its memory, 10¹² bytes a second. memory: of
    the card, 10⁹ bytes.
    """

    name: str
    operations: float
    bandwidth: float
    memory: float


CARDS = (Card("H100 SXM, 80 GB", 989, 3.35, 80), Card("RTX 4090, 24 GB", 165, 1.008, 24))
CARD_SOURCES = "NVIDIA's H100 data sheet and Ada architecture paper, both without sparsity"
SUSTAINED = 0.4
"""The share of a data sheet's operations that forwards of many tokens are taken to reach. Assumed, not measured."""
