"""Validation errors as a person reads them."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from analysis.specs.base import Spec
from analysis.specs.sampling import SAMPLINGS


def sentence(error: ValidationError) -> str:
    """One readable line for a validation error: which parameter, what is wrong with it."""
    spec = next((spec for spec in _subclasses(Spec) if spec.__name__ == error.title), None)
    lines = []
    for issue in error.errors():
        message = issue["msg"].removeprefix("Value error, ")
        name = ".".join(_labels(issue["loc"], [spec] if spec else []))
        lines.append(f"{name}: {message}" if name and issue["type"] != "value_error" else message)
    return "; ".join(lines)


def _labels(location: tuple[int | str, ...], specs: list[type[BaseModel]]) -> Iterator[str]:
    """The label of each part of a location, followed through the fields of `specs`; a part without one as it is."""
    for part in location:
        if part in SAMPLINGS:  # which of several samplings was meant, no field of theirs
            continue
        field = next((spec.model_fields[part] for spec in specs if part in spec.model_fields), None)
        yield str(part) if field is None else field.title or str(part)
        if field is not None:
            specs = list(_models_in(field.annotation))


def _subclasses(spec: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Every spec there is, whoever wrote it."""
    for subclass in spec.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field of this type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
