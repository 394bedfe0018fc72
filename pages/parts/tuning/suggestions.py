"""Search for a discount: its controls, starting and following it, and its results: numbers, trials, parameter
importances and final comparison.
"""

from typing import Any

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.engine.cost_estimate import search_time
from analysis.evaluation.presets import PRESETS, SUITES
from analysis.figures import tuning as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.jobs.summaries import SearchFloor, SuggestPartial, SuggestSummary, Trial
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
from analysis.words import percent, signed
from pages.parts import controls
from pages.parts.asking import (
    acting_button,
    cancel_button,
    duration,
    how_it_ended,
    log_drawer,
    progress_bar,
    starting_button,
)
from pages.parts.charts import as_read, chart, download, download_buttons, heading
from pages.parts.controls import keyed_columns, keys_of
from pages.parts.plain import plain
from pages.parts.session import LOOK, engine, not_in_address, restart, submit, told
from pages.parts.tuning import preview

_SAMPLER = "Settings are drawn by a tree-structured Parzen estimator (TPE), the first ten at random."
_IMPORTANCE = (
    "PED-ANOVA (arXiv 2304.10255): with $p_{\\mathrm{top}}$ and $p$ a parameter's densities over the best quarter of "
    "the trials and over all,\n\n$$\\sum_x p(x)\\left(\\frac{p_{\\mathrm{top}}(x)}{p(x)} - 1\\right)^2$$\n\n"
    "as a share of the sum over the parameters."
)
_DIFFERENCE = (
    "Accuracy of the first less that of the other on the same items, with Student's interval of the paired "
    "differences; p is McNemar's, adjusted over the tasks (Holm)."
)


def numbers(spec: SuggestSpec, rows: list[Trial], best: Trial, floor: SearchFloor | None) -> None:
    """Draw the best trial beside named ones and another calibration seed, and the limits of its value."""
    objective = OBJECTIVES[spec.objective]
    decimals, label = objective.decimals, objective.title.capitalize()
    band = _band(rows, floor)
    if band is not None and band[0] <= best["value"] <= band[1]:
        st.info(plain(_best_in_words(spec, rows, floor)), icon=":material/balance:")
    columns = st.columns(4)
    change = f"{100 * (best['value'] - rows[0]['value']):+.2g} points against published"
    columns[0].metric(
        f"{label}, best (trial {best['number']:d})",
        percent(best["value"], decimals),
        None if best["value"] == rows[0]["value"] else change,
        delta_color="off",
    )
    for column, row in zip(columns[1:], [row for row in rows if row["name"]], strict=False):
        column.metric(f"{label}, {plain(row['name'])}", percent(row["value"], decimals))
    if "dense" in rows[0]["facts"]:
        columns[3].metric(f"{label}, dense model", percent(rows[0]["facts"]["dense"], decimals))
    st.caption(plain(_beside_seed(spec, rows, best, floor)))
    if best["value"] == rows[0]["value"]:
        st.caption("No setting tried so far is better than the published one.")
    else:
        st.caption(plain(objective.caveat))


def _beside_seed(spec: SuggestSpec, rows: list[Trial], best: Trial, floor: SearchFloor | None) -> str:
    """Compare the best trial with no discount in value and mask bits, and with another calibration seed's change of
    these.
    """
    none = next((row for row in rows if row["name"] == "no discount"), None)
    if none is None:
        return ""
    decimals = OBJECTIVES[spec.objective].decimals

    def told(value: float, changed: float | None) -> str:
        points = f"{signed(100 * round(value - none['value'], decimals + 2))} points"
        return points if changed is None else f"{points}, {percent(changed, 2)} of the mask bits"

    sentence = f"Best against no discount: {told(best['value'], best['facts'].get('changed'))}. "
    if floor is None:
        return f"{sentence}What another calibration seed changes is not measured."
    seed = f"Another calibration seed ({floor['seed']}) without a discount"
    return f"{sentence}{seed}: {told(floor['value'], floor['changed'])}."


def use_controls(spec: SuggestSpec, rows: list[Trial], best: Trial) -> None:
    """Draw the trial whose setting a button puts into the controls."""
    order = [best["number"], *(row["number"] for row in rows if row is not best)]
    names = {row["number"]: _named(spec, row, best) for row in rows}
    left, right = st.columns([5, 1.4], vertical_alignment="bottom")
    chosen = left.selectbox(
        "Trial",
        order,
        format_func=lambda number: names.get(number, str(number)),
        key="suggest_trial",
        help="The best first. Type to find a number.",
    )
    setting = spec.setting.model_copy(update={"discount": DiscountParams(**rows[chosen]["discount"])})
    pressed = right.button(
        "Use this setting",
        key="suggest_use",
        icon=":material/tune:",
        width="stretch",
        on_click=preview.apply,
        args=(setting,),
        help="Sets the controls of this page to this trial, its sparsity and steps included. Undo takes it back.",
    )
    if pressed:
        st.rerun()  # the controls lie outside this fragment


def _named(spec: SuggestSpec, row: Trial, best: Trial) -> str:
    name = f" ({row['name']})" if row["name"] else ""
    value = percent(row["value"], OBJECTIVES[spec.objective].decimals)
    first = "best, trial" if row is best else "trial"
    return f"{first} {row['number']}{name} · {value} · {_in_words(row)}"


def _in_words(row: Trial) -> str:
    return preview.discount_in_words(DiscountParams(**row["discount"]))


def charts(spec: SuggestSpec, rows: list[Trial], shares: dict[str, float], floor: SearchFloor | None) -> None:
    """Draw the course of the search, and which parameters matter. shares: the importance of each."""
    objective = OBJECTIVES[spec.objective]
    left, right = st.columns([3, 2])
    with left:
        chart(
            Exhibit(
                "Trials",
                "What each setting is worth, and the best so far. Lines: the published setting and no discount. "
                + ("" if floor is None else "Grey: as far from no discount as another calibration seed leads. ")
                + ("Higher is better." if objective.maximise else "Lower is better."),
                figures.history(
                    [row["value"] for row in rows],
                    [_in_words(row) for row in rows],
                    {row["name"]: row["value"] for row in rows if row["name"]},
                    objective.title,
                    objective.maximise,
                    spec.trials,
                    objective.decimals,
                    objective.least_height,
                    _band(rows, floor),
                ),
                _table(rows, objective.title),
                formula=f"{objective.formula} {_SAMPLER}",
                finding=_best_in_words(spec, rows, floor),
            ),
            "suggest_history",
        )
    with right:
        if not shares:
            heading("Importance of the parameters", "Which of them tell good trials from the rest.", _IMPORTANCE)
            st.caption("Told from eight trials on, where trials differ.")
            return
        named = {preview.parameter_title(name): share for name, share in shares.items()}
        chart(
            Exhibit(
                "Importance of the parameters",
                "How much each one's values in the best quarter of the trials differ from those in all.",
                figures.importances(named),
                pd.DataFrame({"parameter": list(named), "importance": list(named.values())}),
                formula=_IMPORTANCE,
                finding=finding_of("importances", list(named.values()), list(named)),
            ),
            "suggest_importance",
        )


def _band(rows: list[Trial], floor: SearchFloor | None) -> tuple[float, float] | None:
    """Return the range of values no further from no discount than another calibration seed."""
    none = next((row["value"] for row in rows if row["name"] == "no discount"), None)
    return figures.seed_band(none, None if floor is None else floor["value"])


def _best_in_words(spec: SuggestSpec, rows: list[Trial], floor: SearchFloor | None) -> str:
    """Compare the best trial with the first two: the published setting, and no discount."""
    objective = OBJECTIVES[spec.objective]
    return finding_of(
        "trials",
        [row["value"] for row in rows],
        rows[0]["value"],
        rows[1]["value"] if len(rows) > 1 else None,
        1 if objective.maximise else -1,
        objective.decimals,
        None if floor is None else floor["value"],
    )


def _table(rows: list[Trial], measure: str) -> pd.DataFrame:
    """Return one row per trial: its value and the published setting's in per cent, every parameter, other numbers."""
    return pd.DataFrame(
        [
            {
                "trial": row["number"],
                "name": row["name"],
                f"{measure}, %": 100 * row["value"],
                "published, %": 100 * row["published"],
                **row["discount"],
                **({"mask bits changed": row["facts"]["changed"]} if "changed" in row["facts"] else {}),
                **row["facts"].get("tasks", {}),
                "seconds": row["seconds"],
            }
            for row in rows
        ]
    )


def comparison_table(comparison: dict[str, Any]) -> None:
    """Draw the best setting and the references on data no trial has seen."""
    heading(
        "On items that no trial has seen",
        "Accuracy in points, first less other, on the same items. An interval that holds 0 shows no difference, which "
        "is not to say that there is none.",
        _DIFFERENCE,
    )
    accuracies = {row["model"]: row for row in comparison["accuracies"]}
    for column, (name, row) in zip(st.columns(4), accuracies.items(), strict=False):
        interval = f"95 %: {percent(row['low'], 2)} to {percent(row['high'], 2)}"
        column.metric(f"Accuracy, {plain(name)}", percent(row["value"], 2), help=interval)
    table = pd.DataFrame(
        [
            {
                "setting": row["setting"],
                "compared with": row["than"],
                "task": row["task"],
                **{
                    name: None if row[key] is None else 100 * row[key]
                    for name, key in (("points", "value"), ("low", "low"), ("high", "high"))
                },
                "items": row["n"],
                "p (Holm)": row.get("p_holm"),
                "in words": row["words"],
            }
            for row in sorted(comparison["differences"], key=lambda row: row["task"] != "average")
        ]
    )
    st.dataframe(as_read(table), hide_index=True, key="suggest_comparison", height=320)
    download_buttons(table, "suggest_comparison")
    for problem in comparison["problems"]:
        st.warning(plain(problem), icon=":material/cloud_off:")


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
        SuggestSpec, "searched", "suggest_searched", searchable(), columns[1], format_func=preview.parameter_title
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
    return ", ".join([preview.rest_in_words(spec.setting).replace(" · ", ", "), *fixed])


_SEARCH = "search"


def suggest_view(statistics_spec: CalibrateSpec, setting: TuneParams) -> None:
    """Draw the controls of a search around `setting`, and the last search or the one named in the address."""
    spec, problem = search_controls(statistics_spec, setting)
    if problem:
        st.error(plain(problem))
    left, right = st.columns([1, 5], vertical_alignment="center")
    starting_button(
        "Suggest",
        "suggest",
        _submit,
        left,
        type="primary",
        icon=":material/auto_awesome:",
        disabled=spec is None,
        width="stretch",
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
    st.fragment(_panel, run_every=None if record.ended else LOOK)(record.id, record.ended)


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
    floor = suggestions["floor"]
    numbers(spec, rows, best, floor)
    use_controls(spec, rows, best)
    charts(spec, rows, suggestions.get("importance") or {}, floor)
    comparison = None if summary is None else summary.get("comparison")
    if comparison:
        comparison_table(comparison)
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
