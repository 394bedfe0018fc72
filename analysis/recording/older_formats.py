"""Recordings of older formats, turned into the present one as they are opened. NumPy only."""

from typing import Any

import numpy as np

from analysis.sinks.token_states import mask_states
from analysis.specs.attention_kinds import AttentionKind

PADDING = -1
FORMAT_2 = "sinkscope-trajectory-2"
ARRAYS_2: dict[str, tuple[str, ...]] = {
    "tokens": ("I32",),
    "masked": ("BOOL",),
    "confidence": ("F32",),
    "mass": ("F16", "F32"),
    "value_norm": ("F16", "F32"),
    "final": ("I32",),
}


def upgraded_description(description: dict[str, Any], now: str) -> dict[str, Any]:
    """The description of a format 2 file as format `now` has it: how the model attends has a name."""
    model = description.get("model")
    if isinstance(model, dict) and isinstance(model.get("bidirectional"), bool):
        attention = "bidirectional" if model["bidirectional"] else "causal"
        model = {name: value for name, value in model.items() if name != "bidirectional"} | {"attention": attention}
    return {**description, "format": now, "model": model}


def without_windows_it_never_had(description: dict[str, Any]) -> dict[str, Any]:
    """The description of a recording that was written while LLaDA2's unused `sliding_window` counted as a window: its
    blocks see all before them, and a LLaDA2 with windows was never run.
    """
    model = description.get("model")
    if isinstance(model, dict) and model.get("architecture") == "LLaDA2" and model.get("windows"):
        return {**description, "model": {**model, "windows": []}}
    return description


def upgraded_arrays(
    arrays: dict[str, np.ndarray], prompt_length: int, block_length: int | None, attention: AttentionKind
) -> dict[str, np.ndarray]:
    """The arrays of a format 2 file as the present format has them: every token was a query, written once.

    block_length: of LLaDA's sampler, None where the text was one block. Raises ValueError, with what is wrong, for
    arrays that do not fit together.
    """
    tokens, masked, confidence = arrays["tokens"], arrays["masked"], arrays["confidence"]
    if tokens.ndim != 2:
        raise ValueError(f"'tokens' has shape {tokens.shape}, not (steps, positions)")
    for name in ("masked", "confidence"):
        if arrays[name].shape != tokens.shape:
            raise ValueError(f"'{name}' has shape {arrays[name].shape}, not {tokens.shape}")
    present = tokens != PADDING
    length = present.sum(axis=1)
    kept = {name: values for name, values in arrays.items() if name != "masked"}
    return kept | {
        "state": mask_states(masked, present, prompt_length),
        "queries": np.stack([np.zeros(len(tokens), np.int32), length.astype(np.int32)], axis=1),
        "open_block": _open_blocks(np.isfinite(confidence), length, prompt_length, block_length, attention == "causal"),
    }


def _open_blocks(
    chosen: np.ndarray, length: np.ndarray, prompt_length: int, block_length: int | None, causal: bool
) -> np.ndarray:
    """The block that every step wrote in, (T, 2) int32, by the positions chosen in it."""
    positions = chosen.shape[1]
    if causal:
        start, end = length, length + 1
    elif block_length is None:
        start, end = np.full(len(chosen), prompt_length), np.full(len(chosen), positions)
    else:
        furthest = np.where(chosen.any(axis=1), positions - 1 - chosen[:, ::-1].argmax(axis=1), 0)
        start = prompt_length + np.maximum(furthest - prompt_length, 0) // block_length * block_length
        end = start + block_length
    return np.clip(np.stack([start, end], axis=1), 0, positions).astype(np.int32)
