"""Prunings and sweeps of them: what they cost, the click that starts them, their progress, and those that are finished.

Costs are measured on one step of each phase before anything long starts.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.engine.cost_estimate import added
from analysis.engine.planned import children
from analysis.engine.run_pairs import RunPair, as_asked, at_other_sparsities, pairs_by_setting
from analysis.engine.runs import Run, known_runs
from analysis.figures import pruning as figures
from analysis.jobs.summaries import PrunePartial
from analysis.models.checkpoint import checkpoint_of
from analysis.pruned.report_file import plain_name, seed_of
from analysis.specs import METHODS, EstimateSpec, PruneSpec, StudySpec, SweepSpec, grid, point_name
from analysis.words import counted
from cache.keys import content_key
from pages.parts import address, asking
from pages.parts.asking import (
    acting_button,
    allow,
    begin,
    cancel_button,
    duration,
    is_allowed,
    log_drawer,
    progress_bar,
    restart_button,
    running,
)
from pages.parts.charts import plot
from pages.parts.lazy_section import lazy_section
from pages.parts.plain import plain
from pages.parts.pruning.report import pruned_numbers, pruned_report
from pages.parts.run_rows import by_sparsity, in_pairs, table_of_runs
from pages.parts.session import EXPECTED, LOOK, SOON, engine, leave, model_in_use, submit, told

ADDRESS = "sweep"
SEEDS: int = len(StudySpec.model_fields["seeds"].default)
"""Preset calibration seeds: as many as in a study, enough to resolve differences of its margin."""
_MOST_SEEDS, _SHOWN_FAILURES = 64, 5


def draw_seeds() -> int:
    """Draw the number of calibration seeds; return it."""
    return int(
        st.number_input(
            "Calibration seeds",
            min_value=1,
            max_value=_MOST_SEEDS,
            value=SEEDS,
            key="prune_seeds",
            bind="query-params",
            help="Each draws other calibration text, and every method is pruned with each. One seed decides nothing; "
            f"{SEEDS} are what a study takes to tell a difference of 2 points.",
        )
    )


def launch(spec: SweepSpec, shown: bool = False) -> None:
    """Start a sweep. A callback, so that no other rerun can lose the click. shown: show this sweep on the page."""
    record = begin("sweep", spec)
    if shown:
        address.write(ADDRESS, record.id)


def cost_in_words(spec: SweepSpec) -> str:
    """Return what is left of a sweep and how long that takes. Raises UserError for a bad model source."""
    return added(engine().foresee(spec), start=engine().seconds_to_start())


def sweeps_at_work() -> list[JobRecord]:
    """Return the sweeps that have not ended, the newest first."""
    return [record for record in engine().jobs("sweep") if not record.ended]


def asked_by(sweeps: Collection[JobRecord]) -> set[str]:
    """Return the ids of the jobs that sweeps have asked for."""
    return {job_id for record in sweeps for job_id in children(record).values()}


def follow(sweep_id: str) -> None:
    """Draw a sweep's progress until it ends, with failures so far and the buttons."""
    st.fragment(_running, run_every=LOOK)(sweep_id)


def _running(sweep_id: str) -> None:
    record = running(sweep_id)
    progress_bar(record)
    failed = [point for point in engine().sweep_points(record) if point.state == "failed"]
    for point in failed[:_SHOWN_FAILURES]:
        st.caption(f":material/error: {plain(point_name(point.pruning))}: {plain(point.reason)}")
    with st.container(horizontal=True):
        cancel_button(record, f"cancel_sweep_{sweep_id}")
        if failed and acting_button("Retry failed points", f"retry_{sweep_id}", icon=":material/replay:"):
            engine().retry_failed(sweep_id)


# --- more seeds -------------------------------------------------------------------------------------------------


def offer_more_seeds(spec: SweepSpec, key: str) -> None:
    """Draw the button that does the same again with more calibration seeds, and say what it takes; nothing where that
    cannot be, as where the model is gone. spec: with the seeds that there are. key: of the button.
    """
    if not engine().authorizer.may("run"):
        return
    have = len(spec.seeds)
    more = max(SEEDS - have, have)
    seeds = (*spec.seeds, *range(max(spec.seeds) + 1, max(spec.seeds) + 1 + more))
    try:
        wider = SweepSpec.model_validate({**spec.model_dump(), "seeds": seeds})
        cost_estimate = engine().foresee(wider)
    except EXPECTED:
        return
    lost = max(len(grid(spec).prunings) - cost_estimate.known, 0)
    acting_button(
        f"Run {more} more seeds",
        key,
        icon=":material/add:",
        help="Prunes and scores the same with more calibration seeds. "
        + ("" if lost else "What is finished is used again."),
        on_click=launch,
        args=(wider, True),
    )
    st.caption(plain(added(cost_estimate, lost, engine().seconds_to_start())), width="content")


_ASKED, _WANTED = "prune_estimates", "prune_estimates_wanted"


@told()
def plan(specs: list[PruneSpec], buttons: DeltaGenerator) -> None:
    """Draw time, memory and disk by method, once requested; they come in as the probes answer. buttons: where to draw
    the one that requests them.
    """
    if checkpoint_of(specs[0].model) is None:
        st.info("This model is not on this disk. Load it in the sidebar; then this says what pruning it takes.")
        return
    estimates: dict[str, tuple[str, str]] = st.session_state.get(_ASKED, {})
    questions = {spec.method: EstimateSpec.of(spec) for spec in specs}
    wanted = {method: question.model_dump_json() for method, question in questions.items()}
    source = specs[0].model.source
    # Not of every model that was run by hand: the preview would wait for the probes.
    may_ask = (source in st.session_state.get(_WANTED, ()) and is_allowed(source)) or all(
        asking.at_hand("estimate", question) for question in questions.values()
    )
    if not may_ask:
        acting_button(
            "Estimate",
            "prune_estimate",
            buttons,
            icon=":material/timer:",
            on_click=_want,
            args=(source,),
            help="Time and memory, from one step of each phase. From then on it follows the settings.",
        )
        return
    if wanted != {method: text for method, (text, _) in estimates.items()}:
        answers = {
            method: estimates[method]
            if estimates.get(method, ("",))[0] == text
            else (text, submit("estimate", questions[method]).id)
            for method, text in wanted.items()
        }
        for earlier in {job for _, job in estimates.values()} - {job for _, job in answers.values()}:
            leave(earlier)  # no longer shown
        st.session_state[_ASKED] = estimates = answers
    jobs = {method: job for method, (_, job) in estimates.items()}
    waiting = any(not record.ended for record in map(engine().job, jobs.values()) if record is not None)
    st.fragment(_estimates, run_every=SOON if waiting else None)(jobs, waiting)


def _want(source: str) -> None:
    allow(source)
    st.session_state.setdefault(_WANTED, set()).add(source)


def _estimates(estimates: dict[str, str], was_waiting: bool) -> None:
    lines, pending, problems = [], False, []
    for method, job_id in estimates.items():
        record = engine().job(job_id)
        title, takes = METHODS[method].title, "measuring …"
        if record is not None and record.state == "done":
            estimate = record.summary
            memory, disk = estimate["memory_bytes"] / 1e6, estimate["disk_bytes"] / 1e6
            takes = f"about {duration(estimate['total_seconds'])}, {memory:,.0f} MB of memory, {disk:,.0f} MB on disk"
            if estimate["memory_bytes"] > estimate["free_bytes"]:
                free = estimate["free_bytes"] / 1e9
                problems.append(f"{title} needs more memory than the {free:.1f} GB that are free.")
        elif record is not None and record.ended:
            takes = "not known"
            problems.append(f"{title}: {record.reason or 'the estimate was cancelled'}")
        else:
            pending = True
        lines.append(f"- **{plain(title)}** {plain(takes)}")
    if was_waiting and not pending:
        st.rerun()
    st.markdown("\n".join(lines))
    for problem in problems:
        st.warning(plain(problem))
    st.caption(
        "Measured on one step of each phase, on this device. Runs go one after the other; text whose attention mass is "
        "known takes less."
    )


# --- prunings --------------------------------------------------------------------------------------------------------

SHOWN = 6  # that were cut off
_LATEST = 4  # pruned models that are listed where none has the settings
_MOST = 12  # that are seen at once, of the settings
_OPENED, _MATCHING, _PRESET = "prune_opened", "prune_matching", "prune_opened_first"
FRESH = 600.0  # seconds in which a run has just finished


def active_runs() -> None:
    """Draw running and queued prunings with their progress; those of a sweep by the sweep's."""
    sweeps = sweeps_at_work()
    for record in sweeps:
        follow(record.id)
    theirs = asked_by(sweeps)
    alone = (record for record in engine().jobs("prune") if record.id not in theirs)
    active = [record for record in reversed(list(alone)) if not record.ended]
    if active:
        st.fragment(_active, run_every=LOOK)([record.id for record in active])


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
    settings if they were pruned, else of the newest run of their model that has a control; empty where there is none.
    specs: the requested prunings."""
    models = {spec.model.source for spec in specs}
    runs = [run for run in _with_masks() if not models or run.model in models]
    return next(iter(pairs_by_setting(runs, specs)), [])


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
    if not by_age:
        st.caption("No pruned model is left in its folder.")
        return None
    matching = wanted[0].id if wanted else None
    if _MATCHING not in st.session_state or st.session_state[_MATCHING] != matching:
        record = wanted[0].record if wanted else None
        new = record is not None and record.finished is not None and time.time() - record.finished < FRESH
        st.session_state[_MATCHING] = matching
        st.session_state[_PRESET] = st.session_state[_OPENED] = matching if new else None
    opened = next((run for run in by_age if run.id == st.session_state[_OPENED]), None)
    title, most = counted(len(by_age), "pruned model"), len(wanted) or _LATEST
    if len(by_age) > most:
        title = f"{most} of {title} have these settings" if wanted else f"Latest {most} of {title}"
    fold = None
    if above:
        named = plain(f"Runs here: {title[0].lower()}{title[1:]}")
        fold = st.expander(named, key="fold_prune_runs", on_change="rerun")
        if not fold.open:
            return opened
    done = [*by_sparsity(wanted), *in_pairs([run for run in by_age if run not in wanted])]
    shown, ids = done[:most], [run.id for run in done]
    preset = st.session_state[_PRESET]
    # A click is of a place in the table.
    key = f"prune_table_{content_key(runs=ids, of=matching, open=preset)[:8]}"

    def clicked() -> None:
        rows = st.session_state[key].selection.rows
        st.session_state[_OPENED] = shown[rows[0]].id if rows and rows[0] < len(shown) else None

    with fold or nullcontext():
        table_of_runs(
            "Pruned models" if above else title,
            "Accuracy: newest evaluation, mean over its tasks, 95 % interval over items.",
            shown,
            key,
            selected=[ids.index(preset)] if preset in ids else [],
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
