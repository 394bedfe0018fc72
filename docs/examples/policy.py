"""Add a cache policy: one row in `POLICIES`.

It names its controls. The implementation orders the positions that a layer holds by priority of keeping.
"""

import numpy as np

from analysis.recording.keeping import RANKINGS, Held
from analysis.specs import POLICIES, EvictSpec, Keeping, Policy, keepings

POLICIES.add(
    Policy(
        "first",
        "the first positions",
        "the first positions of the text.",
        controls=("random",),
        implementation=lambda held: np.argsort(held.positions, kind="stable"),
    )
)

nothing = np.zeros(3)
held = Held(np.array([4, 7, 2]), nothing, nothing > 0, nothing, nothing, nothing, nothing, 3)
assert RANKINGS["first"](held).tolist() == [2, 0, 1]
spec = EvictSpec(prompts=("mia has a dog .", "ben has a cat ."), policies=("first",), budgets=(0.5,))
assert keepings(spec)[1:] == [Keeping("first", 0.5), Keeping("first", 0.5, "random")]
