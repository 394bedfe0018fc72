"""The player on a page: it plays recordings in the browser, and tells the page its step and the chosen token."""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

import streamlit as st

from analysis.figures.player import player_css, player_js

_mount = st.components.v2.component("sinkscope_player", css=player_css(), js=player_js())


class Chosen(TypedDict):
    """A clicked token. track: 0 the first recording, 1 the one beside it. step: where the player rests. finished: the
    finished text is shown. recording: the token's, if the player knows it.
    """

    track: int
    step: int
    finished: bool
    position: int
    recording: NotRequired[str]


@st.fragment
def stored_player(data: Mapping[str, Any], key: str, chosen_of: Callable[[Chosen], None] | None = None) -> None:
    """Draw the player of recordings whose files are elsewhere, from the data it plays. chosen_of: draws what follows
    from a clicked token, beneath the player.
    """
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
