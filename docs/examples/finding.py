"""Add a finding: one row in `FINDINGS`, and its rule in the module of its subject in `analysis/findings/`.

A rule is a function from what it reads to a sentence with its numbers, or to nothing where no number exceeds its null.
"""

import numpy as np

from analysis.findings import FINDINGS, Finding, finding_of


def longest_text(lengths: np.ndarray) -> str:
    """lengths (N,) of texts in tokens; silent where all are as long."""
    return f"The longest text has {lengths.max()} tokens." if np.ptp(lengths) else ""


FINDINGS.add(Finding("longest text", "recording", implementation=longest_text))
assert finding_of("longest text", np.array([3, 8])) == "The longest text has 8 tokens."
assert finding_of("longest text", np.array([5, 5])) == ""
