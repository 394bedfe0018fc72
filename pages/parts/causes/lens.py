"""The logit lens at the undecided tokens of a step: what sinks among them are about to become, layer by layer."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.figures.causes import lens_map
from analysis.sinks.lens import sentence
from analysis.sinks.token_states import TokenState
from analysis.specs import LensSpec, SinkParams
from pages.parts import asking
from pages.parts.charts import chart
from pages.parts.plain import plain
from pages.parts.recordings import measures, references
from pages.parts.recordings.choice import definition_formula, step_slider
from pages.parts.recordings.recording import Recording


def logit_lens(recording: Recording, params: SinkParams) -> None:
    """Draws the view."""
    st.caption(
        "What does an undecided sink already know? The states behind every layer are read by the model's own last norm "
        "and head: which token each undecided position would become, sinks beside the others."
    )
    problem = references.why_no_model(recording)
    if problem:
        st.info(plain(problem))
        return
    step = step_slider(recording)
    trajectory, info = recording.trajectory, recording.info
    at = np.flatnonzero(trajectory.state[step] == TokenState.UNDECIDED)
    if not len(at):
        st.info("No token of this step is undecided. Choose an earlier one.")
        return
    becomes = trajectory.final[at]
    spec = LensSpec(
        model=recording.model,
        tokens=trajectory.input_tokens(step),
        positions=tuple(at.tolist()),
        becomes=tuple(becomes.tolist()),
        prompt_length=info.prompt_length if info.by_blocks else 0,
        block_length=info.block_length,
        open_from=int(trajectory.open_block[step][0]) if info.by_blocks else None,
    )
    job = asking.ask("lens", spec, "Reading every layer")
    if job is None:
        return
    sinks = measures.sinks(recording, params)[step][at]
    words, hits = job.summary["words"], np.array(job.summary["hits"])
    probability = np.array(job.summary["becomes"], np.float32)
    said = sentence(hits, sinks)
    if said:
        st.markdown(plain(said))
    labels = [f"{position} ‘{info.tokens[token]}’" for position, token in zip(at, becomes.tolist(), strict=True)]
    layer, index = (axis.ravel() for axis in np.indices(hits.shape))
    chart(
        f"What the undecided tokens of step {step} become, layer by layer",
        "Colour: the probability that a layer gives to the token the position becomes in the end. Sinks are marked.",
        "$\\operatorname{softmax}(W\\,\\operatorname{norm}(h_l))$ with the model's own last norm and head $W$ "
        "(nostalgebraist 2020).\n\n" + definition_formula(params),
        lens_map(probability, words, labels, sinks),
        "lens",
        pd.DataFrame(
            {
                "layer": layer,
                "position": at[index],
                "sink": sinks[index],
                "becomes": [info.tokens[token] for token in becomes[index].tolist()],
                "its probability": probability.ravel(),
                "likeliest": [word for row in words for word in row],
            }
        ),
    )
