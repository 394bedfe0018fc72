"""From the steps of a sampler to the arrays of a recording, and how many bytes those will take. Imports no torch."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis.models.family import Geometry
from analysis.recording.trajectory import BY_QUERY, PADDING
from analysis.sinks.drift import DRIFTS
from analysis.sinks.token_states import TokenState
from analysis.specs import Sampling

if TYPE_CHECKING:
    from analysis.models.experts import Routing
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
    arrays: dict[str, np.ndarray] = {
        "tokens": np.empty((planned, positions), np.int32),
        "state": np.empty((planned, positions), np.int8),
        "queries": np.empty((planned, 2), np.int32),
        "open_block": np.empty((planned, 2), np.int32),
        "confidence": np.empty((planned, positions), np.float32),
    }
    error, count, output = 0.0, 0, np.empty(0, np.int32)
    activations: list[dict[str, np.ndarray]] = []
    for step in steps:
        choice, observed = step.choice, step.mass[0].numpy()
        measured = {"mass": observed}
        if step.value_norm is not None:
            measured["value_norm"] = step.value_norm[0].numpy()
        if step.paid is not None:
            measured |= dict(zip(BY_QUERY, step.paid[:, 0].numpy(), strict=True))
        if step.drift is not None:
            measured["key_drift"], measured["value_drift"] = np.split(step.drift[0].numpy(), 2, axis=1)
        layers, _, length = observed.shape
        if count == 0:
            dtype = _stored_dtype(planned, layers, observed.shape[1], positions, mass_dtype)
            arrays |= {
                name: np.empty((planned, layers, values.shape[1], positions), dtype)
                for name, values in measured.items()
            }
            if step.routing is not None:
                _, routed_layers, _, chosen = step.routing.experts.shape
                arrays["experts"] = np.empty((planned, routed_layers, chosen, positions), _index_dtype(experts))
                arrays["expert_weights"] = np.empty((planned, routed_layers, chosen, positions), np.float16)
        if count == len(arrays["tokens"]):
            arrays = {name: np.concatenate([values, np.empty_like(values)]) for name, values in arrays.items()}
        state = choice.state[0].cpu().numpy()
        absent = state == TokenState.ABSENT
        for name, values, nothing in (
            ("tokens", np.where(absent, PADDING, choice.tokens[0].cpu().numpy()), PADDING),
            ("state", state, TokenState.ABSENT),
            ("confidence", choice.confidence[0].float().cpu().numpy(), np.nan),
        ):
            arrays[name][count, : len(values)] = values
            arrays[name][count, len(values) :] = nothing
        arrays["queries"][count], arrays["open_block"][count] = choice.query_range, choice.open_block
        for name, values in measured.items():
            arrays[name][count, ..., :length] = values
            arrays[name][count, ..., length:] = np.nan
            arrays[name][count][..., np.flatnonzero(absent)] = np.nan
        if step.routing is not None:
            _keep_routes(arrays, count, step.routing, choice.query_range)
            arrays["expert_weights"][count][..., np.flatnonzero(absent)] = np.nan
        rounding = np.abs(observed - arrays["mass"][count, ..., :length])
        error = max(error, float(rounding[..., ~absent].max()))
        output = choice.output[0].cpu().numpy().astype(np.int32)
        if step.activations is not None:
            activations.append({f"largest_{name}": values for name, values in vars(step.activations).items()})
        on_step(count, step, output, arrays["confidence"][count])
        count += 1
    if count == 0:
        raise ValueError("A trajectory needs at least one step.")
    length = len(output)
    ranges = {name: arrays.pop(name)[:count] for name in ("queries", "open_block")}
    return {
        "value_norm": None,
        "experts": None,
        "expert_weights": None,
        **{name: values[:count, ..., :length] for name, values in arrays.items()},
        **ranges,
        **({name: np.stack([kept[name] for kept in activations]) for name in activations[0]} if activations else {}),
        "final": output,
        "mass_dtype": str(arrays["mass"].dtype),
        "mass_error": error,
    }


def _keep_routes(arrays: dict[str, np.ndarray], step: int, routing: "Routing", queries: tuple[int, int]) -> None:
    """Store the routes of a step's queries at their positions; positions without a query have none."""
    arrays["experts"][step], arrays["expert_weights"][step] = 0, np.nan
    sent = slice(*queries)
    arrays["experts"][step, ..., sent] = routing.experts[0].transpose(1, 2).numpy()
    arrays["expert_weights"][step, ..., sent] = routing.weights[0].transpose(1, 2).numpy()
