"""What this server and this visitor have at hand: the engine, the model in use, the recording being looked at."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import streamlit as st

from analysis.engine import Engine, JobRecord
from analysis.models.registry import MODELS, Model, entry
from analysis.specs import ModelSpec
from analysis.trajectory import Trajectory, open_trajectory
from cache.store import Store

_MODEL, _RECORDING = "model_in_use", "recording_shown"


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """The one engine of this server, shared by all visitors."""
    return Engine(Store())


# --- the model in use -------------------------------------------------------------------------------------------


def model_in_use() -> ModelSpec:
    """The model this visitor works with; the bundled one to begin with."""
    return st.session_state.setdefault(_MODEL, ModelSpec())


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
    if record is None or record.kind != "record":
        jobs = engine().jobs("record")
        record = next((job for job in jobs if not job.ended or engine().result(job) is not None), None)
    if record is not None:
        show_recording(record.id)
    return record


def finished_recordings() -> list[JobRecord]:
    """Recordings that can be opened, newest first."""
    return [record for record in engine().jobs("record") if engine().result(record) is not None]


def open_recording(record: JobRecord) -> Trajectory | None:
    """The trajectory a finished job left, shared and read-only; None if it was evicted. Raises UserError if damaged."""
    result = engine().result(record)
    return None if result is None or result.file is None else _open(str(result.file), record.key or "")


@st.cache_resource(show_spinner="Opening the recording…", max_entries=2)
def _open(path: str, key: str) -> Trajectory:
    trajectory = open_trajectory(Path(path))
    # NumPy computes on float32 several times faster than on float16, so it is widened once.
    wide = {name: getattr(trajectory, name).astype(np.float32) for name in ("mass", "value_norm")}
    trajectory = replace(trajectory, **wide)
    for name in ("tokens", "masked", "confidence", "mass", "value_norm", "final"):
        getattr(trajectory, name).flags.writeable = False
    return trajectory


def recording_title(record: JobRecord) -> str:
    """A recording in one line: when, which model, which prompt, which seed."""
    spec = record.spec
    when = datetime.fromtimestamp(record.created).strftime("%d %b %H:%M")
    prompt = " ".join(spec["prompt"].split())
    prompt = prompt if len(prompt) <= 48 else prompt[:47] + "…"
    steps = record.summary.get("steps", "")
    return f"{when} · {spec['model']['source']} · “{prompt}” · {steps} steps · seed {spec['seed']}"
