"""Blocking attention to chosen positions during denoising, to see what a model needs its sinks for.

A way of choosing is one row of `TARGETS` (analysis/specs/targets.py), and its function in `CHOOSERS`. Positions are
chosen anew in every step, from an untouched forward of the same input.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from analysis.attention import Observed
from analysis.models.families import Architecture
from analysis.models.layout import Layout
from analysis.models.load import LoadedModel
from analysis.recording.denoising import Step, denoise
from analysis.registry import Attached
from analysis.sinks import definitions as sink_analysis
from analysis.sinks.attention_pattern import seeing_queries
from analysis.specs import TARGETS, Sampling, SinkParams

Chooser = Callable[[np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]
"""(total mass (S,), sinks (S,) bool, how many, rng) -> positions."""


def _strongest(total: np.ndarray, sinks: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.argsort(-total)[:count]


def _random(total: np.ndarray, sinks: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.choice(len(total), size=min(count, len(total)), replace=False)


def _strongest_others(total: np.ndarray, sinks: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The non-sinks whose mass comes nearest to the sinks': the heaviest of them."""
    taken = sinks.copy()
    taken[_strongest(total, sinks, count, rng)] = True
    others = np.flatnonzero(~taken)
    return others[np.argsort(-total[others])[:count]]


def _first(total: np.ndarray, sinks: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.array([0])


CHOOSERS: Attached[Chooser] = Attached(
    TARGETS, {"sinks": _strongest, "random": _random, "others": _strongest_others, "first": _first}
)


def ablated_steps(
    model: LoadedModel, prompt: torch.Tensor, sampling: Sampling, seed: int, target: str, count: int, params: SinkParams
) -> tuple[list[Step], float]:
    """Denoises one sequence with attention to the target's positions blocked in every step.

    Returns the steps, and the share of all attention that the untouched forwards paid to them, mean over steps.
    """
    rng = np.random.default_rng(seed)
    shares: list[float] = []

    def block(observed: Observed, layout: Layout | None) -> torch.Tensor:
        mass = observed.mass[:1].numpy()
        visible = _seeing_queries(model.architecture, mass.shape[-1], layout)
        sinks = sink_analysis.find_sinks(sink_analysis.mean_mass(mass), params, visible)[0]
        blocked = torch.zeros(mass.shape[-1], dtype=torch.bool)
        total = sink_analysis.total_mass(mass)[0]
        chosen = CHOOSERS[target](total, sinks, count, rng)
        blocked[chosen] = True
        shares.append(float(total[chosen].sum() / total.sum()))
        return blocked

    steps = list(denoise(model, prompt, sampling, seed, block))
    return steps, float(np.mean(shares))


def _seeing_queries(architecture: Architecture, length: int, layout: Layout | None) -> np.ndarray:
    """How many queries see each key of a text of this length, (S,)."""
    starts: tuple[int, ...] = ()
    if layout is not None and architecture.attention == "block-causal":
        starts = layout.starts(length)
    elif layout is not None and layout.open_from is not None:
        starts = (layout.open_from,)
    return seeing_queries(architecture.attention, starts, (0, length), np.ones(length, bool))


def compare(steps: list[Step], untouched: list[Step], prompt_length: int) -> dict[str, Any]:
    """What changed: which written positions have the same token, their share (missing ones differ), and the mean
    confidence of the chosen tokens.
    """
    written, plain = (run[-1].choice.output[0, prompt_length:].tolist() for run in (steps, untouched))
    same = [token == untouched_token for token, untouched_token in zip(written, plain, strict=False)]
    same += [False] * (len(written) - len(same))
    confidence = torch.cat([step.choice.confidence[0][step.choice.chosen[0]] for step in steps])
    return {
        "tokens": written,
        "same": same,
        "agreement": sum(same) / max(len(written), len(plain)),
        "confidence": float(confidence.mean()),
    }
