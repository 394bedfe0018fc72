"""Observing attention: a registered attention implementation that shows an observer the inputs of each layer's
attention.

The output is always plain scaled-dot-product attention, so observing does not change a single logit. An observer passed
to `forward(attn_observer=...)` receives the query and key of every layer and computes in pieces: scores of a few MB at
once. Mass that affects decisions is `AttentionInputs.mass`, mass for display `AttentionInputs.shown_mass`, which is
quicker and rounds differently.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple, Protocol, cast

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from analysis.attention import fused, log_sum_exp
from analysis.errors import UserError

IMPLEMENTATION = "sinkscope"
CHUNK = 128  # queries
# Probabilities per piece when only summed: as many as fit a CPU core's cache, or keep a GPU busy.
_CACHED, _BUSY = 2**18, 2**24


@dataclass(frozen=True)
class AttentionInputs:
    """Inputs of one layer's attention: query (B, H, Q, D), key and value (B, H_kv, S, D), mask (B, 1, Q, S) or None.

    log_sum_exp: returns that of each query's scores, (B, H, Q) float32, or None, and runs the layer's attention for it;
    None if unavailable. window: tokens the layer sees back from a query, including it; 0 for all.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    scaling: float
    causal: bool
    log_sum_exp: Callable[[], torch.Tensor | None] | None = None
    window: int = 0

    def rows(self, count: int) -> "AttentionInputs":
        """The first `count` sequences of the batch."""
        return self._part(slice(count))

    def sequences(self, rows: Sequence[int]) -> "AttentionInputs":
        """Some sequences of the batch, each as often as named; without their log-sum-exp, as they are kept from forward
        to forward and it would hold the whole batch.
        """
        return replace(self._part(list(rows)), log_sum_exp=None)

    def queries_from(self, first: int) -> "AttentionInputs":
        """The queries from this one on. Raises ValueError where causality counts from the first."""
        if self.causal:
            raise ValueError("Causal attention without a mask is that of all queries.")
        return self._part(queries=slice(first, None))

    def head(self, head: int) -> "AttentionInputs":
        """One query head with the key head it shares."""
        shared = head // (self.query.shape[1] // self.key.shape[1])
        return self._part(heads=slice(head, head + 1), key_heads=slice(shared, shared + 1))

    def _part(
        self,
        rows: slice | list[int] = slice(None),
        heads: slice = slice(None),
        key_heads: slice = slice(None),
        queries: slice = slice(None),
    ) -> "AttentionInputs":
        """Some sequences, query heads with the key heads they share, and queries; their log-sum-exp is cut out of that
        of all on first use.
        """
        mask, whole = self.mask, self.log_sum_exp
        if mask is not None and mask.shape[0] > 1:
            mask = mask[rows]
        if mask is not None and mask.shape[2] > 1:
            mask = mask[:, :, queries]
        return replace(
            self,
            query=self.query[rows, heads, queries],
            key=self.key[rows, key_heads],
            value=self.value[rows, key_heads],
            mask=mask,
            log_sum_exp=None
            if whole is None
            else lambda: None if (known := whole()) is None else known[rows, heads, queries],
        )

    def mass(self) -> torch.Tensor:
        """Return the sum over queries of the attention paid to each key, (B, H, S) float32, on a CPU by softmax.

        For decisions: masks made from it stay the same to the bit. For display use `shown_mass`.
        """
        mass = fused.mass(self.query, self.key, self.mask, self.scaling, self.causal)
        return self.chunked_mass() if mass is None else mass

    def shown_mass(self) -> torch.Tensor:
        """`mass` in the quickest way, for recordings and plots: from the log-sum-exp where the layer's attention gives
        it. Differs from `mass` by some 1e-6 of a mass in float32 and 5e-5 in bfloat16; half precision, in which large
        recordings are stored, keeps 5e-4.
        """
        known = None if self.log_sum_exp is None else self.log_sum_exp()
        if known is None:
            return self.mass()
        return log_sum_exp.mass(self.query, self.key, self.mask, self.scaling, self.causal, known)

    def paid_by(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the mass that some of the queries pay, (B, H, S) float32, as `shown_mass` sums it. queries (B, Q)."""
        queries = queries.to(self.query.device)
        known = None if self.log_sum_exp is None else self.log_sum_exp()
        if known is not None:  # a query whose scores add up to infinity pays nothing
            silenced = known.masked_fill(~queries[:, None], float("inf"))
            return log_sum_exp.mass(self.query, self.key, self.mask, self.scaling, self.causal, silenced)
        mass = self.query.new_zeros((*self.query.shape[:2], self.key.shape[2]), dtype=torch.float32)
        first = 0
        for probabilities in self.probabilities():
            end = first + probabilities.shape[2]
            mass += (queries[:, None, None, first:end].float() @ probabilities)[:, :, 0]
            first = end
        return mass

    def chunked_mass(self) -> torch.Tensor:
        """Return `mass`, summed in chunks of queries: on any device, and the reference for faster methods."""
        batch, heads, queries, _ = self.query.shape
        key_heads, length = self.key.shape[1], self.key.shape[2]
        group = heads // key_heads
        mass = self.query.new_zeros((batch, heads, length), dtype=torch.float32)
        limit = _CACHED if self.query.device.type == "cpu" else _BUSY
        chunk = min(max(1, limit // (group * length)), queries)
        pairs = max(1, limit // (group * length * chunk))  # of a sequence and a key head
        rows, shared = max(1, pairs // key_heads), min(pairs, key_heads)
        for row in range(0, batch, rows):
            for first in range(0, key_heads, shared):
                here, asking = slice(row, row + rows), slice(first * group, (first + shared) * group)
                for probabilities in self._part(here, asking, slice(first, first + shared)).probabilities(chunk):
                    mass[here, asking] += probabilities.sum(dim=2)
        return mass

    def probabilities(self, chunk: int = CHUNK) -> Iterator[torch.Tensor]:
        """Yield float32 attention probabilities (B, H, chunk, S), queries in order."""
        batch, heads, queries, width = self.query.shape
        key_heads, length = self.key.shape[1], self.key.shape[2]
        key = self.key.float().transpose(2, 3)
        positions = torch.arange(length, device=self.query.device)
        for start in range(0, queries, chunk):
            query = self.query[:, :, start : start + chunk]
            count = query.shape[2]
            # The query heads that share a key head are folded into its rows: no copy of the keys.
            grouped = query.reshape(batch, key_heads, (heads // key_heads) * count, width)
            # In float32 whatever the model's precision, as fused attention computes them: rounded scores would shift
            # single probabilities of a bfloat16 model by several per cent.
            scores = ((grouped.float() * self.scaling) @ key).view(batch, heads, count, length)
            lowest = torch.finfo(scores.dtype).min
            if self.mask is not None:
                mask = self.mask[:, :, start : start + count] if self.mask.shape[2] > 1 else self.mask
                scores = scores.masked_fill(~mask, lowest) if mask.dtype == torch.bool else scores + mask
            if self.causal:
                later = positions > positions[start : start + count, None]
                scores = scores.masked_fill(later, lowest)
            yield torch.softmax(scores, dim=-1, dtype=torch.float32)


def stack_layers(kept: Mapping[int, torch.Tensor], dim: int = 1) -> torch.Tensor:
    """Return what was kept of each layer as one tensor on the CPU, layers in order along a new axis."""
    return torch.stack([kept[layer].cpu() for layer in sorted(kept)], dim=dim)


class Observer(Protocol):
    """Called once a layer and forward. A callable, because accelerate's hooks rebuild dicts and lists of arguments."""

    def __call__(self, layer: int, inputs: AttentionInputs) -> None: ...


def together(*observers: Observer) -> Observer:
    """Return an observer that passes a layer's attention inputs to each of these, in order."""

    def observe(layer: int, inputs: AttentionInputs) -> None:
        for observer in observers:
            observer(layer, inputs)

    return observe


class Edit(Protocol):
    """Change to a layer's attention, once its queries, keys and values exist. Called like an `Observer`."""

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs: ...


@dataclass(frozen=True)
class BlockedKeys:
    """An `Edit`: no query attends to these keys, (S,) or (B, S) bool; one left without any key gets zero."""

    keys: torch.Tensor

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        queries, length = inputs.query.shape[2], inputs.key.shape[2]
        blocked = self.keys.to(inputs.query.device).view(-1, 1, 1, length)
        allowed = (~blocked).expand(-1, 1, queries, length)
        if inputs.mask is not None:
            allowed = allowed & (inputs.mask if inputs.mask.dtype == torch.bool else inputs.mask == 0)
        elif inputs.causal:
            allowed = allowed.tril()
        return replace(inputs, mask=allowed, causal=False)


class Observed(NamedTuple):
    """Attention mass of a forward (B, L, H, S) and the norms of its values (B, L, H_kv, S), float32, CPU.

    paid: the mass that each of M groups of queries pays, (M, B, L, H, S); None without groups.
    """

    mass: torch.Tensor
    value_norm: torch.Tensor
    paid: torch.Tensor | None = None


class MassObserver:
    """Attention mass per head: the sum over queries of the attention paid to each key; and ‖v‖ of each key's value.

    Only the first `rows` sequences of a batch are observed (all if None): under guidance, the conditional half. first:
    the first query whose attention counts. groups: queries whose mass is also summed separately, (M, B, Q) bool, over
    the observed sequences and queries; None for none.
    """

    def __init__(self) -> None:
        self.rows: int | None = None
        self.first = 0
        self.groups: torch.Tensor | None = None
        self._mass: dict[int, torch.Tensor] = {}
        self._norms: dict[int, torch.Tensor] = {}
        self._paid: dict[int, torch.Tensor] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        if self.rows is not None:
            inputs = inputs.rows(self.rows)
        if self.first:
            inputs = inputs.queries_from(self.first)
        self._mass[layer] = inputs.shown_mass()
        self._norms[layer] = inputs.value.float().norm(dim=-1)
        if self.groups is not None:
            self._paid[layer] = torch.stack([inputs.paid_by(group) for group in self.groups])

    def take(self) -> Observed:
        """Return the observations of the last forward and clear them. Raises UserError if they are not finite."""
        layers, mass, norms = sorted(self._mass), stack_layers(self._mass), stack_layers(self._norms)
        paid = stack_layers(self._paid, dim=2) if self._paid else None
        self._mass, self._norms, self._paid = {}, {}, {}
        for measured in (mass, norms):
            bad = ~torch.isfinite(measured).flatten(2).all(dim=2).all(dim=0)
            if bad.any():
                raise UserError(
                    f"The attention of layer {layers[int(bad.int().argmax())]} is not finite (NaN or infinite). Run in "
                    "float32, or check the checkpoint."
                )
        return Observed(mass, norms, paid)


class CanvasMassObserver:
    """Attention mass per head if layers hold different keys, the last ones of the text: a layer with a window drops
    earlier ones. Norms of values are not recorded: DiffusionGemma normalises its values, so they are uninformative.
    """

    def __init__(self) -> None:
        self._mass: dict[int, torch.Tensor] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        self._mass[layer] = inputs.shown_mass()

    def take(self, keys: int) -> torch.Tensor:
        """Mass (B, L, H, keys) float32 on the CPU of the forward just run, 0 where a layer holds no key.

        The observer is empty afterwards. Raises UserError if it is not finite.
        """
        pad = torch.nn.functional.pad
        mass = stack_layers({layer: pad(row, (keys - row.shape[-1], 0)) for layer, row in self._mass.items()})
        self._mass = {}
        if not bool(torch.isfinite(mass).all()):
            raise UserError("The attention is not finite (NaN or infinite). Run in float32, or check the checkpoint.")
        return mass


class Enough(Exception):
    """Raised to end a forward once everything requested has been seen."""


class LayerMassObserver:
    """Attention mass of each layer, summed over heads and queries, as calibration needs it.

    last: the layer after whose mass the forward ends, by raising `Enough`; None to go on.
    """

    def __init__(self, last: int | None = None) -> None:
        self.last = last
        self._mass: dict[int, torch.Tensor] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        self._mass[layer] = inputs.mass().sum(dim=1)
        if layer == self.last:
            raise Enough

    def take(self) -> torch.Tensor:
        """Mass (B, L, S) float32 on the CPU of the forward just run; the observer is empty afterwards."""
        mass, self._mass = stack_layers(self._mass), {}
        return mass


@dataclass
class MapObserver:
    """The whole attention map of one head of one layer, (S, S) float32: row = query, column = key."""

    layer: int
    head: int
    map: torch.Tensor | None = None

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        if layer == self.layer:
            chunks = inputs.rows(1).head(self.head).probabilities()
            self.map = torch.cat([chunk[0, 0].cpu() for chunk in chunks])


# Arguments by which models change their attention probabilities in ways that neither SDPA nor the observer follows.
_UNSERVED = ("s_aux", "sinks", "softcap", "position_bias")


def observed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    attn_observer: Observer | None = None,
    attn_edit: Edit | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: plain SDPA on the inputs, as the edit leaves them, which the observer sees."""
    unserved = sorted(name for name in _UNSERVED if kwargs.get(name) is not None)
    if unserved:
        raise UserError(
            f"This model's attention is not plain softmax attention ({', '.join(unserved)}), so it cannot be observed."
        )
    # LLaDA's rotary embedding leaves query and key in float32; everywhere else this is a no-op.
    query, key = query.to(value.dtype), key.to(value.dtype)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    # SDPA itself applies causality only where no mask is given and there is more than one query.
    causal = bool(causal) and attention_mask is None and query.shape[2] > 1
    # Every class of transformers that attends through a window says so here: its fused kernels are told no other way.
    window = int(kwargs.get("sliding_window") or 0)
    inputs = AttentionInputs(query, key, value, attention_mask, scaling, causal, window=window)
    layer = cast(int, module.layer_idx)
    if attn_edit is not None:
        with torch.no_grad():
            inputs = attn_edit(layer, inputs)
    if attn_observer is not None:
        plain = attn_edit is None and not kwargs.get("dropout")
        states = inputs.query, inputs.key, inputs.value, inputs.mask, inputs.scaling, inputs.causal
        attended = cache(partial(log_sum_exp.attended, *states) if plain else lambda: None)
        with torch.no_grad():
            attn_observer(layer, replace(inputs, log_sum_exp=lambda: None if (it := attended()) is None else it[1]))
        already = attended()
        if already is not None:
            return already.output.transpose(1, 2).contiguous(), None
    if inputs.mask is attention_mask:
        return sdpa_attention_forward(
            module, query, inputs.key, inputs.value, attention_mask, scaling=scaling, **kwargs
        )
    assert inputs.mask is not None and inputs.mask.dtype == torch.bool, "an edit's mask says what may be attended to"
    kwargs["is_causal"] = inputs.causal
    alone = ~inputs.mask.any(dim=-1, keepdim=True)
    output, _ = sdpa_attention_forward(
        module, query, inputs.key, inputs.value, inputs.mask | alone, scaling=scaling, **kwargs
    )
    return output.masked_fill(alone.transpose(1, 2), 0), None


def register() -> None:
    """Make the implementation known to transformers. Without its mask function padding would be silently ignored."""
    AttentionInterface.register(IMPLEMENTATION, observed_attention)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
