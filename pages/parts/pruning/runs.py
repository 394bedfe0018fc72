"""Pruning runs: running ones with their progress, and results of finished ones; reports, also of those on Runs."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.run_pairs import RunPair, as_asked, at_other_sparsities, pairs_by_setting
from analysis.engine.runs import Run, known_runs, size
from analysis.figures import pruning as figures
from analysis.figures.export import Exhibit
from analysis.figures.masks import Grid, grids
from analysis.findings import finding_of
from analysis.findings.masks import SAME
from analysis.jobs import known_key
from analysis.jobs.summaries import PrunePartial
from analysis.pruned import masks_file
from analysis.pruned.report_file import plain_name, seed_of
from analysis.specs import FootprintSpec, PruneSpec
from analysis.words import counted, percent
from cache.keys import content_key
from pages.parts.asking import acting_button, cancel_button, duration, log_drawer, progress_bar, restart_button, running
from pages.parts.charts import cells, chart, copy_button, download, exhibit_text, export_button, kept, plot, reproduce
from pages.parts.controls import keyed_columns
from pages.parts.lazy_section import lazy_section
from pages.parts.plain import code, plain
from pages.parts.run_rows import by_sparsity, in_pairs, table_of_runs
from pages.parts.session import EXPECTED, engine, model_in_use, submit, told, why
from pages.parts.sweeping import asked_by, follow, sweeps_at_work


def footprint_of(record: JobRecord, folder: Path) -> None:
    """Draw the footprint of a finished run, or the button that measures it."""
    st.markdown(
        "**Footprint**",
        help="Weights, bytes and time of the pruned checkpoint beside the dense one. Both models run in turns, so that "
        "what else this machine does weighs on both alike.",
    )
    spec = FootprintSpec(model=record.parameters().model, pruned=str(folder))
    try:
        answer = engine().answered("footprint", known_key("footprint", spec))
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


@st.fragment(run_every=0.5)
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


SHOWN = 6  # that were cut off
_LATEST = 4  # pruned models that are listed where none has the settings
_MOST = 12  # that are seen at once, of the settings
_OPENED, _MATCHING, _PRESET = "prune_opened", "prune_matching", "prune_opened_first"
FRESH = 600.0  # seconds in which a run has just finished
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


def finished_runs(asked: Sequence[PruneSpec], above: bool = False) -> None:
    """Draw the table of pruned models, the one that is open, and the prunings that were interrupted. asked: the
    requested prunings, of which a run that has just finished is open at first. above: whether a study stands above,
    whose accuracies are others, so that the table is in a fold."""
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
    opened = _table_of_done(known, asked, above)
    if opened is not None:
        with st.container(border=True):
            _done(opened)
    cut_off = [record for record in ended if record.state != "done"]
    many = len(cut_off) > SHOWN and st.toggle(f"Show all {len(cut_off)} cut off", key="prune_all")
    for record in cut_off if many else cut_off[:SHOWN]:
        with st.container(border=True):
            _cut_off(record)


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


def pairs_at_other_sparsities(pairs: Sequence[RunPair]) -> list[RunPair]:
    """Return the pairs that differ from these in their sparsity and seed alone. pairs: of `matched_pairs`."""
    return at_other_sparsities(_with_masks(), pairs)


def _with_masks() -> list[Run]:
    return [run for run in known_runs(engine()) if run.has_masks and run.kind == "pruned"]


def _table_of_done(known: list[Run], asked: Sequence[PruneSpec], above: bool) -> Run | None:
    """Draw the table of the pruned models of these settings, of the latest where there are none; return the open one:
    that whose row is clicked, and one that matches the settings and has just finished."""
    by_age = [run for run in known if run.record is not None and run.record.kind == "prune"]
    wanted = _newest_of_each(as_asked(by_age, asked))
    done = [*by_sparsity(wanted), *in_pairs([run for run in by_age if run not in wanted])]
    if not done:
        st.caption("No pruned model is left in its folder.")
        return None
    by_id = {run.id: run for run in done}
    matching = wanted[0].id if wanted else None
    if _MATCHING not in st.session_state or st.session_state[_MATCHING] != matching:
        record = wanted[0].record if wanted else None
        new = record is not None and record.finished is not None and time.time() - record.finished < FRESH
        st.session_state[_MATCHING] = matching
        st.session_state[_PRESET] = st.session_state[_OPENED] = matching if new else None
    shown = done[: len(wanted) or _LATEST]
    preset = st.session_state[_PRESET]
    # A click is of a place in the table.
    key = f"prune_table_{content_key(runs=list(by_id), of=matching, open=preset)[:8]}"

    def clicked() -> None:
        rows = st.session_state[key].selection.rows
        st.session_state[_OPENED] = shown[rows[0]].id if rows and rows[0] < len(shown) else None

    opened = by_id.get(st.session_state[_OPENED])
    title = counted(len(done), "pruned model")
    if len(done) > len(shown):
        title = f"{len(shown)} of {title} have these settings" if wanted else f"Latest {len(shown)} of {title}"
    fold = st.expander(plain(f"Runs here: {title[0].lower()}{title[1:]}"), key="fold_prune_runs") if above else None
    with fold or nullcontext():
        table_of_runs(
            "Pruned models" if above else title,
            "Accuracy: newest evaluation, mean over its tasks, 95 % interval over items.",
            shown,
            key,
            selected=[] if preset not in by_id else [list(by_id).index(preset)],
            rows=_MOST,
            hint=f"{'' if wanted else 'None has these settings. '}Click a row to open it.",
            on_select=clicked,
            selection_mode="single-row",
        )
        if len(done) > len(shown):
            st.page_link("pages/runs.py", label=f"All {len(done)} on Runs", icon=":material/table_rows:")
    return opened


def _newest_of_each(runs: list[Run]) -> list[Run]:
    """Return the newest run of each method and calibration seed. runs: of `as_asked`."""
    newest: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        newest.setdefault((run.parameters.get("method"), seed_of(run.parameters)), run)
    return list(newest.values())


def _precisions_differ(ended: list[JobRecord]) -> bool:
    """Return whether finished runs of one model used different precisions or kinds of device."""
    models = [record.summary["report"]["model"] for record in ended if record.state == "done"]
    kinds = {(model["fingerprint"], model["dtype"], model["device"].split(":")[0]) for model in models}
    return len(kinds) > len({fingerprint for fingerprint, _, _ in kinds})


def _title(record: JobRecord) -> str:
    """Return a pruning in one line of Markdown, with its model unless that is in use."""
    source = record.spec["model"]["source"]
    return f"**{plain(plain_name(record.spec))}**" + ("" if source == model_in_use().source else f" · {plain(source)}")


def _active(ids: list[str]) -> None:
    records = [record for record in map(engine().job, ids) if record is not None]
    if any(record.ended for record in records):
        st.rerun()
    for record in records:
        with st.container(border=True):
            left, right = st.columns([5, 1], vertical_alignment="center")
            left.markdown(_title(record))
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


def _cut_off(record: JobRecord) -> None:
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.markdown(f"{_title(record)} · :gray[{plain(record.state)}, {_when(record)}]")
    if record.reason:
        left.error(plain(record.reason))
    with right:
        restart_button(record, f"again_{record.id}")
    log_drawer(record)


def _done(run: Run) -> None:
    record = run.record
    assert record is not None
    result = engine().result(record)
    st.markdown(f"{_title(record)} · :gray[{_when(record)}]", help=plain(run.name))
    if result is None or result.folder is None:
        st.caption("Its folder was removed.")
        return
    pruned_numbers(run)
    lazy_section(lambda: pruned_report(run), "prune_below", 900)
