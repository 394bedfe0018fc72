"""What workers of an engine in the tests' own process are forked with (`tests/workers.py`): torch, transformers,
lm-eval and what else their jobs import, loaded once."""

import gc

import distributed  # noqa: F401
import scipy.stats  # noqa: F401  for sign flips

import analysis.engine.worker
import analysis.evaluation.live
import analysis.evaluation.tasks
import analysis.models.load
import analysis.pruning.run
import analysis.recording.observers
import analysis.tuning.search_space  # noqa: F401

gc.collect()
gc.freeze()  # no worker looks through it for garbage, which would copy it for that worker
