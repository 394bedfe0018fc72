"""Real models that run on this machine, offered before anything is downloaded. Imports no torch."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from analysis.machine.room import room
from analysis.machine.speed import Speed, measured_speed
from analysis.models.checkpoint import Checkpoint
from analysis.models.registry import MODELS, Model
from analysis.models.sizes import Size, size_of
from analysis.recording.fits import PRECISIONS, PROMPT, Fit, default_sampling, fit_of, known_size, width_of
from analysis.specs import ModelSpec


@dataclass(frozen=True)
class Offer:
    """A real model for this machine. bytes: to download, or as it lies here. minutes: of loading it and a recording of
    the default size, without the download; None where the device's speed is not known.
    """

    model: Model
    fit: Fit
    bytes: int
    minutes: float | None
    here: bool

    @property
    def sentence(self) -> str:
        """`A real model: 0.6 GB, about 2 minutes on this machine`."""
        size = f"A real model: {max(self.bytes / 1e9, 0.1):.1f} GB{' on this disk' if self.here else ''}"
        if self.minutes is None:
            return f"{size}, fits this machine"
        minutes = max(1, math.ceil(self.minutes))
        return f"{size}, about {minutes} minute{'s' if minutes > 1 else ''} on this machine"


def offers(count: int, speed: Callable[[str, str], Speed | None] = measured_speed) -> list[Offer]:
    """The quickest models of the registry that fit here, trained as diffusion models and not part of this package.

    One per size: of models with the same shape the first one listed. speed: of a device and precision.
    """
    found: dict[Size, Offer] = {}
    for model in MODELS.values():
        size, here = known_size(model)
        fit = fit_of(model)
        usable = size is not None and size.counted and not model.sparse and not model.masked_lm and not model.ships
        if fit is None or size is None or not usable or fit.verdict == "does not fit" or size in found:
            continue
        found[size] = Offer(model, fit, size.parameters * size.stored, minutes_of(model, fit, speed), here)
    return sorted(found.values(), key=lambda offer: (offer.fit.verdict != "fits", offer.minutes or 0, offer.bytes))[
        :count
    ]


def minutes_of(
    model: Model, fit: Fit | None, speed: Callable[[str, str], Speed | None] = measured_speed
) -> float | None:
    """Return the minutes of a recording of the default size, of loading the model too; None where they are not known:
    a mixture of experts takes less than its weights say.
    """
    size, _ = known_size(model)
    known = None if fit is None else speed(fit.room.device, fit.dtype)
    if size is None or fit is None or known is None or model.sparse:
        return None
    return recording_seconds(size, model, fit.dtype, known) / 60


def recording_seconds(size: Size, model: Model, dtype: str, speed: Speed) -> float:
    """Return the seconds of loading a dense model and recording with it at the default size. dtype: precision it runs
    in.
    """
    sampling = default_sampling(model)
    loading = speed.loading(size.parameters * {"bfloat16": 2, "float32": 4}[dtype])
    return loading + speed.forwards(size.parameters, sampling.length(PROMPT), sampling.forwards())


def planned_seconds(checkpoint: Checkpoint, spec: ModelSpec, tokens: int, forwards: int) -> float | None:
    """Return the seconds of so many forwards of a text of so many tokens; None where the speed is not known, and for a
    mixture of experts.
    """
    size, there = size_of(checkpoint), room(spec.device)
    known = measured_speed(there.device, PRECISIONS[width_of(size, there.device, spec.dtype)])
    if known is None or checkpoint.geometry.experts:
        return None
    return known.forwards(size.parameters, tokens, forwards)
