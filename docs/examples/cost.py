"""Add a cost to the plane of a sweep: one row in `COSTS`.

It names a column of the table of points (`point_row` of `analysis/engine/sweeps.py`) and the title of its axis.
"""

from analysis.evaluation.frontier import COSTS, Cost, on_frontier

COSTS.add(Cost("seconds to prune", "seconds to prune", "Wall-clock time of each pruning on this machine."))

assert list(COSTS)[-1] == "seconds to prune"
assert on_frontier([10, 20, 30], [0.5, 0.7, 0.6]).tolist() == [True, True, False]
