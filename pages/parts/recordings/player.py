"""The player on a page: it plays recordings in the browser, and tells the page where it rests and what is chosen."""

from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
import streamlit as st

from analysis.figures.player import Track, playback, player_css, player_js
from analysis.sinks.metrics import telling_step
from analysis.sinks.token_states import TokenState
from analysis.specs import SinkParams
from pages.parts.recordings import measures
from pages.parts.recordings.recording import BY_KEY, Recording

_mount = st.components.v2.component("sinkscope_player", css=player_css(), js=player_js())


class Chosen(TypedDict):
    """A token that was clicked. track: 0 the first recording, 1 the one beside it. step: where the player rests.
    finished: whether it shows the finished text."""

    track: int
    step: int
    finished: bool
    position: int


def player(
    recording: Recording,
    key: str,
    params: SinkParams | None = None,
    *,
    beside: Recording | None = None,
    step: int = 0,
    play: str = "",
    on_step: Callable[[int], None] | None = None,
    on_token: Callable[[Chosen], None] | None = None,
) -> None:
    """Draws the player of a recording, and of another one beside it.

    step: where it rests. play: not empty: it plays once by itself, and once only for this value in a browser's tab.
    on_step: called with the step in which the visitor let it rest. on_token: called with a token that was clicked.
    """
    params = params or SinkParams()
    rested, given = f"{key}_rested", f"{key}_given"

    def rests() -> None:
        st.session_state[rested] = True
        if on_step is not None:
            on_step(int(st.session_state[key]["step"]))

    def chosen() -> None:
        if on_token is not None:
            on_token(st.session_state[key]["token"])

    # What the player said itself is not said to it again: the same data is not sent twice.
    if not st.session_state.pop(rested, False):
        st.session_state[given] = step
    _mount(
        key=key,
        data={**player_data(recording, params, beside), "step": st.session_state[given], "play": play},
        on_step_change=rests,
        on_token_change=chosen,
    )


@st.cache_data(max_entries=16, hash_funcs=BY_KEY, show_spinner="Preparing the player…")
def player_data(recording: Recording, params: SinkParams, beside: Recording | None = None) -> dict[str, Any]:
    """What the player takes, for a page or an exported file (`analysis.figures.player.player_html`)."""
    tracks = [track(each, params) for each in (recording, beside) if each is not None]
    telling = most_telling(recording, params)
    return playback(tracks, step=telling or 0, telling=telling)


def most_telling(recording: Recording, params: SinkParams) -> int | None:
    """The step whose sinks take the greatest share of attention."""
    return telling_step(measures.curve(recording, "strength", params))


def track(recording: Recording, params: SinkParams) -> Track:
    """A recording as it is played, its sinks by `params`."""
    trajectory, info, changes = recording.trajectory, recording.info, measures.changes(recording)
    thresholds = [measures.threshold(recording, params, step) for step in range(trajectory.steps)]
    return Track(
        title=info.model.source,
        tokens=trajectory.tokens,
        final=trajectory.final,
        names=info.tokens,
        mask_token=info.model.mask_token,
        present=trajectory.present,
        given=trajectory.state == TokenState.GIVEN,
        undecided=trajectory.undecided,
        accepted=trajectory.state == TokenState.ACCEPTED,
        written=changes.written,
        edited=changes.edited,
        taken_back=changes.taken_back,
        confidence=trajectory.confidence,
        mass=measures.mean_mass(recording),
        sinks=measures.sinks(recording, params),
        thresholds=np.array([np.nan if value is None else value for value in thresholds]),
        open_block=trajectory.open_block if has_blocks(trajectory.open_block) else None,
    )


def has_blocks(open_block: np.ndarray) -> bool:
    """Whether the text was written in several blocks (T, 2) of more than a token."""
    blocks = np.unique(open_block, axis=0)
    return len(blocks) > 1 and bool((np.diff(blocks, axis=1) > 1).any())
