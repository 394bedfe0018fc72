"""Real models that run on this machine, offered before anything is downloaded. Imports no torch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter

import numpy as np

from analysis.models.registry import MODELS, Model
from analysis.models.sizes import Size
from analysis.recording.fits import PROMPT, Fit, default_sampling, fit_of, known_size
from cache.sizes import gigabytes

_WIDTH, _INNER, _LEAST_SECONDS = 768, 3072, 0.05  # the product that is timed, as in blocks of small models


@dataclass(frozen=True)
class Offer:
    """A real model for this machine. bytes: to download, or as it lies here. minutes: of a recording of the default
    size, without the download.
    """

    model: Model
    fit: Fit
    bytes: int
    minutes: float
    here: bool

    @property
    def sentence(self) -> str:
        """`A real model: 0.6 GB, about 2 minutes on this machine`."""
        minutes = max(1, math.ceil(self.minutes))
        return (
            f"A real model: {gigabytes(self.bytes)}{' on this disk' if self.here else ''}, about {minutes} "
            f"minute{'s' if minutes > 1 else ''} on this machine"
        )


def offers(
    count: int = 3, device: str = "auto", dtype: str = "auto", rate: Callable[[], float] | None = None
) -> list[Offer]:
    """The quickest models of the registry that fit here, trained as diffusion models and not part of this package.

    One per size: of models with the same shape the first one listed. rate: operations a second, measured by default.
    """
    found: dict[Size, Offer] = {}
    for model in MODELS.values():
        size, here = known_size(model)
        fit = fit_of(model, device, dtype)
        usable = size is not None and size.counted and not model.sparse and not model.masked_lm and not model.ships
        if fit is None or size is None or not usable or fit.verdict == "does not fit" or size in found:
            continue
        seconds = operations(size, model) / (rate or measured_rate)()
        found[size] = Offer(model, fit, size.parameters * size.stored, seconds / 60, here)
    return sorted(found.values(), key=lambda offer: (offer.fit.verdict != "fits", offer.minutes))[:count]


def operations(size: Size, model: Model) -> float:
    """Operations of a recording of the default size: two for each weight and token of every forward."""
    sampling = default_sampling(model)
    return 2.0 * size.parameters * sampling.length(PROMPT) * sampling.forwards()


@lru_cache(maxsize=1)
def measured_rate() -> float:
    """Operations a second of the CPU, on products as small models have them; timed once."""
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((64 + PROMPT, _WIDTH), dtype=np.float32)
    weights = rng.standard_normal((_WIDTH, _INNER), dtype=np.float32)
    tokens @ weights  # threads start with the first
    done, started = 0, perf_counter()
    while perf_counter() - started < _LEAST_SECONDS:
        tokens @ weights
        done += 1
    return 2.0 * done * tokens.size * _INNER / (perf_counter() - started)
