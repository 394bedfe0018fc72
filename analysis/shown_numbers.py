"""Numbers as people read them: p-values, and tables with no more digits than their intervals support.

Files for machines (JSON, CSV, Parquet) keep the numbers as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

P_COLUMNS = ("p", "p (Holm)", "p_holm", "p_adjusted")
"""How columns of p-values are called."""
_LEAST_P = 0.001  # below which a p is not told any closer
_MOST_DECIMALS = 4
_DIGITS = 3  # significant ones, where no interval says how many there are


def p_value(p: float) -> str:
    """Return a p-value as a cell of a table: `0.012`, or `< 0.001`."""
    return f"< {_LEAST_P}" if p < _LEAST_P else f"{p:.3f}"


def p_words(p: float) -> str:
    """Return a p-value in a sentence: `p = 0.012`, or `p < 0.001`."""
    return f"p {p_value(p)}" if p < _LEAST_P else f"p = {p_value(p)}"


def column_formats(frame: pd.DataFrame, shares: Collection[str] = ()) -> dict[str, Callable[[Any], str]]:
    """Return by name what writes the cells of the columns of a table that hold fractions, or counts with gaps.

    An interval, which stands in `low` and `high`, has two significant digits of its typical half, and so has the value
    before it. Other fractions have three significant digits. shares: columns that are written in per cent.
    """
    formats: dict[str, Callable[[Any], str]] = {}
    for name in frame.columns:
        if name in P_COLUMNS:
            formats[name] = _blank(p_value)
        elif name in shares:
            formats[name] = _blank("{:.1%}".format)
        elif frame[name].dtype.kind == "f":
            formats[name] = _blank("{:.0f}".format if _whole(frame[name].to_numpy()) else _significant)
    if not {"low", "high"} <= set(formats):
        return formats
    columns = list(frame.columns)
    before = columns[columns.index("low") - 1]
    decimals = _decimals(frame["low"].to_numpy(), frame["high"].to_numpy())
    for name in ("low", "high", *([before] if before in formats else [])):
        formats[name] = _blank(lambda value: f"{value:.{decimals}f}".replace("-", "−"))
    return formats


def _blank(write: Callable[[float], str]) -> Callable[[Any], str]:
    return lambda value: "" if value is None or not np.isfinite(value) else write(value)


def _whole(values: np.ndarray) -> bool:
    """Whether a column counts, although gaps make it one of fractions."""
    there = values[np.isfinite(values)]
    return bool((there == np.round(there)).all())


def _decimals(low: np.ndarray, high: np.ndarray) -> int:
    """Return how many decimals hold two significant digits of half an interval, the median over rows."""
    half = (high - low) / 2
    half = half[np.isfinite(half) & (half > 0)]
    if not len(half):
        return 2
    return int(np.clip(1 - np.floor(np.log10(np.median(half))), 0, _MOST_DECIMALS))


def _significant(value: float) -> str:
    told = f"{value:,.0f}" if abs(value) >= 10**_DIGITS else f"{value:.{_DIGITS}g}"
    return told.replace("-", "−")
