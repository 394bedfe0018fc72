"""Statistics stored for tuning the discount of sinks, and a setting to try on them."""

from dataclasses import dataclass
from typing import Literal

from analysis.registry import Registry
from analysis.specs.base import Spec, like, parameter
from analysis.specs.models import JobSpec
from analysis.specs.pruning import PruneSpec
from analysis.specs.pruning_params import CalibrationParams, DiscountParams, StepParams


class StatisticsParams(Spec):
    """Stored statistics of the dense model on noised text."""

    calibration: CalibrationParams = CalibrationParams(samples=32, seq_len=64)
    grouping: Literal["auto", "tokens", "bins"] = parameter(
        "auto",
        "Squares stored by",
        "tokens: x² of every token, exact for every setting. bins: x² summed over ranges of attention mass, much "
        "smaller for long sequences, with an error that is measured and shown. auto: tokens where all sequences "
        "fit.",
    )
    layer_scope: bool = parameter(
        False,
        "Bins by layer too",
        "Also store bins for layers that discount their own sinks. Tokens serve both anyway.",
    )
    byte_budget: int | None = parameter(
        None,
        "Room for squares",
        "Room for the stored squares, such as 2GB. If the samples do not fit, fewer are stored. Empty: 1 GiB, or "
        "what four sequences take, up to 16 GiB.",
        unit="bytes",
        empty="fitted to the model",
        ge=2**20,
        le=2**40,
    )
    heldout: int = parameter(
        8,
        "Held-out sequences",
        "Held-out sequences on which the output error is measured.",
        unit="sequences",
        ge=1,
        le=256,
    )
    streaming: Literal["auto", "always"] = like(PruneSpec, "streaming")


class CalibrateSpec(StatisticsParams, JobSpec):
    """Run the dense model on noised text and store what every setting's scores and masks are computed from."""


class SeedFloorSpec(CalibrateSpec):
    """Run the dense model on the text of another calibration seed, for the floor of what a discount changes."""


class HeldoutSpec(CalibrateSpec):
    """Run the dense model on text that no score has seen, for the output error."""


class TuneParams(StepParams):
    """One setting: the discount, the noise steps that count and how much, and the sparsity of the masks."""

    discount: DiscountParams = DiscountParams()
    sparsity: float = parameter(
        0.5, "Sparsity", "Share of each row's weights that the masks remove.", ge=0, le=0.95, step=0.05
    )


@dataclass(frozen=True)
class DiscountPreset:
    """A discount to begin with, by its name for people."""

    name: str
    discount: DiscountParams


PRESETS: Registry[DiscountPreset] = Registry(
    DiscountPreset("published", DiscountParams()),
    DiscountPreset("hard threshold", DiscountParams(sink_score="hard")),
    DiscountPreset("α in standard deviations", DiscountParams(alpha_unit="std")),
    DiscountPreset("each layer's own sinks", DiscountParams(sink_scope="layer")),
    DiscountPreset("no discount", DiscountParams(discount_strength=0.0)),
)
"""Discounts to begin with. published: the authors' scripts for LLaDA and Dream alike."""
