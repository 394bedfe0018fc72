"""Pruning runs: those at work as they go, and what the finished ones found."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.run_pairs import RunPair, as_asked, pairs_by_setting
from analysis.engine.runs import Run, known_runs
from analysis.figures import pruning as figures
from analysis.jobs.summaries import PrunePartial
from analysis.pruned.naming import run_name
from analysis.specs import PruneSpec
from analysis.words import counted
from cache.keys import content_key
from pages.parts.lazy_section import lazy_section
from pages.parts.plain import plain
from pages.parts.plot import plot
from pages.parts.progress import cancel_button, log_drawer, progress_bar, restart_button
from pages.parts.pruning.report import pruned_numbers, pruned_report
from pages.parts.run_rows import in_pairs, table_of_runs
from pages.parts.session import engine, model_in_use
from pages.parts.sweeping import asked_by, follow, sweeps_at_work

SHOWN = 6  # that were cut off
_LATEST = 4  # pruned models that are listed: of two settings the control and the discount
_OPENED, _MATCHING = "prune_opened", "prune_matching"
_REFRESH = 0.7  # seconds


def active_runs() -> None:
    """Draw running and queued prunings with their progress; those of a sweep by the sweep's."""
    sweeps = sweeps_at_work()
    for record in sweeps:
        follow(record.id)
    theirs = asked_by(sweeps)
    alone = (record for record in engine().jobs("prune") if record.id not in theirs)
    active = [record for record in reversed(list(alone)) if not record.ended]
    if active:
        st.fragment(_active, run_every=_REFRESH)([record.id for record in active])


def finished_runs(asked: Sequence[PruneSpec]) -> None:
    """Draw the table of pruned models, the one that is open, and the prunings that were interrupted. asked: the
    requested prunings, of which the newest run is open at first."""
    runs = engine().jobs("prune")
    ended = [record for record in runs if record.ended]
    if not ended:
        st.info("No pruned models yet. Each is listed here with its report, its size and its speed.")
        return
    if _precisions_differ(ended):
        st.caption(
            ":material/info: These runs differ in precision or kind of device. Precision alone changes which weights "
            "go, so compare methods only where both are the same."
        )
    known = known_runs(engine())
    titles = _titles(runs, known)
    opened = _table_of_done(known, asked)
    if opened is not None:
        with st.container(border=True):
            _done(opened, titles[opened.id])
    cut_off = [record for record in ended if record.state != "done"]
    many = len(cut_off) > SHOWN and st.toggle(f"Show all {len(cut_off)} cut off", key="prune_all")
    for record in cut_off if many else cut_off[:SHOWN]:
        with st.container(border=True):
            _cut_off(record, titles[record.id])


def newest_pair(specs: Sequence[PruneSpec] = ()) -> list[Run]:
    """Return the control and the run of `matched_pairs` with the requested seed, else the newest two models."""
    pairs = matched_pairs(specs)
    seeds = {spec.calibration.seed for spec in specs}
    pair = next((pair for pair in pairs if pair.seed in seeds), pairs[0] if pairs else None)
    return [pair.control, pair.run] if pair is not None else _with_masks()[1::-1]


def matched_pairs(specs: Sequence[PruneSpec] = ()) -> list[RunPair]:
    """Return the pairs of a control and a run with a sink discount, one per calibration seed: with the requested
    settings if they were pruned, else of the newest run that has a control; empty where there is none. specs: the
    requested prunings."""
    return next(iter(pairs_by_setting(_with_masks(), specs)), [])


def _with_masks() -> list[Run]:
    return [run for run in known_runs(engine()) if run.has_masks and run.kind == "pruned"]


def _table_of_done(known: list[Run], asked: Sequence[PruneSpec]) -> Run | None:
    """Draw the table of pruned models; return the open one: the newest that matches the settings until a row is
    clicked, and again once the settings or that run change. None where none matches."""
    by_age = [run for run in known if run.record is not None and run.record.kind == "prune"]
    wanted = as_asked(by_age, asked)
    done = in_pairs([*wanted, *(run for run in by_age if run not in wanted)])
    if not done:
        st.caption("No pruned model is left in its folder.")
        return None
    by_id = {run.id: run for run in done}
    matching = wanted[0].id if wanted else None
    if _MATCHING not in st.session_state or st.session_state[_MATCHING] != matching:
        st.session_state[_MATCHING] = st.session_state[_OPENED] = matching
    shown = done[:_LATEST]
    key = f"prune_table_{content_key(runs=list(by_id), open=matching)[:8]}"  # a click is of a place in the table

    def clicked() -> None:
        rows = st.session_state[key].selection.rows
        st.session_state[_OPENED] = shown[rows[0]].id if rows and rows[0] < len(shown) else None

    opened = by_id.get(st.session_state[_OPENED])
    table_of_runs(
        (f"{len(shown)} of " if len(done) > len(shown) else "") + counted(len(done), "pruned model"),
        "Accuracy: newest evaluation, mean over its tasks, 95 % interval over items.",
        shown,
        key,
        selected=[] if matching is None else [list(by_id).index(matching)],
        hint="Click a row to open it." if opened is not None else "None has these settings. Click a row to open it.",
        on_select=clicked,
        selection_mode="single-row",
    )
    if len(done) > len(shown):
        st.page_link("pages/runs.py", label=f"All {len(done)} on Runs", icon=":material/table_rows:")
    return opened


def _precisions_differ(ended: list[JobRecord]) -> bool:
    """Whether finished runs of one model ran in different precisions or on different kinds of device."""
    models = [record.summary["report"]["model"] for record in ended if record.state == "done"]
    kinds = {(model["fingerprint"], model["dtype"], model["device"].split(":")[0]) for model in models}
    return len(kinds) > len({fingerprint for fingerprint, _, _ in kinds})


def _titles(runs: list[JobRecord], known: list[Run]) -> dict[str, str]:
    """Each run in one line of Markdown by its id: the name it has on every page, and its model unless it is in use."""
    names, in_use = {run.id: run.name for run in known}, model_in_use().source
    return {
        record.id: f"**{plain(names.get(record.id) or run_name(record.spec))}**"
        + ("" if (source := record.spec["model"]["source"]) == in_use else f" · {plain(source)}")
        for record in runs
    }


def _active(ids: list[str]) -> None:
    records = [record for record in map(engine().job, ids) if record is not None]
    if any(record.ended for record in records):
        st.rerun()
    titles = _titles(engine().jobs("prune"), known_runs(engine()))
    for record in records:
        with st.container(border=True):
            left, right = st.columns([5, 1], vertical_alignment="center")
            left.markdown(titles[record.id])
            with right:
                cancel_button(record, f"cancel_{record.id}")
            progress_bar(record)
            partial = engine().progress(record.id).details_as(PrunePartial)
            phases = [(row["phase"], row["seconds"]) for row in partial.get("phases", [])]
            if phases:
                st.caption(" · ".join(f"{plain(name)} {seconds:.1f} s" for name, seconds in phases))
            if partial.get("layers"):
                grid = np.array(partial["layers"], np.float32)
                plot(
                    figures.sparsity_grid(grid, partial["projections"]),
                    key=f"live_{record.id}",
                    config={"displayModeBar": False},
                    alt="Sparsity of every layer and projection pruned so far.",
                )
            log_drawer(record)


def _when(record: JobRecord) -> str:
    return plain(datetime.fromtimestamp(record.created).strftime("%d %b %H:%M"))


def _cut_off(record: JobRecord, title: str) -> None:
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.markdown(f"{title} · :gray[{plain(record.state)}, {_when(record)}]")
    if record.reason:
        left.error(plain(record.reason))
    with right:
        restart_button(record, f"again_{record.id}")
    log_drawer(record)


def _done(run: Run, title: str) -> None:
    record = run.record
    assert record is not None
    result = engine().result(record)
    st.markdown(f"{title} · :gray[{_when(record)}]")
    if result is None or result.folder is None:
        st.caption("Its folder was removed.")
        return
    pruned_numbers(run)
    lazy_section(lambda: pruned_report(run), "prune_below", 900)
