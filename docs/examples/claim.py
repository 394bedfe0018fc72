"""Add a claim about sinks: a row in `CLAIMS`, a row in `CLAIM_MEASURES`, and the measure's function.

The function is in `analysis/recording/claim_looks.py`; random and shuffled weights run it as well. A claim with other
numbers names its own function in `analysis/claims/evidence.py`. `python -m training.claims` tests it on the model that
ships, and `make docs` writes its paragraph in docs/claims.md.
"""

import numpy as np

from analysis.claims.evidence import Found
from analysis.claims.verdicts import CANNOT_TELL, claim_verdicts
from analysis.recording.claim_looks import Look, Pair
from analysis.specs import CLAIM_MEASURES, CLAIMS, Claim, ClaimMeasure, ClaimsSpec, ModelSpec


def early_sinks(look: Look) -> Pair:
    """Share of the sinks that lie in the first half of the text; half of all tokens do."""
    sinks = look.sinks[:, -1]  # (T, S): of all layers together
    return Pair(float(sinks[:, : sinks.shape[1] // 2].sum() / max(sinks.sum(), 1)), 0.5)


CLAIM_MEASURES.add(
    ClaimMeasure(
        "early-sinks", "share of sinks in the first half", "share of all tokens there", implementation=early_sinks
    )
)
CLAIMS.add(
    Claim(
        "early-sinks",
        "Sinks lie in the first half of the text.",
        sources=("2510.15731",),
        quantity="share of the sinks in the first half of the text",
        null="half of them, as of all tokens",
        formula=r"\operatorname{mean}_t \#\{s \in \text{sinks}_t : s < S/2\} / \#\,\text{sinks}_t",
        unit="points",
        direction=1,
        margin=0.05,
        supports="At least 5 points more than half of the sinks lie in the first half.",
        refutes="An excess of that size is ruled out.",
        not_meant="Early tokens have been there for more steps.",
        data=("inside",),
        measure="early-sinks",
    )
)

spec = ClaimsSpec(model=ModelSpec(source="bundled"), only=("early-sinks",))
assert spec.needed == ("inside",) and spec.measures() == ("early-sinks",)
[told] = claim_verdicts(spec.claims, Found(spec.random_models, clusters=np.array([])), "bundled")
assert told.verdict == CANNOT_TELL
