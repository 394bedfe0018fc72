"""The fields of a spec, and of the specs inside it, that take any text."""

from typing import Any, get_args

from pydantic import BaseModel

from analysis.specs import choices
from analysis.specs.base import OneOf


def texts_of(spec: type[BaseModel]) -> set[str]:
    """Names of fields of text, alone or in tuples; those of a registry or a list of choices are none."""
    found: set[str] = set()
    for name, field in spec.model_fields.items():
        inner = _leaves(field.annotation)
        if str in inner and not choices(field):
            found.add(name)
        for kind in inner:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= texts_of(kind)
    return found


def _leaves(annotation: Any) -> set[Any]:
    arguments = [part for part in get_args(annotation) if part is not ...]
    if any(isinstance(part, OneOf) for part in arguments):
        return set()
    return set().union(*map(_leaves, arguments)) if arguments else {annotation}
