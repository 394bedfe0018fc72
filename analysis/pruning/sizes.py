"""Bytes of a checkpoint's weights by arithmetic, counted while they are written."""

from typing import TYPE_CHECKING, NamedTuple

from analysis.pruned.packed import packed_bytes
from analysis.pruned.report_file import ReportedSize
from analysis.specs import QuantizationParams

if TYPE_CHECKING:
    import torch


class Quantized(NamedTuple):
    """A matrix that was quantized: its shape (out, in), and how many of its weights are not pruned."""

    shape: tuple[int, int]
    kept: int


class Sizes:
    """Sums over the tensors of a checkpoint."""

    def __init__(self, params: QuantizationParams) -> None:
        self.params = params
        self.weights = self.quantized = self.dense_bytes = self.packed_bytes = 0

    def add(self, dense: "torch.Tensor", written: "torch.Tensor | None", quantized: Quantized | None = None) -> None:
        """Take in a tensor as the dense model stores it and as it is written; None for one that is left out."""
        self.dense_bytes += dense.numel() * dense.element_size()
        if written is None:
            return
        count, bits = written.numel(), 8 * written.element_size()
        self.weights += count
        if quantized is None:
            self.packed_bytes += packed_bytes(count, int(written.count_nonzero()), bits)
            return
        self.quantized += count
        rows, columns = quantized.shape
        grids = rows * (-(-columns // self.params.group) if self.params.group else 1)
        self.packed_bytes += packed_bytes(count, quantized.kept, self.params.bits, grids, self.params.symmetric)

    def reported(self) -> ReportedSize:
        """The sums, for the report."""
        return {
            "weights": self.weights,
            "quantized": self.quantized,
            "dense_bytes": self.dense_bytes,
            "packed_bytes": self.packed_bytes,
        }
