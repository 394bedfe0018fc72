"""DiffusionGemma whole and one block at a time: its encoder reads text causally into a cache, its decoder denoises a
canvas beside it.

Both share every weight but one scalar per layer. The cache is transformers' dynamic one: with the static one its
sliding layers see keys that are not there, from the window on.

A block runs as a pair: first the encoder's layer over the clean prefix, causally, which fills that layer of the cache,
and then the decoder's over the canvas, which reads it. A weight's inputs are those in both, one after the other.

Shapes: B sequences of S = P + C tokens, of the prefix and of the canvas after it; V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from analysis.attention import AttentionInputs, Edit, Observer
from analysis.models.checks import check_logits
from analysis.models.family import Architecture
from analysis.models.kept_keys import HeldKeys
from analysis.models.loaded import LoadedModel


def new_cache(network: PreTrainedModel) -> DynamicCache:
    """An empty cache with the layers' windows."""
    return DynamicCache(config=network.config.get_text_config())


@torch.no_grad()
def read(
    network: PreTrainedModel,
    tokens: torch.Tensor,
    cache: DynamicCache,
    start: int,
    observer: Observer | None = None,
    edit: Edit | None = None,
) -> torch.Tensor:
    """Read tokens (B, N) at positions from `start` on into the cache. Return the last states (B, N, hidden)."""
    positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)[None]
    return network.model.encoder(
        input_ids=tokens, cache=cache, position_ids=positions, attn_observer=observer, attn_edit=edit
    ).last_hidden_state


@torch.no_grad()
def denoised(
    network: PreTrainedModel,
    canvas: torch.Tensor,
    cache: DynamicCache,
    start: int,
    believed: torch.Tensor | None,
    observer: Observer | None = None,
) -> torch.Tensor:
    """Return logits (B, C, V) for a canvas (B, C) at positions from `start` on, after the soft cap.

    believed (B, C, V): the tempered logits of the step before, on which the decoder conditions itself.
    """
    positions = torch.arange(start, start + canvas.shape[1], device=canvas.device)[None]
    return network(
        decoder_input_ids=canvas,
        cache=cache,
        decoder_position_ids=positions,
        self_conditioning_logits=believed,
        attn_observer=observer,
    ).logits


@dataclass(frozen=True)
class PlacedKeys:
    """An `Edit`: queries from position `first` on see the keys at these positions, (K,) for each layer, as far as the
    text and the layer's window let them.
    """

    positions: list[np.ndarray]
    first: int

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        device = inputs.query.device
        keys = torch.from_numpy(self.positions[layer]).to(device)
        queries = torch.arange(self.first, self.first + inputs.query.shape[2], device=device)[:, None]
        seen = keys <= queries
        if inputs.window:
            seen = seen & (keys > queries - inputs.window)
        return replace(inputs, mask=seen[None, None], causal=False)


class CanvasCache(HeldKeys):
    """The encoder's keys and values of one text. A layer with a window holds the positions that the next token sees."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__(model, new_cache(model.network))

    @property
    def whole(self) -> list[int]:
        """Return the number of positions that each layer would hold if none had been dropped."""
        return [min(self.read, window - 1) if window else self.read for window in self._windows]

    def predict(
        self,
        tokens: torch.Tensor,
        first: int,
        believed: torch.Tensor | None = None,
        observer: Observer | None = None,
        reader: Observer | None = None,
    ) -> torch.Tensor:
        """Return logits (1, C, V) for the canvas, which is the tokens (1, S) from `first` on; see `denoised`.

        Unread tokens before it are read and shown to `reader`. Raises UserError if the logits are not finite.
        """
        tokens = tokens.to(self.model.device)
        if self.read < first:
            self._read(tokens[:, self.read : first], reader)
        logits = denoised(self.model.network, tokens[:, first:], self._kept, first, believed, observer)
        check_logits(logits, self.model.dtype)
        return logits

    def _read(self, tokens: torch.Tensor, reader: Observer | None) -> None:
        start, end = self.read, self.read + tokens.shape[1]
        # transformers takes the cached tokens for the last of the text; if some are gone, pass their positions.
        gone = [len(held) for held in self.positions] != self.whole
        edit = PlacedKeys(self.with_those(start, end), start) if gone else None
        read(self.model.network, tokens, self._kept, start, reader, edit)
        self._hold(end)
        for layer, window in enumerate(self._windows):
            if window:  # its cache drops the first tokens beyond the window's size
                self.positions[layer] = self.positions[layer][-(window - 1) :]
        if gone:  # remaining tokens can lie further back than the window reaches
            reach = [end - window if window else -1 for window in self._windows]
            self.keep([np.flatnonzero(held > last) for held, last in zip(self.positions, reach, strict=True)])

    @property
    def _windows(self) -> list[int]:
        return [int(getattr(layer, "sliding_window", 0)) for layer in self._kept.layers]


def show(network: PreTrainedModel, tokens: torch.Tensor, observer: Observer) -> None:
    """Show an observer the decoder's attention on a canvas of `tokens` (1, N) after the same tokens."""
    cache = new_cache(network)
    read(network, tokens, cache, 0)
    denoised(network, tokens, cache, tokens.shape[1], None, observer)


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
