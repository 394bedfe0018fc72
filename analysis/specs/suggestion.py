"""How the parameters of the discount are searched for: which, by what they are judged, and for how many trials."""

from typing import Any, Literal

from pydantic import field_validator

from analysis.specs.base import choices, parameter
from analysis.specs.fields import bounds, extra
from analysis.specs.models import JobSpec
from analysis.specs.pruning import DiscountParams
from analysis.specs.tuning import StatisticsParams, TuneParams

REFERENCES = 2  # the first trials of every search: the published setting and no discount
_OF_ACCURACY = {"tasks", "limit", "reported_limit", "draws", "include_path"}


def searchable() -> tuple[str, ...]:
    """The parameters of the discount that can be searched: numbers with a range and a step, and choices."""
    return tuple(
        name
        for name, field in DiscountParams.model_fields.items()
        if choices(field) or (extra(field).get("step") and None not in bounds(field, 0)[:2])
    )


class SuggestSpec(JobSpec):
    """Search the parameters of the discount for the setting that costs the model least."""

    statistics: StatisticsParams = StatisticsParams()
    setting: TuneParams = TuneParams()
    judge: Literal["error", "accuracy"] = parameter(
        "error",
        "Judged by",
        "error: the output error on held-out calibration text, from stored statistics, without running the model. "
        "accuracy: every setting prunes the model, which then answers benchmark items kept apart for tuning.",
    )
    searched: tuple[str, ...] = parameter(
        ("sink_std", "sink_alpha", "alpha_unit", "discount_strength"),
        "Searched",
        "Parameters of the discount that are searched, each over its whole range. The others stay as they are set.",
        min_length=1,
    )
    trials: int = parameter(
        40,
        "Trials",
        "Settings that are tried. The first two are the published setting and no discount; the next eight or so are "
        "drawn at random, the rest by what was found.",
        unit="settings",
        ge=REFERENCES + 1,
        le=500,
    )
    seed: int = parameter(
        0, "Search seed", "Fixes which settings are tried, and which items and masks judge them.", ge=0, le=2**31 - 1
    )
    tasks: tuple[str, ...] = parameter(
        ("bundled",),
        "Tasks",
        "Judged by accuracy: the tasks that settings are judged by, as for an evaluation.",
        min_length=1,
        max_length=64,
    )
    limit: int | None = parameter(
        64,
        "Items a task",
        "Judged by accuracy: so many of the items kept for tuning, one in four of a task, answer for every setting; "
        "the same with the same masks. Empty takes all of them.",
        unit="items",
        empty="all",
        ge=1,
    )
    reported_limit: int | None = parameter(
        None,
        "Items a task, reported",
        "Judged by accuracy: so many of the other items compare the best setting with the published one and with no "
        "discount at the end. Empty takes all of them.",
        unit="items",
        empty="all",
        ge=1,
    )
    draws: int | None = parameter(
        None,
        "Draws",
        "Judged by accuracy: masked inputs an answer is estimated with. Empty takes the task's own.",
        empty="the task's own",
        ge=1,
        le=4096,
    )
    include_path: str | None = parameter(
        None,
        "Folder with your tasks",
        "A folder of lm-eval YAML tasks. Functions that its files name are run, so use only what you trust.",
        empty="none",
    )

    @field_validator("searched")
    @classmethod
    def _in_order(cls, searched: tuple[str, ...]) -> tuple[str, ...]:
        allowed = searchable()
        unknown = [name for name in searched if name not in allowed]
        if unknown:
            raise ValueError(f"'{unknown[0]}' is no parameter of the discount. Choose among {', '.join(allowed)}.")
        return tuple(name for name in allowed if name in searched)

    @property
    def base(self) -> DiscountParams:
        """What holds for every setting that is tried; what is searched is at its default."""
        default = DiscountParams()
        return self.setting.discount.model_copy(update={name: getattr(default, name) for name in self.searched})

    @property
    def references(self) -> dict[str, DiscountParams]:
        """What every suggestion stands beside, by name; no discount as a setting of this search where it is one."""
        none = self.base.model_copy(update={"discount_strength": 0.0})
        return {"published": DiscountParams(), "no discount": none}

    def question(self) -> dict[str, Any]:
        """What a trial depends on beside the model's content, as JSON: the same whatever the number of trials."""
        left_out = {"model", "trials", "reported_limit"} | (_OF_ACCURACY if self.judge == "error" else set())
        asked = self.model_dump(mode="json", exclude=left_out)
        for name in self.searched:
            del asked["setting"]["discount"][name]
        if self.judge == "accuracy":
            asked["statistics"] = asked["statistics"]["calibration"]
        return asked
