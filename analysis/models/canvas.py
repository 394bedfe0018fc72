"""DiffusionGemma's two passes: its encoder reads text causally into a cache, its decoder denoises a canvas beside it.

Both share every weight but a scalar a layer. The cache is transformers' dynamic one: with the static one its sliding
layers see keys that are not there, from the window on. Shapes: B sequences, C tokens of the canvas, V vocabulary.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from analysis.attention import AttentionInputs, Edit, Observer
from analysis.models.loaded import LoadedModel
from analysis.models.prefix import HeldKeys
from analysis.models.weight_checks import check_logits


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
