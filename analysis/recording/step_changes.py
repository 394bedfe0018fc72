"""Observers of what changes from one step to the next: keys and values, and the attention maps of heads.

They hold the queries, keys and values of one earlier step, never a map of a whole layer.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from analysis.attention import AttentionInputs, stack_layers
from analysis.recording.steps import Step
from analysis.sinks.drift import DRIFTS

_PIECE = 2**20  # probabilities of a map in one piece
_States = tuple[torch.Tensor, torch.Tensor]  # keys and values by token, (B, S, W) each


class DriftObserver:
    """Observer that compares the keys and values of each forward's first sequence with those of the one before.

    successive: the sequences of a batch are steps that follow each other, all of them observed, and each is compared
    with the one before it.
    """

    def __init__(self, successive: bool = False) -> None:
        self._rows = None if successive else 1
        self._before: dict[int, _States] = {}
        self._drifts: dict[int, torch.Tensor] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        keys, values = _by_token(inputs.key[: self._rows]), _by_token(inputs.value[: self._rows])
        drifts = torch.full((len(keys), len(DRIFTS), keys.shape[1]), float("nan"))
        if layer in self._before:
            _set_drift(drifts[:1], self._before[layer], (keys[:1], values[:1]))
        if len(keys) > 1:
            _set_drift(drifts[1:], (keys[:-1], values[:-1]), (keys[1:], values[1:]))
        self._before[layer], self._drifts[layer] = (keys[-1:], values[-1:]), drifts

    def take(self) -> torch.Tensor:
        """Return the drift of the forward just run, (B, L, 4, S) float32 in the order of `DRIFTS`; NaN for tokens that
        the forward before did not hold.
        """
        drifts, self._drifts = stack_layers(self._drifts), {}
        return drifts

    def beside(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps, each with the drift of its forward."""
        for step in steps:
            yield replace(step, drift=self.take())


def _by_token(states: torch.Tensor) -> torch.Tensor:
    """States (B, H, S, D) of every token with its heads in a row, (B, S, H · D)."""
    return states.transpose(1, 2).flatten(2)


def _set_drift(drifts: torch.Tensor, before: _States, now: _States) -> None:
    """Write the drift of keys and values into (B, 4, S), where both forwards hold the token."""
    both = min(now[0].shape[1], before[0].shape[1])
    for place, (old, new) in enumerate(zip(before, now, strict=True)):
        drifts[:, 2 * place : 2 * place + 2, :both] = _drift(old[:, :both], new[:, :both]).cpu()


def _drift(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """The cosine distance and relative change of states (B, S, W), (B, 2, S) float32."""
    old, new = old.float(), new.float()
    tiny = torch.finfo(torch.float32).tiny
    before, after = old.norm(dim=-1).clamp_min(tiny), new.norm(dim=-1).clamp_min(tiny)
    # 1 − cosine from the difference of the directions: 1 less a number near 1 would leave no digits.
    distance = (old / before[..., None] - new / after[..., None]).square().sum(dim=-1) / 2
    return torch.stack([distance, (new - old).norm(dim=-1) / before], dim=1)


class LikenessObserver:
    """Observer that compares each head's attention map with maps of an earlier forward, of as many tokens.

    Likeness is the overlap of two maps, 0 to 1: the mean over queries of the sum over keys of the smaller probability,
    which is 1 less their total-variation distance. kept: the sequence of the next forward whose maps are kept, and that
    of another text, if there is one; empty to keep those from before. compared: the sequences whose maps are compared.
    """

    HEADS = 4  # other heads that each is compared with, evenly spaced

    def __init__(self) -> None:
        self.kept: Sequence[int] = ()
        self.compared: Sequence[int] = ()
        self._kept: dict[int, AttentionInputs] = {}
        self._likeness: dict[int, torch.Tensor] = {}

    def __call__(self, layer: int, inputs: AttentionInputs) -> None:
        if self.kept:
            kept = inputs.sequences(self.kept)
            self._kept[layer] = replace(kept, value=kept.key)
        if not self.compared:
            return
        kept, now = self._kept[layer], inputs.sequences(self.compared)
        batch, heads, queries, length = *now.query.shape[:3], now.key.shape[2]
        if kept.query.shape[1:] != now.query.shape[1:] or kept.key.shape[1:] != now.key.shape[1:]:
            raise ValueError("Maps of two forwards are compared over as many tokens.")
        shifts = sorted({round(1 + place * (heads - 2) / max(1, self.HEADS - 1)) for place in range(self.HEADS)})
        shifts = [shift for shift in shifts if 0 < shift < heads]
        summed = now.query.new_zeros((batch, heads, 3), dtype=torch.float32)
        chunk = max(1, _PIECE // (batch * heads * length))
        for old, new in zip(kept.probabilities(chunk), now.probabilities(chunk), strict=True):
            own = old[:1]
            summed[..., 0] += _overlap(own, new)
            for shift in shifts:
                summed[..., 1] += _overlap(own.roll(shift, dims=1), new) / len(shifts)
            if len(old) > 1:
                summed[..., 2] += _overlap(old[1:], new)
        summed[..., 1] = summed[..., 1] if shifts else float("nan")
        summed[..., 2] = summed[..., 2] if len(kept.query) > 1 else float("nan")
        self._likeness[layer] = (summed / queries).cpu()

    def take(self) -> torch.Tensor:
        """Return the likeness of what was compared to what was kept, (B, L, H, 3) float32: of a head to itself, to
        other heads of its layer there, and to itself there on the other text, NaN where there is none.
        """
        likeness, self._likeness = stack_layers(self._likeness), {}
        return likeness


def _overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The sum over queries and keys of the smaller probability, (B, H)."""
    return torch.minimum(first, second).sum(dim=(2, 3))
