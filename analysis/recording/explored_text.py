"""The bytes of an explorer as text for an HTML file, and back."""

import base64
import json
import struct
import zlib
from typing import Any

import numpy as np

from analysis.recording.explored import body_of, pack

# Most of the bytes are float32 masses, whose low bits are noise to a packer. Two things about them are known: a mass
# changes little from one step to the next, and a layer's map is nearly the mean of its heads'. Only what differs from
# that is sent. `file.js` undoes it in the same arithmetic.

CODED = "2."
"""Prefix of a text in this coding, before the number of bytes that fill up its last word."""


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


def unpacked_text(text: str) -> bytes:
    """Return the bytes that `packed_text` made this text of."""
    begins = len(CODED) + 1
    deflated = base64.b85decode(text[begins:].replace(",", "<"))
    coded = zlib.decompress(deflated[: len(deflated) - int(text[begins - 1])])
    (length,) = struct.unpack_from("<I", coded)
    header, at, arrays = json.loads(coded[4 : 4 + length]), 4 + length, {}
    for name, (kind, _, size) in header["arrays"].items():
        width = np.dtype(kind).itemsize
        planes = np.frombuffer(coded, np.uint8, width * size, at).reshape(width, size)
        arrays[name] = np.ascontiguousarray(planes.T).view(f"<{kind}").ravel()
        at += width * size
    late = [name for name, values in arrays.items() if values.dtype == "<f4"]
    for name in sorted(late, key=lambda name: _ORDER.get(name.partition(".")[2], 0)):
        number, _, kind = name.partition(".")
        track, coded_bits = header["tracks"][int(number)], arrays[name].view("<u4")
        changes = (coded_bits >> 1) ^ -(coded_bits & 1)
        rows = np.concatenate([changes, np.zeros(-changes.size % track["positions"], "<u4")])
        bits = rows.reshape(-1, track["positions"]).cumsum(axis=0, dtype="<u4").ravel()[: changes.size]
        bits = bits + _predicted(kind, track, {each: arrays[f"{number}.{each}"] for each in _READ})
        arrays[name] = bits.view("<f4")
    return pack(header, arrays, body_of(arrays))


_READ = ("heads", "layers")
_ORDER = {"layers": 1, "model": 2}  # what is predicted comes after what it is predicted from, which is first


def _predicted(kind: str, track: dict[str, Any], of: dict[str, np.ndarray]) -> np.ndarray:
    """Predict the bits of an array of masses, (n,); 0 where nothing is known.

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
    """Return the first bytes of all numbers, then the second ones and so on, so that like bytes stand together."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize).T.tobytes()
