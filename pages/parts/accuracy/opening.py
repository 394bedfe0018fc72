"""Opening what finished evaluations have found: one, or those of several runs joined by item."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.runs import Run, Scored
from analysis.evaluation import results as evaluations
from analysis.evaluation.joining import Part, joined
from analysis.evaluation.results import Results
from pages.parts.plain import plain
from pages.parts.session import engine
from pages.parts.user_errors import EXPECTED, why


def finished_results(record: JobRecord) -> Results | None:
    """What a finished evaluation has found; None where it is no longer in the store. Raises UserError for a damaged
    file.
    """
    file = engine().result_file(record)
    return None if file is None else _opened(str(file), record.key)


@st.cache_resource(max_entries=8, show_spinner=False)
def _opened(path: str, key: str | None) -> Results:
    return evaluations.read(Path(path))


def joined_results(runs: Sequence[Run], dense: bool = False) -> Results | None:
    """Return the answers of the runs, from an evaluation they share, else joined by item from the newest of each; None
    after saying why there are none. dense: whether the dense model of the first one's evaluation stands before them.
    """
    parts: list[Part] = []
    try:
        for run, scored in zip(runs, _shared(runs), strict=True):
            results = finished_results(scored.record)
            if results is None:
                st.info(f"The answers of {plain(run.name)} are no longer in the store. Score it again.")
                return None
            if dense and not parts:
                parts.append(Part(results.names[0], results, 0))
            parts.append(Part(run.name, results, scored.number))
        together = joined(parts)
    except EXPECTED as error:
        st.error(plain(why(error)))
        return None
    for problem in together.problems:
        st.caption(f":material/join_inner: {plain(problem)}")
    return together


def _shared(runs: Sequence[Run]) -> list[Scored]:
    """Return where each run was scored: in the newest evaluation that holds all of them, else in its own newest."""
    for first in runs[0].evaluations:
        places = [
            next((evaluation for evaluation in run.evaluations if evaluation.record.id == first.record.id), None)
            for run in runs
        ]
        shared = [place for place in places if place is not None]
        if len(shared) == len(runs):
            return shared
    return [run.evaluations[0] for run in runs]
