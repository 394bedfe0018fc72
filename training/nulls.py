"""Makes the untrained models that the shipped recordings stand beside: `python -m training.nulls`, after
`python -m training.study`. It goes on where it was cut off, in the store of the environment.

The bundled diffusion model records its example prompts, and models of the same shape with random weights and equally
sharp attention read the same inputs. Their attention goes into the package, and into the explorer of the study that
ships.
"""

import argparse
import sys
import time
from dataclasses import replace

import numpy as np

from analysis.engine import Engine
from analysis.engine.studies import sampling_of, watch_children
from analysis.models.registry import MODELS
from analysis.recording import explored
from analysis.recording.inside_specs import reference_spec
from analysis.recording.trajectory import Trajectory
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.definitions import mean_mass
from analysis.specs import RecordSpec, SinkParams, Spec, StudySpec
from analysis.study.findings import EXAMPLE, read, write
from analysis.study.gather import explorer_of
from cache.store import Store

SEEDS = 8
MOST_BYTES = 300_000  # of the repository


def main() -> int:
    """Observe random weights and write the file and the study. Returns 1 where the file is too large."""
    store = Store()
    engine = Engine(store, alone=True)
    found = read(EXAMPLE)
    study = StudySpec.model_validate(found.spec)
    model, prompts = study.model, MODELS[study.model.source].prompts
    specs = [RecordSpec(model=model, prompt=prompt, sampling=sampling_of(model, study)) for prompt in prompts]
    try:
        watched = [_run(engine, child.kind, child.spec) for child in watch_children(study)]
        masses = [_observed(engine, spec) for spec in specs]
    finally:
        engine.close()
        store.close()
    explored.write(masses)
    write(found.model_copy(update={"explorer": explorer_of(watched)}), EXAMPLE)
    size = explored.FILE.stat().st_size
    print(f"{explored.FILE}: {size:,} bytes")
    return 0 if size <= MOST_BYTES else 1


def _observed(engine: Engine, spec: RecordSpec) -> tuple[Trajectory, np.ndarray, np.ndarray]:
    """Return a recording, and of each draw of random weights on its inputs the mean mass, (N, T, S), and what its heads
    give their own sinks, (N, T).
    """
    recording = _run(engine, "record", spec)
    draws = [_run(engine, "reference", reference_spec(recording, spec.model, seed)) for seed in range(SEEDS)]
    shares = np.stack([head_shares_by_step(drawn) for drawn in draws])
    return recording, np.stack([mean_mass(drawn.mass) for drawn in draws]), shares


def head_shares_by_step(trajectory: Trajectory) -> np.ndarray:
    """Return the mean over heads of the share of attention to each one's own sinks by the preset definition, (T,)."""
    preset = SinkParams()
    by = {"definition": preset.definition, "threshold": preset.k, "split": 0, "judged": "head", "to": None}
    asked = [explored.SharesAsked.model_validate({**by, "range": (step, step)}) for step in range(trajectory.steps)]
    return np.array([explored.head_shares(trajectory, each).mean() for each in asked])


def _run(engine: Engine, kind: str, spec: Spec) -> Trajectory:
    """Return what a job left, with its relative mass. Raises RuntimeError where it failed."""
    record = engine.submit(kind, spec)
    while not record.ended:
        time.sleep(0.05)
        record = engine.job(record.id) or record
    file = engine.result_file(record)
    if file is None:
        raise RuntimeError(record.reason)
    trajectory = open_trajectory(file)
    return replace(trajectory, mass=trajectory.relative_mass())


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m training.nulls", description=__doc__).parse_args()
    sys.exit(main())
