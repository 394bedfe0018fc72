"""Folds for controls that are rarely changed. The title gives their settings. If all are preset, they are only sent to
the browser once the fold is opened, as it also draws the content of closed folds.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.specs import Spec
from analysis.specs.base import extra
from analysis.specs.naming import short_label
from pages.parts.plain import plain

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


def titled(title: str, key: str, settings: Sequence[Setting]) -> DeltaGenerator:
    """Open a fold whose controls are always drawn. Its title follows them at once."""
    values = {setting.key: _value(setting, drawn=setting.key in st.session_state) for setting in settings}
    return st.expander(plain(" · ".join(filter(None, (title, told(settings, values))))), key=key)


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
