"""Attention maps of single heads. Recordings do not keep them: each takes one forward of the model."""

from collections.abc import Sequence
from itertools import compress

import numpy as np
import pandas as pd
import streamlit as st
from pydantic import ValidationError
from safetensors.numpy import load_file
from streamlit.delta_generator import DeltaGenerator

from analysis.figures import sinks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.recording.inside_specs import attention_map_spec
from analysis.sinks.metrics import highest
from analysis.specs import SinkParams, sentence
from pages.parts import asking
from pages.parts.charts import chart
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import among
from pages.parts.recordings.explorer import place_in, show_attention
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import says_no_model, seconds_of
from pages.parts.session import engine

MOST_HEADS = 4
_FORMULA = "$p(q, s) = \\operatorname{softmax}_s(q \\cdot k / \\sqrt{d})$; every row sums to 1."


def attention_map(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab: the map of the head that the explorer shows, and the attention of its chosen token."""
    if says_no_model(recording):
        return
    place = place_in(recording)
    strength = measures.over_steps(measures.head_metric(recording, "strength", params, split))
    layer, head = highest(strength, place.layer, place.head)
    heads = {
        f"layer {at_layer}, head {at_head}": (at_layer, at_head)
        for at_layer in range(recording.trajectory.layers)
        for at_head in range(recording.trajectory.heads)
    }
    among("line_heads", heads)
    with side:
        chosen = st.multiselect(
            "Heads",
            list(heads),
            key="line_heads",
            bind="query-params",
            max_selections=MOST_HEADS,
            placeholder=f"layer {layer}, head {head}",
            help="Empty: the head chosen in the explorer, or the one whose sinks take most.",
        ) or [f"layer {layer}, head {head}"]
    maps = _maps(recording, place.step, [heads[title] for title in chosen], chosen)
    if maps is None:
        return
    show_attention({(place.step, *heads[title]): values for title, values in zip(chosen, maps, strict=True)})
    for title, values in zip(chosen, maps, strict=True):
        _full_map(recording, place.step, title, heads[title][0], values)
    st.caption("With one of these heads chosen in the explorer, choose a token there: lines show what it attends to.")


def _full_map(recording: Recording, step: int, title: str, layer: int, values: np.ndarray) -> None:
    names, called = _words(recording, step), _names(recording, step)
    frame = pd.DataFrame(values, columns=[str(position) for position in range(len(values))])
    frame.insert(0, "query", np.arange(len(values)))
    first, end = recording.trajectory.queries[step].tolist()
    kept = ""
    if end - first < len(values):
        kept = f" The step itself ran the rows {first} to {end - 1}; keys of the others were kept from earlier."
    chart(
        Exhibit(
            f"Full attention map of {title} at step {step}",
            "Row: the token that attends. Column: the token attended to. A bright column is a sink." + kept,
            figures.attention_map(values, names),
            frame,
            formula=f"{_FORMULA} The colours end at the 99.5th percentile.",
            finding=finding_of(
                "attention map", values[first:end], called, measures.uniform_of_head(recording, step, layer)
            ),
        ),
        f"attention_map_{title.replace(', ', '_').replace(' ', '_')}",
    )


def _words(recording: Recording, step: int) -> list[str]:
    """Return the input tokens of a step, in the order of a map's rows."""
    return list(compress(recording.trajectory.labels(step), recording.trajectory.present[step]))


def _names(recording: Recording, step: int) -> list[str]:
    """Return the names of the input positions of a step, in the same order."""
    return list(compress(recording.trajectory.names.at(step), recording.trajectory.present[step]))


def _maps(
    recording: Recording, step: int, heads: Sequence[tuple[int, int]], titles: Sequence[str]
) -> list[np.ndarray] | None:
    """Return the maps of heads (layer, head) in a step, (P, P) each of the tokens present; None before they are
    requested, while they are computed, and if they cannot be, after saying why.
    """
    try:
        specs = [attention_map_spec(recording.trajectory, recording.model, step, *head) for head in heads]
    except ValidationError as error:
        st.info(f"This map cannot be fetched. {plain(sentence(error))}")
        return None
    jobs = asking.ask_by_hand(
        "attention_map",
        specs,
        f"Fetching the attention map of {' and '.join(titles)} at step {step}",
        "Fetch the map" if len(heads) == 1 else f"Fetch {len(heads)} maps",
        f"Recordings keep the mass per token, not the maps. One forward per head fetches {' and '.join(titles)} at "
        f"step {step}: {seconds_of(recording, len(heads) / recording.trajectory.steps)}.",
    )
    files = [engine().result_file(job) for job in jobs or ()]
    return [load_file(file)["map"] for file in files if file is not None] if jobs and None not in files else None
