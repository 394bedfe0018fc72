"""Every kind of job by its name, and the spec it takes."""

from analysis.specs.base import Spec
from analysis.specs.evaluation import EvaluateSpec
from analysis.specs.observing import (
    AblateSpec,
    AttentionMapSpec,
    LoadSpec,
    NoiseSpec,
    RecordSpec,
    ReferenceSpec,
    UnloadSpec,
)
from analysis.specs.pruning import EstimateSpec, FootprintSpec, PruneSpec
from analysis.specs.suggestion import SuggestSpec
from analysis.specs.tuning import CalibrateSpec

JOB_SPECS: dict[str, type[Spec]] = {
    "load": LoadSpec,
    "unload": UnloadSpec,
    "record": RecordSpec,
    "attention_map": AttentionMapSpec,
    "reference": ReferenceSpec,
    "noise": NoiseSpec,
    "ablate": AblateSpec,
    "prune": PruneSpec,
    "estimate": EstimateSpec,
    "calibrate": CalibrateSpec,
    "evaluate": EvaluateSpec,
    "footprint": FootprintSpec,
    "suggest": SuggestSpec,
}
