"""Keeping a part of the keys and values: the policies that choose positions, the spec of an eviction over prompts, and
the points of a sweep that evict in place of pruning.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import model_validator

from analysis.errors import shorten
from analysis.registry import Choice, Registry
from analysis.specs.ablation import PromptsSpec
from analysis.specs.base import ModelSpec, OneOf, parameter
from analysis.specs.pruning import PruneSpec
from analysis.specs.pruning_choices import METHODS
from analysis.specs.pruning_params import CalibrationParams
from analysis.specs.sinks import SinkParams


@dataclass(frozen=True)
class Policy(Choice):
    """A way of choosing which positions of a context are kept, by a `Ranking` (analysis/recording/keeping.py).

    title: as in 'keeping …'. help: describes these positions. source: its publication. controls: rows that it is
    compared with at the same budget. matched: draws as many positions of each state as the policy it controls, so it is
    drawn once for each. everything: keeps all, whatever the budget.
    """

    source: str = ""
    controls: tuple[str, ...] = ()
    matched: bool = False
    everything: bool = False

    @property
    def asked(self) -> bool:
        """True for a policy that is chosen; the others run with those that are."""
        return not (self.matched or self.everything)

    @property
    def matched_control(self) -> str:
        """The matched row of its controls; '' where it has none."""
        return next((name for name in self.controls if POLICIES[name].matched), "")


POLICIES: Registry[Policy] = Registry(
    Policy(
        "sinks",
        "sinks and a window",
        "the sinks of the layer, heaviest first, and then the positions nearest to where text is written.",
        source="StreamingLLM, arXiv 2309.17453, with measured sinks in place of the first tokens",
        controls=("random", "recent"),
        implementation="analysis.recording.keeping:sinks_then_near",
    ),
    Policy(
        "accumulated",
        "most attention so far",
        "the positions that drew most attention in all forwards so far.",
        source="H2O, arXiv 2306.14048, without the half of its budget that goes to recent tokens",
        controls=("random",),
        implementation="analysis.recording.keeping:by_accumulated",
    ),
    Policy(
        "masked-queries",
        "most attention of masked positions",
        "the positions to which the undecided positions attend most; all queries count where none is undecided.",
        source="MaskKV, arXiv 2510.09309, with one budget for all layers and heads",
        controls=("random",),
        implementation="analysis.recording.keeping:by_masked_queries",
    ),
    Policy(
        "recent",
        "the nearest positions",
        "the positions nearest to where text is written, in a causal model the last ones.",
        implementation="analysis.recording.keeping:nearest",
    ),
    Policy(
        "random",
        "random positions of the same state",
        "as many random positions of each state (prompt, written, undecided) as the policy keeps, per step and layer; "
        "the draw stays the same over the steps.",
        matched=True,
    ),
    Policy(
        "everything",
        "everything",
        "all positions, as without a budget.",
        everything=True,
        implementation="analysis.recording.keeping:as_they_lie",
    ),
)


EVERYTHING = next(name for name, row in POLICIES.items() if row.everything)


def require_budgets(budgets: tuple[float, ...]) -> tuple[float, ...]:
    """Refuse budgets that are no shares. Raises ValueError."""
    for budget in budgets:
        if not 0 < budget <= 1:
            raise ValueError(f"A budget is a share above 0 and up to 1, such as 0.4, not {budget:g}.")
    return budgets


class EvictSpec(PromptsSpec):
    """Denoise every prompt of a set with only a share of the keys and values, chosen by policies and their controls."""

    policies: tuple[Annotated[str, OneOf(POLICIES)], ...] = parameter(
        ("sinks", "accumulated", "masked-queries", "recent"),
        "Policies",
        "Which positions stay. Controls, and a run that keeps everything, are always included.",
        min_length=1,
    )
    budgets: tuple[float, ...] = parameter(
        (0.2, 0.4, 0.6),
        "Budgets",
        "Shares of the positions that a layer can see, whose keys and values stay.",
        min_length=1,
        max_length=20,
    )
    sinks: SinkParams = SinkParams()

    @model_validator(mode="after")
    def _can_be_chosen(self) -> "EvictSpec":
        if not any(POLICIES[name].asked for name in self.policies):
            raise ValueError("Choose a policy beside the controls, such as 'sinks'.")
        require_budgets(self.budgets)
        for name in ("policies", "budgets"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"The {name} name one twice.")
        return self


@dataclass(frozen=True)
class Keeping:
    """A policy at a budget. control: the matched row of `POLICIES` that takes its place; '' for the policy itself.
    draw: the seed of a control, for a model that keeps the same share while it is scored.
    """

    policy: str
    budget: float
    control: str = ""
    draw: int = 0

    def __str__(self) -> str:
        if POLICIES[self.policy].everything:
            return self.policy
        drawn = f":{self.control}:{self.draw}" if self.control else ""
        return f"{self.policy}:{self.budget:g}{drawn}"

    @property
    def title(self) -> str:
        """The row that chooses, as in 'keeping …'."""
        return POLICIES[self.control or self.policy].title

    @property
    def all_stays(self) -> bool:
        """True if nothing is left out."""
        return POLICIES[self.policy].everything or self.budget >= 1

    @property
    def name(self) -> str:
        """Name of the kept part, without the draw."""
        as_many = f" as {self.policy}" if self.control else ""
        return f"{self.control or self.policy} {100 * self.budget:g} % kept{as_many}"

    @property
    def in_words(self) -> str:
        """As part of a model's name."""
        if self.all_stays:
            return "everything kept"
        return f"{self.name} seed {self.draw}" if self.control else self.name


def keepings(spec: EvictSpec) -> list[Keeping]:
    """Return the conditions of every prompt: everything, then each policy at each budget, before controls matched to
    it.
    """
    every = [Keeping(name, 1.0) for name, row in POLICIES.items() if row.everything]
    return every + with_controls(spec.policies, spec.budgets)


def with_controls(policies: Iterable[str], budgets: Iterable[float]) -> list[Keeping]:
    """Return each policy at each budget, with its comparisons; a policy before controls matched to it."""
    asked = [name for name in policies if POLICIES[name].asked]
    beside = [name for policy in asked for name in POLICIES[policy].controls if POLICIES[name].asked]
    every: list[Keeping] = []
    for budget in budgets:
        for policy in dict.fromkeys([*asked, *beside]):
            every.append(Keeping(policy, budget))
            if policy in asked and (control := POLICIES[policy].matched_control):
                every.append(Keeping(policy, budget, control))
    return every


def kept_of(text: str) -> Keeping:
    """Read `POLICY:BUDGET`, of a matched control `POLICY:BUDGET:CONTROL:DRAW`, or the name of a policy that keeps all.

    Raises ValueError.
    """
    policy, *parts = text.strip().split(":")
    row = POLICIES.get(policy)
    if row is not None and row.everything and not parts:
        return Keeping(policy, 1.0)
    try:
        budget, control, draw = float(parts[0]), "".join(parts[1:2]), int("".join(parts[2:3]) or 0)
        known = row is not None and row.asked and len(parts) <= 3 and draw >= 0
        known = known and (not control or (control in POLICIES and POLICIES[control].matched))
    except (IndexError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"'{shorten(text)}' does not say what is kept. Write a policy and a budget, such as sinks:0.6, or "
            "everything."
        )
    require_budgets((budget,))
    return Keeping(policy, budget, control, draw)


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
        """The keys and values kept, as in an evaluation's spec."""
        return Keeping(self.policy, self.budget, self.control, self.calibration.seed if self.control else 0)

    def held_against(self, relation: str) -> dict[str, str] | None:
        """Return the fields in which this point's reference differs; None if it has none by this relation."""
        if self.control or relation not in ("control", OTHER_POLICY):
            return None
        row = POLICIES[self.policy]
        if relation == "control":
            return {"control": row.matched_control} if row.matched_control else None
        return next(({"policy": name} for name in row.controls if name != row.matched_control), None)


def eviction_points(
    model: ModelSpec, policies: tuple[str, ...], budgets: tuple[float, ...], seed: int
) -> Iterator[EvictionPoint]:
    """Yield every policy at every budget below 1, and its comparisons; everything is the dense model."""
    for keeping in with_controls(policies, (budget for budget in budgets if budget < 1)):
        yield EvictionPoint(
            model=model,
            calibration=CalibrationParams(seed=seed),
            policy=keeping.policy,
            budget=keeping.budget,
            control=keeping.control,
        )
