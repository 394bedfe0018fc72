"""The statistics behind the preview of masks: found in the store, or made by jobs on request.

The squares come first, and the page is drawn with them; their parts, which take as long again, while it is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st
from pydantic import ValidationError
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.jobs import JOBS, known_key
from analysis.models.checkpoint import find
from analysis.specs import CalibrateSpec, CalibrationParams, ModelSpec, sentence
from analysis.tuning import statistics_file
from analysis.tuning.statistics_file import Part, StoredStatistics
from cache.keys import content_key
from pages.parts import address, asking, controls
from pages.parts.acting import acting_button, allow, is_allowed
from pages.parts.charts import plots_will_come
from pages.parts.expander import fold, keys_of, settings_of
from pages.parts.plain import plain
from pages.parts.progress import duration
from pages.parts.session import engine
from pages.parts.user_errors import EXPECTED

_STORED = ("grouping", "layer_scope", "byte_budget", "heldout")
_ASKED, _DRAWN = "statistics_asked", "statistics_drawn"
DRAWN_WITHIN = 1.0  # seconds after which the browser comes back to a page that it was sent
_MEASURES: dict[Part, str] = {
    "seed_floor": "What another calibration seed changes",
    "heldout": "Output error on held-out text",
}


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
    checkpoint = find(model.source, model.paradigm)
    if checkpoint is None or checkpoint.architecture.noise is not None:
        return ""
    return (
        f"{model.source} writes from left to right: there is no noised text to discount sinks on. Choose a diffusion "
        "model in the sidebar."
    )


def statistics_job(model: ModelSpec, calibration: CalibrationParams, stored: Mapping[str, Any]) -> JobRecord | None:
    """Return the finished job of a calibration's statistics, or None. stored: of `stored_settings`."""
    try:
        spec = CalibrateSpec(model=model, calibration=calibration, **stored)
    except ValidationError as error:
        st.error(plain(sentence(error)))
        return None
    ready = engine().answered("calibrate", known_key("calibrate", spec))
    if ready is not None:
        return ready
    if st.session_state.get(_ASKED) != _question(spec) and not asking.at_hand("calibrate", spec):
        place = st.container(horizontal=True, vertical_alignment="center", gap="small")
        _preview_button(spec, "tuning_calibrate", place)
        if engine().authorizer.may("run"):
            place.caption(plain(_cost(spec)), width="content")
        plots_will_come()
        return None
    done = asking.ask("calibrate", spec, f"Storing statistics of {model.source}", by_hand=True)
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
    acting_button(
        "Preview masks",
        key,
        place,
        icon=":material/grid_on:",
        help="Which weights any setting changes, before pruning. One pass of the dense model over "
        f"{spec.calibration.samples:d} noised sequences; after that no setting runs the model.",
        on_click=_want,
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
        done = engine().answered(part, _part_key(part, job))
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
        if not there and engine().knows(part, _part_key(part, job)):
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


def _part_key(part: Part, job: JobRecord) -> str | None:
    return known_key(part, _part_spec(part, job))


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
        return f"about {duration(share * (job.finished - job.started))}"
    return "how long that takes is known after the first time"
