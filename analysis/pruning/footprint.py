"""Savings of pruning in weights, bytes and time, each measured, with a sentence on what they mean.

Zeros are weights like any other to a matrix product, so a model that only has more of them is as fast as before. Two
kinds of pruning can be faster: smaller matrices everywhere, and 2:4 on GPUs whose kernels skip the zeros.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from analysis.errors import UserError
from analysis.machine.provenance import environment
from analysis.models import checkpoint as checkpoints
from analysis.models.checkpoint import Checkpoint
from analysis.pruned.naming import quantization_title
from analysis.pruned.packed import packed_bytes, reported_bytes
from analysis.pruned.report_file import load_report
from analysis.pruning.speed import Speed, measure
from analysis.specs import FootprintParams, ModelSpec
from analysis.words import percent

if TYPE_CHECKING:
    import torch

# A matrix with a smaller share of zeros was not pruned in a 2:4 pattern.
_HALF = 0.5


class Size(BaseModel):
    """Of the weights in a checkpoint's files.

    dense_bytes: parameters times their width. bitmask_bytes: where each tensor with zeros enough is kept as one bit a
    weight and its non-zero values. file_bytes: of the files as they lie. two_of_four: whether there are matrices with
    half their weights zero, and all of them have two zeros in every four neighbours.
    """

    model_config = ConfigDict(frozen=True)

    parameters: int
    nonzeros: int
    file_bytes: int
    dense_bytes: int
    bitmask_bytes: int
    two_of_four: bool


class Footprint(BaseModel):
    """speed None: there was no room for both models; the statement says why."""

    model_config = ConfigDict(frozen=True)

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
    checkpoint = checkpoints.find(model.source, model.paradigm)
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
        file_bytes=sum(file.stat().st_size for file in checkpoint.weight_files),
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
