"""Results of a search of the discount: its numbers, trials, parameter importances, and final comparison."""

from typing import Any

import pandas as pd
import streamlit as st

from analysis.figures import suggestion as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.jobs.summaries import SearchFloor, Trial
from analysis.specs import OBJECTIVES, DiscountParams, SuggestSpec
from analysis.words import percent
from pages.parts.charts import as_read, chart, download_buttons, heading
from pages.parts.plain import plain
from pages.parts.tuning import settings

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
        points = f"{100 * (value - none['value']):+.{decimals}f} points".replace("-", "−")
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
        on_click=settings.apply,
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
    return settings.discount_in_words(DiscountParams(**row["discount"]))


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
        named = {settings.parameter_title(name): share for name, share in shares.items()}
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
