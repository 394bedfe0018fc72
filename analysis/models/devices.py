"""Choice of a model's device, by free memory."""

from typing import Any

import psutil
import torch

from analysis.errors import NotEnoughMemory, UserError
from analysis.machine.allotment import allotted_memory
from analysis.specs import ModelSpec
from cache.sizes import gigabytes


def pick_device(device: str) -> str:
    """cuda, mps or cpu. Raises UserError for a device this machine lacks."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, available in there.items() if available)
    if not there[device]:
        names = ", ".join(name for name, available in there.items() if available)
        raise UserError(f"This machine has no {device} device that torch can use. Available: {names}.")
    return device


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished its work, as before reading the clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def free_bytes(device: str) -> int:
    """Bytes free on a kind of device; for CUDA the most on any one GPU."""
    if device == "cuda":
        return max(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))
    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    # A container's limit is not in the machine's figure.
    limit = allotted_memory() - psutil.Process().memory_info().rss
    return max(0, min(psutil.virtual_memory().available, limit))


def placement(need: int, device: str, reclaimable: int, spec: ModelSpec) -> str | dict[str, Any]:
    """A device map for `need` bytes: one device where it fits, else spread over all GPUs and the CPU's memory, and
    where the spec says so the disk.

    Raises UserError, with both figures, when there is not enough.
    """
    there = free_bytes(device) + reclaimable
    if need <= there:
        if device == "cuda":
            frees = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
            return {"": frees.index(max(frees))}
        return {"": device}
    if device == "cuda":
        gpus = sum(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))
        there = gpus + free_bytes("cpu") + reclaimable
        if need <= there:
            return "auto"
    if spec.offload == "disk" and device != "mps":
        return "auto"
    halves = spec.dtype == "auto" and device == "cpu" and need / 2 <= there
    hint = "Choose bfloat16, which needs half." if halves else "Choose a smaller model or a larger machine."
    raise NotEnoughMemory(
        f"Not enough memory for '{spec.source}': it needs {gigabytes(need)} on {device} and there are "
        f"{gigabytes(there)}. {hint}"
    )
