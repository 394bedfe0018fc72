"""Looking inside a model at what claims are about: one number per prompt and its null for each row of `CLAIM_MEASURES`.

Every look sees the same inputs, whatever the weights: the steps that the model itself wrote.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from analysis.attention import AttentionInputs, Edit, Observer
from analysis.models.layout import Layout, layout_of
from analysis.models.loaded import LoadedModel
from analysis.recording.ablation import Candidates, divergence, matched
from analysis.recording.activations import BlockStates
from analysis.recording.batches import PromptRun
from analysis.recording.interventions import EDITS
from analysis.registry import Attached
from analysis.sinks import massive
from analysis.sinks.token_states import TokenState
from analysis.specs import CLAIM_MEASURES, SinkParams


class Pair(NamedTuple):
    """The number of a prompt and its null; NaN where the prompt has nothing to measure."""

    value: float
    null: float


@dataclass(frozen=True)
class Look:
    """One prompt seen by one network. recording: its steps with this network's mass. steps: those looked at, (T',)."""

    network: LoadedModel
    recording: PromptRun
    params: SinkParams
    steps: Sequence[int]
    seed: int

    def present(self, step: int) -> np.ndarray:
        """The positions that a step holds, (S,)."""
        return np.flatnonzero(self.recording.run.present[step])

    def tokens(self, step: int) -> torch.Tensor:
        """The input of a step, (1, S)."""
        return torch.from_numpy(self.recording.tokens[step, self.present(step)].astype(np.int64))[None]

    def state(self, step: int) -> np.ndarray:
        """The `TokenState` of each position of a step, (S,)."""
        return np.asarray(self.recording.run.state[step, self.present(step)])

    def sinks(self, step: int) -> np.ndarray:
        """Which positions of a step are sinks, by layer and, last, by all layers together, (L + 1, S) bool."""
        return np.asarray(self.recording.run.sinks(self.params)[step][:, self.present(step)])

    def layout(self, step: int) -> Layout | None:
        """Where the blocks of a step's input lie, of a model that attends by them."""
        run = self.recording.run
        if not self.network.architecture.by_blocks:
            return None
        layout = layout_of(self.network.architecture, run.prompt_length, self.recording.block_length)
        return replace(layout, open_from=int(run.pattern.open_block[step, 0]))

    def predict(self, step: int, observer: Observer | None = None, edit: Edit | None = None) -> torch.Tensor:
        """The logits of a step's input, (S, V)."""
        return self.network.predict(self.tokens(step), observer, edit, layout=self.layout(step))[0]


def steps_of(steps: int, looks: int) -> list[int]:
    """So many steps of a recording, evenly spread from the first to the last."""
    return sorted({round(step) for step in np.linspace(0, steps - 1, looks)})


def hiding(look: Look) -> Pair:
    """KL divergence in nats of the predictions at undecided positions, or of the next token, from the untouched ones:
    with all sinks hidden, and with as many random tokens of the same states.
    """
    rng = np.random.default_rng(look.seed)
    hidden: list[float] = []
    others: list[float] = []
    for step in look.steps:
        sinks, state = look.sinks(step)[-1], look.state(step)
        chosen = np.flatnonzero(sinks)
        if not len(chosen) or len(chosen) > len(sinks) // 2:
            continue
        nothing = np.zeros(len(sinks))
        at = Candidates(nothing, sinks, state, nothing, nothing, np.ones(len(sinks), bool), len(chosen), rng)
        undecided = np.flatnonzero(state == TokenState.UNDECIDED)
        asked = undecided if len(undecided) else np.array([len(state) - 1])
        untouched = look.predict(step)[asked]
        for kept, positions in ((hidden, chosen), (others, matched(at, chosen, len(chosen)))):
            blocked = torch.zeros(1, len(state), dtype=torch.bool)
            blocked[0, positions] = True
            kept.append(divergence(untouched, look.predict(step, edit=EDITS["attention"](blocked))[asked]))
    return Pair(_mean(hidden), _mean(others))


def value_norm(look: Look) -> Pair:
    """Norms of values over their layer's mean, averaged over key heads: of sinks by layer, and of the other tokens of
    the same state, weighted by how many sinks are in that state.
    """
    of_sinks, of_others = [], []
    for step in look.steps:
        norms: dict[int, np.ndarray] = {}

        def note(layer: int, inputs: AttentionInputs, norms: dict[int, np.ndarray] = norms) -> None:
            norms[layer] = inputs.value[0].float().norm(dim=-1).mean(dim=0).cpu().numpy()

        look.predict(step, note)
        sinks, state = look.sinks(step), look.state(step)
        for layer, norm in norms.items():
            relative = norm / norm.mean()
            for value in np.unique(state[sinks[layer]]):
                of_state = state == value
                there, rest = of_state & sinks[layer], of_state & ~sinks[layer]
                if rest.any():
                    of_sinks += relative[there].tolist()
                    of_others += [float(relative[rest].mean())] * int(there.sum())
    return Pair(_mean(of_sinks), _mean(of_others))


def massive_on_sinks(look: Look) -> Pair:
    """Share of the layers and steps whose largest residual channel is at a sink, and what a random token of the same
    state would give (Sun et al., arXiv 2402.17762).
    """
    carried, chance = [], []
    for step in look.steps:
        places: dict[int, int] = {}

        def note(layer: int, states: torch.Tensor, places: dict[int, int] = places) -> None:
            places[layer] = int(states.abs().max(dim=1).values.argmax())

        with BlockStates(look.network, note):
            look.predict(step)
        position = np.array([places[layer] for layer in sorted(places)])[None, :, None]
        sinks = look.sinks(step)[-1:]
        if not sinks.any():
            continue
        carried.append(massive.on_sinks(position, sinks).mean())
        chance.append(massive.chance_on_sinks(position, sinks, look.state(step)[None]).mean())
    return Pair(_mean(carried), _mean(chance))


LOOKS: Attached[Callable[[Look], Pair]] = Attached(
    CLAIM_MEASURES, {"hiding": hiding, "value-norm": value_norm, "massive": massive_on_sinks}
)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
