"""Add a way of counting sinks (`VARIANTS`) and a check of their count (`CHECKS`).

A layer whose answer a variant changes says so. A check holds a number of a layer against log-normal attention.
"""

import numpy as np

from analysis.recording.set_measures import CHECKS, Check
from analysis.sinks.intervals import quotient
from analysis.sinks.layer_run import VARIANTS, Variant
from analysis.specs import SinkParams

VARIANTS.add(Variant("k4", "k = 4", SinkParams(k=4)))
CHECKS.add(
    Check(
        "sinks-per-gap",
        lambda arrays: (arrays["sinks"].sum(axis=-1), arrays["gap_steps"]),
        lambda arrays: (arrays["iid_sinks"], arrays["iid_gap_steps"]),
        above="{layers}: {value} sinks stand above a gap, {null} in log-normal attention.",
    )
)

sums = {"sinks": np.full((2, 3, 6), 2.0), "gap_steps": np.full((2, 3), 4.0)}  # (N, G, K) and (N, G)
assert quotient(*CHECKS["sinks-per-gap"].observed(sums)).value.tolist() == [3.0] * 3
assert VARIANTS["k4"].params.k == 4
