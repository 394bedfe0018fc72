"""Ratios between two ways of doing the same: what every benchmark returns beside what it prints."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module


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


def ratios_of(name: str, flags: list[str]) -> list[Ratio]:
    """Run the benchmark of this name; here, since a process of its own finds nothing in a program's main file."""
    ratios: list[Ratio] = import_module(f"benchmarks.{name}").main(flags)
    return ratios
