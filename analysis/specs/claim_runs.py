"""A run of the claims (`analysis/specs/claims.py`) on a model: its settings and size, and the numbers measured inside
the model, each beside its null.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import model_validator

from analysis.registry import Implemented, Registry
from analysis.specs.base import ChatTemplate, JobSpec, ModelSpec, OneOf, like, parameter, random_seed, require_keys
from analysis.specs.claims import CLAIM_DATA, CLAIMS, Claim
from analysis.specs.recording_sets import MOST_PROMPTS
from analysis.specs.sampling import LLaDASampling, Sampling
from analysis.specs.sinks import SinkParams
from analysis.specs.study import Size, StudySpec


@dataclass(frozen=True)
class ClaimMeasure(Implemented):
    """A number per prompt and its null, measured inside a model (analysis/recording/claim_looks.py).

    title: the number. null: its comparison. forwards: number per step looked at, besides the pass that all share. twin:
    also measured in the autoregressive twin. writes: texts are written anew. items: over items of tasks, instead of
    prompts. of_mass: it needs only mass and logits from the pass that all share.
    """

    name: str
    title: str
    null: str
    forwards: int = 0
    twin: bool = False
    writes: bool = False
    items: bool = False
    of_mass: bool = False


CLAIM_MEASURES: Registry[ClaimMeasure] = Registry(
    ClaimMeasure(
        "hiding",
        "change of the predictions when sinks are hidden",
        "the same when as many random tokens of the same state are hidden",
        forwards=2,
        twin=True,
        of_mass=True,
        implementation="analysis.recording.claim_looks:hiding",
    ),
    ClaimMeasure(
        "text",
        "share of a text that changes when sinks are hidden",
        "the same when as many random tokens of the same state are hidden",
        twin=True,
        writes=True,
        of_mass=True,
        implementation="analysis.recording.claim_looks:changed_text",
    ),
    ClaimMeasure(
        "accuracy",
        "accuracy on choice tasks with sinks hidden",
        "the same with as many random tokens of the same state hidden",
        twin=True,
        of_mass=True,
        items=True,
    ),
    ClaimMeasure(
        "value-norm",
        "value norm of a sink over its layer's mean",
        "the same of other tokens of the same state",
        implementation="analysis.recording.claim_looks:value_norm",
    ),
    ClaimMeasure(
        "massive",
        "layers and steps whose largest residual channel is at a sink",
        "the same if its token were a random one of the same state",
        implementation="analysis.recording.claim_looks:massive",
    ),
    ClaimMeasure(
        "variable",
        "change of the predictions when the most variable sinks are hidden",
        "the same when the least variable ones that draw as much attention are hidden",
        forwards=2,
        of_mass=True,
        implementation="analysis.recording.claim_looks:variable",
    ),
    ClaimMeasure(
        "clamped",
        "attention that sinks lose when massive residual channels are clamped",
        "the same when as many other channels are clamped",
        forwards=2,
        of_mass=True,
        implementation="analysis.recording.claim_looks:clamped",
    ),
    ClaimMeasure(
        "drift",
        "relative change of the keys and values of the most attended tokens per step, over the layer's mean",
        "the same of other tokens of the same state and age",
        implementation="analysis.recording.claim_looks:drift",
    ),
    ClaimMeasure(
        "turn",
        "cosine distance of the keys and values of the most attended tokens per step, over the layer's mean",
        "the same of other tokens of the same state and age",
        implementation="analysis.recording.claim_looks:turn",
    ),
    ClaimMeasure(
        "pattern",
        "overlap of a head's attention map with its own of an earlier step",
        "the larger of those with another head's and another prompt's",
        implementation="analysis.recording.claim_looks:pattern",
    ),
    ClaimMeasure(
        "position",
        "share of a head's mass in shallow layers that other prompts explain by position",
        "the same in deep layers",
    ),
    ClaimMeasure(
        "queries",
        "distance of what undecided and written queries look at",
        "the same with the queries' states permuted within each step",
        implementation="analysis.recording.claim_looks:queries",
    ),
    ClaimMeasure(
        "added",
        "attention that sinks lose to an added sink token of value zero",
        "the same for an added random token",
        forwards=2,
        of_mass=True,
        implementation="analysis.recording.claim_looks:added",
    ),
    ClaimMeasure(
        "lens",
        "masked sinks that the logit lens reads as what will be written there",
        "the same of masked tokens that are not sinks",
        of_mass=True,
        implementation="analysis.recording.claim_looks:lens",
    ),
)


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
        "Number of models with random weights on the same inputs, and as many with shuffled weights.",
        ge=0,
        le=10,
    )
    null_prompts: int = parameter(
        28,
        "Prompts per random-weight model",
        "How many of the prompts each model with other weights sees. A verdict needs 20 of them that have a number.",
        ge=1,
        le=MOST_PROMPTS,
    )
    looks: int = parameter(
        6, "Steps looked at", "Steps per prompt to look at: pairs of neighbours, evenly spread.", ge=2, le=64
    )
    chat_template: ChatTemplate = parameter(
        "auto", "Chat template", "Wrap each prompt as a user's turn. auto does so for instruct models."
    )
    tasks: tuple[str, ...] = parameter(
        ("bundled",),
        "Tasks",
        "On which accuracy is measured, where it is asked for. Only choice tasks count.",
        min_length=1,
        max_length=64,
    )
    limit: int | None = like(StudySpec, "limit")
    sampling: Sampling = LLaDASampling()
    sinks: SinkParams = SinkParams()
    seed: int = random_seed("Fixes the sampler, the random weights and the random tokens.")


class ClaimsSpec(JobSpec):
    """Test on a model what the field says about sinks, claim by claim, each against its null."""

    reference: ModelSpec | None = parameter(
        None, "Left-to-right twin", "A left-to-right (autoregressive) model for claims that need one.", empty="none"
    )
    only: tuple[Annotated[str, OneOf(CLAIMS)], ...] = parameter(
        (), "Claims", "Which claims are tested. Empty: all of them.", max_length=64
    )
    count: int = parameter(
        36,
        "Prompts",
        "Prompts to record and look into. A verdict needs at least 30 clusters, and some prompts have nothing to "
        "measure.",
        unit="prompts",
        ge=2,
        le=MOST_PROMPTS,
    )
    own_prompts: tuple[str, ...] = like(StudySpec, "own_prompts")
    own_keys: tuple[str, ...] = like(StudySpec, "own_keys")
    gen_length: int = parameter(
        48, "New tokens", "How many tokens are written after each prompt.", unit="tokens", ge=2, le=4096
    )
    random_models: int = like(ClaimMeasuresSpec, "random_models")
    null_prompts: int = like(ClaimMeasuresSpec, "null_prompts")
    looks: int = like(ClaimMeasuresSpec, "looks")
    sparsity: float = parameter(0.7, "Sparsity", "Share of the weights that is removed.", gt=0, lt=1, step=0.05)
    seeds: tuple[int, ...] = parameter(
        tuple(range(6)),
        "Calibration seeds",
        "Calibration seeds. One seed is one draw of a method and gives no verdict.",
        min_length=1,
        max_length=64,
    )
    data: str = like(StudySpec, "data")
    samples: int = like(StudySpec, "samples")
    seq_len: int = like(StudySpec, "seq_len")
    tasks: tuple[str, ...] = like(StudySpec, "tasks")
    limit: int | None = like(StudySpec, "limit")
    seed: int = like(StudySpec, "seed")

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
        """The available rows of `CLAIM_DATA` that these claims need."""
        wanted = {name for claim in self.claims for name in claim.data}
        return tuple(name for name in CLAIM_DATA if name in wanted and (name != "twin" or self.reference is not None))

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The model, and its twin where there is one."""
        return (self.model,) if self.reference is None else (self.model, self.reference)

    def study(self) -> StudySpec:
        """The study of the same size, whose recordings and prunings these are. Raises ValidationError as it does."""
        shared = StudySpec.model_fields.keys() & type(self).model_fields.keys() - {"reference"}
        return StudySpec(
            prompts=self.count,
            methods=("wanda-noised", "sink-wanda"),
            sparsities=(self.sparsity,),
            **{name: getattr(self, name) for name in shared},
        )

    def measures(self, twin: bool = False) -> tuple[str, ...]:
        """Return the rows of `CLAIM_MEASURES` that these claims need, in the model or in its twin."""
        wanted = {claim.measure for claim in self.claims}
        return tuple(name for name, row in CLAIM_MEASURES.items() if name in wanted and (row.twin or not twin))


CLAIM_SIZES: Registry[Size] = Registry(
    Size(
        "quick",
        "Quick",
        "36 prompts, 28 of them for other weights, six calibration seeds, 128 items of each task: a first look.",
        {},
    ),
    Size(
        "standard",
        "Standard",
        "50 prompts, all of them for other weights, twelve calibration seeds, all items of the tasks.",
        {"count": 50, "null_prompts": 50, "looks": 12, "seeds": tuple(range(12)), "samples": 64, "limit": None},
    ),
)
