"""Add a measure of two masks: one row in `MEASURES`.

It is computed from four counts of a slice: its weights, those pruned by the first mask, by the second, and by both.
"""

import numpy as np

from analysis.pruned.compare import MEASURES, Measure, sparsities


def dice_distance(counts: np.ndarray) -> np.ndarray:
    """1 − 2|A ∩ B| / (|A| + |B|) of the pruned sets, (…)."""
    _, first, second, both = np.moveaxis(counts, -1, 0)
    return 1 - 2 * both / (first + second)


def independent_dice_distance(counts: np.ndarray) -> np.ndarray:
    p, q = sparsities(counts)
    return 1 - 2 * p * q / (p + q)


MEASURES.add(
    Measure(
        "dice",
        "1 − Dice of the pruned sets",
        "Of the weights that the runs prune, counted for each run, the share that is not common",
        r"1 - \frac{2|A \cap B|}{|A| + |B|}",
        dice_distance,
        independent_dice_distance,
    )
)
counts = np.array([100, 50, 50, 25])
assert dice_distance(counts) == independent_dice_distance(counts) == 0.5
