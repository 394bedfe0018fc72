"""Add a finding: one row in `FINDINGS`, and its rule in the module of its subject in `analysis/findings/`.

A rule is a function from its input to sentences with their numbers, or to nothing if no number exceeds its null;
`DECISIONS` defines significance. One that reads a whole result (`ablate_set`, `evict`, `record_set`, `study`, `story`)
appears automatically on the page, on the command line and in exported files. One that reads a plot's data is called by
its name.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.findings import FINDINGS, Finding, finding_of, said_of


def longest_text(lengths: np.ndarray) -> str:
    """lengths (N,) of texts in tokens; silent where all are as long."""
    return f"The longest text has {lengths.max()} tokens." if np.ptp(lengths) else ""


FINDINGS.add(Finding("longest text", "recording", implementation=longest_text))
assert finding_of("longest text", np.array([3, 8])) == "The longest text has 8 tokens."
assert finding_of("longest text", np.array([5, 5])) == ""


def few_prompts(summary: Mapping[str, Any]) -> str:
    """Say on the page Evidence, on the command line and in exported files that an eviction had few prompts."""
    return f"Only {summary['prompts']} prompts." if summary["prompts"] < 10 else ""


FINDINGS.add(Finding("few prompts", "evict", implementation=few_prompts))
assert said_of("evict", {"prompts": 4, "effects": []}) == ["Only 4 prompts."]
assert said_of("evict", {"prompts": 40, "effects": []}) == []
