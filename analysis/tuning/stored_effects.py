"""Effects of a setting of the discount on every layer, from a file of stored statistics. NumPy only."""

import numpy as np

from analysis.sinks.discount import step_weights
from analysis.specs import DiscountParams, StepParams, TuneParams
from analysis.tuning import effects
from analysis.tuning.effects import LayerEffect, why_needs_a_run
from analysis.tuning.statistics_file import StoredStatistics


def steps_of(statistics: StoredStatistics, setting: StepParams) -> np.ndarray:
    """Return how much each stored noise step counts, (T,)."""
    info = statistics.info
    return step_weights(info.levels, info.spec.calibration.diffusion_steps, setting)


def why_not(statistics: StoredStatistics, setting: TuneParams) -> str:
    """Return why the statistics do not serve a setting, or nothing."""
    info = statistics.info
    if not steps_of(statistics, setting).any():
        return "No stored noise step lies in that range. Widen it."
    return why_needs_a_run(info.grouping, info.scopes, setting.discount)


def plain_of(statistics: StoredStatistics, layer: int, setting: TuneParams) -> effects.Plain:
    """Return what no discount gives in a layer with a setting's steps and sparsity. setting: its discount says which
    squares are read.
    """
    return effects.plain_layer(
        statistics.layer(layer, setting.discount), steps_of(statistics, setting), setting.sparsity
    )


def effect_of(
    statistics: StoredStatistics, layer: int, setting: TuneParams, weights: np.ndarray, plain: effects.Plain
) -> LayerEffect:
    """Return what a setting does to a layer. weights: `group_weights` of its discount; plain: of `plain_of`."""
    of_layer = weights[:, :, layer if weights.shape[2] > 1 else 0]
    stored = statistics.layer(layer, setting.discount)
    return effects.layer_effect(stored, plain, of_layer, steps_of(statistics, setting), setting.sparsity)


def every_layer(statistics: StoredStatistics, setting: TuneParams) -> list[LayerEffect]:
    """Return what a setting does to every layer."""
    weights = statistics.group_weights(setting.discount)
    undiscounted = setting.model_copy(update={"discount": DiscountParams()})
    return [
        effect_of(statistics, layer, setting, weights, plain_of(statistics, layer, undiscounted))
        for layer in range(statistics.info.layers)
    ]
