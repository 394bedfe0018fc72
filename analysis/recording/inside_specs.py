"""Requests for a look inside a recording: attention maps, ablations, references, the logit lens and geometry.

Imports no torch.
"""

from typing import Any

import numpy as np

from analysis.errors import UserError
from analysis.recording.trajectory import Trajectory
from analysis.sinks.step_inputs import TokenState
from analysis.specs import (
    AblateSpec,
    AttentionMapSpec,
    GeometrySpec,
    LensSpec,
    ModelSpec,
    NoiseSpec,
    ReferenceSpec,
    Sampling,
    SinkParams,
)

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


def _blocks(trajectory: Trajectory, step: int) -> dict[str, Any]:
    """Return the blocks of a step's text, as specs ask for them."""
    info = trajectory.info
    return {
        "prompt_length": info.prompt_length if info.by_blocks else 0,
        "block_length": info.block_length,
        "open_from": int(trajectory.open_block[step][0]) if info.by_blocks else None,
    }


def attention_map_spec(trajectory: Trajectory, model: ModelSpec, step: int, layer: int, head: int) -> AttentionMapSpec:
    """Return what asks for the attention map of a head in a step. Raises ValidationError where there is none."""
    return AttentionMapSpec(
        model=model,
        tokens=trajectory.input_tokens(step),
        layer=layer,
        head=head,
        **_blocks(trajectory, step),
        kept=trajectory.kept_forward(step),
    )


def ablate_spec(
    trajectory: Trajectory,
    model: ModelSpec,
    params: SinkParams,
    count: int | None = None,
    sampling: Sampling | None = None,
) -> AblateSpec:
    """Return what writes a recording's text again without its sinks. count: the most sinks of a step to block; all of
    them where it is None. sampling: as the recording was asked for; the one it was made with where it is None.
    """
    info = trajectory.info
    first = slice(info.prompt_length)  # where the prompt's own masks are filled in the end
    is_open = trajectory.state[0, first] == TokenState.UNDECIDED
    return AblateSpec.model_validate(
        {
            "model": model,
            "prompt": tuple(np.where(is_open, trajectory.tokens[0, first], trajectory.final[first]).tolist()),
            "sampling": sampling or info.sampling,
            "count": count,
            "sinks": params,
            "seed": info.seed,
        }
    )


def reference_spec(trajectory: Trajectory, model: ModelSpec, seed: int = 0) -> ReferenceSpec:
    """Return what runs a recording's inputs through random weights. seed: of the weights."""
    states = zip(trajectory.state, trajectory.present, strict=True)
    return ReferenceSpec(
        model=model,
        inputs=tuple(trajectory.input_tokens(step) for step in range(trajectory.steps)),
        states=tuple(tuple(state[there].tolist()) for state, there in states),
        open_blocks=tuple((start, end) for start, end in trajectory.open_block.tolist()),
        first_queries=tuple(trajectory.queries[:, 0].tolist()) if trajectory.queries[:, 0].any() else (),
        query_ends=tuple(trajectory.queries[:, 1].tolist()) if trajectory.ends_early else (),
        prompt_length=trajectory.info.prompt_length,
        block_length=trajectory.info.block_length,
        seed=seed,
    )


def noise_spec(trajectory: Trajectory, model: ModelSpec) -> NoiseSpec:
    """Return what noises a recording's finished text forward, with the recording's seed."""
    return NoiseSpec(
        model=model,
        tokens=tuple(trajectory.final.tolist()),
        prompt_length=trajectory.info.prompt_length,
        step_interval=2,
        seed=trajectory.info.seed,
    )


def lens_spec(trajectory: Trajectory, model: ModelSpec, step: int) -> LensSpec:
    """Return the lens at every undecided token of a step that has some. Raises UserError under a cache."""
    if problem := why_not_inside(trajectory):
        raise UserError(problem)
    at = undecided(trajectory, step)
    return LensSpec(
        model=model,
        tokens=trajectory.input_tokens(step),
        positions=tuple(at.tolist()),
        becomes=tuple(trajectory.final[at].tolist()),
        **_blocks(trajectory, step),
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
