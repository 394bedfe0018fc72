"""Add a quantizer: one row in `QUANTIZERS`.

The implementation takes weights (out, in), the statistics of their input, and the bits, and returns the weights on
their levels. Exact zeros stay zero. One that reads text names its statistic, as `GPTQ` names the Hessian.
"""

from typing import Any

import torch

from analysis.pruning.quantization import Quantization, Rounded, grid_of
from analysis.pruning.run import QUANTIZATIONS
from analysis.specs import QUANTIZERS, PruneSpec, QuantizationParams
from analysis.specs.pruning_choices import Quantizer


def round_down(weight: torch.Tensor, statistic: Any, params: QuantizationParams) -> Rounded:
    """The level next to each weight on the side of zero, by row: a floor for every other quantizer."""
    grid = grid_of(weight.t(), params)
    codes = (torch.trunc(weight.t() / grid.scale) + grid.zero).clamp(0, grid.largest)
    return Rounded(grid.levels(codes).t(), codes.t().to(torch.uint8))


QUANTIZERS.add(
    Quantizer(
        "down",
        "Towards zero",
        "Each weight to the next level towards zero.",
        calibrated=False,
        implementation=Quantization(round_down),
    )
)

spec = PruneSpec(method="none", quantization=QuantizationParams(bits=3, quantizer="down"), out="unwritten")
weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
done = QUANTIZATIONS[spec.quantization.quantizer].quantize(weight, None, spec.quantization)
assert len(done.codes.unique()) <= 8 and (done.weight.abs() <= weight.abs() + 1e-6).all()
