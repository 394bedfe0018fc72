"""A model larger than its device: all but the blocks in memory, the blocks read from the files as they are due."""

from collections.abc import Callable

import torch
from accelerate import init_empty_weights
from transformers import AutoModelForCausalLM

from analysis import attention
from analysis.errors import UserError
from analysis.models import checkpoint as checkpoints
from analysis.models.canvas_blocks import ENCODER, attach_readers, share_embedding
from analysis.models.devices import pick_device
from analysis.models.files import block_prefix, stored_tensors
from analysis.models.load import config_of, dtype_of, make_bidirectional, opened_model, register, width_in_memory
from analysis.models.loaded import LoadedModel, OpenedModel
from analysis.models.weight_checks import check_finite
from analysis.specs import ModelSpec


def skeleton(spec: ModelSpec, check: Callable[[OpenedModel], None] = lambda opened: None) -> LoadedModel:
    """The model without its blocks' weights and without a head. check: see `load`. Raises UserError as `load` does.

    It serves `first_input` and `private_block`, never a whole forward.
    """
    register()
    device = pick_device(spec.device)
    checkpoint = checkpoints.find(spec.source, spec.paradigm)
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
