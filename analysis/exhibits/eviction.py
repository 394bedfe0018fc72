"""The figures and tables of an eviction over prompts, for the page and the command line alike. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.ablation_effects import effect_of, shown
from analysis.evaluation.eviction_effects import MEASURES, NUMBERS, mean_of
from analysis.figures.export import Exhibit
from analysis.figures.frontier import Points, Saving, frontier
from analysis.figures.intervals import difference_row, interval_rows
from analysis.findings import finding_of
from analysis.findings.evictions import Summary
from analysis.specs import POLICIES
from analysis.statistics.decisions import NATS, POINTS
from analysis.words import percent

METHOD = (
    "Every prompt is denoised with everything kept and under every policy and budget. Predictions are compared on the "
    "inputs of the full run; texts are those that each policy writes by itself (ROUGE-L on token ids). A budget is a "
    "share of the positions that a layer can see, the same in every layer. Where finished text is cached, the first "
    "forward of a block sees all that is there, the policy decides by its attention, and what goes does not come back "
    "(behind the cache of Fast-dLLM, until the next whole forward). Where every forward is whole, keys are hidden "
    "from queries, chosen by an untouched forward of the same input: this shows what a policy could keep, and saves "
    "no time. Points: means over prompts with their 95 % intervals, clustered by template or key; differences are "
    "filled where the interval excludes 0 and p, Holm-corrected over all effects drawn, is below 0.05. Random "
    "positions of the same state: "
    f"{POLICIES['random'].help}"
)


def conditions(summary: Summary) -> str:
    """Say under which conditions bytes and times hold: hardware, threads, batch and length."""
    length = f"texts of {summary['positions']:.0f} tokens on average"
    if not summary["gone"]:
        return (
            f"Keys were hidden, so bytes are arithmetic: positions kept × bytes of a position in {summary['dtype']}, "
            f"{length}. No time is given."
        )
    hardware = summary["environment"]["hardware"]
    device = summary["device"] if not hardware["gpus"] else ", ".join(hardware["gpus"])
    return (
        f"Bytes are those of the tensors in the cache, without the open block. Milliseconds: median forward over the "
        f"cache, batch of 1, {length}, {summary['dtype']} on {device} ({hardware['system']}), {hardware['threads']} "
        "threads. They say nothing of a serving engine."
    )


def frontier_of(summary: Summary, name: str) -> Exhibit | None:
    """Show a measure against the bytes kept, a line per policy, each point joined to its random control."""
    measure = MEASURES[name]
    rows = {(row["policy"], row["budget"], row["control"]): row for row in summary["rows"]}
    policies = [policy for policy, row in POLICIES.items() if row.asked and any(key[0] == policy for key in rows)]
    budgets = sorted({key[1] for key in rows if not POLICIES[key[0]].everything})
    savings = []
    for policy in policies:
        matched = POLICIES[policy].matched_control
        points = _points([rows.get((policy, budget, "")) for budget in budgets], name)
        control = _points([rows.get((policy, budget, matched)) for budget in budgets], name) if matched else None
        savings.append(Saving(POLICIES[policy].title, points, control))
    full = next((row for row in summary["rows"] if POLICIES[row["policy"]].everything), None)
    if not savings or full is None or mean_of(full, "bytes") is None:
        return None
    return Exhibit(
        f"{measure.title} against bytes kept",
        "Hollow, joined by a dotted line: the policy's control, random positions of the same state. Dashed: everything "
        f"kept. {summary['prompts']} prompts.",
        frontier(
            savings,
            (_mean(full, "bytes")[0], float(measure.untouched)),
            "bytes of keys and values kept",
            measure.axis,
            measure.percent,
            "random",
        ),
        means(summary["rows"]),
        formula=METHOD,
        finding=finding_of("least kept", rows, policies[0], budgets[0], name),
        name=f"frontier-{name}",
    )


def _points(rows: Sequence[Mapping[str, Any] | None], name: str) -> Points:
    values = np.array([(np.nan,) * 3 if row is None else _mean(row, name) for row in rows])
    costs = np.array([np.nan if row is None else _mean(row, "bytes")[0] for row in rows])
    return Points(costs, *values.T)


def _mean(row: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    return mean_of(row, name) or (np.nan, np.nan, np.nan)


def effects_of(summary: Summary, name: str) -> Exhibit | None:
    """Show policy minus control in a row of `MEASURES`, one dot each with its interval; None without intervals."""
    measure = MEASURES[name]
    drawn = [effect for effect in summary["effects"] if effect["measure"] == name and effect["low"] is not None]
    drawn.sort(key=lambda effect: list(POLICIES).index(effect["policy"]))
    if not drawn:
        return None
    unit = POINTS if measure.percent else NATS
    rows = [
        difference_row(
            f"{percent(effect['budget'], 0)} against {effect['against']}",
            effect_of(effect),
            unit,
            group=POLICIES[effect["policy"]].title,
            filled=shown(effect),
        )
        for effect in drawn
    ]
    better = "Right" if measure.percent else "Left"
    return Exhibit(
        f"{measure.title}: policy minus control",
        f"{better} of the line: the policy is better. Filled: significant after Holm correction over all {len(drawn)}. "
        f"{summary['prompts']} prompts.",
        interval_rows(rows, f"{measure.axis}{' (points)' if measure.percent else ''}", even=""),
        pd.DataFrame(
            [
                {"policy": POLICIES[effect["policy"]].title, "budget": effect["budget"]}
                | {"against": POLICIES[effect["against"]].title}
                | {end: effect[end] for end in ("value", "low", "high", "n", "clusters", "p_holm", "detectable")}
                for effect in drawn
            ]
        ),
        formula=METHOD,
        finding=finding_of("sides of policies", drawn),
        name=f"effects-{name}",
    )


def means(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row per policy, control and budget: means over the prompts."""
    return pd.DataFrame(
        [
            _condition(row) | {title: _mean(row, name)[0] for name, title in _titles().items() if name in row}
            for row in rows
        ]
    ).dropna(axis="columns", how="all")


def single_prompts(rows: Sequence[Mapping[str, Any]], prompts: Sequence[str]) -> pd.DataFrame:
    """Return the same for each single prompt. prompts: their texts, in the order of the rows' lists."""
    return pd.DataFrame(
        [
            {"prompt": prompt}
            | _condition(row)
            | {title: row[name][index] for name, title in _titles().items() if name in row}
            for row in rows
            for index, prompt in enumerate(prompts[: len(row["aligned"])])
        ]
    ).dropna(axis="columns", how="all")


def _condition(row: Mapping[str, Any]) -> dict[str, Any]:
    control = row["control"]
    which = f"control: {POLICIES[control].title}" if control else "policy"
    return {"policy": POLICIES[row["policy"]].title, "which": which, "budget": row["budget"]}


def _titles() -> dict[str, str]:
    return {name: measure.axis for name, measure in MEASURES.items()} | dict(NUMBERS)
