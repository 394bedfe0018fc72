"""Add a pattern of pruning: one row in `PATTERNS`.

Any N:M with M up to 16 is there without a row.
"""

import torch

from analysis.pruning.selection import pruned_mask
from analysis.specs import PATTERNS
from analysis.specs.pruning_choices import Pattern

PATTERNS.add(Pattern("1:4", "1:4", "One of every four neighbours of a row stays.", kept=1, group=4))

assert PATTERNS["1:4"].sparsity == 0.75
assert pruned_mask(torch.arange(8.0).view(1, 8), 0.75, "1:4").tolist() == [[True, True, True, False] * 2]
