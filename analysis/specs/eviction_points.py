"""Points of a sweep that leave out keys and values in place of weights."""

from collections.abc import Iterator
from typing import Annotated

from analysis.specs.base import OneOf, parameter
from analysis.specs.eviction import POLICIES, Keeping, Kept, with_controls
from analysis.specs.models import ModelSpec
from analysis.specs.pruning import PruneSpec
from analysis.specs.pruning_choices import METHODS
from analysis.specs.pruning_params import CalibrationParams

OTHER_POLICY = "policy"
"""The relation to a policy that is not drawn, as that of sinks with a window to the window alone."""
_NOTHING = next(name for name, row in METHODS.items() if not row.removes)


class EvictionPoint(PruneSpec):
    """The dense model with a part of its keys and values while it is scored: a pruning that removes nothing.

    Its calibration seed is that of the control's draw. Points without a draw are equal at every seed.
    """

    method: Annotated[str, OneOf(METHODS)] = _NOTHING
    sparsity: float = 0.0
    policy: Annotated[str, OneOf(POLICIES)] = parameter(..., "Policy", "Which positions stay.")
    budget: float = parameter(..., "Budget", "Share of the positions whose keys and values stay.", gt=0, le=1)
    control: str = parameter("", "Control", "The matched row that takes the policy's place.")

    @property
    def keeping(self) -> Keeping:
        """Policy, budget and control."""
        return Keeping(self.policy, self.budget, self.control)

    @property
    def kept(self) -> Kept:
        """The keys and values kept, as in an evaluation's spec."""
        return Kept(self.keeping, self.calibration.seed if self.control else 0)

    @property
    def name(self) -> str:
        """Name of the kept part, without the draw."""
        as_many = f" as {self.policy}" if self.control else ""
        return f"{self.control or self.policy} {100 * self.budget:g} % kept{as_many}"

    def held_against(self, relation: str) -> dict[str, str] | None:
        """Return the fields in which this point's reference differs; None if it has none by this relation."""
        if self.control or relation not in ("control", OTHER_POLICY):
            return None
        rows = [POLICIES[name] for name in POLICIES[self.policy].controls]
        if relation == "control":
            return next(({"control": row.name} for row in rows if row.matched), None)
        return next(({"policy": row.name} for row in rows if not row.matched), None)


def eviction_points(
    model: ModelSpec, policies: tuple[str, ...], budgets: tuple[float, ...], seed: int
) -> Iterator[EvictionPoint]:
    """Yield every policy at every budget below 1, and its comparisons; everything is the dense model."""
    for keeping in with_controls(policies, (budget for budget in budgets if budget < 1)):
        yield EvictionPoint(model=model, calibration=CalibrationParams(seed=seed), **vars(keeping))
