"""Fields of a config against the types that the class which reads it declares, so that a refusal names the field."""

import math
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from types import UnionType
from typing import Any, ClassVar, Literal, Union, cast, get_args, get_origin, get_type_hints

import torch
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

from analysis.errors import UserError, shorten

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}

_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function")


def check_types(config: Mapping[str, Any], reader: type[PreTrainedConfig]) -> None:
    """Raise UserError naming the first field whose value has no type that `reader` declares for it.

    Names in its `attribute_map` count too. A null is an absent field. Integers are accepted as floats, booleans are not
    numbers, and numbers must be finite.
    """
    declared, names = _declared(cast(Hashable, reader)), getattr(reader, "attribute_map", {})
    for name, value in config.items():
        kinds = declared.get(names.get(name, name))
        if kinds is None or value is None or _is_one_of(value, kinds):
            continue
        expected = " or ".join(_WORDS[kind] for kind in kinds)
        raise UserError(
            f"'{shorten(name)}' of the config is {shown(value)}; {expected} was expected. Correct its config.json."
        )
    _check_activations(config)


def _check_activations(config: Mapping[str, Any]) -> None:
    for name in _ACTIVATIONS:
        value = config.get(name)
        if isinstance(value, str) and value not in ACT2FN:
            raise UserError(
                f"'{name}' of the config is {shown(value)}, which is no activation that transformers knows. Correct "
                "its config.json."
            )


def refused_field(
    config: Mapping[str, Any], make: Callable[[dict[str, Any]], PreTrainedConfig]
) -> tuple[str, Any] | None:
    """Return the first field, with its value, without which `make` accepts a config that it refuses, or None."""
    for name, value in config.items():
        try:
            make({other: kept for other, kept in config.items() if other != name})
        except Exception:
            continue
        return name, value
    return None


def shown(value: Any) -> str:
    """A config's value for a message: as JSON writes it, shortened."""
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else shorten(repr(value), 60)


@lru_cache(maxsize=32)
def _declared(reader: Hashable) -> dict[str, tuple[type, ...]]:
    """The kinds of values of each field whose annotation says them all, by name."""
    fields = {}
    for name, hint in get_type_hints(reader, localns={"torch": torch}).items():
        kinds = _kinds(hint)
        if kinds:
            fields[name] = kinds
    return fields


def _kinds(hint: Any) -> tuple[type, ...]:
    """Return the JSON types of an annotation; empty if a part of it is not one."""
    if get_origin(hint) is ClassVar:
        return ()
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = {_kind(part) for part in parts if part is not type(None)}
    return () if None in kinds else tuple(kind for kind in _WORDS if kind in kinds)


def _kind(hint: Any) -> type | None:
    origin = get_origin(hint) or hint
    if origin is Literal:
        return str if all(isinstance(value, str) for value in get_args(hint)) else None
    if origin is tuple:
        return list
    return origin if origin in _WORDS else dict if getattr(origin, "__total__", None) is not None else None


def _is_one_of(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kinds) or (isinstance(value, int) and float in kinds)
