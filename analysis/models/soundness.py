"""Whether weights belong to their config, and whether numbers are numbers: checked before anyone measures anything."""

from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from analysis import attention
from analysis.errors import UserError
from analysis.models.checkpoint import Checkpoint, stored_shapes
from analysis.models.names import native_name


def check_fits(checkpoint: Checkpoint, config: Any) -> None:
    """Compares config and files before any memory is taken: the model is built without weights and counted.

    Raises UserError where the config's sizes differ, the class that runs is not the one named in the config, or the
    model has more parameters than the files hold.
    """
    name, layers = checkpoint.architecture.name, getattr(config, "num_hidden_layers", checkpoint.geometry.layers)
    if layers != checkpoint.geometry.layers:
        raise UserError(
            f"The {name} config in '{checkpoint.folder}' says {checkpoint.geometry.layers} layers in one field and "
            f"{layers} in another. Remove the one that is wrong."
        )
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config, attn_implementation=attention.IMPLEMENTATION)
    runs, named = type(network).__name__, checkpoint.architecture.classes
    if named and runs.lower() not in {class_name.lower() for class_name in named}:
        raise UserError(
            f"The config in '{checkpoint.folder}' names the class {', '.join(named)}, and its model type "
            f"'{checkpoint.config['model_type']}' runs as {runs}, which is another model. Correct whichever is wrong."
        )
    wanted = sum(weight.numel() for weight in network.parameters())
    shapes = stored_shapes(checkpoint)
    stored = sum(prod(shape) for _, shape in shapes.values())
    if wanted > stored:
        native = {native_name(checkpoint.architecture, stored_name) for stored_name in shapes}
        native |= {
            f"{network.base_model_prefix}.{parameter}" for parameter in native
        }  # files saved from the body alone
        lacking = next((parameter for parameter, _ in network.named_parameters() if parameter not in native), None)
        without = "" if lacking is None else f", without '{lacking}'"
        raise UserError(
            f"The weights in '{checkpoint.folder}' do not fit its config: a {name} model of these sizes has {wanted:,} "
            f"parameters and the files hold {stored:,}{without}. The checkpoint is incomplete, changed, or of another "
            "architecture."
        )


@torch.no_grad()
def check_finite(tensors: Iterable[tuple[str, torch.Tensor]], where: str) -> None:
    """Raises UserError naming the first of these tensors that holds NaN or infinity. Those without memory are left out.

    where: what they belong to, as it is called in the message.
    """
    for name, tensor in tensors:
        if not tensor.is_meta and tensor.is_floating_point() and not is_finite(tensor):
            raise UserError(
                f"{where}: '{name}' holds values that are not finite (NaN or infinite). The checkpoint is damaged; "
                "download or write it again."
            )


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a floating-point tensor holds neither NaN nor infinity.

    Its sum tells, as fast as memory is read and without a copy; only a sum that overflows takes a second look.
    """
    if bool(torch.isfinite(tensor.sum())):
        return True
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor))


def check_logits(logits: torch.Tensor, dtype: str) -> None:
    """Raises UserError for predictions with NaN or infinity. Minus infinity is an answer: a token that is ruled out."""
    if not bool(torch.isfinite(logits.sum())) and not bool(torch.isfinite(logits.amax())):
        raise UserError(
            f"The model's predictions are not finite (NaN or infinite) in {dtype}: its numbers overflow, or its "
            "weights are damaged. Run in float32, or check the checkpoint."
        )


def state(network: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    """Parameters and buffers by name."""
    yield from network.named_parameters()
    yield from network.named_buffers()
