"""Forwards with a part of the keys and values: hidden from queries, or gone from a cache.

Where every forward is whole, keys are hidden: they are computed and no query attends to them. Where a text before an
open block is cached, keys and values leave the cache and do not come back. What is kept is chosen in `keeping.py`.
Shapes: B sequences, L layers, S positions of the text, Q queries, K keys.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch

from analysis.attention import AttentionInputs, BlockedKeys, Observer
from analysis.models.canvas import CanvasCache
from analysis.models.kept_keys import KeptKeys, PrefixCache
from analysis.models.layout import Layout, Span
from analysis.models.loaded import LoadedModel, synchronize
from analysis.recording.ablation import divergence, queries_seeing
from analysis.recording.keeping import Held, Keeper, distances
from analysis.sinks.definitions import find_sinks
from analysis.sinks.step_inputs import TokenState
from analysis.specs import SinkParams

# --- forwards ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A forward that a sampler asks for, as `Predict` has it. rows: sequences that are no
    copy for guidance.
    """

    tokens: torch.Tensor
    rows: int
    layout: Layout | None = None
    first: int = 0
    aligned: bool = True
    queries: Span | None = None
    believed: torch.Tensor | None = None
    state: torch.Tensor | None = None

    @property
    def span(self) -> Span:
        """The first query and one past the last."""
        return self.queries or (self.first, self.tokens.shape[1])

    def states(self, model: LoadedModel, prompt_length: int) -> np.ndarray:
        """The `TokenState` of each token, (rows, S)."""
        if self.state is not None:
            return self.state.cpu().numpy().astype(int)
        return token_states(model, self.tokens[: self.rows], [prompt_length] * self.rows)


def token_states(model: LoadedModel, tokens: torch.Tensor, given: Sequence[int]) -> np.ndarray:
    """Return the `TokenState` of each token of texts (B, S), of which so many are given at the start."""
    ids = tokens.cpu().numpy()
    state = np.where(np.arange(ids.shape[1]) < np.array(given)[:, None], TokenState.GIVEN, TokenState.COMMITTED)
    return np.where(ids == model.mask_token, TokenState.UNDECIDED, state).astype(int)


class KeyAttention:
    """An `Observer` of the attention that each key draws, mean over heads, (B, K) float32 a layer. now: from all
    queries. masked: from the undecided ones (B, Q) bool; where a row has none, all its queries count. bytes: that a
    position takes in each layer.
    """

    def __init__(self, undecided: np.ndarray) -> None:
        none = ~undecided.any(axis=1, keepdims=True)
        self._weights = torch.from_numpy((undecided | none).astype(np.float32))
        self.now: list[np.ndarray] = []
        self.masked: list[np.ndarray] = []
        self.bytes: list[int] = []

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        inputs = inputs.rows(len(self._weights))
        key, value = inputs.key, inputs.value
        self.bytes.append(key.element_size() * key.shape[1] * (key.shape[3] + value.shape[3]))
        weights, start = self._weights.to(key.device), 0
        everyone = masked = torch.zeros(key.shape[0], key.shape[2], device=key.device)
        for paid in inputs.probabilities():
            by_query = paid.mean(dim=1)
            everyone = everyone + by_query.sum(dim=1)
            masked = masked + (by_query * weights[:, start : start + paid.shape[2], None]).sum(dim=1)
            start += paid.shape[2]
        self.now.append(everyone.cpu().numpy())
        self.masked.append(masked.cpu().numpy())

    @property
    def size(self) -> int:
        """Return the bytes of its arrays."""
        return sum(drawn.nbytes for drawn in (*self.now, *self.masked))


@dataclass(frozen=True)
class HiddenKeys:
    """An `Edit`: no query attends to these keys, (B, L, S) bool; a layer that hides none is left as it is."""

    hidden: np.ndarray

    @classmethod
    def all_but(cls, kept: Sequence[Sequence[np.ndarray]], length: int) -> Self:
        """Hide all keys of texts of a length but those at these indices, given per text and layer."""
        hidden = np.ones((len(kept), len(kept[0]), length), bool)
        for row, of_row in enumerate(kept):
            for layer, index in enumerate(of_row):
                hidden[row, layer, index] = False
        return cls(hidden)

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        here = self.hidden[:, layer]
        return BlockedKeys(torch.from_numpy(here))(layer, inputs) if here.any() else inputs


@dataclass
class Told:
    """Measures of one text under a policy, one number per forward: divergence in nats of its predictions from those of
    the full run on the same input; share of positions kept, mean over layers; bytes of keys and values kept, and of
    all; milliseconds of forwards over a cache, none where keys are hidden.
    """

    divergence: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)
    full_bytes: list[float] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def means(self) -> dict[str, float | None]:
        """Return the mean of each over the forwards, of milliseconds the median, None where there is none. A text that
        never had a context to keep a part of is the full one.
        """
        return {
            "divergence": float(np.mean(self.divergence or [0.0])),
            "share": float(np.mean(self.share or [1.0])),
            "bytes": float(np.mean(self.bytes or [0.0])),
            "full_bytes": float(np.mean(self.full_bytes or [0.0])),
            "milliseconds": float(np.median(self.milliseconds)) if self.milliseconds else None,
        }


@dataclass
class Chooser:
    """Base of all ways to keep a part: holds the model and what its keepers look at."""

    model: LoadedModel
    prompt_length: int
    params: SinkParams

    def held(
        self,
        call: Call,
        state: np.ndarray,
        positions: Sequence[np.ndarray],
        seen: KeyAttention,
        accumulated: np.ndarray,
        queries: Span,
        span: Span,
        every: Sequence[int],
    ) -> list[list[Held]]:
        """Return what each layer of each text holds outside of the span where text is written from now on, or of all
        of a text that is whole.

        state (B, S); positions: of the keys that were attended to, (K,) for each layer; seen: what they drew from these
        queries, the first and one past the last; accumulated (B, L, S); every: of `Held`.
        """
        rows, length = state.shape
        undecided, windows = state == TokenState.UNDECIDED, self.model.windows or (0,) * len(positions)
        seeing = {
            window: queries_seeing(self.model.architecture, length, call.layout, queries, window)
            for window in set(windows)
        }
        held: list[list[Held]] = [[] for _ in range(rows)]
        for layer, places in enumerate(positions):
            now, masked = seen.now[layer], seen.masked[layer]
            # In these units uniform attention gives 1 on average.
            each_query = np.float32(len(places) / (queries[1] - queries[0]))
            sinks = find_sinks(now * each_query, self.params, (each_query * seeing[windows[layer]])[places])
            context = (places < span[0]) | (places >= span[1]) | (span == (0, length))
            kept = places[context]
            away = np.broadcast_to(distances(kept, span, undecided), (rows, len(kept)))
            for row, layers in enumerate(held):
                layers.append(
                    Held(
                        *(kept, state[row, kept], sinks[row, context], away[row], now[row, context]),
                        *(masked[row, context], accumulated[row, layer, kept], every[layer]),
                    )
                )
        return held

    def held_of_whole(
        self, call: Call, state: np.ndarray, seen: KeyAttention, accumulated: np.ndarray
    ) -> list[list[Held]]:
        """Return `held` of a forward over whole texts."""
        layers, length = self.model.geometry.layers, state.shape[1]
        positions, whole = [np.arange(length)] * layers, (0, length)
        return self.held(call, state, positions, seen, accumulated, whole, whole, [length] * layers)


# --- hiding -----------------------------------------------------------------------------------------------------


@dataclass
class Hiding(Chooser):
    """Whole forwards in which keys are hidden, one row of a batch per keeper.

    Choosing goes by the untouched forward of the same input: it is what a policy could do that knows the present step.
    """

    keepers: Sequence[Keeper]

    def __post_init__(self) -> None:
        self.told = [Told() for _ in self.keepers]
        self._accumulated: np.ndarray | None = None

    def compared(self, call: Call) -> torch.Tensor:
        """Return the logits of the untouched forward, and note what hiding changes in them for each keeper."""
        state = call.states(self.model, self.prompt_length)
        logits, seen = self.untouched(call, state)
        changed = self.run(call.tokens[:1].expand(len(self.told), -1), call, self.hidden(call, state, seen))
        places = _judged(state[0])
        for row, told in enumerate(self.told):
            told.divergence.append(divergence(logits[0, places], changed[row, places]))
        return logits

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
        rows, length = state.shape
        now = np.stack(seen.now, axis=1)
        self._accumulated = now if self._accumulated is None else now + _grown(self._accumulated, length)
        held = self.held_of_whole(call, state, seen, self._accumulated)
        kept = [keeper.choose(held[number if rows > 1 else 0]) for number, keeper in enumerate(self.keepers)]
        edit = HiddenKeys.all_but(kept, length)
        for hidden, told in zip(edit.hidden, self.told, strict=True):
            share = float(1 - hidden.mean())
            told.share.append(share)
            told.full_bytes.append(sum(seen.bytes) * length)
            told.bytes.append(share * sum(seen.bytes) * length)
        return edit


# --- caches -----------------------------------------------------------------------------------------------------


Cache = PrefixCache | CanvasCache | KeptKeys


def new_cache(model: LoadedModel) -> Cache:
    """Return an empty cache of the kind that the model writes over."""
    if model.architecture.noise == "uniform":
        return CanvasCache(model)
    return PrefixCache(model) if model.architecture.by_blocks else KeptKeys(model)


def over_cache(
    cache: Cache, call: Call, observer: Observer | None = None, reader: Observer | None = None
) -> torch.Tensor:
    """Return the logits (B, Q, V) of a forward over a cache. reader: sees what is run to be kept."""
    if isinstance(cache, KeptKeys):
        return cache.predict(call.tokens, call.span, observer)
    if isinstance(cache, CanvasCache):
        return cache.predict(call.tokens, call.first, call.believed, observer, reader)
    assert call.layout is not None
    return cache.predict(call.tokens, call.first, call.layout, observer, call.aligned, reader)


@dataclass
class Evicting(Chooser):
    """Forwards over a cache from which positions go, of one text. The first forward of a block sees all that is there
    and decides; the others of the block run over what was kept.
    """

    keeper: Keeper

    def __post_init__(self) -> None:
        self.told = Told()
        self._cache = new_cache(self.model)
        self._accumulated = np.zeros((self.model.geometry.layers, 0), np.float32)
        self._decided_at = -1
        self._pending: KeyAttention | None = None
        self._full = 0.0
        self._behind = False

    def predict(self, call: Call) -> tuple[torch.Tensor, bool]:
        """Logits (B, Q, V) of a forward, and whether it went over a cache from which positions had gone."""
        state = call.states(self.model, self.prompt_length)[0]
        self._accumulated = _grown(self._accumulated, len(state))
        if isinstance(self._cache, KeptKeys):
            return self._over_kept(self._cache, call, state)
        return self._over_read(self._cache, call, state)

    def logits(self, call: Call) -> torch.Tensor:
        """Logits (B, Q, V) of a forward."""
        return self.predict(call)[0]

    def _over_read(self, cache: PrefixCache | CanvasCache, call: Call, state: np.ndarray) -> tuple[torch.Tensor, bool]:
        before, first, end = cache.read, call.first, call.tokens.shape[1]
        undecided = (state == TokenState.UNDECIDED)[None]
        reader = KeyAttention(undecided[:, before:first]) if before < first else None
        deciding = call.aligned and first > self._decided_at
        looked = KeyAttention(undecided[:, first:]) if deciding or not call.aligned else None
        read = cache.with_those(before, first)
        logits, milliseconds = self._timed(lambda: over_cache(cache, call, looked, reader))
        if reader is not None:
            self._accumulate(read, reader)
        if looked is not None:
            seen = cache.with_those(first, end) if call.aligned else cache.positions
            self._accumulate(seen, looked)
            if call.aligned and first:
                cache.keep(self._decide(call, state, seen, looked, call.span, cache.whole))
        if looked is None and reader is None and first:
            self._tell(call, milliseconds, cache.bytes)
        behind, self._behind = self._behind, self._behind or (deciding and first > 0)
        self._decided_at = first if deciding else self._decided_at
        return logits, behind

    def _over_kept(self, cache: KeptKeys, call: Call, state: np.ndarray) -> tuple[torch.Tensor, bool]:
        length, layers = len(state), len(self._accumulated)
        first, end = call.span
        everywhere = [np.arange(length)] * layers
        if (first, end) == (0, length):
            self._pending = KeyAttention((state == TokenState.UNDECIDED)[None])
            logits = over_cache(cache, call, self._pending)
            self._accumulate(everywhere, self._pending)
            return logits, False
        if self._pending is not None:
            every = [length - (end - first)] * layers
            chosen = self._decide(call, state, everywhere, self._pending, (0, length), every)
            places = np.r_[0:first, end:length]
            cache.keep([places[index] for index in chosen])
            self._pending = None
        logits, milliseconds = self._timed(lambda: over_cache(cache, call))
        self._tell(call, milliseconds, cache.bytes)
        return logits, True

    def _decide(
        self,
        call: Call,
        state: np.ndarray,
        positions: Sequence[np.ndarray],
        seen: KeyAttention,
        queries: Span,
        every: Sequence[int],
    ) -> list[np.ndarray]:
        """Choose in each layer among the positions outside the call's span. queries: those whose attention was seen."""
        (held,) = self.held(call, state[None], positions, seen, self._accumulated[None], queries, call.span, every)
        chosen = self.keeper.choose(held)
        shares = [len(kept) / most if most else 1.0 for kept, most in zip(chosen, every, strict=True)]
        self._share = float(np.mean(shares))
        self._full = float(np.dot(seen.bytes, every))
        return chosen

    def _tell(self, call: Call, milliseconds: float, held_bytes: int) -> None:
        self.told.milliseconds.append(milliseconds)
        self.told.bytes.append(held_bytes * call.rows / len(call.tokens))  # under guidance the cache holds two texts
        self.told.full_bytes.append(self._full)
        self.told.share.append(self._share)

    def _accumulate(self, positions: Sequence[np.ndarray], seen: KeyAttention) -> None:
        for layer, (places, drawn) in enumerate(zip(positions, seen.now, strict=True)):
            self._accumulated[layer, places] += drawn[0]

    def _timed(self, forward: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
        synchronize(self.model.device)
        started = time.perf_counter()
        logits = forward()
        synchronize(self.model.device)
        return logits, 1000 * (time.perf_counter() - started)


@dataclass
class BesideCaches(Chooser):
    """Forwards of the full run over a cache, beside each the same over caches from which positions go."""

    keepers: Sequence[Keeper]

    def __post_init__(self) -> None:
        self._full = new_cache(self.model)
        self._beside = [Evicting(self.model, self.prompt_length, self.params, keeper) for keeper in self.keepers]
        self.told = [evicting.told for evicting in self._beside]

    def compared(self, call: Call) -> torch.Tensor:
        """Return the full run's logits, and note what the others' differ by."""
        logits = over_cache(self._full, call)
        places = _judged(call.states(self.model, self.prompt_length)[0, slice(*call.span)])
        for evicting in self._beside:
            changed, behind = evicting.predict(call)
            if behind:
                evicting.told.divergence.append(divergence(logits[0, places], changed[0, places]))
        return logits


def _judged(state: np.ndarray) -> torch.Tensor:
    """Return the queries whose predictions are compared: the undecided ones of a state (Q,), or the last if none is."""
    undecided = np.flatnonzero(state == TokenState.UNDECIDED)
    return torch.from_numpy(undecided if len(undecided) else np.array([len(state) - 1]))


def _grown(rows: np.ndarray, length: int) -> np.ndarray:
    """Rows (…, L, S') filled up with zeros to (…, L, length)."""
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, max(0, length - rows.shape[-1]))])
