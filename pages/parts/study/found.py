"""Findings of studies, in the store and of the example that ships, kept while they do not change."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.sweeps import Point
from analysis.evaluation import sweep_scores
from analysis.specs import PruneSpec
from analysis.study.findings import EXAMPLE, Findings, MaskChange, read
from analysis.study.gather import gather
from analysis.study.gather_story import MasksAsked, compare_masks, masks_asked
from pages.parts.session import engine

AT_ONCE = 64 * 2**20  # bytes of weights and masks that are compared while a page is drawn


def compared(asked: MasksAsked) -> MaskChange | None:
    """Return the comparison, None while it is under way. Raises UserError for a damaged mask."""
    future = _future(_key(asked), asked)
    return future.result() if future.done() else None


def is_there(asked: MasksAsked) -> bool:
    """Return whether the comparison has ended; asks for it if nobody has."""
    return _future(_key(asked), asked).done()


def _key(asked: MasksAsked) -> str:
    return "|".join(map(str, (*asked.folders, *asked.control_folders)))


@st.cache_resource(max_entries=256, show_spinner=False)
def _future(key: str, _asked: MasksAsked) -> Future[MaskChange]:
    """Start the comparison of these masks. key: their folders, which never change once they are kept."""
    folders = (*_asked.folders, *_asked.control_folders)
    size = sum(file.stat().st_size for folder in folders for file in folder.glob("*.safetensors"))
    if size > AT_ONCE:
        return _background().submit(compare_masks, _asked)
    future: Future[MaskChange] = Future()
    try:
        future.set_result(compare_masks(_asked))
    except Exception as error:  # raised where the result is read
        future.set_exception(error)
    return future


@st.cache_resource(show_spinner=False)
def _background() -> ThreadPoolExecutor:
    """Return an executor with one thread: NumPy compares bits without holding up the threads that serve pages."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")


def of_record(record: JobRecord) -> Findings:
    """Return the findings so far of a study in the store. Raises UserError for a damaged file."""
    states = [f"{job.id} {job.state}" for part in engine().parts(record) for job in part.jobs.values()]
    points = _points(record)
    states += [f"{point.evaluated.id} {point.evaluated.state}" for point in points if point.evaluated is not None]
    states += [f"masks {is_there(asked)}" for asked in masks_asked(points, engine())]
    return _gathered(record.id, record.state, tuple(states))


def compares_masks(record: JobRecord) -> bool:
    """Return whether masks of a study are still being compared."""
    return not all(map(is_there, masks_asked(_points(record), engine())))


def _points(record: JobRecord) -> list[Point]:
    """Return the points of a study's sweeps."""
    sweeps = [job for part in engine().parts(record) for job in part.jobs.values() if job.kind == "sweep"]
    return [point for job in sweeps for point in engine().sweep_points(job)]


def example() -> Findings | None:
    """Return the study that ships; None if this checkout has none."""
    return _example(str(EXAMPLE), EXAMPLE.stat().st_mtime_ns) if EXAMPLE.is_file() else None


@st.cache_resource(max_entries=8, show_spinner=False)
def _gathered(record_id: str, state: str, states: tuple[str, ...]) -> Findings:
    record = engine().job(record_id)
    assert record is not None
    return gather(record, engine(), read_point, compared)


@st.cache_resource(max_entries=2, show_spinner=False)
def _example(path: str, changed: int) -> Findings:
    return read(Path(path))


def read_point(path: Path, pruning: PruneSpec) -> sweep_scores.PointScores:
    return _scores(str(path), path.stat().st_mtime_ns, pruning)


@st.cache_resource(max_entries=2048, show_spinner=False)
def _scores(path: str, changed: int, pruning: PruneSpec) -> sweep_scores.PointScores:
    return sweep_scores.read_scores(Path(path), pruning)
