"""Specs in words: a setting in a line, and the differences between specs with equal short names."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic.fields import FieldInfo

from analysis.specs.base import Spec


def in_words(spec: Spec, always: Collection[str] = (), leave_out: Collection[str] = ()) -> str:
    """Describe a spec in one line, by the labels of its fields: those named in `always`, and all that differ from their
    defaults.

    Different specs read differently. leave_out: fields to omit.
    """
    values = {
        name: value
        for name, value in spec.model_dump(mode="json").items()
        if name not in leave_out and (name in always or getattr(spec, name) != type(spec).model_fields[name].default)
    }
    return " · ".join(f"{label} {value}" for label, value in _labelled(values, type(spec)).items())


def told_apart(names: Sequence[str], specs: Sequence[Mapping[str, Any]], kind: type[Spec]) -> list[str]:
    """Return, for each spec, the parameters in which it differs from others of its name, in words; "" if none.

    specs: as from `model_dump(mode="json")`, of the same `kind`.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        groups[name].append(index)
    details = [""] * len(names)
    for members in groups.values():
        labelled = {index: _labelled(specs[index], kind) for index in members}
        labels = list(dict.fromkeys(label for values in labelled.values() for label in values))
        differing = [label for label in labels if len({values.get(label) for values in labelled.values()}) > 1]
        shown = {
            label: _without_folders([labelled[index].get(label, "unset") for index in members]) for label in differing
        }
        for place, index in enumerate(members):
            details[index] = " · ".join(f"{label} {texts[place]}" for label, texts in shown.items())
    return details


def _without_folders(texts: Sequence[str]) -> Sequence[str]:
    """Shorten paths to their last parts, unless that makes two of them equal."""
    short = [PurePath(text).name if PurePath(text).is_absolute() else text for text in texts]
    return short if len(set(short)) == len(set(texts)) else texts


def _labelled(spec: Mapping[str, Any], kind: type[Spec] | None) -> dict[str, str]:
    """Every parameter, those of nested specs too, as text by its label."""
    shown: dict[str, str] = {}
    for name, value in spec.items():
        field = kind.model_fields.get(name) if kind is not None else None
        nested = field.annotation if field is not None and isinstance(field.annotation, type) else None
        if isinstance(value, Mapping):
            shown |= _labelled(value, nested if nested is not None and issubclass(nested, Spec) else None)
        else:
            shown[short_label(name, field)] = _as_text(value)
    return shown


def short_label(name: str, field: FieldInfo | None) -> str:
    """Return a field's label without its brackets, for use within a sentence; its name if it has none."""
    label = (field.title if field is not None and field.title else name).partition(" (")[0]
    return f"{label[0].lower()}{label[1:]}"


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_as_text, value)) or "none"
    return "unset" if value in (None, "") else f"{value:.12g}" if isinstance(value, float) else str(value)
