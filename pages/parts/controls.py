"""Widgets drawn from a spec, and the columns and folds they stand in.

A widget's label, range, default and help text come from its field, nowhere else. Keyed columns hold figures and
controls, and stack on narrow windows. Folds hold controls that are rarely changed; their titles give the settings. If
all are preset, they are only sent to the browser once the fold is opened, as it also draws the content of closed folds.
"""

import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any, NamedTuple, Union, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo
from streamlit.delta_generator import DeltaGenerator

from analysis.specs import Spec, choices, help_text
from analysis.specs.base import beyond_choices, bounds, extra, short_label
from cache.environment import size_text
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
    written = "percent" if extra(field).get("share") else "%.1f" if step in (0.1, 0.5) else None
    return st.slider(
        label or _title(spec, name),
        value=kind(field.default),
        step=step,
        **{"format": written, **_range(field, kind), **_options(field, key, options)},
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


def keyed_columns(spec: int | Sequence[float], key: str, place: Any = st, **options: Any) -> Sequence[DeltaGenerator]:
    """Return columns that the browser recognises whatever is drawn above them.

    A block without a key is known by its place among its siblings. If one more or less precedes it, the browser makes
    its controls anew before it removes the old ones, and with these goes their tie to the address. options: of
    `st.columns`.
    """
    columns: Sequence[DeltaGenerator] = place.container(key=f"columns_{key}").columns(spec, **options)
    return columns


_BOTH, _BESIDE = "plots_and_controls", "beside_the_plots"
PHONE = 640  # pixels, up to which Streamlit sets columns one beneath the other
STACKED = 1180  # pixels of the window, up to which steps and figures are stacked
_SIDES = f".st-key-columns_{_BOTH}>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']"
_STYLE = f"""<style>
@media (min-width:{PHONE + 1}px){{
[data-testid='stColumn']:has(>[data-testid='stVerticalBlock']>*>.st-key-{_BESIDE}){{position:sticky;top:3.75rem;
align-self:flex-start;max-height:calc(100vh - 4.5rem);overflow-y:auto;overflow-x:hidden;padding-bottom:.5rem}}}}
.st-key-{_BESIDE}{{gap:.6rem}}
@media (min-width:{PHONE + 1}px) and (max-width:{STACKED}px){{
{_SIDES}:first-child{{flex:1 1 0;min-width:0}}{_SIDES}:last-child{{flex:0 0 16rem}}}}
</style>"""


def order_on_a_phone(rows: Mapping[str, Sequence[int]], blocks: Mapping[str, int], last: str = "") -> None:
    """Set the order in which parts of a page stand on a phone; 0 is that of all others. rows: of each column of
    `keyed_columns`, by the row's key. blocks: of containers, by their keys. last: key of a container that stands
    beneath all, with what follows it.
    """
    held = "[data-testid='stLayoutWrapper']:has(>.st-key-{})"
    styles = [f"{held.format(key)}{{order:{order}}}" for key, order in blocks.items()]
    for key, orders in rows.items():
        row = f".st-key-columns_{key}"
        lies = f"{row}>*>[data-testid='stHorizontalBlock']"
        styles.append(f"{held.format(f'columns_{key}')},{row},{row}>*,{lies}{{display:contents}}")
        for place, order in enumerate(orders, start=1):
            column = f"{lies}>[data-testid='stColumn']:nth-child({place})"
            styles.append(f"{column}{{order:{order};flex:none;width:100%}}")
    if last:
        most = max(*blocks.values(), *chain(*rows.values()))
        styles.append(f"{held.format(last)},{held.format(last)}~*{{order:{most + 1}}}")
    st.html(f"<style>@media (max-width:{PHONE}px){{\n{chr(10).join(styles)}}}</style>")


_STEPS, _OPEN = "settings_preview_outcome", "settings_in_view"
_STEP = f".st-key-columns_{_STEPS}>*>[data-testid='stHorizontalBlock']"
_DRAWN = "[data-testid='stElementContainer']"
# Figures beneath the preview and the outcome begin at one height. Stacked, the one that proves the answer stands first,
# and in the order of the Tab key where the browser can. Its place is kept until it is drawn.
_LEFT_TO_RIGHT = f"""<style>
@media (min-width:{STACKED + 1}px){{
{_STEP}{{display:grid;grid-template:auto 1fr/minmax(0,1.1fr) minmax(0,1.44fr) minmax(0,1.66fr);row-gap:1rem}}
{_STEP}>[data-testid='stColumn']{{width:auto;grid-area:1/1/span 2}}{_STEP}>:nth-child(2){{grid-area:1/2/span 2}}
{_STEP}:has(>:nth-child(3) {_DRAWN})>:nth-child(2){{grid-area:1/2}}{_STEP}>:nth-child(3){{grid-area:2/2}}
{_STEP}>:nth-child(4){{grid-area:1/3}}{_STEP}>:nth-child(5){{grid-area:2/3}}
[data-testid='stColumn']:has(>[data-testid='stVerticalBlock']>*>.st-key-{_OPEN}){{position:sticky;top:3.75rem;
align-self:flex-start;max-height:calc(100vh - 4.5rem);overflow-y:auto;overflow-x:hidden;padding-bottom:.5rem}}}}
@media (max-width:{STACKED}px){{
{_STEP}{{flex-wrap:wrap;reading-flow:flex-visual}}
{_STEP}>[data-testid='stColumn']{{min-width:100%}}
{_STEP}>:nth-child(5){{order:-1}}
{_STEP}>:nth-child(5):not(:has({_DRAWN})){{min-height:24rem}}}}
{_STEP}>:nth-child(3):not(:has({_DRAWN})){{display:none}}
.st-key-{_OPEN},.st-key-{_OPEN}>*>.stVerticalBlock{{gap:.6rem}}
</style>"""

_PAIRS = "figures_of"
_PAIR = f"""<style>
@media (max-width:{STACKED}px){{
[class*='st-key-columns_{_PAIRS}']>*>[data-testid='stHorizontalBlock']{{flex-wrap:wrap}}
[class*='st-key-columns_{_PAIRS}']>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn']{{min-width:100%}}}}
</style>"""


def figures_beside(count: int | Sequence[float], key: str, **options: Any) -> Sequence[DeltaGenerator]:
    """Return containers for figures side by side, stacked on narrow windows. count: of them, or their widths. options:
    of `st.columns`.
    """
    st.html(_PAIR)
    return keyed_columns(count, figures_row(key), gap="medium", **options)


# Title, sentence, figure and table of each have a line of the row's grid in common.
_LEVELED = "leveled"
_LEVEL = f"""<style>
@media (min-width:{STACKED + 1}px){{
[class*='st-key-{_LEVELED}']>*>*>*>[data-testid='stHorizontalBlock']{{display:grid;grid-auto-flow:column;
grid-auto-columns:minmax(0,1fr);grid-template-rows:repeat(8,auto);row-gap:0}}
[class*='st-key-{_LEVELED}']>*>*>*>[data-testid='stHorizontalBlock']>[data-testid='stColumn'],
[class*='st-key-{_LEVELED}']>*>*>*>*>[data-testid='stColumn']>[data-testid='stVerticalBlock']{{display:grid;width:auto;
grid-row:span 8;grid-template-rows:subgrid;grid-template-columns:minmax(0,1fr);row-gap:0}}
[class*='st-key-{_LEVELED}']>*>*>*>*>[data-testid='stColumn']>[data-testid='stVerticalBlock']>*{{margin-bottom:1rem}}}}
</style>"""


def on_one_level(key: str) -> DeltaGenerator:
    """Return a container for a row of `figures_beside` whose figures and tables stand at one height."""
    st.html(_LEVEL)
    return st.container(key=f"{_LEVELED}_{key}")


def figures_row(key: str) -> str:
    """Return the key of the row of `figures_beside`, as of `keyed_columns`."""
    return f"{_PAIRS}_{key}"


def plots_and_controls() -> tuple[DeltaGenerator, DeltaGenerator]:
    """Return the two containers below a page's title: for its plots, and for their controls, which stay in view as the
    plots are scrolled. Draw the controls first, as the plots need their values.
    """
    st.html(_STYLE)
    plots, side = keyed_columns([3, 1], _BOTH, gap="medium")
    return plots, side.container(key=_BESIDE)


class Steps(NamedTuple):
    """The containers of a page read from left to right: settings, which stay in view, a preview, the figure
    beneath it, what is done with the settings, the proof of the page's answer, beneath that or, where all are stacked,
    above all, further results, and rarer things beneath all.
    """

    settings: DeltaGenerator
    preview: DeltaGenerator
    figure: DeltaGenerator
    outcome: DeltaGenerator
    proof: DeltaGenerator
    results: DeltaGenerator
    beneath: DeltaGenerator


def left_to_right() -> Steps:
    """Return the containers of a page read from left to right."""
    st.html(_LEFT_TO_RIGHT)
    settings, preview, figure, outcome, proof = keyed_columns(5, _STEPS, gap="medium")
    results, beneath = st.container(key="results_of_the_steps"), st.container(key="beneath_the_steps")
    return Steps(settings.container(key=_OPEN), preview, figure, outcome, proof, results, beneath)


# On a phone the views take as many rows as they need, with less room around each.
_VIEWS = f"""<style>@media (max-width:{PHONE}px){{
[class*='st-key-'][class*='_view'] [data-testid='stButtonGroup'] [role='radiogroup']{{gap:.3rem}}
[class*='st-key-'][class*='_view'] [role='radiogroup'] button{{padding-inline:.5rem}}}}</style>"""


def title_row(page: str) -> DeltaGenerator:
    """Draw a page's title; return its row, which has room at the right."""
    row = st.container(horizontal=True, vertical_alignment="center", key=f"{page.lower()}_title")
    row.title(page, width="content")
    return row


def titled_views(page: str, views: Sequence[str]) -> str:
    """Draw a page's title and, in its row, the choice of a view; return it."""
    st.html(_VIEWS)
    with title_row(page):
        return segments("View", views, f"{page.lower()}_view", label_visibility="collapsed")


def views_row(views: Sequence[str], key: str) -> tuple[str, DeltaGenerator]:
    """Draw the choice of a view, the first unless the address names one; return it, and the room at its right."""
    left, right = keyed_columns([5, 4], f"{key}_row", vertical_alignment="center")
    view = segments("View", views, key, left, label_visibility="collapsed")
    return view, right.container(horizontal=True, horizontal_alignment="right", key=f"{key}_beside")


TITLES = "[class*='st-key-fold_'] details[open]>summary span[style^='font-size']{display:none}"
"""Style: hides part of an open fold's title."""
_MOST = 6  # settings in a title
_KEPT = "kept_"
_NO_WORDS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Setting:
    """A setting whose control lies in a fold.

    key: of its widget. words: its wording in the title, with {} for its value. usual: its preset. always: the title
    includes it even if preset. linked: the widget's value is in the address. empty: name for no value.
    """

    key: str
    words: str
    usual: Any
    always: bool = False
    linked: bool = True
    empty: str = "unset"

    def text(self, value: Any) -> str:
        """Return a value as the title shows it."""
        if value is None or value == "":
            return self.empty
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, list | tuple):
            return ", ".join(map(str, value)) or "none"
        return f"{value:.12g}" if isinstance(value, float) else str(value)

    def differs(self, value: Any) -> bool:
        """Return whether a value is not preset."""
        return self.text(value) != self.text(self.usual)


class Fold(NamedTuple):
    """Container of the controls, and whether to draw them: undrawn ones keep their presets."""

    place: DeltaGenerator
    drawn: bool


class _Kept(NamedTuple):
    """Of the run before."""

    drawn: bool
    words: str


def settings_of(
    kind: type[Spec],
    keys: Mapping[str, str],
    always: Collection[str] = (),
    words: Mapping[str, str] = _NO_WORDS,
    linked: bool = True,
    **presets: Any,
) -> list[Setting]:
    """Return fields of a spec as settings. keys: field -> the key of its widget. words: field -> its wording in the
    title, else its label. presets: replace the fields' own defaults.
    """
    settings = []
    for name, key in keys.items():
        field = kind.model_fields[name]
        usual, empty = presets.get(name, field.default), str(extra(field).get("empty") or "unset")
        told_as = words.get(name, f"{short_label(name, field)} {{}}")
        settings.append(Setting(key, told_as, usual, name in always, linked, empty))
    return settings


def keys_of(prefix: str, names: Iterable[str]) -> dict[str, str]:
    """Return the keys of fields' widgets, by name: the name after a prefix."""
    return {name: f"{prefix}_{name}" for name in names}


def told(settings: Sequence[Setting], values: Mapping[str, Any]) -> str:
    """Return settings in a few words: those always told, and those that are not preset; '' if there are none. values:
    by key.
    """
    parts = []
    for setting in settings:
        value = values.get(setting.key, setting.usual)
        if setting.always or setting.differs(value):
            parts.append(setting.words.replace("{}", setting.text(value)))
    more = f" and {len(parts) - _MOST} more" if len(parts) > _MOST else ""
    return ", ".join(parts[:_MOST]) + more


def fold(title: str, key: str, settings: Sequence[Setting]) -> Fold:
    """Open a fold for these settings, whose controls are to be drawn into it if `drawn`.

    While open it keeps its title, as Streamlit takes a fold with another title for a new, closed one; so all but its
    name is hidden (`TITLES`), and the controls beneath show the settings.
    """
    kept: _Kept | None = st.session_state.get(_KEPT + key)
    here = kept is not None and key in st.session_state  # not so after a visit to another page
    values = {setting.key: _value(setting, drawn=here and kept is not None and kept.drawn) for setting in settings}
    words = kept.words if kept is not None and here and st.session_state[key] else told(settings, values)
    shown = f" :small[· {plain(words)}]" if words else ""
    place = st.expander(f"{plain(title)}{shown}", key=key, on_change="rerun")
    drawn = bool(place.open) or any(setting.differs(values[setting.key]) for setting in settings)
    st.session_state[_KEPT + key] = _Kept(drawn, words)
    return Fold(place, drawn)


def _value(setting: Setting, drawn: bool) -> Any:
    """Return a control's present or future value. drawn: the last run drew it; if not, the address takes precedence."""
    if setting.linked and not drawn and setting.key in st.query_params:
        value = _read(", ".join(st.query_params.get_all(setting.key)), setting.usual)
        if not setting.differs(value) and setting.key in st.session_state:
            del st.session_state[setting.key]  # Streamlit would take it for the address's, which names the preset
        return value
    return st.session_state.get(setting.key, setting.usual)


def _read(text: str, usual: Any) -> Any:
    """Parse a value from the address into the preset's type."""
    if isinstance(usual, bool):
        return text.lower() == "true"
    if isinstance(usual, int | float):
        try:
            return float(text)
        except ValueError:
            return text
    return text
