"""The token of a recording that was chosen. The address names it, as `picked=RECORDING.STEP.POSITION`, with `.end`
where it was chosen in the finished text.
"""

from dataclasses import dataclass

import streamlit as st

from pages.parts import address
from pages.parts.recordings.recording import Recording

_ADDRESS, _CLICKED = "picked", "token_clicked"


@dataclass(frozen=True)
class Picked:
    """A token. named: as the address has it; of: its recording; step: in which it was chosen, of the finished text the
    last one."""

    named: str
    of: Recording
    step: int
    position: int
    finished: bool


def at_token(recording: str, step: int, position: int, finished: bool) -> dict[str, str]:
    """Return the parameters of Explore's address for a recording with this token chosen. recording: its job's id."""
    named = f"{recording}.{step}.{position}{'.end' if finished else ''}"
    return {"recording": recording, "step": str(step), _ADDRESS: named}


def pick(recording: Recording, step: int, position: int, finished: bool) -> None:
    """Choose a token that this visitor clicked."""
    named = at_token(recording.job.id, step, position, finished)[_ADDRESS]
    address.write(_ADDRESS, named)
    st.session_state[_CLICKED] = named


def click(token: Picked) -> None:
    """Remember that this visitor clicked a token rather than followed a link to it."""
    st.session_state[_CLICKED] = token.named


def was_clicked(token: Picked) -> bool:
    """Return whether this visitor clicked this token last."""
    return bool(st.session_state.get(_CLICKED) == token.named)


def drop() -> None:
    """Clear the choice."""
    st.session_state.pop(_CLICKED, None)
    address.drop(_ADDRESS, stays=True)


def picked(recording: Recording, parent: Recording | None) -> Picked | None:
    """Return the token in the address, else the last one clicked, if it is in one of these recordings."""
    for named in filter(None, (address.named(_ADDRESS), st.session_state.get(_CLICKED))):
        job, *numbers = named.split(".")
        of = next((each for each in (recording, parent) if each is not None and each.job.id == job), None)
        finished = numbers[2:] == ["end"]
        if of is None or len(numbers) != 2 + finished or not all(number.isdecimal() for number in numbers[:2]):
            continue
        step, position = map(int, numbers[:2])
        if step < of.trajectory.steps and position < of.trajectory.positions:
            return Picked(named, of, step, position, finished)
    return None
