"""Layers, kinds of token and numbers of a set of recordings as its sentences write them. NumPy only."""

import numpy as np

from analysis import words
from analysis.words import runs

_LEAST = 0.0001  # smaller numbers are not written out
KIND_TITLES = {
    "[MASK]": "masked positions",
    "undecided": "undecided tokens",
    "first": "the first token",
    "last": "the last token",
    "end of text": "end-of-text tokens",
    "word": "words",
}
KIND_LABELS = {"[MASK]": "masked", "first": "first token", "last": "last token"}
"""The kinds as legends name them."""
SINGULAR = ("first", "last", "punctuation")
"""The kinds whose title takes a verb in the singular."""


def layers_in_words(layers: np.ndarray, count: int) -> str:
    """'Layer 3', 'Layers 0–2 and 5', 'All 8 layers'."""
    numbers = sorted(int(layer) for layer in layers)
    if len(numbers) == count > 1:
        return f"All {count} layers"
    parts = [
        f"{first}" if first == last else f"{first}{'–' if last - first > 1 else ', '}{last}"
        for first, last in runs(numbers)
    ]
    *others, last = [part for piece in parts for part in piece.split(", ")]
    return f"Layer{'s' if len(numbers) > 1 else ''} {', '.join(others) + ' and ' if others else ''}{last}"


def spread(values: np.ndarray, percent: bool) -> str:
    """The least and the largest of values as sentences write them: '0.1 to 0.2'."""
    low, high = np.nanmin(values), np.nanmax(values)
    lowest, highest = (number(value, percent) for value in (low, high))
    return lowest if lowest == highest else f"{lowest} to {highest}"


def number(value: float, percent: bool) -> str:
    """A value as sentences write it: two significant digits, and all before the point."""
    if percent:
        return words.percent(value, 0)
    if 0 < value < _LEAST:
        return f"less than {_LEAST}"
    return f"{value:.2g}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"
