"""Blocking attention to chosen positions during denoising, to see what a model needs its sinks for.

A way of choosing is one row of `TARGETS`. Positions are chosen anew in every step, from an untouched forward of the
same input.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analysis import sinks as sink_analysis
from analysis.attention import Observed
from analysis.denoising import Step, denoise
from analysis.models.load import LoadedModel
from analysis.specs import SinkParams, Spec


@dataclass(frozen=True)
class Target:
    """How positions are chosen. choose: (total mass (S,), sinks (S,) bool, how many, rng) -> positions."""

    title: str
    choose: Callable[[np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]


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


TARGETS: dict[str, Target] = {
    "sinks": Target("strongest sinks", _strongest),
    "random": Target("random positions", _random),
    "others": Target("heaviest non-sinks", _strongest_others),
    "first": Target("first token alone", _first),
}


def ablated_steps(
    model: LoadedModel, prompt: torch.Tensor, sampling: Spec, seed: int, target: str, count: int, params: SinkParams
) -> list[Step]:
    """Denoises one sequence with attention to the target's positions blocked in every step."""
    rng = np.random.default_rng(seed)

    def block(observed: Observed) -> torch.Tensor:
        mass = observed.mass[:1].numpy()
        found = sink_analysis.find_sinks(sink_analysis.mean_mass(mass), params, model.architecture.bidirectional)[0]
        blocked = torch.zeros(mass.shape[-1], dtype=torch.bool)
        blocked[TARGETS[target].choose(sink_analysis.total_mass(mass)[0], found, count, rng)] = True
        return blocked

    return list(denoise(model, prompt, sampling, seed, block))


def compare(steps: list[Step], untouched: list[Step], prompt_length: int) -> dict[str, Any]:
    """What changed: agreement, the share of written positions with the same token (missing ones differ), and the mean
    confidence of the chosen tokens.
    """
    written, plain = (run[-1].choice.output[0, prompt_length:].tolist() for run in (steps, untouched))
    same = sum(one == other for one, other in zip(written, plain, strict=False))
    confidence = torch.cat([step.choice.confidence[0][step.choice.chosen[0]] for step in steps])
    return {
        "tokens": written,
        "agreement": same / max(len(written), len(plain)),
        "confidence": float(confidence.mean()),
    }
