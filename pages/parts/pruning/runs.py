"""Pruning runs: those at work as they go, and what the finished ones found."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.runs import known_runs
from analysis.figures import pruning as figures
from analysis.jobs.summaries import PrunePartial
from analysis.pruned.naming import run_name
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, duration, log_drawer, progress_bar, restart_button
from pages.parts.pruning.footprints import footprint_of
from pages.parts.session import engine

SHOWN = 6
_REFRESH = 0.7  # seconds


def prune_runs() -> None:
    """Draws all runs, newest first."""
    runs = engine().jobs("prune")
    active = [record for record in reversed(runs) if not record.ended]
    ended = [record for record in runs if record.ended]
    if not runs:
        st.info("Nothing was pruned yet. Choose methods above and press **Prune**; each run shows here as it goes.")
        return
    if active:
        st.subheader("Running")
        st.fragment(_active, run_every=_REFRESH)([record.id for record in active])
    if ended:
        st.subheader("Finished")
        many = len(ended) > SHOWN and st.toggle(f"Show all {len(ended)}", key="prune_all", bind="query-params")
        if _precisions_differ(ended):
            st.caption(
                ":material/info: These runs did not all have the same precision and kind of device. Precision alone "
                "changes which weights go, so compare methods only where both are the same."
            )
        newest = next((record.id for record in ended if record.state == "done"), None)
        titles = _titles(runs)
        for record in ended if many else ended[:SHOWN]:
            with st.container(border=True):
                _ended(record, titles[record.id], opened=record.id == newest)


def _precisions_differ(ended: list[JobRecord]) -> bool:
    """Whether finished runs of one model ran in different precisions or on different kinds of device."""
    models = [record.summary["report"]["model"] for record in ended if record.state == "done"]
    kinds = {(model["fingerprint"], model["dtype"], model["device"].split(":")[0]) for model in models}
    return len(kinds) > len({fingerprint for fingerprint, _, _ in kinds})


def _titles(runs: list[JobRecord]) -> dict[str, str]:
    """Each run in one line of Markdown by its id: the name it has on every page, and its model."""
    names = {run.id: run.name for run in known_runs(engine())}
    return {
        record.id: f"**{plain(names.get(record.id) or run_name(record.spec))}** · "
        f"{plain(record.spec['model']['source'])}"
        for record in runs
    }


def _active(ids: list[str]) -> None:
    records = [record for record in map(engine().job, ids) if record is not None]
    if any(record.ended for record in records):
        st.rerun()
    titles = _titles(engine().jobs("prune"))
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
                st.plotly_chart(
                    figures.sparsity_grid(grid, partial["projections"]),
                    key=f"live_{record.id}",
                    config={"displayModeBar": False},
                    alt="Sparsity of every layer and projection pruned so far.",
                )
            log_drawer(record)


def _ended(record: JobRecord, title: str, opened: bool) -> None:
    when = datetime.fromtimestamp(record.finished or record.created).strftime("%d %b %H:%M")
    if record.state != "done":
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.markdown(f"{title} · :gray[{plain(record.state)}, {plain(when)}]")
        if record.reason:
            left.error(plain(record.reason))
        with right:
            restart_button(record, f"again_{record.id}")
        log_drawer(record)
        return
    result = engine().result(record)
    if result is None or result.folder is None:
        st.markdown(f"{title} · :gray[{plain(when)}]")
        st.caption("Its folder was removed.")
        return
    report = record.summary["report"]
    sparsity = report["sparsity"]
    seconds = sum(row["seconds"] for row in report["phases"])
    st.markdown(f"{title} · :gray[{plain(when)}]")
    columns = st.columns(4)
    columns[0].metric("Sparsity", f"{sparsity['overall']:.1%}", help="Share of the prunable weights that were removed.")
    columns[1].metric("Weights removed", f"{sparsity['pruned_weights']:,}")
    columns[2].metric("Time", duration(seconds))
    columns[3].metric(
        "Folder", f"{_bytes(result.folder) / 1e6:,.1f} MB", help="Checkpoint, masks, tokenizer and report."
    )
    st.caption(f"Ran in {plain(report['model']['dtype'])} on {plain(report['model']['device'])}.")
    for note in report["notes"]:
        st.caption(f":material/info: {plain(note)}")
    with st.expander("Layers, phases, footprint, how to repeat it", expanded=opened):
        _details(record, report, result.folder)


def _details(record: JobRecord, report: dict, folder: Path) -> None:
    sparsity = report["sparsity"]
    left, right = st.columns(2)
    with left:
        st.markdown("**Sparsity by layer and projection**", help="Removed weights over all weights of the matrix.")
        st.plotly_chart(
            figures.sparsity_grid(np.array(sparsity["grid"], np.float32), sparsity["projections"]),
            key=f"grid_{record.id}",
            config={"displayModeBar": False},
            alt="Sparsity of every layer and projection.",
        )
    with right:
        st.markdown("**Where the time went**", help="Seconds of each phase; peak memory is that of the whole process.")
        phases = pd.DataFrame(report["phases"])
        st.plotly_chart(
            figures.phase_bar(list(zip(phases["phase"], phases["seconds"], strict=True))),
            key=f"phases_{record.id}",
            config={"displayModeBar": False},
            alt="Seconds of each phase.",
        )
        table = {"phase": phases["phase"], "seconds": phases["seconds"], "peak memory, MB": phases["peak_bytes"] / 1e6}
        st.dataframe(pd.DataFrame(table).round(1), hide_index=True, width="stretch")
    footprint_of(record, folder)
    st.markdown("**The folder**")
    st.code(str(folder), language=None, wrap_lines=True)
    st.markdown("**The command that repeats it**")
    st.code(report["command"], language=None, wrap_lines=True)
    st.download_button(
        "Report (JSON)",
        lambda: json.dumps(report, indent=2),
        f"{record.spec['method']}-report.json",
        "application/json",
        key=f"report_{record.id}",
        icon=":material/download:",
    )
    log_drawer(record)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
