"""Figures and tables of the inside of a model at its sinks, for the page and the command line alike: massive
activations, the logit lens, geometry, and two texts of one prompt. Imports no torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.causes import channel_map, filled_steps, interval_curve, lens_map
from analysis.figures.dynamics import Series, curves, lines
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.recording.trajectory import Trajectory
from analysis.sinks import geometry, massive, step_inputs
from analysis.sinks.agreement import (
    Text,
    TextDivergence,
    mean_with_interval,
    rank_agreement,
    shared_sinks,
    text_over_steps,
)
from analysis.sinks.intervals import FEW_PROMPTS, LEAST_PROMPTS
from analysis.words import counted, percent

RANDOM = "random weights"
OVER_PROMPTS = "Band: the 95 % interval of the mean over prompts, of each {axis} by itself."


def text_of(trajectory: Trajectory) -> Text:
    """Return a recording's text by step."""
    mask_token = trajectory.info.model.mask_token
    return text_over_steps(trajectory.tokens, trajectory.state, trajectory.final, mask_token)


# --- massive activations ----------------------------------------------------------------------------------------


def channels_by_layer(trajectory: Trajectory, sinks: np.ndarray, definition: str = "") -> Exhibit:
    """Show the largest residual channel of each layer and step of a recording that kept them. sinks (T, S). definition:
    of a sink, as Markdown.
    """
    channel, position, value, median = _kept(trajectory)
    carried, ratio = massive.on_sinks(position, sinks)[..., 0], massive.ratios(value, median)
    words, names = (
        [list(map(called(step).__getitem__, position[step, :, 0])) for step in range(trajectory.steps)]
        for called in (trajectory.labels, trajectory.names.at)
    )
    step, layer = (axis.ravel() for axis in np.indices(ratio.shape))
    return Exhibit(
        "The largest residual channel of each layer and step",
        "How many times the median magnitude it reaches; squares where its token is a sink of the step.",
        channel_map(ratio, channel[..., 0], carried, names),
        pd.DataFrame(
            {
                "step": step,
                "layer": layer,
                "channel": channel[..., 0].ravel(),
                "position": position[..., 0].ravel(),
                "token": [word for row in words for word in row],
                "value": value[..., 0].ravel(),
                "times the median": ratio.ravel(),
                "on a sink": carried.ravel(),
            }
        ),
        formula=(
            "Behind each layer, $\\max_{s,c} |h_{s,c}| / \\operatorname{median}_{s,c} |h_{s,c}|$ of the residual "
            "stream. Massive: above 100 and 1,000 times the median (Sun et al., arXiv 2402.17762).\n\n" + definition
        ),
        finding=massive.sentence(
            massive.channels(channel, position, value, median, sinks, trajectory.state),
            *carried_by_layer(trajectory, sinks),
            float(massive.massive(value, median).mean()),
        ),
        name="channels",
    )


def largest_channels(trajectory: Trajectory, sinks: np.ndarray) -> pd.DataFrame:
    """Return every channel that is the largest somewhere, most frequent first."""
    channel, position, value, median = _kept(trajectory)
    channels = massive.channels(channel, position, value, median, sinks, trajectory.state)
    names = {
        "number": "channel",
        "share": "largest in",
        "largest": "times the median, at most",
        "on_sinks": "on a sink",
        "chance": "by chance",
    }
    return pd.DataFrame([vars(row) for row in channels]).rename(columns=names)


def carried_by_layer(trajectory: Trajectory, sinks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whether a sink carries the largest channel of a step and layer, and the chance that a random token of the
    same state is one, (T, L) each.
    """
    _, position, _, _ = _kept(trajectory)
    chance = massive.chance_on_sinks(position, sinks, trajectory.state)
    return massive.on_sinks(position, sinks)[..., 0], chance[..., 0]


def _kept(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return channel, position and value (T, L, K), and median (T, L). Raises ValueError if they were not kept."""
    channel, position = trajectory.largest_channel, trajectory.largest_position
    value, median = trajectory.largest_value, trajectory.largest_median
    if channel is None or position is None or value is None or median is None:
        raise ValueError("This recording was made without its residual channels.")
    return channel, position, value, median


# --- logit lens -------------------------------------------------------------------------------------------------


def lens_by_layer(
    trajectory: Trajectory, step: int, at: np.ndarray, read: Mapping[str, Any], sinks: np.ndarray, definition: str = ""
) -> Exhibit:
    """Show what the undecided tokens at positions `at` (N,) of a step become, layer by layer. read: the summary of a
    `lens` job on them. sinks (N,) bool.
    """
    names = trajectory.info.tokens
    becomes, shown = trajectory.final[at].tolist(), trajectory.names.short()
    hits, probability = np.array(read["hits"]), np.array(read["becomes"], np.float32)
    layer, index = (axis.ravel() for axis in np.indices(hits.shape))
    return Exhibit(
        f"What the undecided tokens of step {step} become, layer by layer",
        "Colour: the probability that a layer gives to the token the position becomes in the end. Sinks are marked.",
        lens_map(probability, read["words"], [shown[position] for position in at], sinks),
        pd.DataFrame(
            {
                "layer": layer,
                "position": at[index],
                "sink": sinks[index],
                "becomes": [names[becomes[number]] for number in index],
                "its probability": probability.ravel(),
                "likeliest": [word for row in read["words"] for word in row],
            }
        ),
        formula=(
            "$\\operatorname{softmax}(W\\,\\operatorname{norm}(h_l))$ with the model's own last norm and head $W$ "
            "(nostalgebraist 2020).\n\n" + definition
        ),
        finding=step_inputs.sentence(hits, sinks),
        name="lens",
    )


# --- geometry ---------------------------------------------------------------------------------------------------


def geometry_over(
    name: str, axis: str, steps: Sequence[int], models: Mapping[str, np.ndarray], random: np.ndarray
) -> Exhibit:
    """Show a row of `geometry.MEASURES` by 'layer' or 'denoising step'. models: name -> (T, L, …); random (R, T,
    L, …).
    """
    measure = geometry.MEASURES[name]
    by_layer = axis == "layer"
    mean = geometry.by_layer if by_layer else geometry.by_step
    lines = {model: mean(values)[None] for model, values in models.items()}
    if len(random):
        lines[RANDOM] = np.stack([mean(row) for row in random])
    first = next(iter(lines.values()))
    finding = geometry.sentence(first[0], lines[RANDOM], axis) if len(random) else ""
    x = np.arange(first.shape[1]) if by_layer else np.array(steps)
    over = "mean over the steps" if by_layer else "mean over the layers"
    return Exhibit(
        f"{measure.title} by {axis}",
        f"The {over}; the band is the range of {len(random)} models with random weights.",
        curves([Series(line, x, values, line == RANDOM) for line, values in lines.items()], axis, measure.axis),
        pd.concat(
            [
                pd.DataFrame({axis: x, "model": line, "number": number, measure.axis: row})
                for line, values in lines.items()
                for number, row in enumerate(values)
            ]
        ),
        formula=measure.formula,
        finding=finding,
        name=f"geometry-{name}-by-{axis.split()[-1]}",
    )


# --- two texts of one prompt ------------------------------------------------------------------------------------


def filled_in(
    divergence: TextDivergence,
    labels: tuple[list[str], list[str]],
    differ: np.ndarray,
    names: tuple[str, str] = ("this text", "the text beside"),
) -> Exhibit:
    """Show when two texts of one prompt fill each position. labels: tokens of the finished texts; differ (S,) bool;
    names: of the texts.
    """
    length = divergence.filled.shape[1]
    return Exhibit(
        "When each position is filled",
        "Two marks per position, joined where the steps differ; orange where the tokens differ in the end.",
        filled_steps(divergence.filled, differ, labels[0][:length], names),
        pd.DataFrame(
            {
                "position": np.arange(length),
                "token here": labels[0][:length],
                "token beside": labels[1][:length],
                "step here": divergence.filled[0],
                "step beside": divergence.filled[1],
            }
        ),
        formula=(
            "The step in which a position got its last decision. Kendall's $\\tau$-b compares the orders; positions of "
            "one step are ties."
        ),
        finding=divergence_in_words(divergence, *labels),
        name="filled",
    )


def agreement_over_steps(
    divergence: TextDivergence, sinks: tuple[np.ndarray, np.ndarray], state: np.ndarray, definition: str = ""
) -> Exhibit:
    """Show how far two texts and their sinks agree, by step. sinks: of both, (T, S) bool; state (T, S): the
    second's.
    """
    shared, chance = shared_sinks(*sinks, state)
    by_chance = "sinks in common by chance"
    of_tokens = {"tokens, aligned": divergence.aligned, "tokens by position": divergence.agreement}
    of_sinks = {"sinks in common": shared, by_chance: chance}
    return Exhibit(
        "Agreement and sinks in common, step by step",
        "Aligned: of what each text has decided, how much stands in both in the same order. By position: of the tokens "
        "that both have decided, how many are the same. And of this text's sinks, how many are sinks beside it, with "
        "what chance gives.",
        curves(lines(of_tokens | of_sinks, references=[by_chance]), "denoising step", "share", percent=True),
        pd.DataFrame({"step": np.arange(len(divergence.flips)), **of_tokens, "flips": divergence.flips}).merge(
            pd.DataFrame({"step": np.arange(len(shared)), "sinks in common": shared, "by chance": chance}),
            on="step",
            how="outer",
        ),
        formula=(
            "Aligned: the F1 of the longest common subsequence of tokens. Sinks in common by chance: as many sinks at "
            "random positions of the same state, $\\sum_g |A \\cap g|\\,|B \\cap g| / (|g|\\,|A|)$.\n\n" + definition
        ),
        finding=finding_of("common sinks", shared, chance, int(sinks[0].any(axis=0).sum())),
        name="agreement",
    )


def divergence_in_words(divergence: TextDivergence, here: list[str], there: list[str]) -> str:
    """Say where two texts diverge, with numbers, for this one prompt. here, there: their finished tokens."""
    if divergence.first_step is None:
        told = f"The texts are the same: {divergence.positions} of {divergence.positions} new tokens."
    else:
        at = int(divergence.first_positions[0])
        others = len(divergence.first_positions) - 1
        more = f" and {counted(others, 'other position')}" if others else ""
        told = (
            f"The texts first differ after step {divergence.first_step}, at position {at} (in the end ‘{here[at]}’ "
            f"against ‘{there[at]}’){more}. Aligned, the finished texts have "
            f"{percent(divergence.finished.aligned, 0)} of their new tokens in common, "
            f"{percent(divergence.chance, 0)} if one were in random order; by position "
            f"{percent(divergence.finished.by_position, 0)}."
        )
    if np.isfinite(divergence.other_step):
        tau = rank_agreement(divergence.filled)
        order = f" Kendall’s τ of the order is {tau:.2f}." if np.isfinite(tau) else ""
        told += f" {percent(divergence.other_step, 0)} of the positions are filled in another step.{order}"
    return told + " This is one prompt: it says nothing of others."


def flips_over_prompts(flips: Sequence[np.ndarray]) -> Exhibit:
    """Show flips per step over prompts, (T,) each, of two models."""
    mean, low, high = mean_with_interval(flips)
    value, least, most = (float(end[0]) for end in mean_with_interval([row.sum(keepdims=True) for row in flips]))
    few = FEW_PROMPTS if len(flips) < LEAST_PROMPTS else ""
    finding = finding_of("flips", least, value, most, mean)
    number = "" if finding else f"{value:.1f} tokens per text come to differ ({least:.1f} to {most:.1f}). "
    return Exhibit(
        f"Flips per step over {len(flips)} prompts",
        f"{number}The interval covers the choice of prompts; one sampler seed and one pruned model were used.{few}",
        interval_curve(mean, low, high, "tokens that come to differ"),
        pd.DataFrame({"step": np.arange(len(mean)), "mean": mean, "low": low, "high": high}),
        formula=(
            "A flip: both texts have decided a position and its tokens differ, which was not so a step before. "
            + OVER_PROMPTS.format(axis="step")
        ),
        finding=finding,
        name="flips",
    )
