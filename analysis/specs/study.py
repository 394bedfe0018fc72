"""A study: do sinks matter in a model, and does discounting them help pruning? Its parts, settings, size and
pre-registration, a file frozen before anything runs and named by its hash.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, field_validator, model_validator

from analysis.registry import Choice, Implemented, Registry
from analysis.specs.base import JobSpec, ModelSpec, OneOf, like, parameter, random_seed, require_keys
from analysis.specs.evaluation import EvaluateSpec
from analysis.specs.pruning import PruneSpec
from analysis.specs.pruning_choices import METHODS
from analysis.specs.pruning_params import CalibrationParams
from analysis.specs.recording_sets import MOST_PROMPTS, SetParams, keys_of_prompts
from analysis.specs.sweep import SweepSpec, written_out

MOST_BYTES = 2**20  # largest size of a registration file


class Registration(BaseModel, extra="forbid", frozen=True):
    """A study as fixed before anything ran. settings: every parameter. outcome: the primary outcome of hiding sinks.
    contrasts: one sentence per comparison. margins: in words, by outcome. tests: their number in the family. power: as
    planned. made: ISO 8601. version: of SinkScope. digest: SHA-256 of all other fields.
    """

    format: Literal["sinkscope-plan-1"] = "sinkscope-plan-1"
    made: str
    version: str
    settings: dict[str, Any]
    outcome: str
    contrasts: tuple[str, ...]
    margins: dict[str, str]
    tests: int
    power: str
    digest: str = ""

    @model_validator(mode="after")
    def _is_what_was_frozen(self) -> "Registration":
        if self.digest and self.digest != self.content_digest():
            raise ValueError("The plan was changed after it was written: its hash does not match its content.")
        return self

    def content_digest(self) -> str:
        """Return the SHA-256 of all other fields."""
        content = self.model_dump(mode="json", exclude={"digest"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def frozen(self) -> "Registration":
        """Return a copy with its digest set."""
        return self.model_copy(update={"digest": self.content_digest()})


QUESTION = "Do attention sinks matter? Should pruning count them less?"
SINK_AWARE = ("wanda", "wanda-noised", "sink-wanda")
WITH_SHAMS = (*SINK_AWARE, "sham-wanda", "light-wanda", "sparsegpt", "sink-sparsegpt", "sham-sparsegpt")


@dataclass(frozen=True)
class StudyPart(Implemented):
    """A part of the story. title: its heading. question: in plain words. The implementation returns the jobs that it
    submits; None: there are none.
    """

    name: str
    title: str
    question: str


STUDY_PARTS: Registry[StudyPart] = Registry(
    StudyPart(
        "watch",
        "Watch it write",
        "What does the model look at while its text fills in?",
        implementation="analysis.engine.studies:watch_children",
    ),
    StudyPart(
        "sinks",
        "Where the sinks live",
        "Which tokens draw several times their share of attention, and in which layers?",
        implementation="analysis.engine.studies:set_children",
    ),
    StudyPart(
        "movement",
        "Do they move?",
        "Do sinks move more than chance predicts?",
        implementation="analysis.engine.studies:set_children",
    ),
    StudyPart(
        "causes",
        "Do they matter?",
        "What changes when the sinks are hidden from the model?",
        implementation="analysis.engine.studies:causes_children",
    ),
    StudyPart(
        "pruning",
        "Does discounting them help?",
        "Is a pruned model better when sinks count less as its weights are chosen?",
        implementation="analysis.engine.studies:pruning_children",
    ),
)


class StudySpec(JobSpec):
    """Ask whether sinks matter in a model, and whether discounting them helps pruning."""

    reference: ModelSpec | None = parameter(
        None, "Left-to-right reference", "A left-to-right (autoregressive) model to compare with.", empty="none"
    )
    prompt: str = parameter(
        "Once upon a time",
        "Prompt to watch",
        "The prompt of the recording to watch. Sets of recordings have their own.",
        max_length=50_000,
    )
    gen_length: int = parameter(
        48, "New tokens", "How many tokens are written after each prompt.", unit="tokens", ge=1, le=4096
    )
    prompts: int = parameter(
        30,
        "Prompts",
        "Prompts on which sinks are found and hidden. Claims need at least 30.",
        unit="prompts",
        ge=2,
        le=1000,
    )
    own_prompts: tuple[str, ...] = parameter(
        (), "Own prompts", "One text per prompt, in place of the bundled ones.", max_length=MOST_PROMPTS
    )
    own_keys: tuple[str, ...] = keys_of_prompts()
    random_models: int = like(SetParams, "random_models")
    methods: tuple[Annotated[str, OneOf(METHODS)], ...] = parameter(
        SINK_AWARE,
        "Methods",
        "A sink-aware method, its control and its published baseline. Without the control a gain cannot be "
        "attributed to the sinks.",
        min_length=1,
    )
    sparsities: tuple[float, ...] = parameter(
        (0.5, 0.7), "Sparsities", "Shares of the weights that are removed.", min_length=1, max_length=16
    )
    strengths: tuple[float, ...] = parameter(
        (1.0,),
        "Discount strengths λ",
        "For methods that discount sinks. Verdicts use the largest; three or more also give a dose-response.",
        min_length=1,
        max_length=16,
    )
    decompose: bool = like(SweepSpec, "decompose")
    seeds: tuple[int, ...] = parameter(
        tuple(range(6)),
        "Calibration seeds",
        "Calibration seeds; 0-7 means all from 0 to 7. One seed is one draw of a method.",
        min_length=1,
        max_length=64,
    )
    data: str = like(CalibrationParams, "data")
    samples: int = parameter(16, "Samples", "Number of sequences cut from the text.", unit="sequences", ge=1, le=4096)
    seq_len: int = like(CalibrationParams, "seq_len", 128)
    tasks: tuple[str, ...] = like(EvaluateSpec, "tasks")
    limit: int | None = like(EvaluateSpec, "limit", 128)
    draws: int | None = parameter(
        None, "Draws", EvaluateSpec.model_fields["draws"].description or "", empty="the task's own", ge=1, le=4096
    )
    difference: float = parameter(
        2.0,
        "Difference asked about",
        "The smallest change of the average accuracy that would matter. If the whole interval lies within ± this, "
        "the verdict is no difference of this size or more.",
        unit="points",
        gt=0,
        le=100,
        step=0.1,
    )
    primary: Literal["divergence", "aligned", "nll"] = parameter(
        "divergence",
        "Primary outcome",
        "What decides whether sinks matter: the change of predictions at undecided positions (divergence), of the "
        "text (aligned), or of its perplexity (nll). The others are secondary.",
    )
    shift: float = parameter(
        0.01,
        "Shift asked about",
        "The smallest change of predictions or perplexity that would matter, beyond that of hiding matched tokens.",
        unit="nats",
        gt=0,
        le=10,
        step=0.01,
    )
    change: float = parameter(
        2.0,
        "Change of text asked about",
        "The smallest change of agreement that would matter, beyond that of hiding matched tokens.",
        unit="points",
        gt=0,
        le=100,
        step=0.1,
    )
    registration: Registration | None = parameter(
        None, "Pre-registration", "The plan that was frozen before anything ran, with its hash.", empty="none"
    )
    seed: int = random_seed("Fixes the sampler, the random weights, the items and every mask.")

    _spans = field_validator("seeds", mode="before")(written_out)

    @model_validator(mode="after")
    def _prompts_fit(self) -> "StudySpec":
        if self.own_prompts and not 2 <= self.prompts <= len(self.own_prompts):
            raise ValueError(f"{self.prompts} prompts are asked for, and {len(self.own_prompts)} are given.")
        require_keys(self.own_keys, self.own_prompts)
        return self

    @model_validator(mode="after")
    def _asks_what_can_be_swept(self) -> "StudySpec":
        self.sweep()
        return self

    def sweep(self) -> SweepSpec:
        """Its prunings and scores."""
        calibration = CalibrationParams(data=self.data, samples=self.samples, seq_len=self.seq_len)
        return SweepSpec(
            model=self.model,
            methods=self.methods,
            sparsities=self.sparsities,
            strengths=self.strengths,
            decompose=self.decompose,
            seeds=self.seeds,
            pruning=PruneSpec(calibration=calibration, out=""),
            evaluation=EvaluateSpec(tasks=self.tasks, limit=self.limit, draws=self.draws, seed=self.seed),
        )

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The model, and its reference if there is one."""
        return (self.model,) if self.reference is None else (self.model, self.reference)


@dataclass(frozen=True)
class Size(Choice):
    """Size of a study, or of a run of the claims. values: fields of its spec."""

    values: Mapping[str, Any]


SIZES: Registry[Size] = Registry(
    Size("quick", "Quick", "Six calibration seeds, 128 items of each bundled task: a first look.", {}),
    Size(
        "standard",
        "Standard",
        "Fourteen calibration seeds, all items of the bundled tasks, the SparseGPT pair, sham discounts, and the "
        "recipe taken apart: hours on two cores, estimated before it starts.",
        {
            "prompts": 50,
            "methods": WITH_SHAMS,
            "decompose": True,
            "sparsities": (0.5, 0.7),
            "seeds": tuple(range(14)),
            "samples": 64,
            "seq_len": 128,
            "limit": None,
            "difference": 1.0,
        },
    ),
    Size(
        "paper",
        "Paper",
        "The eight benchmarks and the calibration of the authors' scripts, with the seeds that half a point takes: a "
        "year of one H100 for a model of 8 billion parameters. An estimate names studies that cost less.",
        {
            "gen_length": 64,
            "prompts": 50,
            "methods": (*SINK_AWARE, "sparsegpt", "sink-sparsegpt"),
            "sparsities": (0.5, 0.75),
            "seeds": tuple(range(20)),
            "data": "wikitext2",
            "samples": 128,
            "seq_len": 4096,
            "tasks": ("paper",),
            "limit": None,
            "difference": 0.5,
        },
    ),
)
