"""Playing a recording: the player, and beneath it the plots of the step in which it rests."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures import sinks as figures
from analysis.readings import reading
from analysis.sinks import definitions as sink_analysis
from analysis.specs import SinkParams
from pages.parts.charts import chart, exhibit_text, heading
from pages.parts.denoise import branches, token_picked
from pages.parts.plot import Point
from pages.parts.recordings import measures, one_token
from pages.parts.recordings.choice import definition_formula, shown_step
from pages.parts.recordings.player import Chosen, most_telling, player, player_data, to_play
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import stored_reference

_GAUSSIAN = "Gaussian reference"
_BAR = "denoise_bar"
_WATCH = "Watch it write"


@st.fragment
def replay(recording: Recording, params: SinkParams) -> None:
    """Draws the player and the plots. The step in which the player rests is the page's."""
    telling = most_telling(recording, params)
    change, parent = recording.info.branch, branches.parent_of(recording)
    step = shown_step(recording, (telling or 0) if change is None else change.step + 1)
    mass, sinks = measures.mean_mass(recording), measures.sinks(recording, params)
    finding = _finding(recording, params, telling)
    heading(_WATCH, finding, definition_formula(params))
    player(
        recording,
        "denoise_player",
        params,
        step=step,
        play=to_play(recording),
        play_from=None if change is None else change.step,
        picked=_outlined(recording, parent),
        beside=parent,
        on_step=_rest,
        on_token=lambda chosen: _choose(recording if chosen["track"] == 0 else parent, chosen),
    )
    exhibit_text(_WATCH, finding, "", "watched", player_data(recording, params, parent) | {"step": step})
    branches.alternatives(recording, parent)
    branches.compared(recording, parent, params)
    threshold = measures.threshold(recording, params, step)
    _charts(recording, params, step, mass, sinks, threshold, _references(recording, params))


def _rest(step: int) -> None:
    st.session_state["step"] = step


def _choose(recording: Recording | None, chosen: Chosen) -> None:
    if recording is not None:
        _rest(chosen["step"])
        branches.choose(recording, chosen["step"], chosen["position"], chosen["finished"])


def _outlined(recording: Recording, parent: Recording | None) -> tuple[int, int] | None:
    """The token that was chosen, as the player takes it: in which of its two recordings, and where."""
    token = token_picked.picked(recording, parent)
    return None if token is None else (0 if token.of is recording else 1, token.position)


def _finding(recording: Recording, params: SinkParams, telling: int | None) -> str:
    """What is most telling about the recording, in a sentence."""
    if telling is None:
        return "No position is a sink in any step."
    share = float(measures.curve(recording, "strength", params)[telling])
    count = int(measures.sinks(recording, params)[telling].sum())
    who = "one sink takes" if count == 1 else f"{count} sinks take"
    return f"Sinks are strongest in step {telling}: {who} {share:.0%} of all attention there."


def _references(recording: Recording, params: SinkParams) -> dict[str, np.ndarray]:
    """What the number of sinks of each step stands beside, name -> (T,)."""
    references: dict[str, np.ndarray] = {}
    lengths = recording.trajectory.present.sum(axis=1)
    expected = sink_analysis.gaussian_reference(lengths, params)
    if expected is not None:
        references[_GAUSSIAN] = expected
    drawn = stored_reference(recording)
    if drawn is not None:
        references["random weights"] = measures.sinks(drawn, params).sum(axis=1)
    return references


def _charts(
    recording: Recording,
    params: SinkParams,
    step: int,
    mass: np.ndarray,
    sinks: np.ndarray,
    threshold: float | None,
    references: dict[str, np.ndarray],
) -> None:
    labels, names = recording.trajectory.labels(step), recording.trajectory.names.at(step)

    def clicked(point: Point) -> None:
        st.session_state[_BAR] = int(point.x)

    left, right = st.columns([3, 2], gap="large")
    with left:
        chart(
            f"Where attention goes in step {step}",
            "Each bar is the attention a position receives, averaged over all layers and heads; sinks stand out.",
            "Attention mass of key $s$: $m_{t,l,h,s} = \\sum_q p_{t,l,h}(q, s)$, averaged over layers $l$ and heads "
            "$h$. Uniform attention gives 1.\n\n" + definition_formula(params),
            figures.mass_of_step(mass[step], labels, names, sinks[step], threshold, float(np.nanmax(mass))),
            "mass_of_step",
            pd.DataFrame(
                {"position": np.arange(len(labels)), "token": labels, "mass": mass[step], "sink": sinks[step]}
            ),
            hint="Click a bar for the heads that feed it.",
            finding=reading("attention of a step", mass[step], sinks[step], names),
            on_click=clicked,
        )
        position = st.session_state.get(_BAR)
        if position is not None and position < len(labels):
            one_token.feeding_heads(recording, step, position, "fed_by")
            one_token.to_sinks(recording, "Open these heads", step=str(step), position=str(position))
    with right:
        counts = sinks.sum(axis=1)
        chart(
            "How many sinks each step has",
            "The line counts the sinks of every step."
            + (f" Dashed: {' and '.join(references)}." if references else ""),
            definition_formula(params)
            + ("\n\nGaussian reference: $S\\,(1 - \\Phi(k))$ for $S$ positions." if _GAUSSIAN in references else ""),
            figures.sinks_over_steps(counts, references, step),
            "sinks_over_steps",
            pd.DataFrame({"step": np.arange(len(counts)), "sinks": counts} | references),
            finding=reading("number of sinks", counts, references),
        )
