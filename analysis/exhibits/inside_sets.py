"""Measures inside a model at its sinks over many prompts, with intervals over prompts. Imports no torch.

Shapes: N prompts, L layers, R random-weight models. NaN where a prompt has nothing to measure.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.exhibits.inside import RANDOM
from analysis.figures.dynamics import Series, curves
from analysis.figures.export import Exhibit
from analysis.findings.sets import beyond
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import LEAST_MODELS
from analysis.recording.set_words import layers_in_words
from analysis.sinks import geometry
from analysis.sinks.intervals import FEW_PROMPTS, LEAST_PROMPTS, Estimates, paired_difference, quotient

_BAND = "Mean over {prompts} prompts with its 95 % interval."


def channels_over_prompts(carried: np.ndarray, chance: np.ndarray) -> tuple[Exhibit, list[str]]:
    """Show how often a sink carries a layer's largest residual channel, (N, L), beside a random token of the same
    state.
    """
    lines = {"on a sink": quotient(carried), "by chance": quotient(chance)}
    sentences = _beyond(
        _apart(carried, chance),
        len(carried),
        "{layers}: sinks carry the largest residual channel more often than random tokens of the same state.",
        "{layers}: sinks carry the largest residual channel less often than random tokens of the same state.",
    )
    shown = _by_layer(
        "channels-over-prompts",
        "How often a sink carries the largest residual channel",
        "In which share of the steps its token is a sink, beside a random token of the same state.",
        "$\\operatorname{mean}_t [\\operatorname{argmax}_{s,c} |h_{t,l,s,c}| \\in \\text{sinks}_t]$",
        lines,
        len(carried),
        "share of the steps",
        "by chance",
        percent=True,
    )
    return shown, sentences


def lens_over_prompts(hits: np.ndarray, counts: np.ndarray, where: str) -> tuple[Exhibit, list[str]]:
    """Show how many undecided sinks, and other undecided tokens, a layer already reads as what they become. hits (N, 2,
    L), counts (N, 2): of sinks and of the others. where: the step.
    """
    of = [np.broadcast_to(counts[:, side, None], hits[:, side].shape) for side in (0, 1)]
    lines = {
        name: quotient(hits[:, side], of[side]) for side, name in enumerate(("undecided sinks", "other undecided"))
    }
    sentences = _beyond(
        paired_difference((hits[:, 0], of[0]), (hits[:, 1], of[1])),
        int(((counts > 0).all(axis=1)).sum()),
        "{layers}: undecided sinks are read as the token they become more often than other undecided tokens.",
        "{layers}: undecided sinks are read as the token they become less often than other undecided tokens.",
    )
    shown = _by_layer(
        "lens-over-prompts",
        "How many undecided tokens a layer reads as what they become",
        f"Sinks beside the others, {where}.",
        "$\\operatorname{argmax} W\\,\\operatorname{norm}(h_l)$ is the token that the position becomes.",
        lines,
        len(hits),
        "share of the tokens",
        "other undecided",
        percent=True,
    )
    return shown, sentences


def queries_over_prompts(
    apart: np.ndarray, permuted: np.ndarray, clusters: np.ndarray | None = None
) -> tuple[Exhibit, list[str]]:
    """Show how far the tokens that undecided and written queries attend to are apart, (N, L), and the same with the
    states of the queries permuted. clusters (N,): numbers of the prompts' clusters.
    """
    lines = {
        "undecided against written": quotient(apart, clusters=clusters),
        "states permuted": quotient(permuted, clusters=clusters),
    }
    told = np.isfinite(apart).any(axis=1)
    sentences = _beyond(
        _apart(apart, permuted, clusters),
        len(told) if clusters is None else len(set(clusters[told].tolist())),
        "{layers}: undecided and written queries attend to different tokens, further apart than with permuted states.",
        "{layers}: undecided and written queries attend to more similar tokens than with permuted states.",
    )
    shown = _by_layer(
        "queries-over-prompts",
        "Distance between what undecided and written queries attend to",
        "Total-variation distance of the two mean distributions over keys: 0 where they are the same, 1 where they "
        "share no token.",
        "$\\operatorname{mean}_{t,h} \\frac{1}{2} \\sum_s "
        "|p^{\\text{undecided}}_{t,l,h,s} - p^{\\text{written}}_{t,l,h,s}|$",
        lines,
        len(apart),
        "total-variation distance",
        "states permuted",
    )
    return shown, sentences


def queries_apart(recordings: RecordingSet) -> Exhibit | None:
    """Return `queries_over_prompts` of a set with what lies beyond the null as its finding; None where the set was not
    recorded by query state or no query was undecided.
    """
    if not recordings.info.by_query:
        return None
    arrays = recordings.part("trained")
    if not np.isfinite(arrays["apart"]).any():
        return None
    shown, sentences = queries_over_prompts(arrays["apart"], arrays["apart_permuted"], recordings.clusters)
    return replace(shown, finding=" ".join(sentences))


def geometry_over_prompts(name: str, models: Mapping[str, np.ndarray], random: np.ndarray) -> tuple[Exhibit, list[str]]:
    """Show a row of `geometry.MEASURES` by layer. models: name -> (N, L), the main model first; random (N, R, L)."""
    measure = geometry.MEASURES[name]
    own = next(iter(models.values()))
    lines = {model: quotient(values) for model, values in models.items()}
    prompts, count = random.shape[:2]
    if count:
        lines[RANDOM] = quotient(random.mean(axis=1))
    sentences: list[str] = []
    if count >= LEAST_MODELS:
        each = [_apart(own, random[:, number]) for number in range(count)]
        closest = Estimates(
            each[0].value,
            np.min([difference.low for difference in each], axis=0),
            np.max([difference.high for difference in each], axis=0),
        )
        title = measure.title[0].lower() + measure.title[1:]
        sentences = _beyond(
            closest,
            prompts,
            f"{{layers}}: the {title} is larger than in each of {count} models of its shape with random weights.",
            f"{{layers}}: the {title} is smaller than in each of {count} models of its shape with random weights.",
        )
    shown = _by_layer(
        f"geometry-{name}-over-prompts",
        measure.title,
        f"The mean over steps, beside {count} models with random weights on the same inputs.",
        measure.formula,
        lines,
        prompts,
        measure.axis,
        RANDOM,
    )
    return shown, sentences


def _apart(first: np.ndarray, second: np.ndarray, clusters: np.ndarray | None = None) -> Estimates:
    """Return the mean of the first minus that of the second over prompts, (N, L) each."""
    ones = np.ones_like(first)
    return paired_difference((first, ones), (second, ones), clusters)


def _by_layer(
    name: str,
    title: str,
    sentence: str,
    formula: str,
    lines: Mapping[str, Estimates],
    prompts: int,
    axis: str,
    reference: str,
    percent: bool = False,
) -> Exhibit:
    """Show a line per series over the layers, with its band. reference: label of the reference line."""
    tables, series = [], []
    for label, line in lines.items():
        layers = np.arange(len(line.value))
        tables.append(
            pd.DataFrame({"layer": layers, "of": label, axis: line.value, "low": line.low, "high": line.high})
        )
        series.append(Series(label, layers, line.value[None], label == reference, line.low, line.high))
    few = FEW_PROMPTS if prompts < LEAST_PROMPTS else ""
    return Exhibit(
        title,
        f"{sentence} {_BAND.format(prompts=prompts)}{few}",
        curves(series, "layer", axis, percent=percent),
        pd.concat(tables),
        formula=formula,
        name=name,
    )


def _beyond(difference: Estimates, prompts: int, above: str, below: str) -> list[str]:
    """Say in which layers the difference lies on one side of zero; nothing for too few prompts."""
    if prompts < LEAST_PROMPTS:
        return []
    sides = ((words, np.flatnonzero(beyond(difference, sign))) for words, sign in ((above, 1), (below, -1)))
    count = len(difference.value)
    return [words.format(layers=layers_in_words(layers, count)) for words, layers in sides if len(layers)]
