"""Running a sweep: its cost, the click that starts it, its progress, and more calibration seeds.

Cost of a pruning, measured on one step of each phase before anything long starts.
"""

from collections.abc import Collection

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.engine.cost_estimate import added
from analysis.engine.planned import children
from analysis.models.checkpoint import checkpoint_of
from analysis.specs import METHODS, EstimateSpec, PruneSpec, StudySpec, SweepSpec, grid, point_name
from pages.parts import address, asking
from pages.parts.asking import acting_button, allow, begin, cancel_button, duration, is_allowed, progress_bar, running
from pages.parts.plain import plain
from pages.parts.session import EXPECTED, engine, leave, submit, told

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


_ASKED, _WANTED = "prune_estimates", "prune_estimates_wanted"


@told()
def plan(specs: list[PruneSpec], buttons: DeltaGenerator) -> None:
    """Draw a table of time, memory and disk by method, once requested. It fills in as the probes answer. buttons: where
    to draw the one that requests it.
    """
    if checkpoint_of(specs[0].model) is None:
        st.info("This model is not on this disk. Load it in the sidebar; then this says what pruning it takes.")
        return
    estimates: dict[str, tuple[str, str]] = st.session_state.get(_ASKED, {})
    questions = {spec.method: EstimateSpec.of(spec) for spec in specs}
    wanted = {method: question.model_dump_json() for method, question in questions.items()}
    source = specs[0].model.source
    # Not of every model that was run by hand: the preview would wait for the probes.
    may_ask = (source in st.session_state.get(_WANTED, ()) and is_allowed(source)) or all(
        asking.at_hand("estimate", question) for question in questions.values()
    )
    if not may_ask:
        acting_button(
            "Estimate",
            "prune_estimate",
            buttons,
            icon=":material/timer:",
            on_click=_want,
            args=(source,),
            help="Time and memory, from one step of each phase. From then on it follows the settings.",
        )
        return
    if wanted != {method: text for method, (text, _) in estimates.items()}:
        answers = {
            method: estimates[method]
            if estimates.get(method, ("",))[0] == text
            else (text, submit("estimate", questions[method]).id)
            for method, text in wanted.items()
        }
        for earlier in {job for _, job in estimates.values()} - {job for _, job in answers.values()}:
            leave(earlier)  # no longer shown
        st.session_state[_ASKED] = estimates = answers
    jobs = {method: job for method, (_, job) in estimates.items()}
    waiting = any(not record.ended for record in map(engine().job, jobs.values()) if record is not None)
    st.fragment(_table, run_every=0.7 if waiting else None)(jobs, waiting)


def _want(source: str) -> None:
    allow(source)
    st.session_state.setdefault(_WANTED, set()).add(source)


def _table(estimates: dict[str, str], was_waiting: bool) -> None:
    rows, pending, problems = [], False, []
    for method, job_id in estimates.items():
        record = engine().job(job_id)
        row = {"method": METHODS[method].title, "time": "measuring …", "memory": "", "disk": ""}
        if record is not None and record.state == "done":
            estimate = record.summary
            row["time"] = f"about {duration(estimate['total_seconds'])}"
            row["memory"] = f"{estimate['memory_bytes'] / 1e6:,.0f} MB extra"
            row["disk"] = f"{estimate['disk_bytes'] / 1e6:,.0f} MB"
            if estimate["memory_bytes"] > estimate["free_bytes"]:
                free = estimate["free_bytes"] / 1e9
                problems.append(f"{METHODS[method].title} needs more memory than the {free:.1f} GB that are free.")
        elif record is not None and record.ended:
            row["time"] = "not known"
            problems.append(f"{METHODS[method].title}: {record.reason or 'the estimate was cancelled'}")
        else:
            pending = True
        rows.append(row)
    if was_waiting and not pending:
        st.rerun()
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    for problem in problems:
        st.warning(plain(problem))
    st.caption(
        "Measured on one step of each phase, on this device. Runs go one after the other; text whose attention mass is "
        "known takes less."
    )
