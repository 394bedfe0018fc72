"""Running a model one block at a time, on private copies, for layer-by-layer pruning and streaming.

The model itself is only read. Its blocks are in memory or, if the whole does not fit its device, are read from the
checkpoint's files as they are due.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from accelerate.hooks import remove_hook_from_module
from torch import nn
from transformers import AutoModelForCausalLM

from analysis import attention
from analysis.attention import Enough, Observer
from analysis.errors import UserError
from analysis.models import checkpoint as checkpoints
from analysis.models.canvas import (
    ENCODER,
    attach_readers,
    canvas_start,
    pair_input,
    reader_of,
    run_pair,
    share_embedding,
    share_weights,
)
from analysis.models.checks import check_finite
from analysis.models.experts import expert_matrices, packed_name
from analysis.models.files import StoredTensor, block_prefix, reader_prefix, require, stored_tensors
from analysis.models.layout import Layout
from analysis.models.load import config_of, dtype_of, make_bidirectional, opened_model, register, width_in_memory
from analysis.models.loaded import LoadedModel, OpenedModel, pick_device
from analysis.specs import METHODS, ModelSpec, either


@dataclass
class BlockInput:
    """Arguments of a block: states (B, S, hidden), and the arguments that every block shares.

    start: first position of the canvas, for blocks that are run as pairs; None for all others.
    """

    states: torch.Tensor
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    start: int | None = None


@torch.no_grad()
def first_input(model: LoadedModel, tokens: torch.Tensor, layout: Layout | None = None) -> BlockInput:
    """The input of the first block for tokens (B, S), without running any block. layout: see `LoadedModel.predict`.

    Raises UserError for a model whose blocks do not all attend in the same way.
    """
    if model.architecture.noise == "uniform":
        start = canvas_start(model.architecture, tokens.shape[1])
        states, shared = pair_input(model.network, tokens.to(model.device), start)
        return BlockInput(states, (), shared, start)
    kinds = set(getattr(model.network.config, "layer_types", None) or ())
    if len(kinds) > 1 and not model.architecture.encoder:  # an encoder's blocks know their own kind
        others = [name for name, row in METHODS.items() if row.removes and row.ranking != "layerwise"]
        raise UserError(
            f"The blocks of this {model.architecture.name} model attend in different ways "
            f"({', '.join(sorted(kinds))}), so it cannot be run block by block. Choose {either(others)}, ranked by the "
            "dense model, and weights as stored or rounded to nearest."
        )
    caught: list[BlockInput] = []

    def catch(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        caught.append(BlockInput(arguments[0], arguments[1:], options))
        raise Enough

    handle = model.blocks[0].register_forward_pre_hook(catch, with_kwargs=True)
    try:
        model.hidden(tokens, layout=layout)
    except Enough:
        pass
    finally:
        handle.remove()
    return caught[0]


@torch.no_grad()
def run_block(block: nn.Module, given: BlockInput, observer: Observer | None = None) -> torch.Tensor:
    """The block's output states (B, S, hidden)."""
    if given.start is not None:
        return run_pair(block, given.states, given.start, given.options, observer)
    output = block(given.states, *given.arguments, **(given.options | {"attn_observer": observer}))
    return output[0] if isinstance(output, tuple) else output


def private_block(model: LoadedModel, index: int, stored: dict[str, StoredTensor]) -> nn.Module:
    """A copy of a block that may be changed, on the model's device and in its precision.

    Raises UserError where the files lack one of its tensors, or it is not finite.
    """
    block = copy.deepcopy(model.blocks[index])
    reader = reader_of(block)
    for module in (block, reader):
        if module is not None:
            remove_hook_from_module(module, recurse=True)
    if any(weight.is_meta for weight in block.parameters()):
        prefix = f"{block_prefix(model)}.{index}."
        held = {name: buffer.clone() for name, buffer in block.named_buffers() if not buffer.is_meta}
        block = block.to_empty(device=model.device)
        matrices = {f"{name}.weight": matrix.weight for name, matrix in expert_matrices(block).items()}
        packed = f"{packed_name(block)}."
        plain = {name: weight for name, weight in block.named_parameters() if not name.startswith(packed)}
        require(stored, (prefix + name for name in (*plain, *matrices)))
        with torch.no_grad():
            for name, weight in (*plain.items(), *matrices.items()):
                weight.copy_(stored[prefix + name].native())
                check_finite([(prefix + name, weight)], f"The weights in '{model.checkpoint.folder}' cannot be used")
            for name, buffer in block.named_buffers():
                buffer.copy_(stored[prefix + name].read() if prefix + name in stored else held[name])
        if reader is not None:
            _read_own(model, reader, f"{reader_prefix(model)}.{index}.", stored)
    if reader is not None:
        share_weights(block)
        reader.to(model.device)
    return block.to(model.device)


@torch.no_grad()
def _read_own(model: LoadedModel, reader: nn.Module, prefix: str, stored: dict[str, StoredTensor]) -> None:
    """Read what the encoder's layer of a pair does not share: its buffers."""
    names = [name for name, _ in reader.named_buffers()]
    require(stored, (prefix + name for name in names))
    for name in names:
        path, _, part = name.rpartition(".")
        read = stored[prefix + name].read().to(model.device, model.network.dtype)
        check_finite([(prefix + name, read)], f"The weights in '{model.checkpoint.folder}' cannot be used")
        reader.get_submodule(path)._buffers[part] = read


def skeleton(spec: ModelSpec, check: Callable[[OpenedModel], None] = lambda opened: None) -> LoadedModel:
    """The model without its blocks' weights and without a head. check: see `load`. Raises UserError as `load` does.

    It serves `first_input` and `private_block`, never a whole forward.
    """
    register()
    device = pick_device(spec.device)
    checkpoint = checkpoints.checkpoint_of(spec)
    if checkpoint is None:
        raise UserError(f"'{spec.source}' is not on this disk. Download it first; it is then read block by block.")
    config = config_of(checkpoint)
    opened = opened_model(spec, checkpoint, config)
    check(opened)
    dtype = dtype_of(checkpoint, width_in_memory(spec, device))
    with init_empty_weights(include_buffers=False):
        network = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention.IMPLEMENTATION)
    content = checkpoints.fingerprint(checkpoint)
    model = LoadedModel(spec, checkpoint, opened.tokenizer, opened.mask_token, network.eval(), content)
    make_bidirectional(model)
    stored, apart = stored_tensors(model), [f"{block_prefix(model)}."]
    paired = model.architecture.noise == "uniform"
    if paired:
        attach_readers(network)
        apart.append(f"{ENCODER}.")  # text passes no weights of its own, only buffers of its layers
    head = network.get_output_embeddings()
    for name, module in network.named_modules():
        if f"{name}.".startswith(tuple(apart)) or module is head:
            continue
        for part, weight in list(module.named_parameters(recurse=False)):
            full = f"{name}.{part}"
            if full not in stored:
                raise UserError(
                    f"'{checkpoint.folder}' holds no tensor for '{full}', so it cannot be read block by block."
                )
            held = torch.nn.Parameter(stored[full].native().to(device, weight.dtype), requires_grad=False)
            check_finite([(full, held)], f"The weights in '{checkpoint.folder}' cannot be used")
            setattr(module, part, held)
        for part, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, part, buffer.to(device))
    if paired:
        share_embedding(network, device)
    return model
