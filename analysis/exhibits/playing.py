"""Recordings as the player takes them: what each step did to the text, its sinks, and where to rest."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.figures.player import Track, playback
from analysis.recording.trajectory import Trajectory
from analysis.sinks import definitions, metrics, token_states
from analysis.sinks.token_states import TokenState
from analysis.specs import SinkParams


def track(trajectory: Trajectory, params: SinkParams, title: str = "") -> Track:
    """A recording as it is played, its sinks by `params`. The trajectory's mass is the relative one, m·K/Q.

    title: the model's name by default.
    """
    info = trajectory.info
    changes = token_states.changes(trajectory.tokens, trajectory.state, trajectory.final, info.model.mask_token)
    mass, visible = definitions.mean_mass(trajectory.mass), trajectory.pattern.visible(None)
    thresholds = [definitions.common_threshold(row, params, seen) for row, seen in zip(mass, visible, strict=True)]
    return Track(
        title=title or info.model.source,
        tokens=trajectory.tokens,
        final=trajectory.final,
        names=info.tokens,
        mask_token=info.model.mask_token,
        present=trajectory.present,
        given=trajectory.state == TokenState.GIVEN,
        undecided=trajectory.undecided,
        accepted=trajectory.state == TokenState.ACCEPTED,
        written=changes.written,
        edited=changes.edited,
        taken_back=changes.taken_back,
        confidence=trajectory.confidence,
        mass=mass,
        sinks=definitions.find_sinks(mass, params, visible),
        thresholds=np.array([np.nan if threshold is None else threshold for threshold in thresholds]),
        open_block=trajectory.open_block if has_blocks(trajectory.open_block) else None,
        branch=None if info.branch is None else (info.branch.step, info.branch.position),
    )


def has_blocks(open_block: np.ndarray) -> bool:
    """Whether the text was written in several blocks (T, 2) of more than a token."""
    blocks = np.unique(open_block, axis=0)
    return len(blocks) > 1 and bool((np.diff(blocks, axis=1) > 1).any())


def played(trajectories: Sequence[Trajectory], params: SinkParams) -> dict[str, Any]:
    """What the player takes of one or two recordings; it rests on the most telling step of the first.

    The second may be what the first left as a branch.
    """
    first = trajectories[0].info.branch
    titles = ["", ""]
    if first is not None and len(trajectories) > 1:
        titles = [f"The branch, ‘{first.word.strip()}’ from step {first.step}", "The text it left"]
    tracks = [track(trajectory, params, title) for trajectory, title in zip(trajectories, titles, strict=False)]
    telling = most_telling(tracks[0])
    return playback(tracks, step=telling or 0, telling=telling)


def most_telling(recorded: Track) -> int | None:
    """The step whose sinks take the greatest share of attention; None where there are no sinks."""
    flags = recorded.sinks
    return metrics.telling_step(metrics.CURVES["strength"].compute(recorded.mass, flags, np.ones_like(flags)))
