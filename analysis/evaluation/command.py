"""The command line that asks an evaluation's question again."""

from analysis.specs import EvaluateSpec
from analysis.specs.commands import command


def evaluate_command(spec: EvaluateSpec, out: str = "accuracy.json") -> str:
    """`python -m analysis evaluate …` with the flags that differ from their defaults; writes `out` where it is run."""
    changed = {
        **spec.model.model_dump(exclude_defaults=True, exclude={"source"}),
        **spec.model_dump(exclude_defaults=True, exclude={"model", "compare"}),
    }
    return command("evaluate", spec.model.source, changed, out, (model.source for model in spec.compare))
