"""How two ways of doing the same compare: what every benchmark gives beside what it prints."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """of: what is divided by what. value: the median over rounds that ran both, one after the other.

    low, high: the range over those rounds; None where it is no median of rounds.
    """

    what: str
    of: str
    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        within = "" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.of}: {self.value:.2f}{within}"


def paired(what: str, of: str, numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """The ratio of what two ways took in each round. Raises ValueError where they had unequal numbers of rounds."""
    ratios = [above / below for above, below in zip(numerators, denominators, strict=True)]
    return Ratio(what, of, statistics.median(ratios), min(ratios), max(ratios))
