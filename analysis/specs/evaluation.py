"""Evaluation of models: tasks, numbers of items and draws, and models to compare with."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import field_validator, model_validator

from analysis.registry import Choice, Registry
from analysis.specs.base import (
    LLADA_SOURCE,
    ChatTemplate,
    JobSpec,
    ModelSpec,
    OneOf,
    PathText,
    PathTexts,
    Spec,
    parameter,
    random_seed,
    require_folder,
)
from analysis.specs.eviction import EVERYTHING, Keeping, kept_of


@dataclass(frozen=True)
class CanvasScore(Choice):
    """Score for the answers of a model whose noise is random tokens. sentence: explains the number on pages.

    one_token: True if it is defined only for answers of one token. reads: True if the encoder gives it.
    """

    sentence: str
    one_token: bool = False
    reads: bool = False


CANVAS_SCORES: Registry[CanvasScore] = Registry(
    CanvasScore(
        "reader",
        "the encoder, which reads and does not write",
        "the encoder's own causal likelihood, exact: of the reader, not of the writer.",
        "Likelihoods are the encoder's own, token after token: they are exact, and those of what reads the text, not "
        "of the denoiser that writes it.",
        reads=True,
    ),
    CanvasScore(
        "denoiser",
        "the denoiser, on pure noise",
        "the denoiser's marginal at the first position of canvases of pure noise, for answers of one token.",
        "Likelihoods are the denoiser's own marginals of one token, at the first position of canvases of pure noise: "
        "the mean probability over the draws.",
        one_token=True,
    ),
)
"""Likelihoods for answers of DiffusionGemma; analysis/evaluation/canvas_likelihood.py computes them."""

NO_MASKED_ESTIMATE = (
    "The estimator of masked models is not run: it averages over the mask token in the answer, and this model's noise "
    "is random tokens. A bound for such noise would be that of a process which its sampler does not follow."
)
"""Reason why those numbers have no bound."""

WINDOW = 64  # items that every model finishes before the next window begins


class EvaluateSpec(JobSpec):
    """Score models on benchmark tasks, item by item, so that their differences are paired."""

    compare: tuple[ModelSpec, ...] = parameter(
        (), "Compared with", "More models, scored on the very same items with the very same masks.", max_length=16
    )
    names: tuple[str, ...] = parameter(
        (), "Names", "Names of the models in the results, in order. Empty takes the sources.", max_length=17
    )
    kept: tuple[str, ...] = parameter(
        (),
        "Keys kept",
        "Share of the keys and values each model keeps, in the order of the names: everything, a policy of `evict` "
        "with a budget such as sinks:0.6, or its control such as sinks:0.6:random:3 (3 is the seed). Empty keeps "
        "everything.",
        empty="everything",
        max_length=17,
    )
    tasks: tuple[str, ...] = parameter(
        ("bundled",),
        "Tasks",
        "bundled: the six choice tasks that ship with SinkScope. paper: the eight of Sink-Aware Pruning. Or names of "
        "presets and of lm-eval's own tasks.",
        min_length=1,
        max_length=64,
    )
    limit: int | None = parameter(
        None,
        "Items per task",
        "A random subset of this many items, the same for every model. Empty takes all.",
        unit="items",
        empty="all",
        ge=1,
    )
    part: Literal["all", "tuning", "reported"] = parameter(
        "all",
        "Part of the items",
        "tuning: about one item in four of each task, to choose settings on. reported: the others. all: both. No "
        "item is in both parts, whatever the seed.",
    )
    draws: int | None = parameter(
        None,
        "Draws",
        "Masked inputs per answer; answers of up to log2(draws + 1) tokens are exact. Few draws bias accuracy, so "
        "compare at equal draws. Empty takes the task's own.",
        empty="the task's own",
        ge=1,
        le=4096,
        source=LLADA_SOURCE,
    )
    shots: int | None = parameter(
        None, "Examples before each item", "Empty takes the task's own.", empty="the task's own", ge=0, le=64
    )
    guidance: float | None = parameter(
        None,
        "Guidance scale",
        "Classifier-free guidance g: LLaDA's logits u + (g + 1)(c − u), Dream's u + g(c − u), c with the context and u "
        "with the context masked. 0 switches it off. Empty takes the task's own.",
        empty="the task's own",
        ge=0,
        le=10,
        step=0.5,
        source=LLADA_SOURCE,
    )
    gen_length: int | None = parameter(
        None,
        "New tokens",
        "Tokens written for generated answers, in as many denoising steps. Empty takes the task's own.",
        unit="tokens",
        empty="the task's own",
        ge=1,
        le=4096,
    )
    canvas_score: Annotated[str, OneOf(CANVAS_SCORES)] = parameter(
        "reader", "Likelihoods of DiffusionGemma by", "For models whose noise is random tokens; others ignore it."
    )
    early_draws: bool = parameter(
        False,
        "Stop drawing early",
        "Stop drawing for an item once its answer is clear. For one model alone: a comparison needs equal draws.",
    )
    chat_template: ChatTemplate = parameter(
        "auto",
        "Chat template",
        "Wrap every item as a user's turn. auto decides by the first model, for all that are compared with it.",
    )
    include_path: PathText | None = parameter(
        None,
        "Folder with your tasks",
        "A folder of lm-eval YAML tasks. Functions that the files name are run, so use only what you trust.",
        empty="none",
    )
    seed: int = random_seed("Fixes which items are taken, their order and every mask.")

    _folder_is_named = field_validator("include_path")(require_folder)

    @field_validator("tasks")
    @classmethod
    def _named_once(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        named = tuple(dict.fromkeys(name.strip() for name in tasks if name.strip()))
        if not named:
            raise ValueError("No task is named. Name at least one, such as bundled.")
        return named

    @field_validator("kept")
    @classmethod
    def _each_is_kept(cls, kept: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(kept_of(text)) for text in kept)

    @model_validator(mode="after")
    def _fits(self) -> "EvaluateSpec":
        if self.kept and len(self.kept) != len(self.models):
            raise ValueError(f"There are {len(self.models)} models and what {len(self.kept)} keep. Say it for each.")
        if self.early_draws and self.evicts:
            raise ValueError("Drawing cannot stop early where keys are left out. Switch one of the two off.")
        if self.names and len(self.names) != len(self.models):
            raise ValueError(f"There are {len(self.models)} models and {len(self.names)} names. Give one each.")
        if len(set(self.names)) != len(self.names):
            raise ValueError("Two models have the same name.")
        if self.early_draws and self.compare:
            raise ValueError("Drawing cannot stop early in a comparison: every model needs the same draws.")
        return self

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The model and those it is compared with."""
        return (self.model, *self.compare)

    @property
    def keeps(self) -> tuple[Keeping, ...]:
        """The part of its keys and values that each model keeps."""
        return tuple(map(kept_of, self.kept or (EVERYTHING,) * len(self.models)))

    @property
    def evicts(self) -> bool:
        """True if some model leaves keys out."""
        return any(not kept.all_stays for kept in self.keeps)


class ImportSpec(Spec):
    """Compare what lm-eval wrote elsewhere with --log_samples, item by item."""

    folders: PathTexts = parameter(
        ...,
        "Folders of lm-eval",
        "Each an --output_path of lm-eval. All models that are found in them are compared, on the items that all were "
        "asked.",
        min_length=1,
        max_length=17,
    )
    names: tuple[str, ...] = parameter(
        (), "Names", "What to call the models, in the order of the folders. Empty takes lm-eval's names.", max_length=17
    )
    beside: PathTexts = parameter(
        (), "Beside", "Items files (.items.jsonl) of evaluations made here, whose models come first.", max_length=17
    )
    filters: tuple[str, ...] = parameter(
        (),
        "Filters",
        "Of a task that was scored through several filters the first of these counts that it has, such as "
        "flexible-extract. Empty takes the first in its file.",
        max_length=64,
    )
    metrics: tuple[str, ...] = parameter(
        (),
        "Metrics",
        "Of several metrics from 0 to 1 the first of these counts that a task has, such as acc_norm. Empty takes acc, "
        "then exact_match, then what is right or wrong, then what has degrees.",
        max_length=64,
    )

    @model_validator(mode="after")
    def _named_once(self) -> "ImportSpec":
        if len(set(self.names)) != len(self.names):
            raise ValueError("Two models have the same name.")
        return self


class PlanParams(Spec):
    """The difference a comparison should detect, and the noise assumed before any is measured."""

    target: float = parameter(
        0.5,
        "Difference to show",
        "The smallest difference on the average over tasks to detect with 80 % power. The published gains are about "
        "half a point.",
        unit="points",
        gt=0,
        le=100,
        step=0.1,
    )
    disagreement: float = parameter(
        0.02,
        "Items scored differently",
        "Assumed share of the items on which two runs score differently. On the bundled model at 60 % sparsity: "
        "about 1 % between a sink-aware run and its control, 8 % between either and the dense model.",
        gt=0,
        le=1,
        step=0.01,
    )
    alike: float = parameter(
        0.5,
        "Correlation within a cluster",
        "Assumed correlation of the differences of items that share a key or passage.",
        ge=0,
        le=1,
        step=0.1,
    )
    alike_in_subject: float = parameter(
        0.02,
        "Correlation within a subject",
        "Assumed correlation of the differences of items that share only a subject, such as MMLU's 57. Not measured.",
        ge=0,
        le=1,
        step=0.01,
    )
    changing: float = parameter(
        0.5,
        "Changing with the seed",
        "Assumed share of the disagreement that another calibration seed changes.",
        ge=0,
        le=1,
        step=0.1,
    )
    seed_spread: float = parameter(
        0.3,
        "Spread over seeds",
        "Assumed standard deviation of the average difference of two methods over calibration seeds, beyond the "
        "noise of items.",
        unit="points",
        ge=0,
        le=100,
        step=0.1,
    )
