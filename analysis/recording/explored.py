"""The bytes an explorer is sent: recordings as typed arrays, so that the browser counts sinks itself, and attention of
random weights beside them.

Masses travel in float32, or in float16 where that loses nothing, with the mean and the standard deviation of every step
of every map as they are computed here: a coded mass would move sinks at the threshold. Shapes: T steps, L layers, H
heads, S positions; M = 1 + L + L·H maps, ordered whole model, layers, heads.

For recordings of the bundled pair, attention of random weights as sharp as the trained ones ships (from
`python -m training.nulls`). A recording finds its own by the model's weights and the tokens that went in.
"""

import base64
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, NonNegativeInt

from analysis.recording.trajectory import Trajectory
from analysis.sinks import definitions, step_inputs
from analysis.sinks.step_inputs import SPLITS
from analysis.specs import DEFINITIONS, SinkParams
from analysis.specs.base import bounds, extra
from analysis.words import model_short_title

FILE = Path(__file__).parents[1] / "bundled" / "nulls.npz"
_HEADS = "-heads"  # ends the name of the shares of heads
_LEVELS = 512  # to one even split, of which such masses vary by a third; int16 holds changes up to 63


def shipped_masses(trajectory: Trajectory) -> np.ndarray | None:
    """Return the mean mass of each draw of random weights on a recording's inputs, (N, T, S) float32 with NaN where a
    token is absent; None where none ships.
    """
    changes = _shipped().get(_name(trajectory))
    if changes is None:
        return None
    mass = as_wide(changes.cumsum(axis=1, dtype=np.float32) / _LEVELS, trajectory.positions)
    return np.where(trajectory.present, mass, np.float32(np.nan))


def shipped_head_shares(trajectory: Trajectory) -> np.ndarray | None:
    """Return, of each of these draws, the mean share of attention that a head gives its own sinks by the preset
    definition, (N, T) float32; None where none ships.
    """
    shares = _shipped().get(_name(trajectory) + _HEADS)
    return None if shares is None else shares.astype(np.float32)


def as_wide(mass: np.ndarray, positions: int) -> np.ndarray:
    """Return masses (..., S) of inputs alone with all positions of the recording, which may end in tokens that no
    forward read.
    """
    return np.pad(mass, [(0, 0)] * (mass.ndim - 1) + [(0, positions - mass.shape[-1])], constant_values=np.nan)


def write(masses: list[tuple[Trajectory, np.ndarray, np.ndarray]], file: Path = FILE) -> None:
    """Write the masses (N, T, S) of each recording, rounded, as changes from one step to the next, and the shares
    (N, T) of `shipped_head_shares`.
    """
    arrays: dict[str, Any] = {}
    for trajectory, values, shares in masses:
        arrays[_name(trajectory) + _HEADS] = shares.astype(np.float16)
        levels = np.round(_LEVELS * np.nan_to_num(values)).astype(np.int32)
        arrays[_name(trajectory)] = np.diff(levels, axis=1, prepend=0).astype(np.int16)
    np.savez_compressed(file, **arrays)
    _shipped.cache_clear()


def _name(trajectory: Trajectory) -> str:
    model, there = trajectory.info.model, trajectory.present
    content = (
        np.where(there, trajectory.tokens, -1).astype("<i4"),
        np.where(there, trajectory.state, -1).astype("<i1"),
    )
    return sha256(model.fingerprint.encode() + b"".join(each.tobytes() for each in content)).hexdigest()[:16]


@cache
def _shipped() -> dict[str, np.ndarray]:
    if not FILE.is_file():
        return {}
    with np.load(FILE) as arrays:
        return dict(arrays)


MOST_CELLS = 4_000_000  # of all heads together, 16 MB; of longer recordings a head is sent when it is looked at
MOST_NULL_CELLS = 1_000_000  # of all heads with random weights, 2 MB; of longer recordings only their mean is sent
WRITTEN, EDITED, TAKEN_BACK = 1, 2, 4  # bits of `done`, which recording.js reads by the same numbers
_ALIGNED = 8  # bytes, so that every typed array can begin where its bytes do


_TYPES = {
    "tokens": "<u4",
    "state": "i1",
    "done": "u1",
    "splits": "u1",
    "held": "<u4",
    "nullHeads": "<f2",
    "openBlock": "<i4",
    "experts": "<i4",
}
"""Types of the arrays that are no float32. `heads` are sent in float16 where that loses nothing."""


@dataclass(frozen=True)
class ExplorerTrack:
    """One recording as an explorer is sent it. told: what is no array. arrays, by the names of recording.js:

    Mass by map, in units in which uniform attention gives 1 on average, NaN where a token is absent: model (T, S),
    layers (L, T, S), heads (N, T, S) with the index l·H + h of each in `held`. mean and std (M, T) over the positions
    of each step; meanEven and stdEven: of the mass divided by what uniform attention gives, left out where that is 1
    everywhere. uniform and visible (1 or L, T, S): what uniform attention gives each key, and the most it can get;
    uniformModel and visibleModel (T, S): their means over layers.

    tokens (T + 1, S): of each step's input and of the finished text, as indices into `words`. state (T, S): a
    `TokenState` each. done (T, S): bits of what each step does to a token. confidence (T, S), NaN where no token was
    chosen. splits (T, S): a bit for each part of the tokens among which sinks can be counted, in `splitNames`.
    openBlock (T, 2): positions that each step writes in, left out where there is one block. nullModel (N, T, S): the
    mean mass of each draw of random weights with equally sharp attention on the same inputs; nullOwn (N, T): the mean
    share that its heads give their own sinks by the preset definition, where draws ship; nullHeads (L·H, T, S):
    that of the heads of the first, which travels in float16, as it is a baseline and not exact itself. experts (M, T,
    K, S): the experts of each token in the layers `expertLayers`, −1 where it was not routed; left out without experts.
    """

    told: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def explorer_bytes(tracks: Sequence[ExplorerTrack]) -> bytes:
    """Pack one recording, or two beside each other, for `explorer.js`; nothing is chosen yet."""
    arrays = {
        f"{number}.{name}": _mass(values) if name == "heads" else values.astype(_TYPES.get(name, "<f4"))
        for number, track in enumerate(tracks)
        for name, values in track.arrays.items()
    }
    told, rows = [dict(track.told) for track in tracks], _definition_rows()
    body = body_of(arrays)
    content = sha256(body + json.dumps([told, rows]).encode()).hexdigest()[:16]
    header = {"content": content, "tracks": told, "definitions": rows, "state": {}}
    return pack(header, arrays, body)


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
    return pack({"content": content, "keys": keys}, arrays, body_of(arrays))


def content_of(packed: bytes) -> str:
    """Return the name of what was packed."""
    (length,) = struct.unpack_from("<I", packed)
    return str(json.loads(packed[4 : 4 + length])["content"])


def _mass(values: np.ndarray) -> np.ndarray:
    """Return mass in float16 where that changes no value, else in float32."""
    values = np.ascontiguousarray(values, "<f4")
    with np.errstate(over="ignore"):
        halved = values.astype("<f2")
    return halved if np.array_equal(halved.astype("<f4"), values, equal_nan=True) else values


def pack(header: dict[str, Any], arrays: Mapping[str, np.ndarray], body: bytes) -> bytes:
    """Return the length of the header, the header as JSON with where each array lies, and the arrays."""
    at, places = 0, {}
    for name, values in arrays.items():
        places[name] = [values.dtype.str.lstrip("<|"), at, values.size]
        at += values.nbytes + -values.nbytes % _ALIGNED
    return _headed(header | {"arrays": places}, body)


def _headed(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 4) % _ALIGNED)
    return struct.pack("<I", len(text)) + text + body


def with_state(packed: bytes, state: Mapping[str, Any]) -> bytes:
    """Return what `explorer_bytes` packed with what is chosen at first, by the names of `selection.js`."""
    (length,) = struct.unpack_from("<I", packed)
    return _headed(json.loads(packed[4 : 4 + length]) | {"state": dict(state)}, packed[4 + length :])


def body_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of arrays, each filled up so that the next begins aligned."""
    whole = (values.tobytes() for values in arrays.values())
    return b"".join(data + bytes(-len(data) % _ALIGNED) for data in whole)


def explored(trajectories: Sequence[Trajectory], names: Sequence[str], random: Trajectory | None = None) -> bytes:
    """Pack one recording, or two beside each other, for the explorer.

    trajectories: their mass is the relative one, m·K/Q. random: the first one's inputs with random weights and
    equally sharp attention, where they were observed.
    """
    drawn = [random, *[None] * len(trajectories)]
    return explorer_bytes([explorer_track(*each) for each in zip(trajectories, names, drawn, strict=False)])


def explorer_track(trajectory: Trajectory, name: str, random: Trajectory | None) -> ExplorerTrack:
    """Return a recording as the explorer shows it; its heads are left out where they are too many to hold at once.

    name: what it is called. random: as of `explored`.
    """
    info, noise = trajectory.info, trajectory.info.model.noise
    ids = np.concatenate([np.where(trajectory.present, trajectory.tokens, -1), trajectory.final[None]])
    occurring, indices = np.unique(ids, return_inverse=True)
    changes = trajectory.changes
    splits = np.zeros(trajectory.state.shape, np.uint8)
    for bit, split in enumerate(SPLITS):
        splits |= np.uint8(1 << bit) * trajectory.counted(split)
    arrays = _maps(trajectory) | {
        "tokens": indices.reshape(ids.shape),
        "state": trajectory.state,
        "done": WRITTEN * changes.written + EDITED * changes.edited + TAKEN_BACK * changes.taken_back,
        "confidence": trajectory.confidence,
        "splits": splits,
    }
    null = _by_draw(trajectory, random)
    if null is not None:
        arrays["nullModel"] = null
    own = shipped_head_shares(trajectory)
    if own is not None:
        arrays["nullOwn"] = own
    if random is not None and random.mass.size <= MOST_NULL_CELLS:
        rounded = np.round(512 * _by_head(random)) / 512  # a baseline, and it packs well
        arrays["nullHeads"] = as_wide(rounded, trajectory.positions)
    if trajectory.has_blocks:
        arrays["openBlock"] = trajectory.open_block
    if trajectory.experts is not None and trajectory.expert_weights is not None:
        routed = np.isfinite(trajectory.expert_weights)
        arrays["experts"] = np.moveaxis(np.where(routed, trajectory.experts.astype(np.int32), -1), 1, 0)
    told = {
        "name": model_short_title(name),
        "steps": trajectory.steps,
        "layers": trajectory.layers,
        "heads": trajectory.heads,
        "positions": trajectory.positions,
        "words": ["" if token < 0 else info.tokens[token] for token in occurring.tolist()],
        "splitNames": [step_inputs.undecided_named(split, noise) for split in SPLITS],
        "even": trajectory.pattern.is_even,
        "noise": noise == "uniform",
        "autoregressive": noise is None and info.model.mask_token is None,
        "branch": None if info.branch is None else [info.branch.step, info.branch.position],
        "expertLayers": list(info.model.expert_layers),
    }
    return ExplorerTrack(told, arrays)


def _by_draw(trajectory: Trajectory, random: Trajectory | None) -> np.ndarray | None:
    """Return the mean mass of each draw of random weights, (N, T, S): those that ship for these inputs, else `random`.

    `random` is the first of those that ship: its seed is the same.
    """
    shipped = shipped_masses(trajectory)
    if shipped is not None or random is None:
        return shipped
    return as_wide(definitions.mean_mass(random.mass)[None], trajectory.positions)


def _by_head(trajectory: Trajectory) -> np.ndarray:
    """The mass of every head, (L·H, T, S)."""
    return np.moveaxis(trajectory.mass, 0, 2).reshape(-1, trajectory.steps, trajectory.positions)


def head_map(trajectory: Trajectory, index: int) -> np.ndarray:
    """Return the mass of one head, (T, S), by its index l·H + h."""
    return trajectory.mass[:, index // trajectory.heads, index % trajectory.heads]


def _definition_rows() -> list[dict[str, Any]]:
    """Return the sink definitions as their controls show them: the parameter each reads, with its range and preset."""
    rows = []
    for row in DEFINITIONS.values():
        field = SinkParams.model_fields[row.parameter]
        low, high, _ = bounds(field, 0)
        rows.append(
            {
                "name": row.name,
                "title": row.title,
                "parameter": row.parameter,
                "least": low,
                "most": high,
                "step": extra(field)["step"],
                "preset": field.default,
            }
        )
    return rows


def _maps(trajectory: Trajectory) -> dict[str, np.ndarray]:
    mass, pattern = trajectory.mass, trajectory.pattern
    layers, heads = trajectory.layers, trajectory.heads
    model = definitions.mean_mass(mass)
    by_layer = np.stack([definitions.mean_mass(mass[:, layer : layer + 1]) for layer in range(layers)])
    every = [head_map(trajectory, index) for index in range(layers * heads)]
    maps = (model, *by_layer, *every)
    uniform_model, uniform = pattern.uniform_mass.mean(axis=(1, 2)), np.moveaxis(pattern.uniform_mass[:, :, 0], 1, 0)
    held = range(len(every)) if mass.size <= MOST_CELLS else range(0)
    arrays = {
        "model": model,
        "layers": by_layer,
        "heads": np.stack(every) if held else np.empty((0, *model.shape), np.float32),
        **_moments(maps),
        "uniform": uniform,
        "uniformModel": uniform_model,
        "visible": np.moveaxis(pattern.largest_mass[:, :, 0], 1, 0),
        "visibleModel": pattern.visible(),
        "held": np.asarray(held),
    }
    if not pattern.is_even:
        of_layer = np.broadcast_to(uniform, by_layer.shape)
        evens = (uniform_model, *of_layer, *np.repeat(of_layer, heads, axis=0))
        even = _moments([definitions.corrected_share(*pair) for pair in zip(maps, evens, strict=True)])
        arrays |= {f"{name}Even": values for name, values in even.items()}
    return arrays


def _moments(maps: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    rows = [definitions.moments(values) for values in maps]
    return {name: np.stack([getattr(row, name)[:, 0] for row in rows]) for name in ("mean", "std")}


class SharesAsked(BaseModel, extra="forbid", frozen=True):
    """A request for the shares of all heads, as `cellsKey` in selection.js writes it.

    range: the first and last step, which are averaged. to: the first and last position; None: the sinks. basis: whether
    they are judged on mass over an even split, where the mask gives some positions more than others, or on raw mass.
    """

    range: tuple[NonNegativeInt, NonNegativeInt]
    to: tuple[NonNegativeInt, NonNegativeInt] | None
    definition: str
    threshold: float
    split: Annotated[int, Field(ge=0, lt=len(SPLITS))]
    judged: Literal["head", "layer", "model"]
    basis: Literal["even", "raw"] = "even"

    @property
    def params(self) -> SinkParams:
        """The sink definition asked for. Raises ValidationError where there is none such."""
        return SinkParams.model_validate(
            {"definition": self.definition, DEFINITIONS[self.definition].parameter: self.threshold}
        )


def head_shares(trajectory: Trajectory, asked: SharesAsked) -> np.ndarray:
    """Return the share of each head's attention that goes to the chosen positions or to sinks, mean over steps, (L·H,).

    Steps that hold none of the positions are left out.
    """
    first, last = asked.range
    rows = slice(first, last + 1)
    mass = trajectory.mass[rows]
    if asked.to is not None:
        chosen = np.zeros(trajectory.positions, bool)
        chosen[asked.to[0] : asked.to[1] + 1] = True
        flags = (trajectory.present[rows] & chosen)[:, None, None]
        there = flags.any(axis=(1, 2, 3))
        mass, flags = mass[there], flags[there]
    else:
        flags = _sinks(trajectory, asked, rows)
    paid = np.where(flags, mass, 0).sum(axis=-1, dtype=np.float64) / np.nansum(mass, axis=-1, dtype=np.float64)
    return paid.mean(axis=0).ravel()


def _sinks(trajectory: Trajectory, asked: SharesAsked, rows: slice) -> np.ndarray:
    """The sinks of the steps, (n, L, H, S) with axes of 1 where they are judged together."""
    mass, pattern = trajectory.mass[rows], trajectory.pattern
    counted = trajectory.counted(list(SPLITS)[asked.split])
    uniform = pattern.uniform_mass[rows]
    if asked.judged == "model":
        judged, visible = definitions.mean_mass(mass)[:, None, None], pattern.visible(None)[rows, None, None]
        uniform = uniform.mean(axis=(1, 2), keepdims=True)
    elif asked.judged == "layer":
        judged, visible = mass.mean(axis=2, keepdims=True, dtype=np.float32), pattern.largest_mass[rows]
    else:
        judged, visible = mass, pattern.largest_mass[rows]
    if asked.basis == "even" and not pattern.is_even and asked.definition != "mean-attention":
        judged = definitions.corrected_share(judged, uniform)
    return definitions.find_sinks(judged, asked.params, visible) & counted[rows, None, None]


# --- its bytes as text for an HTML file, and back --------------------------------------------------------------------


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
