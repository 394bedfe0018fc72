"""Names of positions by what stands there: one that is still masked never has the word that it later becomes.

NumPy only. Shapes: T steps, S positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.sinks.token_states import TokenState


def position_name(position: int, text: str, hidden: str = "", later: str = "") -> str:
    """Return the name of a position: its token where one stands there, else what hides it and what it becomes.

    text: of the token that stands there. hidden: what is there instead, such as "still masked"; empty where nothing
    hides the token. later: the text that comes to stand there, empty where there is none.
    """
    if not hidden:
        return f"‘{_visible(text)}’ at {position}"
    becomes = f" (later ‘{_visible(later)}’)" if later else ""
    return f"position {position}, {hidden}{becomes}"


def _visible(text: str) -> str:
    return text.strip() or "␣"


@dataclass(frozen=True)
class TokenNames:
    """The positions of a recording by name. texts: of each token id. tokens (T, S) ids; state (T, S), a `TokenState`
    each; final (S,) ids. mask_token: the id of [MASK], None where there is none. noise: as of `RecordedModel`.
    """

    texts: Mapping[int, str]
    tokens: np.ndarray
    state: np.ndarray
    final: np.ndarray
    mask_token: int | None = None
    noise: str | None = None

    def at(self, step: int) -> list[str]:
        """Return the name of each position in the input of a step."""
        hidden: dict[int, str] = {TokenState.UNDECIDED: f"still {self._masked}", TokenState.ABSENT: "not there yet"}
        return [
            position_name(position, self.texts.get(token, ""), hidden.get(state, ""), self._later(position))
            for position, (token, state) in enumerate(
                zip(self.tokens[step].tolist(), self.state[step].tolist(), strict=True)
            )
        ]

    def over_steps(self) -> list[str]:
        """Return the name of each position over all steps, which says in how many of them it was masked."""
        there = (self.state != TokenState.ABSENT).sum(axis=0).tolist()
        masked = (self.state == TokenState.UNDECIDED).sum(axis=0).tolist()
        return [
            position_name(position, self.texts.get(token, ""), self._in_steps(hidden, steps), self._later(position))
            for position, (token, hidden, steps) in enumerate(zip(self.final.tolist(), masked, there, strict=True))
        ]

    def short(self) -> list[str]:
        """Return each position in the fewest words, for boxes: its token, or what it becomes where it was masked."""
        later = self.later()
        return [
            f"{position}{', later' if position in later else ''} ‘{_visible(self.texts.get(token, ''))}’"
            for position, token in enumerate(self.final.tolist())
        ]

    def later(self) -> frozenset[int]:
        """Return the positions that were masked in some step: their final token came later."""
        return frozenset(np.flatnonzero((self.state == TokenState.UNDECIDED).any(axis=0)).tolist())

    @property
    def _masked(self) -> str:
        return "noise" if self.noise == "uniform" else "masked"

    def _in_steps(self, hidden: int, steps: int) -> str:
        if not hidden:
            return ""
        return f"still {self._masked}" if hidden == steps else f"{self._masked} in {hidden} of {steps} steps"

    def _later(self, position: int) -> str:
        token = int(self.final[position])
        return "" if token == self.mask_token else _visible(self.texts.get(token, ""))
