"""Figures that hold a recording against another one: a branch, parallel writing, another model, pruned models."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.errors import UserError
from analysis.exhibits.inside import agreement_over_steps, filled_in, flips_over_prompts, text_of
from analysis.figures.dynamics import curves, lines
from analysis.figures.masks import over_depth
from analysis.recording.alternatives import Likeness, is_pair, likeness, parallel_effect
from analysis.recording.frames import sinks_of, with_relative_mass
from analysis.recording.trajectory import Trajectory, tokens_written
from analysis.sinks import definitions
from analysis.sinks.agreement import compare_texts
from analysis.sinks.metrics import CURVES
from analysis.specs import Branch, SinkParams
from sinkscope.drawing.recordings import Beside, together
from sinkscope.drawing.rows import Drawn

_UNIFORM = "uniform attention"


def _sinks(recording: Trajectory, params: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return sinks_of(with_relative_mass(recording), SinkParams(**params))


# --- a branch and the text that it left -------------------------------------------------------------------------


def _is_branch(recording: Trajectory) -> bool:
    return recording.info.branch is not None


def _change(branch: Trajectory) -> Branch:
    if branch.info.branch is None:
        raise UserError("This recording is not a branch. Record one with `run('record', OUT, branch=FILE, …)`.")
    return branch.info.branch


def _likeness(branch: Trajectory, parent: Trajectory, params: Mapping[str, Any]) -> Likeness:
    change, flags = _change(branch), [_sinks(each, params)[1] for each in (parent, branch)]
    return likeness(parent, branch, flags[0], flags[1], change.step, change.position)


def _branch_agreement(branch: Trajectory, parent: Trajectory, **params: Any) -> go.Figure:
    like = _likeness(branch, parent, params)
    agreement = {"aligned": like.aligned_by_step, "by position": like.by_step}
    return curves(lines(agreement), "step", "agreement", _change(branch).step, percent=True)


def _branch_sinks(branch: Trajectory, parent: Trajectory, **params: Any) -> go.Figure:
    strength = {}
    for name, each in {"the text it left": parent, "the branch": branch}.items():
        mean, flags = _sinks(each, params)
        strength[name] = CURVES["strength"].compute(mean, flags, np.ones_like(flags))
    return curves(lines(strength), "step", "attention to sinks", _change(branch).step, percent=True)


# --- parallel writing -------------------------------------------------------------------------------------------


def _tokens_written(recording: Trajectory, beside: Beside = None) -> go.Figure:
    counts = {name: tokens_written(each) for name, each in together(recording, beside).items()}
    return curves(lines(counts), "forward", "tokens written")


def _parallel_sinks(recording: Trajectory, alone: Trajectory, **params: Any) -> go.Figure:
    if not is_pair(recording.info.sampling, alone.info.sampling):
        raise UserError(
            "This takes a recording with a confidence threshold, and as `alone` the same with one token per forward. "
            "Record both with `run('record', OUT, compare_parallel=True, …)`."
        )
    effect = parallel_effect(with_relative_mass(recording), with_relative_mass(alone), SinkParams(**params))
    even = "even split over its sinks"
    shares = {"with a threshold": effect.strength, "one token per forward": effect.strength_alone, even: effect.even}
    drawn = lines(shares, effect.before, [even])
    return curves(drawn, "tokens already written", "attention to sinks", percent=True)


# --- another recording of the prompt ----------------------------------------------------------------------------


def _filled(recording: Trajectory, other: Trajectory) -> go.Figure:
    divergence = compare_texts(text_of(recording), text_of(other))
    length = divergence.filled.shape[1]
    differ = recording.final[:length] != other.final[:length]
    return filled_in(divergence, (recording.labels(), other.labels()), differ).figure


def _agreement(recording: Trajectory, other: Trajectory, **params: Any) -> go.Figure:
    sinks = _sinks(recording, params)[1], _sinks(other, params)[1]
    return agreement_over_steps(compare_texts(text_of(recording), text_of(other)), sinks, other.state).figure


def _flips(recording: Trajectory, other: Trajectory, pairs: Sequence[tuple[Trajectory, Trajectory]] = ()) -> go.Figure:
    every = [(recording, other), *pairs]
    return flips_over_prompts([compare_texts(text_of(one), text_of(two)).flips for one, two in every]).figure


def _kept_attention(recording: Trajectory, pruned: Mapping[str, Trajectory], **params: Any) -> go.Figure:
    _, flags = _sinks(recording, params)
    members = together(recording, pruned)
    shares = {name: definitions.strength_at(definitions.mean_mass(each.mass), flags) for name, each in members.items()}
    shares[_UNIFORM] = definitions.uniform_strength(flags, recording.pattern.uniform_share)
    return curves(lines(shares, references=[_UNIFORM]), "denoising step", "share of attention", percent=True)


def _kept_by_layer(recording: Trajectory, pruned: Mapping[str, Trajectory], **params: Any) -> go.Figure:
    _, flags = _sinks(recording, params)
    shares = {}
    for name, each in together(recording, pruned).items():
        layers = [definitions.mean_mass(each.mass[:, layer : layer + 1]) for layer in range(each.layers)]
        shares[name] = np.mean([definitions.strength_at(mass, flags) for mass in layers], axis=1)
    uniform = float(definitions.uniform_strength(flags, recording.pattern.uniform_share).mean())
    floors = {_UNIFORM: np.full(recording.layers, uniform)}
    return over_depth(shares, floors, "share of attention", log=False)


ROWS = {
    "tokens written": Drawn("Tokens that each forward writes. beside: other recordings by name", _tokens_written),
    "parallel sinks": Drawn(
        "Attention to sinks at as many tokens written, with a threshold and with one token per forward. alone, k",
        _parallel_sinks,
        lambda recording: getattr(recording.info.sampling, "threshold", None) is not None,
    ),
    "branch agreement": Drawn(
        "How far a branch agrees with the text that it left, by step. parent, k", _branch_agreement, _is_branch
    ),
    "branch sinks": Drawn(
        "Attention to sinks in a branch and in the text that it left. parent, k", _branch_sinks, _is_branch
    ),
    "filled": Drawn("When each position is filled, and when in another recording of the prompt. other", _filled),
    "agreement": Drawn("How far the texts and sinks of another recording of the prompt agree. other, k", _agreement),
    "flips": Drawn(
        "Tokens that come to differ from another recording, by step. other; pairs: recordings of further prompts",
        _flips,
    ),
    "kept attention": Drawn(
        "What pruned models still pay to this recording's sinks, by step. pruned: their recordings by name; k",
        _kept_attention,
    ),
    "kept by layer": Drawn("The same by layer. pruned, k", _kept_by_layer),
}
