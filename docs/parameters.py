"""Writes docs/parameters.md from the specs: `python -m docs.parameters`."""

from pathlib import Path

import annotated_types
from pydantic.fields import FieldInfo

from analysis.specs import (
    PARTS,
    SAMPLINGS,
    AblateSetSpec,
    AttentionMapSpec,
    Branch,
    CalibrateSpec,
    ClaimsSpec,
    EvaluateSpec,
    EvictSpec,
    InspectParams,
    ModelSpec,
    PlanParams,
    PruneSpec,
    RecordSpec,
    SetParams,
    SinkParams,
    Spec,
    StudySpec,
    SuggestSpec,
    SweepSpec,
    TuneParams,
    choices,
    help_text,
)
from analysis.specs.fields import extra
from cache.environment import VARIABLES

PATH = Path(__file__).with_name("parameters.md")
_TABLES: tuple[tuple[str, type[Spec]], ...] = (
    ("Model", ModelSpec),
    ("Recording", RecordSpec),
    ("Branch of a recording", Branch),
    ("Set of recordings", SetParams),
    *((f"Sampler `{name}`", kind) for name, kind in SAMPLINGS.items()),
    ("Sinks", SinkParams),
    ("Attention map", AttentionMapSpec),
    ("Looking inside over prompts", InspectParams),
    ("Ablation over prompts", AblateSetSpec),
    ("Eviction over prompts", EvictSpec),
    ("Pruning", PruneSpec),
    *((name.capitalize(), kind) for name, kind in PARTS.items()),
    ("Statistics for tuning", CalibrateSpec),
    ("Tuning", TuneParams),
    ("Suggesting", SuggestSpec),
    ("Evaluation", EvaluateSpec),
    ("Planning an evaluation", PlanParams),
    ("Sweep", SweepSpec),
    ("Study", StudySpec),
    ("Claims", ClaimsSpec),
)
_SKIPPED = {*PARTS, "model", "sampling", "sampler", "compare", "statistics", "setting"}
_SKIPPED |= {"pruning", "evaluation", "other_models", "sinks"}
_SHARED = """They are checked at the start: the command line ends with one sentence, and every page shows it. So are
those that SinkScope shares with libraries; what you set wins over what it would choose:"""
_SIGNS = {
    annotated_types.Ge: ("ge", "≥"),
    annotated_types.Gt: ("gt", ">"),
    annotated_types.Le: ("le", "≤"),
    annotated_types.Lt: ("lt", "<"),
}


def document() -> str:
    """The whole page."""
    parts = [
        "# Parameters",
        "Written from `analysis/specs/` by `make docs`. Flags of the command line have the same names. Sizes are given "
        "in bytes or with a unit, such as 2GB or 512MiB.",
    ]
    for title, spec in _TABLES:
        rows = ["| parameter | default | range | meaning | source |", "| --- | --- | --- | --- | --- |"]
        rows += [_row(name, field) for name, field in spec.model_fields.items() if name not in _SKIPPED]
        parts.append(f"## {title}\n\n{spec.__doc__}\n\n" + "\n".join(rows))
    parts += ["## Environment variables", environment_rows(shared=False), _SHARED, environment_rows(shared=True)]
    return "\n\n".join(parts) + "\n"


def environment_rows(shared: bool) -> str:
    """The environment variables that SinkScope alone reads, or those it shares with libraries, as a table."""
    rows = ["| variable | default | takes | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{row.name}` | {row.default} | {row.expected} | {row.meaning} |"
        for row in VARIABLES.values()
        if row.shared == shared
    ]
    return "\n".join(rows)


def _row(name: str, field: FieldInfo) -> str:
    declared = extra(field)
    default = "required" if field.is_required() else "none" if field.default is None else f"`{field.default}`"
    unit = f" {declared['unit']}" if declared.get("unit") else ""
    return f"| `{name}` | {default}{unit} | {_range(field)} | {help_text(field)} | {declared.get('source') or ''} |"


def _range(field: FieldInfo) -> str:
    if choices(field):
        return ", ".join(f"`{choice}`" for choice in choices(field))
    return ", ".join(
        f"{sign} {getattr(rule, bound)}"
        for rule in field.metadata
        for kind, (bound, sign) in _SIGNS.items()
        if isinstance(rule, kind)
    )


if __name__ == "__main__":
    PATH.write_text(document(), encoding="utf-8")
