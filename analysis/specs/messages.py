"""Specs from flat names, such as `discount_strength=0.5` in a notebook for a field two specs deep, and validation
errors as a person reads them, put into words here alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from analysis.errors import UserError, one_line, shorten
from analysis.specs.base import Spec
from analysis.specs.pruning import PruneSpec
from analysis.specs.pruning_choices import METHODS
from analysis.specs.sampling import SAMPLINGS


def sentence(error: ValidationError) -> str:
    """Return one readable line for a validation error: which parameter, and what was expected of it."""
    spec = next((spec for spec in _subclasses(Spec) if spec.__name__ == error.title), None)
    lines, issues = [], error.errors()
    inside = {issue["loc"][:-1] for issue in issues}
    for issue in issues:
        if issue["type"] in _OWN:
            lines.append(issue["msg"].removeprefix("Value error, "))
            continue
        if issue["type"] == "too_short" and issue["loc"] in inside:
            continue  # pydantic does not count what is wrong in the list
        name = _name(issue["loc"], [spec] if spec else [])
        words = "is empty" if issue["input"] == "" else _PROBLEMS.get(issue["type"], "cannot be {given}")
        lines.append(f"{name} {words.format_map(_limits(issue))}")
    problems = list(dict.fromkeys(lines))
    left = len(problems) - _TOLD
    return one_line("; ".join(problems[:_TOLD]) + (f"; and {left} more" if left > 0 else ""))


def why_nothing_goes(spec: PruneSpec) -> str:
    """Say why a pruning that is valid would leave the model as it is; "" if it would not."""
    idle = spec.sparsity == 0 and METHODS[spec.method].removes and not spec.quantization.active
    return "A sparsity of 0 removes no weight. Raise it." if idle else ""


_TOLD = 5  # most problems listed in one line
_OWN = ("value_error", "assertion_error")
"""Kinds of errors whose text the specs themselves write."""
_WHOLE, _NUMBER, _TRUTH = (f"must be {kind}, not {{given}}" for kind in ("a whole number", "a number", "true or false"))
_TEXT, _LIST, _PARAMETERS = (f"must be {kind}, not {{given}}" for kind in ("text", "a list", "a set of parameters"))
_LISTED = "must be {expected}, not {given}"
_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is no parameter here",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "must be a finite number, not {given}",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _PARAMETERS,
    "model_type": _PARAMETERS,
    "model_attributes_type": _PARAMETERS,
    "greater_than": "must be more than {gt}, not {given}",
    "greater_than_equal": "must be at least {ge}, not {given}",
    "less_than": "must be less than {lt}, not {given}",
    "less_than_equal": "must be at most {le}, not {given}",
    "multiple_of": "must be a multiple of {multiple_of}, not {given}",
    "literal_error": _LISTED,
    "enum": _LISTED,
    "too_short": "must list at least {min_length} (you gave {actual_length})",
    "too_long": "must list at most {max_length} (you gave {actual_length})",
    "string_too_short": "must have at least {min_length} characters, not {given}",
    "string_too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "cannot be {given}",
    "union_tag_invalid": "must be one of {expected_tags}, not '{tag}'",
    "union_tag_not_found": "must say which kind it is ({discriminator})",
    "json_invalid": "is not readable JSON",
    "json_type": "is not readable JSON",
}
"""Message by pydantic error type, with its limits and the given value."""


def _limits(issue: Any) -> Mapping[str, str]:
    """Return the limits of a validation issue as they are shown, and the value as `given`; `more` for a missing one."""
    context = issue.get("ctx", {})
    shown = {name: value if isinstance(value, str) else _shown(value) for name, value in context.items()}
    return defaultdict(lambda: "more", shown, given=_shown(issue["input"]))


def _shown(given: Any) -> str:
    if isinstance(given, bool) or given is None:
        return {True: "true", False: "false", None: "nothing"}[given]
    if isinstance(given, int | float):
        return shorten(f"{given:,}" if isinstance(given, int) else str(given).removesuffix(".0"))
    if isinstance(given, str):
        return f"'{shorten(given)}'"
    return "a list" if isinstance(given, list | tuple) else "a set of parameters" if isinstance(given, dict) else "that"


def _name(location: tuple[int | str, ...], specs: list[type[BaseModel]]) -> str:
    """Return what a location is called: its label, or the path to it where it has none."""
    labels = dict(_labels(location, specs))
    path = [part for part in labels if isinstance(part, str)]
    if not path:
        return "What was given"
    titled = [label for part in path if (label := labels[part])]
    name = ": ".join(titled) if labels[path[-1]] else ".".join(path)
    return f"{name}: each" if isinstance(location[-1], int) else name


def _labels(location: tuple[int | str, ...], specs: list[type[BaseModel]]) -> Iterator[tuple[int | str, str]]:
    """Yield each part of a location with its label, followed through the fields of `specs`; '' where it has none."""
    for part in location:
        if part in SAMPLINGS:  # pydantic's tag of the sampling, not a field
            continue
        field = next((spec.model_fields[part] for spec in specs if part in spec.model_fields), None)
        yield part, "" if field is None else field.title or ""
        if field is not None:
            specs = list(_models_in(field.annotation))


def _subclasses(spec: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield every subclass of a spec, also those of plugins."""
    for subclass in spec.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field of this type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


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
