"""Contrast of a diffusion model's set of recordings with a left-to-right model's on the same prompts: do its sinks
move more, and does that take training? NumPy only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import arrays_of, enough
from analysis.sinks.intervals import LEAST_PROMPTS, LEVEL, Estimates, paired_differences
from analysis.sinks.movement import MOVEMENT_NULLS, WEIGHT_NULLS
from analysis.words import listed, model_in_words

_VARIANCE = "centroid_variance"


@dataclass(frozen=True)
class Contrast:
    """Variance of the sinks' centre, a diffusion model's minus a left-to-right model's, over all layers and paired by
    prompt, (1,), with simultaneous intervals. trained: of the models themselves. nulls: with other weights, by null.
    beyond: trained minus each null. prompts: number of prompts compared.
    """

    diffusion: str
    causal: str
    prompts: int
    trained: Estimates
    nulls: Mapping[str, Estimates]
    beyond: Mapping[str, Estimates]


def beside(sets: Mapping[str, RecordingSet]) -> Iterator[tuple[str, str]]:
    """Yield the names of every diffusion model and every left-to-right model that share their prompts."""
    for name, one in sets.items():
        for other_name, other in sets.items():
            causal = one.info.model.attention == "causal", other.info.model.attention == "causal"
            same = [prompt.text for prompt in one.info.prompts] == [prompt.text for prompt in other.info.prompts]
            if causal == (False, True) and same:
                yield name, other_name


def families(sets: Mapping[str, RecordingSet]) -> int:
    """Count the families of comparisons that a page with these sets shows: one per set, and one per contrast."""
    return max(1, len(sets) + len(list(beside(sets))))


def contrasts(sets: Mapping[str, RecordingSet]) -> list[Contrast]:
    """Return the contrast of every pair of `beside`; everything that a page shows shares the error of 5 %."""
    level = 1 - (1 - LEVEL) / families(sets)
    return [_contrast(name, sets[name], other, sets[other], level) for name, other in beside(sets)]


def _contrast(name: str, one: RecordingSet, other_name: str, other: RecordingSet, level: float) -> Contrast:
    def variance(which: str) -> np.ndarray:
        first, second = (arrays_of(recordings, which)[_VARIANCE][:, -1] for recordings in (one, other))
        return np.asarray(first - second, np.float64)

    trained = variance("trained")
    told = [null for null in WEIGHT_NULLS if all(enough(recordings, null) for recordings in (one, other))]
    nulls = {null: variance(null) for null in told}
    values = [trained, *nulls.values(), *(trained - value for value in nulls.values())]
    ones, zeros = np.ones((len(trained), 1)), np.zeros((len(trained), 1))
    first, *others = paired_differences(
        [((value[:, None], ones), (zeros, ones)) for value in values], one.clusters, level=level
    )
    return Contrast(
        name,
        other_name,
        int(np.isfinite(trained).sum()),
        first,
        dict(zip(nulls, others[: len(nulls)], strict=True)),
        dict(zip(nulls, others[len(nulls) :], strict=True)),
    )


def contrasts_in_words(sets: Mapping[str, RecordingSet]) -> list[tuple[str, str]]:
    """Return the name of the diffusion model's set and the difference of differences in a sentence, per contrast."""
    return [(one.diffusion, _in_words(one)) for one in contrasts(sets) if one.prompts >= LEAST_PROMPTS]


def _in_words(one: Contrast) -> str:
    models = f"{model_in_words(one.diffusion)} minus {model_in_words(one.causal)}, {one.prompts} prompts"
    start = f"Variance of the sinks' centre over the steps, {models}: {_interval(one.trained)} trained"
    if not one.nulls:
        return f"{start}. The contrast without training was not recorded."
    titles = {null: MOVEMENT_NULLS[null].called for null in one.nulls}
    beside = "; ".join(f"{_interval(values)} with {titles[null]}" for null, values in one.nulls.items())
    beyond = "; ".join(f"{_interval(values)} against {titles[null]}" for null, values in one.beyond.items())
    return f"{start}; {beside}. Trained minus untrained: {beyond}. {_verdict(one, titles)}"


def _verdict(one: Contrast, titles: Mapping[str, str]) -> str:
    """Say whether training adds to the contrast, and whether there is one without training."""
    adds = [titles[null] for null, values in one.beyond.items() if values.low > 0]
    open_against = [titles[null] for null, values in one.beyond.items() if values.low <= 0]
    untrained = [titles[null] for null, values in one.nulls.items() if values.low > 0]
    said = (
        f"Training adds to the contrast compared with {listed(adds)}"
        if adds
        else "Training does not add to it significantly"
    )
    said += f"; not significantly compared with {listed(open_against)}." if adds and open_against else "."
    return said + (f" The contrast also appears without training: with {listed(untrained)}." if untrained else "")


def _interval(estimate: Estimates) -> str:
    value, low, high = (f"{end.item():+.4f}".replace("-", "−") for end in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
