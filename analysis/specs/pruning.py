"""Pruning of a model: the calibration text, the discount of sinks, the method and the output folder.

The published recipe of Sink-Wanda by its parts: its changes to Wanda, and prunings that change one part alone.

Noise, order and norm are switches of `wanda-noised` and `sink-wanda` (`calibration.noise`, `ranking` and `norm` of a
`PruneSpec`), on as published. With all of them off, the control is Wanda.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from analysis.registry import Choice, Registry
from analysis.specs.base import SINK_AWARE_SOURCE, OneOf, PathText, Spec, either, like, parameter
from analysis.specs.observing import JobSpec
from analysis.specs.pruning_choices import (
    ALLOCATIONS,
    METHODS,
    NOISES,
    PATTERNS,
    PUBLISHED,
    QUANTIZERS,
    QUOTA_SCOPES,
    Reader,
)
from analysis.specs.pruning_params import CalibrationParams, DiscountParams, QuantizationParams, StepParams

PARTS: dict[str, type[Spec]] = {
    "calibration": CalibrationParams,
    "discount": DiscountParams,
    "steps": StepParams,
    "quantization": QuantizationParams,
}
"""The fields of a pruning that are groups of parameters."""

ROUNDED = 5e-3  # largest difference between a stated sparsity and its pattern's
WANDA_SOURCE = "Wanda, arXiv 2306.11695"
SPARSEGPT_SOURCE = "SparseGPT, arXiv 2301.00774"
OWL_SOURCE = "OWL, arXiv 2310.05175"
REAP_SOURCE = "REAP, arXiv 2510.13999"


class PruneSpec(JobSpec):
    """Remove weights from every block's projections and write the pruned checkpoint to a folder."""

    method: Annotated[str, OneOf(METHODS)] = parameter(
        "sink-wanda",
        "Method",
        "What decides which weights go.",
        source=f"{SINK_AWARE_SOURCE}; {WANDA_SOURCE}; {SPARSEGPT_SOURCE}",
    )
    sparsity: float = parameter(
        0.5,
        "Sparsity",
        "Share of each projection's weights that is removed; structured: of a block's. N:M patterns fix it: 2:4 "
        "and 4:8 remove half, 1:4 three quarters.",
        ge=0,
        le=0.95,
        step=0.05,
    )
    pattern: Annotated[str, OneOf(PATTERNS)] = parameter("unstructured", "Pattern", "Which weights may go.")
    allocation: Annotated[str, OneOf(ALLOCATIONS)] = parameter(
        "uniform",
        "Sparsity over layers",
        "How the layers share the sparsity. All but uniform keep the overall sparsity to one weight.",
        source=f"{OWL_SOURCE}; AlphaPruning, arXiv 2410.10912; depth: arXiv 2605.06366",
    )
    owl_threshold: float = parameter(
        5.0,
        "OWL outlier level M",
        "A score counts as an outlier above M times its layer's mean.",
        gt=0,
        le=100,
        step=0.5,
        source=OWL_SOURCE,
    )
    allocation_range: float = parameter(
        0.08,
        "Allocation range ±",
        "How far a layer's sparsity may lie from the overall one.",
        ge=0,
        le=0.5,
        step=0.01,
        source=OWL_SOURCE,
    )
    quota_scope: Annotated[str, OneOf(QUOTA_SCOPES)] = parameter(
        PUBLISHED,
        "Quota over",
        "Which weights are compared with one another. The lowest of each such set go. N:M and structured pruning "
        "have quotas of their own.",
        source=f"{WANDA_SOURCE}; {SPARSEGPT_SOURCE}",
    )
    ranking: Literal["published", "dense", "layerwise"] = parameter(
        PUBLISHED,
        "Ranked by",
        "Where the statistics that rank weights come from. published: layer by layer for Wanda and SparseGPT, the "
        "dense model for Sink-Wanda and its control. dense: the dense model. layerwise: each layer fed by the "
        "pruned ones before it. Token weights always come from the dense model.",
        source=f"{WANDA_SOURCE}; {SINK_AWARE_SOURCE}",
    )
    norm: Literal["published", "sequence", "pooled"] = parameter(
        PUBLISHED,
        "Norm",
        "For Sink-Wanda and its control. sequence: norms of sequences are added up, as published. pooled: one norm "
        "over all tokens, as in Wanda.",
    )
    expert_worth: Literal["reap", "load", "random"] = parameter(
        "reap",
        "Experts ranked by",
        "For the pattern experts. reap: the mean over an expert's tokens of router weight times output norm. load: "
        "how many tokens it was sent. Both weight tokens as the method does. random: a draw by the calibration's "
        "seed. Magnitude takes the norm of an expert's weights for reap.",
        source=REAP_SOURCE,
    )
    skip_layers: tuple[int, ...] = parameter((), "Layers left dense", "Numbers of blocks, counted from 0.")
    skip_projections: tuple[str, ...] = parameter(
        (),
        "Projections left dense",
        "Names such as q_proj or down_proj, the last part of a projection's name; experts and shared_experts are all "
        "of theirs, experts.up_proj one of them.",
    )
    calibration: CalibrationParams = CalibrationParams()
    discount: DiscountParams = DiscountParams()
    steps: StepParams = StepParams()
    quantization: QuantizationParams = QuantizationParams()
    byte_budget: int | None = parameter(
        None,
        "Memory for kept inputs",
        "Memory for one step's block inputs, such as 2GB; if they do not fit, the model runs twice. Empty: from "
        "free memory.",
        unit="bytes",
        empty="from free memory",
        ge=0,
    )
    streaming: Literal["auto", "always"] = parameter(
        "auto",
        "Streaming",
        "auto: the model runs in memory if it fits its device, else block by block from its files. always: block by "
        "block, which needs the memory of one block.",
    )
    out: PathText = Field(default="", title="Folder", description="Where the pruned checkpoint is written.")
    overwrite: bool = parameter(False, "Overwrite", "Replace the folder if it exists.")

    @model_validator(mode="before")
    @classmethod
    def _takes_fixed_sparsity(cls, given: Any) -> Any:
        return _with_fixed_sparsity({**given}) if isinstance(given, Mapping) else given

    @property
    def readers(self) -> tuple[Reader, ...]:
        """Rows that decide what it reads: its method's, and its quantizer's if weights are quantized."""
        method = METHODS[self.method]
        return (method, QUANTIZERS[self.quantization.quantizer]) if self.quantization.active else (method,)

    @property
    def calibrated(self) -> bool:
        """True if a reader takes calibration text."""
        return any(row.calibrated for row in self.readers)

    @property
    def changes_nothing(self) -> bool:
        """True if no weight is removed and none is quantized."""
        return not METHODS[self.method].removes and not self.quantization.active

    @property
    def scope(self) -> str | None:
        """The quota's scope, of `QUOTA_SCOPES`; None for a method whose own is not one of them."""
        return METHODS[self.method].scope if self.quota_scope == PUBLISHED else self.quota_scope

    @property
    def pooled(self) -> bool:
        """True if the norm runs over all tokens of the text, false if over those of one sequence."""
        return (METHODS[self.method].norm if self.norm == PUBLISHED else self.norm) == "pooled"

    @property
    def layerwise(self) -> bool:
        """True if the method's statistics come from layers whose inputs come from the pruned layers before them."""
        if PATTERNS[self.pattern].cuts_experts:
            return False
        return (METHODS[self.method].ranking if self.ranking == PUBLISHED else self.ranking) == "layerwise"

    @model_validator(mode="after")
    def _quota_exists(self) -> "PruneSpec":
        if self.quota_scope == PUBLISHED:
            return self
        method, pattern, scope = METHODS[self.method], PATTERNS[self.pattern], QUOTA_SCOPES[self.quota_scope]
        if (pattern.group is not None or pattern.cuts_units) and self.quota_scope != method.scope:
            counted = "whole units of a block" if pattern.cuts_units else f"every {pattern.group} neighbours of a row"
            raise ValueError(f"The pattern {self.pattern} is a quota over {counted}: leave the quota {PUBLISHED}.")
        if self.quota_scope not in method.scopes:
            raise ValueError(
                f"{method.title} chooses weights while it works through one matrix, so a quota over "
                f"{scope.title} is not defined for it: choose {either((PUBLISHED, *method.scopes))}."
            )
        if scope.spans_layers and self.layerwise and method.calibrated:
            raise ValueError(
                f"A quota over {scope.title} compares every layer's scores before any weight goes, and {method.title} "
                "would score a layer after those before it are pruned: rank by the dense model."
            )
        allocation = ALLOCATIONS[self.allocation]
        if (scope.spans_layers and not allocation.even) or (scope.spans_projections and allocation.by_projection):
            raise ValueError(
                f"A quota over {scope.title} shares the sparsity out by the scores themselves: choose the allocation "
                f"{_even()}."
            )
        return self

    @model_validator(mode="after")
    def _has_something_to_do(self) -> "PruneSpec":
        method, pattern = METHODS[self.method], PATTERNS[self.pattern]
        shared = self.pattern != "unstructured" or not ALLOCATIONS[self.allocation].even
        if not method.removes and (self.sparsity or shared or self.quota_scope != PUBLISHED):
            raise ValueError(
                f"The method {self.method} removes no weights: leave sparsity, pattern, allocation and quota out, or "
                "choose another method."
            )
        if self.quantization.active and pattern.cuts_units:
            raise ValueError(
                f"The pattern {self.pattern} changes the shapes that are quantized: prune first, then quantize the "
                "folder with the method none."
            )
        return self

    @model_validator(mode="after")
    def _combination_exists(self) -> "PruneSpec":
        pattern = PATTERNS[self.pattern]
        if pattern.sparsity is not None and abs(self.sparsity - pattern.sparsity) > 1e-9:
            share = "half" if pattern.sparsity == 0.5 else f"{pattern.sparsity:g}"
            raise ValueError(
                f"The pattern {self.pattern} removes exactly {share}: set the sparsity to {pattern.sparsity:g}."
            )
        if pattern.sparsity is not None and not ALLOCATIONS[self.allocation].even:
            raise ValueError(
                f"The pattern {self.pattern} fixes every layer's sparsity: choose the allocation {_even()}."
            )
        if pattern.cuts_units and not METHODS[self.method].structured:
            structured = either(name for name, row in METHODS.items() if row.structured)
            raise ValueError(f"Structured pruning scores features: choose {structured}.")
        if pattern.cuts_units and ALLOCATIONS[self.allocation].by_projection:
            by_layer = either(name for name, row in ALLOCATIONS.items() if not row.by_projection)
            raise ValueError(f"Structured pruning cuts units that span projections: choose the allocation {by_layer}.")
        return self

    @model_validator(mode="after")
    def _experts_can_be_cut(self) -> "PruneSpec":
        if not PATTERNS[self.pattern].cuts_experts:
            return self
        if not ALLOCATIONS[self.allocation].even or self.skip_layers or self.skip_projections:
            raise ValueError(
                "A config names one number of experts for all layers, so each loses the same number: choose the "
                f"allocation {_even()}, and leave no layers or projections dense."
            )
        if self.ranking == "layerwise":
            raise ValueError("Whole experts are ranked by the dense model: rank published or dense.")
        if self.expert_worth == "load" and not METHODS[self.method].calibrated:
            raise ValueError(
                f"{METHODS[self.method].title} sends no text through the experts, so they have no load: rank them by "
                "reap or random, or choose a method that reads text."
            )
        return self


def _even() -> str:
    """The allocations that give every layer the same."""
    return either(name for name, row in ALLOCATIONS.items() if row.even)


def _with_fixed_sparsity(given: dict[str, Any]) -> dict[str, Any]:
    """With the very sparsity of the method or pattern where none is given, or the same rounded, as 0.667 for 1:3."""
    method = given.get("method")
    if isinstance(method, str) and method in METHODS and not METHODS[method].removes:
        return {"sparsity": 0.0, **given}
    pattern = given.get("pattern")
    fixed = PATTERNS[pattern].sparsity if isinstance(pattern, str) and pattern in PATTERNS else None
    if fixed is None:
        return given
    stated = given.get("sparsity", fixed)
    near = isinstance(stated, int | float) and abs(stated - fixed) < ROUNDED
    return {**given, "sparsity": fixed} if near else given


class DenseStatisticsSpec(JobSpec):
    """Store what the dense model tells a method on a calibration text, which prunings of any sparsity then read."""

    method: str = like(PruneSpec, "method")
    ranking: Literal["published", "dense", "layerwise"] = like(PruneSpec, "ranking")
    norm: Literal["published", "sequence", "pooled"] = like(PruneSpec, "norm")
    calibration: CalibrationParams = CalibrationParams()
    discount: DiscountParams = DiscountParams()
    steps: StepParams = StepParams()
    byte_budget: int | None = like(PruneSpec, "byte_budget")
    streaming: Literal["auto", "always"] = like(PruneSpec, "streaming")

    @classmethod
    def of(cls, spec: PruneSpec) -> "DenseStatisticsSpec | None":
        """Return what a pruning asks of the dense model, the same for all its sparsities. None if it asks nothing, as
        for a method whose layers are fed by the layers it has already pruned.
        """
        method = METHODS[spec.method]
        if not method.calibrated or (spec.layerwise and not method.noised) or PATTERNS[spec.pattern].cuts_experts:
            return None
        fields = spec.model_dump(include=set(cls.model_fields))
        if not method.discounted:
            fields["discount"] = DiscountParams()
        if not method.weighs_steps:
            fields |= {"steps": StepParams(), "norm": PUBLISHED}
        return cls(**fields)

    @property
    def pruning(self) -> PruneSpec:
        """A pruning with these statistics."""
        return PruneSpec(**dict(self))


class EstimateSpec(PruneSpec):
    """Time, memory and disk of a pruning, estimated from one step of each of its phases."""

    @classmethod
    def of(cls, spec: PruneSpec) -> "EstimateSpec":
        """Return the estimate of a pruning: only what affects its duration, so that equally long prunings share one."""
        matters = spec.model_dump(
            include={
                *("model", "method", "pattern", "allocation", "quota_scope", "ranking", "expert_worth"),
                *("streaming", "byte_budget"),
            }
        )
        if spec.quantization.active:
            matters["quantization"] = spec.quantization
        pattern = PATTERNS[spec.pattern]
        if pattern.cuts_units or pattern.sparsity is not None:  # units that are cut out take no time and no room
            matters["sparsity"] = spec.sparsity
        sizes = spec.calibration.model_dump(include={"samples", "seq_len", "diffusion_steps", "step_interval", "noise"})
        if any(row.discounted for row in spec.readers):  # averaging over steps takes a second forward
            matters["discount"] = DiscountParams(sink_steps=spec.discount.sink_steps)
        return cls(**matters, calibration=CalibrationParams(**sizes))


class FootprintParams(Spec):
    """Inputs for measuring the size and speed of a pruned model."""

    tokens: int = parameter(
        256, "Tokens", "Length of the sequences that both models run.", unit="tokens", ge=1, le=32768
    )
    sequences: int = parameter(1, "Sequences", "How many run together in one forward.", ge=1, le=256)
    repeats: int = parameter(
        15, "Repeats", "Counted forwards of each model, alternating; two more warm up.", ge=3, le=1000
    )


class FootprintSpec(FootprintParams, JobSpec):
    """Savings of a pruning: the pruned folder beside the dense model, in weights, bytes and time."""

    pruned: PathText = parameter(..., "Pruned folder", "The checkpoint to compare with the model.", min_length=1)


RECIPE: Registry[Choice] = Registry(
    Choice("noise", "noise", "noised calibration text in place of clean text"),
    Choice("order", "order", "statistics of the dense model, where Wanda feeds each layer by the pruned ones before"),
    Choice("norm", "norm", "norms of single sequences added up in place of one norm over all tokens"),
    Choice("discount", "discount", "tokens that are sinks count less"),
)
"""The parts of the recipe. help: a part's change to Wanda."""


def decomposable(method: str) -> bool:
    """Return True if the gain of a method over its published baseline can be decomposed."""
    row = METHODS[method]
    return row.weighs_steps and row.control is not None and row.published not in (None, row.control)


def changes_alone(method: str, part: str, noise: str) -> dict[str, object]:
    """Return the settings of a pruning with one part of the recipe. method: `decomposable`. noise: the recipe's."""
    switches: dict[str, object] = {
        "calibration": {"noise": noise if part == "noise" else next(name for name, row in NOISES.items() if row.clean)},
        "ranking": PUBLISHED if part == "order" else "layerwise",
        "norm": PUBLISHED if part == "norm" else "pooled",
    }
    return {"method": method if part == "discount" else METHODS[method].control, **switches}


def part_alone(point: PruneSpec) -> str:
    """Return the one part of `RECIPE` that a pruning has; '' if it has none or several."""
    method = METHODS[point.method]
    if not method.weighs_steps:
        return ""
    there = {
        "noise": not NOISES[point.calibration.noise].clean,
        "order": not point.layerwise,
        "norm": not point.pooled,
        "discount": method.discounted,
    }
    parts = [name for name, has in there.items() if has]
    return parts[0] if len(parts) == 1 else ""


def baseline_of(method: str) -> str | None:
    """Return the published baseline of the recipe that a method or control belongs to."""
    return next(
        (row.published for row in METHODS.values() if decomposable(row.name) and method in (row.name, row.control)),
        None,
    )


def called(method: str, part: str = "") -> str:
    """Return the title of a method, or of its baseline with the one part of the recipe that it has."""
    baseline = baseline_of(method) if part else None
    return METHODS[method].title if baseline is None else f"{METHODS[baseline].title} + {RECIPE[part].title}"


def why_not_decomposed(methods: Collection[str], pruning: PruneSpec) -> str:
    """Return why a sweep of these methods cannot decompose the recipe, as a sentence; '' if it can."""
    apart = [name for name in methods if decomposable(name) and METHODS[name].published in methods]
    if not apart:
        known = [name for name in METHODS if decomposable(name)]
        pairs = either(f"{name} with {METHODS[name].published}" for name in known)
        return f"To take the recipe apart, sweep {pairs}."
    if (pruning.ranking, pruning.norm) != (PUBLISHED, PUBLISHED) or NOISES[pruning.calibration.noise].clean:
        return "The recipe is taken apart as published: leave order and norm as published, and the text noised."
    return ""
