"""Command lines that reproduce a result, as shown by pages and reports."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from analysis.program import PROGRAM

_FLAGS = {"data": "calibration"}  # fields whose flag has another name
_COUNTS = {"prompts": "prompt-count", "count": "prompt-count"}  # flags for the number of prompts, in studies and claims


def command(verb: str, source: str, fields: Mapping[str, Any], out: str, compare: Iterable[str] = ()) -> str:
    """`python -m analysis VERB --model … --out …`, quoted for a shell. fields: values by their names in the specs; a
    True is a flag alone. compare: further models.
    """
    words = [*PROGRAM, verb, "--model", source]
    others = list(compare)
    words += ["--compare", *others] if others else []
    words += _flags(fields, _FLAGS)
    return shlex.join([*words, "--out", out])


def sized_command(
    verb: str, spec: Any, sizes: Mapping[str, Any], words: Collection[str], skipped: Collection[str], prompts: str
) -> str:
    """`python -m analysis VERB …` with the size that is nearest, and the settings that are not its own.

    sizes: the spec of each size. words: for the fields in `skipped`. prompts: a file with the spec's own prompts.
    """
    asked = spec.model_dump(exclude={"model", "reference", "own_prompts", "own_keys", *skipped})
    settings = {
        size: {name: value for name, value in asked.items() if value != like[name]}
        for size, like in ((size, like.model_dump()) for size, like in sizes.items())
    }
    # No flag says that a field is empty, or that a switch is off.
    alike = {
        size: fields
        for size, fields in settings.items()
        if not any(value is None or value is False for value in fields.values())
    }
    size = min(alike or settings, key=lambda size: len(settings[size]))
    reference = "none" if spec.reference is None else spec.reference.source
    line = [*PROGRAM, verb, "--model", spec.model.source, "--size", size, "--reference", reference, *words]
    line += _flags(spec.model.model_dump(exclude_defaults=True, exclude={"source"}) | settings[size], _COUNTS)
    line += ["--prompts", prompts] if spec.own_prompts else []
    return shlex.join([*line, "--out", verb])


def _flags(fields: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    for name, value in fields.items():
        yield f"--{names.get(name, name).replace('_', '-')}"
        if value is not True:
            yield ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
