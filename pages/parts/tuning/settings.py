"""Actions on the setting of the discount: presets, undo, and keeping one to compare with."""

import json

import streamlit as st

from analysis.specs import PRESETS, DiscountParams, TuneParams, in_words
from pages.parts import controls
from pages.parts.session import not_in_address
from pages.parts.user_errors import EXPECTED, why

_HISTORY, _A = "tuning_history", "tuning_a"
MOST_UNDONE = 100


def key_of(name: str) -> str:
    """Return the key of a parameter's widget, its name in the address."""
    return f"prune_{name}"


def sliders() -> list[str]:
    """Return the parameters of the discount that are numbers between two bounds."""
    return [name for name in DiscountParams.model_fields if controls.slides(DiscountParams, name)]


def parameter_title(name: str) -> str:
    """Return a parameter's label without its brackets."""
    return str(DiscountParams.model_fields[name].title).partition(" (")[0]


def remember(setting: TuneParams) -> None:
    """Store a setting that was drawn, so that it can be restored."""
    history = st.session_state.setdefault(_HISTORY, [])
    text = setting.model_dump_json()
    if not history or history[-1] != text:
        history.append(text)
        del history[:-MOST_UNDONE]


def apply(setting: TuneParams) -> None:
    """Set the controls, in a callback."""
    for name, value in {**setting.discount.model_dump(), **setting.model_dump(exclude={"discount"})}.items():
        st.session_state[key_of(name)] = value


def actions() -> None:
    """Draw presets, undo and the button that keeps a setting as A: after the controls, which they read and set."""

    def preset() -> None:
        name = st.session_state["tuning_preset"]
        if name:
            sparsity = st.session_state.get(key_of("sparsity"), TuneParams().sparsity)
            apply(TuneParams(discount=PRESETS[name].discount, sparsity=sparsity))

    def undo() -> None:
        history = st.session_state[_HISTORY]
        history.pop()
        apply(TuneParams.model_validate_json(history[-1]))

    def keep() -> None:
        now = st.session_state[_HISTORY][-1]
        st.query_params[_A] = st.session_state[_A] = _short(TuneParams.model_validate_json(now))

    def swap() -> None:
        a, now = kept_a(), st.session_state[_HISTORY][-1]
        if a is not None:
            st.query_params[_A] = st.session_state[_A] = _short(TuneParams.model_validate_json(now))
            apply(a)

    def drop() -> None:
        st.session_state.pop(_A, None)
        del st.query_params[_A]

    _restore_a()
    history, has_a = st.session_state.get(_HISTORY, []), _A in st.query_params
    st.selectbox(
        "Discount preset",
        [None, *PRESETS],
        key="tuning_preset",
        on_change=preset,
        persist_state="session",
        format_func=lambda name: name or "as set",
        help="Sets the discount and counts all steps; the sparsity stays. published: the authors' scripts.",
    )
    upper, lower = st.columns(2, gap="xsmall"), st.columns(2, gap="xsmall")
    upper[0].button(
        "Undo", key="tuning_undo", on_click=undo, disabled=len(history) < 2, icon=":material/undo:", width="stretch"
    )
    upper[1].button(
        "Keep as A",
        key="tuning_keep",
        on_click=keep,
        disabled=not history,
        icon=":material/push_pin:",
        width="stretch",
        help="Compare it with every setting you try from here on.",
    )
    lower[0].button(
        "Swap A, B", key="tuning_swap", on_click=swap, disabled=not has_a, icon=":material/swap_horiz:", width="stretch"
    )
    lower[1].button(
        "Drop A", key="tuning_drop", on_click=drop, disabled=not has_a, icon=":material/close:", width="stretch"
    )


def _restore_a() -> None:
    if _A in st.query_params:
        st.session_state[_A] = st.query_params[_A]
    elif _A in st.session_state:
        st.query_params[_A] = st.session_state[_A]


def kept_a() -> TuneParams | None:
    """Return the setting kept to compare with: by the address, else the last kept, as other pages have their own
    address.
    """
    _restore_a()
    try:
        return TuneParams.model_validate(json.loads(st.query_params[_A])) if _A in st.query_params else None
    except EXPECTED as error:
        not_in_address(f"no setting A that could be read ({why(error)})")
        return None


def _short(setting: TuneParams) -> str:
    return json.dumps(setting.model_dump(exclude_defaults=True))


def setting_in_words(setting: TuneParams) -> str:
    """Return a setting in one line; settings that differ read differently."""
    return f"{discount_in_words(setting.discount)} · {rest_in_words(setting)}"


def discount_in_words(discount: DiscountParams) -> str:
    """Return a discount in one line: its numbers, and settings not as published."""
    return in_words(discount, always=sliders())


def rest_in_words(setting: TuneParams) -> str:
    """Return a setting without its discount, in one line."""
    return in_words(setting, always=("sparsity",), leave_out=("discount",))
