"""An explorer's bytes as text for an HTML file: without loss, and small enough to be sent around.

Most of the bytes are float32 masses, whose low bits are noise to a packer. Two things about them are known: a mass
changes little from one step to the next, and a layer's map is nearly the mean of its heads'. Only what differs from
that is sent. `file.js` undoes it in the same arithmetic.
"""

import base64
import json
import struct
import zlib
from typing import Any

import numpy as np

CODED = "2."
"""Begins the text of this coding, before the number of bytes that fill up its last word. Without it the text is
Base64 of an earlier version, which stored studies hold."""


def packed_text(packed: bytes) -> str:
    """Return the bytes of an explorer as text: predicted, deflated and in Base85, whose sign < is written as a
    comma: HTML would read it.
    """
    (length,) = struct.unpack_from("<I", packed)
    header, body = json.loads(packed[4 : 4 + length]), packed[4 + length :]
    arrays = {name: np.frombuffer(body, f"<{kind}", size, at) for name, (kind, at, size) in header["arrays"].items()}
    parts = [packed[: 4 + length]]
    for name, values in arrays.items():
        if values.dtype != "<f4":
            parts.append(_planes(values))
            continue
        number, _, kind = name.partition(".")
        track = header["tracks"][int(number)]
        bits = values.view("<u4") - _predicted(kind, track, {each: arrays[f"{number}.{each}"] for each in _READ})
        before = np.concatenate([np.zeros(track["positions"], "<u4"), bits])[: bits.size]
        change = (bits - before).view("<i4")
        parts.append(_planes(((change << 1) ^ (change >> 31)).view("<u4")))  # small changes are small numbers
    deflated = zlib.compress(b"".join(parts), 9)
    spare = -len(deflated) % 4
    return f"{CODED}{spare}{base64.b85encode(deflated, pad=True).decode().replace('<', ',')}"


_READ = ("heads", "layers")


def _predicted(kind: str, track: dict[str, Any], of: dict[str, np.ndarray]) -> np.ndarray:
    """Bits of what an array of masses is likely to hold, (n,); 0 where nothing is known.

    A layer is the mean of its heads, the model the mean of its layers, added up one after the other in float64.
    """
    layers, heads, cells = track["layers"], track["heads"], track["steps"] * track["positions"]
    if kind == "layers" and of["heads"].size == layers * heads * cells and of["heads"].dtype == "<f4":
        parts: np.ndarray = of["heads"].reshape(layers, heads, cells).swapaxes(0, 1)
    elif kind == "model":
        parts = of["layers"].reshape(layers, cells)
    else:
        return np.zeros(1, "<u4")
    total = np.zeros(parts.shape[1:], np.float64)
    for part in parts:
        total += part
    mean = (total / len(parts)).astype("<f4")
    return np.where(np.isnan(mean), np.float32(0), mean).astype("<f4").view("<u4").ravel()


def _planes(values: np.ndarray) -> bytes:
    """The first bytes of all numbers, then the second ones …: what is alike stands together."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize).T.tobytes()
