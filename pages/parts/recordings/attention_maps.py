"""Attention maps of single heads, which recordings do not keep: one forward of the model fetches each."""

from collections.abc import Sequence
from itertools import compress

import numpy as np
import pandas as pd
import streamlit as st
from pydantic import ValidationError
from safetensors.numpy import load_file

from analysis.figures import sinks as figures
from analysis.figures.attention_lines import MOST_LINES, attention_lines
from analysis.readings import reading
from analysis.specs import AttentionMapSpec, sentence
from pages.parts import asking, permission
from pages.parts.charts import chart
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import among
from pages.parts.recordings.recording import Recording
from pages.parts.recordings.references import why_no_model
from pages.parts.session import engine

MOST_HEADS = 4
_FORMULA = "$p(q, s) = \\operatorname{softmax}_s(q \\cdot k / \\sqrt{d})$; every row sums to 1."


def full_map(recording: Recording, step: int, layer: int, head: int) -> None:
    """The whole map of a head in a step, once asked for."""
    st.divider()
    wanted = _wanted(
        recording,
        "Full attention map",
        "full_map",
        "Recordings keep the mass, not the maps. One forward of the model fetches the map of a head at a step.",
    )
    maps = _maps(recording, step, [(layer, head)], [""]) if wanted else None
    if maps is None:
        return
    values, names, called = maps[0], _words(recording, step), _names(recording, step)
    frame = pd.DataFrame(values, columns=[str(position) for position in range(len(values))])
    frame.insert(0, "query", np.arange(len(values)))
    first, end = recording.trajectory.queries[step].tolist()
    part = end - first < len(values)
    kept = (
        f" The step itself ran the rows {first} to {end - 1}; keys of the others were kept from earlier."
        if part
        else ""
    )
    chart(
        f"Full attention map of layer {layer}, head {head} at step {step}",
        "Row: the token that attends. Column: the token attended to. A bright column is a sink." + kept,
        f"{_FORMULA} The colours end at the 99.5th percentile.",
        figures.attention_map(values, names),
        "attention_map",
        frame,
        finding=reading("attention map", values[first:end], called, measures.uniform_of_head(recording, step, layer)),
    )


def lines_from_token(recording: Recording, step: int, position: int, layer: int, head: int) -> None:
    """What a token attends to, as lines over the text for chosen heads, once asked for."""
    there = np.flatnonzero(recording.trajectory.present[step])
    if position not in there:
        return
    wanted = _wanted(
        recording,
        "What it attends to, as lines over the text",
        "token_lines",
        "For each head one forward of the model fetches its map in this step.",
    )
    if not wanted:
        return
    heads = {
        f"layer {at_layer}, head {at_head}": (at_layer, at_head)
        for at_layer in range(recording.trajectory.layers)
        for at_head in range(recording.trajectory.heads)
    }
    among("line_heads", heads)
    chosen = st.multiselect(
        "Heads",
        list(heads),
        key="line_heads",
        bind="query-params",
        max_selections=MOST_HEADS,
        placeholder=f"layer {layer}, head {head}: the one opened above",
    ) or [f"layer {layer}, head {head}"]
    places = [f"line{number}" for number in range(len(chosen))]
    maps = _maps(recording, step, [heads[title] for title in chosen], places)
    if maps is None:
        return
    at, names, called = int(np.searchsorted(there, position)), _words(recording, step), _names(recording, step)
    if np.isnan(maps[0][at]).any():
        st.info(f"Position {position} did not run in step {step}: its key was kept from an earlier one.")
        return
    shares = np.stack([values[at] for values in maps])
    seen = int((shares > 0).sum(axis=1).max())
    chart(
        f"What {called[at]} attends to in step {step}",
        f"The wider a line, the more it pays; a ring is what it pays to itself. Of each head at most {MOST_LINES} "
        f"lines are drawn, of tokens that get more than the {1 / seen:.1%} of uniform attention.",
        f"{_FORMULA} Drawn is the row of this token.",
        attention_lines(shares, chosen, names, called, at, 1 / seen),
        "token_lines_figure",
        pd.DataFrame({"position": there, "token": names} | dict(zip(chosen, shares, strict=True))),
        finding=reading("attention from a token", shares, chosen, called, at, seen),
    )


def _wanted(recording: Recording, label: str, key: str, help: str) -> bool:
    """A switch whose pressing is the permission to run the model."""
    return st.toggle(
        label, key=key, bind="query-params", on_change=permission.allow, args=(recording.model.source,), help=help
    )


def _words(recording: Recording, step: int) -> list[str]:
    """The tokens that a step had before it, in the order of a map's rows."""
    return list(compress(recording.trajectory.labels(step), recording.trajectory.present[step]))


def _names(recording: Recording, step: int) -> list[str]:
    """What their positions are called in that step."""
    return list(compress(recording.trajectory.names.at(step), recording.trajectory.present[step]))


def _maps(
    recording: Recording, step: int, heads: Sequence[tuple[int, int]], places: Sequence[str]
) -> list[np.ndarray] | None:
    """The maps of heads (layer, head) in a step, (P, P) each of the tokens present; None after saying what is missing,
    or while they are fetched. places: of each question, as of `asking.ask`.
    """
    problem = why_no_model(recording)
    if problem:
        st.info(plain(problem))
        return None
    try:
        specs = [_spec(recording, step, layer, head) for layer, head in heads]
    except ValidationError as error:
        st.info(f"This map cannot be fetched. {plain(sentence(error))}")
        return None
    maps = []
    for spec, place in zip(specs, places, strict=True):
        job = asking.ask("attention_map", spec, "Fetching the attention map", place)
        file = engine().result_file(job) if job is not None else None
        if file is None:
            return None
        maps.append(load_file(file)["map"])
    return maps


def _spec(recording: Recording, step: int, layer: int, head: int) -> AttentionMapSpec:
    trajectory, info = recording.trajectory, recording.info
    return AttentionMapSpec(
        model=recording.model,
        tokens=trajectory.input_tokens(step),
        layer=layer,
        head=head,
        prompt_length=info.prompt_length if info.by_blocks else 0,
        block_length=info.block_length,
        open_from=int(trajectory.open_block[step][0]) if info.by_blocks else None,
        kept=trajectory.kept_forward(step),
    )
