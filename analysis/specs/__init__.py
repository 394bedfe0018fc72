"""Every parameter a user can set: range, default, unit, help text and source, in one place.

The pages draw widgets from these models, the command line draws flags from them, docs/parameters.md is written
from them, and a job carries one of them. Adding a parameter is one field here.
"""

from analysis.specs.ablation import (
    CONTROLS,
    EARLY_SHARE,
    INTERVENTIONS,
    MASS_TOLERANCE,
    QUARTERS,
    TARGETS,
    TEXT_DRAWS,
    AblateSetSpec,
    Control,
    Intervention,
    Target,
    controls_drawn,
)
from analysis.specs.base import (
    JobSpec,
    ModelSpec,
    Spec,
    choices,
    either,
    help_text,
    in_words,
    named_fields,
    parameter,
    short_label,
    told_apart,
)
from analysis.specs.block_sampling import (
    BD3LMSampling,
    BlockWriting,
    DiffusionGemmaSampling,
    FastDLLMSampling,
    FirstHittingSampling,
    LLaDA2Sampling,
    NemotronSampling,
    SDARSampling,
)
from analysis.specs.claim_runs import CLAIM_MEASURES, CLAIM_SIZES, ClaimMeasure, ClaimMeasuresSpec, ClaimsSpec
from analysis.specs.claims import CLAIM_DATA, CLAIMS, Claim
from analysis.specs.evaluation import CANVAS_SCORES, NO_MASKED_ESTIMATE, EvaluateSpec, ImportSpec, PlanParams
from analysis.specs.eviction import (
    EVERYTHING,
    OTHER_POLICY,
    POLICIES,
    EvictionPoint,
    EvictSpec,
    Keeping,
    Policy,
    keepings,
    kept_of,
)
from analysis.specs.messages import sentence
from analysis.specs.observing import (
    AblateSpec,
    AlternativesSpec,
    AttentionMapSpec,
    Branch,
    GeometrySpec,
    KeptForward,
    LensSpec,
    LoadSpec,
    NoiseSpec,
    RecordSpec,
    ReferenceSpec,
    UnloadSpec,
)
from analysis.specs.pruning import PARTS, DenseStatisticsSpec, EstimateSpec, FootprintParams, FootprintSpec, PruneSpec
from analysis.specs.pruning_choices import (
    ALLOCATIONS,
    METHODS,
    NOISES,
    PATTERNS,
    PUBLISHED,
    QUANTIZERS,
    QUOTA_SCOPES,
    Allocation,
    Method,
    Noise,
    Pattern,
    Quantizer,
    Reader,
)
from analysis.specs.pruning_params import (
    AS_STORED,
    CALIBRATION_PRESETS,
    CalibrationParams,
    DiscountParams,
    QuantizationParams,
    StepParams,
)
from analysis.specs.recording_sets import (
    BUNDLED_PROMPTS,
    INSIGHTS,
    OWN_PROMPTS,
    InspectParams,
    RecordSetSpec,
    SetParams,
)
from analysis.specs.sampling import (
    SAMPLINGS,
    AutoregressiveSampling,
    DLLMSampling,
    DreamSampling,
    LLaDASampling,
    MDLMSampling,
    Replay,
    Sampling,
)
from analysis.specs.sinks import DEFINITIONS, SinkDefinition, SinkParams
from analysis.specs.study import QUESTION, SIZES, STUDY_PARTS, Registration, StudySpec
from analysis.specs.sweep import (
    RECIPE,
    SweepSpec,
    against,
    detail,
    grid,
    part_alone,
    point_name,
    scored_as,
    setting_key,
    setting_name,
    shard_of,
    step_range,
    titles_apart,
    where,
    without_seed,
)
from analysis.specs.tuning import (
    OBJECTIVES,
    PRESETS,
    CalibrateSpec,
    HeldoutSpec,
    Objective,
    SeedFloorSpec,
    StatisticsParams,
    SuggestSpec,
    TuneParams,
)
from analysis.specs.writing import linear_shares
