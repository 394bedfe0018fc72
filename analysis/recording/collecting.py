"""From the steps of a sampler to the arrays of a recording, and how many bytes those will take. Imports no torch."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from analysis.models.family import Geometry
from analysis.recording.trajectory import BY_QUERY, PADDING
from analysis.sinks.drift import DRIFTS
from analysis.sinks.token_states import TokenState
from analysis.specs import Sampling

if TYPE_CHECKING:
    from analysis.recording.denoising import Step

FLOAT32_LIMIT = 64 * 2**20  # bytes of mass up to which `auto` stores float32

OnStep = Callable[[int, "Step", np.ndarray, np.ndarray], None]
"""Called after each step with its number, the step, the tokens (S,) after it, the confidence (S,) of those chosen."""


def planned_bytes(
    sampling: Sampling,
    shape: Geometry,
    prompt_length: int,
    masks: int,
    mass_dtype: str,
    by_query: bool = False,
    drift: bool = False,
) -> int:
    """Bytes a recording will take in memory and on disk, but for its text, before it is made.

    prompt_length: tokens of the prompt, of which `masks` are [MASK]. A text that ends early, as autoregressive ones do,
    takes less. by_query, drift: of `RecordSpec`.
    """
    positions, steps = sampling.length(prompt_length), sampling.forwards(masks)
    routes = steps * shape.layers * shape.experts_per_token * positions * (_index_dtype(shape.experts).itemsize + 2)
    extra = 2 * shape.heads * by_query + len(DRIFTS) * drift
    return routes + recording_bytes(steps, shape.layers, shape.heads, shape.kv_heads, positions, mass_dtype, extra)


def recording_bytes(
    steps: int, layers: int, heads: int, kv_heads: int, positions: int, mass_dtype: str, extra: int = 0
) -> int:
    """Bytes a recording takes in memory and on disk, but for its text. extra: further numbers of each step, layer and
    position, in the precision of the mass.
    """
    width = {"float16": 2, "float32": 4}[_stored_dtype(steps, layers, heads, positions, mass_dtype)]
    return steps * (positions * (layers * (heads + kv_heads + extra) * width + 9) + 16)


def _index_dtype(experts: int) -> np.dtype[Any]:
    return np.dtype(np.uint8 if experts <= 256 else np.uint16)


def _stored_dtype(steps: int, layers: int, heads: int, positions: int, mass_dtype: str) -> str:
    if mass_dtype != "auto":
        return mass_dtype
    return "float32" if steps * layers * heads * positions * 4 <= FLOAT32_LIMIT else "float16"


def record(
    steps: Iterable["Step"],
    planned: int,
    positions: int,
    mass_dtype: Literal["auto", "float16", "float32"] = "auto",
    on_step: OnStep = lambda number, step, tokens, confidence: None,
    experts: int = 0,
) -> dict[str, Any]:
    """Collect the steps of one sequence into the arrays of a `Trajectory`, with `mass_error` and `mass_dtype`.

    planned: steps expected; there may be fewer or more. positions: most tokens of the finished text.
    experts: of a layer that has some.
    """
    arrays: dict[str, np.ndarray] = {}
    ranges: list[tuple[tuple[int, int], tuple[int, int]]] = []
    activations: list[dict[str, np.ndarray]] = []
    error, output, dtype = 0.0, np.empty(0, np.int32), ""

    def put(count: int, name: str, values: np.ndarray, nothing: float, dtype: DTypeLike, first: int = 0) -> None:
        """Keep values (…, n) of a step from position `first` on, with `nothing` at every other."""
        if name not in arrays:
            arrays[name] = np.empty((planned, *values.shape[:-1], positions), dtype)  # no memory before it is written
        if count == len(arrays[name]):
            arrays[name] = np.concatenate([arrays[name], np.empty_like(arrays[name])])
        arrays[name][count] = nothing
        arrays[name][count, ..., first : first + values.shape[-1]] = values

    for count, step in enumerate(steps):
        choice, mass = step.choice, step.mass[0].numpy()
        layers, heads, length = mass.shape
        dtype = dtype or _stored_dtype(planned, layers, heads, positions, mass_dtype)
        state = choice.state[0].cpu().numpy()
        there = state != TokenState.ABSENT
        put(count, "tokens", np.where(there, choice.tokens[0].cpu().numpy(), PADDING), PADDING, np.int32)
        put(count, "state", state, TokenState.ABSENT, np.int8)
        put(count, "confidence", choice.confidence[0].float().cpu().numpy(), np.nan, np.float32)
        measured = {"mass": mass}
        if step.value_norm is not None:
            measured["value_norm"] = step.value_norm[0].numpy()
        if step.paid is not None:
            measured |= dict(zip(BY_QUERY, step.paid[:, 0].numpy(), strict=True))
        if step.drift is not None:
            measured["key_drift"], measured["value_drift"] = np.split(step.drift[0].numpy(), 2, axis=1)
        for name, values in measured.items():
            put(count, name, np.where(there, values, np.nan), np.nan, dtype)
        if step.routing is not None:
            first, end = choice.query_range
            routes, weights = (part[0].transpose(1, 2).numpy() for part in (step.routing.experts, step.routing.weights))
            put(count, "experts", routes, 0, _index_dtype(experts), first)
            put(count, "expert_weights", np.where(there[first:end], weights, np.nan), np.nan, np.float16, first)
        error = max(error, float(np.abs(mass - arrays["mass"][count, ..., :length])[..., there].max()))
        ranges.append((choice.query_range, choice.open_block))
        output = choice.output[0].cpu().numpy().astype(np.int32)
        if step.activations is not None:
            activations.append({f"largest_{name}": values for name, values in vars(step.activations).items()})
        on_step(count, step, output, arrays["confidence"][count])
    if not ranges:
        raise ValueError("A trajectory needs at least one step.")
    queries, open_block = np.moveaxis(np.array(ranges, np.int32), 1, 0)
    return {
        "value_norm": None,
        "experts": None,
        "expert_weights": None,
        **{name: values[: len(ranges), ..., : len(output)] for name, values in arrays.items()},
        "queries": queries,
        "open_block": open_block,
        **({name: np.stack([kept[name] for kept in activations]) for name in activations[0]} if activations else {}),
        "final": output,
        "mass_dtype": dtype,
        "mass_error": error,
    }
