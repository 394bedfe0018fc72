"""Pruning of a model: the calibration text, the discount of sinks, the method, the output folder, and the settings that
a pruning reads. Others do not affect it and appear in no name and no command.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from analysis.specs.base import SINK_AWARE_SOURCE, JobSpec, OneOf, PathText, Spec, either, like, parameter
from analysis.specs.pruning_choices import ALLOCATIONS, METHODS, PATTERNS, PUBLISHED, QUANTIZERS, QUOTA_SCOPES, Reader
from analysis.specs.pruning_params import AS_STORED, CalibrationParams, DiscountParams, QuantizationParams, StepParams

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
        share=True,
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


_TEXT = ("data", "samples", "seq_len", "seed")  # of the calibration; the rest is about noise


def read_by(settings: Mapping[str, Any]) -> Callable[[str], bool]:
    """Return whether a pruning reads a setting: a field of `PruneSpec`, dotted inside a nested one, as
    `discount.sink_std`.

    settings: with its method; the allocation, pattern and worth of experts default as in `PruneSpec`.
    """
    stated = {field: settings.get(field, default) for field, default in _DECIDING.items()}
    method, allocation = METHODS.get(str(stated["method"])), ALLOCATIONS.get(str(stated["allocation"]))
    if method is None:
        return lambda name: True
    pattern = str(stated["pattern"])
    cuts_experts = pattern in PATTERNS and PATTERNS[pattern].cuts_experts
    rows = readers({**settings, "method": method.name})
    calibrated, noised = any(row.calibrated for row in rows), any(row.noised for row in rows)
    reads_text = calibrated or (allocation is not None and allocation.needs_outliers)
    draws_experts = cuts_experts and stated["expert_worth"] == "random"
    by_part = {
        "discount": any(row.discounted for row in rows),
        "steps": any(row.weighs_steps for row in rows),
        "quantization": len(rows) > 1,
    }
    by_name = {
        "quantization.bits": True,
        "expert_worth": cuts_experts,
        "ranking": method.ranking is not None,
        "norm": method.norm is not None,
    }
    if not method.removes:
        by_name |= dict.fromkeys(_ABOUT_REMOVAL, False)
    of_others = {name for row in ALLOCATIONS.values() for name in row.reads} - set(
        allocation.reads if allocation else ()
    )

    def is_read(name: str) -> bool:
        if name in by_name:
            return by_name[name]
        part, _, field = name.rpartition(".")
        if part == "calibration":
            return (draws_experts and field == "seed") or (reads_text if field in _TEXT else noised)
        if part in by_part:
            return by_part[part]
        return allocation is None or name not in of_others

    return is_read


_DECIDING = {name: PruneSpec.model_fields[name].default for name in ("method", "allocation", "pattern", "expert_worth")}
_ABOUT_REMOVAL = ("sparsity", "pattern", "allocation", "quota_scope", "expert_worth")


_QUANTIZED = {name: PARTS["quantization"].model_fields[name].default for name in ("bits", "quantizer")}


def readers(settings: Mapping[str, Any]) -> tuple[Reader, ...]:
    """Return the rows that decide what a pruning reads: of its method, and of its quantizer if weights are quantized.

    settings: as for `read_by`. Empty without a method; rows unknown to this version are left out.
    """
    method = METHODS.get(str(settings.get("method")))
    group = settings.get("quantization")
    stated = dict(group) if isinstance(group, Mapping) else {}
    bits, name = (
        settings.get(f"quantization.{field}", stated.get(field, default)) for field, default in _QUANTIZED.items()
    )
    quantizer = QUANTIZERS.get(str(name)) if isinstance(bits, int) and bits < AS_STORED else None
    return tuple(row for row in (method, quantizer) if row is not None)


def only_read(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a pruning, as `PruneSpec.model_dump` gives them, without those it does not look at."""
    kept: dict[str, Any] = {}
    is_read = read_by(parameters)
    for name, value in parameters.items():
        if name in PARTS and isinstance(value, Mapping):
            inner = {field: each for field, each in value.items() if is_read(f"{name}.{field}")}
            unquantized = inner == {"bits": AS_STORED}  # as in reports of versions without bits
            kept |= {name: inner} if inner and not unquantized else {}
        elif is_read(name):
            kept[name] = value
    return kept


def held_against(rows: Sequence[Reader], relation: str) -> tuple[str, ...] | None:
    """Return the names of the rows that a pruning's rows are compared with: for each that discounts, its `relation`,
    such as `control`; the others themselves. None if one names none, and if none discounts.
    """
    others = [getattr(row, relation, None) if row.discounted else row.name for row in rows]
    if None in others or not any(row.discounted for row in rows):
        return None
    return tuple(map(str, others))
