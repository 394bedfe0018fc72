"""Alternatives to a recorded text, and their effects on text and sinks: a branch that goes on from another token, and
one token per forward in place of several. NumPy only.

Shapes: T steps or forwards, S positions.
"""

from dataclasses import dataclass

import numpy as np

from analysis.errors import UserError
from analysis.recording.trajectory import Trajectory, tokens_written, why_no_branch
from analysis.sinks import definitions
from analysis.sinks.agreement import agreement, agreement_by_chance, agreement_by_step
from analysis.sinks.step_inputs import TokenState
from analysis.specs import Branch, RecordSpec, SinkParams, Spec
from analysis.specs.writing import THRESHOLD, Writing

_WORD = next(rule.max_length for rule in Branch.model_fields["word"].metadata if hasattr(rule, "max_length"))


def deciding_step(trajectory: Trajectory, step: int, position: int, finished: bool = False) -> int | None:
    """The step whose forward predicted what stands at a position in a step's input, or in the finished text; None for
    what was given, or is not there. For a token that is not decided yet, it is the step itself.
    """
    if not finished and trajectory.state[step, position] == TokenState.UNDECIDED:
        return step
    done = trajectory.changes
    wrote = np.flatnonzero((done.written | done.edited)[: trajectory.steps if finished else step, position])
    return int(wrote[-1]) if len(wrote) else None


def branch_of(trajectory: Trajectory, parent: str, step: int, position: int, token: int, word: str) -> Branch:
    """The branch that writes a token at a position in a step. parent: the key of the recording's result.

    Raises UserError where the recording has no such step, or is none that can be branched.
    """
    model = trajectory.info.model
    problem = why_no_branch(model.architecture, model.noise)
    if problem:
        raise UserError(problem)
    if not 0 <= step < trajectory.steps:
        raise UserError(f"The recording has no step {step}: its {trajectory.steps} steps are counted from 0.")
    return Branch(
        parent=parent,
        step=step,
        position=position,
        token=token,
        word=word[:_WORD],
        tokens=trajectory.input_tokens(step),
    )


def branch_request(recorded: RecordSpec, trajectory: Trajectory, branch: Branch) -> RecordSpec:
    """Return the request that records a branch, made from the one of its parent. The prompt is the recorded one, so the
    model's chat template is not applied again.
    """
    template = "on" if trajectory.info.chat_template else "off"
    return RecordSpec.model_validate({**dict(recorded), "chat_template": template, "branch": branch})


@dataclass(frozen=True)
class Likeness:
    """Likeness of a branch to its parent, leaving out the branch's own position.

    kept: bool masks over the positions of the parent and of the branch, of the new tokens in their alignment
    (`sinks.agreement`). aligned, by_position: agreement of the finished texts' new tokens, of which the longer
    text has `compared`. chance: aligned agreement with the branch's tokens in random orders. aligned_by_step (T,):
    agreement of what each text has decided before a step. by_step (T,): of the tokens that both have decided before a
    step, the share that is the same at its position. Both are NaN where there is none. sinks: Jaccard index of the
    sinks of the steps after the branch, as pairs of step and position; None where neither text has one there.
    """

    kept: tuple[np.ndarray, np.ndarray]
    aligned: float
    by_position: float
    compared: int
    chance: float
    aligned_by_step: np.ndarray
    by_step: np.ndarray
    sinks: float | None


def likeness(
    parent: Trajectory, branch: Trajectory, parent_sinks: np.ndarray, branch_sinks: np.ndarray, step: int, position: int
) -> Likeness:
    """Compare a branch, changed at a position by the outcome of a step, with its parent; sinks (T, S) bool each.

    Only steps that both have are compared, and by position only positions that both have.
    """
    length, steps = min(parent.positions, branch.positions), min(parent.steps, branch.steps)
    new = [
        (np.arange(text.positions) >= branch.info.prompt_length) & (np.arange(text.positions) != position)
        for text in (parent, branch)
    ]
    like = agreement(parent.final, branch.final, (new[0], new[1]))
    there = [text.present & ~text.undecided & flags for text, flags in zip((parent, branch), new, strict=True)]
    decided = there[0][:steps, :length] & there[1][:steps, :length]
    equal = decided & (parent.tokens[:steps, :length] == branch.tokens[:steps, :length])
    count = decided.sum(axis=1)
    first, second = parent_sinks[step + 1 : steps, :length], branch_sinks[step + 1 : steps, :length]
    either = int((first | second).sum())
    return Likeness(
        kept=like.kept,
        aligned=like.aligned,
        by_position=like.by_position,
        compared=max(int(flags.sum()) for flags in new),
        chance=agreement_by_chance(parent.final[new[0]], branch.final[new[1]]),
        aligned_by_step=agreement_by_step((parent.tokens[:steps], branch.tokens[:steps]), (there[0], there[1])),
        by_step=np.where(count > 0, equal.sum(axis=1) / np.maximum(count, 1), np.nan),
        sinks=float((first & second).sum() / either) if either else None,
    )


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
