"""The file of a set of recordings: for every prompt, what was added up over its recording. Writer and reader; NumPy
only, so that pages and the command line open it without a model.

Shapes: N prompts, R models of a null that is other weights, G scopes (the layers, then all layers together), K kinds of
token, C what births and deaths coincide with, V ways of counting sinks, M curves, D curves that parts of the tokens
have, P such parts, T steps of the longest recording, A measures of heads, L layers, H heads. NaN where such a model did
not see a prompt, and where a recording has ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError, safe_open

from analysis.errors import UserError, damage
from analysis.recording.trajectory import RecordedModel
from analysis.recording.trajectory_file import write
from analysis.sinks.definitions import KINDS, mean_of_finite
from analysis.sinks.layer_run import CHECKS
from analysis.sinks.metrics import CURVES
from analysis.sinks.movement import COINCIDENCES, WEIGHT_NULLS
from analysis.sinks.step_inputs import undecided_named
from analysis.specs import Sampling, SinkParams, sentence

FORMAT: Final = "sinkscope-recording-set-1"
ALL_LAYERS = "all layers together"  # the last scope
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]

BY_KIND = {
    "steps": "",
    "sinks": "GK",
    "share": "GK",
    "attention": "GK",
    "runs": "GK",
    "lived": "GK",
    "tokens": "K",
    "token_share": "GK",
}
"""Sums of `layer_run.sums_by_kind`, and the shape of each after the prompts."""
MOVEMENT = {
    "pairs": "",
    "change_squares": "G",
    "changes": "",
    "births": "GC",
    "deaths": "GC",
    "alive": "G",
    "centroid_variance": "G",
}
"""The same of `movement.movement`."""
SHAPES: dict[str, str] = {
    **{f"trained.{name}": f"N{shape}" for name, shape in (BY_KIND | MOVEMENT).items()},
    **{f"{null}.{name}": f"RN{shape}" for null in WEIGHT_NULLS for name, shape in (BY_KIND | MOVEMENT).items()},
    **{f"{null}.{name}": f"N{shape}" for null in ("shuffled", "fixed") for name, shape in MOVEMENT.items()},
    "trained.curves": "NGMT",
    "random.curves": "NGMT",
    "trained.counts": "NGTK",
    "trained.split_curves": "NPGDT",
    "trained.heads": "NALH",
    "random.heads": "RNALH",
    "trained.variants": "NVGK",
    **{f"trained.{name}": f"N{shape}" for name, shape in CHECKS.items()},
    "trained.half_sinks": "NGK",
    "trained.half_steps": "N",
    "trained.apart": "NL",
    "trained.apart_permuted": "NL",
}
"""Every array of a file. random.curves: the mean over the random-weight models that saw the prompt. trained.counts:
sinks by step and kind. trained.split_curves: curves of a part of the tokens. heads: rows of `metrics.of_mass`, means
over the steps. trained.variants: sinks by `count_checks.VARIANTS`. half_sinks: of recordings of half the new tokens.
"""


class SetPrompt(BaseModel, extra="forbid", frozen=True):
    """One prompt of a set. tokens: its length. steps: of its recording. written: what the model went on with. key: of
    the prompts that are alike, as those of one template; empty where it is on its own.
    """

    text: str
    tokens: Count
    steps: Count
    written: str
    key: str = ""


class RecordingSetInfo(BaseModel, extra="forbid", frozen=True):
    """Everything about a set that is not an array. prompts_from: where the prompts come from. random_seeds: one a
    random-weight model; weight_seeds: the same of every other null of other weights, by its name. variants: the rows of
    `count_checks.VARIANTS`. half_tokens: new tokens of the shorter recordings, 0 where there are none. by_query: if the
    set tells how far apart the keys of undecided and written queries are (`query_states.queries_apart`). notes: what a
    reader should know. batch_bytes: the most memory planned for a batch.
    """

    format: Literal["sinkscope-recording-set-1"] = FORMAT
    model: RecordedModel
    layers: Annotated[int, Field(ge=1)]
    heads: Annotated[int, Field(ge=1)]
    prompts_from: str
    prompts: tuple[SetPrompt, ...]
    chat_template: bool
    sampling: Sampling
    seed: Count
    sinks: SinkParams
    random_seeds: tuple[Count, ...]
    weight_seeds: Mapping[str, tuple[Count, ...]]
    null_draws: Count
    kinds: tuple[str, ...] = KINDS
    coincidences: tuple[str, ...] = tuple(COINCIDENCES)
    curves: tuple[str, ...] = tuple(CURVES)
    parts: tuple[str, ...]
    split_curves: tuple[str, ...]
    head_metrics: tuple[str, ...]
    variants: tuple[str, ...]
    half_tokens: Count
    by_query: bool
    notes: tuple[str, ...] = ()
    batch_bytes: Count
    seconds: FiniteFloat
    created: str
    environment: dict[str, Any]

    def seeds_of(self, null: str) -> tuple[int, ...]:
        """The seeds of the models of a null that is other weights."""
        return self.random_seeds if null == "random" else self.weight_seeds.get(null, ())


@dataclass(frozen=True)
class RecordingSet:
    """A set of recordings as it was reduced. arrays: by the names of `SHAPES`."""

    info: RecordingSetInfo
    arrays: Mapping[str, np.ndarray]

    @property
    def layers(self) -> int:
        return self.info.layers

    @property
    def prompts(self) -> int:
        """Number of prompts, N."""
        return len(self.info.prompts)

    @cached_property
    def clusters(self) -> np.ndarray:
        """Cluster number of each prompt, (N,). Prompts with the same key share one; one without a key has its own."""
        keys = [prompt.key or str(number) for number, prompt in enumerate(self.info.prompts)]
        return np.unique(keys, return_inverse=True)[1]

    @property
    def prompts_apart(self) -> int:
        """Number of clusters of prompts."""
        return int(self.clusters.max()) + 1

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Name of each of the K kinds: undecided in place of [MASK] where the noise is random tokens."""
        return tuple(undecided_named(kind, self.info.model.noise) for kind in self.info.kinds)

    @property
    def weight_nulls(self) -> tuple[str, ...]:
        """The nulls of other weights that the set has."""
        return tuple(null for null in WEIGHT_NULLS if self.info.seeds_of(null))

    @cached_property
    def scopes(self) -> tuple[str, ...]:
        """Name of each of the G scopes."""
        return (*(f"layer {layer}" for layer in range(self.layers)), ALL_LAYERS)

    @cached_property
    def over_models(self) -> dict[str, dict[str, np.ndarray]]:
        """By null of other weights, the sums of every prompt by name, (N, …), as the mean over the models that saw the
        prompt; NaN where none did.
        """
        return {
            null: {name: mean_of_finite(values) for name, values in self.sums(null).items()}
            for null in self.weight_nulls
        }

    def sums(self, which: str) -> dict[str, np.ndarray]:
        """Return the arrays of `trained` or of a null that do not go step by step, by name."""
        return {name: values for name, values in self.part(which).items() if "T" not in SHAPES[f"{which}.{name}"]}

    def part(self, which: str) -> dict[str, np.ndarray]:
        """Return the arrays of `trained` or of a null, by name."""
        return {
            name.removeprefix(f"{which}."): array for name, array in self.arrays.items() if name.startswith(f"{which}.")
        }


def save(recordings: RecordingSet, path: Path) -> None:
    """Write one safetensors file, whole or not at all. Raises UserError where it cannot be written."""
    _check(recordings, "The set of recordings")
    write(recordings.arrays, path, {"sinkscope_set": recordings.info.model_dump_json()}, "The set of recordings")


def open_set(path: Path, called: str | None = None) -> RecordingSet:
    """Open a set of recordings. called: the file's name in messages; its own by default.

    Raises UserError for a file that is damaged, hostile or something else.
    """
    called = called or f"'{path.name}'"
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("sinkscope_set")
            if text is None:
                raise UserError(f"{called} is no set of recordings.")
            info = RecordingSetInfo.model_validate_json(text)
            names = stored(info)
            missing = set(names) - set(file.keys())
            if missing:
                raise UserError(f"{called} is damaged: '{min(missing)}' is missing. Record the set again.")
            arrays = {name: file.get_tensor(name) for name in names}
    except ValidationError as error:
        told = f"{called} is no set of recordings of this version: {sentence(error)}. Record it again."
        raise UserError(told) from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{called} is no whole set of recordings: {damage(error)}. Record it again.") from error
    recordings = RecordingSet(info, arrays)
    _check(recordings, called)
    return recordings


def stored(info: RecordingSetInfo) -> list[str]:
    """Return the names of the arrays that a file has."""
    lacks = dict.fromkeys(("half_sinks", "half_steps"), not info.half_tokens)
    lacks |= dict.fromkeys(("apart", "apart_permuted"), not info.by_query)
    lacks |= {null: not info.seeds_of(null) for null in WEIGHT_NULLS if null != "random"}
    return [name for name in SHAPES if not any(lacks.get(part, False) for part in name.split("."))]


def _check(recordings: RecordingSet, called: str) -> None:
    """Raise UserError where the arrays contradict the description or hold impossible values."""
    info = recordings.info
    steps = max((prompt.steps for prompt in info.prompts), default=0)
    sizes = {
        "N": len(info.prompts),
        "G": info.layers + 1,
        "K": len(info.kinds),
        "C": len(info.coincidences),
        "M": len(info.curves),
        "V": len(info.variants),
        "D": len(info.split_curves),
        "P": len(info.parts),
        "T": steps,
        "A": len(info.head_metrics),
        "L": info.layers,
        "H": info.heads,
    }
    for name in stored(info):
        letters, which = SHAPES[name], name.split(".")[0]
        sizes["R"] = len(info.seeds_of(which)) if which in WEIGHT_NULLS else 0
        array, shape = recordings.arrays[name], tuple(sizes[letter] for letter in letters)
        if array.shape != shape or array.dtype.kind not in "fu":
            raise UserError(
                f"{called} is damaged: '{name}' is {array.dtype} of shape {array.shape}, not numbers of shape {shape}. "
                "Record the set again."
            )
        negative = not name.endswith(("curves", "heads")) and (array[np.isfinite(array)] < 0).any()
        if np.isinf(array).any() or negative:
            raise UserError(f"{called} is damaged: '{name}' has negative or infinite numbers. Record the set again.")
    if len(info.prompts) < 2 or steps < 1:
        raise UserError(f"{called} is damaged: a set has at least two prompts of one step. Record the set again.")
