"""Opening what a finished evaluation has found."""

from pathlib import Path

import streamlit as st

from analysis.engine import JobRecord
from analysis.evaluation import results as evaluations
from analysis.evaluation.results import Results
from pages.parts.session import engine


def finished_results(record: JobRecord) -> Results | None:
    """What a finished evaluation has found; None where it is no longer in the store. Raises UserError for a damaged
    file.
    """
    file = engine().result_file(record)
    return None if file is None else _opened(str(file), record.key)


@st.cache_resource(max_entries=8, show_spinner=False)
def _opened(path: str, key: str | None) -> Results:
    return evaluations.read(Path(path))
