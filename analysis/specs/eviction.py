"""Keeping a part of the keys and values: which positions a policy keeps, and what an eviction over prompts is asked."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import model_validator

from analysis.registry import Registry
from analysis.specs.ablation import PromptsSpec
from analysis.specs.base import OneOf, parameter
from analysis.specs.sinks import SinkParams


@dataclass(frozen=True)
class Policy:
    """A way of choosing which positions of a context are kept, computed in `RANKINGS` (analysis/recording/keeping.py).

    title: as in 'keeping …'. help: which positions these are. source: where it was published. controls: rows that it is
    compared with at the same budget. matched: draws as many positions of each state as the policy it is a control of,
    so it is drawn once for each. everything: keeps all, whatever the budget.
    """

    name: str
    title: str
    help: str
    source: str = ""
    controls: tuple[str, ...] = ()
    matched: bool = False
    everything: bool = False

    @property
    def asked(self) -> bool:
        """True for a policy that is chosen; the others run with those that are."""
        return not (self.matched or self.everything)


POLICIES: Registry[Policy] = Registry(
    Policy(
        "sinks",
        "sinks and a window",
        "the sinks of the layer, heaviest first, and then the positions nearest to where text is written.",
        source="StreamingLLM, arXiv 2309.17453, with measured sinks in place of the first tokens",
        controls=("random", "recent"),
    ),
    Policy(
        "accumulated",
        "most attention so far",
        "the positions that drew most attention in all forwards so far.",
        source="H2O, arXiv 2306.14048, without the half of its budget that goes to recent tokens",
        controls=("random",),
    ),
    Policy(
        "masked-queries",
        "most attention of masked positions",
        "the positions to which the undecided positions attend most; all queries count where none is undecided.",
        source="MaskKV, arXiv 2510.09309, with one budget for all layers and heads",
        controls=("random",),
    ),
    Policy(
        "recent",
        "the nearest positions",
        "the positions nearest to where text is written, in a causal model the last ones.",
    ),
    Policy(
        "random",
        "random positions of the same state",
        "as many random positions of each state (prompt, written, undecided) as the policy keeps, per step and layer; "
        "the draw stays the same over the steps.",
        matched=True,
    ),
    Policy("everything", "everything", "all positions, as without a budget.", everything=True),
)


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
        "Shares of the positions whose keys and values stay in each layer.",
        min_length=1,
        max_length=20,
    )
    sinks: SinkParams = SinkParams()

    @model_validator(mode="after")
    def _can_be_chosen(self) -> "EvictSpec":
        if not any(POLICIES[name].asked for name in self.policies):
            raise ValueError("Choose a policy beside the controls, such as 'sinks'.")
        wrong = [budget for budget in self.budgets if not 0 < budget <= 1]
        if wrong:
            raise ValueError(f"A budget is a share above 0 and up to 1, such as 0.4, not {wrong[0]:g}.")
        for name in ("policies", "budgets"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"The {name} name one twice.")
        return self


@dataclass(frozen=True)
class Keeping:
    """A policy at a budget. control: the matched row of `POLICIES` that takes its place; '' for the policy itself."""

    policy: str
    budget: float
    control: str = ""


def keepings(spec: EvictSpec) -> list[Keeping]:
    """Return what runs on every prompt: everything, then each policy at each budget, before controls matched to it."""
    asked = [name for name in spec.policies if POLICIES[name].asked]
    beside = [name for policy in asked for name in POLICIES[policy].controls if POLICIES[name].asked]
    every = [Keeping(name, 1.0) for name, row in POLICIES.items() if row.everything]
    for budget in spec.budgets:
        for policy in dict.fromkeys([*asked, *beside]):
            every.append(Keeping(policy, budget))
            if policy in asked:
                matched = (name for name in POLICIES[policy].controls if POLICIES[name].matched)
                every += [Keeping(policy, budget, name) for name in matched]
    return every
