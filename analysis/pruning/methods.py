"""The algorithms of methods and quantizers, by the names that their rows give (analysis/specs/pruning_choices.py)."""

from analysis.pruning.algorithm import Algorithm
from analysis.pruning.magnitude import MAGNITUDE
from analysis.pruning.quantization import GPTQ, RTN, Quantization
from analysis.pruning.sparsegpt import SINK_SPARSEGPT, SPARSEGPT
from analysis.pruning.wanda import SINK_WANDA, WANDA, WANDA_NOISED
from analysis.registry import Implementations
from analysis.specs import METHODS, QUANTIZERS

__all__ = [
    "ALGORITHMS",
    "GPTQ",
    "MAGNITUDE",
    "QUANTIZATIONS",
    "RTN",
    "SINK_SPARSEGPT",
    "SINK_WANDA",
    "SPARSEGPT",
    "WANDA",
    "WANDA_NOISED",
]

ALGORITHMS: Implementations[Algorithm] = Implementations(METHODS)
QUANTIZATIONS: Implementations[Quantization] = Implementations(QUANTIZERS)
