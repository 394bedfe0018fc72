"""Measurements inside a model over prompts, for the command line."""

from typing import Annotated

from analysis.registry import Choice, Registry
from analysis.specs.base import OneOf, Spec, parameter

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
