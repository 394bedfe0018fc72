"""DiffusionGemma one block at a time. Its encoder and its decoder share every weight of a block, which is run as a
pair: first the encoder's layer over the clean prefix, causally, which fills that layer of the cache, and then the
decoder's over the canvas, which reads it. A weight's inputs are those in both, one after the other.

Shapes: B sequences of S = P + C tokens, of the prefix and of the canvas after it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from analysis.attention import Observer
from analysis.models.family import Architecture

ENCODER = "model.encoder"
_READER = "encoder_layer"


def canvas_start(architecture: Architecture, length: int) -> int:
    """P of a text of `length` tokens: its last tokens are the canvas, all but one where it is no longer than one."""
    assert architecture.block_size is not None
    return max(1, length - architecture.block_size)


def attach_readers(network: PreTrainedModel) -> None:
    """Attach to every decoder layer the encoder layer that shares its weights, see `reader_of`.

    A tuple holds it, which torch does not register as a child: weights are not listed twice, and a copy of one layer
    has a copy of the other with its own weights.
    """
    readers: Any = network.get_submodule(f"{ENCODER}.language_model.layers")
    writers: Any = network.get_submodule("model.decoder.layers")
    for reader, writer in zip(readers, writers, strict=True):
        vars(writer)[_READER] = (reader,)


def reader_of(block: nn.Module) -> nn.Module | None:
    """The encoder's layer that runs before this one, with the same weights; None for a block that runs alone."""
    joined = vars(block).get(_READER)
    return None if joined is None else joined[0]


def share_weights(block: nn.Module) -> None:
    """Give the encoder's layer of a block the block's own parameters; the encoder's own scalar stays."""
    reader = reader_of(block)
    assert reader is not None
    for name, weight in block.named_parameters():
        path, _, part = name.rpartition(".")
        reader.get_submodule(path)._parameters[part] = weight  # type: ignore[assignment]


def share_embedding(network: PreTrainedModel, device: str) -> None:
    """Give the encoder the decoder's embedding, and move its embedding and rotary buffers to the device."""
    encoder: Any = network.get_submodule(f"{ENCODER}.language_model")
    decoder: Any = network.get_submodule("model.decoder")
    encoder.embed_tokens.weight = decoder.embed_tokens.weight
    for module in (encoder.embed_tokens, encoder.rotary_emb):
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))


@torch.no_grad()
def pair_input(network: PreTrainedModel, tokens: torch.Tensor, start: int) -> tuple[torch.Tensor, dict[str, Any]]:
    """Return the first pair's input states for tokens (B, S), (B, S, hidden), and the arguments of every pair.

    start: P. The decoder conditions on no earlier logits, as in the first step of a canvas.
    """
    encoder: Any = network.get_submodule(f"{ENCODER}.language_model")
    decoder: Any = network.get_submodule("model.decoder")
    positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
    read, canvas = encoder.embed_tokens(tokens[:, :start]), decoder.embed_tokens(tokens[:, start:])
    denoised = decoder.self_conditioning(canvas, torch.zeros_like(canvas))
    asked = {
        "config": encoder.config,
        "inputs_embeds": read,
        "attention_mask": None,
        "cache": DynamicCache(config=encoder.config),
        "position_ids": positions[:, :start],
    }
    masks = {
        "full_attention": create_causal_mask(**asked),
        "sliding_attention": create_sliding_window_causal_mask(**asked),
    }

    def side(body: Any, places: torch.Tensor, masks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {
            kind: {
                "position_embeddings": body.rotary_emb(read, places, kind),
                "position_ids": places,
                "attention_mask": masks.get(kind),
            }
            for kind in set(encoder.config.layer_types)
        }

    options = {"reader": side(encoder, positions[:, :start], masks), "writer": side(decoder, positions[:, start:], {})}
    return torch.cat([read, denoised], dim=1), options


@torch.no_grad()
def run_pair(
    block: Any, states: torch.Tensor, start: int, options: dict[str, Any], observer: Observer | None = None
) -> torch.Tensor:
    """Run both layers of a pair on states (B, S, hidden); same output shape. The observer sees the decoder's."""
    reader, kind = reader_of(block), block.self_attn.layer_type
    assert reader is not None
    cache = DynamicCache(config=block.config)  # only this layer of it is used
    read = reader(states[:, :start], cache=cache, **options["reader"][kind])
    written = block(states[:, start:], cache=cache, **options["writer"][kind], attn_observer=observer)
    return torch.cat([read, written], dim=1)
