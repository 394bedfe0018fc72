"""Figures of stored calibration statistics and of searches: effects of a discount before anything is pruned."""

from operator import attrgetter
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.errors import UserError
from analysis.figures import masks as grids
from analysis.figures import tuning
from analysis.specs import OBJECTIVES, TuneParams
from analysis.specs.messages import spec_of
from analysis.tuning import effects
from analysis.tuning.effects import Effects
from analysis.tuning.statistics_file import StoredStatistics, every_layer, steps_of, why_not
from sinkscope.drawing.rows import Drawn
from sinkscope.results import Search

NAME = "this discount"


def _setting(statistics: StoredStatistics, options: dict[str, Any]) -> TuneParams:
    """Return the setting that options name. Raises UserError where the statistics do not serve it."""
    setting = spec_of(TuneParams, options)
    problem = why_not(statistics, setting)
    if problem:
        raise UserError(problem)
    return setting


def _effects(statistics: StoredStatistics, options: dict[str, Any]) -> Effects:
    return effects.together(every_layer(statistics, _setting(statistics, options)))


def _changed(statistics: StoredStatistics, **options: Any) -> go.Figure:
    told, title = _effects(statistics, options), "mask bits changed"
    lines = tuning.spread_lines(told.spread)
    if not statistics.has_floor:
        return grids.grids([grids.Grid("", told.changed, lines)], title, statistics.info.short_names)
    shown = grids.beyond("", told.changed, told.floor, lines, title)
    return grids.grids([shown], "changed, minus another seed", statistics.info.short_names, signed=True)


def _error(statistics: StoredStatistics, **options: Any) -> go.Figure:
    told = _effects(statistics, options)
    shown = [grids.Grid(NAME, told.error), grids.Grid("no discount", told.plain_error)]
    top = max(float(np.nanmax(each.values)) for each in shown)
    return grids.grids(shown, "output error", statistics.info.short_names, top=top)


def _error_change(statistics: StoredStatistics, **options: Any) -> go.Figure:
    shown = [grids.Grid("", _effects(statistics, options).error_change)]
    title = "output error, relative change"
    return grids.grids(shown, title, statistics.info.short_names, signed=True, unit="%")


def _weights(statistics: StoredStatistics, layer: int = 0, **options: Any) -> go.Figure:
    setting = _setting(statistics, options)
    told = effects.discount_curve(statistics.mass, setting.discount, steps_of(statistics, setting), layer)
    lines = {NAME: (told.z, told.low, told.median, told.high)}
    return tuning.discount_curves(lines, told.counts, setting.discount.sink_std)


def _scores(statistics: StoredStatistics, **options: Any) -> go.Figure:
    layers = every_layer(statistics, _setting(statistics, options))
    shifts = [effects.shift_quantiles(layer.shifts) for layer in layers]
    return tuning.score_shifts(shifts, statistics.info.input_titles)


_SETTING = "Options: fields of DiscountParams and TuneParams, such as discount_strength, sink_std, sparsity"
ROWS = {
    "mask bits changed": Drawn(
        f"Kept-or-pruned decisions that a discount changes, beyond what another calibration seed does. {_SETTING}",
        _changed,
    ),
    "output error": Drawn(
        "Output error of the pruned projections on held-out text. The same options", _error, attrgetter("has_grams")
    ),
    "error change": Drawn(
        "That error compared with no discount's. The same options", _error_change, attrgetter("has_grams")
    ),
    "token weights": Drawn(
        "Weight of a token by how far its attention mass lies above its step's mean. layer; the same options", _weights
    ),
    "score shifts": Drawn("How far a discount moves feature scores, by layer. The same options", _scores),
}

# --- searches ---------------------------------------------------------------------------------------------------


def _trials(search: Search) -> go.Figure:
    objective, trials = OBJECTIVES[search.summary["objective"]], search.summary["trials"]
    floor = search.summary["floor"]
    references = {row["name"]: row["value"] for row in trials if row["name"]}
    return tuning.history(
        [row["value"] for row in trials],
        [", ".join(f"{name} {value}" for name, value in row["discount"].items()) for row in trials],
        references,
        objective.title,
        objective.maximise,
        search.spec.trials,
        objective.decimals,
        objective.least_height,
        tuning.seed_band(references.get("no discount"), None if floor is None else floor["value"]),
    )


SEARCH_ROWS = {
    "trials": Drawn("What each setting is worth, and the best so far", _trials),
    "importance": Drawn(
        "Which parameters tell good trials from the rest",
        lambda search: tuning.importances(search.summary["importance"]),
        lambda search: bool(search.summary["importance"]),
    ),
}
