"""Tuning the discount of sinks: statistics stored for it, a setting to try on them, and the search for the best one:
its parameters, its objective and the number of trials.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import field_validator

from analysis.registry import Choice, Registry
from analysis.specs.base import (
    JobSpec,
    OneOf,
    PathText,
    Spec,
    bounds,
    choices,
    extra,
    like,
    parameter,
    random_seed,
    require_folder,
)
from analysis.specs.pruning import PruneSpec
from analysis.specs.pruning_params import CalibrationParams, DiscountParams, StepParams


class StatisticsParams(Spec):
    """Stored statistics of the dense model on noised text."""

    calibration: CalibrationParams = CalibrationParams(samples=32, seq_len=64)
    grouping: Literal["auto", "tokens", "bins"] = parameter(
        "auto",
        "Squares stored by",
        "tokens: x² of every token, exact for every setting. bins: x² summed over ranges of attention mass, much "
        "smaller for long sequences, with an error that is measured and shown. auto: tokens where all sequences "
        "fit.",
    )
    layer_scope: bool = parameter(
        False,
        "Bins by layer too",
        "Also store bins for layers that discount their own sinks. Tokens serve both anyway.",
    )
    byte_budget: int | None = parameter(
        None,
        "Room for squares",
        "Room for the stored squares, such as 2GB. If the samples do not fit, fewer are stored. Empty: 1 GiB, or "
        "what four sequences take, up to 16 GiB.",
        unit="bytes",
        empty="fitted to the model",
        ge=2**20,
        le=2**40,
    )
    heldout: int = parameter(
        8,
        "Held-out sequences",
        "Held-out sequences on which the output error is measured.",
        unit="sequences",
        ge=1,
        le=256,
    )
    streaming: Literal["auto", "always"] = like(PruneSpec, "streaming")


class CalibrateSpec(StatisticsParams, JobSpec):
    """Run the dense model on noised text and store what every setting's scores and masks are computed from."""


class SeedFloorSpec(CalibrateSpec):
    """Run the dense model on the text of another calibration seed, for the floor of what a discount changes."""


class HeldoutSpec(CalibrateSpec):
    """Run the dense model on text that no score has seen, for the output error."""


class TuneParams(StepParams):
    """One setting: the discount, the noise steps that count and how much, and the sparsity of the masks."""

    discount: DiscountParams = DiscountParams()
    sparsity: float = parameter(
        0.5, "Sparsity", "Share of each row's weights that the masks remove.", ge=0, le=0.95, step=0.05
    )


@dataclass(frozen=True)
class DiscountPreset:
    """A discount to begin with, by its name for people."""

    name: str
    discount: DiscountParams


PRESETS: Registry[DiscountPreset] = Registry(
    DiscountPreset("published", DiscountParams()),
    DiscountPreset("hard threshold", DiscountParams(sink_score="hard")),
    DiscountPreset("α in standard deviations", DiscountParams(alpha_unit="std")),
    DiscountPreset("each layer's own sinks", DiscountParams(sink_scope="layer")),
    DiscountPreset("no discount", DiscountParams(discount_strength=0.0)),
)
"""Discounts to begin with. published: the authors' scripts for LLaDA and Dream alike."""


# --- the search ---------------------------------------------------------------------------------------------------

REFERENCES = 2  # the first trials of every search: the published setting and no discount


@dataclass(frozen=True)
class Objective(Choice):
    """Objective of a search; an `ObjectiveFunction` (analysis/jobs/objectives.py) computes its value.

    title: as in 'judged by …'. formula: of the value, may hold LaTeX. caveat: limits of the best value of many.
    maximise: more is better. decimals: of a value in per cent. least_height: of the axis of a history, as a share of
    the largest value. reads: fields of `SuggestSpec` that only it reads. reads_statistics: it reads the stored
    statistics, otherwise only their calibration text. compares: the best setting is finally compared with the
    references on items that no trial has seen.
    """

    formula: str
    caveat: str
    maximise: bool = False
    decimals: int = 2
    least_height: float = 2e-3
    reads: tuple[str, ...] = ()
    reads_statistics: bool = False
    compares: bool = False


OBJECTIVES: Registry[Objective] = Registry(
    Objective(
        "error",
        "output error",
        "the output error on held-out calibration text, from stored statistics, without running the model.",
        "The mean over all projections of $\\lVert WX - \\tilde W X \\rVert / \\lVert WX \\rVert$ on held-out noised "
        "sequences.",
        "On the held-out text on which the best was chosen: the best of many looks better than it is, and an output "
        "error is not an accuracy. A search by accuracy compares on items of its own.",
        decimals=4,
        least_height=2e-4,
        reads_statistics=True,
        implementation="analysis.jobs.objectives:OutputError",
    ),
    Objective(
        "accuracy",
        "accuracy",
        "every setting prunes the model, which then answers benchmark items kept apart for tuning.",
        "The mean over tasks of the share of right answers of the model pruned with the setting, on the items kept for "
        "tuning.",
        "On the items kept for tuning, on which the best was chosen: the best of many looks better than it is. What "
        "counts is the comparison on the other items.",
        maximise=True,
        reads=("tasks", "limit", "reported_limit", "draws", "include_path"),
        compares=True,
        implementation="analysis.jobs.objectives:TaskAccuracy",
    ),
)


def _for_readers(field: str, text: str) -> str:
    """A help text after the titles of the objectives that read the field."""
    titles = " or ".join(objective.title for objective in OBJECTIVES.values() if field in objective.reads)
    return f"Judged by {titles}: {text}"


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
    objective: Annotated[str, OneOf(OBJECTIVES)] = parameter("error", "Judged by", "What a setting is worth.")
    searched: tuple[str, ...] = parameter(
        ("sink_std", "sink_alpha", "alpha_unit", "discount_strength"),
        "Searched",
        "Parameters of the discount that are searched, each over its whole range. The others stay as they are set.",
        min_length=1,
    )
    trials: int = parameter(
        40,
        "Trials",
        "Settings to try. The first two are the published setting and no discount; about eight are random, the rest "
        "follow what was found.",
        unit="settings",
        ge=REFERENCES + 1,
        le=500,
    )
    seed: int = random_seed("Fixes which settings are tried, and which items and masks judge them.", "Search seed")
    tasks: tuple[str, ...] = parameter(
        ("bundled",),
        "Tasks",
        _for_readers("tasks", "the tasks that settings are judged by, as for an evaluation."),
        min_length=1,
        max_length=64,
    )
    limit: int | None = parameter(
        64,
        "Items per task",
        _for_readers(
            "limit",
            "tuning items per task, the same with the same masks for every setting. Empty takes all of them, about "
            "one item in four.",
        ),
        unit="items",
        empty="all",
        ge=1,
    )
    reported_limit: int | None = parameter(
        None,
        "Items per task, reported",
        _for_readers(
            "reported_limit",
            "other items per task, for the comparison with the published setting and with no discount at the end. "
            "Empty takes all of them.",
        ),
        unit="items",
        empty="all",
        ge=1,
    )
    draws: int | None = parameter(
        None,
        "Draws",
        _for_readers("draws", "masked inputs per answer. Empty takes the task's own."),
        empty="the task's own",
        ge=1,
        le=4096,
    )
    include_path: PathText | None = parameter(
        None,
        "Folder with your tasks",
        "A folder of lm-eval YAML tasks. Functions that the files name are run, so use only what you trust.",
        empty="none",
    )

    _folder_is_named = field_validator("include_path")(require_folder)

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
        """Setting common to all trials; searched parameters are at their defaults."""
        default = DiscountParams()
        return self.setting.discount.model_copy(update={name: getattr(default, name) for name in self.searched})

    @property
    def references(self) -> dict[str, DiscountParams]:
        """The settings that every suggestion is compared with, by name; no discount otherwise keeps this search's
        setting.
        """
        none = self.base.model_copy(update={"discount_strength": 0.0})
        return {"published": DiscountParams(), "no discount": none}

    def question(self) -> dict[str, Any]:
        """Return what a trial depends on besides the model's content, as JSON, independent of the number of trials."""
        objective = OBJECTIVES[self.objective]
        unread = {name for other in OBJECTIVES.values() for name in other.reads} - set(objective.reads)
        left_out = {"model", "trials", "reported_limit"} | unread
        fields = self.model_dump(mode="json", exclude=left_out)
        for name in self.searched:
            del fields["setting"]["discount"][name]
        if not objective.reads_statistics:
            fields["statistics"] = fields["statistics"]["calibration"]
        return fields
