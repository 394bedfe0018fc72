"""Effect of parallel writing on a text and its sinks: several tokens per forward against one. NumPy only.

Shapes: T forwards, S positions.
"""

from dataclasses import dataclass

import numpy as np

from analysis.errors import UserError
from analysis.recording.trajectory import Trajectory
from analysis.sinks import definitions
from analysis.sinks.agreement import agreement, agreement_by_chance
from analysis.specs import RecordSpec, SinkParams, Spec
from analysis.specs.writing import THRESHOLD, Writing

ONE_TEXT = "This is one prompt with one seed: it shows these two texts, not what parallel writing does on average."


def parallel_pair(spec: RecordSpec) -> tuple[RecordSpec, RecordSpec]:
    """Return the specs that record the same prompt twice: writing every prediction at least as sure as its threshold,
    `THRESHOLD` by default, and one token per forward. Both use whole forwards, so that nothing else differs.

    Raises UserError for a sampler that has no threshold.
    """
    sampling = spec.sampling
    sure = sampling.at_threshold(getattr(sampling, "threshold", None) or THRESHOLD)
    one = sampling.one_by_one()
    if sure is None or one is None:
        raise UserError(
            f"The sampler '{sampling.sampler}' has no confidence threshold, so it cannot write in parallel."
        )
    plain = spec.model_copy(update={"branch": None, "channels": 0})
    return plain.model_copy(update={"sampling": sure}), plain.model_copy(update={"sampling": one})


def is_pair(first: Spec, second: Spec) -> bool:
    """Return whether the first text was written with a threshold and the second one token per forward."""
    threshold = getattr(first, "threshold", None)
    if not isinstance(first, Writing) or type(first) is not type(second) or threshold is None:
        return False
    assert isinstance(second, Writing)
    return first == first.at_threshold(threshold) and second == first.one_by_one() != first


def tokens_written(trajectory: Trajectory) -> np.ndarray:
    """Count the tokens that each forward wrote, (T,) int."""
    return trajectory.changes.written.sum(axis=1)


@dataclass(frozen=True)
class ParallelEffect:
    """Comparison of a text written with a threshold and one written one token per forward.

    written, alone: tokens that each forward of each text wrote, (T,) and (T',). before (N,): tokens already written, at
    the forwards of the first for which the second has one with as many. strength, strength_alone (N,): share of
    attention that the sinks take there in each; even, even_alone (N,): their share under an even split. common (N,):
    Jaccard index of the two sets of sinks, NaN where both are empty. aligned: agreement of the finished texts; chance:
    the same with the tokens of one in random order.
    """

    written: np.ndarray
    alone: np.ndarray
    before: np.ndarray
    strength: np.ndarray
    strength_alone: np.ndarray
    even: np.ndarray
    even_alone: np.ndarray
    common: np.ndarray
    aligned: float
    chance: float


def parallel_effect(parallel: Trajectory, alone: Trajectory, params: SinkParams) -> ParallelEffect:
    """Compare two recordings of `parallel_pair` forward by forward, at equal numbers of tokens written."""
    written, singly = tokens_written(parallel), tokens_written(alone)
    before, before_alone = (np.concatenate([[0], np.cumsum(counts)[:-1]]) for counts in (written, singly))
    matched, at, at_alone = np.intersect1d(before, before_alone, return_indices=True)
    flags, strength, even = _sinks(parallel, params)
    flags_alone, strength_alone, even_alone = _sinks(alone, params)
    width = min(flags.shape[1], flags_alone.shape[1])
    ours, theirs = flags[at, :width], flags_alone[at_alone, :width]
    either = (ours | theirs).sum(axis=1)
    new = [text.final[text.info.prompt_length :] for text in (parallel, alone)]
    return ParallelEffect(
        written,
        singly,
        matched,
        strength[at],
        strength_alone[at_alone],
        even[at],
        even_alone[at_alone],
        np.where(either > 0, (ours & theirs).sum(axis=1) / np.maximum(either, 1), np.nan),
        agreement(new[0], new[1]).aligned,
        agreement_by_chance(new[0], new[1]),
    )


def _sinks(trajectory: Trajectory, params: SinkParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sinks (T, S), their share of attention, and their share under an even split, (T,) each."""
    mass, pattern = definitions.mean_mass(trajectory.mass), trajectory.pattern
    flags = definitions.find_sinks(mass, params, pattern.visible(None)) & trajectory.present
    taken = np.where(flags, mass, 0).sum(axis=1) / np.nansum(mass, axis=1)
    return flags, taken, definitions.uniform_strength(flags, pattern.uniform_share)
