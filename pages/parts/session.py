"""What this server and this visitor have at hand: the engine, the model in use, the recording being looked at."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import streamlit as st
from pydantic import ValidationError
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from analysis.engine import Engine, JobRecord
from analysis.models.registry import MODELS, Model, entry
from analysis.recording.trajectory import Trajectory, open_trajectory
from analysis.specs import ModelSpec, Spec, sentence
from cache import environment
from cache.store import Store
from pages.parts.plain import plain
from pages.parts.trouble import EXPECTED, why

_MODEL, _RECORDING = "model_in_use", "recording_shown"


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """The one engine of this server, shared by all visitors."""
    return Engine(Store())


def why_no_engine() -> str:
    """Why the engine cannot be had; or nothing. It is tried again by every rerun."""
    problems = environment.problems()
    if problems:
        return " ".join(problems)
    try:
        engine()
    except EXPECTED as error:
        return why(error)
    return ""


def start_engine() -> None:
    """Makes the engine as the server starts, so that what waits in its queue runs before anybody looks.

    What is wrong with the store or the environment is logged here, and said on every page.
    """
    try:
        engine()
    except Exception as error:
        logging.getLogger("sinkscope").error("The job engine did not start: %s", error)


# --- jobs of this visitor ---------------------------------------------------------------------------------------


def visitor() -> str:
    """The name of this browser tab's session."""
    context = get_script_run_ctx()
    return context.session_id if context is not None else ""


def is_here(name: str) -> bool:
    """Whether that visitor's tab is still open."""
    return bool(name) and runtime.exists() and bool(runtime.get_instance().is_active_session(name))


def submit(kind: str, spec: Spec) -> JobRecord:
    """Asks the engine in this visitor's name. Raises UserError for a bad model source."""
    return engine().submit(kind, spec, visitor())


def restart(job_id: str) -> JobRecord:
    """Runs a job that was cut off once more, in this visitor's name. Raises UserError for one that cannot be."""
    return engine().restart(job_id, visitor())


def leave(job_id: str) -> None:
    """This visitor does not want a job any more: it is stopped unless another one waits for it."""
    engine().cancel(job_id, visitor(), is_here)


def others_wait(job_id: str) -> bool:
    """Whether another visitor, whose tab is open, asked for this job."""
    return engine().awaited(job_id, visitor(), is_here)


# --- the model in use -------------------------------------------------------------------------------------------


def model_in_use() -> ModelSpec:
    """The model this visitor works with: by the address, else as last chosen, else the bundled one."""
    if _MODEL not in st.session_state:
        asked = {name: st.query_params[name] for name in ModelSpec.model_fields if name in st.query_params}
        try:
            st.session_state[_MODEL] = ModelSpec(**asked)
        except ValidationError as error:
            st.session_state[_MODEL] = ModelSpec()
            not_in_address(f"no such model ({sentence(error)}); {ModelSpec().source} is in use instead.")
    spec = st.session_state[_MODEL]
    for name, field in ModelSpec.model_fields.items():
        if getattr(spec, name) != field.default:
            st.query_params[name] = getattr(spec, name)
        elif name in st.query_params:
            del st.query_params[name]
    return spec


def not_in_address(what: str) -> None:
    """Says that the address names what is not here. what: the rest of the sentence."""
    st.warning(plain(f"The address of this page names what is not here: {what}"))


def use_model(spec: ModelSpec) -> None:
    """Makes `spec` the model in use."""
    st.session_state[_MODEL] = spec


def model_entry(spec: ModelSpec) -> Model:
    """The registry's entry for a model, or a plain one for a checkpoint it does not list."""
    return entry(spec.source) or Model(spec.source, spec.source, "", prompt=MODELS["llada-8b-base"].prompt)


# --- the recording shown ----------------------------------------------------------------------------------------


def show_recording(job_id: str) -> None:
    """Makes this recording the one that every page shows, and puts it in the address."""
    st.session_state[_RECORDING] = job_id
    st.query_params["recording"] = job_id


def shown_recording() -> JobRecord | None:
    """The recording job this visitor looks at: by the address, else as last chosen, else the newest that runs or is
    finished.
    """
    asked = st.query_params.get("recording") or st.session_state.get(_RECORDING)
    record = engine().job(asked) if asked else None
    if asked and (record is None or record.kind != "record"):
        st.warning("The recording in this address is not in the store. Here is the newest one instead.")
    if record is None or record.kind != "record":
        jobs = engine().jobs("record")
        record = next((job for job in jobs if not job.ended or engine().has_result(job)), None)
    if record is not None:
        show_recording(record.id)
    return record


def prefer_recording(fits: Callable[[JobRecord], bool]) -> None:
    """Shows the newest recording that fits, where this visitor has not come to one yet."""
    if "recording" not in st.query_params and _RECORDING not in st.session_state:
        found = next(filter(fits, finished_recordings()), None)
        if found is not None:
            show_recording(found.id)


def finished_recordings() -> list[JobRecord]:
    """Recordings that can be opened, newest first."""
    return [record for record in engine().jobs("record") if engine().has_result(record)]


def open_recording(record: JobRecord) -> Trajectory | None:
    """The trajectory a finished job left, shared and read-only; None if it was evicted. Raises UserError if damaged."""
    result = engine().result(record)
    return None if result is None or result.file is None else _open(str(result.file), record.key or "")


@st.cache_resource(show_spinner="Opening the recording…", max_entries=2)
def _open(path: str, key: str) -> Trajectory:
    trajectory = open_trajectory(Path(path), "The stored recording")
    # NumPy computes on float32 several times faster than on float16, so the mass, which every number needs, is widened.
    trajectory = replace(trajectory, mass=trajectory.mass.astype(np.float32))
    for name in ("tokens", "masked", "confidence", "mass", "value_norm", "final"):
        getattr(trajectory, name).flags.writeable = False
    return trajectory


def recording_titles(records: list[JobRecord], short: bool = False) -> dict[str, str]:
    """The title of each recording by its id. Those that read the same are numbered, as widgets go by what is read."""
    titles: dict[str, str] = {}
    for record in records:
        title = whole = short_title(record) if short else recording_title(record)
        count = 1
        while title in titles.values():
            count += 1
            title = f"{whole} ({count})"
        titles[record.id] = title
    return titles


def short_title(record: JobRecord) -> str:
    """A recording in a few words, for legends."""
    prompt = " ".join(record.spec["prompt"].split())
    prompt = prompt if len(prompt) <= 24 else prompt[:23] + "…"
    return f"{record.spec['model']['source']} · “{prompt}” · seed {record.spec['seed']}"


def recording_title(record: JobRecord) -> str:
    """A recording in one line: when, which model, which prompt, which seed."""
    spec = record.spec
    when = datetime.fromtimestamp(record.created).strftime("%d %b %H:%M")
    prompt = " ".join(spec["prompt"].split())
    prompt = prompt if len(prompt) <= 48 else prompt[:47] + "…"
    steps = record.summary.get("steps", "")
    source = Path(spec["model"]["source"])
    return (
        f"{when} · {source.name if source.is_absolute() else source} · “{prompt}” · {steps} steps · seed {spec['seed']}"
    )
