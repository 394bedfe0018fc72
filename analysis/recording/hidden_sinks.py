"""A model that reads every text with its sinks hidden, for whatever only asks a model for logits, as scoring does."""

from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np
import torch

from analysis.attention import Edit, MassObserver, Observer
from analysis.models.layout import Layout
from analysis.models.loaded import LoadedModel
from analysis.recording.ablation import CHOOSERS, Candidates, matched, queries_seeing
from analysis.recording.interventions import EDITS
from analysis.sinks import definitions
from analysis.sinks.token_states import TokenState
from analysis.specs import SinkParams


@dataclass(frozen=True)
class HiddenSinks(LoadedModel):
    """Model that runs each forward twice: untouched, which shows where the sinks are, and with them hidden from all
    queries.

    others: hides as many random tokens of the same states instead, drawn by the seed and the text. seen: total mass
    and sinks of batches, (B, S) each, that the untouched forward of one reading leaves for the next, which takes them.
    """

    params: SinkParams = field(default_factory=SinkParams)
    others: bool = False
    seed: int = 0
    seen: dict[bytes, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: LoadedModel, params: SinkParams, others: bool, seed: int) -> Self:
        """Return a model in memory as one that reads so; the weights are shared."""
        return cls(
            **{known.name: getattr(model, known.name) for known in fields(model)},
            params=params,
            others=others,
            seed=seed,
        )

    def with_others(self) -> Self:
        """Return the same model hiding others. Batches read by both, this one first, take one untouched forward."""
        return replace(self, others=True)

    def predict(
        self,
        tokens: torch.Tensor,
        observer: Observer | None = None,
        edit: Edit | None = None,
        keep: int | None = None,
        layout: Layout | None = None,
        aligned: bool = True,
    ) -> torch.Tensor:
        """Logits as those of `LoadedModel.predict`. Raises UserError as it does, and ValueError for a further edit."""
        if edit is not None:
            raise ValueError("A model whose sinks are hidden takes no further edit.")
        texts = tokens.cpu().numpy()
        key = repr((texts.shape, layout)).encode() + texts.tobytes()
        shown = self.seen.pop(key, None)
        if shown is None:
            observer_of_mass = MassObserver()
            super().predict(tokens, observer_of_mass, keep=1, layout=layout, aligned=aligned)
            shown = self._shown(observer_of_mass.take().mass.numpy(), layout)
            if not self.others:
                self.seen[key] = shown
        hidden = torch.from_numpy(self._hidden(texts, *shown))
        return super().predict(tokens, observer, EDITS["attention"](hidden), keep, layout, aligned)

    def _shown(self, mass: np.ndarray, layout: Layout | None) -> tuple[np.ndarray, np.ndarray]:
        """Total mass and sinks of texts, (B, S) each. mass (B, L, H, S): of their untouched forwards."""
        length = mass.shape[-1]
        visible = queries_seeing(self.architecture, length, layout, (0, length))
        sinks = definitions.find_sinks(definitions.mean_mass(mass), self.params, visible)
        return definitions.total_mass(mass), sinks

    def _hidden(self, tokens: np.ndarray, total: np.ndarray, sinks: np.ndarray) -> np.ndarray:
        """Positions that are hidden in texts (B, S), bool."""
        length, hidden = tokens.shape[1], np.zeros(tokens.shape, bool)
        state = np.where(tokens == self.mask_token, TokenState.UNDECIDED, TokenState.GIVEN)
        nothing, everywhere = np.zeros(length, np.int64), np.ones(length, bool)
        for row, text in enumerate(tokens):
            at = Candidates(
                *(total[row], sinks[row], state[row], nothing, np.zeros(length), everywhere, int(sinks[row].sum())),
                np.random.default_rng([self.seed, *text.tolist()]),
            )
            chosen = CHOOSERS["sinks"](at)
            hidden[row, matched(at, chosen, len(chosen)) if self.others else chosen] = True
        return hidden
