"""Add other weights to compare attention with: one row in `MOVEMENT_NULLS`.

The implementation draws a model from the model, a seed, and a function that shows a model the recorded inputs.
"""

from dataclasses import replace

import torch

from analysis.models.load import random_like
from analysis.models.loaded import LoadedModel
from analysis.recording.weight_nulls import DRAWS, Show
from analysis.sinks.movement import MOVEMENT_NULLS, MovementNull


@torch.no_grad()
def flipped_like(model: LoadedModel, seed: int, show: Show) -> LoadedModel:
    """The model with each weight times 1 or −1."""
    drawn, generator = random_like(model, seed), torch.Generator().manual_seed(seed)
    for own, weight in zip(model.network.parameters(), drawn.network.parameters(), strict=True):
        weight.copy_(own * (2 * torch.randint(2, own.shape, generator=generator) - 1))
    return replace(drawn, fingerprint=f"flipped-{seed}-{model.fingerprint[:16]}")


MOVEMENT_NULLS.add(
    MovementNull(
        "flipped",
        "flipped weights",
        "the model with random signs on its weights, on the same inputs",
        implementation=flipped_like,
    )
)
assert DRAWS["flipped"] is flipped_like and MOVEMENT_NULLS["flipped"].weights
