"""A model that reads every text with its sinks hidden, for whatever only asks a model for logits, as scoring does."""

from dataclasses import dataclass, field, fields
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
    """Runs each forward twice: untouched, which shows where the sinks are, and with them hidden from all queries.

    others: hides as many random tokens of the same states instead, drawn by the seed and the text.
    """

    params: SinkParams = field(default_factory=SinkParams)
    others: bool = False
    seed: int = 0

    @classmethod
    def of(cls, model: LoadedModel, params: SinkParams, others: bool, seed: int) -> Self:
        """Return a model in memory as one that reads so; the weights are shared."""
        return cls(
            **{known.name: getattr(model, known.name) for known in fields(model)},
            params=params,
            others=others,
            seed=seed,
        )

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
        seen = MassObserver()
        super().predict(tokens, seen, keep=1, layout=layout, aligned=aligned)
        hidden = torch.from_numpy(self._hidden(tokens.cpu().numpy(), seen.take().mass.numpy(), layout))
        return super().predict(tokens, observer, EDITS["attention"](hidden), keep, layout, aligned)

    def _hidden(self, tokens: np.ndarray, mass: np.ndarray, layout: Layout | None) -> np.ndarray:
        """Positions that are hidden in texts (B, S), bool. mass (B, L, H, S): of their untouched forwards."""
        length = tokens.shape[1]
        visible = queries_seeing(self.architecture, length, layout, (0, length))
        sinks = definitions.find_sinks(definitions.mean_mass(mass), self.params, visible)
        total, hidden = definitions.total_mass(mass), np.zeros(tokens.shape, bool)
        undecided = np.zeros(tokens.shape, bool) if self.mask_token is None else tokens == self.mask_token
        state = np.where(undecided, TokenState.UNDECIDED, TokenState.GIVEN)
        nothing, everywhere = np.zeros(length, np.int64), np.ones(length, bool)
        for row, text in enumerate(tokens):
            at = Candidates(
                *(total[row], sinks[row], state[row], nothing, np.zeros(length), everywhere, int(sinks[row].sum())),
                np.random.default_rng([self.seed, *text.tolist()]),
            )
            chosen = CHOOSERS["sinks"](at)
            hidden[row, matched(at, chosen, len(chosen)) if self.others else chosen] = True
        return hidden
