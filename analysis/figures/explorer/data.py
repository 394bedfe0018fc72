"""The bytes an explorer is sent: recordings as typed arrays, so that the browser counts sinks itself.

Shapes: T steps, L layers, H heads, S positions; M = 1 + L + L·H maps, ordered whole model, layers, heads. Masses travel
in float32, or in float16 where that loses nothing, with the mean and the standard deviation of every step of every map
as they are computed here: a coded mass would move sinks at the threshold.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import numpy as np

MOST_CELLS = 4_000_000  # of all heads together, 16 MB; of longer recordings a head is sent when it is looked at
MOST_NULL_CELLS = 1_000_000  # of all heads with random weights, 2 MB; of longer recordings only their mean is sent
WRITTEN, EDITED, TAKEN_BACK = 1, 2, 4  # bits of `done`, which recording.js reads by the same numbers
_ALIGNED = 8  # bytes, so that every typed array can begin where its bytes do


@dataclass(frozen=True)
class ExplorerMaps:
    """Mass by map, in units in which uniform attention gives 1 on average; NaN where a token is absent.

    model (T, S), layers (L, T, S), heads (N, T, S) float32 with the index l·H + h of each in `held`. mean and std
    (M, T) float32 over the positions of each step. uniform and visible (1 or L, T, S): what uniform attention gives
    each key, and the most it can get; uniform_model and visible_model (T, S): their means over layers.
    """

    model: np.ndarray
    layers: np.ndarray
    heads: np.ndarray
    held: Sequence[int]
    mean: np.ndarray
    std: np.ndarray
    uniform: np.ndarray
    uniform_model: np.ndarray
    visible: np.ndarray
    visible_model: np.ndarray


@dataclass(frozen=True)
class ExplorerTrack:
    """One recording as an explorer shows it.

    name: of its model. tokens (T, S) and final (S,): ids, with text in `words`. state (T, S): a `TokenState` each.
    written, edited, taken_back (T, S) bool: what each step does to a token. confidence (T, S), NaN where no token was
    chosen. splits (T, S) uint8: a bit for each part of the tokens among which sinks can be counted, in split_names.
    open_block (T, 2): positions that each step writes in, None where there is one block. random_model: the mean mass
    (T, S) of the same shape with random weights on the same inputs; random_heads (L·H, T, S): that of its heads, which
    travels in float16, as it is a baseline and not exact itself. branch: step and position of a token that was
    written by hand. experts (M, T, K, S): the experts of each token in the layers `expert_layers`, −1 where it was not
    routed; None without experts. even: whether uniform attention gives every key the same. noise: whether undecided
    tokens are random ones. autoregressive: whether tokens are absent until they are written.
    """

    name: str
    heads: int
    maps: ExplorerMaps
    tokens: np.ndarray
    final: np.ndarray
    words: Mapping[int, str]
    state: np.ndarray
    written: np.ndarray
    edited: np.ndarray
    taken_back: np.ndarray
    confidence: np.ndarray
    splits: np.ndarray
    split_names: Sequence[str]
    even: bool
    noise: bool
    autoregressive: bool
    open_block: np.ndarray | None = None
    random_model: np.ndarray | None = None
    random_heads: np.ndarray | None = None
    branch: tuple[int, int] | None = None
    experts: np.ndarray | None = None
    expert_layers: Sequence[int] = ()


@dataclass(frozen=True)
class DefinitionRow:
    """A sink definition as its control shows it: the parameter it reads, with its range and preset."""

    name: str
    title: str
    parameter: str
    least: float
    most: float
    step: float
    preset: float


def explorer_bytes(
    tracks: Sequence[ExplorerTrack], definitions: Sequence[DefinitionRow], state: Mapping[str, Any] | None = None
) -> bytes:
    """Pack one recording, or two beside each other, for `explorer.js`.

    state: what is chosen at first, by the names of `selection.js`; it is no part of the content's name.
    """
    arrays: dict[str, np.ndarray] = {}
    told = [_track(track, f"{number}.", arrays) for number, track in enumerate(tracks)]
    rows = [vars(row) for row in definitions]
    body = b"".join(_padded(values.tobytes()) for values in arrays.values())
    content = sha256(body + json.dumps([told, rows]).encode()).hexdigest()[:16]
    header = {"content": content, "tracks": told, "definitions": rows, "state": dict(state or {})}
    return _packed(header, arrays, body)


def feed_bytes(
    content: str,
    heads: Mapping[tuple[int, int], np.ndarray] = MappingProxyType({}),
    shares: Mapping[tuple[int, str], np.ndarray] = MappingProxyType({}),
    attention: Mapping[tuple[int, int, int, int], np.ndarray] = MappingProxyType({}),
) -> bytes:
    """Pack what the explorer of this content lacks: mass of heads (T, S) by track and index l·H + h, shares of all
    heads (L·H,) by track and the request they answer, and full attention maps (P, P) of the P tokens that are in a
    step, query × key, by track, step, layer and head."""
    keys = sorted({request for _, request in shares})
    arrays = {f"{track}|head|{index}": _mass(values) for (track, index), values in heads.items()}
    arrays |= {
        f"{track}|attention|{step} {layer} {head}": np.ascontiguousarray(values, "<f4").ravel()
        for (track, step, layer, head), values in attention.items()
    }
    arrays |= {f"{track}|cells|{keys.index(key)}": values.astype("<f4") for (track, key), values in shares.items()}
    body = b"".join(_padded(values.tobytes()) for values in arrays.values())
    return _packed({"content": content, "keys": keys}, arrays, body)


def content_of(packed: bytes) -> str:
    """Return the name of what was packed."""
    (length,) = struct.unpack_from("<I", packed)
    return str(json.loads(packed[4 : 4 + length])["content"])


def _track(track: ExplorerTrack, prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    maps = track.maps
    tokens = np.concatenate([np.where(track.state < 0, -1, track.tokens), track.final[None]])
    occurring, indices = np.unique(tokens, return_inverse=True)
    done = WRITTEN * track.written + EDITED * track.edited + TAKEN_BACK * track.taken_back
    sent: dict[str, np.ndarray] = {
        "model": maps.model.astype("<f4"),
        "layers": maps.layers.astype("<f4"),
        "heads": _mass(maps.heads),
        "mean": maps.mean.astype("<f4"),
        "std": maps.std.astype("<f4"),
        "uniform": maps.uniform.astype("<f4"),
        "uniformModel": maps.uniform_model.astype("<f4"),
        "visible": maps.visible.astype("<f4"),
        "visibleModel": maps.visible_model.astype("<f4"),
        "tokens": indices.reshape(tokens.shape).astype("<u4"),
        "state": track.state.astype("i1"),
        "done": done.astype("u1"),
        "confidence": track.confidence.astype("<f4"),
        "splits": track.splits.astype("u1"),
        "held": np.asarray(maps.held, "<u4"),
    }
    if track.random_model is not None:
        sent["randomModel"] = track.random_model.astype("<f4")
    if track.random_heads is not None:
        sent["randomHeads"] = track.random_heads.astype("<f2")
    if track.open_block is not None:
        sent["openBlock"] = track.open_block.astype("<i4")
    if track.experts is not None:
        sent["experts"] = track.experts.astype("<i4")
    arrays |= {prefix + name: values for name, values in sent.items()}
    steps, positions = track.state.shape
    return {
        "name": track.name,
        "steps": steps,
        "layers": len(maps.layers),
        "heads": track.heads,
        "positions": positions,
        "words": ["" if token < 0 else track.words[token] for token in occurring.tolist()],
        "splitNames": list(track.split_names),
        "even": track.even,
        "noise": track.noise,
        "autoregressive": track.autoregressive,
        "branch": None if track.branch is None else list(track.branch),
        "expertLayers": list(track.expert_layers),
    }


def _mass(values: np.ndarray) -> np.ndarray:
    """Mass in float16 where that changes no value, else in float32."""
    values = np.ascontiguousarray(values, "<f4")
    with np.errstate(over="ignore"):
        halved = values.astype("<f2")
    return halved if np.array_equal(halved.astype("<f4"), values, equal_nan=True) else values


def _packed(header: dict[str, Any], arrays: Mapping[str, np.ndarray], body: bytes) -> bytes:
    """Length of the header, the header as JSON with where each array lies, and the arrays."""
    at, places = 0, {}
    for name, values in arrays.items():
        places[name] = [values.dtype.str.lstrip("<|"), at, values.size]
        at += values.nbytes + -values.nbytes % _ALIGNED
    text = json.dumps(header | {"arrays": places}).encode()
    text += b" " * (-(len(text) + 4) % _ALIGNED)
    return struct.pack("<I", len(text)) + text + body


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNED)
