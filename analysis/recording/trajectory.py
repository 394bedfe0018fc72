"""A recorded trajectory: what went into every denoising step, and where attention went in it.

`tokens[t]` and `state[t]` are the INPUT of forward t; the finished text is `final`. It holds the text of its tokens, so
that it is read without the model. Imports no torch.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from analysis.sinks.attention_pattern import AttentionPattern
from analysis.sinks.token_names import TokenNames
from analysis.sinks.token_states import SPLITS, Changes, TokenState, changes
from analysis.specs import Branch, KeptForward, ModelSpec, RecordSpec, Replay, Sampling
from analysis.specs.attention_kinds import AttentionKind

FORMAT: Final = "sinkscope-trajectory-3"
PADDING = -1
Place = Annotated[int, Field(ge=0, le=2**31 - 1)]
MOST_CHANNELS = 1024
BY_QUERY: Final = ("undecided_mass", "given_mass")
"""Arrays of a recording whose mass is told apart by the state of its queries; the rest is paid by written ones."""
_SEEDS = RecordSpec.model_fields["seed"].metadata


class RecordedModel(BaseModel):
    """The model a trajectory was recorded from. mask_token None: autoregressive, or of uniform noise.

    noise: what an undecided token holds, [MASK] or a random one; None: autoregressive, or not said. value_norms:
    whether norms of values were kept, which say nothing where the model normalises them. windows: how many tokens each
    layer sees back from a query's block, 0 for all; empty where all layers see all. expert_layers: the layers with
    experts, `expert_count` each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

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


class RecordingInfo(BaseModel):
    """Everything about a trajectory that is not an array.

    block_starts: where the blocks begin that a block-causal model attends by; empty for others. mass_error: largest
    absolute difference between the stored mass and the float32 it was computed in. tokens: text of every token id that
    occurs. seconds: wall time of the recording without loading. branch: where it leaves another recording, if it does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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
