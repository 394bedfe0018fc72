"""Widgets drawn from a spec: label, range, default and help text come from its fields, nowhere else."""

import types
from collections.abc import Collection, Iterable
from typing import Any, TypeVar, Union, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo

from analysis.specs import Spec, choices, help_text
from analysis.specs.base import beyond_choices, bounds, extra
from cache.sizes import size_text
from pages.parts.plain import plain

_Choice = TypeVar("_Choice")


def segments(
    label: str, options: Iterable[_Choice], key: str, place: Any = st, default: _Choice | None = None, **more: Any
) -> _Choice:
    """Draw a choice that the address holds, the first one unless `default` says another; nothing where there is one.
    more: of `st.segmented_control`.
    """
    offered = list(options)
    if len(offered) < 2:
        return offered[0]
    preset = offered[0] if default is None else default
    chosen: _Choice = place.segmented_control(
        label, offered, default=preset, required=True, key=key, bind="query-params", **more
    )
    return chosen


def draw(
    spec: type[Spec], name: str, key: str, default: Any = None, without: Collection[str] = (), **options: Any
) -> Any:
    """Draw the widget of one field and return its value. options go to the widget (bind, on_change, …). without:
    choices not offered here.

    A size is returned as it was written, for the spec to read.
    """
    field = spec.model_fields[name]
    default = field.default if default is None else default
    declared, title = extra(field), field.title or plain(name)
    unit = f" ({declared['unit']})" if declared.get("unit") and declared["unit"] not in title.lower() else ""
    if declared.get("unit") == "bytes":
        text = "" if default is None else size_text(default)
        options |= {"key": key, "help": _help(field), "placeholder": declared.get("empty") or "2 GiB"}
        return st.text_input(title, value=text, **options).strip() or None
    label = f"{title}{unit}"
    help_shown = _help(field)
    kind = _plain_type(field)
    allowed = [choice for choice in choices(field) if choice not in without]
    if allowed:
        if beyond_choices(field):
            options |= {"accept_new_options": True}
        return st.selectbox(label, allowed, index=allowed.index(default), key=key, help=help_shown, **options)
    if kind is bool:
        return st.toggle(label, value=default, key=key, help=help_shown, **options)
    if kind in (int, float):
        if field.default is None and default is not None:
            options, default = _preset(key, kind, default, declared.get("empty") or "", options), None
        return st.number_input(
            label,
            value=default,
            step=declared.get("step") or kind(1),
            key=key,
            help=help_shown,
            placeholder=declared.get("empty") or None,
            format=_format(declared.get("step")),
            **_range(field, kind),
            **options,
        )
    return st.text_input(label, value=default, key=key, help=help_shown, **options)


def _preset(key: str, kind: Any, preset: Any, empty: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a number that is preset and can be emptied, which Streamlit allows only without a preset:
    the preset goes into the session's state, and any other choice into the address under its key.
    """
    bound = options.get("bind") == "query-params"
    if key not in st.session_state:
        stated = st.query_params.get(key, "") if bound else ""
        st.session_state[key] = None if stated and stated == empty else kind(stated) if stated.isdigit() else preset
    chosen = st.session_state[key]
    if bound and chosen != preset:
        st.query_params[key] = empty if chosen is None else str(chosen)
    elif bound and key in st.query_params:
        del st.query_params[key]
    return {name: value for name, value in options.items() if name != "bind"}


def slides(spec: type[Spec], name: str) -> bool:
    """Return whether a field is a number between two bounds, for `draw_slider`."""
    field = spec.model_fields[name]
    kind = _plain_type(field)
    return kind in (int, float) and set(_range(field, kind)) == {"min_value", "max_value"}


def draw_slider(spec: type[Spec], name: str, key: str, label: str = "", **options: Any) -> Any:
    """Draw a bounded number as a slider. label: replaces the field's."""
    field = spec.model_fields[name]
    kind = _plain_type(field)
    step = kind(extra(field).get("step") or 1)
    return st.slider(
        label or field.title or plain(name),
        value=kind(field.default),
        step=step,
        key=key,
        help=_help(field),
        **{"format": "%.1f" if step in (0.1, 0.5) else None, **_range(field, kind), **options},
    )


def _format(step: float | None) -> str | None:
    """Return a format with the step's decimals, where Streamlit's own two would hide them."""
    return "%.3f" if step is not None and step < 0.01 else None


def _help(field: FieldInfo) -> str:
    source = extra(field).get("source")
    return f"{help_text(field)}\n\n*Source: {source}*" if source else help_text(field)


def _plain_type(field: FieldInfo) -> Any:
    """Return the field's type without `| None`."""
    if get_origin(field.annotation) in (Union, types.UnionType):
        return next(kind for kind in get_args(field.annotation) if kind is not type(None))
    return field.annotation


def _range(field: FieldInfo, kind: type) -> dict[str, Any]:
    """Return min_value and max_value for a widget. An open bound moves inside by as little as matters."""
    low, high, _ = bounds(field, 1 if kind is int else 1e-6)
    ends = {"min_value": low, "max_value": high}
    return {name: kind(end) for name, end in ends.items() if end is not None}
