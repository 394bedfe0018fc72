"""The explorer and the player on a page, which show recordings in the browser and tell the page what was chosen there:
a place or a token. The explorer also tells what data it lacks.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NotRequired, TypedDict

import numpy as np
import streamlit as st
from pydantic import ValidationError

from analysis.figures.explorer import component_js, explorer_css, feed_js
from analysis.figures.player import player_css, player_js
from analysis.recording.alternatives import is_pair
from analysis.recording.explored import (
    SharesAsked,
    content_of,
    explored,
    feed_bytes,
    head_map,
    head_shares,
    unpacked_text,
    with_state,
)
from analysis.sinks.step_inputs import ALL, SPLITS, undecided_named
from analysis.specs import DEFINITIONS, SinkParams
from analysis.words import model_short_title
from pages.parts import address
from pages.parts.asking import visit
from pages.parts.lazy_section import guarded
from pages.parts.recordings.measures import stored_reference
from pages.parts.recordings.recording import Recording, cached
from pages.parts.session import model_name

_PLAYED, _GOES, _FOLLOWED, _CONTENT = "explorer_plays", "explorer_goes", "explorer_followed", "explorer_content"
_LEFT = "explorer_left"
_PLACES = ("step", "layer", "head", "position", "area", "show")
NAMED = (
    *_PLACES,
    "definition",
    "split",
    "judged",
    "basis",
    "over",
    "measure",
    *(row.parameter for row in DEFINITIONS.values()),
)
"""Parameters of an explorer in the address."""
_MOST_HEADS = 64  # that are sent for one request

_mount = st.components.v2.component(
    "sinkscope_explorer", html='<div class="host"></div>', css=explorer_css(), js=guarded(component_js())
)
_feed = st.components.v2.component("sinkscope_explorer_feed", js=feed_js())


class Token(TypedDict):
    """A token that the visitor asked about. track: 0 the first recording, 1 the one beside it. finished: the finished
    text was shown, else the input of this step.
    """

    track: int
    step: int
    finished: bool
    position: int


def explorer(
    recording: Recording,
    key: str,
    beside: Recording | None = None,
    *,
    play: str = "",
    play_from: int | None = None,
    on_token: Callable[[Token], None] | None = None,
    prompts: int = 0,
) -> None:
    """Draw the explorer of a recording, and of another one beside it, and keep what is chosen in the address.

    play: not empty: it plays once by itself, and once only for this value in a browser's tab, from step play_from on.
    on_token: called with a pinned token about which the visitor asks. prompts: over how many Evidence shows the model.
    """
    untrained = stored_reference(recording)
    state = _given(key, tuple(None if each is None else each.key for each in (recording, beside, untrained)))
    state |= {"asks": "yes"} if on_token is not None else {}
    state |= {"play": play} if play else {}
    state |= {"from": str(play_from)} if play and play_from is not None else {}
    state |= {"prompts": str(prompts)} if prompts else {}
    packed = explorer_data(recording, beside, untrained, tuple(sorted(state.items())))
    content, asked = content_of(packed), f"{key}_asked"

    def chosen() -> None:
        told = _said(key, content, "token")
        if told is not None and on_token is not None:
            on_token(
                Token(track=told["track"], step=told["step"], finished=told["finished"], position=told["position"])
            )

    def needs() -> None:
        told = _said(key, content, "need")
        if told is not None:
            st.session_state[asked] = told

    _mount(
        key=key,
        data=packed,
        on_view_change=partial(_keep_view, key, content),
        on_token_change=chosen,
        on_need_change=needs,
    )
    st.session_state[_CONTENT] = content
    needed = st.session_state.get(asked)
    if needed is not None and needed["content"] == content:
        _feed(key=f"{key}_feed", data=_answer(needed, recording, beside))


@st.fragment
def stored_explorer(packed: str, key: str, prompts: int = 0) -> None:
    """Draw the explorer of recordings whose files are elsewhere, from what an exported file holds of them, and keep
    what is chosen in the address. prompts: as of `explorer`.
    """
    address.keep()
    state = _given(key, ()) | ({"prompts": str(prompts)} if prompts else {})
    unpacked = _unpacked(packed, tuple(sorted(state.items())))
    _mount(key=key, data=unpacked, on_view_change=partial(_keep_view, key, content_of(unpacked)))


@st.cache_data(max_entries=8, show_spinner=False)
def _unpacked(packed: str, state: tuple[tuple[str, str], ...]) -> bytes:
    return with_state(unpacked_text(packed), dict(state))


def play_once(job_id: str) -> None:
    """Let the recording of this job play by itself when it is first shown."""
    st.session_state[_PLAYED] = job_id


def to_play(recording: Recording) -> str:
    """Return what `explorer` takes as `play`: the job's id where it was asked to play, else nothing."""
    return recording.job.id if st.session_state.get(_PLAYED) == recording.job.id else ""


@dataclass(frozen=True)
class Place:
    """Place in an explorer. step: of a forward. layer, head, position: None if none is chosen."""

    step: int
    layer: int | None
    head: int | None
    position: int | None


def place_in(recording: Recording) -> Place:
    """Return where in a recording the explorer is, by the address; of the finished text the last forward."""
    trajectory = recording.trajectory
    sizes = {"step": trajectory.steps + 1, "layer": trajectory.layers, "head": trajectory.heads}
    at: dict[str, int | None] = {}
    for name, size in (sizes | {"position": trajectory.positions}).items():
        named = address.named(name) or ""
        at[name] = int(named) if named.isdecimal() and int(named) < size else None
    return Place(min(at["step"] or 0, trajectory.steps - 1), at["layer"], at["head"], at["position"])


def go_to(**place: int | None) -> None:
    """Show a step, layer, head or position in the explorer; of None, none. For callbacks: then `gone` draws anew."""
    for name, value in place.items():
        if value is None:
            address.drop(name, stays=True)
        else:
            address.write(name, str(value))
    st.session_state[_GOES] = True


def gone() -> None:
    """Draw the whole page anew after `go_to`. Called first in a part of the page that is drawn alone."""
    if st.session_state.pop(_GOES, False):
        st.rerun()


def show_attention(maps: Mapping[tuple[int, int, int], np.ndarray]) -> None:
    """Hand the explorer on the page full attention maps of its recording, (P, P) by step, layer and head: it then draws
    lines from a token to those it attends to."""
    content = st.session_state.get(_CONTENT)
    if content is not None:
        attention = {(0, *place): values for place, values in maps.items()}
        _feed(key="explorer_attention", data=feed_bytes(content, attention=attention))


def note_drawn(names: Collection[str]) -> None:
    """Note which of the explorer's choices the page beneath it was drawn with; `redraw_beneath` then keeps it so."""
    st.session_state[_FOLLOWED] = {name: st.query_params.get(name) for name in names}


def redraw_beneath() -> None:
    """Draw the whole page anew where the explorer has changed a choice that the page beneath it reads."""
    drawn_with = st.session_state.get(_FOLLOWED, {})
    if any(st.query_params.get(name) != value for name, value in drawn_with.items()):
        st.rerun()


def split_in(recording: Recording) -> str:
    """Return the tokens on which sinks are counted, a name of `SPLITS`, by the address."""
    named, noise = st.query_params.get("split"), recording.info.model.noise
    return next((name for name in SPLITS if named in (name, undecided_named(name, noise))), ALL)


def forget_place() -> None:
    """Take out of the address where in a recording the visitor is: another one is to be shown."""
    for name in _PLACES:
        address.drop(name, stays=True)


def sink_params() -> SinkParams:
    """Return the sink definition that the address names, with its threshold; the preset where it names none."""
    definition = st.query_params.get("definition", SinkParams().definition)
    if definition not in DEFINITIONS:
        return SinkParams()
    parameter = DEFINITIONS[definition].parameter
    try:
        return SinkParams.model_validate(
            {"definition": definition, parameter: st.query_params.get(parameter, getattr(SinkParams(), parameter))}
        )
    except ValidationError:
        return SinkParams(definition=definition)


def explorer_data(
    recording: Recording,
    beside: Recording | None = None,
    drawn: Recording | None = None,
    state: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """Return what the explorer takes, for a page or an exported file. drawn: the same inputs with random weights.
    state: what is chosen at first.
    """
    names = _names([each for each in (recording, beside) if each is not None])
    return with_state(_packed(recording, beside, drawn, names), dict(state))


@cached(8, "Preparing the explorer…")
def _packed(recording: Recording, beside: Recording | None, drawn: Recording | None, names: list[str]) -> bytes:
    """Return the same without a state: links lead to many of one recording."""
    recordings = [each for each in (recording, beside) if each is not None]
    random = None if drawn is None else drawn.trajectory
    return explored([each.trajectory for each in recordings], names, random)


def _names(recordings: list[Recording]) -> list[str]:
    """Return names for the recordings: their models, with seeds or numbers where these are the same."""
    change = recordings[0].info.branch
    if change is not None and len(recordings) == 2 and recordings[1].key == change.parent:
        return ["Branch", "Original"]
    names = [model_name(each.job.spec["model"]["source"]) for each in recordings]
    if len(names) == 2 and names[0] == names[1]:
        first, second = (each.info.sampling for each in recordings)
        if is_pair(first, second):
            return ["Threshold", "One per forward"]
        if is_pair(second, first):
            return ["One per forward", "Threshold"]
    if len(set(names)) < len(names):
        names = [
            f"{model_short_title(name)}, seed {each.info.seed}" for name, each in zip(names, recordings, strict=True)
        ]
    return names if len(set(names)) == len(names) else [f"{name} ({n})" for n, name in enumerate(names, 1)]


def _given(key: str, of: tuple[str | None, ...]) -> dict[str, str]:
    """Return what the address asks to show; nothing where the explorer itself wrote it there. of: the
    recordings that the explorer holds.
    """
    kept = f"{key}_given"
    named = {name: value for name in NAMED if (value := address.named(name)) is not None}
    before, drawn = st.session_state.get(kept), (visit(), *of)
    if before is None or before["of"] != drawn or named not in (before["state"], before["said"]):
        before = st.session_state[kept] = {"of": drawn, "state": named, "said": named}
    return dict(before["state"])


def _said(key: str, content: str, what: str) -> dict[str, Any] | None:
    """Return what the browser said, unless it was of a recording that came into view before."""
    view = st.session_state.get(key)  # None where the reader has left the page meanwhile
    told = None if view is None else view[what]
    return told if told and told.get("content") == content else None


def _keep_view(key: str, content: str) -> None:
    """Put into the address where the explorer is."""
    told = _said(key, content, "view")
    if told is not None:
        _to_address(key, told["address"])


def _to_address(key: str, said: dict[str, Any]) -> None:
    """Put what the explorer says into the address."""
    named = {name: str(said[name])[:200] for name in NAMED if name in said}
    for name in NAMED:
        if name in named:
            address.write(name, named[name])
        elif name in st.query_params:
            address.drop(name, stays=True)
    st.session_state[f"{key}_given"]["said"] = named
    st.session_state[_LEFT] = {name: value for name, value in named.items() if name not in _PLACES}


def left() -> dict[str, str]:
    """Return the sinks that the visitor last looked at in an explorer, as the address names them, without the place."""
    return dict(st.session_state.get(_LEFT, {}))


def _answer(needed: dict[str, Any], recording: Recording, beside: Recording | None) -> bytes:
    """Return what an explorer requested of recordings too large to send whole. Bad requests are left out."""
    recordings = [each for each in (recording, beside) if each is not None]
    heads: dict[tuple[int, int], np.ndarray] = {}
    for name in needed.get("heads", [])[:_MOST_HEADS]:
        track, _, index = str(name).partition(".")
        if track.isdecimal() and index.isdecimal() and int(track) < len(recordings):
            trajectory = recordings[int(track)].trajectory
            if int(index) < trajectory.layers * trajectory.heads:
                heads[int(track), int(index)] = head_map(trajectory, int(index))
    shares = {}
    for track, request in needed.get("cells", [])[:2]:
        if isinstance(track, int) and 0 <= track < len(recordings):
            try:
                shares[track, request] = _shares(recordings[track], SharesAsked.model_validate_json(request))
            except ValidationError:
                continue
    return feed_bytes(needed["content"], heads, shares)


@cached(64)
def _shares(recording: Recording, asked: SharesAsked) -> np.ndarray:
    return head_shares(recording.trajectory, asked)


_mount_player = st.components.v2.component("sinkscope_player", css=player_css(), js=player_js())


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
    _mount_player(key=key, data={**data, "picked": picked}, on_token_change=keep)
    if chosen is not None and chosen_of is not None:
        chosen_of(chosen)
