"""Add a control of an ablation: one row in `CONTROLS`.

It gets the positions of a step, those that the target would choose there, and their number and mass.
"""

import numpy as np

from analysis.recording.ablation import CONTROL_CHOOSERS, Candidates, Drawn
from analysis.specs import CONTROLS, Control

CONTROLS.add(
    Control(
        "last",
        "as many of the last tokens",
        "as many of the last tokens",
        implementation=lambda at, chosen, like: np.flatnonzero(at.allowed)[-like.count :],
    )
)

total, nothing, everywhere = np.array([5.0, 0.5, 2.0]), np.zeros(3), np.ones(3, bool)
at = Candidates(total, total > 4, nothing, nothing, nothing, everywhere, 1, np.random.default_rng(0))
assert CONTROL_CHOOSERS["last"](at, np.array([0]), Drawn(1, 0.67)).tolist() == [2]
