"""Results of finished evaluations: of one, or of several runs joined by item."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.engine.runs import Run, Scored, known_runs
from analysis.errors import UserError
from analysis.evaluation import results as evaluations
from analysis.evaluation.joining import Part, joined
from analysis.evaluation.results import Results
from analysis.specs import PruneSpec, point_name
from pages.parts.plain import plain
from pages.parts.session import engine
from pages.parts.user_errors import EXPECTED, why

RunNames = Mapping[tuple[str, int], tuple[str, str]]
"""By an evaluation's id and a model's number: the model's name in a sweep, and the name of its run."""


def finished_results(record: JobRecord) -> Results | None:
    """Return a finished evaluation's results, its models named as on pages; None if it is no longer in the store.
    Raises UserError for a damaged file.
    """
    return _results(record, names_of_models(record, run_names()))


def run_names() -> RunNames:
    """Return the names of the pruned models of all finished evaluations."""
    names: dict[tuple[str, int], tuple[str, str]] = {}
    for run in known_runs(engine()):
        if run.kind == "pruned" and run.evaluations:
            try:
                swept = point_name(PruneSpec.model_validate(run.parameters))
            except ValidationError:
                continue
            names |= {(scored.record.id, scored.number): (swept, run.name) for scored in run.evaluations}
    return names


def names_of_models(record: JobRecord, known: RunNames) -> tuple[str, ...]:
    """Return the names of a finished evaluation's models: its own, or those of the runs for models named by a sweep, if
    no two become equal.
    """
    own = tuple(map(str, record.summary["models"]))
    swept = [known.get((record.id, number), ("", "")) for number in range(len(own))]
    names = tuple(run if run and name == point else name for name, (point, run) in zip(own, swept, strict=True))
    return names if len(set(names)) == len(names) else own


def _results(record: JobRecord, names: tuple[str, ...]) -> Results | None:
    file = engine().result_file(record)
    return None if file is None else _opened(str(file), record.key, names)


@st.cache_resource(max_entries=8, show_spinner=False)
def _opened(path: str, key: str | None, names: tuple[str, ...]) -> Results:
    found = evaluations.read(Path(path))
    if not names:
        return found
    return replace(found, header=found.header.model_copy(update={"names": names}))


def joined_results(runs: Sequence[Run], dense: bool = False, names: Sequence[str] = ()) -> Results | None:
    """Return the answers of the runs, from an evaluation they share, else joined by item from the newest of each; None
    after saying why there are none. dense: put the dense model of the first one's evaluation before them. names: of the
    runs here, instead of their own.
    """
    shared = _shared(runs)
    names = names or [run.name for run in runs]
    for run, scored in zip(runs, shared, strict=True):
        if engine().result_file(scored.record) is None:
            st.info(f"The answers of {plain(run.name)} are no longer in the store. Score it again.")
            return None
    key = tuple((name, scored.record.key, scored.number) for name, scored in zip(names, shared, strict=True))
    try:
        together = _joined((dense, *key), dense, names, shared)
    except EXPECTED as error:
        st.error(plain(why(error)))
        return None
    for problem in together.problems:
        st.caption(f":material/join_inner: {plain(problem)}")
    return together


@st.cache_resource(max_entries=8, show_spinner="Reading the answers …")
def _joined(key: tuple[object, ...], _dense: bool, _names: Sequence[str], _shared: Sequence[Scored]) -> Results:
    """Read each file once, as many are more than are kept."""
    parts: list[Part] = []
    for name, scored in zip(_names, _shared, strict=True):
        results = _results(scored.record, ())
        if results is None:
            raise UserError(f"The answers of {name} are no longer in the store. Score it again.")
        if _dense and not parts:
            parts.append(Part(results.names[0], results, 0))
        parts.append(Part(name, results, scored.number))
    return joined(parts)


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
