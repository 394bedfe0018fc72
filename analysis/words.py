"""Numbers, lists and tables as people read them: with no more digits than their intervals support. NumPy only.

Files for machines (JSON, CSV, Parquet) keep the numbers as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

_PARTS = {
    2: "half",
    3: "a third",
    4: "a quarter",
    5: "a fifth",
    6: "a sixth",
    7: "a seventh",
    8: "an eighth",
    9: "a ninth",
    10: "a tenth",
}
MODEL_TITLES = {"bundled": "Diffusion model", "bundled-ar": "Left-to-right twin"}
"""Names of the models that ship, on pages; commands and addresses keep theirs."""
TASK_SETS = {"bundled": "included tasks", "paper": "the paper's tasks"}
"""Likewise, the names that stand for several tasks."""
UNTRAINED, UNTRAINED_LABEL = "an equally sharp untrained model", "untrained, equally sharp"
"""The model of the same shape with random weights whose attention is as sharp, in sentences and in legends."""
DISCOUNT_TOLD = "The sink discount counts attention sinks less when choosing which weights to remove."
KINDS_TOLD = {
    "[MASK]": "masked positions",
    "undecided": "undecided tokens",
    "first": "the first token",
    "last": "the last token",
    "end of text": "end-of-text tokens",
    "word": "words",
}
"""Kinds of tokens in sentences, by their labels."""
_NAMED = 3  # of many names
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def times(value: float, reference: float) -> str:
    """Return a value relative to a reference, both above 0, in words that go before "what …": "a seventh of"."""
    ratio = value / reference
    if ratio >= 1.05:
        return f"{ratio:.2g} times" if ratio < 99.5 else f"{ratio:.0f} times"
    if ratio > 0.95:
        return "about"
    if ratio > 0.6:
        return f"{percent(ratio, 0)} of"
    part = round(1 / ratio)
    return f"{_PARTS[part]} of" if part in _PARTS else f"1/{part} of"


def percent(value: SupportsFloat, decimals: int | None = None) -> str:
    """Return a share in per cent, `33 %`, with this many decimals or as many as it needs."""
    share = float(value)
    if decimals is None:
        size = abs(share)
        if 0 < size < 0.01:
            return f"{100 * share:.2g} %"
        decimals = 0 if size >= 0.1 or size == 0 else 1
    return f"{100 * share:.{decimals}f} %"


def number(value: float, as_percent: bool) -> str:
    """A value as the plot shows it; very small and very large ones by powers of ten."""
    if as_percent:
        return percent(value)
    digits, _, power = f"{value:.3g}".partition("e")
    return f"{digits}·10{str(int(power)).translate(_RAISED)}" if power else digits


def signed(value: float, digits: int = 2) -> str:
    """A change with its sign, the minus as wide as the plus."""
    return f"{value:+.{digits}g}".replace("-", "−")


def subject(name: str) -> str:
    """The name of a position at the beginning of a sentence, before its verb."""
    return f"{name[0].upper()}{name[1:]}," if name.startswith("position") else name


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number of things."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def largest(values: np.ndarray) -> tuple[int, ...]:
    """Return the place of the largest finite value of an array with at least one."""
    return tuple(int(index) for index in np.unravel_index(int(np.nanargmax(values)), values.shape))


def glued(text: str) -> str:
    """Return a text whose lines do not break between a number, its unit of one word and its interval, nor within an
    interval, nor between a layer, its number and its value.
    """
    text = re.sub(r"\b(layers?) (\d+(?:: (?=\d))?)", lambda found: found[0].replace(" ", "\u00a0"), text)
    text = re.sub(r"(?<=\d) (?=[%×[]|nats\b|seeds?\b)", "\u00a0", text)
    text = re.sub(r"\bKL (?=[−+\d])", "KL\u00a0", text)
    text = text.replace("λ = ", "λ\u00a0=\u00a0")
    text = re.sub(r"(?<=\d)[ \u00a0]([\w×%]+) (?=\[)", "\u00a0\\1\u00a0", text)
    return re.sub(r"\[[^\]]{1,30}\]", lambda found: found[0].replace(" ", "\u00a0"), text)


def listed(parts: Sequence[str], last: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'. last: the word before the last one."""
    return f" {last} ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def first_of(names: Sequence[str]) -> str:
    """'a, b and c', or 'a, b, c and 2 more tasks'."""
    more = counted(len(names) - _NAMED, "more task")
    return f"{', '.join(names[:_NAMED])} and {more}" if len(names) > _NAMED else listed(names)


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and the last of every run of consecutive numbers, which come in ascending order."""
    found: list[tuple[int, int]] = []
    for each in numbers:
        if found and each == found[-1][1] + 1:
            found[-1] = (found[-1][0], each)
        else:
            found.append((each, each))
    return found


# --- p-values and tables ----------------------------------------------------------------------------------------------

P_COLUMNS = ("p", "p (Holm)", "p_holm", "p_adjusted")
"""Names of columns of p-values."""
_LEAST_P = 0.001  # the smallest p that is written as a number
_MOST_DECIMALS = 4
_DIGITS = 3  # significant digits without an interval


def p_value(p: float) -> str:
    """Return a p-value as a cell of a table: `0.012`, or `< 0.001`."""
    return f"< {_LEAST_P}" if p < _LEAST_P else f"{p:.3f}"


def p_words(p: float) -> str:
    """Return a p-value in a sentence: `p = 0.012`, or `p < 0.001`."""
    return f"p {p_value(p)}" if p < _LEAST_P else f"p = {p_value(p)}"


def column_formats(
    frame: pd.DataFrame, shares: Collection[str] = (), signed: Collection[str] = ()
) -> dict[str, Callable[[Any], str]]:
    """Return formatters by name for the columns of a table that hold fractions, or counts with gaps.

    An interval, in `low` and `high`, has two significant digits of its typical half, and so has the value before it.
    Other fractions have three significant digits. shares: columns in per cent. signed: columns of differences in
    points.
    """
    formats: dict[str, Callable[[Any], str]] = {}
    for name in frame.columns:
        if name in P_COLUMNS:
            formats[name] = _blank(p_value)
        elif name in shares:
            formats[name] = _blank(lambda share: percent(share, 1))
        elif name in signed:
            formats[name] = _blank(lambda points: f"{round(points, 1) + 0.0:+.1f}".replace("-", "−"))
        elif frame[name].dtype.kind == "f":
            formats[name] = _blank(_writer(frame[name].to_numpy()))
    if not {"low", "high"} <= set(formats):
        return formats
    columns = list(frame.columns)
    before = columns[columns.index("low") - 1]
    decimals = interval_decimals(frame["low"].to_numpy(), frame["high"].to_numpy())
    for name in ("low", "high", *([before] if before in formats else [])):
        formats[name] = _blank(lambda value: f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−"))
    return formats


def _blank(write: Callable[[float], str]) -> Callable[[Any], str]:
    return lambda value: "" if value is None or not np.isfinite(value) else write(value)


def _writer(values: np.ndarray) -> Callable[[float], str]:
    """Return what writes a column: whole numbers for counts, even if gaps make them fractions; else three significant
    digits of the largest number, unless others are so small that each needs its own.
    """
    there = np.abs(values[np.isfinite(values)])
    if (there == np.round(there)).all():
        return "{:.0f}".format
    most, least = there.max(), there[there > 0].min()
    if most > _ALIKE * least:
        return _significant
    decimals = int(np.clip(2 - np.floor(np.log10(most)), 0, _MOST_DECIMALS))
    return lambda value: f"{value:z.{decimals}f}".replace("-", "−")


_ALIKE = 20  # times the smallest number of a column that are written with the same decimals


def interval_decimals(low: ArrayLike, high: ArrayLike) -> int:
    """Return the decimals for two significant digits of half an interval, the median over rows."""
    half = np.atleast_1d(np.subtract(high, low) / 2)
    half = half[np.isfinite(half) & (half > 0)]
    if not len(half):
        return 2
    return int(np.clip(1 - np.floor(np.log10(np.median(half))), 0, _MOST_DECIMALS))


def _significant(value: float) -> str:
    told = f"{value:,.0f}" if abs(value) >= 10**_DIGITS else f"{value:.{_DIGITS}g}"
    return told.replace("-", "−")


def model_title(source: str) -> str:
    """Return a model's title on pages: `Diffusion model` for the one that ships, any other by its source."""
    return MODEL_TITLES.get(source, source)


def model_short_title(source: str) -> str:
    """Return the same without its noun, for a button: `Diffusion`."""
    return model_title(source).rsplit(" ", 1)[0] if source in MODEL_TITLES else source


def in_sentence(title: str) -> str:
    """Return the title of a model within a sentence: `the diffusion model`; any other name as it is."""
    return f"the {title[0].lower()}{title[1:]}" if title.startswith(tuple(MODEL_TITLES.values())) else title


def model_in_words(source: str) -> str:
    """Return a model within a sentence: `the diffusion model` for the one that ships, any other by its source."""
    return in_sentence(model_title(source))


def file_name(title: str) -> str:
    """Return a name for the file of what has this title, without an ending."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))[:80].rstrip("-") or "figure"
