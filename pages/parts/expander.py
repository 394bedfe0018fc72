"""Folds for controls that are rarely changed. The title says how they are set. Where all are as preset, they are sent
to the browser once the fold is opened, as it draws what lies in a closed fold, too.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.specs import Spec
from analysis.specs.base import extra
from analysis.specs.naming import short_label
from pages.parts.plain import plain

TITLES = "[class*='st-key-fold_'] details[open]>summary span[style^='font-size']{display:none}"
"""Style: what the title of an open fold does not show."""
_MOST = 6  # settings in a title
_KEPT = "kept_"
_NO_WORDS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Setting:
    """A setting whose control lies in a fold.

    key: of its widget. words: how the title tells it, with {} for its value. usual: its preset. always: whether the
    title tells it also as preset. linked: whether the widget's value stands in the address. empty: what no value is
    called.
    """

    key: str
    words: str
    usual: Any
    always: bool = False
    linked: bool = True
    empty: str = "unset"

    def text(self, value: Any) -> str:
        """A value as the title tells it."""
        if value is None or value == "":
            return self.empty
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, list | tuple):
            return ", ".join(map(str, value)) or "none"
        return f"{value:.12g}" if isinstance(value, float) else str(value)

    def differs(self, value: Any) -> bool:
        """Whether a value is not the preset."""
        return self.text(value) != self.text(self.usual)


class Fold(NamedTuple):
    """Where the controls are to be drawn, and whether they are: else all are as preset."""

    place: DeltaGenerator
    drawn: bool


class _Kept(NamedTuple):
    """Of the run before."""

    expanded: bool
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
    """Fields of a spec as settings. keys: field -> the key of its widget. words: field -> how the title tells it, its
    label without. presets: where they are not the field's own default."""
    settings = []
    for name, key in keys.items():
        field = kind.model_fields[name]
        usual, empty = presets.get(name, field.default), str(extra(field).get("empty") or "unset")
        told_as = words.get(name, f"{short_label(name, field)} {{}}")
        settings.append(Setting(key, told_as, usual, name in always, linked, empty))
    return settings


def told(settings: Sequence[Setting], values: Mapping[str, Any]) -> str:
    """Settings in a few words: those always told, and those that are not as preset; none where there is neither.
    values: by key."""
    parts = []
    for setting in settings:
        value = values.get(setting.key, setting.usual)
        if setting.always or setting.differs(value):
            parts.append(setting.words.replace("{}", setting.text(value)))
    more = f" and {len(parts) - _MOST} more" if len(parts) > _MOST else ""
    return ", ".join(parts[:_MOST]) + more


def fold(title: str, key: str, settings: Sequence[Setting], linked: bool = False) -> Fold:
    """A fold for these settings, whose controls are to be drawn into it where `drawn`.

    linked: it begins open where a link set one of them. While it is open its title stays, as Streamlit takes a fold of
    another title for another fold, which would begin closed; so all but its name is hidden (`TITLES`), and the controls
    beneath it tell how they are set.
    """
    kept: _Kept | None = st.session_state.get(_KEPT + key)
    here = kept is not None and key in st.session_state  # not so after a visit to another page
    values = {setting.key: _value(setting, drawn=here and kept is not None and kept.drawn) for setting in settings}
    by_link = linked and any(setting.linked and setting.key in st.query_params for setting in settings)
    expanded = by_link if kept is None else kept.expanded
    words = kept.words if kept is not None and here and st.session_state[key] else told(settings, values)
    shown = f" :small[· {plain(words)}]" if words else ""
    place = st.expander(f"{plain(title)}{shown}", expanded=expanded, key=key, on_change="rerun")
    drawn = bool(place.open) or any(setting.differs(values[setting.key]) for setting in settings)
    st.session_state[_KEPT + key] = _Kept(expanded, drawn, words)
    return Fold(place, drawn)


def titled(title: str, key: str, settings: Sequence[Setting]) -> DeltaGenerator:
    """A fold whose controls are always drawn. Its title follows them at once."""
    values = {setting.key: _value(setting, drawn=setting.key in st.session_state) for setting in settings}
    return st.expander(plain(" · ".join(filter(None, (title, told(settings, values))))), key=key)


def _value(setting: Setting, drawn: bool) -> Any:
    """What a control is set to, or will be. drawn: whether it was there a run ago; if not, the address comes first."""
    if setting.linked and not drawn and setting.key in st.query_params:
        value = _read(", ".join(st.query_params.get_all(setting.key)), setting.usual)
        if not setting.differs(value) and setting.key in st.session_state:
            del st.session_state[setting.key]  # Streamlit would take it for the address's, which names the preset
        return value
    return st.session_state.get(setting.key, setting.usual)


def _read(text: str, usual: Any) -> Any:
    """A value as the address has it, of the kind of the preset."""
    if isinstance(usual, bool):
        return text.lower() == "true"
    if isinstance(usual, int | float):
        try:
            return float(text)
        except ValueError:
            return text
    return text
