"""What counts as an attention sink."""

from typing import Literal

from analysis.specs.base import SINK_AWARE_SOURCE, Spec, parameter


class SinkParams(Spec):
    """What counts as an attention sink. Each definition reads its own threshold."""

    definition: Literal["std", "mean-attention", "above-others"] = parameter(
        "std",
        "Sink definition",
        "std: attention mass above mean + k·std over the positions of a step. mean-attention: mean attention, over "
        "the queries that can see the token, above a level. above-others: mass above the mean of the others by ε.",
    )
    k: float = parameter(
        2.0,
        "k (standard deviations)",
        "A token is a sink when its attention mass lies more than k population standard deviations above the mean.",
        ge=0,
        le=6,
        step=0.1,
        source=SINK_AWARE_SOURCE,
    )
    attention_level: float = parameter(
        0.3,
        "Mean attention above",
        "A token is a sink when the queries that can see it pay it more than this share of their attention on average.",
        ge=0,
        le=1,
        step=0.05,
        source="Gu et al., arXiv 2410.10781",
    )
    epsilon: float = parameter(
        3.0,
        "ε above the others",
        "A token is a sink when its mass, averaged over the chosen heads, exceeds the mean of all other tokens by ε. "
        "Uniform attention gives every token a mass of 1.",
        ge=0,
        le=64,
        step=0.5,
        source="Rulli et al., arXiv 2510.15731",
    )
