"""The lowest of very many scores, over matrices that are never held together.

The scores are read three times: twice to find the threshold, by the upper and then the lower half of their bits, and
once to apply it. What is held is one matrix and a histogram of 2¹⁶ counts (0.5 MiB), however large the model.
"""

from collections.abc import Callable, Iterable

import torch

from analysis.pruning.patterns import require_numbers

_BINS = 2**16
_PIECE = 2**22  # scores counted at once: the counts of one piece need 8 bytes a score


class Threshold:
    """What lies below a score goes, and of the scores equal to it the first so many that are seen.

    score: None where nothing goes. ties: how many of the equal ones are still to go.
    """

    def __init__(self, key: int | None, ties: int) -> None:
        self._key, self.ties = key, ties

    def take(self, score: torch.Tensor) -> torch.Tensor:
        """True where a weight goes, bool (out, in). To be called once for every matrix, in the order of the count."""
        if self._key is None:
            return torch.zeros(score.shape, dtype=torch.bool, device=score.device)
        keys = _keys(score)
        gone, equal = keys < self._key, keys == self._key
        number = int(torch.count_nonzero(equal))
        if number > self.ties:
            gone.view(-1)[equal.flatten().nonzero()[: self.ties, 0]] = True
        else:
            gone |= equal
        self.ties -= min(number, self.ties)
        return gone


def lowest_of_all(scores: Callable[[], Iterable[torch.Tensor]], count: int) -> Threshold:
    """The threshold that exactly `count` of all scores fall under, ties by the order in which they come.

    scores: each matrix (out, in) in its turn, the same at every call. Raises UserError for scores that are not numbers,
    ValueError for a count beyond their number.
    """
    if count == 0:
        return Threshold(None, 0)
    upper, below = _bin_of(_histogram((_keys(score) >> 16) + _BINS // 2 for score in scores()), count)
    high = upper - _BINS // 2
    within = (keys[keys >> 16 == high] & (_BINS - 1) for keys in map(_keys, scores()))
    lower, before = _bin_of(_histogram(within), count - below)
    return Threshold((high << 16) | lower, count - below - before)


def _keys(score: torch.Tensor) -> torch.Tensor:
    """int32 numbers that are ordered as the float32 scores are; the two zeros are one."""
    require_numbers(score)
    bits = (score.float() + 0.0).contiguous().view(torch.int32)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


def _histogram(keys: Iterable[torch.Tensor]) -> torch.Tensor:
    """How many of all keys fall on each number from 0 to 2¹⁶ − 1, int64 on the CPU."""
    counts = torch.zeros(_BINS, dtype=torch.int64)
    for matrix in keys:
        for piece in matrix.flatten().split(_PIECE):
            counts += torch.bincount(piece, minlength=_BINS).cpu()
    return counts


def _bin_of(counts: torch.Tensor, count: int) -> tuple[int, int]:
    """The bin that holds the count-th lowest, and how many lie in bins below it."""
    upto = counts.cumsum(0)
    if count > int(upto[-1]):
        raise ValueError(f"{count} of {int(upto[-1])} scores cannot be the lowest.")
    place = int(torch.searchsorted(upto, count))
    return place, int(upto[place] - counts[place])
