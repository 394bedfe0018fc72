"""Add an allocation of sparsity over layers: one row in `ALLOCATIONS`.

The implementation returns a number from −1 to 1 for each layer, more where it should be sparser.
"""

import numpy as np

from analysis.pruning.allocation import layer_sparsities
from analysis.specs import ALLOCATIONS
from analysis.specs.pruning_choices import Allocation


def ends_kept(layers: np.ndarray, measured: np.ndarray | None) -> np.ndarray:
    return np.where((layers == layers.min()) | (layers == layers.max()), -1.0, 1.0)


ALLOCATIONS.add(Allocation("ends", "ends kept", "The first and the last layer lose less.", implementation=ends_kept))

shares = layer_sparsities("ends", 0.5, np.full(4, 100), spread=0.1)
assert np.isclose(shares.mean(), 0.5) and shares[0] < shares[1]
