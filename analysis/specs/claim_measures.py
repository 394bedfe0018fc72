"""Numbers that are measured inside a model for claims, each beside its null."""

from dataclasses import dataclass

from analysis.registry import Implemented, Registry


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
