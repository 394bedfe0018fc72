"""Results of a sweep: the accuracies of every method, the cost of pruning, and the differences of settings, in a
sentence, a figure and numbers.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.evaluation import sweep_scores, sweep_tables
from analysis.evaluation.conditions import HELD_AGAINST
from analysis.evaluation.frontier import CACHE, COSTS
from analysis.evaluation.sweep_scores import Comparison, Setting
from analysis.exhibits.discount_levels import DiscountLevels, levels_of_sweep, pairs_along
from analysis.exhibits.sweeps import by_sparsity, difference_rows
from analysis.figures import sweep as figures
from analysis.figures.export import Exhibit
from analysis.figures.intervals import interval_rows
from analysis.findings import finding_of, sweeps
from analysis.findings.pruning_cost import difference_words
from analysis.pruned.report_file import plain_title
from analysis.specs import EvictionPoint, where
from analysis.statistics.decisions import POINTS, TOO_COARSE
from analysis.words import listed, percent
from pages.parts.charts import chart, kept, table
from pages.parts.controls import figures_beside, on_one_level, segments
from pages.parts.plain import plain
from pages.parts.study.choice import can_tell, say_discount, say_study

_ACCURACY = "Right answers, the mean over tasks and then over calibration seeds; the band spans the seeds."
THEORETICAL = ("bytes", "dense bytes", CACHE, f"dense {CACHE}")
"""Columns of points that are known by arithmetic."""
_NO_SHARES = {
    *("λ", "k", "seed", "dense ms", "speed beside dense", "seconds to prune", "seconds to score"),
    *COSTS,
    *(f"{name} (theoretical)" for name in THEORETICAL),
}
_WIDE = 700  # pixels of a text beside buttons, which breaks there instead of going beneath them
_accuracy = kept(figures.accuracy)


def draw_accuracies(settings: Sequence[Setting]) -> None:
    """Draw the accuracy of every setting: as a plot, or of evictions alone, which have no sparsity, as a table."""
    first = settings[0]
    waiting = sum(setting.planned - len(setting.seeds) for setting in settings)
    interim = f"Interim: {waiting} more runs of these settings are to come." if waiting else ""
    along = by_sparsity(settings)
    frame = pd.DataFrame([sweep_tables.setting_row(setting) for setting in settings])
    if not along:
        table(
            "Accuracy of every setting",
            f"Of {_items(first)}: means over seeds, and their lowest and highest.",
            frame.dropna(axis=1, how="all"),
            "sweep_accuracy",
            _ACCURACY,
            finding=_seeds_apart(along),
            hint=interim,
            shares=shares_of(frame),
            column_order=telling(frame),
        )
        return
    chart(
        Exhibit(
            "Accuracy against sparsity",
            f"Of {_items(first)}. A dot is the mean over calibration seeds, the band spans the seeds; it holds no "
            "noise of the items.",
            _accuracy(along, "sparsity", first.dense.value, first.chance),
            frame,
            formula=_ACCURACY,
            finding=_seeds_apart(along),
        ),
        "sweep_accuracy",
        hint=interim,
    )


def _items(setting: Setting) -> str:
    """Return how many items a setting answered, with the dense model's accuracy on them and chance."""
    count = sum(len(dense) for _, dense, _ in setting.tasks.values())
    chance = "" if setting.chance is None else f", chance {percent(setting.chance, 1)}"
    return f"{count:,} items (dense {percent(setting.dense.value, 1)}{chance})"


def _seeds_apart(along: Sequence[figures.Curve]) -> str:
    """Say where all seeds of one curve lie above those of every other."""
    x = sorted({float(at) for curve in along for at in curve.x})
    low, high, seeds = (np.full((len(along), len(x)), empty) for empty in (np.nan, np.nan, 0.0))
    for row, curve in enumerate(along):
        at = [x.index(float(place)) for place in curve.x]
        low[row, at], high[row, at], seeds[row, at] = curve.low, curve.high, curve.seeds
    return finding_of(
        "seeds apart", [curve.name for curve in along], [f"{percent(at, 0)}" for at in x], low, high, seeds
    )


def shares_of(frame: pd.DataFrame) -> list[str]:
    """Return the columns of a table that hold shares."""
    return [name for name in frame.select_dtypes("float").columns if name not in _NO_SHARES]


def telling(frame: pd.DataFrame) -> list[str]:
    """Return the columns of a table that are not the same in all rows; the file has the others too."""
    if len(frame) < 2:
        return list(frame.columns)
    return [name for name in frame.columns if name in ("accuracy", "seeds") or frame[name].nunique() > 1]


_DELTA = (
    "First minus second method on the same items, the mean over tasks and calibration seeds. Items of one cluster (a "
    "key, a passage) and runs of one seed are not independent, so the variance is that of both, crossed:\n\n"
    r"$$V = V_{seeds} + V_{clusters} - V_{seeds \times clusters}$$"
    "\n\nIn the interval the variance of the seeds and that of the clusters alone have a Student quantile each "
    "(Banerjee). Tests are adjusted by Holm over all differences shown. With one seed $V = V_{clusters}$."
)
_intervals = kept(interval_rows)


def draw_answer(
    compared: Sequence[Comparison],
    settings: Sequence[Setting],
    place: DeltaGenerator,
    offer: Callable[[Sequence[Comparison]], None],
    instead: Callable[[], None] | None = None,
    beside: DeltaGenerator | None = None,
) -> None:
    """Say what pruning costs and whether the discount changes that. place: where that stands. offer: draws what can be
    done about it. instead: draws another figure, where sparsity is not the only axis. beside: as of `say_cost`.
    """
    first = [comparison for comparison in compared if comparison.relation == sweeps.relations(compared)[0]]
    pairs = pairs_along([one for one in first if sweeps.is_discount(one)])
    if instead is None and pairs:
        _with_and_without(pairs, settings, compared, place, offer, beside)
        return
    with place:
        _say(first, settings)
        offer(first)
    if instead is not None:
        instead()
    elif first:
        _figure(first)
    else:
        draw_accuracies(settings)


def _with_and_without(
    pairs: Mapping[str, Sequence[Comparison]],
    settings: Sequence[Setting],
    compared: Sequence[Comparison],
    place: DeltaGenerator,
    offer: Callable[[Sequence[Comparison]], None],
    beside: DeltaGenerator | None,
) -> None:
    """Draw accuracies without and with the discount of one method, and say what they show. settings, compared: of all
    methods."""
    pair = pairs[segments("Discount", pairs, "sweep_pair")]
    told = levels_of_sweep(pair, settings, compared)
    explained = finding_of("largest difference", pair)[0].tested
    with place:
        say_cost(told, explained, beside=beside)
        found = {where(one.setting.pruning): one.difference for one in pair}
        if not can_tell(found):
            prunings = {where(one.setting.pruning): one.setting.pruning for one in pair}
            say_study(prunings, max(len(one.seeds) for one in pair))
    offer(pair)
    others = dict.fromkeys(
        plain_title(one.pruning.method) for one in settings if one.pruning.method not in told.methods
    )
    draw_levels(told, f"{listed(list(others))}: under More about this sweep." if others else "")


def draw_levels(told: DiscountLevels, hint: str = "") -> None:
    """Draw what the discount changes and, beside it, what else moves accuracy, or the accuracies. hint: beneath."""
    with on_one_level("sweep_levels"):
        changes, levels = figures_beside([1, 1], "sweep_levels")
    with changes:
        chart(told.changes, "sweep_changes")
    with levels:
        chart(told.moved or told.shown, "sweep_levels", hint)


def say_cost(
    told: DiscountLevels, explained: str = "", before: str = "", after: str = "", beside: DeltaGenerator | None = None
) -> None:
    """Say in the first line of the page whether the discount helps and what pruning costs, then, where that line leaves
    it out, the margin, what the published baseline shows, and what was pruned. before, after: what else is said of
    that. beside: the row of the buttons, where it stands, if that is not beneath."""
    said = finding_of("cost of pruning", told.losses, list(told.gained.values()), margin=told.margin)
    cost = "The cost is the dense model's accuracy minus that of pruning without the discount, on the same items."
    st.markdown(f"##### {plain(said)}", help=plain(f"{cost} {explained}"))
    held = " ".join(filter(None, (_numbers(told), told.against_published)))
    if held:
        st.markdown(plain(held))
    setup = " ".join(filter(None, (before, told.setup, after)))
    with st.container() if beside is None else beside:
        st.caption(plain(setup), width="stretch" if beside is None else _WIDE)


def _numbers(told: DiscountLevels) -> str:
    """Tell the differences, where the first line leaves them out."""
    if not told.no_help:
        return ""
    gained = {percent(at, 0): one for at, one in told.gained.items()}
    inside = {1: "", 2: "both "}.get(len(gained), "all ")
    return f"{difference_words(gained)}, {inside}inside the margin of ±{POINTS.margin(told.margin)} fixed beforehand."


def _say(first: Sequence[Comparison], settings: Sequence[Setting]) -> None:
    """Say what is compared, where that is not a discount along sparsities alone."""
    for said in finding_of("largest difference", first) if first else ():
        if said.discount:
            found = {name: one.difference for name, one in said.discount.items()}
            here = say_discount(found, {name: one.setting.pruning for name, one in said.discount.items()}, said.tested)
            if here:
                st.caption(plain(here))
            continue
        answer, _, numbers = said.told.partition(". ")
        st.markdown(f"##### {plain(answer)}.")
        st.markdown(plain(numbers), help=plain(said.tested))
    removing = [one for one in settings if not isinstance(one.pruning, EvictionPoint)]
    if not first and removing:
        own = [one for one in removing if one.label == removing[0].label]
        lost = {one.pruning.sparsity: sweep_scores.from_dense(one) for one in own}
        st.markdown(f"##### {plain(finding_of('cost of pruning', lost, (), f'{own[0].label}: pruning'))}")
    if not first:
        st.caption("Sweep a method with its control or its published baseline to see their difference here.")


def differences_in_numbers(compared: Sequence[Comparison], settings: Sequence[Setting]) -> None:
    """Draw the differences of one relation as a figure and a table, dose-responses, and every pair in a sentence."""
    if not compared:
        st.caption("Nothing was swept with its control or its published baseline.")
        return
    for response in sweep_scores.dose_responses(settings):
        st.markdown(plain(finding_of("dose-response", response)))
    _table(_compared(compared))
    for verdict in finding_of("pairs of methods", compared):
        st.markdown(plain(verdict.told), help=plain(verdict.tested))


def _compared(compared: Sequence[Comparison]) -> list[Comparison]:
    """Draw the differences of one relation. Return its comparisons."""
    relation = segments(
        "Compared with",
        sweeps.relations(compared),
        "sweep_base",
        format_func=HELD_AGAINST.__getitem__,
        help="The control differs in nothing but the discount. The published baseline differs in noise, order and "
        "norm as well.",
    )
    shown = [comparison for comparison in compared if comparison.relation == relation]
    pruned = [comparison for comparison in shown if not isinstance(comparison.setting.pruning, EvictionPoint)]
    if pruned:
        _figure(pruned)
    return shown


def _figure(compared: Sequence[Comparison]) -> None:
    family = compared[0].difference.tests
    floors = [_floor(setting) for setting in _controls(compared)]
    chart(
        Exhibit(
            "Differences of accuracy by sparsity",
            "Points of accuracy on the same items, with 95 % intervals. "
            f"Filled: significant after Holm correction over the {family} comparison{'s' if family > 1 else ''} of "
            "this sweep; hollow: not significant, which is not to say equal. "
            f"{sweeps.noise([comparison.difference for comparison in compared])} {' '.join(filter(None, floors))}",
            _intervals(difference_rows(compared), "difference of accuracy (points)", even=""),
            formula=_DELTA,
            finding=_in_words(compared),
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
    """Draw the differences of one relation, one row each."""
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
    """Say how far two seeds of one method differ; '' with one seed."""
    floor = sweep_scores.floor(setting)
    if floor is None:
        return ""
    return (
        f"Two calibration seeds of {setting.label} at {percent(setting.pruning.sparsity)} differ by "
        f"{100 * floor.typical:.2f} points typically, by {100 * floor.largest:.2f} at most ({floor.seeds} seeds)."
    )
