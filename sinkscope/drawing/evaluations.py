"""Figures of evaluations and of sweeps."""

import plotly.graph_objects as go

from analysis.errors import UserError
from analysis.evaluation import comparing, curves, sweep_scores, tables
from analysis.evaluation.frontier import COSTS, placed
from analysis.evaluation.results import AVERAGE, Results, chance_level
from analysis.exhibits import sweeps
from analysis.exhibits.discount_levels import levels_of_sweep, pairs_along
from analysis.exhibits.sweeps import plane
from analysis.exhibits.with_discount import accuracy_by_role, differences_over_seeds
from analysis.figures import accuracy as figures
from analysis.figures import sweep as sweep_figures
from analysis.figures.intervals import interval_rows, way
from analysis.figures.style import ends_of, series_color
from analysis.findings.sweeps import is_discount
from analysis.specs import SweepSpec, grid
from analysis.statistics.differences import SHOWN
from sinkscope.drawing.rows import Drawn, chosen
from sinkscope.results import Sweep


def _task(results: Results, task: str) -> str:
    return task if task != AVERAGE or len(results.accuracies) > 1 else results.accuracies[0].name


def _differences(results: Results) -> go.Figure:
    rows = tables.difference_table(results, comparing.pairs(results))
    labels = [f"{row['model']} − {row['than']}" for row in rows]
    colors = {label: series_color(place) for place, label in enumerate(dict.fromkeys(labels))}
    shown = figures.difference_rows(rows, labels, [row["in words"] in SHOWN for row in rows], colors)
    return interval_rows(shown, "points", even="no difference")


def _accuracies(results: Results, task: str = AVERAGE) -> go.Figure:
    chosen = _task(results, task)
    bands = curves.accuracy_curves(results, chosen)
    colors = list(map(series_color, range(len(bands))))
    return figures.running(bands, colors, "accuracy", chance=chance_level(results, chosen))


def _running_differences(results: Results, task: str = AVERAGE) -> go.Figure:
    bands = curves.difference_curves(results, _task(results, task), comparing.pairs(results))
    return figures.running(bands, list(map(series_color, range(len(bands)))), "points", difference=True)


def _steps(results: Results, model: str = "", task: str = AVERAGE) -> go.Figure:
    names = {results.names[place]: place for place in comparing.decomposed(results)}
    if not names or (model and model not in names):
        known = ", ".join(names) or "none"
        raise UserError(f"No way leads step by step from the dense model to '{model}' here. There are: {known}.")
    stages = comparing.stages(results, names[model or next(iter(names))], _task(results, task))
    points = ends_of((row.difference for row in stages), 100).T
    return way([row.title for row in stages], points, "change of accuracy (points)")


def _seeds(results: Results) -> list[comparing.Pair]:
    """Return the pairs of a run with a discount and its control, where they differ in their calibration seed alone."""
    pairs = comparing.related_pairs(results)["control"]
    return pairs if len(pairs) > 1 and comparing.is_one_setting(results, pairs) else []


ROWS = {
    "accuracy by role": Drawn(
        "Average accuracy of dense and pruned models with 95 % intervals, and chance",
        lambda results: accuracy_by_role(results, "Accuracy").figure,
    ),
    "over seeds": Drawn(
        "With minus without the discount over calibration seeds, on average and by task",
        lambda results: differences_over_seeds(results, _seeds(results)).figure,
        lambda results: bool(_seeds(results)),
    ),
    "differences": Drawn("Paired differences with 95 % intervals", _differences),
    "accuracy": Drawn("Accuracy as the items came in. task: a benchmark, or 'average'", _accuracies),
    "running differences": Drawn("Differences as the items came in. task", _running_differences),
    "step by step": Drawn(
        "From the dense model to a sink-aware one, one change at a time. model, task",
        _steps,
        lambda results: bool(comparing.decomposed(results)),
    ),
}

# --- sweeps -----------------------------------------------------------------------------------------------------


def _sweep_discount(swept: Sweep, method: str = "") -> go.Figure:
    pairs = _discounts(swept)
    pair = chosen(pairs, method or next(iter(pairs)), "method with a discount")
    return levels_of_sweep(pair, swept.settings, sweep_scores.comparisons(swept.settings)).shown.figure


def _discounts(swept: Sweep) -> dict[str, list[sweep_scores.Comparison]]:
    return pairs_along([one for one in sweep_scores.comparisons(swept.settings) if is_discount(one)])


def _sweep_accuracy(swept: Sweep) -> go.Figure:
    first = swept.settings[0]
    return sweep_figures.accuracy(sweeps.by_sparsity(swept.settings), "sparsity", first.dense.value, first.chance)


def _sweep_sizes(swept: Sweep, size: str = "weights not 0") -> go.Figure:
    prunings = grid(SweepSpec.model_validate(swept.summary["parameters"])).prunings
    cost = chosen(COSTS, size, "size")
    points = placed(swept.settings, prunings, swept.summary["points"], cost)
    shown = plane(points, sweep_scores.comparisons(swept.settings), cost)
    if shown is None:
        raise UserError(f"No point of this sweep has '{size}'. Sweep with footprints=True to measure sizes and speed.")
    return shown.figure


def _sweep_tasks(swept: Sweep, sparsity: float | None = None) -> go.Figure:
    highest = max(setting.pruning.sparsity for setting in swept.settings) if sparsity is None else sparsity
    rows = [setting for setting in swept.settings if setting.pruning.sparsity == highest]
    if not rows:
        raise UserError(f"This sweep has no sparsity {sparsity}.")
    cells = sweeps.by_task(rows)
    return sweep_figures.grid_map(cells.values, cells.rows, cells.columns, "", "")


def _sweep_noise_steps(swept: Sweep, method: str = "") -> go.Figure:
    methods = list(dict.fromkeys(setting.pruning.method for setting in sweeps.weighing_steps(swept.settings)))
    cells = sweeps.by_steps(swept.settings, method or methods[0])
    return sweep_figures.grid_map(cells.values, cells.rows, cells.columns, "sparsity", "noise steps")


SWEEP_ROWS = {
    "accuracy": Drawn("Accuracy by sparsity, a curve per method, with dense and chance", _sweep_accuracy),
    "discount": Drawn(
        "Accuracy without and with the discount by sparsity, with their differences. method",
        _sweep_discount,
        lambda swept: bool(_discounts(swept)),
    ),
    "differences": Drawn(
        "Each method against its control and baseline, by sparsity",
        lambda swept: interval_rows(
            sweeps.difference_rows(sweep_scores.comparisons(swept.settings)), "difference of accuracy (points)", even=""
        ),
    ),
    "tasks": Drawn("Accuracy by task and method. sparsity: the highest where left out", _sweep_tasks),
    "sizes": Drawn("Accuracy by size or time, each setting joined to its control. size, such as 'bytes'", _sweep_sizes),
    "noise steps": Drawn(
        "Accuracy by the noise steps that count and by sparsity. method",
        _sweep_noise_steps,
        lambda swept: len(sweeps.step_ranges(swept.settings)) > 1,
    ),
}
