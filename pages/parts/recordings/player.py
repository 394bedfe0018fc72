"""The player on a page: it plays recordings in the browser, and tells the page where it rests and what is chosen."""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

import streamlit as st

from analysis.figures.player import player_css, player_js
from analysis.recording.playing import played
from analysis.specs import SinkParams
from pages.parts.recordings.recording import BY_KEY, Recording

_PLAYED = "denoise_play"
_mount = st.components.v2.component("sinkscope_player", css=player_css(), js=player_js())


class Chosen(TypedDict):
    """A token that was clicked. track: 0 the first recording, 1 the one beside it. step: where the player rests.
    finished: whether it shows the finished text. recording: whose it is, of a player that was told."""

    track: int
    step: int
    finished: bool
    position: int
    recording: NotRequired[str]


def player(
    recording: Recording,
    key: str,
    params: SinkParams | None = None,
    *,
    beside: Recording | None = None,
    step: int = 0,
    play: str = "",
    play_from: int | None = None,
    picked: tuple[int, int] | None = None,
    on_step: Callable[[int], None] | None = None,
    on_token: Callable[[Chosen], None] | None = None,
) -> None:
    """Draws the player of a recording, and of another one beside it.

    step: where it rests. play: not empty: it plays once by itself, and once only for this value in a browser's tab.
    play_from: then from this step to the end, instead of from the first and back to `step`. picked: the recording, 0 or
    1, and the position of a token to outline.
    on_step: called with the step in which the visitor let it rest. on_token: called with a token that was clicked.
    """
    params = params or SinkParams()
    rested, given = f"{key}_rested", f"{key}_given"

    # While another recording comes into view, the browser may still say something of the one before.
    def rests() -> None:
        said = st.session_state[key]["step"]
        if said["recording"] == recording.key:
            st.session_state[rested] = True
            if on_step is not None:
                on_step(int(said["step"]))

    def chosen() -> None:
        said = st.session_state[key]["token"]
        if said["recording"] == recording.key and on_token is not None:
            on_token(said)

    # What the player said itself is not said to it again: the same data is not sent twice.
    if not st.session_state.pop(rested, False):
        st.session_state[given] = step
    _mount(
        key=key,
        data=player_data(recording, params, beside)
        | {"recording": recording.key, "step": st.session_state[given], "play": play, "picked": picked}
        | ({} if play_from is None else {"from": play_from}),
        on_step_change=rests,
        on_token_change=chosen,
    )


def play_once(job_id: str) -> None:
    """The recording of this job plays by itself when it is first shown."""
    st.session_state[_PLAYED] = job_id


def to_play(recording: Recording) -> str:
    """What `player` takes as `play`: the job's id where it was asked to play, else nothing."""
    return recording.job.id if st.session_state.get(_PLAYED) == recording.job.id else ""


@st.cache_data(max_entries=16, hash_funcs=BY_KEY, show_spinner="Preparing the player…")
def player_data(recording: Recording, params: SinkParams, beside: Recording | None = None) -> dict[str, Any]:
    """What the player takes, for a page or an exported file (`analysis.figures.player.player_html`)."""
    return played([each.trajectory for each in (recording, beside) if each is not None], params)


def most_telling(recording: Recording, params: SinkParams) -> int | None:
    """The step whose sinks take the greatest share of attention."""
    return player_data(recording, params)["telling"]


@st.fragment
def stored_player(data: Mapping[str, Any], key: str, chosen_of: Callable[[Chosen], None] | None = None) -> None:
    """Draws the player of recordings whose files are elsewhere, from what it takes of them. chosen_of: draws what
    follows from a token that was clicked, beneath the player."""
    kept = f"{key}_token"
    content, chosen = st.session_state.get(kept, ("", None))
    if content != data["content"]:
        chosen = None  # of other recordings

    def keep() -> None:
        st.session_state[kept] = (data["content"], st.session_state[key]["token"])

    picked = None if chosen is None else (chosen["track"], chosen["position"])
    _mount(key=key, data={**data, "picked": picked}, on_token_change=keep)
    if chosen is not None and chosen_of is not None:
        chosen_of(chosen)
