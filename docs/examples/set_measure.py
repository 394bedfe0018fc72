"""Add a measure of a set of recordings: one row in `KIND_MEASURES` (per layer and kind) or `MOVES` (per layer).

It is a ratio of sums per prompt, so intervals and nulls come by themselves. A row of `RULES` puts it into words.
"""

import numpy as np

from analysis.findings.sets import RULES, Rule
from analysis.recording.set_measures import KIND_MEASURES, MOVES, SetMeasure
from analysis.sinks.intervals import quotient

KIND_MEASURES.add(
    SetMeasure(
        "tokens-that-are-sinks",
        title="Share of the tokens that are sinks",
        unit="share of the tokens",
        sentence="Which part of a kind's tokens are sinks of a layer.",
        formula=r"\frac{\#\,\text{sinks of the kind}}{\#\,\text{tokens of the kind}}",
        parts=lambda arrays: (arrays["sinks"], arrays["tokens"][:, None, :]),
        percent=True,
    )
)
MOVES.add(
    SetMeasure(
        "death-rate",
        title="Sinks that die in a step",
        unit="share of the sinks",
        sentence="Which part of the sinks of a step are none in the next.",
        formula=r"\frac{\#\,\text{deaths}}{\#\,\text{sinks that could die}}",
        parts=lambda arrays: (arrays["deaths"].sum(axis=-1), arrays["alive"]),
        percent=True,
    )
)
RULES.add(
    Rule("death-rate", "shuffled", below="{layers}: {value} of the sinks die in a step, {null} at random positions.")
)

sums = {"sinks": np.full((2, 3, 6), 2.0), "tokens": np.full((2, 6), 8.0)}  # (N, G, K) and (N, K)
assert quotient(*KIND_MEASURES["tokens-that-are-sinks"].parts(sums)).value.tolist() == [[0.25] * 6] * 3

moved = {"deaths": np.full((2, 3, 4), 1.0), "alive": np.full((2, 3), 16.0)}  # (N, G, C) and (N, G)
assert quotient(*MOVES["death-rate"].parts(moved)).value.tolist() == [0.25] * 3
assert "death-rate:shuffled" in RULES
