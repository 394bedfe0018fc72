"""Suggesting a discount: what is searched and by what it is judged, and the search as it goes."""

from typing import Any

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.evaluation.presets import PRESETS, SUITES
from analysis.figures import suggestion as figures
from analysis.specs import (
    CalibrateSpec,
    DiscountParams,
    StatisticsParams,
    SuggestSpec,
    TuneParams,
    sentence,
    short_label,
)
from analysis.specs.suggestion import searchable
from pages.parts import controls
from pages.parts.charts import chart, heading
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, log_drawer, progress_bar
from pages.parts.session import engine, not_in_address, restart, submit
from pages.parts.trouble import EXPECTED, why
from pages.parts.tuning import settings

REFRESH = 0.7  # seconds
_SEARCH, _REFUSED = "search", "suggestion_refused"
_OF_ACCURACY = ("limit", "reported_limit", "draws")
_ERROR = (
    "The mean over all projections of $\\lVert WX - \\tilde W X \\rVert / \\lVert WX \\rVert$ on held-out noised "
    "sequences. Settings are drawn by a tree-structured Parzen estimator (TPE), the first ten at random."
)
_ACCURACY = (
    "The mean over tasks of the share of right answers of the model pruned with the setting, on the items kept for "
    "tuning. Settings are drawn by a tree-structured Parzen estimator (TPE), the first ten at random."
)
_IMPORTANCE = (
    "PED-ANOVA (arXiv 2304.10255): with $p_{\\mathrm{top}}$ and $p$ a parameter's densities over the best quarter of "
    "the trials and over all,\n\n$$\\sum_x p(x)\\left(\\frac{p_{\\mathrm{top}}(x)}{p(x)} - 1\\right)^2$$\n\n"
    "as a share of the sum over the parameters."
)
_DIFFERENCE = (
    "Accuracy of the first less that of the other on the same items, with Student's interval of the paired "
    "differences; p is McNemar's, adjusted over the tasks (Holm)."
)


def suggest_view(asked: CalibrateSpec, setting: TuneParams, levels: tuple[int, ...]) -> None:
    """Draws the controls of a search around `setting`, and the search asked for last or named in the address.

    levels: the stored noise steps.
    """
    spec, problem = _spec(asked, setting)
    if problem:
        st.error(plain(problem))
    left, right = st.columns([1, 5], vertical_alignment="center")
    left.button(
        "Suggest",
        key="suggest",
        type="primary",
        icon=":material/auto_awesome:",
        disabled=spec is None,
        width="stretch",
        on_click=_submit,
        args=(spec,),
    )
    if spec is not None:
        right.caption(f"Stays as set above: {plain(_held(spec))}.")
    refused = st.session_state.pop(_REFUSED, "")
    if refused:
        st.error(plain(refused))
    st.divider()
    record = _shown(asked)
    if record is None:
        st.info(
            "Nothing was searched for this model yet. A search by output error takes seconds; one by accuracy prunes "
            "and evaluates the model for every trial."
        )
        return
    st.fragment(_panel, run_every=None if record.ended else REFRESH)(record.id, record.ended, levels)


# --- asking -----------------------------------------------------------------------------------------------------


def _spec(asked: CalibrateSpec, setting: TuneParams) -> tuple[SuggestSpec | None, str]:
    values: dict[str, Any] = {}
    columns = st.columns([1, 3, 1, 1])
    with columns[0]:
        values["judge"] = controls.draw(
            SuggestSpec,
            "judge",
            "suggest_judge",
            bind="query-params",
            format_func={"error": "output error", "accuracy": "accuracy"}.get,
        )
    field = SuggestSpec.model_fields["searched"]
    values["searched"] = columns[1].multiselect(
        field.title,
        searchable(),
        default=field.default,
        key="suggest_searched",
        bind="query-params",
        format_func=_title,
        help=field.description,
    )
    for column, name in zip(columns[2:], ("trials", "seed"), strict=True):
        with column:
            values[name] = controls.draw(SuggestSpec, name, f"suggest_{name}", bind="query-params")
    if values["judge"] == "accuracy":
        columns = st.columns([3, 1, 1, 1])
        field = SuggestSpec.model_fields["tasks"]
        values["tasks"] = columns[0].multiselect(
            field.title,
            [*SUITES, *PRESETS],
            default=field.default,
            key="suggest_tasks",
            persist_state="session",
            accept_new_options=True,
            help=field.description,
        )
        for column, name in zip(columns[1:], _OF_ACCURACY, strict=True):
            with column:
                values[name] = controls.draw(SuggestSpec, name, f"suggest_{name}", bind="query-params")
    statistics = StatisticsParams(**{name: getattr(asked, name) for name in StatisticsParams.model_fields})
    try:
        return SuggestSpec(model=asked.model, statistics=statistics, setting=setting, **values), ""
    except ValidationError as error:
        return None, sentence(error)


def _title(name: str) -> str:
    """A parameter's label without what stands in brackets."""
    return str(DiscountParams.model_fields[name].title).partition(" (")[0]


def _what(spec: SuggestSpec) -> str:
    """What a search does and holds, in a line."""
    by = "output error" if spec.judge == "error" else f"accuracy on {', '.join(spec.tasks)}"
    return plain(
        f"Judged by {by} · held: {_held(spec)} · search seed {spec.seed} · "
        f"calibration seed {spec.statistics.calibration.seed}"
    )


def _held(spec: SuggestSpec) -> str:
    """What all trials of a search have in common."""
    held = [name for name in searchable() if name not in spec.searched]
    fields = DiscountParams.model_fields
    fixed = [f"{short_label(name, fields[name])} {getattr(spec.setting.discount, name)}" for name in held]
    return ", ".join([settings.rest_in_words(spec.setting).replace(" · ", ", "), *fixed])


def _submit(spec: SuggestSpec) -> None:
    """A callback, so that no rerun that something else on the page asks for can lose the click."""
    try:
        st.query_params[_SEARCH] = submit("suggest", spec).id
    except EXPECTED as error:
        st.session_state[_REFUSED] = why(error)


def _shown(asked: CalibrateSpec) -> JobRecord | None:
    """The search named in the address, else the newest of this model."""
    record = engine().job(st.query_params[_SEARCH]) if _SEARCH in st.query_params else None
    if record is not None and record.kind == "suggest":
        return record
    own = asked.model.model_dump(mode="json")
    newest = next((job for job in engine().jobs("suggest") if job.spec.get("model") == own), None)
    if _SEARCH in st.query_params:
        instead = " Here is the newest one of this model instead." if newest is not None else ""
        not_in_address(f"no search {st.query_params[_SEARCH]}.{instead}")
    return newest


# --- following --------------------------------------------------------------------------------------------------


def _panel(job_id: str, was_ended: bool, levels: tuple[int, ...]) -> None:
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
    st.caption(_what(spec))
    found = record.summary if record.state == "done" else engine().progress(record.id).details
    rows = found.get("trials") or []
    _state(record, rows)
    for note in found.get("notes") or []:
        st.caption(f":material/info: {plain(note)}")
    if not rows:
        return
    best = _best(rows, spec.judge == "accuracy")
    _numbers(spec, rows, best)
    _use(spec, rows, best, levels)
    _charts(spec, rows, found.get("importance") or {})
    if found.get("comparison"):
        _comparison(found["comparison"])
    log_drawer(record)


def _best(rows: list[dict[str, Any]], maximise: bool) -> dict[str, Any]:
    return (max if maximise else min)(rows, key=lambda row: row["value"])


def _state(record: JobRecord, rows: list[dict[str, Any]]) -> None:
    if not record.ended:
        progress_bar(record)
        stop, abort, text = st.columns([1, 1, 4], vertical_alignment="center")
        pressed = stop.button(
            "Stop here",
            key=f"search_stop_{record.id}",
            icon=":material/stop:",
            disabled=not rows,
            width="stretch",
            help="Ends the search and keeps its trials. It can be resumed.",
        )
        if pressed:
            engine().finish_early(record.id)
        with abort:
            cancel_button(record, f"search_cancel_{record.id}")
        doing = engine().progress(record.id).details.get("doing")
        text.caption(plain(str(doing)) if doing else "")
        return
    if record.state != "done":
        said = {"cancelled": "was cancelled", "interrupted": "was interrupted"}.get(record.state, "failed")
        tell = st.error if record.state == "failed" else st.warning
        kept = "Its trials are remembered." if rows else ""
        tell(f"This search {said}. {plain(record.reason)} {kept}".replace("  ", " "))
    elif record.summary.get("stopped"):
        what = "" if record.spec["judge"] == "error" else " The best setting was not compared on other items."
        st.info(f"Stopped after {len(rows)} of {record.summary['planned']:d} trials.{what}")
    else:
        return
    if st.button("Resume", key=f"search_resume_{record.id}", icon=":material/play_arrow:"):
        _again(record)


def _again(record: JobRecord) -> None:
    """The same search once more: it goes on from the trials that are there."""
    try:
        done = record.state == "done"
        new = submit("suggest", record.parameters()) if done else restart(record.id)
    except EXPECTED as error:
        st.error(plain(why(error)))
        return
    st.query_params[_SEARCH] = new.id
    st.rerun()


# --- what was found ---------------------------------------------------------------------------------------------


def _numbers(spec: SuggestSpec, rows: list[dict[str, Any]], best: dict[str, Any]) -> None:
    accuracy = spec.judge == "accuracy"
    form, label = (".2%", "Accuracy") if accuracy else (".4%", "Output error")
    columns = st.columns(4)
    change = f"{100 * (best['value'] - rows[0]['value']):+.2g} points against published"
    columns[0].metric(
        f"{label}, best (trial {best['number']:d})",
        f"{best['value']:{form}}",
        None if best["value"] == rows[0]["value"] else change,
        delta_color="off",
    )
    for column, row in zip(columns[1:], [row for row in rows if row["name"]], strict=False):
        column.metric(f"{label}, {plain(row['name'])}", f"{row['value']:{form}}")
    if accuracy:
        columns[3].metric(f"{label}, dense model", f"{rows[0]['facts']['dense']:{form}}")
    if best["value"] == rows[0]["value"]:
        st.caption("No setting tried so far is better than the published one.")
    elif accuracy:
        st.caption(
            "On the items kept for tuning, on which the best was chosen: the best of many looks better than it is. "
            "What counts is the comparison on the other items."
        )
    else:
        st.caption(
            "On the held-out text on which the best was chosen: the best of many looks better than it is, and an "
            "output error is not an accuracy. A search by accuracy compares on items of its own."
        )


def _use(spec: SuggestSpec, rows: list[dict[str, Any]], best: dict[str, Any], levels: tuple[int, ...]) -> None:
    """Takes a trial's setting over into the controls above."""
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
        on_click=settings.apply,
        args=(setting, levels),
        help="Sets the controls above to this trial, its sparsity and steps included. Undo takes it back.",
    )
    if pressed:
        st.rerun()  # the controls lie outside this fragment


def _named(spec: SuggestSpec, row: dict[str, Any], best: dict[str, Any]) -> str:
    name = f" ({row['name']})" if row["name"] else ""
    value = f"{row['value']:.2%}" if spec.judge == "accuracy" else f"{row['value']:.4%}"
    first = "best, trial" if row is best else "trial"
    return f"{first} {row['number']}{name} · {value} · {_in_words(row)}"


def _in_words(row: dict[str, Any]) -> str:
    return settings.discount_in_words(DiscountParams(**row["discount"]))


def _charts(spec: SuggestSpec, rows: list[dict[str, Any]], shares: dict[str, float]) -> None:
    accuracy = spec.judge == "accuracy"
    left, right = st.columns([3, 2])
    with left:
        chart(
            "Trials",
            "What each setting is worth, and the best so far. Lines: the published setting and no discount. "
            + ("Higher is better." if accuracy else "Lower is better."),
            _ACCURACY if accuracy else _ERROR,
            figures.history(
                [row["value"] for row in rows],
                [_in_words(row) for row in rows],
                {row["name"]: row["value"] for row in rows if row["name"]},
                "accuracy" if accuracy else "output error",
                accuracy,
                spec.trials,
            ),
            "suggest_history",
            _table(rows, "accuracy" if accuracy else "output error"),
        )
    with right:
        if not shares:
            heading("Importance of the parameters", "Which of them tell good trials from the rest.", _IMPORTANCE)
            st.caption("Told from eight trials on, where trials differ.")
            return
        named = {_title(name): share for name, share in shares.items()}
        chart(
            "Importance of the parameters",
            "How much each one's values in the best quarter of the trials differ from those in all.",
            _IMPORTANCE,
            figures.importances(named),
            "suggest_importance",
            pd.DataFrame({"parameter": list(named), "importance": list(named.values())}),
        )


def _table(rows: list[dict[str, Any]], measure: str) -> pd.DataFrame:
    """A row a trial: what it and the published setting are worth in per cent, every parameter, what else is known."""
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


def _comparison(found: dict[str, Any]) -> None:
    heading(
        "On items that no trial has seen",
        "Accuracy in points, first less other, on the same items. An interval that holds 0 shows no difference, which "
        "is not to say that there is none.",
        _DIFFERENCE,
    )
    accuracies = {row["model"]: row for row in found["accuracies"]}
    for column, (name, row) in zip(st.columns(4), accuracies.items(), strict=False):
        interval = f"95 %: {row['low']:.2%} to {row['high']:.2%}"
        column.metric(f"Accuracy, {plain(name)}", f"{row['value']:.2%}", help=interval)
    table = pd.DataFrame(
        [
            {
                "setting": row["setting"],
                "than": row["than"],
                "task": row["task"],
                **{
                    name: None if row[key] is None else 100 * row[key]
                    for name, key in (("points", "value"), ("low", "low"), ("high", "high"))
                },
                "items": row["n"],
                "p (Holm)": row.get("p_holm"),
                "in words": row["words"],
            }
            for row in sorted(found["differences"], key=lambda row: row["task"] != "average")
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        key="suggest_comparison",
        height=320,
        column_config={
            **{name: st.column_config.NumberColumn(name, format="%+.2f") for name in ("points", "low", "high")},
            "p (Holm)": st.column_config.NumberColumn(format="%.3g"),
        },
    )
    st.download_button(
        "CSV",
        lambda: table.to_csv(index=False),
        "suggest_comparison.csv",
        "text/csv",
        key="suggest_comparison_csv",
        icon=":material/download:",
    )
    for problem in found["problems"]:
        st.warning(plain(problem), icon=":material/cloud_off:")
