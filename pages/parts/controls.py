"""Widgets drawn from a spec: label, range, default and help text come from its fields, nowhere else."""

import types
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import cycle
from typing import Any, Union, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo

from analysis.specs import Spec, choices, help_text
from analysis.specs.base import beyond_choices, bounds, extra
from cache.sizes import size_text
from pages.parts.plain import plain

_NONE: Mapping[str, Any] = {}


def segments(
    label: str,
    options: Iterable[str],
    key: str,
    place: Any = st,
    default: str | None = None,
    format_func: Callable[[str], str] = str,
    **more: Any,
) -> str:
    """Draw a choice that the address holds, the first one unless `default` says another; nothing where there is one.
    more: of `st.segmented_control`.
    """
    offered = list(options)
    if len(offered) < 2:
        return offered[0]
    preset = offered[0] if default is None else default
    chosen: str = place.segmented_control(
        label, offered, default=preset, required=True, key=key, bind="query-params", format_func=format_func, **more
    )
    return chosen


def pick(label: str, options: Iterable[Any], key: str, place: Any = st, **more: Any) -> Any:
    """Draw a box of options whose choice the address holds; one kept of options that are gone is forgotten. more: of
    `st.selectbox`.
    """
    offered = list(options)
    if st.session_state.get(key) not in (None, *offered):
        del st.session_state[key]
    return place.selectbox(label, offered, key=key, bind="query-params", **more)


def draw(
    spec: type[Spec], name: str, key: str, default: Any = None, without: Collection[str] = (), **options: Any
) -> Any:
    """Draw the widget of one field and return its value, which the address holds unless the session does. options go to
    the widget (persist_state, on_change, …). without: choices not offered here.

    A size is returned as it was written, for the spec to read.
    """
    field = spec.model_fields[name]
    default = field.default if default is None else default
    declared, title, kind = extra(field), _title(spec, name), _plain_type(field)
    unit, empty, options = declared.get("unit"), declared.get("empty") or "", _options(field, key, options)
    if unit == "bytes":
        text = "" if default is None else size_text(default)
        return st.text_input(title, text, placeholder=empty or "2 GiB", **options).strip() or None
    label = f"{title} ({unit})" if unit and unit not in title.lower() else title
    allowed = [choice for choice in choices(field) if choice not in without]
    if allowed:
        if beyond_choices(field):
            options |= {"accept_new_options": True}
        return st.selectbox(label, allowed, allowed.index(default), **options)
    if kind is bool:
        return st.toggle(label, default, **options)
    if kind in (int, float):
        if field.default is None and default is not None:
            options, default = _preset(key, kind, default, empty, options), None
        step = declared.get("step")
        decimals = "%.3f" if step is not None and step < 0.01 else None  # Streamlit's own two would hide them
        return st.number_input(
            label,
            value=default,
            step=step or kind(1),
            placeholder=empty or None,
            format=decimals,
            **_range(field, kind),
            **options,
        )
    return st.text_input(label, default, **options)


def draw_each(
    spec: type[Spec], keys: Mapping[str, str], places: Iterable[Any], presets: Mapping[str, Any] = _NONE, **options: Any
) -> dict[str, Any]:
    """Draw fields, one after another into the next of the places, again from the first; return their values by name.
    keys: of the widgets, by name. presets: of those that do not begin as the spec does. options: of `draw`.
    """
    values = {}
    for (name, key), place in zip(keys.items(), cycle(places), strict=False):
        with place:
            values[name] = draw(spec, name, key, presets.get(name), **options)
    return values


def draw_several(
    spec: type[Spec], name: str, key: str, offered: Iterable[Any], place: Any = st, **options: Any
) -> tuple[Any, ...]:
    """Draw the choice of several values for one field, and return them. options: of `st.multiselect`."""
    field = spec.model_fields[name]
    options = _options(field, key, {"default": list(field.default), **options})
    return tuple(place.multiselect(_title(spec, name), list(offered), **options))


def draw_list(
    spec: type[Spec], name: str, key: str, place: Any, default: Iterable[Any] | None = None, **options: Any
) -> tuple[str, ...]:
    """Draw a field of several values that are written with commas between, and return them. options: of
    `st.text_input`.
    """
    field = spec.model_fields[name]
    options = {**_options(field, key, options), "help": f"{field.description} With commas between."}
    written = ", ".join(map(str, field.default if default is None else default))
    return parts_of(place.text_input(_title(spec, name), written, **options))


def parts_of(text: str) -> tuple[str, ...]:
    """Return the parts of a text that are written with commas between."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


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
    """Draw a bounded number as a slider. label: replaces the field's. options: as of `draw`."""
    field = spec.model_fields[name]
    kind = _plain_type(field)
    step = kind(extra(field).get("step") or 1)
    return st.slider(
        label or _title(spec, name),
        value=kind(field.default),
        step=step,
        **{"format": "%.1f" if step in (0.1, 0.5) else None, **_range(field, kind), **_options(field, key, options)},
    )


def _title(spec: type[Spec], name: str) -> str:
    return spec.model_fields[name].title or plain(name)


def _options(field: FieldInfo, key: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a field's widget. given: those that replace and add some."""
    return {"key": key, "help": _help(field), "bind": None if "persist_state" in given else "query-params", **given}


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
