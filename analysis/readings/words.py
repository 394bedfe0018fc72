"""Numbers in the words of a reading."""

from collections.abc import Iterable, Sequence

import numpy as np

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
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def times(value: float, reference: float) -> str:
    """How large a value is beside a reference, both above 0, as words that go before "what …": "a seventh of"."""
    ratio = value / reference
    if ratio >= 1.05:
        return f"{ratio:.2g} times" if ratio < 99.5 else f"{ratio:.0f} times"
    if ratio > 0.95:
        return "about"
    if ratio > 0.6:
        return f"{ratio:.0%} of"
    part = round(1 / ratio)
    return f"{_PARTS[part]} of" if part in _PARTS else f"1/{part} of"


def percent(value: float) -> str:
    """A share in per cent, with as many decimals as it needs."""
    size = abs(value)
    return f"{value:.0%}" if size >= 0.1 or size == 0 else f"{value:.1%}" if size >= 0.01 else f"{100 * value:.2g}%"


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
    """Where the largest of finite values stands; of an array with at least one."""
    return tuple(int(index) for index in np.unravel_index(int(np.nanargmax(values)), values.shape))


def listed(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and the last of every run of consecutive numbers, which come in ascending order."""
    found: list[tuple[int, int]] = []
    for each in numbers:
        if found and each == found[-1][1] + 1:
            found[-1] = (found[-1][0], each)
        else:
            found.append((each, each))
    return found
