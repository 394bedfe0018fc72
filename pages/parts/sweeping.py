"""Running a sweep: its cost, the click that starts it, its progress, and more calibration seeds."""

from collections.abc import Collection

import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.cost_estimate import added
from analysis.engine.planned import children
from analysis.specs import StudySpec, SweepSpec, grid, point_name
from pages.parts import address
from pages.parts.acting import acting_button, begin
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, progress_bar, running
from pages.parts.session import engine
from pages.parts.user_errors import EXPECTED

ADDRESS = "sweep"
SEEDS: int = len(StudySpec.model_fields["seeds"].default)
"""Preset calibration seeds: as many as in a study, enough to resolve differences of its margin."""
LIMIT: int = StudySpec.model_fields["limit"].default
"""Items per task that are preset, likewise."""
REFRESH = 1.0  # seconds between looks at how far it is
_SHOWN_FAILURES = 5


def launch(spec: SweepSpec, shown: bool = False) -> None:
    """Start a sweep. A callback, so that no other rerun can lose the click. shown: show this sweep on the page."""
    record = begin("sweep", spec)
    if shown:
        address.write(ADDRESS, record.id)


def cost_in_words(spec: SweepSpec) -> str:
    """Return what is left of a sweep and how long that takes. Raises UserError for a bad model source."""
    return added(engine().foresee(spec))


def sweeps_at_work() -> list[JobRecord]:
    """Return the sweeps that have not ended, the newest first."""
    return [record for record in engine().jobs("sweep") if not record.ended]


def asked_by(sweeps: Collection[JobRecord]) -> set[str]:
    """Return the ids of the jobs that sweeps have asked for."""
    return {job_id for record in sweeps for job_id in children(record).values()}


def follow(sweep_id: str) -> None:
    """Draw a sweep's progress until it ends, with failures so far and the buttons."""
    st.fragment(_running, run_every=REFRESH)(sweep_id)


def _running(sweep_id: str) -> None:
    record = running(sweep_id)
    progress_bar(record)
    failed = [point for point in engine().sweep_points(record) if point.state == "failed"]
    for point in failed[:_SHOWN_FAILURES]:
        st.caption(f":material/error: {plain(point_name(point.pruning))}: {plain(point.reason)}")
    with st.container(horizontal=True):
        cancel_button(record, f"cancel_sweep_{sweep_id}", "Stop")
        if failed and acting_button("Retry failed points", f"retry_{sweep_id}", icon=":material/replay:"):
            engine().retry_failed(sweep_id)


# --- more seeds -------------------------------------------------------------------------------------------------


def offer_more_seeds(spec: SweepSpec, key: str) -> None:
    """Draw the button that does the same again with more calibration seeds, and say what it takes; nothing where that
    cannot be, as where the model is gone. spec: with the seeds that there are. key: of the button.
    """
    if not engine().authorizer.may("run"):
        return
    have = len(spec.seeds)
    more = max(SEEDS - have, have)
    seeds = (*spec.seeds, *range(max(spec.seeds) + 1, max(spec.seeds) + 1 + more))
    try:
        wider = SweepSpec.model_validate({**spec.model_dump(), "seeds": seeds})
        cost_estimate = engine().foresee(wider)
    except EXPECTED:
        return
    lost = max(len(grid(spec).prunings) - cost_estimate.known, 0)
    acting_button(
        f"Run {more} more seeds",
        key,
        icon=":material/add:",
        help="Prunes and scores the same with more calibration seeds. "
        + ("" if lost else "What is finished is used again."),
        on_click=launch,
        args=(wider, True),
    )
    st.caption(plain(added(cost_estimate, lost)), width="content")
