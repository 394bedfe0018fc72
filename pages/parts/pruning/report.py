"""The report of a pruned model, on Prune and on Runs: what was removed and where, its size and its speed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.runs import Run, size
from analysis.figures import pruning as figures
from analysis.figures.export import Exhibit
from analysis.figures.masks import Grid, grids
from analysis.findings import finding_of
from analysis.findings.masks import SAME
from analysis.pruned import masks_file
from analysis.specs import FootprintSpec
from analysis.words import percent
from pages.parts.asking import acting_button, cancel_button, duration, log_drawer, progress_bar, running
from pages.parts.charts import cells, chart, copy_button, download, exhibit_text, export_button, kept, reproduce
from pages.parts.controls import keyed_columns
from pages.parts.plain import code, plain
from pages.parts.session import EXPECTED, SOON, engine, submit, told, why


def footprint_of(record: JobRecord, folder: Path) -> None:
    """Draw the footprint of a finished run, or the button that measures it."""
    st.markdown(
        "**Footprint**",
        help="Weights, bytes and time of the pruned checkpoint beside the dense one. They take turns, so that "
        "other load on this machine affects both equally.",
    )
    spec = FootprintSpec(model=record.parameters().model, pruned=str(folder))
    try:
        answer = engine().answered("footprint", spec)
    except EXPECTED as error:
        st.caption(plain(why(error)))
        return
    if answer is not None:
        _show(answer.summary["footprint"])
        return
    fields = spec.model_dump(mode="json")
    job = next((job for job in engine().jobs("footprint") if job.spec == fields), None)
    if job is not None and not job.ended:
        _follow(job.id)
        return
    if job is not None and job.reason:
        st.error(plain(job.reason))
    if acting_button("Measure size and speed", key=f"footprint_{record.id}", icon=":material/speed:"):
        with told():
            submit("footprint", spec)
            st.rerun()


@st.fragment(run_every=SOON)
def _follow(job_id: str) -> None:
    job = running(job_id)
    progress_bar(job)
    cancel_button(job, f"cancel_{job_id}")


def _show(footprint: dict) -> None:
    dense, pruned, speed = footprint["dense"], footprint["pruned"], footprint["speed"]
    rows = [
        ("weights", f"{dense['parameters']:,}", f"{pruned['parameters']:,}"),
        ("of them not zero", f"{dense['nonzeros']:,}", f"{pruned['nonzeros']:,}"),
        ("weights as stored", _megabytes(dense["dense_bytes"]), _megabytes(pruned["dense_bytes"])),
        (
            "in theory, as a bit mask and values",
            _megabytes(dense["bitmask_bytes"]),
            _megabytes(pruned["bitmask_bytes"]),
        ),
    ]
    if speed is not None:
        rows += [
            ("one forward", f"{1000 * speed['dense_seconds']:.1f} ms", f"{1000 * speed['pruned_seconds']:.1f} ms"),
            (
                "tokens per second",
                f"{speed['dense_tokens_per_second']:,.0f}",
                f"{speed['pruned_tokens_per_second']:,.0f}",
            ),
        ]
    st.dataframe(pd.DataFrame(rows, columns=["", "dense", "pruned"]), hide_index=True, width="stretch")
    st.caption(plain(footprint["statement"]))
    if speed is not None:
        st.caption(
            f"{speed['speedup']:.2f}× the dense model's speed, 95 % interval {speed['low']:.2f} to "
            f"{speed['high']:.2f}: "
            f"{speed['repeats']:d} forwards of {speed['sequences']:d} × {speed['tokens']:d} tokens each, "
            f"{plain(speed['dtype'])}, {plain(speed['device_name'])}, {speed['threads']:d} threads."
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"


_sparsity_grid, _grids = kept(figures.sparsity_grid), kept(grids)


def pruned_numbers(run: Run) -> None:
    """Say how much was removed, how long that took, what the folder weighs, and what the report notes."""
    report: Mapping[str, Any] = run.report or {}
    phases, model = report.get("phases") or (), report.get("model") or {}
    sentences = []
    if run.sparsity:
        share = percent(run.sparsity["overall"], 1)
        sentences.append(f"{run.sparsity['pruned_weights']:,} weights removed, {share} of those that can be.")
    if phases:
        sentences.append(f"Took {duration(sum(row['seconds'] for row in phases))}.")
    sentences.append(f"Folder: {size(run) / 1e6:,.1f} MB.")
    if model.get("dtype") and model.get("device"):
        sentences.append(f"Ran in {model['dtype']} on {model['device']}.")
    said = " ".join([*sentences, *(report.get("notes") or ())])
    exhibit_text("Pruning", said, "", f"pruned_numbers_{run.id}")
    st.caption(plain(said), help=_phases_in_words(phases) if phases else None)


def _phases_in_words(phases: Sequence[Mapping[str, Any]]) -> str:
    """Return the seconds of each phase and the most memory the process took."""
    seconds = " · ".join(f"{phase['phase']} {phase['seconds']:.1f} s" for phase in phases)
    return plain(f"{seconds}. At most {max(phase['peak_bytes'] for phase in phases) / 1e6:,.0f} MB in the process.")


def pruned_report(run: Run) -> None:
    """Draw where weights went, the footprint, the folder, the command and the files."""
    report: Mapping[str, Any] = run.report or {}
    left, right = keyed_columns([3, 2], "pruned_report", gap="medium")
    with left:
        if run.sparsity.get("grid") and run.folder is not None:
            _what_varies(run.sparsity, run.folder)
    with right:
        if run.record is not None and run.folder is not None:
            footprint_of(run.record, run.folder)
        if engine().authorizer.may("run"):
            st.markdown("**Folder**", help=code(str(run.folder)))
            copy_button("Copy path", str(run.folder), f"copy_path_{run.id}")
    if report.get("command"):
        reproduce(str(report["command"]))
    with st.container(horizontal=True):
        export_button("SinkScope: pruning", run.parameters, run.name)
        name = f"{run.parameters.get('method', 'pruning')}-report.json"
        download("Report (JSON)", report, name, f"report_{run.id}")
    if run.record is not None:
        log_drawer(run.record)


def _what_varies(sparsity: Mapping[str, Any], folder: Path) -> None:
    """Draw sparsity by layer and projection; where all have the same, by head if heads differ."""
    grid, whole = np.array(sparsity["grid"], np.float32), float(sparsity["overall"])
    if np.nanmax(grid) - np.nanmin(grid) > SAME:
        axes = {"layer": range(len(grid)), "projection": sparsity["projections"]}
        chart(
            Exhibit(
                "Sparsity by layer and projection",
                "The share of the weights of each matrix that was removed.",
                _sparsity_grid(grid, sparsity["projections"]),
                cells(axes, {"sparsity": grid}),
                formula="Removed weights over all weights of the matrix.",
                finding=finding_of("sparsity of matrices", grid, sparsity["projections"], whole),
            ),
            "pruned_sparsity",
        )
        return
    everywhere = f"Every matrix lost {percent(float(np.nanmean(grid)), 1)} of its weights"
    heads = {name: _by_head(values) for name, values in sparsity["by_head"].items()}
    varying = {name: values for name, values in heads.items() if values.size and _range(values) > SAME}
    if not varying:
        st.caption(f"{everywhere}, and every head as many.")
        return
    st.caption(f"{everywhere}; heads differ.")
    with st.expander("Sparsity by head", key="fold_sparsity_by_head"):
        _by_heads(varying, everywhere, whole, folder)


def _by_heads(varying: Mapping[str, np.ndarray], everywhere: str, whole: float, folder: Path) -> None:
    """Draw the sparsity of every head of the projection in which they differ most."""
    name, values = max(varying.items(), key=lambda item: _range(item[1]))
    axes = {"layer": range(len(values)), "head": range(values.shape[1])}
    chart(
        Exhibit(
            f"Sparsity by head, {name}",
            f"{everywhere}. Red: the head lost more than the whole, blue: less.",
            _grids([Grid("", values - whole)], "sparsity beyond the whole", "head", signed=True),
            cells(axes, {"sparsity": values}),
            formula="Removed weights over all weights of the head's slice, less those of the whole. Chance: as many "
            "weights "
            r"removed at random, which spreads by $\sqrt{p(1-p)/n}$ over the $n$ weights of a slice.",
            finding=finding_of(
                "sparsity of heads", values, whole, _weights_of_head(folder, name, values.shape[1]), name
            ),
        ),
        "pruned_sparsity",
    )


def _weights_of_head(folder: Path, name: str, heads: int) -> int:
    """Return the size of a head's slice; 0 if the folder's masks are unreadable or layers differ."""
    try:
        masks = masks_file.open_masks(str(folder))
        shapes = {masks.shape((layer, name)) for layer in range(masks.geometry.layers)}
    except (*EXPECTED, KeyError):
        return 0
    rows, columns = shapes.pop()
    return 0 if shapes else rows * columns // heads


def _by_head(rows: list[list[float]]) -> np.ndarray:
    """Return sparsity by layer and head (L, H), NaN past the heads of a layer that has fewer."""
    heads = max(map(len, rows), default=0)
    return np.array([[*row, *[np.nan] * (heads - len(row))] for row in rows], np.float32).reshape(len(rows), heads)


def _range(values: np.ndarray) -> float:
    return float(np.nanmax(values) - np.nanmin(values))
