"""A set of recordings: many prompts through one model beside models with random weights, and measurements inside a
model over prompts.
"""

from typing import Annotated, Any

from pydantic import model_validator

from analysis.registry import Choice, Registry
from analysis.specs.base import ChatTemplate, JobSpec, OneOf, Spec, parameter, random_seed, require_keys
from analysis.specs.sampling import LLaDASampling, Sampling
from analysis.specs.sinks import SinkParams

BUNDLED_PROMPTS, OWN_PROMPTS = "bundled", "own"
MOST_PROMPTS = 1000
CLUSTER = "cluster "  # prefix of keys from a prompt file, so that none equals another prompt's number


def keys_of_prompts() -> Any:
    """Return the field for the keys of own prompts, which group them into clusters."""
    return parameter(
        (),
        "Keys of own prompts",
        "One key per prompt of your own; prompts with the same key form one cluster. Empty: each is its own cluster.",
        max_length=MOST_PROMPTS,
    )


class SetParams(Spec):
    """The prompts of a set of recordings, and its null models."""

    prompts: str = parameter(
        BUNDLED_PROMPTS,
        "Prompts",
        "bundled: beginnings of texts that come with SinkScope, from more than 70 templates. own: those given. "
        "Otherwise a benchmark's name: the contexts of its items.",
        min_length=1,
        max_length=200,
    )
    count: int = parameter(
        50,
        "Number of prompts",
        "How many are recorded: the first of your own, or a random part of a benchmark.",
        ge=2,
        le=MOST_PROMPTS,
    )
    chat_template: ChatTemplate = parameter(
        "auto",
        "Chat template",
        "Wrap each prompt as a user's turn. auto does so for models named Instruct or Chat that have a template.",
    )
    random_models: int = parameter(
        3,
        "Random-weight models",
        "Number of models with random weights on the same inputs, and as many with permuted and with equally sharp "
        "weights. Claims need at least 3.",
        ge=0,
        le=10,
    )
    null_prompts: int = parameter(
        30,
        "Prompts per random-weight model",
        "Prompts that each of these models sees. Claims need at least 30. Each takes as long as a recording.",
        ge=1,
        le=MOST_PROMPTS,
    )
    skip_matched: bool = parameter(
        False,
        "Skip equally sharp random weights",
        "Leave out equally sharp random weights, which saves a third of the time of the null models.",
    )
    null_draws: int = parameter(
        10,
        "Draws of random positions",
        "Shuffles of each recording's positions for the null of random positions.",
        ge=1,
        le=100,
    )
    by_query: bool = parameter(
        False,
        "Mass by query state",
        "Compare the tokens that undecided queries attend to with those that written queries attend to. Takes one more "
        "forward per step.",
    )
    seed: int = random_seed("Fixes the sampler, the random weights, the shuffles and which items are taken.")


class RecordSetSpec(SetParams, JobSpec):
    """Record many prompts and keep what is measured of each: where sinks are by layer and kind, and how they move."""

    own_prompts: tuple[str, ...] = parameter(
        (), "Own prompts", "One text per prompt, where `prompts` is own.", max_length=MOST_PROMPTS
    )
    own_keys: tuple[str, ...] = keys_of_prompts()
    sampling: Sampling = LLaDASampling()
    sinks: SinkParams = SinkParams()

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_recorded(cls, given: Any) -> Any:
        # Prompts beyond the requested number affect neither the question nor its result's key.
        texts = given.get("own_prompts") if isinstance(given, dict) else None
        if isinstance(texts, list | tuple):
            count = given.get("count", cls.model_fields["count"].default)
            if isinstance(count, int):
                keys = given.get("own_keys") or ()
                return {**given, "own_prompts": tuple(texts)[:count], "own_keys": tuple(keys)[:count]}
        return given

    @model_validator(mode="after")
    def _prompts_are_given(self) -> "RecordSetSpec":
        if self.prompts == OWN_PROMPTS and not self.own_prompts:
            raise ValueError("There are no prompts of your own yet. Write at least two, one per line.")
        if self.prompts != OWN_PROMPTS and self.own_prompts:
            raise ValueError(f"Prompts of your own need the prompts '{OWN_PROMPTS}', not '{self.prompts}'.")
        if self.own_prompts and len(self.own_prompts) < 2:
            raise ValueError("A set needs at least two prompts, as its intervals are over prompts.")
        require_keys(self.own_keys, self.own_prompts)
        if any(len(text) > 50_000 for text in self.own_prompts):
            raise ValueError("A prompt has at most 50,000 characters.")
        return self


INSIGHTS: Registry[Choice] = Registry(
    Choice(
        "channels", "Massive activations", "the largest channels of the residual stream, and whether sinks carry them."
    ),
    Choice("lens", "Logit lens", "what each layer already reads undecided tokens as, sinks beside the others."),
    Choice("geometry", "Geometry", "dimensions of attention maps, outputs and token states, beside random weights."),
    Choice("parting", "Dense against pruned", "where the second model's text diverges from this one's."),
)


class InspectParams(Spec):
    """The prompts to look into, and the analyses of each."""

    prompt_count: int = parameter(10, "Number of prompts", "Prompts to record and look into.", ge=1, le=1000)
    insights: tuple[Annotated[str, OneOf(INSIGHTS)], ...] = parameter(
        ("channels", "lens", "geometry", "parting"),
        "What is looked at",
        "For each prompt, and over all of them. `parting` needs a second model.",
        min_length=1,
    )
    lens_at: float = parameter(
        0.5, "Lens at", "Share of a recording's steps after which the logit lens reads.", ge=0, le=1, step=0.05
    )
    channels_kept: int = parameter(
        4, "Residual channels kept", "Largest channels kept per layer and step.", ge=1, le=32
    )
    random_models: int = parameter(
        3, "Random-weight models", "Number of random-weight models that geometry is compared with.", ge=0, le=10
    )
