"""Findings on written texts: how sure the model was, and the effect of one changed token. T steps, N tokens."""

from collections.abc import Sequence

import numpy as np

from analysis.words import counted, percent


def written_text(confidence: np.ndarray, names: Sequence[str], prompt: int = 0) -> str:
    """Say how sure a model was of its text: confidence (T, N), the probability of each token when it was chosen, NaN if
    none was. names (N,): of the finished tokens. prompt: number of prompt tokens, whose masks count as well.

    An edited token counts as last chosen.
    """
    chosen = np.isfinite(confidence)
    if not chosen.any():
        return ""
    last = len(confidence) - 1 - np.argmax(chosen[::-1], axis=0)
    sure = np.where(chosen.any(axis=0), confidence[last, np.arange(confidence.shape[1])], np.nan)
    least = int(np.nanargmin(sure))
    said = f"{counted(int(np.isfinite(sure).sum()), 'token')} in {counted(len(confidence), 'forward')}"
    inside = int(np.isfinite(sure[:prompt]).sum())
    said += f" ({inside} of them in the prompt)" if inside else ""
    if np.isfinite(sure).sum() < 2 or np.nanmax(sure) == np.nanmin(sure):
        return f"{said}."
    return (
        f"{said}: half had a probability of {percent(float(np.nanmedian(sure)))} or more when chosen; the least likely "
        f"was {names[least]}, with {percent(float(sure[least]))}."
    )


def discounted_tokens(weights: np.ndarray, names: Sequence[str]) -> str:
    """Count a text's tokens with weights below half: weights ω (N,). names (N,): of the tokens."""
    light = int((weights < 0.5).sum())
    if not light:
        return ""
    least = int(np.argmin(weights))
    verb = "counts" if light == 1 else "count"
    return (
        f"{light} of {counted(len(weights), 'token')} {verb} less than half; least: {names[least]}, "
        f"ω = {weights[least]:.2g}."
    )


def branch_agreement(by_position: np.ndarray, step: int, aligned: float, chance: float) -> str:
    """Say when a branch diverges from its original: by_position (T,), the share of tokens decided in both before each
    step that agree at their position, NaN if there is none. step: whose outcome was changed. aligned: agreement of the
    finished texts; chance: with the tokens of one in random orders.
    """
    after = np.arange(len(by_position)) > step
    there = np.flatnonzero(np.isfinite(by_position) & after)
    if not len(there):
        return ""
    apart = there[by_position[there] < 1]
    if not len(apart) and aligned == 1:
        return "No other token that both texts have decided differs in any step."
    first = f"Another token first differs before step {int(apart[0])}" if len(apart) else "Only the last step differs"
    beside = "against" if aligned > chance else "no more than"
    return (
        f"{first}; the finished texts have {percent(aligned)} of their tokens in common, {beside} {percent(chance)} of "
        "the same tokens in random order."
    )


def branch_sinks(left: np.ndarray, branch: np.ndarray, step: int) -> str:
    """Compare the attention that sinks take in both texts after the branch, left (T,) and branch (T',) shares."""
    means = [float(np.nanmean(each[step + 1 :])) for each in (left, branch) if np.isfinite(each[step + 1 :]).any()]
    if len(means) < 2 or percent(means[0]) == percent(means[1]):
        return ""
    return (
        f"After step {step} sinks take {percent(means[1])} of all attention in the branch and {percent(means[0])} in "
        "the text that it left, on average over the steps."
    )


def parallel_writing(threshold: float, written: np.ndarray, alone: np.ndarray, aligned: float, chance: float) -> str:
    """Say how many forwards a threshold saves, and whether the text stays the same. written (T,), alone (T',): tokens
    per forward, with the threshold and one by one. aligned: agreement of the two texts; chance: the same with the
    tokens of one in random order.
    """
    shared = f"The texts share {percent(aligned)} of their tokens, aligned ({percent(chance)} in random order)."
    return (
        f"Threshold {threshold:g}: {counted(int(written.sum()), 'token')} in {counted(len(written), 'forward')}, "
        f"{written.mean():.2g} per forward and {int(written.max())} at most; one by one it took "
        f"{counted(len(alone), 'forward')}. {'Both texts are the same.' if aligned == 1 else shared}"
    )


def parallel_sinks(
    strength: np.ndarray, even: np.ndarray, strength_alone: np.ndarray, even_alone: np.ndarray, common: np.ndarray
) -> str:
    """Say how much attention sinks take at equal numbers of tokens written: shares (N,) under a threshold and one by
    one, beside an even split over the same positions, and the Jaccard index of the two sets of sinks, NaN without any.
    """
    if not len(strength):
        return ""
    shared = np.isfinite(common)
    same = f"; {percent(float(common[shared].mean()))} of the sinks are common to both" if shared.any() else ""
    return (
        f"With as many tokens written, sinks take {percent(float(strength.mean()))} of attention (an even split: "
        f"{percent(float(even.mean()))}), and {percent(float(strength_alone.mean()))} "
        f"({percent(float(even_alone.mean()))}) where one token is written per forward{same}."
    )
