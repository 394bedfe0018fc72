"""How each method and quantizer of analysis/specs/pruning_choices.py works, by its name."""

from analysis.pruning.algorithm import Algorithm
from analysis.pruning.magnitude import MAGNITUDE
from analysis.pruning.quantization import GPTQ, RTN, Quantization
from analysis.pruning.sparsegpt import SINK_SPARSEGPT, SPARSEGPT
from analysis.pruning.wanda import SINK_WANDA, WANDA, WANDA_NOISED
from analysis.registry import Attached
from analysis.specs import METHODS, QUANTIZERS

ALGORITHMS: Attached[Algorithm] = Attached(
    METHODS,
    {
        "magnitude": MAGNITUDE,
        "wanda": WANDA,
        "wanda-noised": WANDA_NOISED,
        "sink-wanda": SINK_WANDA,
        "sham-wanda": SINK_WANDA,
        "light-wanda": SINK_WANDA,
        "sparsegpt": SPARSEGPT,
        "sink-sparsegpt": SINK_SPARSEGPT,
        "sham-sparsegpt": SINK_SPARSEGPT,
        "none": MAGNITUDE,
    },
)

QUANTIZATIONS: Attached[Quantization] = Attached(
    QUANTIZERS, {"rtn": RTN, "gptq": GPTQ, "gptq-noised": GPTQ, "sink-gptq": GPTQ}
)
