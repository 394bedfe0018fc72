"""Views for which the recorded model runs again: attention maps, the logit lens, geometry; and massive activations."""

from collections.abc import Sequence
from itertools import compress

import numpy as np
import pandas as pd
import streamlit as st
from pydantic import ValidationError
from safetensors.numpy import load_file
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.exhibits.inside import channels_by_layer, geometry_over, largest_channels, lens_by_layer
from analysis.figures import sinks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.recording.inside_specs import attention_map_spec, geometry_spec, geometry_steps, lens_spec, undecided
from analysis.sinks.geometry import MEASURES
from analysis.sinks.metrics import highest
from analysis.specs import SinkParams, sentence
from analysis.words import counted
from pages.parts import asking
from pages.parts.address import linked_box
from pages.parts.asking import acting_button, begin
from pages.parts.charts import PER_CENT_CELLS, chart, table
from pages.parts.controls import pick
from pages.parts.masks.pruned_models import known_pruned, read_address, titled
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import among, definition_formula
from pages.parts.recordings.explorer import place_in, show_attention
from pages.parts.recordings.measures import says_no_model, seconds_of
from pages.parts.recordings.recording import Recording, show_recording
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
    trajectory, there = recording.trajectory, recording.trajectory.present[step]
    names, called = list(compress(trajectory.labels(step), there)), list(compress(trajectory.names.at(step), there))
    frame = pd.DataFrame(values, columns=[str(position) for position in range(len(values))])
    frame.insert(0, "query", np.arange(len(values)))
    first, end = trajectory.queries[step].tolist()
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


def logit_lens(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab, at the step of the explorer."""
    if measures.says_no_model(recording, inside=True):
        return
    trajectory, step = recording.trajectory, place_in(recording).step
    at = undecided(trajectory, step)
    if not len(at):
        st.info(f"No token of step {step:d} is undecided. Choose an earlier step in the explorer.")
        return
    jobs = asking.ask_by_hand(
        "lens",
        [lens_spec(trajectory, recording.model, step)],
        f"Reading every layer at step {step:d}",
        f"Read every layer at step {step:d}",
        "Reads the states behind every layer with the model's own last norm and head: which token each undecided "
        "position would become, sinks compared with the others. One forward of the model: "
        f"{measures.seconds_of(recording, 1 / trajectory.steps)}.",
    )
    if jobs is None:
        return
    (job,) = jobs
    sinks = measures.sinks(recording, params)[step][at]
    chart(lens_by_layer(trajectory, step, at, job.summary, sinks, definition_formula(params)), "lens")


_CHANNELS = 4


def massive_activations(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab, which has no controls of its own."""
    trajectory = recording.trajectory
    if trajectory.largest_channel is None:
        _record_again(recording)
        return
    sinks = measures.sinks(recording, params)
    chart(channels_by_layer(trajectory, sinks, definition_formula(params)), "channel_map")
    table(
        "Channels that are the largest somewhere",
        "In which share of the layers and steps, and how often a sink carries them there, beside a random token of the "
        "same state.",
        largest_channels(trajectory, sinks),
        "channels",
        column_config={
            name: st.column_config.NumberColumn(format=PER_CENT_CELLS)
            for name in ("largest in", "on a sink", "by chance")
        }
        | {"times the median, at most": st.column_config.NumberColumn(format="%.1f")},
    )


def _record_again(recording: Recording) -> None:
    """Draw a button that records the same with channels."""
    if measures.says_no_model(recording):
        return
    st.info(
        "This recording was made without its residual channels. With them, this tab shows which few channels grow far "
        "beyond the others in every layer and step, and whether sinks carry them."
    )

    def again() -> None:
        spec = recording.request().model_copy(update={"channels": _CHANNELS})
        show_recording(begin("record", spec).id)

    st.caption(
        f"Recording again takes {measures.seconds_of(recording)} and stores a few bytes more per layer and step."
    )
    acting_button("Record with channels", "record_channels", on_click=again, icon=":material/fiber_manual_record:")


_OWN = "this model"


def geometry(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab; its controls in `side`. Nothing here depends on the definition of a sink."""
    if measures.says_no_model(recording, inside=True):
        return
    name = pick("Measure", MEASURES, "geometry", side, format_func=lambda name: MEASURES[name].title)
    pruned = {run_id: run for run_id, run in known_pruned().items() if run.runs}
    beside = linked_box(
        "Pruned model beside it",
        list(pruned),
        "geometry_beside",
        titled(pruned),
        place=side,
        read=read_address(pruned),
        placeholder="none",
    )
    trajectory = recording.trajectory
    steps = geometry_steps(trajectory)
    specs = [geometry_spec(trajectory, recording.model)]
    if beside:
        specs.append(geometry_spec(trajectory, recording.model.model_copy(update={"source": pruned[beside].source})))
    forwards = sum(len(steps) * (1 + spec.random_models) for spec in specs) / trajectory.steps
    jobs = asking.ask_by_hand(
        "geometry",
        specs,
        "Measuring the geometry",
        "Measure the geometry",
        "Measures how many dimensions each head's attention map and outputs take up, and the token states behind each "
        "layer, compared with models of the same shape with random weights. Runs "
        f"{counted(len(steps), 'step')} of this recording through each: {measures.seconds_of(recording, forwards)}, "
        "or several times that on long texts.",
    )
    if jobs is not None:
        first, *second = [_arrays(job) for job in jobs]
        _show(name, steps, first, second[0] if second else None, pruned[beside].name if beside else "")


def _arrays(job: JobRecord) -> dict[str, np.ndarray]:
    file = engine().result_file(job)
    return {} if file is None else load_file(file)


def _show(
    name: str, steps: list[int], shapes: dict[str, np.ndarray], other: dict[str, np.ndarray] | None, other_name: str
) -> None:
    if f"own_{name}" not in shapes:
        st.warning("This measurement is no longer in the store.")
        return
    own, random = shapes[f"own_{name}"], shapes[f"random_{name}"]
    models = {_OWN: own}
    if other is not None and f"own_{name}" in other and other[f"own_{name}"].shape == own.shape:
        models[other_name] = other[f"own_{name}"]
    for column, axis in zip(
        st.columns(2, gap="large", vertical_alignment="bottom"), ("layer", "denoising step"), strict=True
    ):
        shown = geometry_over(name, axis, steps, models, random)
        with column:
            chart(shown, f"geometry_{axis.split()[-1]}")
