"""A recorded trajectory: what went into every denoising step, and where attention went in it.

`tokens[t]` and `masked[t]` are the INPUT of forward t; the finished text is `final`. One safetensors file holds all
of it, with the text of its tokens, so it opens without the model. Imports no torch.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from analysis import outputs
from analysis.errors import UserError
from analysis.models.families import Geometry
from analysis.specs import RecordSpec, Replay, Sampling

if TYPE_CHECKING:
    from analysis.recording.denoising import Step

FORMAT: Final = "sinkscope-trajectory-2"
FLOAT32_LIMIT = 64 * 2**20  # bytes of mass up to which `auto` stores float32
HEADER_LIMIT = 16 * 2**20  # bytes of a recording's description; real ones take some thousands
PADDING = -1
_SEEDS = RecordSpec.model_fields["seed"].metadata


class RecordedModel(BaseModel):
    """The model a trajectory was recorded from. mask_token None: autoregressive."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    source: str
    architecture: str
    fingerprint: str
    dtype: str
    device: str
    bidirectional: bool
    kv_heads: int
    mask_token: int | None
    end_tokens: tuple[int, ...]


class Info(BaseModel):
    """Everything about a trajectory that is not an array.

    mass_error: largest absolute difference between the stored mass and the float32 it was computed in.
    tokens: text of every token id that occurs. seconds: wall time of the recording without loading.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["sinkscope-trajectory-2"] = FORMAT
    model: RecordedModel
    prompt: str
    prompt_length: int
    chat_template: bool
    sampling: Sampling | Replay
    seed: Annotated[int, *_SEEDS]
    final_text: str
    tokens: dict[int, str]
    unknown_tokens: int
    mass_dtype: Literal["float16", "float32"]
    mass_error: FiniteFloat
    seconds: FiniteFloat
    created: str
    environment: dict[str, Any]


@dataclass(frozen=True)
class Trajectory:
    """tokens (T, S) int32, PADDING where an autoregressive text has not got to; masked (T, S) bool;
    confidence (T, S) float32, NaN where no token was chosen; mass (T, L, H, S) and value_norm (T, L, H_kv, S), the norm
    of each key's value, float16 or float32, NaN at padding; final (S,) int32.
    """

    info: Info
    tokens: np.ndarray
    masked: np.ndarray
    confidence: np.ndarray
    mass: np.ndarray
    value_norm: np.ndarray
    final: np.ndarray

    @property
    def steps(self) -> int:
        return self.mass.shape[0]

    @property
    def layers(self) -> int:
        return self.mass.shape[1]

    @property
    def heads(self) -> int:
        return self.mass.shape[2]

    @property
    def positions(self) -> int:
        return self.mass.shape[3]

    def labels(self, step: int | None = None) -> list[str]:
        """Text of the token at each position: of the input of a step, or of the finished text."""
        row = self.final if step is None else self.tokens[step]
        return ["" if token == PADDING else self.info.tokens[token] for token in row.tolist()]

    def input_tokens(self, step: int) -> tuple[int, ...]:
        """Token ids that went into a step's forward, without padding."""
        row = self.tokens[step]
        return tuple(row[row != PADDING].tolist())


def planned_bytes(sampling: Sampling, shape: Geometry, prompt_length: int, masks: int, mass_dtype: str) -> int:
    """Bytes a recording will take in memory and on disk, but for its text, before it is made.

    prompt_length: tokens of the prompt, of which `masks` are [MASK]. A text that ends early, as autoregressive ones do,
    takes less.
    """
    positions, steps = prompt_length + sampling.gen_length, sampling.forwards(masks)
    return recording_bytes(steps, shape.layers, shape.heads, shape.kv_heads, positions, mass_dtype)


def recording_bytes(steps: int, layers: int, heads: int, kv_heads: int, positions: int, mass_dtype: str) -> int:
    """Bytes a recording takes in memory and on disk, but for its text."""
    width = {"float16": 2, "float32": 4}[_stored_dtype(steps, layers, heads, positions, mass_dtype)]
    return steps * positions * (layers * (heads + kv_heads) * width + 9)


def _stored_dtype(steps: int, layers: int, heads: int, positions: int, mass_dtype: str) -> str:
    if mass_dtype != "auto":
        return mass_dtype
    return "float32" if steps * layers * heads * positions * 4 <= FLOAT32_LIMIT else "float16"


def record(
    steps: Iterable["Step"],
    planned: int,
    positions: int,
    mass_dtype: Literal["auto", "float16", "float32"] = "auto",
    on_step: Callable[[int, np.ndarray, np.ndarray], None] = lambda step, tokens, confidence: None,
) -> dict[str, Any]:
    """Collects the steps of one sequence into the arrays of a `Trajectory`, and `mass_error`, `mass_dtype`.

    planned: how many steps are expected; positions: length of the finished text. on_step is called after each step with
    its number, the tokens (S,) after it and the confidence (S,) of those chosen in it.
    """
    arrays = {
        "tokens": np.full((planned, positions), PADDING, np.int32),
        "masked": np.zeros((planned, positions), bool),
        "confidence": np.full((planned, positions), np.nan, np.float32),
    }
    error, count, output = 0.0, 0, np.empty(0, np.int32)
    for step in steps:
        choice, observed, value_norm = step.choice, step.mass[0].numpy(), step.value_norm[0].numpy()
        layers, heads, length = observed.shape
        if count == 0:
            dtype = _stored_dtype(planned, layers, heads, positions, mass_dtype)
            arrays["mass"] = np.full((planned, layers, heads, positions), np.nan, dtype)
            arrays["value_norm"] = np.full((planned, layers, value_norm.shape[1], positions), np.nan, dtype)
        if count == len(arrays["tokens"]):  # a model that writes [MASK] itself takes more steps than tokens
            arrays = {name: np.concatenate([values, _unwritten(name, values)]) for name, values in arrays.items()}
        arrays["tokens"][count, :length] = choice.tokens[0].cpu().numpy()
        arrays["masked"][count, :length] = choice.masked[0].cpu().numpy()
        chosen = choice.confidence[0].float().cpu().numpy()
        arrays["confidence"][count, : len(chosen)] = chosen
        stored = arrays["mass"][count, :, :, :length]
        stored[:] = observed
        arrays["value_norm"][count, :, :, :length] = value_norm
        error = max(error, float(np.abs(observed - stored).max()))
        output = choice.output[0].cpu().numpy().astype(np.int32)
        on_step(count, output, arrays["confidence"][count])
        count += 1
    if count == 0:
        raise ValueError("A trajectory needs at least one step.")
    length = len(output)
    return {
        **{name: values[:count, ..., :length] for name, values in arrays.items()},
        "final": output,
        "mass_dtype": str(arrays["mass"].dtype),
        "mass_error": error,
    }


def _unwritten(name: str, values: np.ndarray) -> np.ndarray:
    """As many more steps as `values` holds, with nothing in them."""
    return np.full_like(values, {"tokens": PADDING, "masked": False}.get(name, np.nan))


def save(trajectory: Trajectory, path: Path) -> None:
    """Writes one safetensors file. It appears whole or not at all.

    Raises UserError where it cannot be written, and for what `open_trajectory` would refuse: nothing is written then.
    """
    description = trajectory.info.model_dump_json()
    called = "What was recorded"
    try:
        _read_description(description, called)
        _check(trajectory, called)
    except UserError as error:
        raise UserError(
            f"The recording was not stored, because it would not open again. {error} If it is of a model, its weights "
            "or its config may be broken."
        ) from error
    arrays = {name: np.ascontiguousarray(getattr(trajectory, name)) for name in _ARRAYS}
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(arrays, partial, metadata={"sinkscope": description})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"The recording could not be written to '{path}': {error}.") from error


_ARRAYS: dict[str, tuple[str, ...]] = {
    "tokens": ("I32",),
    "masked": ("BOOL",),
    "confidence": ("F32",),
    "mass": ("F16", "F32"),
    "value_norm": ("F16", "F32"),
    "final": ("I32",),
}


def open_trajectory(path: Path, called: str | None = None) -> Trajectory:
    """Opens a recording. called: what to call the file in messages; its name by default.

    Raises UserError for a file that is damaged, hostile or something else.
    """
    called = called or f"'{path.name}'"
    again = "Copy or record it again."
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if HEADER_LIMIT < header <= path.stat().st_size:
            raise UserError(f"{called} is not a recording: its description takes {header / 1e6:,.0f} MB. {again}")
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("sinkscope")
            if text is None:
                raise UserError(f"{called} is a safetensors file, but not a SinkScope recording.")
            info = _read_description(text, called)
            for name, dtypes in _ARRAYS.items():
                dtype = file.get_slice(name).get_dtype()
                if dtype not in dtypes:
                    raise UserError(f"{called} is damaged: '{name}' is {dtype}, not {' or '.join(dtypes)}. {again}")
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{called} is not a whole recording: {_reason(error)}. {again}") from error
    trajectory = Trajectory(info, **arrays)
    _check(trajectory, called)
    return trajectory


def _reason(error: Exception) -> str:
    """Why a file could not be read, without its path."""
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).rstrip(".")


def _read_description(text: str, called: str) -> Info:
    if len(text.encode("utf-8", "surrogatepass")) > HEADER_LIMIT // 2:  # quoted once more, it may take twice as much
        raise UserError(f"{called} is too long to be described in a file. Record a shorter text.")
    _check_format(text, called)
    try:
        return Info.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{called} is not a recording of this version: {where}: {first['msg']}.") from error


def _check(trajectory: Trajectory, called: str) -> None:
    problem = _inconsistency(trajectory)
    if problem:
        raise UserError(f"{called} is damaged: {problem}. Copy or record it again.")


def refusal(path: Path) -> str:
    """Why a recording may not replace what is at `path`, as the end of a sentence; nothing where it may."""

    def wrote(path: Path) -> bool:
        try:
            with safe_open(path, framework="numpy") as file:
                return "sinkscope" in (file.metadata() or {})
        except (SafetensorError, OSError):
            return False

    return outputs.file_refusal(wrote)(path)


def _check_format(text: str, called: str) -> None:
    try:
        written = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{called} is damaged: its description cannot be read. Copy or record it again.") from error
    if written != FORMAT:
        raise UserError(f"{called} was written as {written!r}; this SinkScope reads '{FORMAT}'. Record it again.")


def _inconsistency(trajectory: Trajectory) -> str | None:
    if trajectory.mass.ndim != 4 or 0 in trajectory.mass.shape:
        return f"'mass' has shape {trajectory.mass.shape}, not (steps, layers, heads, positions)"
    shape = (trajectory.steps, trajectory.positions)
    for name in ("tokens", "masked", "confidence"):
        if getattr(trajectory, name).shape != shape:
            return f"'{name}' has shape {getattr(trajectory, name).shape}, not {shape}"
    kv_heads = trajectory.info.model.kv_heads
    expected = (trajectory.steps, trajectory.layers, kv_heads, trajectory.positions)
    if trajectory.value_norm.shape != expected or kv_heads < 1 or trajectory.heads % kv_heads:
        return f"'value_norm' has shape {trajectory.value_norm.shape}, not (steps, layers, key heads, positions)"
    if trajectory.final.shape != shape[1:]:
        return f"'final' has shape {trajectory.final.shape}, not {shape[1:]}"
    if not 0 <= trajectory.info.prompt_length <= trajectory.positions:
        return f"its prompt of {trajectory.info.prompt_length} tokens is longer than its text"
    present = trajectory.tokens != PADDING
    if (trajectory.final == PADDING).any() or not present.any(axis=1).all() or (np.diff(present.astype(int)) > 0).any():
        return "its text has gaps"
    for name in ("mass", "value_norm"):
        values = getattr(trajectory, name)
        sums = values.sum(axis=(1, 2), dtype=np.float64)
        if not (np.isfinite(sums) == present).all() or (values < 0).any():
            return f"'{name}' has missing, negative or infinite numbers"
    # Every query pays 1 in all, so what a head's keys receive is at most the number of queries; 1 % is for rounding.
    received = np.add.reduce(trajectory.mass, axis=3, dtype=np.float64, where=present[:, None, None, :])
    if (received <= 0).any() or (received > 1.01 * present.sum(axis=1)[:, None, None]).any():
        return "'mass' is more attention, or less, than there are queries to pay it"
    chosen = trajectory.confidence[~np.isnan(trajectory.confidence)]
    if (chosen < 0).any() or (chosen > 1.001).any():
        return "'confidence' has numbers that are no probabilities"
    ids = set(np.unique(trajectory.tokens).tolist()) | set(np.unique(trajectory.final).tolist())
    unnamed = ids - {PADDING} - set(trajectory.info.tokens)
    if unnamed:
        return f"the text of token {min(unnamed)} is missing"
    return None
