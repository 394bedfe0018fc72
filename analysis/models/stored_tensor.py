"""Location of a checkpoint's tensor in its files, and its conversion to that of the running model."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open


@dataclass(frozen=True)
class StoredTensor:
    """Location of a tensor. rows: its rows in a tensor that a file holds together with others; own_name: its name there
    by itself. expert: whose matrix it is, in a tensor that holds all experts. gain: factors of its rows in the running
    model, (out,) float32. made: the running model's tensor itself, if no file holds it.
    """

    file: Path
    name: str
    rows: tuple[int, int] | None = None
    own_name: str = ""
    expert: int | None = None
    gain: torch.Tensor | None = None
    made: torch.Tensor | None = None

    def read(self) -> torch.Tensor:
        """The tensor as stored, on the CPU."""
        with safe_open(self.file, "pt") as handle:
            if self.rows is None:
                return handle.get_tensor(self.name)
            held, rows = handle.get_slice(self.name), slice(*self.rows)
            return held[rows] if self.expert is None else held[self.expert : self.expert + 1, rows][0]

    def native(self) -> torch.Tensor:
        """The tensor as it runs, on the CPU."""
        if self.made is not None:
            return self.made
        read = self.read()
        return read if self.gain is None else read.float() * self._by_row(read)

    def as_stored(self, native: torch.Tensor) -> torch.Tensor:
        """Convert a tensor of the running model to that of its file; rows whose gain is 0 are unknown and become 0."""
        if self.gain is None:
            return native
        gain = self._by_row(native)
        return torch.where(gain == 0, 0.0, native.float() / gain).to(native.dtype)

    def _by_row(self, tensor: torch.Tensor) -> torch.Tensor:
        assert self.gain is not None
        return self.gain.view(-1, *[1] * (tensor.dim() - 1))
