"""Definitions of an attention sink, and the threshold that each of them reads."""

from dataclasses import dataclass
from typing import Annotated

from analysis.registry import Choice, Registry
from analysis.specs.base import SINK_AWARE_SOURCE, OneOf, Spec, parameter


@dataclass(frozen=True)
class SinkDefinition(Choice):
    """Definition of a sink: a position whose mass exceeds the threshold that the implementation computes, a `Threshold`
    (analysis/sinks/definitions.py).

    parameter: the field of `SinkParams` that it reads. formula: LaTeX. in_deviations: the parameter counts standard
    deviations above the mean, so that the number of sinks in Gaussian noise is known.
    """

    parameter: str
    formula: str
    in_deviations: bool = False


DEFINITIONS: Registry[SinkDefinition] = Registry(
    SinkDefinition(
        "std",
        "Mass above mean + k·std",
        "attention mass above mean + k·std over the positions of a step.",
        "k",
        r"M_{t,s} > \operatorname{mean}_s(M_t) + k\,\operatorname{std}_s(M_t)",
        in_deviations=True,
        implementation="analysis.sinks.definitions:deviations",
    ),
    SinkDefinition(
        "mean-attention",
        "Mean attention above a level",
        "mean attention, over the queries that can see the token, above a level.",
        "attention_level",
        r"\frac{m_{t,s}}{\#\{q\ \text{that see}\ s\}} > \varepsilon",
        implementation="analysis.sinks.definitions:mean_attention",
    ),
    SinkDefinition(
        "above-others",
        "Mass above the others by ε",
        "mass above the mean of the others by ε.",
        "epsilon",
        r"m_{t,s} - \operatorname{mean}_{i \neq s}(m_{t,i}) > \varepsilon",
        implementation="analysis.sinks.definitions:above_others",
    ),
)


class SinkParams(Spec):
    """The definition of an attention sink. Each definition reads its own threshold."""

    definition: Annotated[str, OneOf(DEFINITIONS)] = parameter("std", "Sink definition", "Which positions are sinks.")
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
