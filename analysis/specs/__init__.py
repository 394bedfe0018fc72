"""Every parameter a user can set: range, default, unit, help text and source, in one place.

The pages draw widgets from these models, the command line draws flags from them, docs/parameters.md is written
from them, and a job carries one of them. Adding a parameter is one field here.
"""

from analysis.specs.base import (
    DREAM_SOURCE,
    LLADA_SOURCE,
    SINK_AWARE_SOURCE,
    OneOf,
    Spec,
    choices,
    either,
    help_text,
    parameter,
)
from analysis.specs.evaluation import EvaluateSpec, PlanParams
from analysis.specs.messages import sentence
from analysis.specs.models import JobSpec, ModelSpec
from analysis.specs.naming import in_words, short_label, told_apart
from analysis.specs.observing import (
    AblateSpec,
    AttentionMapSpec,
    LoadSpec,
    NoiseSpec,
    RecordSpec,
    ReferenceSpec,
    UnloadSpec,
)
from analysis.specs.pruning import (
    CALIBRATION_PRESETS,
    CalibrationParams,
    DiscountParams,
    EstimateSpec,
    FootprintParams,
    FootprintSpec,
    PruneSpec,
    StepParams,
    with_current_names,
)
from analysis.specs.pruning_choices import (
    ALLOCATIONS,
    METHODS,
    NOISES,
    PATTERNS,
    PUBLISHED,
    QUOTA_SCOPES,
    Allocation,
    Method,
    Noise,
    Pattern,
    QuotaScope,
)
from analysis.specs.sampling import SAMPLINGS, AutoregressiveSampling, DreamSampling, LLaDASampling, Replay, Sampling
from analysis.specs.sinks import DEFINITIONS, SinkDefinition, SinkParams
from analysis.specs.suggestion import OBJECTIVES, Objective, SuggestSpec
from analysis.specs.targets import TARGETS, Target
from analysis.specs.tuning import PRESETS, CalibrateSpec, StatisticsParams, TuneParams

__all__ = [
    "ALLOCATIONS",
    "CALIBRATION_PRESETS",
    "DEFINITIONS",
    "DREAM_SOURCE",
    "LLADA_SOURCE",
    "METHODS",
    "NOISES",
    "OBJECTIVES",
    "PATTERNS",
    "PRESETS",
    "PUBLISHED",
    "QUOTA_SCOPES",
    "SAMPLINGS",
    "SINK_AWARE_SOURCE",
    "TARGETS",
    "AblateSpec",
    "Allocation",
    "AttentionMapSpec",
    "AutoregressiveSampling",
    "CalibrateSpec",
    "CalibrationParams",
    "DiscountParams",
    "DreamSampling",
    "EstimateSpec",
    "EvaluateSpec",
    "FootprintParams",
    "FootprintSpec",
    "JobSpec",
    "LLaDASampling",
    "LoadSpec",
    "Method",
    "ModelSpec",
    "Noise",
    "NoiseSpec",
    "Objective",
    "OneOf",
    "Pattern",
    "PlanParams",
    "PruneSpec",
    "QuotaScope",
    "RecordSpec",
    "ReferenceSpec",
    "Replay",
    "Sampling",
    "SinkDefinition",
    "SinkParams",
    "Spec",
    "StatisticsParams",
    "StepParams",
    "SuggestSpec",
    "Target",
    "TuneParams",
    "UnloadSpec",
    "choices",
    "either",
    "help_text",
    "in_words",
    "parameter",
    "sentence",
    "short_label",
    "told_apart",
    "with_current_names",
]
