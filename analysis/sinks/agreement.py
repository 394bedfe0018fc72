"""Agreement of two texts: the tokens they have in common, aligned, beside those at the same position. NumPy only.

Aligned agreement is the F1 of the longest common subsequence of tokens, which is ROUGE-L (Lin 2004, *ROUGE: A Package
for Automatic Evaluation of Summaries*) on token ids. A text shifted by one token keeps almost all of it; by position it
keeps almost nothing.
"""

from dataclasses import dataclass

import numpy as np

SHUFFLES = 8  # of one text's tokens, whose mean is the agreement by chance


@dataclass(frozen=True)
class Agreement:
    """Agreement of a text of N tokens with another of M.

    aligned: 2·|common| / (N + M), of the tokens of the longest common subsequence; 1 for two empty texts. by_position:
    share of the longer text's positions at which both have the same token. kept: which tokens are part of the longest
    common subsequence, (N,) and (M,) bool.
    """

    aligned: float
    by_position: float
    kept: tuple[np.ndarray, np.ndarray]

    @property
    def missing(self) -> np.ndarray:
        """Number of tokens of the first text missing before each token of the second and at its end, (M + 1,), where
        nothing was written in their place.
        """
        first, second = (np.concatenate([[-1], np.flatnonzero(kept), [len(kept)]]) for kept in self.kept)
        left_out, written = np.diff(first) - 1, np.diff(second) - 1
        missing = np.zeros(len(self.kept[1]) + 1, np.int64)
        missing[second[1:]] = np.where(written == 0, left_out, 0)
        return missing


def agreement(
    first: np.ndarray, second: np.ndarray, compared: tuple[np.ndarray, np.ndarray] | None = None
) -> Agreement:
    """Compare two texts, token ids (N,) and (M,). compared: which tokens of each count, (N,) and (M,) bool."""
    compared = compared or (np.ones(len(first), bool), np.ones(len(second), bool))
    shared = min(len(first), len(second))
    same = (first[:shared] == second[:shared]) & compared[0][:shared] & compared[1][:shared]
    counts = [int(flags.sum()) for flags in compared]
    kept = np.zeros(len(first), bool), np.zeros(len(second), bool)
    kept[0][compared[0]], kept[1][compared[1]] = common_subsequence(first[compared[0]], second[compared[1]])
    by_position = int(same.sum()) / max(counts) if any(counts) else 1.0
    return Agreement(_f1(int(kept[0].sum()), *counts), by_position, kept)


def aligned_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Return the aligned agreement of two texts, token ids (N,) and (M,), without their alignment."""
    return _f1(int(_lengths(first, second)[-1, -1]), len(first), len(second))


def agreement_by_chance(first: np.ndarray, second: np.ndarray, seed: int = 0) -> float:
    """Return the mean aligned agreement of a text (N,) with `SHUFFLES` random orders of the tokens of another (M,)."""
    rng = np.random.default_rng(seed)
    return float(np.mean([aligned_agreement(first, rng.permutation(second)) for _ in range(SHUFFLES)]))


def agreement_by_step(tokens: tuple[np.ndarray, np.ndarray], decided: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the aligned agreement of what two texts have decided at each step, (T,); NaN where neither has a token.

    tokens (T, S) and decided (T, S) bool, each of one text; steps that only one has are left out.
    """
    steps = min(map(len, tokens))
    written = [
        [row[flags] for row, flags in zip(*text, strict=False)][:steps] for text in zip(tokens, decided, strict=True)
    ]
    return np.array(
        [
            aligned_agreement(first, second) if len(first) + len(second) else np.nan
            for first, second in zip(*written, strict=True)
        ]
    )


def common_subsequence(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which tokens of two texts, (N,) and (M,), form their longest common subsequence, bool masks of the same
    shapes. Of several equally long ones, that whose tokens stand last.
    """
    lengths = _lengths(first, second)
    kept = np.zeros(len(first), bool), np.zeros(len(second), bool)
    row, column = len(first), len(second)
    while row and column:
        if first[row - 1] == second[column - 1]:
            row, column = row - 1, column - 1
            kept[0][row] = kept[1][column] = True
        elif lengths[row - 1, column] >= lengths[row, column - 1]:
            row -= 1
        else:
            column -= 1
    return kept


def _lengths(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The length of the longest common subsequence of every pair of beginnings, (N + 1, M + 1)."""
    lengths = np.zeros((len(first) + 1, len(second) + 1), np.int32)
    for row, token in enumerate(first):
        before = lengths[row]
        np.maximum.accumulate(np.maximum(before[1:], before[:-1] + (second == token)), out=lengths[row + 1, 1:])
    return lengths


def _f1(common: int, first: int, second: int) -> float:
    return 2 * common / (first + second) if first + second else 1.0
