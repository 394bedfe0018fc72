"""An objective of a search that only tests have. Workers take it in as a preload of dask."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from analysis.job_context import Context
from analysis.jobs.objectives import Facts, Tell
from analysis.jobs.summaries import SearchFloor
from analysis.specs import OBJECTIVES, DiscountParams, Objective, SuggestSpec


class Far:
    """As far from 3 as can be, up to the limit."""

    def __init__(self, spec: SuggestSpec, content: str, context: Context, tell: Tell) -> None:
        self.notes = ["alpha_unit std was left out, for a test."]
        self.limit = spec.limit or 0.0

    def unserved(self, names: Sequence[str]) -> dict[str, list[str]]:
        return {"alpha_unit": ["std"]}

    def value(self, discount: DiscountParams, tell: Tell) -> tuple[float, Facts]:
        tell("measuring the distance")
        return min(abs(float(discount.sink_std) - 3), self.limit), {"changed": 0.5}

    def floor(self, tell: Tell) -> SearchFloor | None:
        return None

    def compare(self, settings: dict[str, DiscountParams], tell: Tell) -> Facts | None:
        return None


OBJECTIVE = Objective(
    "far",
    "distance from 3",
    "how far k lies from 3, for a test.",
    "$k - 3$ without its sign.",
    "The nearest of many is near, for a test.",
    maximise=True,
    decimals=1,
    reads=("limit",),
    implementation=Far,
)


def dask_setup(worker: Any) -> None:
    """Adds it; dask calls it in every worker."""
    OBJECTIVES.add(OBJECTIVE)


@contextmanager
def added() -> Iterator[None]:
    """It in this process, for as long as it is open."""
    dask_setup(None)
    try:
        yield
    finally:
        del OBJECTIVES[OBJECTIVE.name]
