"""The job engine: a queue in the store, and the workers that run it. Imports no torch.

Pages call `engine`; `dispatcher` hands jobs to workers that `placement` chooses; `job_store` keeps the state of every
job, `cluster` starts or finds the workers (with a `certificate` and a `steady_clock`), `records` defines a job's
record; `worker` runs a job, `interleaving` lets short jobs run between the steps of a long one, `transfer` moves their
results. `sweeps` submit many jobs; `runs` are the models that jobs have pruned and evaluated, `storage` their files on
disk.
"""

from analysis.engine.engine import Engine
from analysis.engine.records import JobRecord, LogLine, Progress, State
