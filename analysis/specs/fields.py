"""What the field of a parameter says about itself: its range, and the step, unit and source it was declared with."""

from typing import Any, NamedTuple, cast

import annotated_types
from pydantic.fields import FieldInfo


class Bounds(NamedTuple):
    """Least and largest value; None where there is none. excludes_low: whether `low` lies inside a bound that is itself
    excluded."""

    low: float | None
    high: float | None
    excludes_low: bool


def bounds(field: FieldInfo, inside: float) -> Bounds:
    """The range of a number. inside: how far within a bound that the field excludes the end of the range lies."""
    low: float | None = None
    high: float | None = None
    excludes_low = False
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            low = cast(float, rule.ge)
        elif isinstance(rule, annotated_types.Gt):
            low, excludes_low = cast(float, rule.gt) + inside, True
        elif isinstance(rule, annotated_types.Le):
            high = cast(float, rule.le)
        elif isinstance(rule, annotated_types.Lt):
            high = cast(float, rule.lt) - inside
    return Bounds(low, high, excludes_low)


def extra(field: FieldInfo) -> dict[str, Any]:
    """What `parameter` was given for those who draw the field: unit, source, step, empty."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
