"""What tells specs apart whose short names are the same."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.specs.base import Spec


def told_apart(names: Sequence[str], specs: Sequence[Mapping[str, Any]], kind: type[Spec]) -> list[str]:
    """For each spec the parameters in which it differs from others of its name, in words; "" where nothing does.

    specs: as `model_dump(mode="json")` gives them, of the same `kind`.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        groups[name].append(index)
    details = [""] * len(names)
    for members in groups.values():
        labelled = {index: _labelled(specs[index], kind) for index in members}
        labels = list(dict.fromkeys(label for values in labelled.values() for label in values))
        differing = [label for label in labels if len({values.get(label) for values in labelled.values()}) > 1]
        for index in members:
            details[index] = " · ".join(f"{label} {labelled[index].get(label, 'unset')}" for label in differing)
    return details


def _labelled(spec: Mapping[str, Any], kind: type[Spec] | None) -> dict[str, str]:
    """Every parameter, those of nested specs too, as text by its label."""
    shown: dict[str, str] = {}
    for name, value in spec.items():
        field = kind.model_fields.get(name) if kind is not None else None
        nested = field.annotation if field is not None and isinstance(field.annotation, type) else None
        if isinstance(value, Mapping):
            shown |= _labelled(value, nested if nested is not None and issubclass(nested, Spec) else None)
        else:
            label = (field.title if field is not None and field.title else name).partition(" (")[0]
            shown[f"{label[0].lower()}{label[1:]}"] = _as_text(value)
    return shown


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value)) or "none"
    return "unset" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)
