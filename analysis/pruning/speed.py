"""Speed of a pruned model beside the dense one: forwards that take turns, and 2:4 kernels where there are any."""

import platform
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import psutil
import torch
from pydantic import BaseModel, ConfigDict
from scipy import stats
from torch import nn

from analysis.errors import first_line
from analysis.models.devices import synchronize
from analysis.models.load import load
from analysis.models.loaded import LoadedModel
from analysis.specs import FootprintParams, ModelSpec

_WARM_UP = 2
_OLDEST_CAPABILITY = (8, 0)  # NVIDIA's Ampere
_KERNEL_DTYPES = (torch.float16, torch.bfloat16)


class Speed(BaseModel):
    """Median times of one forward of `sequences` × `tokens` tokens, the models taking turns in one run.

    speedup: median of the paired ratios dense / pruned, with its 95 % interval by order statistics (all of the range
    below six repeats). kernels: what the pruned model's matrix products ran on; converted: how many of them on 2:4.
    """

    model_config = ConfigDict(frozen=True)

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
    rank = max(1, int(stats.binom.ppf(0.025, count, 0.5)))
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
