"""The command line that asks an evaluation's question again."""

import shlex

from analysis.specs import EvaluateSpec


def command(spec: EvaluateSpec, out: str = "accuracy.json") -> str:
    """`python -m analysis evaluate …` with the flags that differ from their defaults; writes `out` where it is run."""
    words = ["python", "-m", "analysis", "evaluate", "--model", spec.model.source]
    if spec.compare:
        words += ["--compare", *(model.source for model in spec.compare)]
    changed = {
        **spec.model.model_dump(exclude_defaults=True, exclude={"source"}),
        **spec.model_dump(exclude_defaults=True, exclude={"model", "compare"}),
    }
    for name, value in changed.items():
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple | list) else str(value))
    return shlex.join([*words, "--out", out])
