"""A recorded trajectory, made from the steps of a sampler: what went into every denoising step, where attention went in
it, and how many bytes that takes. Imports no torch.

`tokens[t]` and `state[t]` are the INPUT of forward t; the finished text is `final`. It holds the text of its tokens, so
that it is read without the model.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import DTypeLike
from pydantic import BaseModel, Field, FiniteFloat

from analysis.models.family import Geometry
from analysis.sinks.pairing import DRIFTS
from analysis.sinks.step_inputs import SPLITS, AttentionPattern, Changes, TokenNames, TokenState, changes
from analysis.specs import Branch, KeptForward, ModelSpec, RecordSpec, Replay, Sampling
from analysis.specs.observing import AttentionKind

if TYPE_CHECKING:
    from analysis.recording.denoising import Step


FORMAT: Final = "sinkscope-trajectory-3"
PADDING = -1
Place = Annotated[int, Field(ge=0, le=2**31 - 1)]
MOST_CHANNELS = 1024
BY_QUERY: Final = ("undecided_mass", "given_mass")
"""Arrays of a recording whose mass is told apart by the state of its queries; the rest is paid by written ones."""
_SEEDS = RecordSpec.model_fields["seed"].metadata


class RecordedModel(BaseModel, extra="forbid", frozen=True):
    """The model a trajectory was recorded from. mask_token None: autoregressive, or of uniform noise.

    noise: what an undecided token holds, [MASK] or a random one; None: autoregressive, or not said. value_norms:
    whether norms of values were kept, which say nothing where the model normalises them. windows: how many tokens each
    layer sees back from a query's block, 0 for all; empty where all layers see all. expert_layers: the layers with
    experts, `expert_count` each.
    """

    source: str
    architecture: str
    fingerprint: str
    dtype: str
    device: str
    attention: AttentionKind
    windows: tuple[Place, ...] = ()
    kv_heads: int
    noise: Literal["mask", "uniform"] | None = None
    value_norms: bool = True
    expert_layers: tuple[Place, ...] = ()
    expert_count: Annotated[int, Field(ge=0, le=2**16)] = 0
    mask_token: int | None
    end_tokens: tuple[int, ...]


def why_no_branch(architecture: str, noise: Literal["mask", "uniform"] | None) -> str:
    """Return why texts of this family cannot be branched, or ''. noise: what undecided tokens hold."""
    if noise != "uniform":
        return ""
    return (
        f"A text of {architecture} cannot be branched: every step draws the whole canvas again, so a token that is "
        "written into it does not stay."
    )


class RecordingInfo(BaseModel, extra="forbid", frozen=True):
    """Everything about a trajectory that is not an array.

    block_starts: where the blocks begin that a block-causal model attends by; empty for others. mass_error: largest
    absolute difference between the stored mass and the float32 it was computed in. tokens: text of every token id that
    occurs. seconds: wall time of the recording without loading. branch: where it leaves another recording, if it does.
    """

    format: Literal["sinkscope-trajectory-3"] = FORMAT
    model: RecordedModel
    prompt: str
    prompt_length: int
    block_starts: tuple[Place, ...] = ()
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
    branch: Branch | None = None

    @property
    def by_blocks(self) -> bool:
        """True if the model attends by blocks."""
        return self.model.attention in ("block-causal", "open-block")

    def request(self, model: ModelSpec) -> RecordSpec:
        """Return the request that records this again. Raises ValidationError for forwards over given inputs."""
        reads = self.model.noise == "uniform" and self.model.attention == "causal"
        return RecordSpec.model_validate(
            {
                "model": model,
                "prompt": self.prompt,
                "sampling": self.sampling,
                "seed": self.seed,
                "observe": "reader" if reads else "writer",
                "branch": self.branch,
            }
        )

    @property
    def block_length(self) -> int | None:
        """Tokens per block of a text whose model attends by blocks, where its sampler chose them."""
        return getattr(self.sampling, "block_length", None) if self.by_blocks else None


@dataclass(frozen=True)
class Trajectory:
    """tokens (T, S) int32 and state (T, S) int8, a `TokenState` each; PADDING where ABSENT, which is what a step's
    forward did not hold. queries (T, 2) int32: the first query and one past the last.
    open_block (T, 2) int32: the positions a step wrote in, from and to. confidence (T, S) float32, NaN where no token
    was chosen. mass (T, L, H, S), which sums to the number of queries, and value_norm (T, L, H_kv, S), the norm of each
    key's value, float16 or float32, NaN where ABSENT; None where the model's `value_norms` is False. final (S,) int32.

    experts (T, M, K, S) uint8 or uint16: the K experts each query was sent to in M layers, the one of largest weight
    first; expert_weights (T, M, K, S) float16, NaN where a position was no query. None without experts.

    largest_channel, largest_position (T, L, K) int32 and largest_value (T, L, K) float32: the K channels of largest
    magnitude that each layer left in the residual stream, largest first, and the token of each; largest_median (T, L)
    float32: the median magnitude. All None where they were not asked for.

    undecided_mass, given_mass (T, L, H, S): the mass that undecided and given queries pay, as `mass`; both None where
    mass was not told apart. key_drift, value_drift (T, L, 2, S): cosine distance and relative change (`DRIFTS`) of each
    token's key and value since the step before, in the precision of `mass`; NaN where it was not there, as in the
    first. Both None where they were not asked for.
    """

    info: RecordingInfo
    tokens: np.ndarray
    state: np.ndarray
    queries: np.ndarray
    open_block: np.ndarray
    confidence: np.ndarray
    mass: np.ndarray
    value_norm: np.ndarray | None
    final: np.ndarray
    experts: np.ndarray | None = None
    expert_weights: np.ndarray | None = None
    largest_channel: np.ndarray | None = None
    largest_position: np.ndarray | None = None
    largest_value: np.ndarray | None = None
    largest_median: np.ndarray | None = None
    undecided_mass: np.ndarray | None = None
    given_mass: np.ndarray | None = None
    key_drift: np.ndarray | None = None
    value_drift: np.ndarray | None = None

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

    @property
    def written(self) -> slice:
        """The positions of what the model wrote, up to where it ended its text."""
        first = self.info.prompt_length
        ends = np.flatnonzero(np.isin(self.final[first:], self.info.model.end_tokens))
        return slice(first, first + int(ends[0]) if len(ends) else self.positions)

    @cached_property
    def present(self) -> np.ndarray:
        """Mask of the tokens that a step's forward held, (T, S) bool."""
        return self.state != TokenState.ABSENT

    @cached_property
    def undecided(self) -> np.ndarray:
        """Mask of the tokens that were [MASK] or noise, (T, S) bool."""
        return self.state == TokenState.UNDECIDED

    @cached_property
    def changes(self) -> Changes:
        """Changes that each step made to its tokens."""
        return changes(self.tokens, self.state, self.final, self.info.model.mask_token)

    def counted(self, split: str) -> np.ndarray:
        """Return where the tokens of a row of `SPLITS` are, (T, S) bool."""
        return SPLITS[split].holds(self.state, self.open_block, self.info.prompt_length)

    @property
    def has_blocks(self) -> bool:
        """True if the text was written in several blocks of more than a token."""
        blocks = np.unique(self.open_block, axis=0)
        return len(blocks) > 1 and bool((np.diff(blocks, axis=1) > 1).any())

    @property
    def ends_early(self) -> bool:
        """True if in some step keys lie behind the queries, as under a dual cache."""
        return bool((self.present & (np.arange(self.positions) >= self.queries[:, 1:])).any())

    @property
    def goes_stale(self) -> bool:
        """True if steps reuse keys although the text has changed since, in a model that sees all of it."""
        return self.info.model.attention == "bidirectional" and bool(self.pattern.partial.any())

    @property
    def share_undecided(self) -> np.ndarray:
        """Undecided share of the tokens present, (T,)."""
        return self.undecided.sum(axis=1) / self.present.sum(axis=1)

    @cached_property
    def pattern(self) -> AttentionPattern:
        """Pattern of the keys that the queries of each step see."""
        info = self.info
        return AttentionPattern(
            info.model.attention, self.present, self.queries, self.open_block, info.block_starts, info.model.windows
        )

    def relative_mass(self) -> np.ndarray:
        """m·K/Q, (T, L, H, S) float32, with K keys and Q queries in the step: what uniform attention gives is 1 on
        average, whatever part of the text asks. Where every token is a query it is the mass itself.
        """
        mass = self.mass.astype(np.float32)
        for step, factor in enumerate(self.pattern.relative):
            if factor != 1:
                mass[step] *= np.float32(factor)
        return mass

    def labels(self, step: int | None = None) -> list[str]:
        """Text of the token at each position: of the input of a step, or of the finished text."""
        row = self.final if step is None else self.tokens[step]
        return ["" if token == PADDING else self.info.tokens[token] for token in row.tolist()]

    @cached_property
    def names(self) -> TokenNames:
        """Token names, in a step or over all positions."""
        model = self.info.model
        return TokenNames(self.info.tokens, self.tokens, self.state, self.final, model.mask_token, model.noise)

    def kept_forward(self, step: int) -> KeptForward | None:
        """Return the earlier forward whose keys a step reuses, in a recording that `goes_stale`; None elsewhere,
        and for a step that ran the whole text.
        """
        partial = self.pattern.partial
        if not partial[step] or not self.goes_stale:
            return None
        opened = int(np.flatnonzero(~partial[:step])[-1])
        first, end = self.queries[step].tolist()
        return KeptForward(tokens=self.input_tokens(opened), queries=(first, end))

    def input_tokens(self, step: int) -> tuple[int, ...]:
        """Token ids that went into a step's forward, without padding."""
        row = self.tokens[step]
        return tuple(row[row != PADDING].tolist())


FLOAT32_LIMIT = 64 * 2**20  # bytes of mass up to which `auto` stores float32

OnStep = Callable[[int, "Step", np.ndarray, np.ndarray], None]
"""Called after each step with its number, the step, the tokens (S,) after it, the confidence (S,) of those chosen."""


def tokens_written(trajectory: Trajectory) -> np.ndarray:
    """Count the tokens that each forward wrote, (T,) int."""
    return trajectory.changes.written.sum(axis=1)


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
