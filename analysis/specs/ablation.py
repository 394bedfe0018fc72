"""Denoising a set of prompts one by one, and ablating sinks over it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from analysis.specs.base import ChatTemplate, OneOf, parameter, random_seed, require_keys
from analysis.specs.models import JobSpec
from analysis.specs.sampling import LLaDASampling, Sampling
from analysis.specs.sinks import SinkParams
from analysis.specs.targets import INTERVENTIONS, TARGETS

Text = Annotated[str, Field(max_length=50_000)]
MOST_PROMPTS = 1000


class PromptsSpec(JobSpec):
    """Prompts that are denoised one by one, each a draw of its cluster."""

    prompts: tuple[Text | tuple[int, ...], ...] = parameter(
        ..., "Prompts", "The texts that the model continues, or their token ids.", min_length=2, max_length=MOST_PROMPTS
    )
    keys: tuple[str, ...] = parameter(
        (),
        "Keys",
        "One key per prompt; prompts with the same key form one cluster. Empty: each is its own cluster.",
        max_length=MOST_PROMPTS,
    )
    chat_template: ChatTemplate = parameter(
        "auto", "Chat template", "Wrap prompts given as text as a user's turn. auto does so for instruct models."
    )
    sampling: Sampling = LLaDASampling()
    seed: int = random_seed("Fixes the sampler and the random controls.")

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        require_keys(self.keys, self.prompts)
        return self


class AblateSetSpec(PromptsSpec):
    """Denoise every prompt of a set with attention to chosen positions changed, and with matched controls."""

    targets: tuple[Annotated[str, OneOf(TARGETS)], ...] = parameter(
        ("sinks", "moving", "steady"),
        "Positions",
        "Which positions are acted on. Each is compared with as many random tokens of the same state, and with "
        "random tokens that draw as much attention; sinks also with other masked positions.",
        min_length=1,
    )
    interventions: tuple[Annotated[str, OneOf(INTERVENTIONS)], ...] = parameter(
        ("attention",), "What is done to them", "Each is done to each choice of positions.", min_length=1
    )
    count: int | None = parameter(
        None,
        "Most positions per step",
        "The largest number of positions chosen in a step. Empty: as many as there are sinks.",
        empty="all sinks",
        ge=1,
        le=32,
    )
    first_layer: int = parameter(
        0, "From layer", "The first layer in which sinks are judged and acted on, counted from 0.", ge=0
    )
    last_layer: int | None = parameter(
        None, "To layer", "The last layer in which sinks are judged and acted on.", empty="last", ge=0
    )
    window: int = parameter(
        4,
        "Last tokens kept",
        "Last tokens of the prefix that stay visible, where only the chosen positions of it are kept.",
        unit="tokens",
        ge=1,
        le=4096,
    )
    random_model: bool = parameter(
        False, "Random weights beside", "Also do the same to a model with random weights, which takes as long again."
    )
    sinks: SinkParams = SinkParams()

    @model_validator(mode="after")
    def _fits(self) -> "AblateSetSpec":
        if self.last_layer is not None and self.last_layer < self.first_layer:
            raise ValueError(f"The layers end at {self.last_layer}, before they begin at {self.first_layer}.")
        for name in ("targets", "interventions"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"The {name} name one twice.")
        return self
