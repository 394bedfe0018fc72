"""Attention of random weights as sharp as the trained ones on recordings of the bundled pair, which ships with them.

`python -m training.nulls` makes it. A recording finds its own by the model's weights and the tokens that went in.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from analysis.recording.trajectory import Trajectory

FILE = Path(__file__).parents[1] / "bundled" / "nulls.npz"
_LEVELS = 512  # to one even split, of which such masses vary by a third; int16 holds changes up to 63


def shipped_masses(trajectory: Trajectory) -> np.ndarray | None:
    """Return the mean mass of each draw of random weights on a recording's inputs, (N, T, S) float32 with NaN where a
    token is absent; None where none ships.
    """
    changes = _shipped().get(_name(trajectory))
    if changes is None:
        return None
    mass = as_wide(changes.cumsum(axis=1, dtype=np.float32) / _LEVELS, trajectory.positions)
    return np.where(trajectory.present, mass, np.float32(np.nan))


def as_wide(mass: np.ndarray, positions: int) -> np.ndarray:
    """Return masses (..., S) of inputs alone with all positions of the recording, which may end in tokens that no
    forward read.
    """
    return np.pad(mass, [(0, 0)] * (mass.ndim - 1) + [(0, positions - mass.shape[-1])], constant_values=np.nan)


def write(masses: list[tuple[Trajectory, np.ndarray]], file: Path = FILE) -> None:
    """Write the masses (N, T, S) of each recording, rounded, as changes from one step to the next."""
    arrays = {}
    for trajectory, values in masses:
        levels = np.round(_LEVELS * np.nan_to_num(values)).astype(np.int32)
        arrays[_name(trajectory)] = np.diff(levels, axis=1, prepend=0).astype(np.int16)
    np.savez_compressed(file, **arrays)
    _shipped.cache_clear()


def _name(trajectory: Trajectory) -> str:
    model, there = trajectory.info.model, trajectory.present
    content = (
        np.where(there, trajectory.tokens, -1).astype("<i4"),
        np.where(there, trajectory.state, -1).astype("<i1"),
    )
    return sha256(model.fingerprint.encode() + b"".join(each.tobytes() for each in content)).hexdigest()[:16]


@cache
def _shipped() -> dict[str, np.ndarray]:
    if not FILE.is_file():
        return {}
    with np.load(FILE) as arrays:
        return dict(arrays)
