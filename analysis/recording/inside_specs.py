"""What is asked of a model about a recording: the specs of the logit lens and of geometry. Imports no torch."""

import numpy as np

from analysis.errors import UserError
from analysis.recording.trajectory import Trajectory
from analysis.sinks.token_states import TokenState
from analysis.specs import GeometrySpec, LensSpec, ModelSpec

GEOMETRY_STEPS = 6  # steps of a recording at which geometry is measured


def undecided(trajectory: Trajectory, step: int) -> np.ndarray:
    """The positions that are undecided in a step, (N,)."""
    return np.flatnonzero(trajectory.state[step] == TokenState.UNDECIDED)


def why_not_inside(trajectory: Trajectory) -> str:
    """Return why whole forwards cannot look into the layers of a recording, as a sentence; '' if they can."""
    if not trajectory.goes_stale:
        return ""
    return (
        "This runs whole forwards, and steps of this recording went on from kept keys. Record the prompt with the "
        "cache set to none."
    )


def lens_spec(trajectory: Trajectory, model: ModelSpec, step: int) -> LensSpec:
    """Return the lens at every undecided token of a step that has some. Raises UserError under a cache."""
    if problem := why_not_inside(trajectory):
        raise UserError(problem)
    at, info = undecided(trajectory, step), trajectory.info
    return LensSpec(
        model=model,
        tokens=trajectory.input_tokens(step),
        positions=tuple(at.tolist()),
        becomes=tuple(trajectory.final[at].tolist()),
        prompt_length=info.prompt_length if info.by_blocks else 0,
        block_length=info.block_length,
        open_from=int(trajectory.open_block[step][0]) if info.by_blocks else None,
    )


def geometry_steps(trajectory: Trajectory) -> list[int]:
    """The steps at which geometry is measured: at most `GEOMETRY_STEPS`, from the first to the last."""
    return sorted({round(share * (trajectory.steps - 1)) for share in np.linspace(0, 1, GEOMETRY_STEPS)})


def geometry_spec(trajectory: Trajectory, model: ModelSpec, random_models: int | None = None) -> GeometrySpec:
    """The geometry at `geometry_steps`. model: the recording's own, or one that sees the same inputs.

    Raises UserError under a cache.
    """
    if problem := why_not_inside(trajectory):
        raise UserError(problem)
    info, steps = trajectory.info, geometry_steps(trajectory)
    return GeometrySpec(
        model=model,
        inputs=tuple(trajectory.input_tokens(step) for step in steps),
        open_blocks=tuple(int(trajectory.open_block[step][0]) for step in steps) if info.by_blocks else (),
        prompt_length=info.prompt_length,
        block_length=info.block_length,
        **({} if random_models is None else {"random_models": random_models}),
    )
