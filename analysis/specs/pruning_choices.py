"""Named choices of a pruning: methods, quantizers, quotas, patterns, allocations and noises, each a row with its
properties.

Page, command line and docs list them from here, and rules ask the row, never its name. A row names its implementation:
an `Algorithm` or a `Quantization` (analysis/pruning/run.py), a `Preference` (analysis/pruning/allocation.py), a
`Masking` (analysis/calibration/noise.py). A pattern has none.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from analysis.registry import Choice, Registry

PUBLISHED = "published"  # the choice of a method's own quota or order


@dataclass(frozen=True)
class QuotaScope(Choice):
    """Set of weights ranked together: the sparsity's share of each set with the lowest scores is removed.

    spans_projections: scores of several matrices are compared. spans_layers: those of every block, so they must all be
    known before a weight is removed, and no allocation shares out sparsity, as the scores themselves do.
    """

    spans_projections: bool = False
    spans_layers: bool = False


QUOTA_SCOPES: Registry[QuotaScope] = Registry(
    QuotaScope(
        PUBLISHED,
        "as published",
        "As the authors of the method do, their rounding included: Wanda and its sink-aware form over a row, magnitude "
        "up to a threshold over a projection, SparseGPT over 128 columns.",
    ),
    QuotaScope("row", "each row", "The same number goes from every output row."),
    QuotaScope("projection", "each projection", "The lowest of a whole matrix."),
    QuotaScope("layer", "each layer", "The lowest of all projections of a block together.", spans_projections=True),
    QuotaScope(
        "model",
        "the model",
        "The lowest of all blocks together, whatever each of them then loses.",
        spans_projections=True,
        spans_layers=True,
    ),
)


@dataclass(frozen=True)
class Reader(Choice):
    """Inputs of a choice.

    calibrated: it reads text. noised: it reads noised text, so the model needs a mask token. discounted: it reads the
    discount parameters. weighs_steps: it sums over noise steps, which `StepParams` choose and weigh. control: the row
    that differs only in the discount. published: the one that it was published against.
    """

    calibrated: bool = True
    noised: bool = False
    discounted: bool = False
    weighs_steps: bool = False
    control: str | None = None
    published: str | None = None


@dataclass(frozen=True)
class Method(Reader):
    """Choice of the weights to remove.

    removes: weights are removed at all. structured: it scores the features of a projection's input, or reads only the
    weights, so that whole units can be cut out. norm: how its scores sum over sequences and steps as published; None if
    it has no such choice. tokens: whose weights the discount lowers: the sinks', or those of others in their place.
    sham, light: the methods that discount random tokens, and those of least mass, instead of the sinks. scope: meaning
    of `published` for it, of `QUOTA_SCOPES`; None if it is none of them. rounds: `published` goes up to and including a
    threshold, not to one weight. scopes: those defined for it. ranking: source of its scores as published, the dense
    model or layer by layer, each layer fed by the pruned ones before it, which needs blocks that attend alike; None
    without text. brief: what it removes, in a few words for a reader who is new to it; '' where its title says so.
    """

    removes: bool = True
    brief: str = ""
    structured: bool = False
    norm: Literal["sequence", "pooled"] | None = None
    tokens: Literal["sinks", "sham", "light"] = "sinks"
    sham: str | None = None
    light: str | None = None
    scope: str | None = "row"
    rounds: bool = False
    scopes: tuple[str, ...] = ("row", "projection", "layer", "model")
    ranking: Literal["dense", "layerwise"] | None = None


_OF_NOISED: dict[str, Any] = {
    "noised": True,
    "weighs_steps": True,
    "structured": True,
    "norm": "sequence",
    "ranking": "dense",
}
"""Sink-Wanda and its controls read noised text of the dense model."""
_BY_COLUMNS: dict[str, Any] = {"scope": None, "scopes": ("row", "projection"), "ranking": "layerwise"}
"""SparseGPT and its forms choose weights while they work through the columns of a matrix."""

METHODS: Registry[Method] = Registry(
    Method(
        "magnitude",
        "Magnitude",
        "The smallest weights go. Looks at no text.",
        brief="removes the smallest weights",
        calibrated=False,
        structured=True,
        scope="projection",
        rounds=True,
        implementation="analysis.pruning.run:MAGNITUDE",
    ),
    Method(
        "wanda",
        "Wanda",
        "|W|·‖X‖ on clean text, layer by layer, each fed by the pruned ones before it.",
        brief="removes the weights that add least",
        structured=True,
        ranking="layerwise",
        implementation="analysis.pruning.run:WANDA",
    ),
    Method(
        "wanda-noised",
        "Wanda, noised (control)",
        "Sink-Wanda without its discount: the same noised text, order and norm. What differs is the sinks alone.",
        **_OF_NOISED,
        implementation="analysis.pruning.run:WANDA_NOISED",
    ),
    Method(
        "sink-wanda",
        "Sink-Wanda",
        "|W|·s on noised text of the dense model, with tokens that are attention sinks discounted.",
        **_OF_NOISED,
        discounted=True,
        control="wanda-noised",
        published="wanda",
        sham="sham-wanda",
        light="light-wanda",
        implementation="analysis.pruning.run:SINK_WANDA",
    ),
    Method(
        "sham-wanda",
        "Sham-Wanda (control)",
        "Sink-Wanda that discounts as many random tokens of the same state by the same weights, and no sinks where "
        "there are enough others.",
        **_OF_NOISED,
        discounted=True,
        tokens="sham",
        implementation="analysis.pruning.run:SINK_WANDA",
    ),
    Method(
        "light-wanda",
        "Light-Wanda (control)",
        "Sink-Wanda turned around: the token with the least attention mass gets the weight of that with the most, and "
        "so on.",
        **_OF_NOISED,
        discounted=True,
        tokens="light",
        implementation="analysis.pruning.run:SINK_WANDA",
    ),
    Method(
        "sparsegpt",
        "SparseGPT",
        "Removes what the Hessian of clean inputs says costs least; the weights left make up for it.",
        brief="removes the weights that the others can best make up for",
        **_BY_COLUMNS,
        implementation="analysis.pruning.run:SPARSEGPT",
    ),
    Method(
        "sink-sparsegpt",
        "Sink-SparseGPT",
        "SparseGPT with clean tokens weighted by how little of a sink they were on noised text.",
        noised=True,
        discounted=True,
        control="sparsegpt",
        published="sparsegpt",
        sham="sham-sparsegpt",
        **_BY_COLUMNS,
        implementation="analysis.pruning.run:SINK_SPARSEGPT",
    ),
    Method(
        "sham-sparsegpt",
        "Sham-SparseGPT (control)",
        "Sink-SparseGPT that gives the weights of the sinks to as many random tokens of the same state.",
        noised=True,
        discounted=True,
        tokens="sham",
        **_BY_COLUMNS,
        implementation="analysis.pruning.run:SINK_SPARSEGPT",
    ),
    Method(
        "none",
        "No pruning",
        "No weight goes: to quantize alone.",
        calibrated=False,
        removes=False,
        scope=None,
        scopes=(),
        implementation="analysis.pruning.run:MAGNITUDE",
    ),
)


@dataclass(frozen=True)
class Quantizer(Reader):
    """Rounding of weights to the levels of their grid."""


QUANTIZERS: Registry[Quantizer] = Registry(
    Quantizer(
        "rtn",
        "RTN",
        "Each weight to the nearest level. Reads no text.",
        calibrated=False,
        implementation="analysis.pruning.run:RTN",
    ),
    Quantizer(
        "gptq",
        "GPTQ",
        "Column by column; the weights not yet rounded make up for each error, by the Hessian of clean inputs.",
        implementation="analysis.pruning.run:GPTQ",
    ),
    Quantizer(
        "gptq-noised",
        "GPTQ, noised (control)",
        "Sink-GPTQ without its discount: the same noised text. What differs is the sinks alone.",
        noised=True,
        weighs_steps=True,
        implementation="analysis.pruning.run:GPTQ",
    ),
    Quantizer(
        "sink-gptq",
        "Sink-GPTQ",
        "GPTQ by the Hessian of noised inputs, with tokens that are attention sinks discounted.",
        noised=True,
        discounted=True,
        weighs_steps=True,
        control="gptq-noised",
        published="gptq",
        implementation="analysis.pruning.run:GPTQ",
    ),
)


@dataclass(frozen=True)
class Pattern(Choice):
    """Weights that may be removed: any, some of every `group` neighbours of a row, of which `kept` stay, or whole
    units.

    cuts_units: whole units are cut out, which only a `structured` method can choose: experts if `cuts_experts`,
    otherwise head groups and MLP channels.
    """

    kept: int | None = None
    group: int | None = None
    cuts_units: bool = False
    cuts_experts: bool = False

    @property
    def sparsity(self) -> float | None:
        """The share of weights that the pattern itself removes; None where that is a free choice."""
        return None if self.kept is None or self.group is None else 1 - self.kept / self.group


LARGEST_GROUP = 16  # neighbours of N:M
_N_OF_M = re.compile(r"([1-9]\d?):([1-9]\d?)")


class Patterns(Registry[Pattern]):
    """The patterns by their names; any N:M with 1 ≤ N < M ≤ 16 is one without a row."""

    beyond = f"any N:M with 1 ≤ N < M ≤ {LARGEST_GROUP}"

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and _n_of_m(name) is not None)

    def __missing__(self, name: str) -> Pattern:
        pattern = _n_of_m(name)
        if pattern is None:
            raise KeyError(name)
        return pattern


def _n_of_m(name: str) -> Pattern | None:
    match = _N_OF_M.fullmatch(name)
    kept, group = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= kept < group <= LARGEST_GROUP:
        return None
    return Pattern(name, name, f"{kept} of every {group} neighbours of a row stay.", kept, group)


PATTERNS: Patterns = Patterns(
    Pattern("unstructured", "unstructured", "Any weights: the most accurate, and no faster to run."),
    Pattern("2:4", "2:4", "Two of every four neighbours of a row stay, which GPUs from Ampere on can use.", 2, 4),
    Pattern("4:8", "4:8", "Four of every eight neighbours of a row stay: freer than 2:4.", 4, 8),
    Pattern(
        "structured",
        "structured",
        "Whole key/value head groups and MLP channels are cut out, so the model gets smaller and faster.",
        cuts_units=True,
    ),
    Pattern(
        "experts",
        "experts",
        "Whole experts of a mixture are cut out, the same number in every layer, so the model gets smaller.",
        cuts_units=True,
        cuts_experts=True,
    ),
)


@dataclass(frozen=True)
class Allocation(Choice):
    """Division of the sparsity among layers, or among the projections of all layers.

    even: every layer gets the same, and every matrix is rounded as its method's authors round it; otherwise the overall
    sparsity is met to one weight. by_projection: it divides among projections. needs_outliers, needs_tails: it reads
    the outlier ratio, or the exponent of the spectrum's tail, of each of them. reads: fields of `PruneSpec` that it
    looks at.
    """

    even: bool = False
    by_projection: bool = False
    needs_outliers: bool = False
    needs_tails: bool = False
    reads: tuple[str, ...] = ("allocation_range",)


ALLOCATIONS: Registry[Allocation] = Registry(
    Allocation(
        "uniform",
        "uniform",
        "The same sparsity in every layer.",
        even=True,
        reads=(),
        implementation="analysis.pruning.allocation:uniform",
    ),
    Allocation(
        "owl",
        "by outliers (OWL)",
        "Less where more scores are outliers (arXiv 2310.05175).",
        needs_outliers=True,
        reads=("allocation_range", "owl_threshold"),
        implementation="analysis.pruning.allocation:owl",
    ),
    Allocation(
        "owl-projection",
        "by outliers of projections",
        "OWL's ratio of each projection against its own mean, so that projections of one layer differ too (ours).",
        by_projection=True,
        needs_outliers=True,
        reads=("allocation_range", "owl_threshold"),
        implementation="analysis.pruning.allocation:owl",
    ),
    Allocation(
        "alpha",
        "by spectra (AlphaPruning)",
        "Less where the eigenvalues of WᵀW have the heavier tail: Hill's exponent of the upper half, its mean over a "
        "layer's projections (arXiv 2410.10912, which begins the tail at the spectrum's peak). Reads no text.",
        needs_tails=True,
        implementation="analysis.pruning.allocation:alpha",
    ),
    Allocation(
        "depth",
        "by depth",
        "A linear ramp: earlier layers sparser (reported to help: 2605.06366).",
        implementation="analysis.pruning.allocation:depth",
    ),
)


@dataclass(frozen=True)
class Noise(Choice):
    """Noise on calibration text. title: follows `noised`. by_step: a step sets how much is replaced, so that steps can
    be told apart. random_tokens: replaced tokens are random ones; otherwise [MASK]. clean: nothing is replaced, which
    suits every model.
    """

    by_step: bool = True
    random_tokens: bool = False
    clean: bool = False

    def fits(self, random_tokens: bool) -> bool:
        """Return True if it fits a model whose undecided tokens are random ones (else [MASK])."""
        return self.clean or self.random_tokens == random_tokens


NOISES: Registry[Noise] = Registry(
    Noise(
        "steps",
        "by steps",
        "Step t masks tokens with p = (1 − ε)·t/T + ε, as the authors' script for LLaDA does.",
        implementation="analysis.calibration.noise:by_steps",
    ),
    Noise(
        "uniform",
        "uniformly, its ends kept",
        "Each sequence and step draws u from [0, 1) and masks with p = (1 − ε)·u + ε, but never the first and the "
        "last token, as their script for Dream does; there the steps are mere repetitions.",
        by_step=False,
        implementation="analysis.calibration.noise:uniformly",
    ),
    Noise(
        "random-tokens",
        "with random tokens",
        "For models whose noise is random tokens (DiffusionGemma): step t replaces tokens of the canvas, which is the "
        "end of a sequence, with p = (1 − ε)·t/T + ε by random ones; what comes before is read clean. The command line "
        "takes it for them where no noise is named.",
        random_tokens=True,
        implementation="analysis.calibration.noise:by_steps",
    ),
    Noise(
        "none",
        "not at all",
        "The text is read clean, once: a switch of the control (ours).",
        by_step=False,
        clean=True,
        implementation="analysis.calibration.noise:not_at_all",
    ),
)
