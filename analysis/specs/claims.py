"""Claims that papers make about sinks, as tests of any model: the table of claims, and what a run of them asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import model_validator

from analysis.registry import Registry
from analysis.specs.base import OneOf, parameter, require_keys
from analysis.specs.models import JobSpec, ModelSpec
from analysis.specs.recording_sets import MOST_PROMPTS, keys_of_prompts
from analysis.specs.sampling import LLaDASampling, Sampling
from analysis.specs.sinks import SinkParams
from analysis.specs.study import StudySpec


@dataclass(frozen=True)
class ClaimData:
    """One source of a claim's numbers. title: as in 'waiting for …'. without: why a model has none, as a sentence."""

    name: str
    title: str
    without: str


CLAIM_DATA: Registry[ClaimData] = Registry(
    ClaimData("set", "recordings of many prompts", "No set of recordings is there."),
    ClaimData("inside", "measurements inside the model", "The model was not looked into."),
    ClaimData(
        "twin",
        "measurements inside the autoregressive twin",
        "No autoregressive twin was named: name one as the reference.",
    ),
    ClaimData("sweep", "prunings and their accuracy", "No pruned model was scored."),
)
"""What claims are told from; `CLAIM_CHILDREN` (analysis/engine/claims.py) has the jobs that each asks for."""


@dataclass(frozen=True)
class ClaimMeasure:
    """A number per prompt and its null, measured inside a model in `LOOKS` (analysis/recording/claim_looks.py).

    title: the number. null: what stands beside it. twin: also measured in the autoregressive twin.
    """

    name: str
    title: str
    null: str
    twin: bool = False


CLAIM_MEASURES: Registry[ClaimMeasure] = Registry(
    ClaimMeasure(
        "hiding",
        "change of the predictions when sinks are hidden",
        "the same when as many random tokens of the same state are hidden",
        twin=True,
    ),
    ClaimMeasure(
        "value-norm", "value norm of a sink over its layer's mean", "the same of other tokens of the same state"
    ),
    ClaimMeasure(
        "massive",
        "layers and steps whose largest residual channel is at a sink",
        "the same if its token were a random one of the same state",
    ),
)


@dataclass(frozen=True)
class PublishedNumber:
    """What a paper reports of a named model. value: with its unit, as it is printed."""

    model: str
    value: str
    source: str


@dataclass(frozen=True)
class Claim:
    """A claim of the field and how it is tested on a model; its numbers come from `EVIDENCE` (analysis/claims/).

    sentence: the claim in plain words. sources: arXiv numbers. quantity, null: noun phrases; formula: LaTeX. unit: a
    row of `UNITS` (analysis/claims/). direction: 1 where the quantity is claimed to lie above its null, −1 below.
    margin: the smallest difference asked about, in the quantity's own scale. supports, refutes: what would count for
    and against. not_meant: what neither verdict means. data: rows of `CLAIM_DATA`. measure: of `CLAIM_MEASURES`,
    where it is told from one.
    """

    name: str
    sentence: str
    sources: tuple[str, ...]
    quantity: str
    null: str
    formula: str
    unit: Literal["points", "nats", "uniform", "mean"]
    direction: Literal[1, -1]
    margin: float
    supports: str
    refutes: str
    not_meant: str
    data: tuple[str, ...]
    measure: str = ""
    published: tuple[PublishedNumber, ...] = field(default=())


CLAIMS: Registry[Claim] = Registry(
    Claim(
        "sinks-move",
        "Attention moves during denoising, more than the writing of tokens moves it.",
        ("2510.15731", "2602.17664"),
        "change of a position's corrected share from step to step",
        "the change if shares stayed fixed while a token's state does",
        r"\sqrt{\operatorname{mean}_{t,l,s} (r_{t+1,l,s} - r_{t,l,s})^2}",
        "uniform",
        1,
        0.05,
        "Shares change by at least 0.05 × uniform attention per step more than with fixed shares.",
        "A change of that size beyond fixed shares is ruled out.",
        "That sinks move says nothing about whether the model needs them, nor that the movement does any work.",
        ("set",),
    ),
    Claim(
        "sinks-stay",
        "Once a token is a sink, it stays one longer than chance predicts.",
        ("2510.15731", "2602.17664"),
        "share of the sinks that are replaced per step",
        "the same for as many sinks at random positions of the same state",
        r"\frac{\#\,\text{births} + \#\,\text{deaths}}{2\,\#\,\text{sinks}}",
        "points",
        -1,
        0.05,
        "At least 5 points fewer of the sinks are replaced per step than at random positions.",
        "A difference of that size is ruled out.",
        "Sinks that stay longer than chance can still all be replaced by the end of the text.",
        ("set",),
    ),
    Claim(
        "hiding-costs-less",
        "Hiding the sinks costs a diffusion model less than its autoregressive twin.",
        ("2510.15731",),
        "change of the predictions when sinks are hidden, beyond hiding as many other tokens",
        "the same in the autoregressive twin",
        r"\mathrm{KL}(p \,\|\, p_{\text{sinks hidden}}) - \mathrm{KL}(p \,\|\, p_{\text{others hidden}})",
        "nats",
        -1,
        0.01,
        "Predictions change by at least 0.01 nats less than the twin's.",
        "A saving of that size is ruled out.",
        "Predictions of single steps are compared, on texts that each model wrote itself. Whether whole texts or "
        "accuracy survive is a question for the page Causes.",
        ("inside", "twin"),
        measure="hiding",
    ),
    Claim(
        "discount-helps",
        "Discounting sinks makes a pruned model better, at equal noise.",
        ("2602.17664",),
        "accuracy after pruning with the discount",
        "accuracy with the same noise and no discount",
        r"\operatorname{acc}(\text{sink-wanda}) - \operatorname{acc}(\text{wanda-noised})",
        "points",
        1,
        0.02,
        "Accuracy is at least 2 points higher, over calibration seeds and clusters of items.",
        "A gain of that size is ruled out.",
        "A gain over the published baseline is another question: noise, order and norm differ there as well.",
        ("sweep",),
        published=(
            PublishedNumber(
                "LLaDA-8B",
                "+0.48 points at 50 % sparsity (53.18 against 52.70 on eight tasks), against Wanda, which has no noise",
                "Sink-Aware Pruning repository README, 2026-02",
            ),
        ),
    ),
    Claim(
        "small-values",
        "Sink tokens have small value norms.",
        ("2410.10781",),
        "value norm of a sink",
        "value norm of other tokens of the same state and layer",
        r"\operatorname{mean}_{t,l,\,s \in \text{sinks}} "
        r"\frac{\lVert v_{t,l,s} \rVert}{\operatorname{mean}_i \lVert v_{t,l,i} \rVert}",
        "mean",
        -1,
        0.1,
        "Value norms of sinks are lower by at least 0.1 of their layer's mean.",
        "A difference of that size is ruled out.",
        "A small value norm does not make a token useless: what it draws away from others matters, too.",
        ("inside",),
        measure="value-norm",
    ),
    Claim(
        "massive-activations",
        "Sinks carry the massive activations of the residual stream.",
        ("2402.17762", "2605.06366"),
        "share of layers and steps whose largest residual channel is at a sink",
        "the same if its token were a random one of the same state",
        r"\operatorname{mean}_{t,l} [\operatorname{argmax}_{s,c} |h_{t,l,s,c}| \in \text{sinks}_t]",
        "points",
        1,
        0.1,
        "The largest channel is at a sink at least 10 points more often than by chance.",
        "An excess of that size is ruled out.",
        "Where the largest channel sits does not tell whether it makes the sink: that takes an intervention.",
        ("inside",),
        measure="massive",
    ),
)
"""Every claim that can be tested, in the order of the page."""


class ClaimMeasuresSpec(JobSpec):
    """Measure inside a model what claims are about, and the same with other weights on the same inputs."""

    prompts: tuple[str, ...] = parameter(
        ..., "Prompts", "The texts that the model continues.", min_length=2, max_length=MOST_PROMPTS
    )
    measures: tuple[Annotated[str, OneOf(CLAIM_MEASURES)], ...] = parameter(
        ..., "Measures", "What is measured of every prompt.", min_length=1
    )
    random_models: int = parameter(
        3,
        "Random-weight models",
        "How many models of the same shape with random weights see the same inputs, and how many with permuted ones.",
        ge=0,
        le=10,
    )
    looks: int = parameter(
        6, "Steps looked at", "At how many of a prompt's steps the model is looked into, evenly spread.", ge=2, le=64
    )
    chat_template: Literal["auto", "on", "off"] = parameter(
        "auto", "Chat template", "Wrap each prompt as a user's turn. auto does so for instruct models."
    )
    sampling: Sampling = LLaDASampling()
    sinks: SinkParams = SinkParams()
    seed: int = parameter(0, "Seed", "Fixes the sampler, the random weights and the random tokens.", ge=0, le=2**31 - 1)


class ClaimsSpec(JobSpec):
    """Test on a model what the field says about sinks, claim by claim, each against its null."""

    reference: ModelSpec | None = parameter(
        None, "Autoregressive twin", "A model that writes from left to right, for the claims about it.", empty="none"
    )
    only: tuple[Annotated[str, OneOf(CLAIMS)], ...] = parameter(
        (), "Claims", "Which claims are tested. Empty: all of them.", max_length=64
    )
    count: int = parameter(
        30,
        "Prompts",
        "How many prompts are recorded and looked into. A verdict needs at least 30 clusters of them.",
        unit="prompts",
        ge=2,
        le=MOST_PROMPTS,
    )
    own_prompts: tuple[str, ...] = parameter(
        (), "Own prompts", "One text per prompt, in place of the bundled ones.", max_length=MOST_PROMPTS
    )
    own_keys: tuple[str, ...] = keys_of_prompts()
    gen_length: int = parameter(
        48, "New tokens", "How many tokens are written after each prompt.", unit="tokens", ge=2, le=4096
    )
    random_models: int = parameter(
        3, "Random-weight models", ClaimMeasuresSpec.model_fields["random_models"].description or "", ge=0, le=10
    )
    looks: int = parameter(6, "Steps looked at", ClaimMeasuresSpec.model_fields["looks"].description or "", ge=2, le=64)
    sparsity: float = parameter(0.7, "Sparsity", "Share of the weights that is removed.", gt=0, lt=1, step=0.05)
    seeds: tuple[int, ...] = parameter(
        tuple(range(6)),
        "Calibration seeds",
        "Each takes other text and other noise. One seed is one draw of a method and gives no verdict.",
        min_length=1,
        max_length=64,
    )
    data: str = parameter("bundled", "Calibration text", StudySpec.model_fields["data"].description or "")
    samples: int = parameter(16, "Samples", StudySpec.model_fields["samples"].description or "", ge=1, le=4096)
    seq_len: int = parameter(
        128, "Sequence length", StudySpec.model_fields["seq_len"].description or "", unit="tokens", ge=8, le=32768
    )
    tasks: tuple[str, ...] = parameter(
        ("bundled",), "Tasks", StudySpec.model_fields["tasks"].description or "", min_length=1, max_length=64
    )
    limit: int | None = parameter(
        128, "Items per task", StudySpec.model_fields["limit"].description or "", empty="all", ge=1
    )
    seed: int = parameter(
        0, "Seed", "Fixes the sampler, the random weights, the items and every mask.", ge=0, le=2**31 - 1
    )

    @model_validator(mode="after")
    def _prompts_fit(self) -> "ClaimsSpec":
        if self.own_prompts and not 2 <= self.count <= len(self.own_prompts):
            raise ValueError(f"{self.count} prompts are asked for, and {len(self.own_prompts)} are given.")
        require_keys(self.own_keys, self.own_prompts)
        self.study()
        return self

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims that are tested, in the order of the table."""
        return tuple(claim for name, claim in CLAIMS.items() if not self.only or name in self.only)

    @property
    def needed(self) -> tuple[str, ...]:
        """The rows of `CLAIM_DATA` that these claims are told from and that can be had."""
        wanted = {name for claim in self.claims for name in claim.data}
        return tuple(name for name in CLAIM_DATA if name in wanted and (name != "twin" or self.reference is not None))

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The model, and its twin where there is one."""
        return (self.model,) if self.reference is None else (self.model, self.reference)

    def study(self) -> StudySpec:
        """The study of the same size, whose recordings and prunings these are. Raises ValidationError as it does."""
        return StudySpec(
            model=self.model,
            gen_length=self.gen_length,
            prompts=self.count,
            own_prompts=self.own_prompts,
            own_keys=self.own_keys,
            random_models=self.random_models,
            methods=("wanda-noised", "sink-wanda"),
            sparsities=(self.sparsity,),
            seeds=self.seeds,
            data=self.data,
            samples=self.samples,
            seq_len=self.seq_len,
            tasks=self.tasks,
            limit=self.limit,
            seed=self.seed,
        )

    def measures(self, twin: bool = False) -> tuple[str, ...]:
        """The rows of `CLAIM_MEASURES` that these claims are told from, in the model or in its twin."""
        wanted = {claim.measure for claim in self.claims}
        return tuple(name for name, row in CLAIM_MEASURES.items() if name in wanted and (row.twin or not twin))


@dataclass(frozen=True)
class ClaimsSize:
    """How much a run of the claims looks at. values: fields of `ClaimsSpec`."""

    name: str
    title: str
    help: str
    values: Mapping[str, Any]


CLAIM_SIZES: Registry[ClaimsSize] = Registry(
    ClaimsSize("quick", "Quick", "30 prompts, six calibration seeds, 128 items of each task: a first look.", {}),
    ClaimsSize(
        "standard",
        "Standard",
        "50 prompts, twelve calibration seeds, all items of the tasks.",
        {"count": 50, "looks": 12, "seeds": tuple(range(12)), "samples": 64, "limit": None},
    ),
)
