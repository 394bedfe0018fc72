"""What settings of a sweep differ by: the finding, one figure and one table of what they are compared with."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.evaluation import dose, sweep_scores, sweep_tables
from analysis.evaluation.conditions import HELD_AGAINST
from analysis.evaluation.sweep_scores import Comparison, Setting
from analysis.exhibits import sweep_axes
from analysis.figures import sweep as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of, sweeps
from analysis.specs import EvictionPoint
from analysis.statistics.decisions import TOO_COARSE, percent
from pages.parts.accuracy.levels import levels
from pages.parts.charts import chart, kept, table
from pages.parts.plain import plain
from pages.parts.side import figures_beside
from pages.parts.study.choice import say_discount

_DELTA = (
    "First minus second method on the same items, the mean over tasks and calibration seeds. Items of one cluster (a "
    "key, a passage) and runs of one seed are not independent, so the variance is that of both, crossed:\n\n"
    r"$$V = V_{seeds} + V_{clusters} - V_{seeds \times clusters}$$"
    "\n\nIn the interval the variance of the seeds and that of the clusters alone have a Student quantile each "
    "(Banerjee). Tests are adjusted by Holm over all differences shown. With one seed $V = V_{clusters}$."
)
_deltas = kept(figures.deltas)


def draw_differences(
    compared: Sequence[Comparison],
    family: int,
    settings: Sequence[Setting],
    place: DeltaGenerator,
    offer: Callable[[Sequence[Comparison]], None],
    instead: Callable[[], None] | None = None,
) -> Callable[[], None]:
    """Draw the answer and one figure of what settings are compared with. Return what draws the table of it. place:
    where both are to stand. offer: draws what can be done about the answer, beneath it. instead: draws another figure,
    where sparsity is not the only axis; that of the differences then stands with the table.
    """
    if not compared:
        with place:
            st.caption("Sweep a method with its control or its published baseline to see their difference here.")
            if instead is not None:
                instead()
        return lambda: None
    held = sweeps.relations(compared)
    with place:
        first = [comparison for comparison in compared if comparison.relation == held[0]]
        told: Mapping[str, Comparison] = {}
        for said in finding_of("largest difference", first):
            if said.discount:
                found = {name: one.difference for name, one in said.discount.items()}
                prunings = {name: one.setting.pruning for name, one in said.discount.items()}
                say_discount(found, prunings, explained=said.tested)
                told = said.discount
                continue
            answer, _, numbers = said.told.partition(". ")
            st.markdown(f"##### {plain(answer)}.")
            st.markdown(plain(numbers), help=plain(said.tested))
        offer(first)
        if instead is not None:
            instead()
        elif told:
            left, right = figures_beside(2, "sweep_answer")
            with left:
                shown = _compared(compared, held, family)
            with right:
                levels(sweep_tables.level_rows(told), "sweep_levels")
        else:
            shown = _compared(compared, held, family)

    def more() -> None:
        for response in dose.dose_responses(settings):
            st.markdown(plain(finding_of("dose-response", response)))
        _table(shown if instead is None else _compared(compared, held, family))
        for verdict in finding_of("pairs of methods", compared):
            st.markdown(plain(verdict.told), help=plain(verdict.tested))

    return more


def _compared(compared: Sequence[Comparison], held: Sequence[str], family: int) -> list[Comparison]:
    """Draw the differences of one relation. Return its comparisons."""
    relation = held[0]
    if len(held) > 1:
        relation = st.segmented_control(
            "Compared with",
            held,
            default=held[0],
            required=True,
            key="sweep_base",
            bind="query-params",
            format_func=HELD_AGAINST.__getitem__,
            help="The control differs in nothing but the discount. The published baseline differs in noise, order and "
            "norm as well.",
        )
    shown = [comparison for comparison in compared if comparison.relation == relation]
    pruned = [comparison for comparison in shown if not isinstance(comparison.setting.pruning, EvictionPoint)]
    if pruned:
        _figure(pruned, family)
    return shown


def _figure(compared: Sequence[Comparison], family: int) -> None:
    floors = [_floor(setting) for setting in _controls(compared)]
    chart(
        Exhibit(
            "Differences of accuracy by sparsity",
            "Points of accuracy on the same items, with 95 % intervals. "
            f"Filled: significant after Holm correction over the {family} comparison{'s' if family > 1 else ''} of "
            "this sweep; hollow: not significant, which is not to say equal. "
            f"{sweeps.noise([comparison.difference for comparison in compared])} {' '.join(filter(None, floors))}",
            _deltas(sweep_axes.differences_along(compared)),
            formula=_DELTA,
            finding="" if compared[0].relation == "control" else _in_words(compared),  # which the first line says
        ),
        "sweep_deltas",
    )


def _in_words(compared: Sequence[Comparison]) -> str:
    told: str = finding_of(
        "sweep differences",
        100 * np.array([(one.difference.value, one.difference.low, one.difference.high) for one in compared]),
        [comparison.shown for comparison in compared],
        f"the {HELD_AGAINST[compared[0].relation]}",
    )
    return told


def _table(compared: Sequence[Comparison]) -> None:
    """The differences of one relation, a row each."""
    rows = [sweep_tables.comparison_row(comparison) for comparison in compared]
    methods = [comparison.setting.label for comparison in compared]
    sizes = [comparison.difference.detectable() for comparison in compared]
    frame = pd.DataFrame(
        {
            **({"method": methods} if len(set(methods)) > 1 else {}),
            "sparsity": [row["sparsity"] for row in rows],
            "difference": [100 * row["difference"] for row in rows],
            "low": [100 * row["low"] for row in rows],
            "high": [100 * row["high"] for row in rows],
            "compared with": [comparison.other.label for comparison in compared],
            "p (Holm)": [row["p (Holm)"] for row in rows],
            "conclusion": [row["verdict"] for row in rows],
            "detectable": [100 * size if size < TOO_COARSE else None for size in sizes],
            **{name: [row[name] for row in rows] for name in ("seeds", "items")},
            "groups of like items": [row["clusters"] for row in rows],
        }
    ).dropna(axis=1, how="all")
    table(
        "Differences" if len(set(methods)) > 1 else f"Differences of {methods[0]}",
        "Points of accuracy with 95 % intervals. Detectable: the true difference that would have been "
        f"significant with 80 % probability, left empty from {100 * TOO_COARSE:.0f} points on.",
        frame,
        "sweep_differences",
        _DELTA,
        shares=("sparsity",),
    )


def _controls(compared: Sequence[Comparison]) -> list[Setting]:
    controls = {comparison.other.name: comparison.other for comparison in compared if comparison.relation == "control"}
    return list(controls.values())


def _floor(setting: Setting) -> str:
    """What two seeds of one method differ by, in a sentence; nothing where there is one seed."""
    floor = sweep_scores.floor(setting)
    if floor is None:
        return ""
    return (
        f"Two calibration seeds of {setting.label} at {percent(setting.pruning.sparsity)} differ by "
        f"{100 * floor.typical:.2f} points typically, by {100 * floor.largest:.2f} at most ({floor.seeds} seeds)."
    )
