"""Checks of a count of sinks: the count under other definitions, the count in log-normal attention, and the gap or
heavy tail that sets sinks apart. NumPy only; shapes as in `layer_run`.

Log-normal attention: independent mass, whose logarithm has the mean and the standard deviation over the
positions of the observed log-mass, per step and scope. There, about as many positions lie above mean + k·std whatever
the model does.
"""

from dataclasses import dataclass

import numpy as np

from analysis.registry import Registry
from analysis.sinks import definitions
from analysis.sinks.layer_run import LayerRun, Sums, add_up, one_hot
from analysis.specs import DEFINITIONS, SinkParams

DRAWS = 4  # of log-normal attention, per step
_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Variant:
    """Another way of counting sinks than the one in use. title: as in 'with …'."""

    name: str
    title: str
    params: SinkParams


def _of_definition(name: str) -> Variant:
    row, params = DEFINITIONS[name], SinkParams(definition=name)
    return Variant(name, f"{row.title[0].lower()}{row.title[1:]}", params)


VARIANTS: Registry[Variant] = Registry(
    *(Variant(f"k{k:g}", f"k = {k:g}", SinkParams(k=k)) for k in (1.5, 2.0, 2.5, 3.0)),
    *(_of_definition(name) for name in ("mean-attention", "above-others")),
)
"""Three definitions at their presets, and the paper's for k from 1.5 to 3."""

CHECKS = dict.fromkeys(("iid_sinks", "gap", "gap_steps", "iid_gap", "iid_gap_steps", "tail", "iid_tail"), "G")
"""Sums of `count_checks` other than the variants, and their shapes after the prompts."""


def by_variant(run: LayerRun) -> np.ndarray:
    """Count sinks by kind under each of `VARIANTS`, summed over the steps, (V, G, K) float64."""
    judged, visible, kinds = run.judged, run.judged_visible, one_hot(run.kinds)
    known = definitions.moments(judged)
    return np.stack(
        [add_up(definitions.find_sinks(judged, row.params, visible, known), kinds) for row in VARIANTS.values()]
    )


def count_checks(run: LayerRun, params: SinkParams, rng: np.random.Generator) -> Sums:
    """Return sums over the steps, (G,) each: iid_sinks of log-normal attention; gap and iid_gap, log-ratios of the
    lightest sink to the heaviest other position (each relative to its threshold), over gap_steps and iid_gap_steps that
    have both; tail and iid_tail, the largest log-mass in standard deviations above the mean (Grubbs 1950). iid: means
    of `DRAWS` draws.
    """
    judged = run.judged
    logs = np.log(np.maximum(judged, _TINY))
    row = definitions.moments(logs)
    gap, gap_steps = _gap(judged, params, run.judged_visible)[:2]
    sums = {"gap": gap, "gap_steps": gap_steps, "tail": _tail(logs, row)}
    draws = []
    for _ in range(DRAWS):
        noise = row.mean + row.std * rng.standard_normal(logs.shape, dtype=np.float32)
        noise = np.where(np.isfinite(logs), noise, np.nan)
        gap, gap_steps, count = _gap(np.exp(noise), params, run.judged_visible)
        tail = _tail(noise, definitions.moments(noise))
        draws.append({"iid_sinks": count, "iid_gap": gap, "iid_gap_steps": gap_steps, "iid_tail": tail})
    return sums | {name: np.mean([draw[name] for draw in draws], axis=0) for name in draws[0]}


def _gap(mass: np.ndarray, params: SinkParams, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sum of the gaps over the steps, the number of steps with a gap, and the sinks, (G,) float64 each."""
    over = mass / np.maximum(definitions.thresholds(mass, params, visible), _TINY)
    sinks, others = over > 1, over <= 1
    lightest = np.where(sinks, over, np.inf).min(axis=-1)
    heaviest = np.where(others, over, -np.inf).max(axis=-1)
    both = np.isfinite(lightest) & np.isfinite(heaviest)
    gap = np.log(np.where(both, lightest, 1)) - np.log(np.maximum(np.where(both, heaviest, 1), _TINY))
    return gap.sum(axis=0, dtype=np.float64), both.sum(axis=0, dtype=np.float64), sinks.sum(axis=(0, 2), dtype=float)


def _tail(logs: np.ndarray, row: definitions.Moments) -> np.ndarray:
    largest = np.nanmax(logs, axis=-1) - row.mean[..., 0]
    spread = row.std[..., 0]
    return np.where(spread > 0, largest / np.where(spread > 0, spread, 1), 0).sum(axis=0, dtype=np.float64)
