"""Choosing which other recordings stand beside the one shown: any to compare, and the autoregressive reference."""

import streamlit as st

from analysis.engine import JobRecord
from analysis.recording.trajectory import Trajectory
from analysis.specs import AutoregressiveSampling, ModelSpec, RecordSpec
from pages.parts.plain import plain
from pages.parts.recordings import comparisons
from pages.parts.recordings.choice import among
from pages.parts.session import engine, finished_recordings, not_in_address, recording_titles, submit
from pages.parts.trouble import EXPECTED, why

TWIN = "bundled-ar"
NONE = "none"
_COMPARED, _ADDRESS_READ, _PROBLEM = "compare_choice", "reference_address_read", "reference_problem"


def compared_recordings(record: JobRecord) -> list[JobRecord]:
    """The box of other recordings to compare with, and those chosen."""
    records = {other.id: other for other in finished_recordings() if other.id != record.id}
    titles = recording_titles(list(records.values()), short=True)
    if _COMPARED not in st.session_state:
        asked = st.query_params.get("compare", "").split(",")
        st.session_state[_COMPARED] = [job for job in asked if job in records]
        unknown = [job for job in asked if job and job not in records and job != record.id]
        if unknown:
            not_in_address(f"no recording {', '.join(unknown)} to compare with.")
    among(_COMPARED, records)
    chosen = st.multiselect(
        "Compare with",
        list(records),
        key=_COMPARED,
        persist_state="session",
        max_selections=8,
        format_func=lambda job: titles.get(job, job),
        placeholder="other recordings",
        help="Recordings of one model become one line with a band; another model gets a line of its own.",
    )
    _to_address("compare", ",".join(chosen))
    return [records[job] for job in chosen]


def autoregressive_reference(record: JobRecord, trajectory: Trajectory) -> JobRecord | None:
    """The box of autoregressive recordings to stand beside a diffusion model's, and the one chosen.

    One of the same prompt is chosen by itself; where there is none, a button records it with the bundled autoregressive
    model. None where none is chosen, while it runs, and beside an autoregressive recording.
    """
    if trajectory.info.model.mask_token is None:
        return None
    records = {job.id: job for job in finished_recordings() if job.spec["sampling"]["sampler"] == "autoregressive"}
    same = [job for job, other in records.items() if other.spec["prompt"] == record.spec["prompt"]]
    chosen = _choose(record, records, same)
    job = engine().job(chosen) if chosen != NONE else None
    if job is None or job.state == "done":
        return job
    if not job.ended:
        comparisons.follow(job.id, f"Recording the same prompt with {TWIN}")
    else:
        st.error(plain(job.reason) or "The autoregressive recording was cancelled.")
    return None


def _choose(record: JobRecord, records: dict[str, JobRecord], same: list[str]) -> str:
    """Draws the box and the button; the id of the job chosen, which may still run, or NONE."""
    key = f"reference_{record.id}"
    asked = st.session_state.get(key)
    if asked is None and not st.session_state.get(_ADDRESS_READ):
        asked = st.query_params.get("reference")
    st.session_state[_ADDRESS_READ] = True
    running = engine().job(asked) if asked else None
    options = [NONE, *records]
    if running is not None and running.kind == "record" and running.id not in records and running.state != "done":
        options.append(running.id)
    if asked not in options:
        if asked is not None and key not in st.session_state:
            not_in_address(f"no autoregressive recording {asked}.")
        asked = same[0] if same else NONE
    if st.session_state.get(key) != asked:
        st.session_state[key] = asked

    def record_twin() -> None:
        try:
            spec = RecordSpec(
                model=ModelSpec(source=TWIN),
                prompt=record.spec["prompt"],
                sampling=AutoregressiveSampling(gen_length=record.spec["sampling"]["gen_length"]),
                seed=record.spec["seed"],
            )
            st.session_state[key] = submit("record", spec).id
        except EXPECTED as error:
            st.session_state[_PROBLEM] = why(error)

    titles = {NONE: "none"} | recording_titles(list(records.values()), short=True)
    box, button = st.columns([3, 1] if not same else [1, 0.001], vertical_alignment="bottom")
    chosen = box.selectbox(
        "Autoregressive reference",
        options,
        key=key,
        persist_state="session",
        format_func=lambda job: titles.get(job, "being recorded"),
        help="Any causal language model: load it in the sidebar, record a prompt on the Denoise page, choose it here.",
    )
    if not same and asked not in options[len(records) + 1 :]:
        button.button(
            f"Record with {TWIN}",
            key="record_twin",
            on_click=record_twin,
            icon=":material/fiber_manual_record:",
            width="stretch",
            help="Records the same prompt with the autoregressive model that ships with SinkScope.",
        )
    if _PROBLEM in st.session_state:
        st.error(plain(st.session_state.pop(_PROBLEM)))
    _to_address("reference", chosen)
    return chosen


def _to_address(name: str, value: str) -> None:
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]
