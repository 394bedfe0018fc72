"""The sink definition in force, in the words that stand beside an answer."""

from analysis.specs import SinkParams


def criterion(params: SinkParams) -> str:
    """Return what the attention of a sink exceeds, as after "above": 'mean + 2 std'. As `criterion` in sentence.js."""
    if params.definition == "std":
        return f"mean + {params.k:g} std"
    if params.definition == "above-others":
        return f"the mean of the others + {params.epsilon:g}"
    return f"a mean attention of {params.attention_level:g}"
