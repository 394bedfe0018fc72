"""Add a sink definition: one row in `DEFINITIONS`.

It names the field of `SinkParams` that it reads. The implementation computes the threshold that a position's mass must
exceed. The explorer offers definitions that have a row in `LEVELS` (`analysis/figures/explorer/recording.js`).
"""

import numpy as np

from analysis.sinks.definitions import find_sinks
from analysis.specs import DEFINITIONS, SinkDefinition, SinkParams

DEFINITIONS.add(
    SinkDefinition(
        "share",
        "More than a share of the step's mass",
        "more than a share of all the mass of its step.",
        parameter="attention_level",
        formula=r"M_{t,s} > \varepsilon \sum_i M_{t,i}",
        implementation=lambda row, visible, level: np.float32(level) * row.mean * row.count,
    )
)

mass = np.array([[6.0, 1.0, 1.0, 1.0, np.nan]])
params = SinkParams(definition="share", attention_level=0.5)
assert find_sinks(mass, params).tolist() == [[True, False, False, False, False]]
