"""Measures of a set of recordings, prompt by prompt, until they become the arrays of a file. NumPy only."""

from collections.abc import Sequence

import numpy as np

from analysis.recording import set_file
from analysis.recording.set_file import RecordingSetInfo
from analysis.sinks.movement import WEIGHT_NULLS


class SetArrays:
    """Measures of each prompt, by the model or null that gave them."""

    def __init__(self, prompts: int) -> None:
        self.prompts = prompts
        self.taken: dict[str, dict[int, dict[str, np.ndarray]]] = {}

    def take(self, which: str, index: int, measured: dict[str, np.ndarray]) -> None:
        """Add the measures of one prompt. measured: arrays without the axis of the prompts."""
        self.taken.setdefault(which, {})[index] = measured

    def keep(self, indices: Sequence[int]) -> None:
        """Keep only these prompts, renumbered in their order."""
        self.prompts = len(indices)
        for which, rows in self.taken.items():
            self.taken[which] = {place: rows[index] for place, index in enumerate(indices)}

    def merge(self, which: str, into: str) -> None:
        """Move the measures of `which` into those of `into`, prompt by prompt."""
        for index, row in self.taken.pop(which).items():
            self.taken[into][index] |= row

    def halve(self, tokens: int) -> None:
        """Keep the kinds of the sinks in each recording's first `tokens` steps, one step per token."""
        for row in self.taken["trained"].values():
            counts = row["counts"][:, :tokens]
            row["half_sinks"] = counts.sum(axis=1, dtype=np.float64)
            row["half_steps"] = np.asarray(float(counts.shape[1]))

    def stacked(self, info: RecordingSetInfo, steps: int, scopes: int) -> dict[str, np.ndarray]:
        """The arrays of the file. steps: of the longest recording."""
        arrays = {}
        for name in set_file.stored(info):
            which, measure = name.split(".")
            if which in WEIGHT_NULLS:
                models = len(info.seeds_of(which))
                if measure == "curves":
                    arrays[name] = self._mean_curves(models, steps, scopes)
                    continue
                parts = [self._of(f"{which}{number}", measure, name, steps, scopes) for number in range(models)]
                shape = self._of("trained", measure, name, steps, scopes).shape
                arrays[name] = np.stack(parts) if parts else np.empty((0, *shape))
            else:
                arrays[name] = self._of(which, measure, name, steps, scopes)
        return arrays

    def _of(self, which: str, measure: str, name: str, steps: int, scopes: int) -> np.ndarray:
        """One array, NaN (or 0 in counts) at prompts that were not seen and after the end of a recording."""
        rows = self.taken[which]
        over_steps = set_file.SHAPES[name].find("T") - 1
        example = next(iter(rows.values()))[measure]
        shape = list(example.shape)
        if over_steps >= 0:
            shape[over_steps] = steps
        counts = example.dtype.kind == "u"
        whole = np.full((self.prompts, *shape), 0 if counts else np.nan, example.dtype)
        for index, row in rows.items():
            values = row[measure]
            place: list[int | slice] = [index, *[slice(None)] * values.ndim]
            if over_steps >= 0:
                place[over_steps + 1] = slice(values.shape[over_steps])
            whole[tuple(place)] = values
        return whole

    def _mean_curves(self, models: int, steps: int, scopes: int) -> np.ndarray:
        """The curves of random weights, mean over the models that saw a prompt."""
        parts = [self._of(f"random{number}", "curves", "random.curves", steps, scopes) for number in range(models)]
        if not parts:
            return np.full_like(self._of("trained", "curves", "trained.curves", steps, scopes), np.nan)
        there = np.sum([np.isfinite(part) for part in parts], axis=0)
        total = np.sum([np.nan_to_num(part) for part in parts], axis=0)
        mean: np.ndarray = total / np.where(there > 0, there, np.nan)
        return mean.astype(np.float32)
