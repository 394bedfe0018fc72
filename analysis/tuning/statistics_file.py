"""Stored statistics of a dense model's activations on noised text: their file, and what they tell of a discount and of
another calibration seed without a pruning. Imports no torch.

It is one safetensors file, written and read in place, so that neither side ever holds all of it. Its tensors are
`tokens` (N, text), `noised` (N, T, S), `mass` (N, T, L, S); by layer and input `squares.SCOPE.LAYER.INPUT` (N, T, B,
F), `plain.LAYER.INPUT` (T, F); by layer and projection `weight.LAYER.PROJECTION` (R, F). S is the positions a forward
sees: the text, or the noised text and after it its clean copy (`beside_clean`). SCOPE is `any` where squares are stored
by token.

Other texts' statistics take as long again, so they stand in files of their own, its parts: `other.LAYER.INPUT` (T, F),
`gram.LAYER.INPUT` (F, F). For another calibration seed, the undiscounted scores of both texts and the weights give both
masks of the control, as prunings on noised text of the dense model write them.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel

from analysis.errors import UserError
from analysis.models.weight_files import Entry, header
from analysis.pruned.compare import Comparison, compare
from analysis.pruned.report_file import PrunedRun
from analysis.sinks.discount import step_weights
from analysis.specs import METHODS, CalibrateSpec, DiscountParams, StepParams, TuneParams
from analysis.tuning import effects
from analysis.tuning.bin_error import BinError
from analysis.tuning.effects import LayerEffect, LayerStatistics, group_weights, seed_masks, why_needs_a_run
from cache.environment import gigabytes

FORMAT: Final = "sinkscope-statistics-1"
PART_FORMAT: Final = "sinkscope-statistics-part-1"
Part = Literal["seed_floor", "heldout"]
PARTS: Mapping[Part, str] = {"seed_floor": "other", "heldout": "gram"}
"""Parts that may stand in a file of their own, by the job that writes each, and the prefix of their tensors' names."""
ANY = "any"
_TYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32}
_CODES = {np.dtype(kind): code for code, kind in _TYPES.items()}

Shapes = Mapping[str, tuple[tuple[int, ...], type]]


class StatisticsInfo(BaseModel, extra="forbid", frozen=True):
    """Everything about stored statistics that is not an array.

    levels: the noise step t of each level, from the least noise up. inputs: projection -> the input it reads. outputs:
    projection -> rows of the whole matrix, by layer. tokens: text of every token id that occurs. other_seed,
    heldout_seed: of the text for the floor and for the Gram matrices. beside_clean: whether noised text is followed by
    its clean copy, as families trained block by block read it. apart: the parts that stand in files of their own.
    edges: of z, between bins. bin_errors: what bins say of some settings beside the exact masks; none where squares are
    stored by token.
    """

    format: Literal["sinkscope-statistics-1"] = FORMAT
    spec: CalibrateSpec
    architecture: str
    fingerprint: str
    dtype: str
    device: str
    mask_token: int
    layers: int
    levels: tuple[int, ...]
    grouping: Literal["tokens", "bins"]
    scopes: tuple[str, ...]
    beside_clean: bool = False
    apart: tuple[Part, ...] = ()
    edges: tuple[float, ...]
    bin_errors: tuple[BinError, ...] = ()
    inputs: dict[str, str]
    outputs: tuple[dict[str, int], ...]
    other_seed: int
    heldout_seed: int
    tokens: dict[int, str]
    notes: tuple[str, ...]
    seconds: float
    created: str
    environment: dict[str, Any]

    @property
    def short_names(self) -> list[str]:
        """The projections, each by the last part of its name."""
        return [name.split(".")[-1] for name in self.inputs]

    @property
    def input_titles(self) -> dict[str, str]:
        """Each input by the projections that read it: `input of q_proj, k_proj, v_proj`."""
        readers: dict[str, list[str]] = {}
        for short, given in zip(self.short_names, self.inputs.values(), strict=True):
            readers.setdefault(given, []).append(short)
        return {given: "input of " + ", ".join(short) for given, short in readers.items()}


class PartInfo(BaseModel, extra="forbid", frozen=True):
    """Statistics that a part belongs to: those asked for alike, of the same model."""

    format: Literal["sinkscope-statistics-part-1"] = PART_FORMAT
    part: Part
    spec: CalibrateSpec
    fingerprint: str


@dataclass(frozen=True)
class StoredStatistics:
    """An open file, and the parts that were joined to it. arrays: by tensor name, read from the disk where they are
    looked at.
    """

    info: StatisticsInfo
    arrays: Mapping[str, np.ndarray]

    @property
    def mass(self) -> np.ndarray:
        """(N, T, L, S) float32."""
        return self.arrays["mass"]

    @property
    def has_floor(self) -> bool:
        """True if the floor, what another calibration seed changes, can be computed."""
        return self._has("seed_floor")

    @property
    def has_grams(self) -> bool:
        """True if the output error can be computed."""
        return self._has("heldout")

    @property
    def missing(self) -> tuple[Part, ...]:
        """The parts that stand in files of their own and are not joined."""
        return tuple(part for part in self.info.apart if not self._has(part))

    def _has(self, part: Part) -> bool:
        return any(name.startswith(f"{PARTS[part]}.") for name in self.arrays)

    @property
    def sizes(self) -> np.ndarray:
        """Weights of every projection, (L, P)."""
        info = self.info
        return np.array(
            [
                [rows[name] * self.arrays[f"weight.{layer}.{name}"].shape[1] for name in info.inputs]
                for layer, rows in enumerate(info.outputs)
            ]
        )

    @property
    def sampled(self) -> bool:
        """True if only some rows of the weights are stored."""
        kept = (
            len(self.arrays[f"weight.{layer}.{name}"]) < rows
            for layer, outputs in enumerate(self.info.outputs)
            for name, rows in outputs.items()
        )
        return any(kept)

    def labels(self, sequence: int, level: int) -> list[str]:
        """The text of each token of a noised sequence."""
        return [self.info.tokens[token] for token in self.arrays["noised"][sequence, level].tolist()]

    def group_weights(self, discount: DiscountParams) -> np.ndarray:
        """ω² of every stored group, (N, T, 1 or L, B)."""
        return group_weights(self.mass, self.info.grouping, discount, self.info.edges)

    def layer(self, index: int, discount: DiscountParams) -> LayerStatistics:
        """Return the stored statistics of a layer, with the squares that serve this discount."""
        info = self.info
        scope = ANY if info.grouping == "tokens" else discount.sink_scope
        return layer_of(self.arrays, index, scope, info.inputs, info.outputs[index])


def layer_of(
    arrays: Mapping[str, np.ndarray], index: int, scope: str, inputs: Mapping[str, str], outputs: Mapping[str, int]
) -> LayerStatistics:
    """Return the statistics of a layer among all arrays of a file, with the squares of this scope."""

    def by_input(kind: str) -> dict[str, np.ndarray]:
        found = {name: arrays.get(f"{kind}.{index}.{name}") for name in dict.fromkeys(inputs.values())}
        return {name: array for name, array in found.items() if array is not None}

    return LayerStatistics(
        inputs=inputs,
        squares=by_input(f"squares.{scope}"),
        plain=by_input("plain"),
        other_seed=by_input("other"),
        weights={name: arrays[f"weight.{index}.{name}"] for name in inputs},
        outputs=outputs,
        grams=by_input("gram"),
    )


def create(path: Path, shapes: Shapes, info_bytes: int) -> dict[str, np.ndarray]:
    """A new file of zeros to write into, by tensor name. info_bytes: room kept for `finish`.

    Raises UserError where the disk is too small for it.
    """
    head: dict[str, Any] = {"__metadata__": {"sinkscope": " " * info_bytes}}
    entries: dict[str, Entry] = {}
    end = 0
    ordered = sorted(shapes.items(), key=lambda item: -np.dtype(item[1][1]).itemsize)  # keeps every array aligned
    for name, (shape, kind) in ordered:
        entry = Entry(_CODES[np.dtype(kind)], shape, end)
        head[name] = {"dtype": entry.dtype, "shape": shape, "data_offsets": [end, end + entry.bytes]}
        entries[name], end = entry, end + entry.bytes
    free = shutil.disk_usage(path.parent).free
    if free < end:
        raise UserError(
            f"These statistics take {gigabytes(end)} and the disk has {gigabytes(free)}. Store fewer samples or "
            "shorter sequences, or free some space."
        )
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    start = 8 + len(text)
    moved = {name: replace(entry, start=start + entry.start) for name, entry in entries.items()}
    return _mapped(path, moved, "r+")


def finish(path: Path, info: StatisticsInfo | PartInfo, info_bytes: int) -> None:
    """Write the file's description into the room kept for it."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(size))
        head["__metadata__"]["sinkscope"] = info.model_dump_json()
        text = json.dumps(head).encode()
        if len(text) > size:
            raise ValueError(f"{len(text)} bytes of header do not fit {size}; keep more than {info_bytes}")
        file.seek(8)
        file.write(text.ljust(size))


def open_statistics(path: Path) -> StoredStatistics:
    """Open a file. Raises UserError for one that is damaged, hostile or something else."""
    try:
        text, arrays = _read(path)
        statistics = StoredStatistics(StatisticsInfo.model_validate_json(text), arrays)
        _check(statistics)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"'{path.name}' holds no statistics that can be read: it is damaged or something else. Calibrate again."
        ) from error
    return statistics


def joined(statistics: StoredStatistics, path: Path) -> StoredStatistics:
    """Add a part from its file to statistics. Raises UserError for one that is damaged, hostile or of others."""
    try:
        text, arrays = _read(path)
        info = PartInfo.model_validate_json(text)
        if _asked(info) != _asked(statistics.info):
            raise ValueError("it belongs to other statistics")
        own = {name: array for name, array in arrays.items() if name.startswith(f"{PARTS[info.part]}.")}
        whole = replace(statistics, arrays={**statistics.arrays, **own})
        _check(whole)
        if info.part in whole.missing:
            raise ValueError("it is empty")
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"'{path.name}' is no part of these statistics: it is damaged or something else. Calibrate again."
        ) from error
    return whole


def _asked(info: StatisticsInfo | PartInfo) -> tuple[str, dict[str, Any]]:
    """Of which model, wherever it lies, what was asked."""
    return info.fingerprint, info.spec.model_dump(mode="json", exclude={"model"})


def _read(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """Return a file's description and its arrays. Raises UserError where a tensor lies outside of it."""
    entries, metadata = header(path)
    return metadata.get("sinkscope", ""), _mapped(path, entries, "r")


def _mapped(path: Path, entries: Mapping[str, Entry], mode: Literal["r", "r+"]) -> dict[str, np.ndarray]:
    """Every tensor as a view of one map of the file: one map per tensor would take as many file handles."""
    whole = np.memmap(path, np.uint8, mode).view(np.ndarray)  # of which every view is cheaper than one of a memmap
    return {
        name: whole[entry.start : entry.start + entry.bytes].view(_TYPES[entry.dtype]).reshape(entry.shape)
        for name, entry in entries.items()
    }


def _check(statistics: StoredStatistics) -> None:
    """Raise ValueError or KeyError where tensors are missing or do not fit each other."""
    info, arrays = statistics.info, statistics.arrays
    sequences, text = arrays["tokens"].shape
    length = 2 * text if info.beside_clean else text
    mass = (sequences, len(info.levels), info.layers, length)
    if arrays["mass"].shape != mass or arrays["noised"].shape != (*mass[:2], length) or len(info.outputs) != mass[2]:
        raise ValueError("tokens, mass and layers differ in shape")
    groups = length if info.grouping == "tokens" else len(info.edges) + 1
    if list(info.edges) != sorted(set(info.edges)):
        raise ValueError("the edges of the bins do not rise")
    scopes = (ANY,) if info.grouping == "tokens" else info.scopes
    for layer in range(info.layers):
        for name, given in info.inputs.items():
            features = arrays[f"weight.{layer}.{name}"].shape[1]
            expected: dict[str, tuple[int, ...]] = {
                f"squares.{scope}.{layer}.{given}": (*mass[:2], groups, features) for scope in scopes
            }
            expected[f"plain.{layer}.{given}"] = (mass[1], features)
            if statistics.has_floor:
                expected[f"other.{layer}.{given}"] = (mass[1], features)
            if statistics.has_grams:
                expected[f"gram.{layer}.{given}"] = (features, features)
            if any(arrays[name].shape != shape for name, shape in expected.items()):
                raise ValueError(f"the squares of layer {layer}, {given} do not fit its weights")


def steps_of(statistics: StoredStatistics, setting: StepParams) -> np.ndarray:
    """Return how much each stored noise step counts, (T,)."""
    info = statistics.info
    return step_weights(info.levels, info.spec.calibration.diffusion_steps, setting)


def why_not(statistics: StoredStatistics, setting: TuneParams) -> str:
    """Return why the statistics do not serve a setting, or nothing."""
    info = statistics.info
    if not steps_of(statistics, setting).any():
        return "No stored noise step lies in that range. Widen it."
    return why_needs_a_run(info.grouping, info.scopes, setting.discount)


def plain_of(statistics: StoredStatistics, layer: int, setting: TuneParams) -> effects.Plain:
    """Return what no discount gives in a layer with a setting's steps and sparsity. setting: its discount says which
    squares are read.
    """
    return effects.plain_layer(
        statistics.layer(layer, setting.discount), steps_of(statistics, setting), setting.sparsity
    )


def effect_of(
    statistics: StoredStatistics, layer: int, setting: TuneParams, weights: np.ndarray, plain: effects.Plain
) -> LayerEffect:
    """Return what a setting does to a layer. weights: `group_weights` of its discount; plain: of `plain_of`."""
    of_layer = weights[:, :, layer if weights.shape[2] > 1 else 0]
    stored = statistics.layer(layer, setting.discount)
    return effects.layer_effect(stored, plain, of_layer, steps_of(statistics, setting), setting.sparsity)


def every_layer(statistics: StoredStatistics, setting: TuneParams) -> list[LayerEffect]:
    """Return what a setting does to every layer."""
    weights = statistics.group_weights(setting.discount)
    undiscounted = setting.model_copy(update={"discount": DiscountParams()})
    return [
        effect_of(statistics, layer, setting, weights, plain_of(statistics, layer, undiscounted))
        for layer in range(statistics.info.layers)
    ]


_AS_PUBLISHED = {
    "pattern": "unstructured",
    "allocation": "uniform",
    "quota_scope": "published",
    "ranking": "published",
    "norm": "published",
}
_EMPTY = ("skip_layers", "skip_projections")


def serves(info: StatisticsInfo, run: PrunedRun) -> bool:
    """Return True if statistics hold both seeds of a run's own pruning but for its discount: of one model and
    precision, one calibration but for its seed, and masks as the statistics' are made.
    """
    settings = run.settings
    method = METHODS.get(str(settings.get("method")))
    calibration = info.spec.calibration.model_dump(mode="json", exclude={"seed"})
    return (
        method is not None
        and method.weighs_steps
        and (run.model, run.precision) == (info.fingerprint, info.dtype)
        and settings.get("calibration") == calibration
        and all(settings.get(name, value) == value for name, value in _AS_PUBLISHED.items())
        and not any(settings.get(name) for name in _EMPTY)
    )


def seed_floor(statistics: StoredStatistics, run: PrunedRun, heads: int, kv_heads: int) -> Comparison | None:
    """Compare the masks of two calibration seeds without a discount, at the steps and sparsity of a run that the
    statistics serve; None where only some rows of the weights are stored. heads, kv_heads: of a layer.
    """
    if statistics.sampled:
        return None
    info = statistics.info
    steps = steps_of(statistics, StepParams.model_validate(run.settings.get("steps") or {}))
    sparsity, short = float(run.settings["sparsity"]), {name: name.split(".")[-1] for name in info.inputs}
    pairs = (
        (layer, short[name], *masks)
        for layer in range(info.layers)
        for name, masks in seed_masks(statistics.layer(layer, DiscountParams()), steps, sparsity)
    )
    return compare(pairs, info.layers, list(short.values()), heads, kv_heads)
