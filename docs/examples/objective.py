"""Add an objective of a search: one row in `OBJECTIVES`.

The implementation is a class (`ObjectiveFunction`) that gives every setting a value and facts.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from analysis.command_line.flags import Terminal
from analysis.job_context import Context
from analysis.jobs.objectives import Facts, Tell
from analysis.jobs.suggestion import suggest
from analysis.jobs.summaries import SearchFloor
from analysis.specs import OBJECTIVES, DiscountParams, Objective, SuggestSpec


class Gentleness:
    """Return how little a discount takes from a token with a score of one; no model runs."""

    def __init__(self, spec: SuggestSpec, content: str, context: Context, tell: Tell) -> None:
        """content: the model's fingerprint. tell: to be called at every step of slow work."""
        self.notes: list[str] = []

    def unserved(self, names: Sequence[str]) -> dict[str, list[str]]:
        return {}

    def value(self, discount: DiscountParams, tell: Tell) -> tuple[float, Facts]:
        return 1 - discount.discount_strength, {}

    def floor(self, tell: Tell) -> SearchFloor | None:
        return None  # no calibration seed changes it

    def compare(self, settings: dict[str, DiscountParams], tell: Tell) -> Facts | None:
        return None


OBJECTIVES.add(
    Objective(
        "gentleness",
        "weight left to a sink",
        "how much a token that is surely a sink still counts.",
        formula="$1 - \\lambda$",
        caveat="It says nothing about what the model can still do.",
        maximise=True,
        implementation=Gentleness,
    )
)

with Terminal(Path(mkdtemp())) as context:
    summary = suggest(SuggestSpec(objective="gentleness", trials=4), context).summary
best = summary["best"]
assert best is not None and summary["trials"][best]["value"] == 1.0
assert summary["trials"][1]["name"] == "no discount"
