"""Add a calibration noise: one row in `NOISES`."""

import numpy as np

from analysis.calibration.noise import noised_sequences
from analysis.specs import NOISES, CalibrationParams
from analysis.specs.pruning_choices import Noise


def tail(levels: np.ndarray, length: int, params: CalibrationParams, rng: np.random.Generator) -> np.ndarray:
    return np.arange(length) >= length * (1 - levels[:, None] / params.diffusion_steps)


NOISES.add(Noise("tail", "from the end", "Step t masks the last t/T of the tokens.", implementation=tail))

params = CalibrationParams(noise="tail", diffusion_steps=2, step_interval=1)
assert noised_sequences(np.array([[5, 6, 7, 8]]), params, mask_token=1).tolist() == [[[5, 6, 1, 1], [1, 1, 1, 1]]]
