"""Recordings to look at: listing them, the one shown, opening one, and its title."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unicodedata import bidirectional

import numpy as np
import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.job_store import Label
from analysis.recording.trajectory import RecordingInfo, Trajectory
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import ModelSpec, RecordSpec
from analysis.words import model_title
from pages.parts import address
from pages.parts.plain import shortened
from pages.parts.session import engine, model_in_use, model_name

_SHOWN = "recording_shown"
_DEFAULT = "recording_by_default"  # the recording that was shown as nothing was chosen, and the model then in use


@dataclass(frozen=True, eq=False)
class Recording:
    """A finished job and its trajectory, read-only. key: of the job's result, which names its content. The trajectory's
    mass is here the relative one, m·K/Q.

    Functions that cache results computed from one are `cached`, so that caches hold it by its key; Streamlit would
    otherwise read through all of its arrays.
    """

    job: JobRecord
    key: str
    trajectory: Trajectory

    @property
    def info(self) -> RecordingInfo:
        return self.trajectory.info

    @property
    def model(self) -> ModelSpec:
        """The model as requested; `info.model` holds what it was."""
        return ModelSpec.model_validate(self.job.spec["model"])

    def request(self) -> RecordSpec:
        """Return the parameters of a recorded generation. Raises TypeError for references and noised text."""
        return self.job.parameters(RecordSpec)

    def settings(self) -> dict[str, Any]:
        """Return its settings for an exported page."""
        return {
            "recording": recording_title(self.job),
            "prompt": self.info.prompt,
            "sampling": self.info.sampling.model_dump(),
            "seed": self.info.seed,
            "model": self.info.model.model_dump(),
        }


BY_KEY: dict[str | type[Any], Callable[[Any], Any]] = {Recording: lambda recording: recording.key}
"""Cache key of recordings."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


def cached(
    entries: int, spinner: str | bool = False, of: Mapping[Any, Any] = BY_KEY
) -> Callable[[_Function], _Function]:
    """Return a decorator that caches a function of recordings. entries: results kept. spinner: the text shown while it
    runs. of: cache keys of other types.
    """
    decorate: Any = st.cache_data(max_entries=entries, hash_funcs=dict(of), show_spinner=spinner)
    return decorate


# --- opening ----------------------------------------------------------------------------------------------------


def open_recording(job: JobRecord) -> Recording | None:
    """Open a finished job's recording; None if it was evicted. Raises UserError if it is damaged."""
    file = engine().result_file(job)
    return None if file is None or job.key is None else Recording(job, job.key, _open(str(file), job.key))


# Of one visitor: the one shown, the one beside it, and its untrained reference.
@st.cache_resource(show_spinner="Opening the recording…", max_entries=4)
def _open(path: str, key: str) -> Trajectory:
    trajectory = open_trajectory(Path(path), "The stored recording")
    # NumPy computes on float32 several times faster than on float16, in which the mass may be stored.
    trajectory = replace(trajectory, mass=trajectory.relative_mass())
    for values in vars(trajectory).values():
        if isinstance(values, np.ndarray):
            values.flags.writeable = False
    return trajectory


def finished_recordings() -> list[JobRecord]:
    """Return the readable recordings, newest first."""
    return [job for job in engine().jobs("record") if engine().has_result(job)]


# --- the recording shown ----------------------------------------------------------------------------------------


def show_recording(job_id: str) -> None:
    """Show this recording, chosen by someone, on every page, and put it in the address."""
    st.session_state.pop(_DEFAULT, None)
    _show(job_id)


def forget_shown(job_id: str) -> None:
    """Show the newest recording in place of one that is gone."""
    if st.session_state.get(_SHOWN) == job_id:
        del st.session_state[_SHOWN]
        address.drop("recording")


def _show(job_id: str) -> None:
    st.session_state[_SHOWN] = job_id
    address.write("recording", job_id)


def shown_recording() -> JobRecord | None:
    """Return the recording job this visitor looks at: by the address, else as last chosen, else the newest finished one
    of the model in use, else that of any model.
    """
    wanted = address.named("recording") or st.session_state.get(_SHOWN)
    model = model_in_use().source
    default, of_model = st.session_state.get(_DEFAULT, ("", ""))
    if wanted == default and of_model != model:
        wanted = None  # not chosen: it was the newest of the previous model
    job = engine().job(wanted) if wanted else None
    if job is None or job.kind != "record":
        jobs = finished_recordings()  # a running one is shown through the address to the visitor who started it
        job = next((job for job in jobs if job.spec["model"]["source"] == model), jobs[0] if jobs else None)
        if wanted:
            instead = " Here is the newest one instead." if job is not None else ""
            st.warning(f"The recording in this address is not in the store.{instead}")
        if job is not None:
            st.session_state[_DEFAULT] = (job.id, model)
    if job is not None:
        _show(job.id)
    return job


def prefer_recording(fits: Callable[[JobRecord], bool]) -> None:
    """Show the newest recording that fits, if this visitor has not opened one yet."""
    if "recording" not in st.query_params and _SHOWN not in st.session_state:
        newest = next(filter(fits, finished_recordings()), None)
        if newest is not None:
            show_recording(newest.id)


# --- titles -----------------------------------------------------------------------------------------------------


def recording_titles(
    jobs: list[JobRecord], short: bool = False, beside: str = "", narrow: bool = False
) -> dict[str, str]:
    """Return the title of each recording by id. Equal ones are numbered, as widgets go by what is read. beside: a
    prompt whose other recordings, in short, are called of the same. narrow: for a box that holds little more than the
    date.
    """
    labels = engine().labels()
    title = partial(short_title, beside=beside) if short else _narrow_title if narrow else recording_title
    return numbered({job.id: _as_labelled(title(job), labels.get(job.id, Label())) for job in jobs})


def numbered(named: Mapping[str, str]) -> dict[str, str]:
    """Return titles by id, numbered where several are the same."""
    titles: dict[str, str] = {}
    for name, whole in named.items():
        title, count = whole, 1
        while title in titles.values():
            count += 1
            title = f"{whole} ({count})"
        titles[name] = title
    return titles


def _as_labelled(automatic: str, label: Label) -> str:
    """Add a visitor's name, star and tags to a title."""
    return f"{'★ ' if label.star else ''}{label.name or automatic}{''.join(f' #{tag}' for tag in label.tags)}"


def short_title(job: JobRecord, beside: str = "") -> str:
    """Return a recording in a few words, for legends. beside: as of `recording_titles`."""
    prompt = "same prompt" if job.spec["prompt"] == beside else _quoted(job.spec["prompt"], 24)
    what = f"{_model_name(job)} · {prompt} · seed {job.spec['seed']}"
    return what + _branched(job)


def _quoted(prompt: str, length: int) -> str:
    """Return the beginning of a prompt in quotes, set apart where it runs from right to left: what follows would be
    drawn inside it.
    """
    quoted = f"“{shortened(prompt, length)}”"
    return f"\u2068{quoted}\u2069" if {"R", "AL"} & set(map(bidirectional, prompt)) else quoted


def _model_name(job: JobRecord) -> str:
    return model_title(model_name(job.spec["model"]["source"]))


def _branched(job: JobRecord) -> str:
    """Return where a branch leaves its parent, as the end of a title."""
    change = job.spec.get("branch")
    return f" · branch ‘{shortened(change['word'].strip(), 16)}’ in step {change['step']}" if change else ""


def recording_title(job: JobRecord) -> str:
    """Return a recording in one line: date, model, prompt, seed."""
    return f"{_date(job)} · {_model_name(job)} · {_quoted(job.spec['prompt'], 48)} · {_how(job)}"


def _narrow_title(job: JobRecord) -> str:
    """Return the same, first what tells recordings apart: date and the beginning of the prompt."""
    return f"{_date(job)} · {_quoted(job.spec['prompt'], 48)} · {_model_name(job)} · {_how(job)}"


def _date(job: JobRecord) -> str:
    return datetime.fromtimestamp(job.created).strftime("%d %b %H:%M")


def _how(job: JobRecord) -> str:
    return f"{job.summary.get('steps', '')} steps · seed {job.spec['seed']}{_branched(job)}"
