"""Add the finding of a plot: one row in `READINGS`.

A function from what the plot draws to a sentence with its numbers, or to nothing where no number exceeds its null.
"""

import numpy as np

from analysis.readings import READINGS, Reading, reading


def longest_text(lengths: np.ndarray) -> str:
    """lengths (N,) of texts in tokens; silent where all are as long."""
    return f"The longest text has {lengths.max()} tokens." if np.ptp(lengths) else ""


READINGS.add(Reading("longest text", longest_text))
assert reading("longest text", np.array([3, 8])) == "The longest text has 8 tokens."
assert reading("longest text", np.array([5, 5])) == ""
