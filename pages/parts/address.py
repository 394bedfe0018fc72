"""Values in the page's address, as the server last wrote them, and the boxes and links that hold them.

A refresh under way while the server writes the address still carries the old value, and the rerun it causes would show
that again. So for a short while a value just replaced counts as stale, unless the visitor goes back in the browser. In
a fragment's refresh it always does: going back redraws the whole page.

Boxes put the id of their choice into the address; titles are for display alone, and may change. Pages lead to each
other by links, also where these look like buttons.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import get_script_run_ctx

_WRITTEN = "address_written"
_PRESENT = "present"  # the story as slides
_VISITED = "address_restored"  # the visit in which it was
_OPEN = "open_by_address_"  # by view: whether it was open when the page was drawn last
LATE = 15.0  # seconds within which a refresh arrives


def _written() -> dict[str, Any]:
    return st.session_state.setdefault(_WRITTEN, {})


def write(name: str, value: str) -> None:
    """Put a value into the address, unless it is there already."""
    before = st.query_params.get(name)
    if before != value:
        _written()[name] = (before, value, time.monotonic())
        st.query_params[name] = value


def opens(name: str) -> bool:
    """Return whether the address opens this view of the page, and tell the browser's, which a link to the current page
    does not change.
    """
    opened, was_open = st.query_params.get(name) == "true", st.session_state.get(_OPEN + name, False)
    st.session_state[_OPEN + name] = opened
    if opened or was_open:
        st.query_params.from_dict(st.query_params.to_dict())
    return opened


def presenting() -> bool:
    """Return whether the address asks for the story as slides."""
    return named(_PRESENT) == "true"


def present() -> None:
    """Mark slides as shown in the browser's address: a link to the current page does not change it."""
    _written().setdefault(_PRESENT, (None, "true", time.monotonic()))
    st.query_params[_PRESENT] = "true"


def leave_slides() -> None:
    """Show the page again."""
    drop(_PRESENT)


def to_slides(**query: str) -> dict[str, str]:
    """Return the query parameters of a link to the slides."""
    return {**query, _PRESENT: "true"}


def drop(name: str, stays: bool = False) -> None:
    """Take a value out of the address. stays: also keep a refresh under way from restoring it; a link to the same value
    then works only after a while.
    """
    written = _written()
    written.pop(name, None)
    before = st.query_params.pop(name, None)
    if stays and before is not None:
        written[name] = (before, None, time.monotonic())


def named(name: str) -> str | None:
    """Return the value in the address, or None."""
    value = st.query_params.get(name)
    before, written, at = _written().get(name, (None, None, 0.0))
    if at and value == before and value != written and time.monotonic() - at < LATE and not _went_back():
        _put(name, written)
        return None if written is None else str(written)
    if value != written:
        _written().pop(name, None)  # the visitor went elsewhere
    return value


def restore(names: Iterable[str], visit: int, left: Mapping[str, str]) -> None:
    """Put back what the browser's address says where the visitor has just come to this page: Streamlit leaves out
    values that a control of the page before held under the same name. names: which no control of this page holds.
    visit: the number of the visit to it. left: what holds where the address says nothing, as the visitor left it.
    """
    context = get_script_run_ctx()
    if context is None or st.session_state.get(_VISITED) == visit:
        return
    st.session_state[_VISITED] = visit
    said = dict(parse_qsl(context.query_string))
    if not any(name in said for name in names):
        said = dict(left)
    for name in names:
        if name in said and name not in st.query_params:
            st.query_params[name] = said[name]


def keep() -> None:
    """Restore what the server wrote where a late refresh of a fragment brought back the value before.

    Called first in fragments that refresh themselves.
    """
    for name, (before, written, _) in () if _went_back() else _written().items():
        if before is not None and st.query_params.get(name) == before:
            _put(name, written)


def _went_back() -> bool:
    """Return whether the visitor navigates the browser's history."""
    context = get_script_run_ctx()
    return context is not None and bool(getattr(context, "is_history_navigation", False))


def _put(name: str, value: str | None) -> None:
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value


_TAKEN = "taken_from_address_"  # by key: what the address said when it was last read or written


def linked_box(
    label: str,
    ids: Sequence[str],
    key: str,
    title: Callable[[str], str],
    default: str | None = None,
    first: str | None = None,
    required: bool = False,
    place: Any = st,
    typed: bool = False,
    read: Callable[[str], str] = str,
    **options: Any,
) -> str | None:
    """Draw a select box and return the id that is chosen; None while nothing is.

    title: what an id is called. default: chosen at first, and in no address. first: chosen at first, where it is to be
    in the address. required: whether the box cannot be emptied, as one with a default cannot. typed: whether text of
    one's own is taken, too. read: the id that an address or a typed text means, where it is none of `ids`; an older
    address names a title, and is followed where only one id has it. options: of `st.selectbox`.
    """
    _take(key, ids, title, default or first, typed, read)
    chosen: str | None = place.selectbox(
        label,
        list(ids),
        key=key,
        index=0 if required or default else None,
        format_func=lambda each: title(each) if each in ids else each,
        accept_new_options=typed,
        **options,
    )
    if chosen is not None and chosen != default:
        write(key, chosen)
    elif key in st.query_params:
        drop(key, stays=True)
    st.session_state[_TAKEN + key] = st.query_params.get(key)
    return chosen


def meant(text: str, ids: Sequence[str], title: Callable[[str], str], read: Callable[[str], str] = str) -> str:
    """Return the id that a text means: itself, what `read` finds, or the only one of that title; else the text."""
    if text in ids:
        return text
    if (found := read(text)) in ids:
        return found
    titled = [each for each in ids if title(each) == text]
    return titled[0] if len(titled) == 1 else text


def _take(
    key: str,
    ids: Sequence[str],
    title: Callable[[str], str],
    first: str | None,
    typed: bool,
    read: Callable[[str], str],
) -> None:
    """Put into the box what the address says, where it says something new, or what is there by its id."""
    stated = named(key)
    new = stated is not None and (key not in st.session_state or stated != st.session_state.get(_TAKEN + key))
    if not new and key in st.session_state and st.session_state[key] is None:
        return  # it was emptied
    value = stated if new else st.session_state.get(key)
    value = meant(value, ids, title, read) if value else first
    st.session_state[key] = value if typed or value in ids else first


def shown_box(
    label: str,
    key: str,
    shown: str | None,
    ids: Iterable[str],
    title: Callable[[str], str],
    choose: Callable[[str], None],
    **options: Any,
) -> None:
    """Draw a box of everything that can be shown, set to what is shown; choosing another calls `choose`.

    shown: its id, or None if the box lacks it. title: text of an id. options: of `st.selectbox`.

    Each thing shown has its own box. While the page moves on to another, the browser still reports the value of the box
    before; with a single box that would be a choice, and bring the old one back. Where a title has changed, as a
    run's does when it ends, it reports the old title, which is no choice either.
    """
    drawn, box, offered = f"{key}_drawn", f"{key}_{shown}", list(ids)

    def chosen() -> None:
        choice = st.session_state.get(box)
        if choice in offered and choice != shown and st.session_state.get(drawn) == box:
            choose(choice)

    st.session_state[drawn] = box
    st.session_state[box] = shown
    index = 0 if shown is not None else None
    st.selectbox(label, offered, key=box, index=index, format_func=title, on_change=chosen, **options)


_STYLE = """<style>.st-key-primary_link{margin-top:.5rem}
.st-key-primary_link a{background:#1f5fbf;border-radius:.5rem;padding:.5rem .8rem}
.st-key-primary_link a,.st-key-primary_link a *{color:#fff}.st-key-primary_link a:hover{background:#17499a}</style>"""
_BUTTONS = """<style>[class*='st-key-buttons_'] [data-testid='stPageLink'] a{border-radius:.5rem;padding:.25rem .6rem;
min-height:2.25rem;border:1px solid color-mix(in srgb,currentColor 25%,transparent)}
[class*='st-key-buttons_'] [data-testid='stPageLink'] p{font-size:.88rem;white-space:nowrap}</style>"""


def primary_link(page: str, label: str, icon: str, **options: Any) -> None:
    """Draw the link to the next thing to do, one per page. options go to `st.page_link`."""
    place = st.container(key="primary_link")
    place.html(_STYLE)
    place.page_link(page, label=label, icon=icon, **options)


def link_buttons(key: str) -> DeltaGenerator:
    """Return a row whose links look like buttons. key: of this row alone."""
    st.html(_BUTTONS)
    return st.container(horizontal=True, gap="small", key=f"buttons_{key}")
