"""Savings of pruning in weights, bytes and time, each measured, with a sentence on what they mean.

Zeros are weights like any other to a matrix product, so a model that only has more of them is as fast as before. Two
kinds of pruning can be faster: smaller matrices everywhere, and 2:4 on GPUs whose kernels skip the zeros. Forwards of
the pruned and the dense model take turns.
"""

import platform
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import psutil
import torch
from pydantic import BaseModel
from scipy.special import bdtr
from torch import nn

from analysis.errors import UserError, first_line
from analysis.job_context import environment
from analysis.models import checkpoint as checkpoints
from analysis.models.checkpoint import Checkpoint
from analysis.models.load import load
from analysis.models.loaded import LoadedModel, synchronize
from analysis.pruned.report_file import load_report, packed_bytes, quantization_title, reported_bytes
from analysis.specs import FootprintParams, ModelSpec
from analysis.words import percent

_WARM_UP = 2
_OLDEST_CAPABILITY = (8, 0)  # NVIDIA's Ampere
_KERNEL_DTYPES = (torch.float16, torch.bfloat16)


class Speed(BaseModel, frozen=True):
    """Median times of one forward of `sequences` × `tokens` tokens, the models taking turns in one run.

    speedup: median of the paired ratios dense / pruned, with its 95 % interval by order statistics (all of the range
    below six repeats). kernels: what the pruned model's matrix products ran on; converted: how many of them on 2:4.
    """

    device: str
    device_name: str
    threads: int
    dtype: str
    sequences: int
    tokens: int
    repeats: int
    dense_seconds: float
    pruned_seconds: float
    dense_tokens_per_second: float
    pruned_tokens_per_second: float
    speedup: float
    low: float
    high: float
    kernels: Literal["dense", "2:4"]
    converted: int


def measure(
    dense: ModelSpec,
    pruned: ModelSpec,
    params: FootprintParams,
    two_of_four: bool,
    on_forward: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Speed, str]:
    """Load both models and time their forwards; also return why 2:4 zeros are not skipped, where they are not.

    Raises UserError where there is no room for both.
    """
    models = [load(dense), load(pruned.model_copy(update={"device": dense.device, "dtype": dense.dtype}))]
    device = models[0].device
    if models[1].device != device:  # two GPUs, and the second had more room
        models[1].network.to(device)  # type: ignore[arg-type] # transformers' wrapper takes `self` for the device
    converted, reason = 0, why_no_kernels(device, models[1].network.dtype) if two_of_four else ""
    if two_of_four and not reason:
        converted, reason = use_kernels_(models[1])
    generator = torch.Generator().manual_seed(0)
    size = params.sequences, params.tokens
    tokens = torch.randint(models[0].geometry.vocabulary, size, generator=generator).to(device)
    seconds = forward_seconds(models, tokens, params.repeats, on_forward)
    medians = np.median(seconds, axis=0)
    ratios = seconds[:, 0] / seconds[:, 1]
    low, high = median_interval(ratios)
    speed = Speed(
        device=device.type,
        device_name=_name(device),
        threads=torch.get_num_threads(),
        dtype=models[1].dtype,
        sequences=params.sequences,
        tokens=params.tokens,
        repeats=params.repeats,
        dense_seconds=medians[0],
        pruned_seconds=medians[1],
        dense_tokens_per_second=tokens.numel() / medians[0],
        pruned_tokens_per_second=tokens.numel() / medians[1],
        speedup=np.median(ratios),
        low=low,
        high=high,
        kernels="2:4" if converted else "dense",
        converted=converted,
    )
    return speed, reason


def forward_seconds(
    models: list[LoadedModel], tokens: torch.Tensor, repeats: int, on_forward: Callable[[int, int], None]
) -> np.ndarray:
    """Wall time of forwards of tokens (B, S), (repeats, models). The models take turns, every other time in reverse."""
    seconds = np.zeros((repeats, len(models)))
    total = (repeats + _WARM_UP) * len(models)
    for turn in range(-_WARM_UP, repeats):
        order = range(len(models)) if turn % 2 == 0 else reversed(range(len(models)))
        for which in order:
            synchronize(tokens.device)
            began = time.perf_counter()
            models[which].predict(tokens)
            synchronize(tokens.device)
            if turn >= 0:
                seconds[turn, which] = time.perf_counter() - began
        on_forward((turn + _WARM_UP + 1) * len(models), total)
    return seconds


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """A distribution-free 95 % interval of the median: the order statistics between which it lies by the binomial law.

    All of the range where there are fewer than six values.
    """
    ordered, count = np.sort(values), len(values)
    rank = max(1, int(np.searchsorted(bdtr(np.arange(count), count, 0.5), 0.025)))
    return float(ordered[rank - 1]), float(ordered[count - rank])


def why_no_kernels(device: torch.device, dtype: torch.dtype) -> str:
    """Return why this device cannot skip 2:4 zeros in this precision, in a sentence, or ''."""
    if device.type != "cuda" or torch.version.hip is not None:
        return f"2:4 kernels need an NVIDIA GPU; this ran on {device.type}."
    if torch.cuda.get_device_capability(device) < _OLDEST_CAPABILITY:
        return f"2:4 kernels need an NVIDIA GPU of the Ampere generation or later; this is {_name(device)}."
    if dtype not in _KERNEL_DTYPES:
        return f"2:4 kernels need bfloat16 or float16 weights; these are {str(dtype).removeprefix('torch.')}."
    return ""


@torch.no_grad()
def use_kernels_(model: LoadedModel) -> tuple[int, str]:
    """Move every 2:4 projection of the blocks to torch's semi-structured kernels, in place.

    Returns how many were moved, and why others were not. Each is tried on a few rows first, as nothing else tells which
    shapes and GPUs a build of torch serves.
    """
    converted, refusals = 0, []
    for block in model.blocks:
        for module in model.projections(block).values():
            if not isinstance(module, nn.Linear) or int(torch.count_nonzero(module.weight)) * 2 > module.weight.numel():
                continue
            try:
                sparse = torch.sparse.to_sparse_semi_structured(module.weight.data.contiguous())
                nn.functional.linear(module.weight.new_ones(8, module.in_features), sparse)
            except (RuntimeError, NotImplementedError, ValueError) as error:
                refusals.append(first_line(error))
                continue
            module.weight = nn.Parameter(sparse, requires_grad=False)
            converted += 1
    if not refusals:
        return converted, ""
    return converted, f"torch's 2:4 kernels refused {len(refusals)} matrices ({refusals[0]})."


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple {platform.machine()} GPU"
    return f"{platform.machine()} CPU with {psutil.cpu_count()} cores"


# A matrix with a smaller share of zeros was not pruned in a 2:4 pattern.
_HALF = 0.5


class Size(BaseModel, frozen=True):
    """Of the weights in a checkpoint's files.

    dense_bytes: parameters times their width. bitmask_bytes: where each tensor with zeros enough is kept as one bit a
    weight and its non-zero values. file_bytes: of the files as they lie. two_of_four: whether there are matrices with
    half their weights zero, and all of them have two zeros in every four neighbours.
    """

    parameters: int
    nonzeros: int
    file_bytes: int
    dense_bytes: int
    bitmask_bytes: int
    two_of_four: bool


class Footprint(BaseModel, frozen=True):
    """speed None: there was no room for both models; the statement says why."""

    dense: Size
    pruned: Size
    speed: Speed | None
    statement: str
    environment: dict[str, Any]


def footprint(
    dense: ModelSpec,
    pruned: ModelSpec,
    params: FootprintParams,
    on_forward: Callable[[int, int], None] = lambda done, total: None,
) -> Footprint:
    """Compare a pruned checkpoint with its dense one, on the device and in the precision of `dense`.

    Both models are loaded here, privately. Raises UserError for a source that is not on this disk or cannot be opened,
    for two models of different families, and for texts longer than they take.
    """
    before, after = _on_disk(dense), _on_disk(pruned)
    if (before.geometry.layers, before.geometry.hidden) != (after.geometry.layers, after.geometry.hidden):
        raise UserError(
            f"'{pruned.source}' is no pruned '{dense.source}': their numbers of layers or hidden sizes differ. Name "
            "the model that it was made from."
        )
    longest = min(before.geometry.max_length, after.geometry.max_length)
    if params.tokens > longest:
        raise UserError(f"These models take {longest} tokens, not {params.tokens}. Measure on shorter sequences.")
    sizes = size_of(before), size_of(after)
    measured, reason = None, ""
    report = load_report(after.folder)
    quantized = "" if report is None else quantization_title(report.get("parameters", {}))
    if quantized:
        packed = reported_bytes(report or {})
        arithmetic = "" if packed is None else f" As {quantized} they come to {_megabytes(packed[1])} by arithmetic."
        reason = f"No time is measured, as the weights are {quantized} in value alone (fake quantization).{arithmetic}"
    else:
        try:
            measured, reason = measure(dense, pruned, params, sizes[1].two_of_four, on_forward)
        except UserError as error:
            reason = f"The speed was not measured: {error}"
    return Footprint(
        dense=sizes[0],
        pruned=sizes[1],
        speed=measured,
        statement=statement(*sizes, measured, reason),
        environment=environment(),
    )


def _on_disk(model: ModelSpec) -> Checkpoint:
    checkpoint = checkpoints.checkpoint_of(model)
    if checkpoint is None:
        raise UserError(f"'{model.source}' is not on this disk. Load it once, or give a local folder.")
    return checkpoint


def size_of(checkpoint: Checkpoint) -> Size:
    """Count the weights of a checkpoint, one tensor at a time."""
    import torch
    from safetensors import safe_open

    parameters = nonzeros = dense_bytes = bitmask_bytes = 0
    halved = []
    for file in checkpoint.weight_files:
        with safe_open(file, "pt") as handle:
            for name in handle.keys():  # noqa: SIM118 - a safetensors handle is no mapping
                weight = handle.get_tensor(name)
                count, kept, width = weight.numel(), int(torch.count_nonzero(weight)), weight.element_size()
                parameters, nonzeros = parameters + count, nonzeros + kept
                dense_bytes += count * width
                bitmask_bytes += packed_bytes(count, kept, 8 * width)
                if weight.ndim == 2 and count and kept <= _HALF * count:
                    halved.append(_two_of_four(weight))
    return Size(
        parameters=parameters,
        nonzeros=nonzeros,
        file_bytes=checkpoint.file_bytes,
        dense_bytes=dense_bytes,
        bitmask_bytes=bitmask_bytes,
        two_of_four=bool(halved) and all(halved),
    )


def _two_of_four(weight: "torch.Tensor") -> bool:
    """Return True if every four neighbours of a row hold two zeros."""
    if weight.shape[1] % 4:
        return False
    return all(bool(((rows == 0).unflatten(1, (-1, 4)).sum(dim=-1) >= 2).all()) for rows in weight.split(1024))


def statement(dense: Size, pruned: Size, speed: Speed | None, reason: str = "") -> str:
    """Say what was saved and what was not. reason: why 2:4 zeros were not skipped, or no speed measured."""
    parts = []
    smaller = pruned.parameters < dense.parameters
    zeros = 1 - pruned.nonzeros / pruned.parameters
    if smaller:
        share = 1 - pruned.parameters / dense.parameters
        parts.append(f"The pruned model has {percent(share, 1)} fewer weights, so it is smaller in memory and on disk.")
    elif pruned.nonzeros < dense.nonzeros:
        parts.append(
            f"{percent(zeros, 1)} of the pruned model's weights are zero. They take the same memory as before; kept "
            "as a bit a "
            f"weight and the other values, its files would be {_megabytes(pruned.bitmask_bytes)} instead of "
            f"{_megabytes(dense.dense_bytes)}."
        )
    else:
        parts.append("Nothing was pruned.")
    if speed is not None and speed.kernels == "2:4":
        parts.append(f"{speed.converted} matrices run on 2:4 kernels, which skip the zeros.")
    elif not smaller and pruned.nonzeros < dense.nonzeros:
        kind = "Its 2:4 zeros" if pruned.two_of_four else "Zeros"
        parts.append(
            f"{kind} are multiplied like any other weight here, so the model is not faster: only smaller matrices are, "
            "and 2:4 on GPUs with kernels for it."
        )
    if reason:
        parts.append(reason)
    if speed is not None:
        parts.append(
            f"Measured: {speed.speedup:.2f} times the dense model's speed ({speed.low:.2f} to {speed.high:.2f}) on "
            f"{speed.device_name}."
        )
    return " ".join(parts)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
