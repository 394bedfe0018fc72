"""Claims that papers make about sinks, each as a test that any model can be put to."""

from dataclasses import dataclass, field
from typing import Any, Literal

from analysis.registry import Implemented, Registry


@dataclass(frozen=True)
class ClaimData(Implemented):
    """One source of a claim's numbers. title: as in 'waiting for …'. without: why a model has none, as a sentence."""

    name: str
    title: str
    without: str


CLAIM_DATA: Registry[ClaimData] = Registry(
    ClaimData(
        "set",
        "recordings of many prompts",
        "No set of recordings is there.",
        implementation="analysis.engine.studies:of_sets",
    ),
    ClaimData(
        "inside",
        "measurements inside the model",
        "The model was not looked into.",
        implementation="analysis.engine.studies:of_inside",
    ),
    ClaimData(
        "twin",
        "measurements inside the left-to-right twin",
        "No left-to-right twin was named: name one as the reference.",
        implementation="analysis.engine.studies:of_twin",
    ),
    ClaimData(
        "sweep",
        "prunings and their accuracy",
        "No pruned model was scored.",
        implementation="analysis.engine.studies:of_sweep",
    ),
)
"""Data that claims are tested on. A row's implementation (analysis/engine/studies.py) returns the jobs that produce
them.
"""


@dataclass(frozen=True)
class PublishedNumber:
    """Number that a paper reports for a named model. value: with its unit, as printed."""

    model: str
    value: str
    source: str


@dataclass(frozen=True)
class Claim(Implemented):
    """A claim of the field and its test on a model; its implementation gathers its numbers
    (analysis/claims/evidence.py): `inside`, if they are those of its `measure`.

    sentence: the claim in plain words. sources: arXiv numbers. quantity, null: noun phrases; formula: LaTeX. unit: a
    row of `UNITS` (analysis/claims/). direction: 1 if the quantity is claimed to lie above its null, −1 below. margin:
    the smallest difference of interest, in the quantity's own scale. supports, refutes: what would count for and
    against. not_meant: what neither verdict means. data: rows of `CLAIM_DATA`. measure: of `CLAIM_MEASURES`, if it uses
    one.
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
    implementation: Any = field(default="analysis.claims.evidence:inside", kw_only=True, repr=False)


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
        implementation="analysis.claims.evidence:sinks_move",
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
        implementation="analysis.claims.evidence:sinks_stay",
    ),
    Claim(
        "hiding-costs-less",
        "Hiding the sinks costs a diffusion model less than its left-to-right twin.",
        ("2510.15731",),
        "change of the predictions when sinks are hidden, beyond hiding as many other tokens",
        "the same in the left-to-right twin",
        r"\mathrm{KL}(p \,\|\, p_{\text{sinks hidden}}) - \mathrm{KL}(p \,\|\, p_{\text{others hidden}})",
        "nats",
        -1,
        0.01,
        "Predictions change by at least 0.01 nats less than the twin's.",
        "A saving of that size is ruled out.",
        "Predictions of single steps are compared, on texts that each model wrote itself. Whole texts and accuracy are "
        "the next two rows.",
        ("inside", "twin"),
        measure="hiding",
        implementation="analysis.claims.evidence:hiding_costs_less",
    ),
    Claim(
        "hiding-keeps-text",
        "Hiding the sinks changes the text of a diffusion model less than that of its left-to-right twin.",
        ("2510.15731",),
        "share of the text that hiding the sinks changes, beyond hiding as many other tokens",
        "the same in the left-to-right twin",
        r"a(x,\, x_{\text{others hidden}}) - a(x,\, x_{\text{sinks hidden}})",
        "points",
        -1,
        0.05,
        "At least 5 points less of the text changes than in the twin.",
        "A saving of that size is ruled out.",
        "A text that changes need not be worse. a is the share of tokens in common after alignment. The texts are a "
        "quarter as long as those recorded, with two tokens written per step where the sampler allows it.",
        ("inside", "twin"),
        measure="text",
        implementation="analysis.claims.evidence:hiding_costs_less",
    ),
    Claim(
        "hiding-keeps-accuracy",
        "Hiding the sinks costs a diffusion model less accuracy than its left-to-right twin.",
        ("2510.15731",),
        "accuracy lost by hiding the sinks, beyond hiding as many other tokens",
        "the same in the left-to-right twin",
        r"\operatorname{acc}(\text{others hidden}) - \operatorname{acc}(\text{sinks hidden})",
        "points",
        -1,
        0.02,
        "At least 2 points less accuracy is lost than in the twin.",
        "A saving of that size is ruled out.",
        "Answers are chosen by their likelihood, so nothing is said of written answers. Random weights answer at "
        "chance and are no null here: both models have to be above it.",
        ("inside", "twin"),
        measure="accuracy",
        implementation="analysis.claims.evidence:hiding_keeps_accuracy",
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
        implementation="analysis.claims.evidence:discount_helps",
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
        published=(
            PublishedNumber(
                "LLaMA2-7B",
                "massive activations in two channels, at the first token and at the first full stop or line break",
                "arXiv 2402.17762, figure 1",
            ),
        ),
    ),
    Claim(
        "variable-dispensable",
        "Sinks that vary a lot over time are dispensable.",
        ("2602.17664",),
        "change of the predictions when the most variable sinks are hidden",
        "the same for the least variable sinks that draw as much attention",
        r"\mathrm{KL}(p \,\|\, p_{\text{variable hidden}}) - \mathrm{KL}(p \,\|\, p_{\text{steady hidden}})",
        "nats",
        -1,
        0.01,
        "Hiding the most variable sinks changes the predictions by at least 0.01 nats less.",
        "A saving of that size is ruled out.",
        "Hiding tokens is not pruning weights: what the claim says of pruned weights is tested by `discount-helps`.",
        ("inside",),
        measure="variable",
    ),
    Claim(
        "clamping-removes-sinks",
        "Clamping massive activations removes sinks.",
        ("2402.17762", "2605.06366"),
        "share of attention that sinks lose when massive channels are clamped to the median",
        "the loss when as many other channels are clamped",
        r"\operatorname{mean}_{t,l} \sum_{s \in \text{sinks}} (a_{t,l,s} - a^{\text{clamped}}_{t,l,s})",
        "points",
        1,
        0.02,
        "Sinks lose at least 2 points more of all attention than with other channels clamped.",
        "A loss of that size is ruled out.",
        "Four channels are clamped in every layer and token. A clamp changes the model's text as well.",
        ("inside",),
        measure="clamped",
    ),
    Claim(
        "attended-drift-least",
        "The most attended tokens drift least in keys and values from step to step.",
        ("2510.14973",),
        "relative change of the keys and values of the most attended tenth per step",
        "the change of other tokens of the same state and age",
        r"\operatorname{mean} \frac{\lVert k_{t+1} - k_t \rVert / \lVert k_t \rVert}"
        r"{\operatorname{mean}_i \lVert k_{t+1,i} - k_{t,i} \rVert / \lVert k_{t,i} \rVert}, "
        r"\text{ and the same of } v",
        "mean",
        -1,
        0.1,
        "The keys and values of the most attended tokens change less per step, by at least 0.1 of the layer's mean.",
        "A difference of that size is ruled out.",
        "Little drift does not prove that a cache is harmless: small changes can add up over the steps. The next row "
        "has the drift in direction alone.",
        ("inside",),
        measure="drift",
        published=(
            PublishedNumber(
                "LLaDA-Instruct",
                "GSM8K accuracy of 78.24 % with a cache that is refreshed once the most attended tokens drift, 78.01 % "
                "without a cache (256 tokens)",
                "project page of arXiv 2510.14973, 2025-10",
            ),
        ),
    ),
    Claim(
        "attended-turn-least",
        "The keys and values of the most attended tokens turn least from step to step.",
        ("2510.14973",),
        "cosine distance per step of the keys and values of the most attended tenth",
        "the distance of other tokens of the same state and age",
        r"\operatorname{mean} \frac{1 - \cos(k_{t+1}, k_t)}{\operatorname{mean}_i (1 - \cos(k_{t+1,i}, k_{t,i}))}, "
        r"\text{ and the same of } v",
        "mean",
        -1,
        0.1,
        "The keys and values of the most attended tokens turn less per step, by at least 0.1 of the layer's mean.",
        "A difference of that size is ruled out.",
        "The cosine does not see a change of length. The row before has the whole change.",
        ("inside",),
        measure="turn",
    ),
    Claim(
        "patterns-stay",
        "A head's attention pattern stays similar across steps, so that sparse patterns can be reused.",
        ("2509.24014",),
        "overlap of a head's attention map with its own of an earlier step",
        "the larger of the overlaps with another head's map and another prompt's",
        r"\operatorname{mean}_q \sum_s \min(a_{t,q,s}, a_{t',q,s})",
        "points",
        1,
        0.05,
        "Maps overlap with their own by at least 5 points more than with another head's or prompt's.",
        "An excess of that size is ruled out.",
        "Overlap does not say what a model loses when a pattern is reused: that takes a run with reused patterns.",
        ("inside",),
        measure="pattern",
    ),
    Claim(
        "position-then-content",
        "Shallow layers attend by position, deep layers by content.",
        ("2601.07894",),
        "variance of a head's mass that position explains in the first third of the layers",
        "the same in the last third",
        r"\rho^2(m_{n,t,l,h,\cdot},\ \operatorname{mean}_{n' \ne n} m_{n',t,l,h,\cdot})",
        "points",
        1,
        0.1,
        "Position explains at least 10 points more in shallow layers.",
        "A difference of that size is ruled out.",
        "What position does not explain need not be content: it may be noise.",
        ("inside",),
        measure="position",
    ),
    Claim(
        "queries-look-apart",
        "Masked queries and written queries look at different tokens.",
        ("2510.09309",),
        "distance of what undecided and written queries look at",
        "the distance with the queries' states permuted within each step",
        r"\tfrac{1}{2} \sum_s |p^{\text{undecided}}_s - p^{\text{written}}_s|",
        "points",
        1,
        0.05,
        "The distance is at least 5 points larger than with permuted states.",
        "An excess of that size is ruled out.",
        "Undecided queries also stand elsewhere in the text, which alone can set their attention apart.",
        ("inside",),
        measure="queries",
        published=(
            PublishedNumber(
                "LLaDA",
                "94 % of the LongBench score of a full cache with 256 keys and values kept, chosen by the attention of "
                "masked queries",
                "arXiv 2510.09309, abstract",
            ),
        ),
    ),
    Claim(
        "extra-sink-calms",
        "One extra sink token, seen by all and attending to itself, calms the other sinks.",
        ("2601.19657",),
        "share of attention that sinks lose to an added sink token of value zero",
        "the loss to an added random token",
        r"\operatorname{mean}_{t,l} \sum_{s \in \text{sinks}} (a_{t,l,s} - a^{\text{added}}_{t,l,s})",
        "points",
        1,
        0.01,
        "Sinks lose at least 1 point more of all attention than to a random token.",
        "A loss of that size is ruled out.",
        "The token is added to a finished model. The paper trains with it, which can do more.",
        ("inside",),
        measure="added",
    ),
    Claim(
        "masked-sinks-foretell",
        "Sinks at positions still masked hold what will be written there.",
        ("2510.15731",),
        "share of masked sinks that the logit lens reads as what will be written there",
        "the same of masked tokens that are not sinks",
        r"[\operatorname{argmax} W\,\operatorname{norm}(h_{l,s}) = \text{final}_s]",
        "points",
        1,
        0.1,
        "Masked sinks are read right at least 10 points more often.",
        "An excess of that size is ruled out.",
        "The logit lens reads what the last layer would say. Knowledge in another form stays unseen.",
        ("inside",),
        measure="lens",
    ),
)
"""Every claim that can be tested, in the order of the page."""
