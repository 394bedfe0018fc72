"""Command lines that reproduce a result, as shown by pages and reports."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from analysis.program import PROGRAM
from analysis.specs import PARTS, EvaluateSpec, ImportSpec, SweepSpec

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


SWEEP_FLAGS = {"strengths": "discount", "step_ranges": "steps"}
"""Flags of a sweep that are not called as their fields."""
_BY_SWEEP = {"model", "compare", "names", "kept"}
_BY_AXES = {
    *("method", "sparsity", "pattern", "bits", "quantizer"),
    *("discount_strength", "sink_std", "first_step", "last_step", "seed"),
}


def evaluate_command(spec: EvaluateSpec) -> str:
    """`python -m analysis evaluate …` with the flags that differ from their defaults; writes accuracy.json."""
    changed = {
        **spec.model.model_dump(exclude_defaults=True, exclude={"source"}),
        **spec.model_dump(exclude_defaults=True, exclude={"model", "compare"}),
    }
    return command("evaluate", spec.model.source, changed, "accuracy.json", (model.source for model in spec.compare))


def import_command(spec: ImportSpec) -> str:
    """`python -m analysis import …`; writes imported.json where it is run."""
    words = [*PROGRAM, "import", *spec.folders]
    for name in ("names", "filters", "metrics"):
        if getattr(spec, name):
            words += [f"--{name}", ",".join(getattr(spec, name))]
    words += ["--beside", *spec.beside] if spec.beside else []
    return shlex.join([*words, "--out", "imported.json"])


def sweep_command(spec: SweepSpec, out: str = "swept") -> str:
    """`python -m analysis sweep …` with the axes and the flags that differ from their defaults; writes `out`."""
    shared = spec.pruning.model_dump(exclude_defaults=True, exclude={"model", "out", "overwrite", *_BY_AXES})
    nested = [shared.pop(name, {}) for name in PARTS]
    fields = spec.model.model_dump(exclude_defaults=True, exclude={"source"})
    fields |= spec.model_dump(exclude_defaults=True, exclude={"model", "other_models", "pruning", "evaluation"})
    fields |= spec.evaluation.model_dump(exclude_defaults=True, exclude=_BY_SWEEP) | shared
    for part in nested:
        fields |= {name: value for name, value in part.items() if name not in _BY_AXES}
    flags = {SWEEP_FLAGS.get(name, name): value for name, value in fields.items()}
    further = [f" --model {shlex.quote(model.source)}" for model in spec.other_models]
    return command("sweep", spec.model.source, flags, out) + "".join(further)
