"""Preview of masks under a discount: its statistics, actions on the setting, and the effects layer by layer.

Statistics are found in the store, or made by jobs on request. The squares come first, and the page is drawn with them;
their parts, which take as long again, come while it is looked at. Actions are presets, undo, and keeping a setting to
compare with.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.jobs import JOBS
from analysis.models.checkpoint import checkpoint_of
from analysis.specs import (
    PRESETS,
    CalibrateSpec,
    CalibrationParams,
    DiscountParams,
    ModelSpec,
    TuneParams,
    in_words,
    sentence,
)
from analysis.tuning import effects, statistics_file
from analysis.tuning.effects import Effects, LayerEffect
from analysis.tuning.statistics_file import Part, StoredStatistics, effect_of, plain_of
from analysis.words import model_title
from cache.keys import content_key
from pages.parts import address, asking, controls
from pages.parts.asking import allow, duration, is_allowed, starting_button
from pages.parts.charts import plot, plots_will_come
from pages.parts.controls import fold, keys_of, settings_of
from pages.parts.plain import plain
from pages.parts.session import EXPECTED, engine, not_in_address, why

_STORED = ("grouping", "layer_scope", "byte_budget", "heldout")
_ASKED, _DRAWN = "statistics_asked", "statistics_drawn"
DRAWN_WITHIN = 1.0  # seconds after which the browser comes back to a page that it was sent
_MEASURES: dict[Part, str] = {"seed_floor": "Compare another seed", "heldout": "Measure held-out error"}


@dataclass(frozen=True)
class Opened:
    """Statistics of a job with the parts that exist. key: names them all. waits: parts whose jobs are queued or
    running, or will be once submitted. unasked: parts not requested yet, and where to draw their progress.
    """

    job: JobRecord
    statistics: StoredStatistics
    key: str
    waits: frozenset[Part] = frozenset()
    unasked: Mapping[Part, DeltaGenerator] = field(default_factory=dict)

    def instead(self, part: Part) -> str:
        """Return the text in place of a number that needs a missing part."""
        if part in self.waits:
            return "being measured"
        return "not measured" if part in self.statistics.missing else "not stored"


def stored_settings() -> dict[str, Any]:
    """Draw what is stored for the preview beside the calibration, and return it as fields of `StatisticsParams`."""
    keys = keys_of("calibrate", _STORED)
    place, drawn = fold("Preview settings", "fold_calibrate", settings_of(CalibrateSpec, keys))
    return controls.draw_each(CalibrateSpec, keys, [place]) if drawn else {}


def why_no_noise(model: ModelSpec) -> str:
    """Return why a model has no discount to preview, or ''. Raises UserError for a bad model source."""
    checkpoint = checkpoint_of(model)
    if checkpoint is None or checkpoint.architecture.noise is not None:
        return ""
    return (
        f"{model_title(model.source)} writes from left to right: there is no noised text to discount sinks on. "
        "Choose a diffusion model in the sidebar."
    )


def statistics_job(model: ModelSpec, calibration: CalibrationParams, stored: Mapping[str, Any]) -> JobRecord | None:
    """Return the finished job of a calibration's statistics, or None. stored: of `stored_settings`."""
    try:
        spec = CalibrateSpec(model=model, calibration=calibration, **stored)
    except ValidationError as error:
        st.error(plain(sentence(error)))
        return None
    ready = engine().answered("calibrate", spec)
    if ready is not None:
        return ready
    if st.session_state.get(_ASKED) != _question(spec) and not asking.at_hand("calibrate", spec):
        place = st.container(horizontal=True, vertical_alignment="center", gap="small")
        _preview_button(spec, "tuning_calibrate", place)
        if engine().authorizer.may("run"):
            place.caption(plain(_cost(spec)), width="content")
        plots_will_come()
        return None
    done = asking.ask("calibrate", spec, "Storing statistics of the model", by_hand=True)
    if done is None:
        plots_will_come()
    return done


def offer_preview(model: ModelSpec, calibration: CalibrationParams, stored: Mapping[str, Any], says: str) -> None:
    """Say what is drawn here once masks are previewed, and draw the button that does that, unless it is being done.
    stored: of `stored_settings`."""
    st.info(plain(says))
    try:
        spec = CalibrateSpec(model=model, calibration=calibration, **stored)
        refused = why_no_noise(model)
    except EXPECTED:  # shown beside the settings
        return
    if not refused and st.session_state.get(_ASKED) != _question(spec) and not asking.at_hand("calibrate", spec):
        _preview_button(spec, "tuning_calibrate_beneath")


def _preview_button(spec: CalibrateSpec, key: str, place: Any = st) -> None:
    starting_button(
        "Preview masks",
        key,
        _want,
        place,
        icon=":material/grid_on:",
        help="Which weights any setting changes, before pruning. One pass of the dense model over "
        f"{spec.calibration.samples:d} noised sequences; after that no setting runs the model.",
        args=(spec,),
    )


def _want(spec: CalibrateSpec) -> None:
    st.session_state[_ASKED] = _question(spec)
    allow(spec.model.source)


def _question(spec: CalibrateSpec) -> str:
    return content_key(spec=spec.model_dump(mode="json"))[:12]


def opened(job: JobRecord) -> Opened | None:
    """Return a finished job's statistics with their parts; None if they are gone. Draws the progress of requested
    parts; `ask_rest` requests the others.
    """
    file = engine().result_file(job)
    if file is None:
        return None
    found = Opened(job, _open(str(file), job.key), job.key or "")
    missing: list[Part] = []
    for part in found.statistics.missing:
        done = engine().answered(part, _part_spec(part, job))
        found, there = _with(found, done)
        if not there:
            missing.append(part)
    waits: set[Part] = set()
    unasked: dict[Part, DeltaGenerator] = {}
    for part, column in zip(missing, [st.container() for _ in missing], strict=True):
        spec = _part_spec(part, job)
        if asking.begins(part, spec):
            unasked[part] = column
            if is_allowed(spec.model.source):
                waits.add(part)
            continue
        with column:
            done = asking.ask(part, spec, _MEASURES[part])
        found, there = _with(found, done)
        if not there and engine().knows(part, spec):
            waits.add(part)
    return Opened(job, found.statistics, found.key, frozenset(waits), unasked)


def ask_rest(found: Opened, job: JobRecord) -> None:
    """Submit the parts not requested yet, or offer them. Call it last: their jobs would slow the plots, so they start
    once the browser has drawn these.
    """
    begin = tuple(part for part in found.unasked if part in found.waits)
    for part, column in found.unasked.items():
        if part not in begin:
            with column:
                asking.ask(part, _part_spec(part, job), _MEASURES[part])
    if begin:
        _ask_once_drawn(job, begin)


@st.fragment(run_every=DRAWN_WITHIN)
def _ask_once_drawn(job: JobRecord, parts: tuple[Part, ...]) -> None:
    """Submit the parts once the browser has drawn the page and comes back; nothing while the page is being sent."""
    address.keep()
    if st.session_state.get(_DRAWN) != job.id:
        st.session_state[_DRAWN] = job.id
        return
    for part in parts:
        asking.ask(part, _part_spec(part, job), _MEASURES[part])
    if not any(asking.begins(part, _part_spec(part, job)) for part in parts):
        st.rerun()


def with_floor(job: JobRecord) -> StoredStatistics | None:
    """Return a finished job's statistics with those of another seed; None if these are not in the store. Raises
    UserError for a damaged file.
    """
    file = engine().result_file(job)
    if file is None:
        return None
    statistics = statistics_file.open_statistics(file)
    if "seed_floor" not in statistics.missing:
        return statistics
    asked = _part_spec("seed_floor", job).model_dump(mode="json")
    alike = (each for each in engine().jobs("seed_floor") if each.spec == asked and each.code == job.code)
    floor = next((path for each in alike if (path := engine().result_file(each)) is not None), None)
    return None if floor is None else statistics_file.joined(statistics, floor)


def _part_spec(part: Part, job: JobRecord) -> CalibrateSpec:
    return JOBS[part].spec.model_validate(job.spec)


def _with(found: Opened, done: JobRecord | None) -> tuple[Opened, bool]:
    """Add the part of a finished job, and return whether it is there."""
    file = None if done is None else engine().result_file(done)
    if done is None or file is None:
        return found, False
    key = f"{found.key}+{done.key}"
    return Opened(found.job, _joined(found.statistics, key, str(file)), key), True


@st.cache_resource(show_spinner="Opening the statistics…", max_entries=2)
def _open(path: str, key: str | None) -> StoredStatistics:
    return statistics_file.open_statistics(Path(path))


@st.cache_resource(show_spinner=False, max_entries=4)
def _joined(_statistics: StoredStatistics, key: str, path: str) -> StoredStatistics:
    return statistics_file.joined(_statistics, Path(path))


def _cost(spec: CalibrateSpec) -> str:
    """Estimate the time of storing, scaled by text size from this model's newest finished job, if there is one."""
    text = spec.calibration
    for job in engine().jobs("calibrate"):
        alike = job.spec["calibration"]
        if (
            job.started is None
            or job.finished is None
            or job.cached
            or job.spec["model"]["source"] != spec.model.source
        ):
            continue
        share = text.samples * text.seq_len / (alike["samples"] * alike["seq_len"])
        seconds = share * (job.finished - job.started) + engine().seconds_to_start()
        return f"about {duration(seconds)} on an idle machine"
    return "time not known"


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


PATIENCE = 1.0  # seconds without news before drawing partial results


def every_layer(
    statistics: StoredStatistics,
    key: str,
    setting: TuneParams,
    name: str,
    growing: Callable[[Effects], go.Figure] | None,
) -> list[LayerEffect]:
    """Return the effects on all layers. Moving a control meanwhile starts over, with the finished layers kept.

    growing: the figure to draw meanwhile if it takes longer than a moment: of the first layer at once, of the others as
    they come in.
    """
    effects_so_far: list[LayerEffect] = []
    layers, began = statistics.info.layers, time.monotonic()
    # The place is made when it is needed: an empty one would be drawn again by each of the sidebar's refreshes.
    drawn, above, place = began, st.container(), None
    for layer in range(layers):
        effects_so_far.append(_effect(statistics, key, layer, setting))
        now = time.monotonic()
        whole = (now - began) / (layer + 1) * layers
        if layer + 1 == layers or whole < PATIENCE or (layer and now - drawn < PATIENCE):
            continue
        drawn = now
        place = above.empty() if place is None else place
        with place.container():
            st.progress((layer + 1) / layers, text=f"{layer + 1:d} of {layers:d} layers, {plain(name)}")
            if growing:
                plot(
                    growing(effects.together(effects_so_far, layers)),
                    key=f"growing_{name}_{layer}",
                    alt="Weights chosen differently in the layers computed so far.",
                    config={"displayModeBar": False},
                )
    if place is not None:
        place.empty()
    return effects_so_far


@st.cache_data(max_entries=16, show_spinner=False)
def _weights(_statistics: StoredStatistics, key: str, discount: DiscountParams) -> np.ndarray:
    return _statistics.group_weights(discount)


@st.cache_data(max_entries=2048, show_spinner=False)
def _effect(_statistics: StoredStatistics, key: str, layer: int, setting: TuneParams) -> LayerEffect:
    weights = _weights(_statistics, key, setting.discount)
    undiscounted = setting.model_copy(update={"discount": DiscountParams()})
    return effect_of(_statistics, layer, setting, weights, _plain(_statistics, key, layer, undiscounted))


@st.cache_resource(max_entries=256, show_spinner=False)
def _plain(_statistics: StoredStatistics, key: str, layer: int, setting: TuneParams) -> effects.Plain:
    """Return the result without a discount: it stays the same while the discount is moved."""
    return plain_of(_statistics, layer, setting)
