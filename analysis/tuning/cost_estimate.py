"""Time that a search of the discount will take, from trials measured on this machine. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MIDDLE = (10, 50, 90)  # percentiles of the trials measured


@dataclass(frozen=True)
class SearchTime:
    """Seconds that all trials of a search take: as the median trial took, and as those at 10 and 90 % did. measured:
    how many trials that is of.
    """

    low: float
    median: float
    high: float
    measured: int


def search_time(seconds: Sequence[float], trials: int) -> SearchTime | None:
    """Estimate the time of so many trials from those measured before; None without any. Remembered trials took no time
    and are left out.
    """
    spent = np.array([each for each in seconds if each > 0])
    if not len(spent):
        return None
    low, median, high = (float(end) * trials for end in np.percentile(spent, _MIDDLE))
    return SearchTime(low, median, high, len(spent))
