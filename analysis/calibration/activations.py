"""Feature scores from a dense model's activations on noised text: one number per feature of every projection.

    s_j = Σ_n Σ_t c_t · ‖ω_{n,t} ⊙ X_{n,t,j}‖₂        (arXiv 2602.17664; the step weights c, 1 by default, are ours)

X is the input of a projection, the norm runs over the tokens of one sequence, and ω = 1 − λ·φ discounts sinks (1 for
the control). φ is known only after the last layer. So a step's block inputs are kept until then where they fit a byte
budget: one forward. Else the model runs twice, first for φ and then for the norms. Both ways give the same bits.

Shapes: N sequences, T noise levels, B rows of a forward, L layers, S positions, F features.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from analysis.calibration.norms import NoisedNorms, PooledNorms, Scores, Weights, new_statistics, of_layer, scores_of
from analysis.calibration.runners import Given, OnForward, Read, Resident, Runner, reading
from analysis.errors import UserError
from analysis.models.experts import ExpertMatrix, Routed, packed_name
from analysis.models.loaded import Projection
from analysis.sinks.discount import Moved, discounted, scored_mass, sink_scores, token_weights
from analysis.specs import DiscountParams

# Fixed, never taken from free memory: the size of a batch decides the last bits. More is no faster on a CPU, and a GPU
# is busy with so many tokens of a model that takes long.
TOKENS_A_FORWARD = 512

OnProgress = Callable[[int, int], None]
"""Called with the forwards done and their total."""

MovedScores = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(φ, mass) of token rows -> φ in other places."""


class Collected(NamedTuple):
    """scores: float64 on the CPU, even for experts that no token counted for. facts: for the report: `mode` (one
    forward per step, or two passes), `forwards` (batches run), `rows_a_forward`, `kept_bytes` (of inputs, at most at
    once), and the experts that no token counted for, where there are any.
    """

    scores: Scores
    facts: dict[str, Any]


@dataclass
class Rows:
    """Distinct token rows of one noise level. members[i]: the sequences whose text of this level is row i. step: c."""

    tokens: torch.Tensor
    members: list[np.ndarray]
    step: float = 1.0
    level: int = 0

    @property
    def times(self) -> list[float]:
        """Weight of each row."""
        return [self.step * len(members) for members in self.members]

    def weighed(self, weights: np.ndarray) -> Weights:
        """The token weights of these rows, of ω (N or 1, T or 1, L or 1, S)."""
        level = self.level if weights.shape[1] > 1 else 0
        if len(weights) == 1:
            return [(weights[:, level], times) for times in self.times]
        return [(weights[members, level], self.step) for members in self.members]


@torch.no_grad()
def feature_scores(
    runner: Runner,
    inputs: np.ndarray,
    discount: DiscountParams | None,
    budget: int,
    on_forward: OnProgress = lambda done, total: None,
    steps: np.ndarray | None = None,
    pooled: bool = False,
    moved: Moved | None = None,
) -> Collected:
    """s of every projection over token rows (N, T, S) int64. discount None counts every token fully.

    budget: bytes that kept block inputs may take. steps: c of every level (T,), 1 without. pooled: one norm over all
    rows in place of the sum of theirs, (Σ c ‖ω ⊙ X‖²)^½. moved: discounts other tokens.
    """
    size = max(1, TOKENS_A_FORWARD // inputs.shape[-1])
    batches = level_rows(inputs, steps)
    tokens = [rows.tokens for rows in batches]
    most = min(size, len(inputs))
    need = kept_bytes(runner, most * inputs.shape[-1])
    gathered = new_statistics(PooledNorms if pooled else NoisedNorms, runner.groups)

    def add(weights: Weights, layer: int, name: str, given: torch.Tensor, positions: torch.Tensor | None) -> None:
        gathered[layer][name].add(given, of_layer(weights, layer), positions)

    known = discount is None or runner.known_masses(tokens) is not None
    at_once = discount is not None and discount.sink_steps == "each" and isinstance(runner, Resident) and need <= budget
    count = ForwardCount((1 if known or at_once else 2) * len(batches), on_forward)
    if not known and at_once:
        assert isinstance(runner, Resident) and discount is not None
        kept, masses = KeptInputs(runner, most, inputs.shape[-1]), []
        for rows in batches:
            masses.append(runner.mass_and_inputs(rows.tokens, kept.keep))
            kept.show(partial(add, _row_weights(masses[-1], rows, discount, moved)))
            count.step()
        runner.keep_masses(tokens, masses)
    else:
        need = 0
        by_batch = row_weights(runner, batches, discount, inputs, count.step, moved)
        runner.inputs(tokens, lambda batch, *given: add(by_batch[batch], *given), count.step)
    scores, facts = scores_of(gathered, runner)
    mode = "one forward" if known or at_once else "two passes"
    told = {"mode": mode, "forwards": count.done, "rows_a_forward": size, "kept_bytes": need}
    return Collected(scores, told | facts)


@torch.no_grad()
def row_weights(
    runner: Runner,
    batches: list[Rows],
    discount: DiscountParams | None,
    inputs: np.ndarray,
    on_forward: OnForward,
    moved: Moved | None,
) -> list[Weights]:
    """Token weights of every row of `level_rows` of inputs (N, T, S).

    Without a discount all are 1; else one forward per batch finds the sinks, none where their mass is known.
    """
    if discount is None:
        return [[(np.ones((1, 1, inputs.shape[-1]), np.float32), times) for times in rows.times] for rows in batches]
    masses = runner.masses([rows.tokens for rows in batches], on_forward)
    if discount.sink_steps == "each":
        return [_row_weights(mass, rows, discount, moved) for mass, rows in zip(masses, batches, strict=True)]
    weights = token_weights(_by_sequence(masses, batches, inputs.shape), discount, _of(moved, inputs))
    return [[(weights[members, 0], rows.step) for members in rows.members] for rows in batches]


@torch.no_grad()
def step_token_weights(
    runner: Runner,
    inputs: np.ndarray,
    discount: DiscountParams | None,
    on_forward: OnProgress,
    moved: Moved | None = None,
) -> np.ndarray:
    """ω (N, T or 1, L or 1, S) float32 of every token of rows (N, T, S); (1, 1, 1, S) of ones without a discount."""
    if discount is None:
        return np.ones((1, 1, 1, inputs.shape[-1]), np.float32)
    return token_weights(_masses(runner, inputs, on_forward), discount, _of(moved, inputs))


def level_rows(inputs: np.ndarray, steps: np.ndarray | None = None) -> list[Rows]:
    """The distinct rows of (N, T, S), level by level, as they are run together. steps: c of every level (T,)."""
    size = max(1, TOKENS_A_FORWARD // inputs.shape[-1])
    steps = np.ones(inputs.shape[1]) if steps is None else steps
    return [
        replace(rows, step=float(step), level=level)
        for level, step in enumerate(steps)
        for rows in distinct_rows(inputs[:, level], size)
    ]


@torch.no_grad()
def mean_token_weights(
    runner: Runner,
    inputs: np.ndarray,
    discount: DiscountParams,
    on_forward: OnProgress,
    moved: MovedScores | None = None,
) -> np.ndarray:
    """ω̄ (N, 1 or L, S): the weight of a token by its sink score averaged over the noise levels of rows (N, T, S).

    Of noised text beside its clean copy, that of the copy's tokens. moved: gives mean φ and mass, (N, 1, 1 or L, S)
    each, the φ in other places.
    """
    scored = scored_mass(_masses(runner, inputs, on_forward), discount.sink_scope)
    scores, mass = (
        each.mean(axis=1, keepdims=True, dtype=np.float32) for each in (sink_scores(scored, discount), scored)
    )
    if runner.model.architecture.beside_clean:
        scores, mass = (np.ascontiguousarray(each[..., each.shape[-1] // 2 :]) for each in (scores, mass))
    return discounted(scores if moved is None else moved(scores, mass), discount)[:, 0]


def _masses(runner: Runner, inputs: np.ndarray, on_forward: OnProgress) -> np.ndarray:
    """Mass (N, T, L, S) of token rows (N, T, S)."""
    batches = level_rows(inputs)
    masses = runner.masses([rows.tokens for rows in batches], ForwardCount(len(batches), on_forward).step)
    return _by_sequence(masses, batches, inputs.shape)


def _by_sequence(masses: list[np.ndarray], batches: list[Rows], shape: tuple[int, ...]) -> np.ndarray:
    """Mass (N, T, L, S) from the distinct rows of each level. Batches come level by level."""
    sequences, levels, length = shape
    mass = np.empty((sequences, levels, masses[0].shape[1], length), np.float32)
    level = seen = 0
    for sequence_masses, rows in zip(masses, batches, strict=True):
        _require_finite(sequence_masses)
        for row, members in zip(sequence_masses, rows.members, strict=True):
            mass[members, level] = row
            seen += len(members)
        if seen == sequences:
            level, seen = level + 1, 0
    return mass


def distinct_rows(tokens: np.ndarray, size: int) -> Iterator[Rows]:
    """Token rows (N, S) without repetition, at most `size` together: a level that masks all is the same for every text.

    Rows keep the order in which they first occur.
    """
    _, first, inverse = np.unique(tokens, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(first)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        yield Rows(torch.from_numpy(tokens[first[chosen]]), [np.flatnonzero(inverse == row) for row in chosen])


class KeptInputs:
    """Every distinct block input of one forward of at most `rows` rows of `length` tokens.

    Copied into the same memory forward after forward: tensors that outlive a forward one by one would leave holes
    between them which hardly anything fits, and the system would have to clear new pages every time.
    """

    def __init__(self, runner: Runner, rows: int, length: int) -> None:
        self._used = 0
        self._blocks = runner.model.blocks
        self._held: dict[tuple[int, str], torch.Tensor] = {}
        self._chosen: dict[tuple[int, str], torch.Tensor] = {}
        for layer, name, features, chosen in _kept(runner):
            example = next(self._blocks[layer].parameters())
            self._held[layer, name] = example.new_empty((rows, length, features))
            if chosen:
                self._chosen[layer, name] = example.new_empty((rows, length, chosen), dtype=torch.int64)

    def keep(self, layer: int, name: str, module: nn.Module, given: Given) -> None:
        """Copy inputs (B, S, F), and for experts also which are chosen."""
        states = given if isinstance(given, torch.Tensor) else given.states
        self._used = len(states)
        self._held[layer, name][: self._used].copy_(states)
        if isinstance(given, Routed):
            self._chosen[layer, name][: self._used].copy_(given.experts)

    def show(self, read: Read) -> None:
        """Pass every input of the last forward to `read`."""
        spread = reading(read)
        for (layer, name), held in self._held.items():
            states, chosen = held[: self._used], self._chosen.get((layer, name))
            if chosen is None:
                read(layer, name, states, None)
            else:
                experts = self._blocks[layer].get_submodule(name)
                spread(layer, name, experts, Routed(states, chosen[: self._used]))


def _kept(runner: Runner) -> Iterator[tuple[int, str, int, int]]:
    """Yield layer, name and features of every block input that is kept, and the experts per token with it. Of the
    experts of a layer, what their tokens are made of is kept once.
    """
    for layer, (block, group) in enumerate(zip(runner.model.blocks, runner.groups, strict=True)):
        modules = runner.model.projections(block)
        for name in group:
            if not isinstance(modules[name], ExpertMatrix):
                yield layer, name, rows_of(modules[name]).shape[1], 0
        packed = packed_name(block)
        if packed is not None:
            yield layer, packed, runner.model.geometry.hidden, runner.model.geometry.experts_per_token


def kept_bytes(runner: Runner, tokens: int) -> int:
    """Bytes of every distinct block input of so many tokens, in the model's precision."""
    width = runner.model.network.dtype.itemsize
    return tokens * sum(features * width + chosen * 8 for _, _, features, chosen in _kept(runner))


def turned(module: Projection, matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix (out, in) as a module keeps it, or the other way round. A view."""
    return matrix.T if isinstance(module, Conv1D) else matrix


def rows_of(module: Projection) -> torch.Tensor:
    """A projection's weight as (out, in), whichever way the module keeps it. A view."""
    return turned(module, module.weight.data)


def _row_weights(mass: np.ndarray, rows: Rows, discount: DiscountParams, moved: Moved | None) -> Weights:
    _require_finite(mass)
    weights = token_weights(mass[:, None], discount, _of(moved, rows.tokens.numpy()[:, None]))
    return list(zip(weights, rows.times, strict=True))


def _of(moved: Moved | None, tokens: np.ndarray) -> MovedScores | None:
    """Return `moved` for these token rows (N, T, S), as a function of scores and mass; None without `moved`."""
    return None if moved is None else lambda scores, mass: moved(scores, mass, tokens)


def _require_finite(mass: np.ndarray) -> None:
    bad = ~np.isfinite(mass).all(axis=(0, 2))
    if bad.any():
        raise UserError(
            f"The attention of layer {int(bad.argmax())} is not finite (NaN or infinite), so nothing was pruned. "
            "Run in float32, or check the checkpoint."
        )


@dataclass
class ForwardCount:
    """Forwards done of a total, which `tell` is told."""

    total: int
    tell: OnProgress
    done: int = 0

    def step(self) -> None:
        """Count one more."""
        self.done += 1
        self.tell(self.done, self.total)


def unreached_note(unreached: Mapping[str, Sequence[int]], experts: int, whole: bool) -> str:
    """Describe the experts that no token counted for, by layer. experts: of each layer. whole: whether experts are
    cut out as a whole.
    """
    count = sum(map(len, unreached.values()))
    where = "; ".join(f"layer {layer}: {', '.join(map(str, numbers))}" for layer, numbers in unreached.items())
    return (
        f"No token of the calibration counted for {count} of the experts ({experts} per layer), so "
        f"{'they were ranked as worth nothing' if whole else 'their weights were ranked by magnitude'}: {where}."
    )
