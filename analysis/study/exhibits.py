"""A study's figures and tables, as page and report show them: each with its title and the sentence that reads it."""

import pandas as pd
import plotly.graph_objects as go

from analysis.figures import study as figures
from analysis.figures.accuracy import WaterfallStep
from analysis.figures.export import Exhibit
from analysis.specs import METHODS
from analysis.study.findings import Findings, Stage, Waterfall
from analysis.study.rules import effect_words

WATERFALL_FORMULA = (
    "Each step is the mean paired difference from the step before, over tasks and calibration seeds, with a 95 % "
    "interval over seeds and clusters of items crossed: $V = V_{seeds} + V_{clusters} - V_{seeds \\times clusters}$."
)


def pruning_exhibits(findings: Findings) -> dict[str, Exhibit]:
    """The waterfalls by method and sparsity, and all seeds; nothing while no run is scored."""
    pruning = findings.pruning
    if pruning is None:
        return {}
    exhibits = {}
    for waterfall in pruning.waterfalls:
        exhibits[way_name(waterfall)] = _way(waterfall)
    dots = [
        figures.Dots(
            setting.method,
            METHODS[setting.method].title,
            setting.sparsity,
            sum(setting.by_seed) / len(setting.by_seed),
            setting.by_seed,
        )
        for setting in pruning.settings
    ]
    interim = f" Interim: {pruning.waiting} more runs are to come." if pruning.waiting else ""
    exhibits["seeds"] = Exhibit(
        "Every calibration seed",
        f"A dot is one run, a bar the mean of a method's seeds, on {pruning.items:,} items in {pruning.clusters:,} "
        f"clusters.{interim}",
        figures.seed_dots(dots, pruning.dense, pruning.chance),
        settings_table(findings),
    )
    return exhibits


def way_name(waterfall: Waterfall) -> str:
    """What the figure of a waterfall is called among the exhibits."""
    return f"way_{waterfall.method}_{100 * waterfall.sparsity:g}"


def part_exhibits(findings: Findings, part: str) -> dict[str, Exhibit]:
    """The figures of a part by their names, and what it says of each model."""
    exhibits = {
        shown.name: Exhibit(
            shown.title, shown.sentence, go.Figure(shown.figure), pd.DataFrame(shown.table) if shown.table else None
        )
        for shown in findings.shown
        if shown.part == part
    }
    return exhibits | (pruning_exhibits(findings) if part == "pruning" else {})


def sayings(findings: Findings, part: str) -> dict[str, tuple[str, ...]]:
    """What a part shows of each model, by its name."""
    return {saying.model: saying.sentences for saying in findings.sayings if saying.part == part}


def _way(waterfall: Waterfall) -> Exhibit:
    steps = [_step(stage, number == len(waterfall.stages) - 1) for number, stage in enumerate(waterfall.stages)]
    control = len(waterfall.stages) - 3 if len(waterfall.stages) > 2 else None
    method = METHODS[waterfall.method].title
    return Exhibit(
        f"From the dense model to {method} at {waterfall.sparsity:.0%}",
        f"The dense model scores {waterfall.dense:.1%}. Each bar is what one change adds or takes, the last the whole. "
        "The grey band is as high as two calibration seeds of the control differ.",
        figures.way(steps, None if waterfall.floor is None else 100 * waterfall.floor, control),
        pd.DataFrame(
            [
                {
                    "step": stage.title,
                    "points": 100 * stage.effect.value,
                    "low": 100 * stage.effect.low,
                    "high": 100 * stage.effect.high,
                    "items": stage.effect.n,
                    "clusters": stage.effect.clusters,
                    "seeds": stage.effect.seeds,
                }
                for stage in waterfall.stages
            ]
        ),
    )


def _step(stage: Stage, total: bool) -> WaterfallStep:
    effect = stage.effect
    hover = f"{stage.title}<br>{effect_words(effect)}<br>{effect.clusters} clusters, {effect.seeds} seeds"
    return WaterfallStep(stage.title, 100 * effect.value, 100 * effect.low, 100 * effect.high, hover, total)


def settings_table(findings: Findings) -> pd.DataFrame:
    """A row a method, sparsity and seed: its accuracy, a share."""
    pruning = findings.pruning
    rows = [] if pruning is None else pruning.settings
    return pd.DataFrame(
        [
            {"method": setting.method, "sparsity": setting.sparsity, "seed": seed, "accuracy": accuracy}
            for setting in rows
            for seed, accuracy in zip(setting.seeds, setting.by_seed, strict=True)
        ],
        columns=["method", "sparsity", "seed", "accuracy"],
    )


def contrasts_table(findings: Findings) -> pd.DataFrame:
    """A row a contrast: its difference with its interval, as shares, and its tests."""
    rows = [] if findings.pruning is None else findings.pruning.contrasts
    columns = ["kind", "method", "against", "sparsity"]
    numbers = ["value", "low", "high", "n", "clusters", "seeds", "p", "p_adjusted"]
    table = [
        {name: getattr(contrast, name) for name in columns} | {name: getattr(contrast.effect, name) for name in numbers}
        for contrast in rows
    ]
    return pd.DataFrame(table, columns=[*columns, *numbers])
