"""Results built to satisfy a claim, or to break it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from analysis.claims.evidence import Found
from analysis.evaluation.sweep_scores import Setting
from analysis.jobs.claim_measures import NULLS, TRAINED
from analysis.jobs.summaries import ClaimMeasuresSummary, HiddenAccuracy
from analysis.recording.set_file import RecordingSet
from analysis.specs import CLAIM_MEASURES, Claim, ModelSpec, PruneSpec

PROMPTS, MODELS, LAYERS = 40, 3, 2
BASE = 0.5  # what a null, and other weights, give


def found_for(claim: Claim, sign: float) -> Found:
    """Data on which a claim's number lies far beyond its null in the claimed direction (sign 1), or the other way (−1);
    0: as its null.
    """
    shift = sign * claim.direction * 4 * claim.margin
    return Found(
        MODELS,
        np.arange(PROMPTS),
        recordings_with(shift),
        measured_with(shift),
        measured_with(0.0, first=50),
        settings_with(shift),
        reference="twin-model",
    )


def _noise(number: int) -> np.ndarray:
    return 0.002 * np.random.default_rng(number).standard_normal(PROMPTS)


def measured_with(shift: float, first: int = 0) -> ClaimMeasuresSummary:
    """Measurements of a model whose numbers lie `shift` above their null in every prompt, beside other weights.
    first: seeds the noise of prompts.
    """

    def network(number: int, shift: float) -> dict[str, list[list[float] | None]]:
        values, nulls = BASE + shift + _noise(first + number), BASE + _noise(first + 100 + number)
        pairs: list[list[float] | None] = [list(pair) for pair in zip(values, nulls, strict=True)]
        return {name: pairs for name in CLAIM_MEASURES if not CLAIM_MEASURES[name].items}

    networks = {
        null: [network(index + 10 * place, 0.0) for index in range(MODELS)] for place, null in enumerate(NULLS, 1)
    }
    summary = {
        "networks": {TRAINED: [network(0, shift)], **networks},
        "accuracy": accuracy_with(shift),
        "prompts": PROMPTS,
        "fingerprint": "built",
    }
    return cast(ClaimMeasuresSummary, summary)


def accuracy_with(shift: float, items: int = 400) -> HiddenAccuracy:
    """Answers of a model that loses `shift` more than 0.3 of its accuracy with its sinks hidden, and else nothing."""
    luck = np.random.default_rng(0).random(items)
    right = {name: (luck < level).astype(float).tolist() for name, level in (("others", 0.9), ("hidden", 0.6 - shift))}
    keys = [f"item {number}" for number in range(items)]
    return HiddenAccuracy(
        keys=keys,
        clusters=keys,
        chances=[0.25] * items,
        untouched=right["others"],
        hidden=right["hidden"],
        others=right["others"],
    )


class _Set:
    """A set of recordings of which only sums over layers are asked."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays, self.clusters = arrays, np.arange(PROMPTS)
        self.info = type("Info", (), {"seeds_of": lambda self, null: tuple(range(MODELS))})()

    def sums(self, which: str) -> dict[str, np.ndarray]:
        """The arrays of a part, without its name."""
        return {name.split(".")[1]: values for name, values in self.arrays.items() if name.startswith(f"{which}.")}


def recordings_with(shift: float) -> RecordingSet:
    """Sums of a set whose shares change, and whose sinks are replaced, by `shift` more than in every null."""
    arrays: dict[str, np.ndarray] = {}
    for place, which in enumerate((TRAINED, "fixed", "shuffled", *NULLS)):
        models = (MODELS,) if which in NULLS else ()
        level = BASE + (shift if which == TRAINED else 0.0)
        values = np.broadcast_to(level + _noise(place), (*models, PROMPTS))
        scopes = np.broadcast_to(values[..., None], (*values.shape, LAYERS + 1))
        arrays |= {
            f"{which}.change_squares": 100 * scopes**2,
            f"{which}.changes": np.full(values.shape, 100.0),
            f"{which}.births": 100 * np.repeat(scopes[..., None], 4, axis=-1) / 4,
            f"{which}.deaths": 100 * np.repeat(scopes[..., None], 4, axis=-1) / 4,
            f"{which}.alive": np.full((*values.shape, LAYERS + 1), 100.0),
        }
    return cast(RecordingSet, _Set(arrays))


def settings_with(shift: float) -> tuple[Setting, ...]:
    """A method with the discount and its control over six seeds and 400 items, whose accuracies lie `shift` apart."""
    rng, seeds, items = np.random.default_rng(0), tuple(range(6)), 400
    dense = (rng.random(items) < 0.9).astype(float)
    chance = rng.random((len(seeds), items))
    clusters = np.arange(items)

    def setting(method: str, accuracy: float) -> Setting:
        pruning = PruneSpec(model=ModelSpec(source="bundled"), method=method, sparsity=0.7, out="")
        scores = (chance < accuracy).astype(float)
        return Setting(
            pruning, seeds, len(seeds), {"task": (scores, dense, clusters)}, {"task": "Task"}, {"task": 0.25}
        )

    return setting("wanda-noised", 0.6), setting("sink-wanda", 0.6 + shift)


def without(found: Found, **changes: object) -> Found:
    """The same data without some of them."""
    return replace(found, **changes)  # type: ignore[arg-type]
