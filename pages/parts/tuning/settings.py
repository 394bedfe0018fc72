"""The setting being tuned: its controls, presets, undo, and the one it is compared with."""

import json
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.specs import NOISES, PRESETS, DiscountParams, TuneParams, in_words
from analysis.tuning.statistics_file import StatisticsInfo
from pages.parts import address, controls
from pages.parts.folds import fold, settings_of
from pages.parts.plain import plain
from pages.parts.session import not_in_address
from pages.parts.trouble import EXPECTED, why

_HISTORY, _A = "tuning_history", "tuning_a"
_STEPS = "tune_steps"
MOST_UNDONE = 100


def key_of(name: str) -> str:
    """The widget of a parameter, by its name in the address."""
    return f"tune_{name}"


def draw(info: StatisticsInfo) -> TuneParams:
    """Draws the controls and returns the setting."""
    _keep_steps_known(info.levels)
    values: dict[str, Any] = {}
    sliders = _sliders()
    for name in [*sliders, "sparsity"]:
        spec = DiscountParams if name in sliders else TuneParams
        values[name] = controls.draw_slider(spec, name, key_of(name), bind="query-params")
    sparsity = values.pop("sparsity")
    choices = {name: key_of(name) for name in DiscountParams.model_fields if name not in sliders}
    place, drawn = fold("How sinks are judged", "fold_tune_choices", settings_of(DiscountParams, choices))
    if drawn:
        with place:
            for name, key in choices.items():
                values[name] = controls.draw(DiscountParams, name, key, bind="query-params")
    setting = TuneParams(discount=DiscountParams(**values), sparsity=sparsity, **_steps(info))
    _remember(setting)
    return setting


def _sliders() -> list[str]:
    """The parameters of the discount that are numbers between two bounds."""
    return [name for name in DiscountParams.model_fields if controls.slides(DiscountParams, name)]


def _steps(info: StatisticsInfo) -> dict[str, Any]:
    """The fields of `StepParams`."""
    levels = list(info.levels)
    if not NOISES[info.spec.calibration.noise].by_step:
        st.caption("This noise masks as much at every step, so all steps count alike.")
        return {}
    first, last = levels[0], levels[-1]
    with _steps_fold(first, last):
        if len(levels) > 1:
            first, last = st.select_slider(
                "Noise steps that count",
                levels,
                value=(first, last),
                key=_STEPS,
                persist_state="session",
                help="From the cleanest to the noisiest step t of the calibration.",
            )
        weighting = controls.draw(TuneParams, "step_weighting", key_of("step_weighting"), bind="query-params")
    first, last = (0 if first == levels[0] else first), (1000 if last == levels[-1] else last)
    if (first, last) != (0, 1000):
        address.write(_STEPS, f"{first}-{last}")
    elif _STEPS in st.query_params:
        address.drop(_STEPS)
    return {"first_step": first, "last_step": last, "step_weighting": weighting}


def _steps_fold(first: int, last: int) -> DeltaGenerator:
    """The fold of the steps, with the choice in its title. first, last: of those stored."""
    chosen = st.session_state.get(_STEPS, (first, last))
    which = "all" if tuple(chosen) == (first, last) else f"{chosen[0]} to {chosen[1]}"
    weighting = st.session_state.get(key_of("step_weighting"), TuneParams().step_weighting)
    return st.expander(plain(f"Noise steps · {which}, {weighting}"), key="fold_tune_steps")


def _keep_steps_known(levels: tuple[int, ...]) -> None:
    """Reads the steps from the address, and drops those that these statistics do not have."""
    if _STEPS not in st.session_state and _STEPS in st.query_params:
        try:
            first, last = map(int, st.query_params[_STEPS].split("-"))
        except ValueError:
            not_in_address(f"no noise steps “{st.query_params[_STEPS]}”, which would read like 5-50.")
            return
        st.session_state[_STEPS] = _ends(first, last, levels)
    if _STEPS in st.session_state and not set(st.session_state[_STEPS]) <= set(levels):
        del st.session_state[_STEPS]


def _ends(first: int, last: int, levels: tuple[int, ...]) -> tuple[int, int]:
    return (levels[0] if first == 0 else first), (levels[-1] if last == 1000 else last)


# --- presets and undo -------------------------------------------------------------------------------------------


def _remember(setting: TuneParams) -> None:
    history = st.session_state.setdefault(_HISTORY, [])
    text = setting.model_dump_json()
    if not history or history[-1] != text:
        history.append(text)
        del history[:-MOST_UNDONE]


def apply(setting: TuneParams, levels: tuple[int, ...]) -> None:
    """Sets the controls, in a callback. levels: the stored noise steps."""
    for name, value in setting.discount.model_dump().items():
        st.session_state[key_of(name)] = value
    st.session_state[key_of("sparsity")] = setting.sparsity
    st.session_state[key_of("step_weighting")] = setting.step_weighting
    if len(levels) > 1:
        st.session_state[_STEPS] = _ends(setting.first_step, setting.last_step, levels)


def actions(info: StatisticsInfo) -> None:
    """Presets, undo and keeping a setting as A: after the controls, whose values they depend on and set."""
    levels = info.levels

    def preset() -> None:
        name = st.session_state["tuning_preset"]
        if name:
            sparsity = st.session_state.get(key_of("sparsity"), TuneParams().sparsity)
            apply(TuneParams(discount=PRESETS[name].discount, sparsity=sparsity), levels)

    def undo() -> None:
        history = st.session_state[_HISTORY]
        history.pop()
        apply(TuneParams.model_validate_json(history[-1]), levels)

    def keep() -> None:
        now = st.session_state[_HISTORY][-1]
        st.query_params[_A] = st.session_state[_A] = _short(TuneParams.model_validate_json(now))

    def swap() -> None:
        a, now = kept_a(), st.session_state[_HISTORY][-1]
        if a is not None:
            st.query_params[_A] = st.session_state[_A] = _short(TuneParams.model_validate_json(now))
            apply(a, levels)

    def drop() -> None:
        st.session_state.pop(_A, None)
        del st.query_params[_A]

    _restore_a()
    history, has_a = st.session_state.get(_HISTORY, []), _A in st.query_params
    st.selectbox(
        "Preset",
        [None, *PRESETS],
        key="tuning_preset",
        on_change=preset,
        persist_state="session",
        format_func=lambda name: name or "choose a preset",
        help="Sets the discount and all steps; the sparsity stays. published: the authors' scripts, LLaDA and Dream.",
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
        help="Stands beside every setting you try from here on.",
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
    """The setting kept to compare with: by the address, else as last kept, as other pages have their own address."""
    _restore_a()
    try:
        return TuneParams.model_validate(json.loads(st.query_params[_A])) if _A in st.query_params else None
    except EXPECTED as error:
        not_in_address(f"no setting A that could be read ({why(error)})")
        return None


def _short(setting: TuneParams) -> str:
    return json.dumps(setting.model_dump(exclude_defaults=True))


def setting_in_words(setting: TuneParams) -> str:
    """A setting in one line; settings that differ read differently."""
    return f"{discount_in_words(setting.discount)} · {rest_in_words(setting)}"


def discount_in_words(discount: DiscountParams) -> str:
    """A discount in one line: its numbers, and what else is not as published."""
    return in_words(discount, always=_sliders())


def rest_in_words(setting: TuneParams) -> str:
    """What a setting holds beside its discount, in one line."""
    return in_words(setting, always=("sparsity",), leave_out=("discount",))
