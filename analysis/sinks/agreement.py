"""Agreement of two texts: the tokens they have in common, and, of two recordings of one prompt, where the texts
diverge, in which order positions are filled and which sinks they share. NumPy only.

Aligned agreement is the F1 of the longest common subsequence of tokens, which is ROUGE-L (Lin 2004, *ROUGE: A Package
for Automatic Evaluation of Summaries*) on token ids. A text shifted by one token keeps almost all of it; by position it
keeps almost nothing.

Shapes: T steps, S positions. A text after a step is the input of the next step, or the finished text.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np

from analysis.sinks.intervals import quotient
from analysis.sinks.step_inputs import TokenState, after_steps

Both = tuple[np.ndarray, np.ndarray]
"""An array of each of two texts."""
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
    kept: Both

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


def agreement(first: np.ndarray, second: np.ndarray, compared: Both | None = None) -> Agreement:
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


def agreement_by_chance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean aligned agreement of a text (N,) with `SHUFFLES` random orders of the tokens of another (M,)."""
    rng = np.random.default_rng(0)
    return float(np.mean([aligned_agreement(first, rng.permutation(second)) for _ in range(SHUFFLES)]))


def unrelated_agreement(texts: Sequence[Sequence[str]], keys: Sequence[Hashable]) -> float | None:
    """Return the mean aligned agreement of two texts, tokens each, over all pairs whose keys differ; None without such
    a pair."""
    ids = {word: number for number, word in enumerate(dict.fromkeys(chain(*texts)))}
    tokens = [np.array([ids[word] for word in text], np.int64) for text in texts]
    pairs = [(i, j) for i, j in combinations(range(len(tokens)), 2) if keys[i] != keys[j]]
    return float(np.mean([aligned_agreement(tokens[i], tokens[j]) for i, j in pairs])) if pairs else None


def agreement_by_step(tokens: Both, decided: Both) -> np.ndarray:
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


def common_subsequence(first: np.ndarray, second: np.ndarray) -> Both:
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


NEVER = -1


@dataclass(frozen=True)
class Text:
    """Text as written. tokens (T, S) and decided (T, S) bool: after each step. given (S,) bool: of the prompt."""

    tokens: np.ndarray
    decided: np.ndarray
    given: np.ndarray


def text_over_steps(tokens: np.ndarray, state: np.ndarray, final: np.ndarray, mask_token: int | None) -> Text:
    """The text after each step from the inputs (T, S), their states (T, S) and the finished text (S,)."""
    return Text(*after_steps(tokens, state, final, mask_token), state[0] == TokenState.GIVEN)


def filled_in_step(text: Text) -> np.ndarray:
    """The step in which each position got its last decision, (S,); NEVER for given ones and what stays undecided."""
    before = np.concatenate([text.given[None], text.decided[:-1]])
    was = np.concatenate([text.tokens[:1], text.tokens[:-1]])
    written = text.decided & (~before | (text.tokens != was))
    last = len(written) - 1 - written[::-1].argmax(axis=0)
    return np.where(written.any(axis=0) & ~text.given, last, NEVER)


@dataclass(frozen=True)
class TextDivergence:
    """Of two texts over their common steps and new positions.

    agreement (T,): of the positions decided in both after a step, the share with the same token; NaN where there are
    none. aligned (T,): aligned agreement (`sinks.agreement`) of what each has decided after a step. finished: of the
    finished texts' new tokens; chance: its `aligned` with the second's tokens in random orders. flips (T,): positions
    that came to differ in a step. first_step: the first step after which a token differs, and its positions; None where
    none ever does. differing: positions that differ in the end, of `positions`. filled (2, S): `filled_in_step` of
    both. other_step: share of the positions that both filled, in another step.
    """

    agreement: np.ndarray
    aligned: np.ndarray
    finished: Agreement
    chance: float
    flips: np.ndarray
    first_step: int | None
    first_positions: np.ndarray
    differing: int
    positions: int
    filled: np.ndarray
    other_step: float


def compare_texts(first: Text, second: Text) -> TextDivergence:
    """Return where two texts of one prompt diverge, and how alike they are."""
    steps, length = (min(sizes) for sizes in zip(first.tokens.shape, second.tokens.shape, strict=True))
    new = ~(first.given[:length] & second.given[:length])
    both = first.decided[:steps, :length] & second.decided[:steps, :length] & new
    apart = both & (first.tokens[:steps, :length] != second.tokens[:steps, :length])
    counts = both.sum(axis=1)
    flips = (apart & ~np.concatenate([np.zeros((1, length), bool), apart[:-1]])).sum(axis=1)
    at = np.flatnonzero(apart.any(axis=1))
    filled = np.stack([filled_in_step(text)[:length] for text in (first, second)])
    written = (filled != NEVER).all(axis=0)
    decided = first.decided & ~first.given, second.decided & ~second.given
    finished = agreement(first.tokens[-1], second.tokens[-1], (decided[0][-1], decided[1][-1]))
    return TextDivergence(
        1 - apart.sum(axis=1) / np.where(counts > 0, counts, np.nan),
        agreement_by_step((first.tokens, second.tokens), decided),
        finished,
        agreement_by_chance(first.tokens[-1][decided[0][-1]], second.tokens[-1][decided[1][-1]]),
        flips,
        int(at[0]) if len(at) else None,
        np.flatnonzero(apart[at[0]]) if len(at) else np.empty(0, np.int64),
        int(apart[-1].sum()),
        int(new.sum()),
        filled,
        float((filled[0] != filled[1])[written].mean()) if written.any() else np.nan,
    )


def rank_agreement(filled: np.ndarray) -> float:
    """Kendall's τ-b of the steps (2, S) in which positions were filled that both texts filled: 1 is the same order.

    NaN where fewer than two were, or all in one step.
    """
    from scipy.stats import kendalltau

    written = (filled != NEVER).all(axis=0)
    return float(kendalltau(*filled[:, written]).statistic) if written.sum() > 1 else np.nan


def shared_sinks(first: np.ndarray, second: np.ndarray, state: np.ndarray) -> Both:
    """Return the share of the first text's sinks (T, S) that are sinks of the second too, and the share expected where
    the second's lie at random among its positions of the same state, (T,) each; NaN at a step without sinks.

    state (T, S): of the second's tokens. Expected: Σ_g |A ∩ g|·|B ∩ g| / |g| over states g, divided by |A|.
    """
    steps, length = (min(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    a, b, state = first[:steps, :length], second[:steps, :length], state[:steps, :length]
    expected = np.zeros(steps)
    for group in (state == value for value in TokenState if value != TokenState.ABSENT):
        size = group.sum(axis=1)
        expected += (a & group).sum(axis=1) * (b & group).sum(axis=1) / np.maximum(size, 1)
    count = np.where(a.any(axis=1), a.sum(axis=1), np.nan)
    return (a & b).sum(axis=1) / count, expected / count


def mean_with_interval(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean over prompts of curves of unequal length, and its 95 % interval over prompts, (T,) each.

    A step counts the prompts that have it; with fewer than two there is no interval (NaN).
    """
    values = np.full((len(rows), max(map(len, rows))), np.nan)
    for index, row in enumerate(rows):
        values[index, : len(row)] = row
    mean = quotient(values)
    several = np.isfinite(values).sum(axis=0) > 1
    return mean.value, np.where(several, mean.low, np.nan), np.where(several, mean.high, np.nan)
