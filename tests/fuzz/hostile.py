"""Hostile values, drawn by a seed: what people, files and attackers put where something else was expected."""

import math
import random
from typing import Any

NAMES = (
    "",
    " ",
    ".",
    "..",
    "/",
    "~",
    "~nouser/x",
    "~/x",
    "-",
    "--",
    "\0",
    "a\0b",
    "a\nb",
    "\udcff",
    "é" * 300,
    "x" * 100_000,
)
"""Texts in the place of a name or a path."""
PATHS = (
    "/etc/passwd",
    "../../etc",
    "/proc/self/mem",
    "/dev/null",
    "/dev/zero/x",
    "file:///etc/passwd",
    "C:\\x",
    "//host/x",
)
NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "1e999",
    "-1",
    "0",
    "1e-400",
    "99999999999999999999",
    "0x10",
    "1_0",
    "٣",
    "1,5",
    "1;2",
    "",
)
"""Texts in the place of a number."""
FORMULAS = ("=1+1", "+1+cmd|' /C calc'!A0", "-2+3+x", "@SUM(A1)", "\t=1", "\r=1", "a\r=1", "a\n=1")
MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "${7*7}",
    "%s%n",
    "'; DROP TABLE jobs; --",
)
LOOPS = (
    "{% for i in range(100000000) %}x{% endfor %}",
    "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
    "{{ 'x' * 10**10 }}",
    "{{ 10 ** (10 ** 9) }}",
    "{{ [0] * 10**10 }}",
)
"""Templates that write, or count, without end."""
JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**70), 1e308, math.nan, math.inf, -math.inf, 0.5,
    "", "y", "no", "nan", "=1+1", "\ud800", "x" * 10_000, [], [None], [[]], {}, {"a": {}}, [1] * 1000,
)  # fmt: skip


def text(dice: random.Random) -> str:
    """Return a text of any of the kinds."""
    kind = dice.randrange(7)
    if kind == 0:
        return "".join(
            chr(dice.choice((dice.randrange(32, 127), dice.randrange(1, 0xD800)))) for _ in range(dice.randrange(60))
        )
    pools = (NAMES, PATHS, NUMBERS, FORMULAS, MARKUP, LOOPS)
    return str(dice.choice(pools[kind - 1]))


def argument(dice: random.Random) -> str:
    """Return a text that an operating system passes to a program: it holds no NUL."""
    return text(dice).replace("\0", "")


def json_value(dice: random.Random, depth: int = 2) -> Any:
    """Return anything that JSON can hold, and NaN."""
    if depth and dice.random() < 0.2:
        some = [json_value(dice, depth - 1) for _ in range(dice.randrange(3))]
        return some if dice.random() < 0.5 else {text(dice)[:50]: value for value in some}
    return dice.choice(JSON_VALUES) if dice.random() < 0.7 else text(dice)


def spoiled(dice: random.Random, content: bytes) -> bytes:
    """Return a file cut off, with bytes changed, or with something before or after it."""
    data = bytearray(content)
    kind = dice.randrange(5)
    if kind == 0:
        del data[dice.randrange(len(data) + 1) :]
    elif kind == 1:
        data += bytes(dice.randrange(256) for _ in range(dice.randrange(1, 64)))
    elif kind == 2:
        data[:8] = dice.choice((0, 1, 2**63, 2**64 - 1, len(data), 2**24)).to_bytes(8, "little")
    elif kind == 3:
        return bytes(dice.randrange(256) for _ in range(dice.randrange(200)))
    for _ in range(dice.randrange(1, 8) if kind > 3 else 0):
        if data:
            data[dice.randrange(min(len(data), 4096))] = dice.randrange(256)
    return bytes(data)


def changed(dice: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a file of fields of which one to three hold something else, or are gone."""
    found = dict(fields)
    for _ in range(dice.randrange(1, 4)):
        name = dice.choice(list(found) or ["a"])
        if dice.random() < 0.15:
            found.pop(name, None)
        else:
            found[name if dice.random() < 0.9 else text(dice)[:40]] = json_value(dice)
    return found
