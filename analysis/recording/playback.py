"""Data of the player: every step of one or two recordings, packed once.

Shapes: T steps, S positions. A frame is the input of a step; the last one is the finished text, which no forward sees.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from analysis.recording.trajectory import Trajectory
from analysis.sinks import definitions, metrics
from analysis.sinks.step_inputs import TokenState
from analysis.specs import SinkParams

MOST_CELLS = 4_000_000  # frames times positions; longer recordings are sent with every n-th step
# Bits of a cell's flags, which player.js reads by the same numbers.
PRESENT, GIVEN, UNDECIDED, ACCEPTED, SINK, WRITTEN, EDITED, TAKEN_BACK = (1 << bit for bit in range(8))
_FULL = 65535  # of values from 0 to 1 in 16 bits
_CHOSEN = _FULL - 1  # of confidences, which follow 0 for: the model chose nothing there


@dataclass(frozen=True)
class Track:
    """One recording as it is played.

    tokens (T, S) and final (S,): ids, with their text in names. present, given, undecided, accepted (T, S) bool: what
    each token of a step's input is. written, edited, taken_back (T, S) bool: what each step does to it. confidence
    (T, S): of the tokens a step chose, NaN elsewhere. mass (T, S): mean mass divided by what uniform attention gives
    the position under the model's mask, NaN where nothing is. uniform (T, S): what it was divided by; None where that
    is 1 everywhere. sinks (T, S) bool. thresholds (T,): what a sink's mass exceeds, NaN where each position has its
    own. open_block (T, 2): positions a step writes in; None where there is one block. mask_token: id, or None.
    branch: the step and position where a token was written by hand, if this text left another one there; beside that
    one, what differs is marked.
    """

    title: str
    tokens: np.ndarray
    final: np.ndarray
    names: Mapping[int, str]
    mask_token: int | None
    present: np.ndarray
    given: np.ndarray
    undecided: np.ndarray
    accepted: np.ndarray
    written: np.ndarray
    edited: np.ndarray
    taken_back: np.ndarray
    confidence: np.ndarray
    mass: np.ndarray
    sinks: np.ndarray
    thresholds: np.ndarray
    open_block: np.ndarray | None = None
    branch: tuple[int, int] | None = None
    uniform: np.ndarray | None = None


def playback(tracks: list[Track], step: int = 0, telling: int | None = None, play: str = "") -> dict[str, Any]:
    """The player's data, as JSON.

    step: where it rests. telling: the step it offers to jump to. play: not empty: it plays once by itself, and once
    only for this value.
    """
    packed = [_packed(track) for track in tracks]
    content = sha256("".join(f"{each['cells']}{each['branch']}" for each in packed).encode()).hexdigest()[:16]
    return {"content": content, "tracks": packed, "step": step, "telling": telling, "play": play}


@dataclass(frozen=True)
class Played:
    """A track as the player receives it. frames (n,): the step of each frame; mass (n, S): 1 is uniform attention;
    flags (n, S): the bits above; words (n, S) of str: empty where there is no token. uniform (n, S): the mass that
    uniform attention gives. masks: what is undecided is a mask token, not noise. The last frame is the finished text.
    """

    title: str
    frames: np.ndarray
    mass: np.ndarray
    flags: np.ndarray
    words: np.ndarray
    uniform: np.ndarray
    masks: bool

    @property
    def sinks(self) -> np.ndarray:
        """Mask of the sinks, (n, S) bool."""
        return (self.flags & SINK) > 0

    @property
    def strength(self) -> np.ndarray:
        """Return the share of each frame's attention that its sinks take, (n,); 0 in the finished text."""
        return self._share_of_sinks(self.mass * self.uniform)

    @property
    def even(self) -> np.ndarray:
        """Return the share that uniform attention would give each frame's sinks, (n,)."""
        return self._share_of_sinks(self.uniform * (self.mass > 0))

    def _share_of_sinks(self, paid: np.ndarray) -> np.ndarray:
        total = paid.sum(axis=1)
        return np.divide((paid * self.sinks).sum(axis=1), total, out=np.zeros(len(total)), where=total > 0)


def unpacked(track: Mapping[str, Any]) -> Played:
    """Decode a track of `playback`, as the player does."""
    frames, positions = np.asarray(track["frames"]), track["positions"]
    data, cells = zlib.decompress(base64.b64decode(track["cells"])), len(frames) * positions
    token = np.frombuffer(data, "<u4", cells)
    mass = np.frombuffer(data, "<u2", cells, 4 * cells) / _FULL * (track["highest"] or 1.0)
    flags = np.frombuffer(data, np.uint8, cells, 10 * cells)
    shape = len(frames), positions
    words = np.array(track["names"], dtype=object)[token]
    uniform = np.frombuffer(data, "<f4", offset=11 * cells) if track.get("uneven") else np.ones(cells, np.float32)
    mass, flags, words, uniform = (each.reshape(shape) for each in (mass, flags, words, uniform))
    return Played(track["title"], frames, mass, flags, words, uniform, masks=track["mask"] >= 0)


def frame_beside(frame: int, last: int, own_last: int) -> int:
    """Return the frame that a recording of `own_last` + 1 frames shows beside frame `frame` of one of `last` + 1: as
    far in its own writing, as player.js has it."""
    return int(frame * own_last / max(last, 1) + 0.5)


def opening_frame(tracks: Sequence[Played]) -> int | None:
    """Return the frame of the first recording to open at: that of its strongest sinks among those beside which every
    other one has some, else its strongest of all. None where it has no sinks.
    """
    first = tracks[0]
    last = len(first.frames) - 1
    if not first.strength.any():
        return None
    beside = np.array(
        [
            all(track.strength[frame_beside(frame, last, len(track.frames) - 1)] > 0 for track in tracks[1:])
            for frame in range(last + 1)
        ]
    )
    both = first.strength * beside
    return int(np.argmax(both if both.any() else first.strength))


def _packed(track: Track) -> dict[str, Any]:
    steps, positions = track.tokens.shape
    starts = np.arange(0, steps, max(1, -(-steps * positions // MOST_CELLS)))
    occurring, indices = np.unique(
        np.where(_with_last(track.present, True), _with_last(track.tokens, track.final), -1), return_inverse=True
    )
    indices = indices.reshape(steps + 1, positions)
    chosen, chosen_in = _latest_choice(track.confidence)
    frames = np.append(starts, steps)
    highest = float(np.nanmax(track.mass, initial=0.0))
    mass = np.nan_to_num(_with_last(track.mass, 0.0)) / (highest or 1.0)
    sure = np.where(np.isfinite(chosen), 1 + np.rint(np.nan_to_num(chosen) * _CHOSEN), 0)
    arrays: tuple[np.ndarray, ...] = (
        indices[frames].astype("<u4"),
        np.rint(mass[frames] * _FULL).astype("<u2"),
        sure[frames].astype("<u2"),
        chosen_in[frames].astype("<u2"),
        _flags(track, starts),
    )
    if track.uniform is not None:
        arrays += (np.nan_to_num(_with_last(track.uniform, 0.0))[frames].astype("<f4"),)
    cells = b"".join(values.tobytes() for values in arrays)
    return {
        "title": track.title,
        "frames": frames.tolist(),
        "positions": positions,
        "names": ["" if token < 0 else track.names[token] for token in occurring.tolist()],
        "mask": next((n for n, token in enumerate(occurring.tolist()) if token == track.mask_token), -1),
        "highest": highest,
        "thresholds": [round(float(value), 4) if np.isfinite(value) else None for value in track.thresholds[starts]],
        "blocks": None if track.open_block is None else track.open_block[starts].tolist(),
        "branch": None if track.branch is None else list(track.branch),
        **({} if track.uniform is None else {"uneven": True}),
        "cells": base64.b64encode(zlib.compress(cells, 9)).decode(),
    }


def _with_last(values: np.ndarray, last: Any) -> np.ndarray:
    """Values by step (T, S) and those of the finished text, (T + 1, S)."""
    return np.concatenate([values, np.broadcast_to(np.asarray(last, values.dtype), (1, values.shape[1]))])


def _latest_choice(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With which probability the token before each frame was chosen, NaN where the model chose none yet, and in which
    step, (T + 1, S) each."""
    steps = np.arange(1, len(confidence) + 1)[:, None]
    frame = np.where(np.isfinite(confidence), steps, 0)
    latest = np.maximum.accumulate(np.concatenate([np.zeros_like(frame[:1]), frame]), axis=0)
    chosen_in = np.maximum(latest - 1, 0)
    values = np.where(latest > 0, np.take_along_axis(confidence, chosen_in, axis=0), np.nan)
    return values, chosen_in


def _flags(track: Track, starts: np.ndarray) -> np.ndarray:
    """Return one byte per cell, (frames, S). What was done between two frames stands in the later one."""
    frames = np.append(starts, len(track.tokens))
    flags = np.zeros((len(frames), len(track.final)), np.uint8)
    for bit, values, last in (
        (PRESENT, track.present, True),
        (GIVEN, track.given, track.given[-1]),
        (UNDECIDED, track.undecided, track.final == track.mask_token),
        (ACCEPTED, track.accepted, False),
        (SINK, track.sinks, False),
    ):
        flags |= np.uint8(bit) * _with_last(values, last)[frames]
    for bit, values in ((WRITTEN, track.written), (EDITED, track.edited), (TAKEN_BACK, track.taken_back)):
        flags[1:] |= np.uint8(bit) * np.logical_or.reduceat(values, starts, axis=0)
    return flags


def track(trajectory: Trajectory, params: SinkParams, title: str = "") -> Track:
    """A recording as it is played, its sinks by `params`. The trajectory's mass is the relative one, m·K/Q.

    title: the model's name by default.
    """
    info = trajectory.info
    changes = trajectory.changes
    mass, visible = definitions.mean_mass(trajectory.mass), trajectory.pattern.visible()
    uniform = None if trajectory.pattern.is_even else trajectory.pattern.uniform_mass.mean(axis=(1, 2))
    if uniform is not None:
        mass = definitions.corrected_share(mass, uniform)
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
        open_block=trajectory.open_block if trajectory.has_blocks else None,
        branch=None if info.branch is None else (info.branch.step, info.branch.position),
        uniform=uniform,
    )


def played(trajectories: Sequence[Trajectory], params: SinkParams) -> dict[str, Any]:
    """Return what the player draws of one or two recordings. It opens at the strongest step of the first.

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
