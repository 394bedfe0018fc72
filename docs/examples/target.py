"""Add a way of choosing positions to ablate: one row in `TARGETS`."""

import numpy as np

from analysis.recording.ablation import CHOOSERS, Candidates
from analysis.specs import TARGETS, Target

TARGETS.add(
    Target(
        "lightest",
        "lightest positions",
        "as many of the lightest positions",
        implementation=lambda at: np.argsort(at.total)[: at.count],
    )
)

total = np.array([5.0, 0.5, 2.0])
nothing, everywhere = np.zeros(3), np.ones(3, bool)
at = Candidates(total, ~everywhere, nothing, nothing, nothing, everywhere, 2, np.random.default_rng(0))
assert CHOOSERS["lightest"](at).tolist() == [1, 2]
