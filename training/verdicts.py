"""Claims that the pair was built to show, whether it does, and in how many trainings from other seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.models.registry import BUNDLED
from analysis.recording.set_tables import layers_in_words
from analysis.sinks.intervals import paired_difference
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS
from training.readings import KINDS, MEASUREMENTS, TRAINING, Numbers, number, percent, points, read, table, trainings
from training.tasks import TASKS

DENSE_MEAN, ABOVE_CHANCE, KNEE_AT, KNEE_DROP = 0.85, 0.20, 0.7, 0.10
VARIANCE = "centroid-variance"


@dataclass(frozen=True)
class Verdict:
    """One thing the pair is meant to show. name: the same in every training. met: None where no bar was set."""

    name: str
    text: str
    met: bool | None = None

    @property
    def sentence(self) -> str:
        """The name with what was found, and whether the bar is met."""
        return f"{self.name}: {self.text}" + {None: "", True: " Met.", False: " **Missed.**"}[self.met]


def verdicts(pair: Path = BUNDLED) -> list[Verdict]:
    """Return what a pair shows of what it was built to show."""
    both = {kind: numbers for kind in KINDS if (numbers := read(kind, MEASUREMENTS, pair)) is not None}
    found = []
    for kind, measured in both.items():
        dense = measured["pruning"]["rows"][0]
        found.append(_bar(f"{kind}: dense mean accuracy", dense["mean"][0], DENSE_MEAN))
        task, margin = min(
            ((task, dense["tasks"][task][0] - 1 / TASKS[task].choices) for task in TASKS), key=lambda pair: pair[1]
        )
        found.append(_bar(f"{kind}: least margin over chance", margin, ABOVE_CHANCE, f" on {task}"))
        at_knee = [row for row in measured["pruning"]["rows"] if row["sparsity"] == KNEE_AT]
        worst = min(at_knee, key=lambda row: row["mean"][0])
        fall = dense["mean"][0] - worst["mean"][0]
        found.append(_bar(f"{kind}: fall at {KNEE_AT:.0%} sparsity", fall, KNEE_DROP, f" by {worst['method']}"))
        apart = [row for row in measured["pruning"]["differences"] if _excludes_zero(row["magnitude - wanda"])]
        told = "they differ at no sparsity."
        if apart:
            widest = max(apart, key=lambda row: abs(row["magnitude - wanda"][0]))
            told = (
                f"they differ at {', '.join(format(row['sparsity'], '.0%') for row in apart)}; most at "
                f"{widest['sparsity']:.0%}: {points(widest['magnitude - wanda'])} points for magnitude."
            )
        found.append(Verdict(f"{kind}: magnitude and Wanda differ by more than the interval", told, bool(apart)))
    if len(both) == 2:
        found += [_budget_verdict(pair), *_variance_verdicts(both)]
    return found


def verdict_lines() -> list[str]:
    """Return one line per verdict on the pair that ships, with the number of trainings that meet its bar."""
    others = {seed: {one.name: one for one in verdicts(pair)} for seed, pair in trainings().items()}
    lines = []
    for verdict in verdicts():
        met = [seed for seed, of in others.items() if of[verdict.name].met]
        count = f" Met in {len(met)} of {len(others)} trainings." if verdict.met is not None and len(others) > 1 else ""
        lines.append(verdict.sentence + count)
    return lines


def _budget_verdict(pair: Path) -> Verdict:
    tokens = {kind: (read(kind, TRAINING, pair) or {}).get("tokens", math.nan) for kind in KINDS}
    listed = ", ".join(f"{kind} {value / 1e6:.1f} M" for kind, value in tokens.items())
    return Verdict("the same budget, tokens of training", f"{listed}.", len(set(tokens.values())) == 1)


def _bar(name: str, value: float, bar: float, detail: str = "") -> Verdict:
    short = "" if value >= bar else f", short by {100 * (bar - value):.1f} points"
    return Verdict(name, f"{100 * value:.1f}{detail} (bar {100 * bar:.0f}{short}).", value >= bar)


def _excludes_zero(values: list[float]) -> bool:
    return values[1] > 0 or values[2] < 0


def signed(values: Sequence[float] | np.ndarray) -> str:
    """[value, low, high] as '+0.0235 [+0.0105, +0.0364]'."""
    value, low, high = (f"{end:+.4f}".replace("-", "−") for end in values)
    return f"{value} [{low}, {high}]"


def _minus(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The difference of two independent estimates, (3,) each: value, low and high; half-widths add in squares."""
    value = first[0] - second[0]
    low = value - np.hypot(first[0] - first[1], second[2] - second[0])
    high = value + np.hypot(first[2] - first[0], second[0] - second[1])
    return np.array([value, low, high])


_CENTRE = "temporal variance of the centroid, diffusion minus autoregressive, all layers together"


def _variance_verdicts(both: dict[str, Numbers]) -> list[Verdict]:
    """The differences of temporal variance, paired over the prompts on which both models have a centroid: of all layers
    together, and the layers whose difference lies on one side of zero, with intervals that hold for them together.
    """
    diffusion, twin = (
        np.array(both[kind]["sinks"]["centroid_variance_by_prompt"], float) for kind in ("diffusion", "autoregressive")
    )
    ones = np.ones_like(diffusion)
    together = paired_difference((diffusion[:, -1:], ones[:, -1:]), (twin[:, -1:], ones[:, -1:]))
    difference = [float(end[0]) for end in (together.value, together.low, together.high)]
    pairs = int((np.isfinite(diffusion) & np.isfinite(twin))[:, -1].sum())
    if not np.isfinite(difference).all():
        return [Verdict(_CENTRE, "one of the models has sinks on too few prompts to compare.", False)]
    lies = "It lies above its twin's" if difference[1] > 0 else "It does not lie above its twin's"
    told = [f"{signed(difference)}, paired over {pairs} prompts. {lies}."]
    moves = [of["sinks"]["moves"][VARIANCE] for of in both.values()]
    for null in (name for name in WEIGHT_NULLS if all(name in of for of in moves)):
        untrained = _minus(*(np.array(of[null][-1]) for of in moves))
        beyond = _minus(np.array(difference), untrained)
        adds = "training adds to the contrast" if beyond[1] > 0 else "no significant addition by training"
        told.append(
            f"With {MOVEMENT_NULLS[null].title} it is {signed(untrained)}; trained minus that {signed(beyond)}: {adds}."
        )
    by_layer = paired_difference((diffusion[:, :-1], ones[:, :-1]), (twin[:, :-1], ones[:, :-1]))
    above, below = (np.flatnonzero(side) for side in (by_layer.low > 0, by_layer.high < 0))
    sides = [
        f"it lies {word} the twin's in {layers_in_words(layers, len(by_layer.value)).lower()}"
        for word, layers in (("above", above), ("below", below))
        if len(layers)
    ]
    lie = "; ".join(sides) or "it differs from the twin's in no layer"
    return [
        Verdict(_CENTRE, " ".join(told)),
        Verdict("the same per layer, with intervals that hold for all layers together", f"{lie}."),
    ]


# --- other trainings --------------------------------------------------------------------------------------------

_ROWS: dict[str, Callable[[Numbers, Numbers], str]] = {
    "final loss, nats per token": lambda training, measured: f"{training['validation_loss']:.3f}",
    "dense mean accuracy, %": lambda training, measured: percent(measured["pruning"]["rows"][0]["mean"]),
    "written answers, %": lambda training, measured: percent(measured["problems"]["share"]),
    f"Wanda at {KNEE_AT:.0%} sparsity, %": lambda training, measured: percent(_at_knee(measured)),
    "sinks per step, all layers": lambda training, measured: _of_all(measured, "count", 2),
    "attention to the sinks": lambda training, measured: _of_all(measured, "strength", 3),
    "corrected share of a sink": lambda training, measured: _of_all(measured, "corrected-share", 2),
    "births per step": lambda training, measured: number(measured["sinks"]["moves"]["births"]["trained"][-1], 3),
    "temporal variance of the centroid": lambda training, measured: number(
        measured["sinks"]["moves"][VARIANCE]["trained"][-1], 4
    ),
}
"""Rows of a table of trainings, for one model of each pair."""


def _at_knee(measured: Numbers) -> list[float]:
    rows = measured["pruning"]["rows"]
    return next(row["mean"] for row in rows if (row["method"], row["sparsity"]) == ("wanda", KNEE_AT))


def _of_all(measured: Numbers, measure: str, digits: int) -> str:
    return number(measured["sinks"]["by_scope"][measure]["trained"][-1], digits)


def trainings_table(kind: str) -> str:
    """Return a Markdown table of one model's numbers, one column per training."""
    whole = {
        seed: (training, measured)
        for seed, pair in trainings().items()
        if (training := read(kind, TRAINING, pair)) and (measured := read(kind, MEASUREMENTS, pair))
    }
    rows = [[name, *(tell(*both) for both in whole.values())] for name, tell in _ROWS.items()]
    return table(["", *(f"seed {seed}" for seed in whole)], rows)


def beyond_table(kind: str) -> str:
    """Return a Markdown table of the layers that lie beyond the nulls, one column per training and the number of
    trainings in which it is any layer.
    """
    kept = {seed: read(kind, MEASUREMENTS, pair) for seed, pair in trainings().items()}
    found = {seed: measured["sinks"]["beyond"] for seed, measured in kept.items() if measured is not None}
    names = [name for name in next(iter(found.values())) if any(of.get(name) for of in found.values())]
    rows = []
    for name in names:
        layers = [of.get(name, []) for of in found.values()]
        said = [", ".join(map(str, of)) or "–" for of in layers]
        rows.append([name, *said, f"{sum(map(bool, layers))} of {len(layers)}"])
    return table(["layers beyond the nulls", *(f"seed {seed}" for seed in found), "trainings"], rows)
