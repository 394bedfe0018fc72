"""Specs from flat names, as Python and notebooks give them: `discount_strength=0.5` for a field two specs deep."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from analysis.errors import UserError
from analysis.specs.base import Spec
from analysis.specs.messages import sentence

SpecType = TypeVar("SpecType", bound=Spec)


def spec_of(kind: type[SpecType], given: Mapping[str, Any]) -> SpecType:
    """Return a spec from the fields, by name, of it and its nested specs. A name that several have goes to the
    outermost. Raises UserError for an unknown name, and for an invalid value.
    """
    left = dict(given)
    fields = _taken(kind, left)
    if left:
        raise UserError(f"There is no option '{next(iter(left))}'. There are: {', '.join(_names(kind))}.")
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise UserError(sentence(error)) from None


def _inside(kind: type[Spec]) -> dict[str, type[Spec]]:
    return {
        name: field.annotation
        for name, field in kind.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Spec)
    }


def _taken(kind: type[Spec], left: dict[str, Any]) -> dict[str, Any]:
    """Return a spec, removing its fields from the names given."""
    fields = {name: left.pop(name) for name in kind.model_fields if name in left}
    for name, inside in _inside(kind).items():
        if name not in fields:
            within = _taken(inside, left)
            default = kind.model_fields[name].default
            if within:
                before = dict(default) if isinstance(default, Spec) else {}
                fields[name] = {**before, **within}
    return fields


def _names(kind: type[Spec]) -> list[str]:
    inside = _inside(kind)
    own = [name for name in kind.model_fields if name not in inside]
    return list(dict.fromkeys([*own, *(name for each in inside.values() for name in _names(each))]))
