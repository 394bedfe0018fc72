"""The numbers of an evaluation: accuracies, paired differences, how both came about item by item, and perplexities."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.evaluation import curves, tables
from analysis.evaluation import results as evaluations
from analysis.evaluation.results import AVERAGE, Results
from analysis.figures import accuracy as figures
from pages.parts.charts import chart, table
from pages.parts.plain import plain

_DIFFERENCE = (
    "Over the items both models have answered, $d_i$ = 1 where the first alone is right, −1 where the other is:\n\n"
    r"$$\bar d \pm t_{n-1}\, s_d / \sqrt{n}$$"
)
_TESTS = (
    f"{_DIFFERENCE}\n\n$p$: exact McNemar test on the items that one of the two alone has right, adjusted over the "
    "tasks by Holm. Averages weigh tasks equally and have an interval alone."
)
_ACCURACY = r"Right answers of the first $n$ items of the shuffle, $\hat p$, with Wilson's 95 % interval."
_AVERAGE = r"The mean of the tasks' accuracies after $n$ items of each, with its 95 % normal interval."


def accuracies(found: Results) -> None:
    """What is known at a glance, and the running accuracy of a task."""
    final = evaluations.all_final(found, AVERAGE)
    done = sum(len(evaluations.scores(found, one.name, model)[0]) for one in found.accuracies
               for model in range(len(found.names)))  # fmt: skip
    planned = len(found.names) * sum(one.planned for one in found.accuracies)
    table(
        "Accuracy" if final else "Accuracy so far (interim)",
        "Right answers in percent, with the 95 % interval in brackets. "
        + (
            _settings(found, AVERAGE) if final else f"{done:,} of {planned:,} answers are in; tests come with the last."
        ),
        pd.DataFrame(tables.accuracy_grid(found)),
        "accuracy_grid",
        "One task: Wilson's interval. The average weighs tasks equally; its interval is normal.",
    )


def differences(found: Results) -> None:
    """Who is better than whom, in words, as dots with intervals, and as running curves."""
    control = found.control
    base = "dense"
    if control:
        names = {"dense": found.names[0], "control": found.names[control]}
        base = st.segmented_control(
            "Compared with", list(names), default="dense", required=True, key="accuracy_base", bind="query-params",
            format_func=lambda name: plain(names[name]),
            help="The control differs from the sink-aware method in nothing but the discount of the sinks.",
        )  # fmt: skip
    other = control if base == "control" and control else 0
    pairs = [pair for pair in evaluations.pairs(found) if pair[1] == other]
    if not pairs:
        return
    name = found.names[other]
    st.markdown("\n".join(f"- {plain(sentence)}" for sentence in tables.verdicts(found, pairs)))
    rows = tables.difference_table(found, pairs)
    colors = {found.names[model]: figures.color_of(model) for model, _ in pairs}
    chart(
        f"Difference to {name}",
        "Accuracy less that of the other model on the same items, with its 95 % interval. A full dot: a difference is "
        "shown, also after adjusting for the number of tasks. A hollow one: none is shown, which is not to say that "
        "there is none.",
        _TESTS,
        figures.whiskers([_whisker(row) for row in rows], colors, f"points, model − {found.names[other]}"),
        "accuracy_whiskers",
        pd.DataFrame(rows),
    )
    titles = {AVERAGE: "Average over tasks"} if len(found.accuracies) > 1 else {}
    titles |= {benchmark.name: benchmark.title for benchmark in found.accuracies}
    task = st.selectbox(
        "Task", list(titles), format_func=titles.get, key="accuracy_task", bind="query-params", width=320
    )
    st.caption(_settings(found, task) + ("" if evaluations.all_final(found, task) else "  ·  **interim**"))
    left, right = st.columns(2)
    with left:
        _running_accuracy(found, task, titles[task])
    with right:
        chart(
            f"Running difference to {name}: {titles[task]}",
            "The paired difference as the items came in. Where the band holds 0, none is shown.",
            _DIFFERENCE,
            figures.running(
                curves.difference_curves(found, task, pairs), [figures.color_of(pair[0]) for pair in pairs],
                "points", difference=True,
            ),
            "accuracy_differences",
        )  # fmt: skip


def _running_accuracy(found: Results, task: str, title: str) -> None:
    chart(
        f"Running accuracy: {title}",
        "Right answers over the items done, in the order of the shuffle, with 95 % bands.",
        _AVERAGE if task == AVERAGE else _ACCURACY,
        figures.running(
            curves.accuracy_curves(found, task), [figures.color_of(m) for m in range(len(found.names))], "accuracy"
        ),
        "accuracy_curves",
        pd.DataFrame(tables.accuracy_table(found)),
    )


def _whisker(row: dict) -> figures.Whisker:
    told = f"{row['points']:+.1f} points [{row['low']:+.1f}, {row['high']:+.1f}] on {row['items']:,} items"
    p = row.get("p (Holm)")
    return figures.Whisker(
        row["task"], row["model"], row["points"], row["low"], row["high"],
        clear=row["in words"] in ("better", "worse", tables.CLEAR),
        hover=f"{row['model']}, {row['task']}<br>{told}<br>{row['in words']}"
        + (f", p = {p:.3g} (Holm)" if p is not None and np.isfinite(p) else ""),
    )  # fmt: skip


def _settings(found: Results, task: str) -> str:
    chosen = found.accuracies if task == AVERAGE else [found.benchmark(task)]
    parts = []
    for label, name in (("draws", "draws"), ("examples", "shots"), ("guidance", "guidance")):
        kinds = sorted({getattr(one, name) for one in chosen})
        parts.append(f"{', '.join(f'{kind:g}' for kind in kinds)} {label}")
    return " · ".join([f"{sum(one.planned for one in chosen):,} items", *parts])


def perplexity(found: Results, name: str) -> None:
    """The perplexity of every model on a text."""
    benchmark = found.benchmark(name)
    table(
        f"Perplexity: {benchmark.title}",
        "From the evidence lower bound (ELBO) of a diffusion model, so it is an upper bound on its perplexity; an "
        "autoregressive model's is exact. "
        f"{benchmark.draws} draws a window, over the texts that every model has read.",
        pd.DataFrame(tables.perplexities(found, name)),
        f"perplexity_{name}",
    )
