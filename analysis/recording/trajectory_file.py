"""The file of a recording, one safetensors file. What contradicts itself is neither written nor opened."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from analysis import outputs
from analysis.errors import UserError, damage
from analysis.recording.trajectory import BY_QUERY, FORMAT, MOST_CHANNELS, PADDING, RecordingInfo, Trajectory
from analysis.sinks.step_inputs import TokenState, query_counts
from analysis.specs import sentence

HEADER_LIMIT = 16 * 2**20  # bytes of a recording's description; real ones take some thousands


def save(trajectory: Trajectory, path: Path) -> None:
    """Write one safetensors file, whole or not at all.

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
    names = [*_stored_arrays(trajectory.info)]
    names += [name for group in ON_DEMAND for name in group if getattr(trajectory, name) is not None]
    write({name: getattr(trajectory, name) for name in names}, path, {"sinkscope": description}, "The recording")


def write(arrays: Mapping[str, np.ndarray], path: Path, metadata: dict[str, str], called: str) -> None:
    """Write one safetensors file, whole or not at all. Raises UserError where it cannot be written."""
    partial = path.with_name(path.name + ".partial")
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, partial, metadata=metadata)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{called} could not be written: {damage(error)}.") from error


_Arrays = dict[str, tuple[str, tuple[str, ...]]]
"""Arrays by name: the axes of each, letters of `_wrong_shape`, and the dtypes that it may have."""
_FLOATS = ("F16", "F32")
ARRAYS: _Arrays = {
    "tokens": ("TS", ("I32",)),
    "state": ("TS", ("I8",)),
    "queries": ("T2", ("I32",)),
    "open_block": ("T2", ("I32",)),
    "confidence": ("TS", ("F32",)),
    "mass": ("TLHS", _FLOATS),
    "value_norm": ("TLVS", _FLOATS),
    "final": ("S", ("I32",)),
}
ROUTES: _Arrays = {"experts": ("TMKS", ("U8", "U16")), "expert_weights": ("TMKS", ("F16",))}
"""The arrays of a recording of a model with experts, beside the others."""
LARGEST: _Arrays = {
    "largest_channel": ("TLC", ("I32",)),
    "largest_position": ("TLC", ("I32",)),
    "largest_value": ("TLC", ("F32",)),
    "largest_median": ("TL", ("F32",)),
}
DRIFTED = ("key_drift", "value_drift")
ON_DEMAND: tuple[_Arrays, ...] = (
    LARGEST,
    dict.fromkeys(BY_QUERY, ("TLHS", _FLOATS)),
    dict.fromkeys(DRIFTED, ("TL2S", _FLOATS)),
)
"""Arrays of a recording for which they were asked; another has none of a group: the largest residual channels, mass by
the state of the query, drift of keys and values.
"""


def _stored_arrays(info: RecordingInfo) -> _Arrays:
    arrays = {name: row for name, row in ARRAYS.items() if name != "value_norm" or info.model.value_norms}
    return arrays | (ROUTES if info.model.expert_layers else {})


def open_trajectory(path: Path, called: str | None = None) -> Trajectory:
    """Open a recording. called: the file's name in messages; its own by default.

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
            expected = _stored_arrays(info)
            held = set(file.keys())
            for group in ON_DEMAND:
                expected = expected | (group if held & set(group) else {})
            for name, (_, dtypes) in expected.items():
                dtype = file.get_slice(name).get_dtype()
                if dtype not in dtypes:
                    raise UserError(f"{called} is damaged: '{name}' is {dtype}, not {' or '.join(dtypes)}. {again}")
            arrays = {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{called} is not a whole recording: {damage(error)}. {again}") from error
    trajectory = Trajectory(info, **{"value_norm": None, **arrays})
    _check(trajectory, called)
    return trajectory


def _read_description(text: str, called: str) -> RecordingInfo:
    if len(text.encode("utf-8", "surrogatepass")) > HEADER_LIMIT // 2:  # quoted once more, it may take twice as much
        raise UserError(f"{called} is too long to be described in a file. Record a shorter text.")
    try:
        written_as = json.loads(text)["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{called} is damaged: its description cannot be read. Copy or record it again.") from error
    if written_as != FORMAT:
        raise UserError(f"{called} was written as {written_as!r}; this SinkScope reads '{FORMAT}'. Record it again.")
    try:
        return RecordingInfo.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{called} is not a recording of this version: {sentence(error)}. Record it again.") from error


def _check(trajectory: Trajectory, called: str) -> None:
    problem = _inconsistency(trajectory)
    if problem:
        raise UserError(f"{called} is damaged: {problem}. Copy or record it again.")


def _wrote(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy") as file:
            return "sinkscope" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


refusal = outputs.file_refusal(_wrote)
"""Why a recording may not replace what is at a path, as the end of a sentence, or ''."""


def _inconsistency(trajectory: Trajectory) -> str | None:
    """Describe a contradiction or an impossible value, as the end of a sentence; None if there is none."""
    if trajectory.mass.ndim != 4 or 0 in trajectory.mass.shape:
        return f"'mass' has shape {trajectory.mass.shape}, not (steps, layers, heads, positions)"
    return _wrong_shape(trajectory) or _wrong_place(trajectory) or _wrong_number(trajectory)


def _wrong_shape(trajectory: Trajectory) -> str | None:
    model, channels, experts = trajectory.info.model, trajectory.largest_channel, trajectory.experts
    if model.kv_heads < 1 or trajectory.heads % model.kv_heads:
        return f"{trajectory.heads} heads cannot share {model.kv_heads} key heads"
    if experts is not None and experts.ndim != 4:
        return f"'experts' has shape {experts.shape}, not (steps, layers with experts, chosen, positions)"
    if channels is not None and channels.ndim != 3:
        return f"'largest_channel' has shape {channels.shape}, not (steps, layers, channels)"
    sizes = {
        "T": trajectory.steps,
        "L": trajectory.layers,
        "H": trajectory.heads,
        "V": model.kv_heads,
        "S": trajectory.positions,
        "2": 2,
        "M": len(model.expert_layers),
        "K": 0 if experts is None else experts.shape[2],
        "C": 0 if channels is None else channels.shape[2],
    }
    for group in (ARRAYS, ROUTES, *ON_DEMAND):
        for name, (axes, _) in group.items():
            values, shape = getattr(trajectory, name), tuple(sizes[axis] for axis in axes)
            if values is not None and values.shape != shape:
                return f"'{name}' has shape {values.shape}, not {shape}"
    if channels is not None and (problem := _wrong_channels(trajectory)):
        return problem
    if model.windows and len(model.windows) != trajectory.layers:
        return f"there are {len(model.windows)} windows for {trajectory.layers} layers"
    return None


def _wrong_channels(trajectory: Trajectory) -> str | None:
    """Describe what is wrong with the largest residual channels."""
    channel, position, value, median = (getattr(trajectory, name) for name in LARGEST)
    if not 0 < channel.shape[2] <= MOST_CHANNELS:
        return f"'largest_channel' has shape {channel.shape}, not (steps, layers, channels)"
    if (channel < 0).any() or (position < 0).any() or (position >= trajectory.positions).any():
        return "its largest channels lie at no position of the text"
    if not np.isfinite(value).all() or not np.isfinite(median).all() or (median < 0).any():
        return "its largest channels are not finite"
    return None


def _wrong_place(trajectory: Trajectory) -> str | None:
    """Describe what is wrong with the tokens present, the queries or the blocks."""
    info, positions = trajectory.info, trajectory.positions
    if not 0 <= info.prompt_length <= positions:
        return f"its prompt of {info.prompt_length} tokens is longer than its text"
    if (trajectory.final == PADDING).any():
        return "its text has gaps"
    unknown = set(np.unique(trajectory.state).tolist()) - {int(state) for state in TokenState}
    if unknown:
        return f"'state' holds {min(unknown)}, which is no state of a token"
    present = trajectory.present
    if ((trajectory.tokens != PADDING) != present).any():
        return "'tokens' and 'state' do not agree on which tokens are there"
    for name in ("queries", "open_block"):
        start, end = getattr(trajectory, name).T
        if (start < 0).any() or (end < start).any() or (end > positions).any():
            return f"'{name}' reaches outside the text of {positions} tokens"
    if (query_counts(present, trajectory.queries) == 0).any():
        return "'queries' has a step in which no token asks"
    if trajectory.goes_stale and (trajectory.queries[0] != (0, trajectory.present[0].sum())).any():
        return "its first step goes on from keys that no step before it left"
    if trajectory.ends_early and info.model.attention != "bidirectional":  # there, kept keys may lie behind queries
        return "'queries' ends before the tokens do that are there"
    if info.model.attention == "block-causal" and not info.block_starts:
        return "it does not say where the blocks begin that its model attends by"
    starts = np.array(info.block_starts, np.int64)
    if (np.diff(starts, prepend=-1) <= 0).any() or (starts >= positions).any():
        return "its blocks do not follow each other inside the text"
    return None


def _wrong_number(trajectory: Trajectory) -> str | None:
    present = trajectory.present
    for name in ("mass", "value_norm") if trajectory.info.model.value_norms else ("mass",):
        values = getattr(trajectory, name)
        sums = values.sum(axis=(1, 2), dtype=np.float64)
        finite = np.isfinite(sums)
        # A sum is NaN where one number is; where nothing is, all must be.
        extra = not present.all() and np.isfinite(np.fmax.reduce(values, axis=(1, 2)))[~present].any()
        if (finite != present).any() or extra or (values < 0).any():
            return f"'{name}' has missing, negative or infinite numbers"
    # Every query pays 1 in all, so what a head's keys receive is at most the number of queries; 1 % is for rounding.
    received = np.add.reduce(trajectory.mass, axis=3, dtype=np.float64, where=present[:, None, None, :])
    asking = query_counts(present, trajectory.queries)
    if (received <= 0).any() or (received > 1.01 * asking[:, None, None]).any():
        return "'mass' is more attention, or less, than there are queries to pay it"
    if problem := _wrong_on_demand(trajectory):
        return problem
    if trajectory.info.model.expert_layers and (problem := _wrong_route(trajectory)):
        return problem
    chosen = trajectory.confidence[~np.isnan(trajectory.confidence)]
    if (chosen < 0).any() or (chosen > 1.001).any():
        return "'confidence' has numbers that are no probabilities"
    ids = set(np.unique(trajectory.tokens).tolist()) | set(np.unique(trajectory.final).tolist())
    unnamed = ids - {PADDING} - set(trajectory.info.tokens)
    if unnamed:
        return f"the text of token {min(unnamed)} is missing"
    return None


def _wrong_on_demand(trajectory: Trajectory) -> str | None:
    """Describe what is wrong with mass by query state or with drift, where a recording has them."""
    present = trajectory.present[:, None, None]
    for name in BY_QUERY:
        part = getattr(trajectory, name)
        if part is None:
            continue
        if _wrong_where(part, present):
            return f"'{name}' has missing, negative or infinite numbers"
        # A part of the queries pays no more than all; both are rounded.
        most = 1.01 * np.nan_to_num(trajectory.mass.astype(np.float32)) + 0.01
        if (np.nan_to_num(part) > most).any():
            return f"'{name}' is more than all queries pay"
    twice = np.concatenate([np.zeros_like(trajectory.present[:1]), trajectory.present[1:] & trajectory.present[:-1]])
    for name in DRIFTED:
        drift = getattr(trajectory, name)
        if drift is not None and _wrong_where(drift, twice[:, None, None]):
            return f"'{name}' has missing, negative or infinite numbers"
    return None


def _wrong_where(values: np.ndarray, there: np.ndarray) -> bool:
    """Return whether values are missing, negative or infinite where they are there, or not missing elsewhere."""
    return bool((np.isfinite(values) != there).any() or (np.nan_to_num(values) < 0).any())


def _wrong_route(trajectory: Trajectory) -> str | None:
    experts, weights = trajectory.experts, trajectory.expert_weights
    assert experts is not None and weights is not None
    if experts.size and int(experts.max()) >= trajectory.info.model.expert_count:
        return f"'experts' names expert {int(experts.max())} of {trajectory.info.model.expert_count}"
    positions, (start, end) = np.arange(trajectory.positions), trajectory.queries.T[:, :, None]
    asking = trajectory.present & (positions >= start) & (positions < end)
    if (np.isfinite(weights) != asking[:, None, None]).any():
        return "'expert_weights' does not hold a number wherever a token asks"
    return None
