"""Writes docs/parameters.md from the specs: `python -m docs.parameters`."""

import re
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
from analysis.specs.base import extra
from cache.environment import VARIABLES

PATH = Path(__file__).with_name("parameters.md")
TABLES: tuple[tuple[str, type[Spec]], ...] = (
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
SKIPPED = {*PARTS, "model", "sampling", "sampler", "compare", "statistics", "setting"}
SKIPPED |= {"pruning", "evaluation", "other_models", "sinks"}
_SHARED = """They are checked at the start: the command line ends with one sentence, and every page shows it. So are
those that SinkScope shares with libraries; what you set wins over what it would choose:"""
_ARXIV, _LINKED = r"([^; ][^;]*), arXiv (\d{4}\.\d{5})", r"[\1](https://arxiv.org/abs/\2)"
_SIGNS = {
    annotated_types.Ge: ("ge", "≥"),
    annotated_types.Gt: ("gt", ">"),
    annotated_types.Le: ("le", "≤"),
    annotated_types.Lt: ("lt", "<"),
}


def document() -> str:
    """The whole page. A parameter that several tables share is explained in the first and linked from the others."""
    parts = [
        "# Parameters",
        "Written from `analysis/specs/` by `make docs`. Most flags of the command line have the same names. Others do "
        "not, such as `--model` for `source` and `--calibration` for the `data` of a calibration; `--help` of a "
        "command lists its own. Sizes are given in bytes or with a unit, such as 2GB or 512MiB.",
    ]
    first: dict[tuple[str, str], tuple[str, FieldInfo]] = {}
    for title, spec in TABLES:
        parts += [f"## {title}", " ".join((spec.__doc__ or "").split()), *_table(title, spec, first)]
    parts += ["## Environment variables", environment_rows(shared=False), _SHARED, environment_rows(shared=True)]
    return "\n\n".join(parts) + "\n"


def _table(title: str, spec: type[Spec], first: dict[tuple[str, str], tuple[str, FieldInfo]]) -> list[str]:
    """The rows of a spec, one line per earlier table for the parameters that are the same there, and the sources.

    first: by name and meaning of a parameter, the first table that explains it, and its field; new ones are added.
    """
    rows: list[str] = []
    same: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    for name, field in spec.model_fields.items():
        if name in SKIPPED:
            continue
        where, there = first.setdefault((name, help_text(field)), (title, field))
        if where == title:
            rows.append(_row(name, field, _meaning(field)))
        elif (_default(field), _range(field)) == (_default(there), _range(there)):
            same.setdefault(where, []).append(f"`{name}`")
        else:
            rows.append(_row(name, field, f"See {_link(where)}."))
        source = extra(field).get("source")
        if source and (where == title or source != extra(there).get("source")):
            sources.setdefault(re.sub(_ARXIV, _LINKED, source), []).append(f"`{name}`")
    head = ["| parameter | default | range | meaning |", "| --- | --- | --- | --- |"]
    return [
        *(["\n".join([*head, *rows])] if rows else []),
        *(f"As under {_link(where)}: {', '.join(names)}." for where, names in same.items()),
        *(
            ["Sources: " + "; ".join(f"{source} ({', '.join(names)})" for source, names in sources.items()) + "."]
            if sources
            else []
        ),
    ]


def environment_rows(shared: bool) -> str:
    """The environment variables that SinkScope alone reads, or those it shares with libraries, as a table."""
    rows = ["| variable | default | takes | meaning |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{row.name}` | {row.default} | {row.expected} | {row.meaning} |"
        for row in VARIABLES.values()
        if row.shared == shared
    ]
    return "\n".join(rows)


def _row(name: str, field: FieldInfo, meaning: str) -> str:
    return f"| `{name}` | {_default(field)} | {'' if _explained(field) else _range(field)} | {meaning} |"


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default is None:
        return "required" if field.is_required() else "none"
    unit = extra(field).get("unit")
    return f"`{field.default}`" + (f" {unit}" if unit else "")


def _meaning(field: FieldInfo) -> str:
    text = f" {help_text(field)}"
    if _explained(field):
        for choice in choices(field):
            text = text.replace(f" {choice}: ", f" `{choice}`: ")
    return text.strip()


def _explained(field: FieldInfo) -> bool:
    """Return True if the meaning explains every choice, so that the range need not name it."""
    return bool(choices(field)) and all(f" {choice}: " in f" {help_text(field)}" for choice in choices(field))


def _link(title: str) -> str:
    return f"[{title}](#{title.lower().replace('`', '').replace(' ', '-')})"


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
