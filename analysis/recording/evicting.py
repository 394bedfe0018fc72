"""Forwards with a part of the keys and values: hidden from queries, or gone from a cache.

Where every forward is whole, keys are hidden: they are computed and no query attends to them. Where a text before an
open block is cached, keys and values leave the cache and do not come back. What is kept is chosen in `keeping.py`.
Shapes: B sequences, L layers, S positions of the text, Q queries, K keys.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from analysis.attention import AttentionInputs, BlockedKeys
from analysis.models.devices import synchronize
from analysis.models.kept_keys import KeptKeys
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.models.prefix import PrefixCache
from analysis.recording.ablation import queries_seeing
from analysis.recording.keeping import Counts, Held, Keeper, count_kept, distances
from analysis.sinks.definitions import find_sinks
from analysis.sinks.token_states import TokenState
from analysis.specs import SinkParams

KeptBefore = dict[tuple[str, float], list[list[Counts]]]
"""What a `Keeper` knows of the policies before it."""


# --- forwards ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A forward that a sampler asks for, as `BlockPredict` has it. rows: sequences that are no copy for guidance."""

    tokens: torch.Tensor
    rows: int
    layout: Layout | None
    first: int
    aligned: bool
    queries: tuple[int, int] | None

    @property
    def span(self) -> tuple[int, int]:
        """The first query and one past the last."""
        return self.queries or (self.first, self.tokens.shape[1])

    def states(self, model: LoadedModel, prompt_length: int) -> np.ndarray:
        """The `TokenState` of each token, (rows, S)."""
        return token_states(model, self.tokens[: self.rows], [prompt_length] * self.rows)


def token_states(model: LoadedModel, tokens: torch.Tensor, given: Sequence[int]) -> np.ndarray:
    """Return the `TokenState` of each token of texts (B, S), of which so many are given at the start."""
    ids = tokens.cpu().numpy()
    undecided = ids == model.mask_token if model.mask_token is not None else np.zeros(ids.shape, bool)
    state = np.where(np.arange(ids.shape[1]) < np.array(given)[:, None], TokenState.GIVEN, TokenState.COMMITTED)
    return np.where(undecided, TokenState.UNDECIDED, state).astype(int)


class KeyAttention:
    """An `Observer` of the attention that each key draws, mean over heads: from all queries and from the undecided
    ones, (B, K) float32 a layer. undecided (B, Q) bool; where a row has none, all its queries count. bytes: that a
    position takes in all layers.
    """

    def __init__(self, undecided: np.ndarray) -> None:
        none = ~undecided.any(axis=1, keepdims=True)
        self._weights = torch.from_numpy((undecided | none).astype(np.float32))
        self._all: dict[int, torch.Tensor] = {}
        self._masked: dict[int, torch.Tensor] = {}
        self.bytes = 0

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        inputs = inputs.rows(len(self._weights))
        key, value = inputs.key, inputs.value
        self.bytes += key.element_size() * key.shape[1] * (key.shape[3] + value.shape[3])
        weights, start = self._weights.to(key.device), 0
        everyone = masked = torch.zeros(key.shape[0], key.shape[2], device=key.device)
        for paid in inputs.probabilities():
            by_query = paid.mean(dim=1)
            everyone = everyone + by_query.sum(dim=1)
            masked = masked + (by_query * weights[:, start : start + paid.shape[2], None]).sum(dim=1)
            start += paid.shape[2]
        self._all[layer], self._masked[layer] = everyone.cpu(), masked.cpu()

    def now(self) -> np.ndarray:
        """Attention from all queries, (B, L, K)."""
        return torch.stack([self._all[layer] for layer in sorted(self._all)], dim=1).numpy()

    def masked(self) -> np.ndarray:
        """Attention from undecided queries, (B, L, K)."""
        return torch.stack([self._masked[layer] for layer in sorted(self._masked)], dim=1).numpy()


@dataclass(frozen=True)
class HiddenKeys:
    """An `Edit`: no query attends to these keys, (B, L, S) bool; a layer that hides none is left as it is."""

    hidden: np.ndarray

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        here = self.hidden[:, layer]
        return BlockedKeys(torch.from_numpy(here))(layer, inputs) if here.any() else inputs


@dataclass
class Told:
    """Of one text under a policy, a number a forward: divergence in nats of its predictions from those of the full run
    on the same input; share of positions kept, mean over layers; bytes of keys and values kept, and of all;
    milliseconds of forwards over a cache, none where keys are hidden.
    """

    divergence: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)
    full_bytes: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def means(self) -> dict[str, float | None]:
        """The mean of each over the forwards, of milliseconds the median, None where there is none. A text that never
        had a context to keep a part of is the full one.
        """
        return {
            "divergence": float(np.mean(self.divergence or [0.0])),
            "share": float(np.mean(self.share or [1.0])),
            "bytes": float(np.mean(self.bytes or [0.0])),
            "full_bytes": float(np.mean(self.full_bytes or [0.0])),
            "milliseconds": float(np.median(self.milliseconds)) if self.milliseconds else None,
        }


class Chooser:
    """What every way of keeping a part has: the model, and what its keepers look at."""

    def __init__(self, model: LoadedModel, prompt_length: int, params: SinkParams) -> None:
        self.model, self.prompt_length, self.params = model, prompt_length, params

    def held(
        self,
        call: Call,
        state: np.ndarray,
        positions: np.ndarray,
        context: np.ndarray,
        now: np.ndarray,
        masked: np.ndarray,
        accumulated: np.ndarray,
        queries: int,
        span: tuple[int, int],
    ) -> list[Held]:
        """Return what each layer holds of the context. state (S,); positions (L, K): of the keys that were attended to,
        now and masked (L, K): what they drew from so many queries; context (K,) bool: those among which to choose;
        accumulated (L, S). span: where text is written from now on.
        """
        length = len(state)
        each_query = np.float32(positions.shape[1] / queries)  # in these units uniform attention gives 1 on average
        visible = each_query * queries_seeing(self.model.architecture, length, call.layout, call.span)
        sinks = find_sinks(now * each_query, self.params, visible[positions])
        undecided = state == TokenState.UNDECIDED
        return [
            Held(
                places[context],
                state[places[context]],
                sinks[layer][context],
                distances(places[context], span, undecided),
                now[layer][context],
                masked[layer][context],
                accumulated[layer][places[context]],
            )
            for layer, places in enumerate(positions)
        ]


# --- hiding -----------------------------------------------------------------------------------------------------


class Hiding(Chooser):
    """Whole forwards in which keys are hidden, one row of a batch per keeper.

    Choosing goes by the untouched forward of the same input: it is what a policy could do that knows the present step.
    """

    def __init__(self, model: LoadedModel, prompt_length: int, params: SinkParams, keepers: Sequence[Keeper]) -> None:
        super().__init__(model, prompt_length, params)
        self.keepers = keepers
        self.told = [Told() for _ in keepers]
        self._accumulated = np.zeros((0, 0, 0), np.float32)

    def untouched(self, call: Call, state: np.ndarray, keep: int | None = None) -> tuple[torch.Tensor, KeyAttention]:
        """Run a forward as it is. Returns its logits, all or the last `keep`, and what its keys drew in the rows of
        `state`.
        """
        seen = KeyAttention(state == TokenState.UNDECIDED)
        logits = self.model.predict(
            call.tokens[: len(state)] if keep else call.tokens,
            seen,
            keep=keep,
            layout=call.layout,
            aligned=call.aligned,
        )
        return logits, seen

    def predict(self, call: Call) -> torch.Tensor:
        """Logits (B, S, V) of a forward whose texts go their own ways with their keys hidden."""
        state = call.states(self.model, self.prompt_length)
        _, seen = self.untouched(call, state, keep=1)
        hidden = self.hidden(call, state, seen).hidden
        twice = np.tile(hidden, (len(call.tokens) // call.rows, 1, 1))  # under guidance, without the prompt too
        return self.run(call.tokens, call, HiddenKeys(twice))

    def run(self, tokens: torch.Tensor, call: Call, edit: HiddenKeys) -> torch.Tensor:
        """Logits (B, S, V) of tokens (B, S) with keys hidden."""
        return self.model.predict(tokens, edit=edit, layout=call.layout, aligned=call.aligned)

    def hidden(self, call: Call, state: np.ndarray, seen: KeyAttention) -> HiddenKeys:
        """Choose what is hidden for each keeping, (keepings, L, S), from the row of its text, or the only one."""
        now, masked = seen.now(), seen.masked()
        rows, layers, length = now.shape
        grown = np.zeros((rows, layers, length), np.float32)
        grown[..., : self._accumulated.shape[-1]] = self._accumulated if self._accumulated.size else 0
        self._accumulated = grown + now
        positions = np.tile(np.arange(length), (layers, 1))
        hidden = np.ones((len(self.keepers), layers, length), bool)
        of_row: list[list[Held]] = [
            self.held(
                *(call, state[row], positions, np.ones(length, bool), now[row], masked[row], self._accumulated[row]),
                *(length, (0, length)),
            )
            for row in range(rows)
        ]
        for number, (keeper, told) in enumerate(zip(self.keepers, self.told, strict=True)):
            held = of_row[number if rows > 1 else 0]
            count = count_kept(keeper.keeping.budget, length)
            for layer, index in enumerate(keeper.choose(held, count)):
                hidden[number, layer, index] = False
            share = float(1 - hidden[number].mean())
            told.share.append(share)
            told.full_bytes.append(seen.bytes * length)
            told.bytes.append(share * seen.bytes * length)
        return HiddenKeys(hidden)


# --- caches -----------------------------------------------------------------------------------------------------


class Evicting(Chooser):
    """Forwards over a cache from which positions go, of one text. The first forward of a block sees all that is there
    and decides; the others of the block run over what was kept.
    """

    def __init__(self, model: LoadedModel, prompt_length: int, params: SinkParams, keeper: Keeper) -> None:
        super().__init__(model, prompt_length, params)
        self.keeper = keeper
        self.told = Told()
        self._cache: PrefixCache | KeptKeys = (PrefixCache if model.architecture.by_blocks else KeptKeys)(model)
        self._positions = np.zeros((model.geometry.layers, 0), np.int64)
        self._accumulated = np.zeros((model.geometry.layers, 0), np.float32)
        self._decided_at = -1
        self._pending: KeyAttention | None = None
        self._full = 0.0
        self._behind = False

    def predict(self, call: Call) -> tuple[torch.Tensor, bool]:
        """Logits (B, Q, V) of a forward, and whether it went over a cache from which positions had gone."""
        state = call.states(self.model, self.prompt_length)[0]
        self._accumulated = _grown(self._accumulated, len(state))
        if isinstance(self._cache, PrefixCache):
            return self._over_prefix(self._cache, call, state)
        return self._over_kept(self._cache, call, state)

    def _over_prefix(self, cache: PrefixCache, call: Call, state: np.ndarray) -> tuple[torch.Tensor, bool]:
        before, first, end, layout = cache.read, call.first, call.tokens.shape[1], call.layout
        assert layout is not None
        undecided = (state == TokenState.UNDECIDED)[None]
        reader = KeyAttention(undecided[:, before:first]) if before < first else None
        deciding = call.aligned and first > self._decided_at
        looked = KeyAttention(undecided[:, first:]) if deciding or not call.aligned else None
        logits, milliseconds = self._timed(
            lambda: cache.predict(call.tokens, first, layout, looked, call.aligned, reader)
        )
        if reader is not None:
            self._hold(before, first)
            self._accumulate(self._positions, reader.now()[0])
        if looked is not None:
            own = np.tile(np.arange(first, end), (len(self._positions), 1))
            seen = np.concatenate([self._positions, own], axis=1)
            self._accumulate(seen, looked.now()[0])
            if not call.aligned:
                self._hold(first, end)
            elif first:
                self._decide(call, state, seen, looked, end - first, (first, end))
                cache.keep(self._chosen)
        if looked is None and reader is None and first:
            self._tell(call, milliseconds, cache.bytes)
        behind, self._behind = self._behind, self._behind or (deciding and first > 0)
        self._decided_at = first if deciding else self._decided_at
        return logits, behind

    def _over_kept(self, cache: KeptKeys, call: Call, state: np.ndarray) -> tuple[torch.Tensor, bool]:
        length = len(state)
        first, end = call.span
        if (first, end) == (0, length):
            self._pending = KeyAttention((state == TokenState.UNDECIDED)[None])
            self._positions = np.tile(np.arange(length), (len(self._positions), 1))
            logits = cache.predict(call.tokens, (first, end), self._pending)
            self._accumulate(self._positions, self._pending.now()[0])
            return logits, False
        if self._pending is not None:
            whole = self._positions
            outside = (whole[0] < first) | (whole[0] >= end)
            self._decide(call, state, whole, self._pending, length, (first, end), outside)
            places = np.flatnonzero(outside)
            cache.keep([places[index] for index in self._chosen])
            self._pending = None
        logits, milliseconds = self._timed(lambda: cache.predict(call.tokens, (first, end)))
        self._tell(call, milliseconds, cache.bytes)
        return logits, True

    def _decide(
        self,
        call: Call,
        state: np.ndarray,
        positions: np.ndarray,
        seen: KeyAttention,
        queries: int,
        span: tuple[int, int],
        context: np.ndarray | None = None,
    ) -> None:
        """Choose among the context, (K,) bool of the positions (L, K), or those before the queries."""
        if context is None:
            context = np.arange(positions.shape[1]) < self._positions.shape[1]
        held = self.held(
            call, state, positions, context, seen.now()[0], seen.masked()[0], self._accumulated, queries, span
        )
        every = len(state) - (span[1] - span[0])
        self._chosen = self.keeper.choose(held, count_kept(self.keeper.keeping.budget, every))
        kept = [layer.positions[index] for layer, index in zip(held, self._chosen, strict=True)]
        self._positions = np.stack(kept)
        self._share = self._positions.shape[1] / every if every else 1.0
        self._full = float(seen.bytes * every)

    def _tell(self, call: Call, milliseconds: float, held_bytes: int) -> None:
        self.told.milliseconds.append(milliseconds)
        self.told.bytes.append(held_bytes * call.rows / len(call.tokens))  # under guidance the cache holds two texts
        self.told.full_bytes.append(self._full)
        self.told.share.append(self._share)

    def _hold(self, first: int, end: int) -> None:
        """Add positions that the cache holds from now on."""
        read = np.tile(np.arange(first, end), (len(self._positions), 1))
        self._positions = np.concatenate([self._positions, read], axis=1)

    def _accumulate(self, positions: np.ndarray, drawn: np.ndarray) -> None:
        np.add.at(self._accumulated, (np.arange(len(positions))[:, None], positions), drawn)

    def _timed(self, forward: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
        synchronize(self.model.device)
        started = time.perf_counter()
        logits = forward()
        synchronize(self.model.device)
        return logits, 1000 * (time.perf_counter() - started)


def _grown(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows (L, S') filled up with zeros to (L, length)."""
    return np.pad(rows, ((0, 0), (0, max(0, length - rows.shape[1]))))
