"""The command lines that ask the question of an evaluation, an import or a sweep again."""

import shlex

from analysis.program import PROGRAM
from analysis.specs import PARTS, EvaluateSpec, ImportSpec, SweepSpec
from analysis.specs.commands import command

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
