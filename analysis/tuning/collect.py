"""Stored statistics of the dense model over noised text: the file of squares, and the parts of other texts beside it.

A batch's attention mass is known after its last layer, and bins are ranges of it. So for bins its block inputs are kept
until then where they fit: one forward; else the model runs twice. Shapes as in `analysis.tuning.effects`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from analysis.calibration.activations import (
    TOKENS_A_FORWARD,
    ForwardCount,
    KeptInputs,
    Rows,
    distinct_rows,
    kept_bytes,
    rows_of,
)
from analysis.calibration.runners import Resident, Runner, reading
from analysis.errors import UserError
from analysis.models.blocks import private_block
from analysis.models.files import stored_tensors
from analysis.specs import CalibrateSpec
from analysis.tuning import statistics_file as stored
from analysis.tuning.bin_error import BinError, Probes
from analysis.tuning.effects import BINS, EDGES, bins_of, scores_by_step, standardised_mass
from cache.environment import gigabytes

ALL_ROWS = 10_000_000  # weights of a layer up to which every row is stored
SAMPLED_ROWS = 256  # of each projection, above that
USUAL_ROOM = 2**30  # bytes for squares
USUAL_SEQUENCES = 4  # that have room by default, where that takes no more than MOST_ROOM
MOST_ROOM = 2**34
GRAM_SHARE = 0.5  # of the byte budget that Gram matrices may take beside the squares

OnPhase = Callable[[str, int, int], None]
"""Called with the phase, and batches done of those planned."""


@dataclass(frozen=True)
class Texts:
    """Token rows (N, text), and noised ones (N, T, S): whose squares are stored, of another seed, and held out. S is
    twice the text where noised text is read beside its clean copy.
    """

    clean: np.ndarray
    noised: np.ndarray
    other: np.ndarray
    heldout: np.ndarray


@dataclass(frozen=True)
class CollectionPlan:
    """Statistics that fit. sequences: how many are stored. groups: B. inputs: projection -> the input it reads. widths:
    features of every input, outputs: rows of every projection, both by layer. notes: what was cut.
    """

    grouping: Literal["tokens", "bins"]
    scopes: tuple[str, ...]
    sequences: int
    groups: int
    grams: bool
    inputs: dict[str, str]
    widths: list[dict[str, int]]
    outputs: tuple[dict[str, int], ...]
    notes: tuple[str, ...]

    @property
    def stored_scopes(self) -> tuple[str, ...]:
        """The scopes in the names of squares."""
        return (stored.ANY,) if self.grouping == "tokens" else self.scopes


def plan(runner: Runner, spec: CalibrateSpec, levels: int, length: int) -> CollectionPlan:
    """Plan how much of what was asked for fits the byte budget. length: S. Raises UserError where not one sequence
    does.
    """
    model = runner.model
    modules = [model.projections(block) for block in model.blocks]
    outputs = tuple({name: len(rows_of(module)) for name, module in layer.items()} for layer in modules)
    widths = [
        {name: rows_of(layer[name]).shape[1] for name in group}
        for layer, group in zip(modules, runner.groups, strict=True)
    ]
    features = sum(width for layer in widths for width in layer.values())
    scopes = ("model", "layer") if spec.layer_scope else ("model",)
    by_token = 4 * levels * length * features
    by_bin = 4 * levels * BINS * features * len(scopes)
    if spec.grouping == "auto":
        fits = by_token * spec.calibration.samples <= (spec.byte_budget or _fitted(by_token))
        grouping: Literal["tokens", "bins"] = "tokens" if fits or by_token <= by_bin else "bins"
    else:
        grouping = spec.grouping
    each = by_token if grouping == "tokens" else by_bin
    budget = spec.byte_budget or _fitted(each)
    sequences = min(spec.calibration.samples, budget // each)
    if sequences < 1:
        text = length // 2 if model.architecture.by_blocks else length
        raise UserError(_what_would_fit(spec, budget, each, levels, text, by_token, by_bin))
    notes = []
    if sequences < spec.calibration.samples:
        notes.append(
            f"{sequences} of the {spec.calibration.samples} sequences fit {gigabytes(budget)}; the setting "
            "is measured on those."
        )
    gram_bytes = 4 * sum(width**2 for layer in widths for width in layer.values())
    grams = gram_bytes <= GRAM_SHARE * budget
    if not grams:
        notes.append(
            f"Gram matrices would take {gigabytes(gram_bytes)}, more than half the room for squares, so the output "
            "error is not shown."
        )
    inputs = {name: first for first, together in runner.groups[0].items() for name in together}
    groups = length if grouping == "tokens" else BINS
    return CollectionPlan(grouping, scopes, int(sequences), groups, grams, inputs, widths, outputs, tuple(notes))


def _fitted(each: int) -> int:
    """Bytes that squares may take where nothing else is asked for. each: those of one sequence."""
    return min(max(USUAL_ROOM, USUAL_SEQUENCES * each), MOST_ROOM)


def _what_would_fit(
    spec: CalibrateSpec, budget: int, each: int, levels: int, text: int, by_token: int, by_bin: int
) -> str:
    """Say why not one sequence fits, and every single change that makes one fit. each: bytes of one, as it was to be
    stored; by_token, by_bin: in either way. text: tokens of a sequence.
    """
    ways = [f"a room of {each:,} bytes (--byte-budget {each})"]
    fewer = budget * levels // each  # noise steps that fit
    if fewer:
        interval = spec.calibration.diffusion_steps // (fewer + 1) + 1
        ways.append(f"a step interval of {interval} (--step-interval {interval})")
    shorter = budget * text // by_token
    if spec.grouping != "bins" and 8 <= shorter < text:
        ways.append(f"sequences of {shorter} tokens (--seq-len {shorter})")
    if spec.grouping == "tokens" and by_bin <= budget:
        ways.append("bins (--grouping bins)")
    return (
        f"The squares of one sequence take {gigabytes(each)} and there is room for {gigabytes(budget)}. Take "
        f"{', or '.join(ways)}."
    )


def shapes(collection: CollectionPlan, texts: Texts, layers: int) -> stored.Shapes:
    """Every tensor of the file."""
    sequences, levels, length = texts.noised.shape
    made: dict[str, tuple[tuple[int, ...], type]] = {
        "tokens": (texts.clean.shape, np.int32),
        "noised": ((sequences, levels, length), np.int32),
        "mass": ((sequences, levels, layers, length), np.float32),
    }
    for layer, (widths, outputs) in enumerate(zip(collection.widths, collection.outputs, strict=True)):
        for name, width in widths.items():
            for scope in collection.stored_scopes:
                made[f"squares.{scope}.{layer}.{name}"] = ((sequences, levels, collection.groups, width), np.float32)
            made[f"plain.{layer}.{name}"] = ((levels, width), np.float64)
        every = sum(rows * widths[collection.inputs[name]] for name, rows in outputs.items()) <= ALL_ROWS
        for name, rows in outputs.items():
            kept = rows if every else min(rows, SAMPLED_ROWS)
            made[f"weight.{layer}.{name}"] = ((kept, widths[collection.inputs[name]]), np.float32)
    return made


@torch.no_grad()
def fill(
    path: Path,
    runner: Runner,
    collection: CollectionPlan,
    texts: Texts,
    info_bytes: int,
    seed: int,
    memory: int,
    probes: Probes | None,
    told: OnPhase,
) -> list[BinError]:
    """Write every array of a new file; `texts` are its clean and noised ones. memory: bytes that one batch's inputs may
    take for bins, else the model runs twice. probes: settings whose masks by bins are compared with the exact ones;
    returns their errors.
    """
    layers = runner.model.geometry.layers
    arrays = stored.create(path, shapes(collection, texts, layers), info_bytes)
    arrays["tokens"][:], arrays["noised"][:] = texts.clean, texts.noised
    _weights(arrays, runner, collection, seed)
    scope_layers = {scope: layers if scope == "layer" else 1 for scope in collection.stored_scopes}

    def keep_mass(level: int, rows: Rows, mass: np.ndarray) -> None:
        if not np.isfinite(mass).all():
            raise UserError("Attention mass is not finite (NaN or infinite). Run in float32, or check the checkpoint.")
        for row, members in zip(mass, rows.members, strict=True):
            arrays["mass"][members, level] = row

    def squares(
        level: int, rows: Rows, layer: int, name: str, given: torch.Tensor, positions: torch.Tensor | None = None
    ) -> None:
        for row_squares, members in zip(given.float().square(), rows.members, strict=True):
            if probes is not None:
                weights = probes.weights(members[0], level, layer, arrays["mass"][members[0], level])
                exact = (torch.from_numpy(weights).to(row_squares.device) @ row_squares).double().cpu().numpy()
                probes.add(layer, name, level, len(members), exact)
            for scope, count in scope_layers.items():
                summed = row_squares
                if collection.grouping == "bins":
                    z = standardised_mass(arrays["mass"][members[:1], level : level + 1], scope)[0, 0]
                    place = torch.from_numpy(bins_of(z[layer if count > 1 else 0])).to(row_squares.device)
                    summed = row_squares.new_zeros(BINS, row_squares.shape[1]).index_add_(0, place, row_squares)
                arrays[f"squares.{scope}.{layer}.{name}"][members, level] = summed.cpu().numpy()

    batches = _batches(texts.noised)
    tokens = [rows.tokens for _, rows in batches]
    known = runner.known_masses(tokens)
    largest = max(row_tokens.numel() for row_tokens in tokens)
    by_token = collection.grouping == "tokens"  # whose squares ask for no mass
    if known is None and isinstance(runner, Resident) and (by_token or kept_bytes(runner, largest) <= memory):
        step = _counter("activations", len(batches), told)
        kept = None if by_token else KeptInputs(runner, max(map(len, tokens)), texts.noised.shape[-1])
        masses = []
        for level, rows in batches:
            read = partial(squares, level, rows)
            keep = reading(read) if kept is None else kept.keep
            masses.append(runner.mass_and_inputs(rows.tokens, keep))
            keep_mass(level, rows, masses[-1])
            if kept is not None:
                kept.show(read)
            step()
        runner.keep_masses(tokens, masses)
    else:
        masses = known or runner.masses(tokens, _counter("attention mass", len(batches), told))
        for (level, rows), mass in zip(batches, masses, strict=True):
            keep_mass(level, rows, mass)
        _each_input(runner, texts.noised, "activations", squares, told)
    _plain(arrays, collection, told)
    # x² has no sign: its sums, ω = 1, are finite only where every square is.
    _require_finite({name: array for name, array in arrays.items() if not name.startswith("squares.")})
    if probes is None:
        return []
    told("error of the bins", 0, 0)
    stored_layers = [
        stored.layer_of(arrays, layer, scope, collection.inputs, outputs)
        for layer, outputs in enumerate(collection.outputs)
        for scope in collection.stored_scopes
    ]
    return probes.errors(stored_layers, arrays["mass"], EDGES, collection.scopes)


def part_shapes(part: stored.Part, collection: CollectionPlan, levels: int) -> stored.Shapes:
    """Every tensor of a part's file."""
    widths = {f"{layer}.{name}": width for layer, of in enumerate(collection.widths) for name, width in of.items()}
    if part == "seed_floor":
        return {f"other.{name}": ((levels, width), np.float64) for name, width in widths.items()}
    return {f"gram.{name}": ((width, width), np.float32) for name, width in widths.items()}


@torch.no_grad()
def fill_part(
    part: stored.Part, arrays: Mapping[str, np.ndarray], runner: Runner, noised: np.ndarray, told: OnPhase
) -> None:
    """Fill the zeros of a part's new file from noised text (N, T, S)."""

    def other(level: int, rows: Rows, layer: int, name: str, given: torch.Tensor) -> None:
        norms = given.float().square().sum(dim=1).sqrt().cpu().numpy().astype(np.float64)
        counts = np.array([len(members) for members in rows.members])
        arrays[f"other.{layer}.{name}"][level] += counts @ norms

    def gram(level: int, rows: Rows, layer: int, name: str, given: torch.Tensor) -> None:
        counts = torch.tensor([len(members) for members in rows.members], dtype=torch.float32, device=given.device)
        flat = (given.float() * counts.sqrt()[:, None, None]).flatten(0, -2)
        arrays[f"gram.{layer}.{name}"][:] += (flat.T @ flat).cpu().numpy()

    if part == "seed_floor":
        _each_input(runner, noised, "another calibration seed", other, told)
    else:
        _each_input(runner, noised, "held-out text", gram, told)
    _require_finite(arrays)


def _require_finite(arrays: Mapping[str, np.ndarray]) -> None:
    for array in arrays.values():
        if array.dtype != np.int32 and not np.isfinite(array).all():
            raise UserError("Activations or weights are not finite (NaN or infinite). Run in float32.")


def _batches(noised: np.ndarray) -> list[tuple[int, Rows]]:
    size = max(1, TOKENS_A_FORWARD // noised.shape[-1])
    return [(level, rows) for level in range(noised.shape[1]) for rows in distinct_rows(noised[:, level], size)]


def _each_input(
    runner: Runner,
    noised: np.ndarray,
    phase: str,
    take: Callable[[int, Rows, int, str, torch.Tensor], None],
    told: OnPhase,
) -> None:
    batches = _batches(noised)
    runner.inputs(
        [rows.tokens for _, rows in batches],
        lambda batch, layer, name, given, positions: take(*batches[batch], layer, name, given),
        _counter(phase, len(batches), told),
    )


def _plain(arrays: dict[str, np.ndarray], collection: CollectionPlan, told: OnPhase) -> None:
    """ω = 1 by the very sums that a setting takes, so that a discount of nothing changes nothing."""
    for layer, widths in enumerate(collection.widths):
        told("sums without a discount", layer, len(collection.widths))
        for name in widths:
            layer_squares = arrays[f"squares.{collection.stored_scopes[0]}.{layer}.{name}"]
            ones = np.ones(layer_squares.shape[:3], np.float32)
            arrays[f"plain.{layer}.{name}"][:] = scores_by_step(layer_squares, ones, np.ones(layer_squares.shape[1]))


def chosen_rows(rows: int, kept: int, seed: tuple[int, ...]) -> np.ndarray:
    """Choose the rows of a matrix to store, (kept,) in order: drawn without replacement, all where all are kept."""
    if kept == rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, kept, replace=False))


def _weights(arrays: dict[str, np.ndarray], runner: Runner, collection: CollectionPlan, seed: int) -> None:
    model = runner.model
    files = stored_tensors(model)
    for layer, outputs in enumerate(collection.outputs):
        modules = model.projections(private_block(model, layer, files))
        for index, (name, rows) in enumerate(outputs.items()):
            kept = arrays[f"weight.{layer}.{name}"]
            chosen = chosen_rows(rows, len(kept), (seed, layer, index))
            weight = rows_of(modules[name])
            kept[:] = weight[torch.from_numpy(chosen).to(weight.device)].float().cpu().numpy()


def _counter(phase: str, total: int, told: OnPhase) -> Callable[[], None]:
    told(phase, 0, total)
    return ForwardCount(total, partial(told, phase)).step
