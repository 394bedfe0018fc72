"""Massive activations: the largest channels of the residual stream, and whether sinks carry them. NumPy only.

Few channels of a few tokens reach thousands of times the median magnitude (Sun et al., Massive Activations in Large
Language Models, arXiv 2402.17762), in diffusion language models too (arXiv 2605.06366). Shapes: T steps, L layers, K
channels kept, largest first, S positions.
"""

from dataclasses import dataclass

import numpy as np

from analysis.words import percent

MASSIVE_VALUE, MASSIVE_RATIO = 100, 1000  # Sun et al.: larger than 100 and a thousand times the median


def ratios(value: np.ndarray, median: np.ndarray) -> np.ndarray:
    """The largest magnitude of each layer and step in units of the median one, (T, L). value (T, L, K), median (T, L).

    NaN where the median is 0.
    """
    return np.abs(value[..., 0]) / np.where(median > 0, median, np.nan)


def massive(value: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Flag where the largest one is massive as Sun et al. define it, (T, L) bool."""
    return (np.abs(value[..., 0]) > MASSIVE_VALUE) & (np.abs(value[..., 0]) > MASSIVE_RATIO * median)


def on_sinks(position: np.ndarray, sinks: np.ndarray) -> np.ndarray:
    """Flag whether the token of each channel kept is a sink of its step, (T, L, K) bool. sinks (T, S)."""
    return sinks[np.arange(len(position))[:, None, None], position]


def chance_on_sinks(position: np.ndarray, sinks: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Return the chance that a random token of the same state is a sink of the step, for each channel's token, (T, L,
    K).

    state (T, S): of the tokens of each step.
    """
    step = np.arange(len(position))[:, None, None]
    share = np.zeros(state.shape)
    for value in np.unique(state):
        group = state == value
        share[group] = np.broadcast_to(
            ((group & sinks).sum(axis=1) / np.maximum(group.sum(axis=1), 1))[:, None], state.shape
        )[group]
    return share[step, position]


@dataclass(frozen=True)
class Channel:
    """One residual channel: the share of layers and steps in which it is the largest of all; its largest magnitude in
    units of the median; in those layers and steps, the share in which its token is a sink, and what chance gives.
    """

    number: int
    share: float
    largest: float
    on_sinks: float
    chance: float


def channels(
    channel: np.ndarray,
    position: np.ndarray,
    value: np.ndarray,
    median: np.ndarray,
    sinks: np.ndarray,
    state: np.ndarray,
) -> list[Channel]:
    """The channels that are the largest in some layer and step, the most frequent first."""
    top = channel[..., 0]
    ratio, carried = ratios(value, median), on_sinks(position, sinks)[..., 0]
    chance = chance_on_sinks(position, sinks, state)[..., 0]
    channels = []
    for number in np.unique(top):
        at = top == number
        there = ratio[at][np.isfinite(ratio[at])]
        channels.append(
            Channel(
                int(number),
                float(at.mean()),
                float(there.max()) if len(there) else np.nan,
                float(carried[at].mean()),
                float(chance[at].mean()),
            )
        )
    return sorted(channels, key=lambda channel: -channel.share)


def sentence(channels: list[Channel], carried: np.ndarray, chance: np.ndarray, massive_share: float) -> str:
    """Say in numbers which channel is the largest and whether sinks carry it, beside chance.

    carried, chance (T, L): of the largest channel of each layer and step.
    """
    if not channels:
        return ""
    first, rare = channels[0], f"{percent(massive_share, 0)} are" if massive_share else "None is"
    return (
        f"In {percent(carried.mean(), 0)} of the layers and steps a sink carries the largest residual channel; a "
        "random token "
        f"of the same state would be a sink in {percent(chance.mean(), 0)}. Channel {first.number} is the largest in "
        f"{percent(first.share, 0)} of them, up to {first.largest:,.0f} times the median. {rare} "
        "massive by "
        "the published rule (above 100 and 1,000 times the median). One prompt, whose layers and steps are much alike: "
        "no interval is given."
    )
