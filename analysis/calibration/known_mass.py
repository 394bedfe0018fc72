"""Attention mass of a dense model on calibration text, which tuning and every pruning on that text need: found once.

A setting of the discount makes other weights of tokens from the same mass, and so do a method and a sparsity.
"""

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import torch

from analysis.models.loaded import LoadedModel
from cache.keys import code_version, content_key
from cache.stores import Stores

Batches = Sequence[torch.Tensor]
"""Token rows (B, S) of each forward."""

_COMPUTED_BY = ("analysis.calibration.runners", "analysis.models.resident", "analysis.models.blocks")


class KnownMass:
    """Stored attention mass of a model on noised text, by batch (B, L, S) float32; nothing without a store.

    The rows of a batch decide the last bits, so mass is known for the very batches that it was found with. read:
    whether any was.
    """

    def __init__(self, stores: Stores | None = None) -> None:
        self._stores, self.read = stores, False

    def find(self, model: LoadedModel, batches: Batches) -> list[np.ndarray] | None:
        """The mass of each batch of token rows (B, S); None where it is not known."""
        content = None if self._stores is None else self._stores.shared.get(_key(model, batches))
        if content is None:
            return None
        rows = [len(tokens) for tokens in batches]
        try:
            mass = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError):  # damaged
            return None
        if mass.shape != (sum(rows), model.geometry.layers, batches[0].shape[1]):
            return None
        self.read = True
        return np.split(mass, np.cumsum(rows)[:-1])

    def keep(self, model: LoadedModel, batches: Batches, masses: Sequence[np.ndarray]) -> None:
        """Store the mass of each batch, all of one length; none that is not finite."""
        if self._stores is None:
            return
        mass = np.concatenate(masses)
        if np.isfinite(mass).all():
            content = io.BytesIO()
            np.save(content, mass, allow_pickle=False)
            self._stores.shared.put(_key(model, batches), content.getvalue())


def _key(model: LoadedModel, batches: Batches) -> str:
    digest = hashlib.sha256()
    for tokens in batches:
        digest.update(tokens.numpy().astype("<i8").tobytes())
    return content_key(
        kind="attention mass",
        fingerprint=model.fingerprint,
        paradigm=model.spec.paradigm,
        dtype=model.dtype,
        device=model.device.type,
        shapes=[list(tokens.shape) for tokens in batches],
        text=digest.hexdigest(),
        code=code_version(*_COMPUTED_BY),
    )
