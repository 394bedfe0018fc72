"""Command lines that reproduce a result, as shown by pages and reports."""

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.program import PROGRAM

_FLAGS = {"data": "calibration"}  # fields whose flag has another name


def command(verb: str, source: str, fields: Mapping[str, Any], out: str, compare: Iterable[str] = ()) -> str:
    """`python -m analysis VERB --model … --out …`, quoted for a shell. fields: values by their names in the specs; a
    True is a flag alone. compare: further models.
    """
    words = [*PROGRAM, verb, "--model", source]
    others = list(compare)
    words += ["--compare", *others] if others else []
    for name, value in fields.items():
        words.append(f"--{_FLAGS.get(name, name).replace('_', '-')}")
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple | list) else str(value))
    return shlex.join([*words, "--out", out])
