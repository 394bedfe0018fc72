"""The job engine: a queue in the store, and the workers that run it. Imports no torch.

Pages call `engine`; `dispatcher` hands jobs to workers that `placement` chooses, and `intake` takes their results in;
`job_store` defines a job's record and keeps the state of every job, `cluster` starts or finds the workers (with a
`steady_clock`); `worker` runs a job, a short one between the steps of a long one, and moves its result. `sweeps` and
`studies` (claims as well) submit many jobs; `runs` are the models that jobs have pruned and evaluated, and what jobs
have left on disk.
"""

from analysis.engine.engine import Engine
from analysis.engine.job_store import JobRecord, LogLine, Progress, State
