"""Suggesting a discount: the controls of a search, starting it, and following it."""

from typing import Any

import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.evaluation.presets import PRESETS, SUITES
from analysis.jobs.summaries import SuggestPartial, SuggestSummary, Trial
from analysis.specs import (
    OBJECTIVES,
    CalibrateSpec,
    DiscountParams,
    StatisticsParams,
    SuggestSpec,
    TuneParams,
    sentence,
    short_label,
)
from analysis.specs.tuning import searchable
from analysis.tuning.cost_estimate import search_time
from pages.parts import controls
from pages.parts.acting import acting_button
from pages.parts.charts import download
from pages.parts.columns import keyed_columns
from pages.parts.expander import keys_of
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, duration, how_it_ended, log_drawer, progress_bar
from pages.parts.session import engine, not_in_address, restart, submit
from pages.parts.tuning import search_results, settings
from pages.parts.user_errors import told

_TASKS = "tasks"
_ONLY_TYPED = "include_path"  # a folder whose functions are run is given on the command line alone


def search_controls(statistics_spec: CalibrateSpec, setting: TuneParams) -> tuple[SuggestSpec | None, str]:
    """Draw the controls of a search around `setting` with these statistics: return its spec, or why there is none."""
    values: dict[str, Any] = {}
    columns = keyed_columns([1.4, 2.6, 1, 1], "search")
    with columns[0]:
        values["objective"] = controls.draw(
            SuggestSpec,
            "objective",
            "suggest_judge",  # as addresses have it
            format_func=lambda name: OBJECTIVES[name].title,
        )
    values["searched"] = controls.draw_several(
        SuggestSpec, "searched", "suggest_searched", searchable(), columns[1], format_func=settings.parameter_title
    )
    values |= controls.draw_each(SuggestSpec, keys_of("suggest", ("trials", "seed")), columns[2:])
    reads = OBJECTIVES[values["objective"]].reads
    drawn = [name for name in reads if name not in (_TASKS, _ONLY_TYPED)]
    columns = keyed_columns([3, *(1 for _ in drawn)], "search_reads") if reads else []
    if _TASKS in reads:
        values[_TASKS] = controls.draw_several(
            SuggestSpec,
            _TASKS,
            "suggest_tasks",
            [*SUITES, *PRESETS],
            columns[0],
            persist_state="session",
            accept_new_options=True,
        )
    values |= controls.draw_each(SuggestSpec, keys_of("suggest", drawn), columns[1:])
    statistics = StatisticsParams(**{name: getattr(statistics_spec, name) for name in StatisticsParams.model_fields})
    try:
        return SuggestSpec(model=statistics_spec.model, statistics=statistics, setting=setting, **values), ""
    except ValidationError as error:
        return None, sentence(error)


def search_in_words(spec: SuggestSpec) -> str:
    """Say what a search does and holds fixed."""
    objective = OBJECTIVES[spec.objective]
    by = f"{objective.title} on {', '.join(spec.tasks)}" if _TASKS in objective.reads else objective.title
    return plain(
        f"Judged by {by} · held: {held_in_words(spec)} · search seed {spec.seed} · "
        f"calibration seed {spec.statistics.calibration.seed}"
    )


def held_in_words(spec: SuggestSpec) -> str:
    """Say what all trials of a search have in common."""
    held = [name for name in searchable() if name not in spec.searched]
    fields = DiscountParams.model_fields
    fixed = [f"{short_label(name, fields[name])} {getattr(spec.setting.discount, name)}" for name in held]
    return ", ".join([settings.rest_in_words(spec.setting).replace(" · ", ", "), *fixed])


REFRESH = 0.7  # seconds
_SEARCH = "search"


def suggest_view(statistics_spec: CalibrateSpec, setting: TuneParams) -> None:
    """Draw the controls of a search around `setting`, and the last search or the one named in the address."""
    spec, problem = search_controls(statistics_spec, setting)
    if problem:
        st.error(plain(problem))
    left, right = st.columns([1, 5], vertical_alignment="center")
    acting_button(
        "Suggest",
        "suggest",
        left,
        type="primary",
        icon=":material/auto_awesome:",
        disabled=spec is None,
        width="stretch",
        on_click=_submit,
        args=(spec,),
    )
    if spec is not None:
        right.caption(f"Held fixed: {plain(held_in_words(spec))}. {plain(_time_in_words(spec))}")
    st.divider()
    record = _shown(statistics_spec)
    if record is None:
        ways = " ".join(f"By {plain(objective.title)}: {plain(objective.help)}" for objective in OBJECTIVES.values())
        st.info(f"No search of this model yet. {ways}")
        return
    st.fragment(_panel, run_every=None if record.ended else REFRESH)(record.id, record.ended)


def _time_in_words(spec: SuggestSpec) -> str:
    """Say how long the search will take, by earlier trials with the same objective and statistics."""
    reads = ("model", "statistics", "objective", *OBJECTIVES[spec.objective].reads)
    asked = spec.model_dump(mode="json", include=set(reads))
    seconds = [
        float(trial["seconds"])
        for job in engine().jobs("suggest")
        if all(job.spec.get(name) == value for name, value in asked.items())
        for trial in job.summary.get("trials") or ()
    ]
    time = search_time(seconds, spec.trials)
    if time is None:
        return "The time is not known before the first trial: no search like it ran here."
    compared = ", and the comparison at its end comes on top" if OBJECTIVES[spec.objective].compares else ""
    span = f"{duration(time.low)} to {duration(time.high)}" if duration(time.low) != duration(time.high) else ""
    about = f"about {duration(time.median)}{f' ({span})' if span else ''}"
    return f"{spec.trials} trials take {about}, by {time.measured:,} trials measured here{compared}."


def _submit(spec: SuggestSpec) -> None:
    """Start the search. A callback, so that no other rerun can lose the click."""
    st.query_params[_SEARCH] = submit("suggest", spec).id


def _shown(statistics_spec: CalibrateSpec) -> JobRecord | None:
    """Return the search named in the address, else the newest of this model."""
    record = engine().job(st.query_params[_SEARCH]) if _SEARCH in st.query_params else None
    if record is not None and record.kind == "suggest":
        return record
    model = statistics_spec.model.model_dump(mode="json")
    newest = next((job for job in engine().jobs("suggest") if job.spec.get("model") == model), None)
    if _SEARCH in st.query_params:
        instead = " Here is the newest one of this model instead." if newest is not None else ""
        not_in_address(f"no search {st.query_params[_SEARCH]}.{instead}")
    return newest


def _panel(job_id: str, was_ended: bool) -> None:
    record = engine().job(job_id)
    if record is None:
        st.info("This search is no longer in the store. Ask again; its trials are remembered.")
        return
    if record.ended and not was_ended:
        st.rerun()
    try:
        spec = record.parameters(SuggestSpec)
    except ValidationError as error:
        st.error(f"This search was asked with parameters that changed since: {plain(sentence(error))}")
        return
    st.caption(search_in_words(spec))
    summary = record.summary_as(SuggestSummary) if record.state == "done" else None
    suggestions = engine().progress(record.id).details_as(SuggestPartial) if summary is None else summary
    rows = suggestions.get("trials") or []
    _state(record, spec, rows)
    for note in [] if summary is None else summary.get("notes") or []:
        st.caption(f":material/info: {plain(note)}")
    if not rows:
        return
    best = (max if OBJECTIVES[spec.objective].maximise else min)(rows, key=lambda row: row["value"])
    floor = suggestions.get("floor")
    search_results.numbers(spec, rows, best, floor)
    search_results.use_controls(spec, rows, best)
    search_results.charts(spec, rows, suggestions.get("importance") or {}, floor)
    comparison = None if summary is None else summary.get("comparison")
    if comparison:
        search_results.comparison_table(comparison)
    _journal_download(record)
    log_drawer(record)


def _journal_download(record: JobRecord) -> None:
    """Draw the download of Optuna's journal of an ended search with its trials, while the store holds it."""
    file = engine().result_file(record)
    if file is None:
        return
    download(
        "Open in optuna-dashboard",
        file.read_bytes,
        "search.journal",
        "suggest_journal",
        help="All trials with what each measured, as an Optuna journal. Then: `optuna-dashboard search.journal`",
    )


def _state(record: JobRecord, spec: SuggestSpec, rows: list[Trial]) -> None:
    if not record.ended:
        progress_bar(record)
        stop, abort, text = st.columns([1, 1, 4], vertical_alignment="center")
        pressed = acting_button(
            "Stop here",
            f"search_stop_{record.id}",
            stop,
            icon=":material/stop:",
            disabled=not rows or not engine().authorizer.is_theirs_alone(record),
            width="stretch",
            help="Ends the search and keeps its trials. It can be resumed.",
        )
        if pressed:
            engine().finish_early(record.id)
        with abort:
            cancel_button(record, f"search_cancel_{record.id}")
        text.caption(plain(engine().progress(record.id).details_as(SuggestPartial).get("doing", "")))
        return
    if record.state != "done":
        tell = st.error if record.state == "failed" else st.warning
        tell(how_it_ended(record, "search", "Its trials are remembered." if rows else ""))
    elif record.summary.get("stopped"):
        compares = OBJECTIVES[spec.objective].compares
        what = " The best setting was not compared on other items." if compares else ""
        st.info(f"Stopped after {len(rows)} of {record.summary['planned']:d} trials.{what}")
    else:
        return
    if acting_button("Resume", key=f"search_resume_{record.id}", icon=":material/play_arrow:"):
        _again(record)


def _again(record: JobRecord) -> None:
    """Resume the same search from its trials so far."""
    with told():
        done = record.state == "done"
        new = submit("suggest", record.parameters()) if done else restart(record.id)
        st.query_params[_SEARCH] = new.id
        st.rerun()
