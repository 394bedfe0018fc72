"""Choice of recordings to set beside the one shown: any to compare, and the autoregressive reference."""

from collections.abc import Callable
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.specs import AutoregressiveSampling, ModelSpec, RecordSpec
from analysis.words import in_sentence, model_title
from pages.parts import address, asking
from pages.parts.acting import acting_button
from pages.parts.plain import plain
from pages.parts.recordings.choice import among
from pages.parts.recordings.recording import (
    Recording,
    finished_recordings,
    model_name,
    open_recording,
    recording_titles,
)
from pages.parts.session import engine, not_in_address, submit
from pages.parts.shown_box import shown_box
from pages.parts.user_errors import EXPECTED, why

TWIN = "bundled-ar"
NONE = "none"
_BESIDE = "beside"
_COMPARED, _ADDRESS_READ = "compare_choice", "reference_address_read"


def compared_recordings(recording: Recording) -> list[JobRecord]:
    """Draw the box of other recordings to compare with, and return those chosen."""
    shown = recording.job.id
    jobs = {job.id: job for job in finished_recordings() if job.id != shown}
    titles = recording_titles(list(jobs.values()), short=True)
    if _COMPARED not in st.session_state:
        named = st.query_params.get("compare", "").split(",")
        st.session_state[_COMPARED] = [job_id for job_id in named if job_id in jobs]
        unknown = [job_id for job_id in named if job_id and job_id not in jobs and job_id != shown]
        if unknown:
            not_in_address(f"no recording {', '.join(unknown)} to compare with.")
    among(_COMPARED, jobs)
    chosen = st.multiselect(
        "Compare with",
        list(jobs),
        key=_COMPARED,
        persist_state="session",
        max_selections=8,
        format_func=lambda job_id: titles.get(job_id, job_id),
        placeholder="other recordings",
        help="Recordings of one model become one line with a band; another model gets a line of its own.",
    )
    _to_address("compare", ",".join(chosen))
    return [jobs[job_id] for job_id in chosen]


def autoregressive_reference(recording: Recording) -> JobRecord | None:
    """Draw the box of autoregressive recordings beside a diffusion model's, and return the chosen one.

    One of the same prompt is chosen by default; if there is none, a button records it with the bundled autoregressive
    model. None if none is chosen, while it runs, and beside an autoregressive recording.
    """
    if recording.info.model.mask_token is None:
        return None
    jobs = {job.id: job for job in finished_recordings() if job.spec["sampling"]["sampler"] == "autoregressive"}
    same_prompt = [job_id for job_id, job in jobs.items() if job.spec["prompt"] == recording.job.spec["prompt"]]
    chosen = _choose(recording.job, jobs, same_prompt)
    job = engine().job(chosen) if chosen != NONE else None
    if job is None or job.state == "done":
        return job
    if not job.ended:
        asking.follow(job.id, f"Recording the same prompt with {in_sentence(model_title(TWIN))}")
    else:
        st.error(plain(job.reason) or "The left-to-right recording was cancelled.")
    return None


def _choose(shown: JobRecord, jobs: dict[str, JobRecord], same_prompt: list[str]) -> str:
    """Draw the box and the button; return the id of the chosen job, which may still run, or NONE."""
    key = f"reference_{shown.id}"
    wanted = st.session_state.get(key)
    if wanted is None and not st.session_state.get(_ADDRESS_READ):
        wanted = st.query_params.get("reference")
    st.session_state[_ADDRESS_READ] = True
    running = engine().job(wanted) if wanted else None
    options = [NONE, *jobs]
    if running is not None and running.kind == "record" and running.id not in jobs and running.state != "done":
        options.append(running.id)
    if wanted not in options:
        if wanted is not None and key not in st.session_state:
            not_in_address(f"no left-to-right recording {wanted}.")
        wanted = same_prompt[0] if same_prompt else NONE
    if st.session_state.get(key) != wanted:
        st.session_state[key] = wanted

    def record_twin() -> None:
        spec = RecordSpec(
            model=ModelSpec(source=TWIN),
            prompt=shown.spec["prompt"],
            sampling=AutoregressiveSampling(gen_length=shown.spec["sampling"]["gen_length"]),
            seed=shown.spec["seed"],
        )
        st.session_state[key] = submit("record", spec).id

    titles = {NONE: "none"} | recording_titles(list(jobs.values()), short=True)
    box, button = st.container(), st.container()
    chosen = box.selectbox(
        "Left-to-right reference",
        options,
        key=key,
        persist_state="session",
        format_func=lambda job_id: titles.get(job_id, "being recorded"),
        help="Any causal language model: load it in the sidebar, record a prompt on Explore, choose it here.",
    )
    if not same_prompt and wanted not in options[len(jobs) + 1 :]:
        acting_button(
            f"Record with {plain(in_sentence(model_title(TWIN)))}",
            "record_twin",
            button,
            on_click=record_twin,
            icon=":material/fiber_manual_record:",
            width="stretch",
            help=f"Records the same prompt with the left-to-right twin that ships with SinkScope, `{TWIN}`.",
        )
    _to_address("reference", chosen)
    return chosen


def _to_address(name: str, value: str) -> None:
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def beside_choice(
    recording: Recording, preset: Recording | None, record: Callable[[Recording, str], None], place: DeltaGenerator
) -> Recording | None:
    """Draw the box of recordings to stand beside this one into a place, and return the one chosen; preset: where none
    was chosen.

    An autoregressive recording of the same prompt is the preset where there is no other. record: draws what records
    another one, which the address then names as this parameter; it is followed until it is there.
    """
    jobs = {job.id: job for job in finished_recordings() if job.id != recording.job.id}
    if preset is not None:
        jobs[preset.job.id] = preset.job
    same = [job.id for job in jobs.values() if job.spec["prompt"] == recording.job.spec["prompt"]]
    twins = [job_id for job_id in same if jobs[job_id].spec["sampling"]["sampler"] == "autoregressive"]
    wanted = preset.job.id if preset is not None else twins[0] if twins else NONE
    named = address.named(_BESIDE)
    chosen = named if named in (NONE, *jobs) else wanted
    titles = {NONE: "none"} | recording_titles([*jobs.values()], short=True)
    with place:
        box, more = st.container(), st.container()
    with more:
        record(recording, _BESIDE)
    with box:
        shown_box(
            "Side by side with",
            "beside_choice",
            chosen,
            titles,
            lambda job_id: titles.get(job_id, job_id),
            partial(address.write, _BESIDE),
            help="A recording that stands beside this one on the same scale: another model, a pruned copy, another "
            "prompt.",
        )
    running = engine().job(named) if named and named not in titles else None
    if running is not None and running.kind == "record" and not running.ended:
        called = in_sentence(model_title(model_name(running.spec["model"]["source"])))
        asking.follow(running.id, f"Recording the prompt with {called}")
    elif running is not None and running.state in ("failed", "cancelled"):
        st.error(plain(running.reason) or "The recording to compare with was cancelled.")
    job = jobs.get(chosen)
    try:
        return None if job is None else open_recording(job)
    except EXPECTED as error:
        st.warning(plain(why(error)))
        return None
