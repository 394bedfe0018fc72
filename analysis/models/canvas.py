"""DiffusionGemma's two passes: its encoder reads text causally into a cache, its decoder denoises a canvas beside it.

Both share every weight but a scalar a layer. The cache is transformers' dynamic one: with the static one its sliding
layers see keys that are not there, from the window on. Shapes: B sequences, C tokens of the canvas, V vocabulary.
"""

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from analysis.attention import Observer


def new_cache(network: PreTrainedModel) -> DynamicCache:
    """An empty cache with the layers' windows."""
    return DynamicCache(config=network.config.get_text_config())


@torch.no_grad()
def read(
    network: PreTrainedModel, tokens: torch.Tensor, cache: DynamicCache, start: int, observer: Observer | None = None
) -> torch.Tensor:
    """Reads tokens (B, N) that stand from position `start` on into the cache. The last states (B, N, hidden)."""
    positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)[None]
    options: dict[str, Any] = {} if observer is None else {"attn_observer": observer}
    return network.model.encoder(input_ids=tokens, cache=cache, position_ids=positions, **options).last_hidden_state


@torch.no_grad()
def denoised(
    network: PreTrainedModel,
    canvas: torch.Tensor,
    cache: DynamicCache,
    start: int,
    believed: torch.Tensor | None,
    observer: Observer | None = None,
) -> torch.Tensor:
    """Logits (B, C, V) about a canvas (B, C) that stands from position `start` on, after the soft cap.

    believed (B, C, V): the tempered logits of the step before, on which the decoder conditions itself.
    """
    positions = torch.arange(start, start + canvas.shape[1], device=canvas.device)[None]
    options: dict[str, Any] = {} if observer is None else {"attn_observer": observer}
    return network(
        decoder_input_ids=canvas,
        cache=cache,
        decoder_position_ids=positions,
        self_conditioning_logits=believed,
        **options,
    ).logits


def show(network: PreTrainedModel, tokens: torch.Tensor, observer: Observer) -> None:
    """Shows an observer the decoder's attention on a canvas of `tokens` (1, N) after the same tokens."""
    cache = new_cache(network)
    read(network, tokens, cache, 0)
    denoised(network, tokens, cache, tokens.shape[1], None, observer)
