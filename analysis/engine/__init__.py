"""The job engine: a queue of its own in the store, and the workers that run it. Imports no torch.

`engine` is what pages ask, `dispatcher` hands jobs to workers, `placement` chooses which; `job_store` keeps what is
known about every job, `cluster` starts or finds the workers (by a `certificate` and a `steady_clock`), `records` says
what a job looks like; `worker` is how a job runs there, `interleaving` lets short jobs in between the steps of a long
one, `transfer` brings what they leave.
`sweeps` ask for many jobs; `runs` are the models that jobs have pruned and evaluated, `storage` what lies on the disk.
"""

from analysis.engine.engine import Engine
from analysis.engine.records import JobRecord, LogLine, Progress, State

__all__ = ["Engine", "JobRecord", "LogLine", "Progress", "State"]
