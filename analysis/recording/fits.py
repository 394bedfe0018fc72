"""Models that fit this machine, by memory and disk, and the time of recording with them, before anything is downloaded.
Imports no torch.

Memory: the weights in the precision they run in, 5 % more for activations, the logits of a forward as a sampler holds
them, and a recording of the default size. Disk: the weights as published, if they still have to be downloaded.
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analysis.errors import UserError
from analysis.machine.process import Room, room
from analysis.machine.speed import Speed, measured_speed
from analysis.models.before_loading import SIZES, Size, size_of
from analysis.models.checkpoint import Checkpoint, find
from analysis.models.registry import MODELS, Model
from analysis.recording.trajectory import recording_bytes
from analysis.specs import LLaDASampling, ModelSpec
from cache.environment import gigabytes

Verdict = Literal["fits", "tight", "does not fit"]
TIGHT = 0.8  # of a device's memory, or of what is free on it now
PROMPT = 16  # tokens
PRECISIONS = {2: "bfloat16", 4: "float32"}  # by bytes per weight
_HEADROOM = 1.05  # as when a model is loaded
_LOGIT_COPIES = 3  # logits, their probabilities and what is ranked by


@dataclass(frozen=True)
class Fit:
    """A model's needs on this machine. memory, disk: bytes needed; disk is 0 for a model already here. dtype: precision
    it runs in. counted: whether its parameters were counted from the published config, not taken from its name.
    """

    verdict: Verdict
    memory: int
    disk: int
    free_disk: int
    room: Room
    dtype: str
    counted: bool
    advice: str = ""

    @property
    def sentence(self) -> str:
        """The verdict with its numbers, for pages and the command line."""
        about = "" if self.counted else "about "
        where = {"cpu": "memory", "mps": "memory", "cuda": "GPU memory"}[self.room.device]
        need = f"{about}{gigabytes(self.memory)} of {gigabytes(self.room.total)} {where} in {self.dtype}"
        disk = f", {about}{gigabytes(self.disk)} to download ({gigabytes(self.free_disk)} free)" if self.disk else ""
        more = f" {self.advice}" if self.advice else ""
        return f"{self.verdict.capitalize()}: {need}{disk}.{more}"


def fit_of(model: Model, device: str = "auto", dtype: str = "auto") -> Fit | None:
    """Return how a model of the registry fits a device and precision of `ModelSpec`; None if its size is unknown."""
    size, here = known_size(model)
    if size is None:
        return None
    there = room(device)
    disk, free_disk = 0 if here else size.parameters * size.stored, free_on_disk()
    width = width_of(size, there.device, dtype)
    memory = memory_needed(size, width, model)
    verdict = _verdict(memory, there)
    advice = ""
    if width > 2 and verdict != "fits" and _verdict(memory_needed(size, 2, model), there) != "does not fit":
        advice = f"In bfloat16 it takes {gigabytes(memory_needed(size, 2, model))}."
    if disk > free_disk:
        verdict, advice = "does not fit", "The disk is too full for its download."
    return Fit(verdict, memory, disk, free_disk, there, PRECISIONS[width], size.counted, advice)


def known_size(model: Model) -> tuple[Size | None, bool]:
    """Return the size of a model, and whether the model is on this disk; its files then give the size."""
    try:
        checkpoint = find(model.name)
    except UserError:  # a damaged or foreign copy
        checkpoint = None
    return (SIZES.get(model.source), False) if checkpoint is None else (size_of(checkpoint), True)


def memory_needed(size: Size, width: int, model: Model) -> int:
    """Return the bytes of the weights and of a recording of the default size. width: bytes per weight."""
    sampling = default_sampling(model)
    positions = sampling.length(PROMPT)
    recording = recording_bytes(sampling.forwards(), size.layers, size.heads, size.kv_heads, positions, "auto")
    logits = _LOGIT_COPIES * 4 * positions * size.vocabulary
    return int(_HEADROOM * size.parameters * width) + recording + logits


def default_sampling(model: Model) -> LLaDASampling:
    """Return a sampling of the default text length of pages. Samplers differ in rules, not in default sizes."""
    fields = {name: value for name, value in model.sampling if name in LLaDASampling.model_fields}
    return LLaDASampling.model_validate(fields)


def width_of(size: Size, device: str, dtype: str) -> int:
    """Return the bytes per weight in which a model runs. dtype: of `ModelSpec`."""
    return {"bfloat16": 2, "float32": 4, "auto": 4 if device == "cpu" else max(2, min(4, size.stored))}[dtype]


def _verdict(memory: int, there: Room) -> Verdict:
    if memory > there.total:
        return "does not fit"
    return "tight" if memory > TIGHT * there.total or memory > there.free else "fits"


def free_on_disk() -> int:
    """Return the free bytes on the disk of the hub's downloads."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE).absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return shutil.disk_usage(existing).free


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
