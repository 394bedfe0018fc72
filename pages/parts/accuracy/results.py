"""The numbers of an evaluation: accuracies, paired differences, how both came about item by item, and perplexities."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from analysis.evaluation import comparing, conditions, curves, tables
from analysis.evaluation import results as evaluations
from analysis.evaluation.comparing import Pair
from analysis.evaluation.items_file import EvaluatedBenchmark
from analysis.evaluation.results import AVERAGE, Results, chance_level, once
from analysis.exhibits.with_discount import accuracy_by_role, differences_over_seeds
from analysis.figures import accuracy as figures
from analysis.figures.export import Exhibit
from analysis.figures.intervals import interval_rows, way
from analysis.figures.style import colors_by_method
from analysis.findings import finding_of
from analysis.specs import CANVAS_SCORES, NO_MASKED_ESTIMATE
from analysis.statistics import clustered
from analysis.statistics.differences import SHOWN
from analysis.words import percent
from pages.parts.charts import chart, exhibit_text, table
from pages.parts.controls import pick, segments
from pages.parts.plain import plain

_DIFFERENCE = (
    "Over the items both models have answered, in $G$ clusters of items that belong together, $d_i$ = 1 where the "
    "first alone is right, −1 where the other is:\n\n"
    r"$$\bar d \pm t_{G-1} \frac{1}{n} \sqrt{\frac{G}{G-1} \sum_g \Big(\sum_{i \in g} (d_i - \bar d)\Big)^2}$$"
    "\n\ncut at −1 and 1. The average weighs tasks equally; its variance is the sum of theirs."
)
_TESTS = (
    f"{_DIFFERENCE}\n\n$p$: the t-test that goes with the interval, and where fewer than {clustered.FEW} clusters "
    "differ the larger of it and the test that flips the signs of clusters; where each item is its own cluster, the "
    "exact McNemar test. All adjusted by Holm together."
)
_BASE, _CHOSEN = "accuracy_base", "chosen"
_BASES = {comparing.DENSE: "dense model", **conditions.RELATIONS, _CHOSEN: "pairs of my choice"}
_SEEDS = (
    "Seeds $s$ and clusters $g$ are crossed, and each part of the variance is multiplied with its own Student quantile:"
    "\n\n"
    r"$$\bar d \pm \sqrt{t_{S-1}^2 V_{seeds} + t_{G-tasks}^2 (V_{clusters} - V_{seeds \times clusters})}$$"
    "\n\nwith $V_{seeds}$ from the averages of the seeds and $V_{clusters}$ clustered, from the means over seeds."
)
_STEPS = (
    f"{_DIFFERENCE}\n\nEach step is the paired difference of two models on the same items, so the steps add up to the "
    "whole. Its interval is over clusters of items alone."
)
_ACCURACY = (
    r"Right answers of the first $n$ items of the shuffle, $\hat p$, with Wilson's 95 % interval at as many items as "
    "tell as much where none share a cluster."
)
_AVERAGE = r"The mean of the tasks' accuracies after $n$ items of each, with its clustered 95 % interval."
_GRID = "accuracy_grid"
_FEW_PAIRS = 2  # of which each has its sentence on the page


def accuracies(results: Results) -> None:
    """Draw accuracies task by task: by role where runs of one setting stand beside their controls, else by model."""
    title, sentence, explained, hint = _titles(results)
    rows = _roles(results) or tables.accuracy_grid(results)
    table(title, sentence, pd.DataFrame(rows), _GRID, explained, hint=hint)


def every_model(results: Results) -> None:
    """Draw the accuracy of every model on every task, where `accuracies` takes those of several seeds together."""
    if _roles(results):
        title, sentence, explained, _ = _titles(results)
        rows = pd.DataFrame(tables.accuracy_grid(results))
        table(f"{title} of every model", sentence, rows, "accuracy_models", explained)


@once
def _roles(results: Results) -> list[dict[str, str]]:
    """Return the rows by role; none where every model has a row of its own."""
    pairs = comparing.related_pairs(results)["control"]
    if len(pairs) < 2 or not comparing.is_one_setting(results, pairs):
        return []
    return [{name: cell for name, cell in row.items() if name != "run"} for row in tables.role_table(results)]


@once
def _titles(results: Results) -> tuple[str, str, str, str]:
    """Return what `heading` takes above the accuracies; while answers come in it says how many are there."""
    final = comparing.all_final(results, AVERAGE)
    done = sum(
        len(evaluations.scores(results, benchmark.name, model)[0])
        for benchmark in results.accuracies
        for model in range(len(results.names))
    )
    planned = len(results.names) * results.planned
    return (
        "Accuracy" if final else "Accuracy so far (interim)",
        f"Right answers in percent of {_items(results.accuracies)}, with the 95 % interval in brackets. "
        f"{_settings(results, AVERAGE)}",
        "One task: Wilson's interval, at as many items as tell as much where none share a cluster. The average weighs "
        f"tasks equally; its variance is the sum of theirs.{_clusters(results)}",
        "" if final else f"{done:,} of {planned:,} answers are in; tests come with the last.",
    )


class Compared(NamedTuple):
    """Compared pairs, and a name for the second of each."""

    pairs: list[Pair]
    name: str


def at_a_glance(results: Results) -> Compared:
    """Draw the baseline, and who is better than whom, in words and as dots with intervals."""
    base, pairs = _pairs(results)
    others = {results.names[other] for _, other in pairs}
    name = others.pop() if len(others) == 1 else "the other model" if base == _CHOSEN else f"the {_BASES[base]}"
    if pairs:
        _verdicts(results, pairs, base, name)
    return Compared(pairs, name)


def in_brief(results: Results) -> None:
    """Draw who is better than whom in words, and the average accuracies: narrow, for a column among others."""
    if not results.accuracies:
        return
    related = comparing.related_pairs(results)
    pairs = related.get("control") or related[comparing.DENSE]
    if pairs:
        st.markdown(_in_words(results, pairs))
    title, _, explained, hint = _titles(results)
    exhibit = accuracy_by_role(results, title)
    chart(replace(exhibit, formula=explained), _GRID, hint=hint)


def differences(results: Results, compared: Compared) -> None:
    """Draw every model and what its seeds make together, the conditions, and how differences came about: step by step,
    and as running curves; each in a fold."""
    pairs, name = compared
    if _roles(results) or tables.seed_table(results, pairs):
        with st.expander("Every model and seed", key="fold_accuracy_models"):
            every_model(results)
            _over_seeds(results, pairs)
    _conditions(results)
    came = any(name in st.query_params for name in ("accuracy_task", "accuracy_steps"))
    with st.expander("As the items came in", key="fold_accuracy_running", expanded=came):
        _running_curves(results, pairs, name)


def _running_curves(results: Results, pairs: list[Pair], name: str) -> None:
    titles = {AVERAGE: "Average over tasks"} if len(results.accuracies) > 1 else {}
    titles |= results.titles
    task = pick("Task", titles, "accuracy_task", format_func=titles.__getitem__, width=320)
    st.caption(_settings(results, task) + ("" if comparing.all_final(results, task) else "  ·  **interim**"))
    _step_by_step(results, task, titles[task])
    left, right = st.columns(2)
    with left:
        chart(_running_accuracy(results, task, titles[task]), "accuracy_curves")
    if pairs:
        with right:
            chart(_running_differences(results, pairs, name, task, titles[task]), "accuracy_differences")


@once
def _running_differences(results: Results, pairs: list[Pair], name: str, task: str, title: str) -> Exhibit:
    return Exhibit(
        f"Running difference to {name}: {title}",
        "The paired difference as items came in with its 95 % band, one panel per model, the others faint behind it.",
        figures.running(
            curves.difference_curves(results, task, pairs),
            [_colors(results)[model] for model, _ in pairs],
            "points",
            difference=True,
        ),
        formula=_DIFFERENCE,
        finding=_on_task(results, pairs, task),
    )


def _verdicts(results: Results, pairs: list[Pair], base: str, name: str) -> None:
    """Draw what accuracy does in a sentence, and one figure of the differences: of one setting over its calibration
    seeds, task by task; of others pair by pair."""
    one = comparing.is_one_setting(results, pairs)
    if one:
        said, told = _change(results, pairs, "" if base == "control" else name)
        exhibit_text(said, told, "", "accuracy_answer")
        st.markdown(f"##### {plain(said)}")
        st.caption(plain(told), help=_in_words(results, pairs))
    elif len(pairs) <= _FEW_PAIRS:
        st.markdown(_in_words(results, pairs))
    else:
        with st.expander(f"The {len(pairs)} differences in words", key="fold_accuracy_words"):
            st.markdown(_in_words(results, pairs))
    if one and len(pairs) > 1 and base == "control":
        chart(differences_over_seeds(results, pairs), "accuracy_whiskers")
    else:
        chart(_each_pair(results, pairs, name), "accuracy_whiskers")


@once
def _change(results: Results, pairs: list[Pair], other: str) -> tuple[str, str]:
    """Return what accuracy does over the calibration seeds of one setting, and how sure that is."""
    settings = [results.runs[first].settings for first, _ in pairs]
    sparsities = {float(each["sparsity"]) for each in settings if each.get("sparsity") is not None}
    name = f"{percent(sparsities.pop(), 0)} sparsity" if len(sparsities) == 1 else ""
    return finding_of("change of accuracy", comparing.at_settings(results, dict.fromkeys(pairs, name)), other)


@once
def _in_words(results: Results, pairs: Sequence[Pair]) -> str:
    return "\n\n".join(plain(sentence) for sentence in finding_of("pairs of models", results, pairs))


@once
def _each_pair(results: Results, pairs: list[Pair], name: str) -> Exhibit:
    rows = tables.difference_table(results, pairs)
    several = len({other for _, other in pairs}) > 1
    labels = {pair: _pair_label(results, pair) if several else results.names[pair[0]] for pair in pairs}
    named = {(results.names[first], results.names[other]): labels[first, other] for first, other in pairs}
    labelled = [named[row["model"], row["than"]] for row in rows]
    significant = [row["in words"] in SHOWN for row in rows]
    colors = {labels[pair]: _colors(results)[pair[0]] for pair in pairs}
    return Exhibit(
        f"Difference to {name}",
        "Accuracy minus that of the other model on the same items, with its 95 % interval; hollow: not significant "
        "after Holm correction. Not significant is not to say equal. "
        f"{finding_of('tests of an evaluation', results, pairs)} An interval is of one difference alone, so it can lie "
        "beside 0 where the dot is hollow.",
        interval_rows(
            figures.difference_rows(rows, labelled, significant, colors), "difference (points)", even="no difference"
        ),
        pd.DataFrame(rows).rename(columns=tables.READ_AS),
        formula=_TESTS,
        finding=_by_task(rows, several),
    )


def _over_seeds(results: Results, pairs: list[Pair]) -> None:
    over_seeds = pd.DataFrame(tables.seed_table(results, pairs)).rename(columns=tables.READ_AS)
    if len(over_seeds):
        table(
            "Over calibration seeds",
            "Average difference of pairs that differ in nothing but their calibration seed, taken together. Its "
            "interval holds both sources of noise, the seeds and the clusters of items.",
            over_seeds,
            "accuracy_over_seeds",
            _SEEDS,
            column_order=[name for name in over_seeds if not str(name).startswith("standard error")],
        )


def _by_task(rows: Sequence[Mapping[str, Any]], several: bool) -> str:
    """Return which differences are significant: of single tasks, where there are several; the average is no task.
    several: whether models are compared with several others."""
    averages = [row for row in rows if row["task"] == tables.MEAN]
    counted = [row for row in rows if row["task"] != tables.MEAN] if len(rows) > len(averages) else averages
    one = len({row["model"] for row in counted}) == 1
    return finding_of(
        "differences",
        [row["task"] if one else f"{_who(row, several)} on {row['task']}" for row in counted],
        np.array([[row[end] for end in ("points", "low", "high")] for row in counted]),
        [row["in words"] in SHOWN for row in counted],
        what="task difference" if len(rows) > len(averages) else "difference",
    )


def _who(row: Mapping[str, Any], several: bool) -> str:
    return f"{row['model']} − {row['than']}" if several else str(row["model"])


def _on_task(results: Results, pairs: list[Pair], task: str) -> str:
    """Say which pairs differ on a task or on average, by the p adjusted over all of them."""
    family = comparing.family_with(results, pairs)
    found = [comparing.overall(family[pair]) if task == AVERAGE else family[pair][task] for pair in pairs]
    return finding_of(
        "differences",
        [_pair_label(results, pair) for pair in pairs],
        np.array([[100 * getattr(difference, end) for end in ("value", "low", "high")] for difference in found]),
        [difference.shown for difference in found],
    )


def _pair_label(results: Results, pair: Pair) -> str:
    return f"{results.names[pair[0]]} − {results.names[pair[1]]}"


def _pairs(results: Results) -> tuple[str, list[Pair]]:
    """Draw the choice of a baseline. Return it with its pairs of models. Names runs without a counterpart."""
    related = comparing.related_pairs(results)
    without = {base: comparing.missing(results, base) for base in related if base != comparing.DENSE}
    offered = [base for base in related if base == comparing.DENSE or related[base] or without[base]]
    if len(results.names) > 2:
        offered.append(_CHOSEN)
    names = {**_BASES, comparing.DENSE: results.names[0]}
    if st.query_params.get(_BASE) in results.names[1:]:  # an address that names the control itself
        del st.query_params[_BASE]
        st.session_state[_BASE] = "control"
    base = segments(
        "Compared with",
        offered,
        _BASE,
        default="control" if related["control"] else comparing.DENSE,
        format_func=lambda name: plain(names[name]),
        help="Control: the run that differs from a sink-aware one in nothing but the discount of the sinks. "
        "Published baseline: the method it was published against, which differs in noise, order and norm as well. "
        "Both are found in the runs' reports: model, text, seed, sparsity, precision, device and all else are "
        "equal.",
    )
    if base == _CHOSEN:
        return base, _chosen_pairs(results, related)
    for sentence in without.get(base, ()):
        st.caption(f":material/link_off: {plain(sentence)}")
    return base, related[base]


def _chosen_pairs(results: Results, related: dict[str, list[Pair]]) -> list[Pair]:
    """Draw the choice of any two models as pairs; preset are the controls and the published baselines."""
    pairs = {_pair_label(results, pair): pair for pair in combinations(reversed(range(len(results.names))), 2)}
    likely = [pair for relation in conditions.RELATIONS for pair in related[relation]] or related[comparing.DENSE]
    # A run before its control is compared in that order.
    pairs |= {_pair_label(results, pair): pair for pair in likely}
    chosen = st.multiselect(
        "Pairs",
        list(pairs),
        default=list(dict.fromkeys(_pair_label(results, pair) for pair in likely)),
        key="accuracy_pairs",
        bind="query-params",
        help="Differences of any two models, the first less the second. They join the family of tests.",
    )
    return [pairs[label] for label in chosen]


def _step_by_step(results: Results, task: str, title: str) -> None:
    """Draw the way from the dense model to a sink-aware run, one change at a time."""
    runs = comparing.decomposed(results)
    if not runs:
        return
    names = {results.names[model]: model for model in runs}
    chosen = next(iter(names))
    if len(names) > 1:
        chosen = pick("Step by step to", names, "accuracy_steps", width=480)
    exhibit = _steps_to(results, chosen, names[chosen], task, title)
    if exhibit is not None:
        chart(exhibit, "accuracy_steps_figure")


@once
def _steps_to(results: Results, name: str, model: int, task: str, title: str) -> Exhibit | None:
    """Return the way to one run; None where a step has no items yet."""
    rows = comparing.stages(results, model, task)
    if not all(row.difference.n for row in rows):
        return None
    final = all(row.difference.final for row in rows)
    titles, shown = [row.title for row in rows], [row.difference.shown for row in rows]
    points = np.array([[100 * getattr(row.difference, end) for end in ("value", "low", "high")] for row in rows])
    return Exhibit(
        f"From {results.names[0]} to {name}, step by step: {title}",
        "Each row is what one step changes in accuracy, the last the whole way, with the 95 % interval of that paired "
        "difference, over items alone: the noise of the calibration seed is not in it."
        + ("" if final else " Interim: until all items are in, the steps need not add up."),
        way(titles, points, "change of accuracy (points)"),
        pd.DataFrame(
            {
                "step": row.title,
                "model": results.names[row.pair[0]],
                "than": results.names[row.pair[1]],
                "points": 100 * row.difference.value,
                "low": 100 * row.difference.low,
                "high": 100 * row.difference.high,
                "items": row.difference.n,
            }
            for row in rows
        ).rename(columns=tables.READ_AS),
        formula=_STEPS,
        finding=finding_of("differences", titles, points, shown, what="step"),
    )


def _conditions(results: Results) -> None:
    """Draw the conditions in which the models differ, in a fold."""
    rows = comparing.differing_settings(results)
    if rows:
        with st.expander("Conditions that differ", key="fold_conditions"):
            table(
                "Conditions that differ",
                "Of pruning and scoring. All others are the same. A blank is not read by that model.",
                pd.DataFrame(rows),
                "accuracy_conditions",
            )


@once
def _running_accuracy(results: Results, task: str, title: str) -> Exhibit:
    running, chance = curves.accuracy_curves(results, task), chance_level(results, task)
    begun = [curve for curve in running if len(curve.items)]
    return Exhibit(
        f"Running accuracy: {title}",
        "Right answers over the items done, in the order of the shuffle, one panel per model with its 95 % band, the "
        "others faint behind it. Dotted: choosing at random.",
        figures.running(running, _colors(results), "accuracy", chance=chance),
        pd.DataFrame(tables.accuracy_table(results)),
        formula=_AVERAGE if task == AVERAGE else _ACCURACY,
        finding=finding_of(
            "above chance",
            [curve.name for curve in begun],
            np.array([curve.low[-1] for curve in begun]),
            np.array([curve.mean[-1] for curve in begun]),
            chance,
            not comparing.all_final(results, task),
        ),
    )


def _colors(results: Results) -> list[str]:
    """Return the colour of each model, by its pruning."""
    return colors_by_method(
        [run.settings.get("method", "" if number else "dense") for number, run in enumerate(results.runs)]
    )


@once
def _settings(results: Results, task: str) -> str:
    chosen = results.accuracies if task == AVERAGE else [results.benchmark(task)]
    parts = []
    stated = all(benchmark.draws for benchmark in chosen)  # of answers that were made elsewhere nothing says guidance
    by = [tables.estimated_by(results, benchmark.name) for benchmark in chosen]
    parts += sorted(set(by) - {""})
    for label, name in (("examples", "shots"), ("guidance", "guidance")):
        if stated or name == "shots":
            kinds = sorted({getattr(benchmark, name) for benchmark in chosen})
            parts.append(f"{', '.join(f'{kind:g}' for kind in kinds)} {label}")
    return " · ".join([_items(chosen), *parts])


def _items(chosen: Sequence[EvaluatedBenchmark]) -> str:
    return f"{sum(benchmark.planned for benchmark in chosen):,} items"


def _clusters(results: Results) -> str:
    """Say how many clusters the items make, where some belong together; else ''."""
    if not any(benchmark.cluster for benchmark in results.accuracies):
        return ""
    count = sum(len(np.unique(results.clusters[benchmark.name])) for benchmark in results.accuracies)
    return f" Items that belong together, such as those on one passage, count as one cluster: {count:,} clusters."


def scores_of(results: Results) -> str:
    """Return what likelihoods of models whose noise is random tokens are, or ''."""
    kinds = dict.fromkeys(model.likelihood for model in results.header.models if model.likelihood in CANVAS_SCORES)
    return " ".join([*(CANVAS_SCORES[kind].sentence for kind in kinds), NO_MASKED_ESTIMATE]) if kinds else ""


def perplexity(results: Results, name: str) -> None:
    """Draw the perplexity of every model on a text."""
    benchmark = results.benchmark(name)
    table(
        f"Perplexity: {benchmark.title}",
        (
            scores_of(results)
            or "From the evidence lower bound (ELBO) of a diffusion model, so it is an upper bound on its perplexity; "
            "an autoregressive model's is exact."
        )
        + " "
        + (f"By window: {by}. " if (by := tables.estimated_by(results, name)) else "")
        + "Over the texts that every model has read.",
        pd.DataFrame(tables.perplexities(results, name)),
        f"perplexity_{name}",
    )
