"""Cost of a pruning, measured on one step of each phase before anything long starts."""

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.models.checkpoint import find
from analysis.specs import METHODS, EstimateSpec, PruneSpec
from pages.parts import asking
from pages.parts.acting import acting_button, allow, is_allowed
from pages.parts.plain import plain
from pages.parts.progress import duration
from pages.parts.session import engine, leave, submit
from pages.parts.user_errors import told

_ASKED, _WANTED = "prune_estimates", "prune_estimates_wanted"


@told()
def plan(specs: list[PruneSpec], buttons: DeltaGenerator) -> None:
    """Draw a table of time, memory and disk by method, once requested. It fills in as the probes answer. buttons: where
    to draw the one that requests it.
    """
    if find(specs[0].model.source, specs[0].model.paradigm) is None:
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
