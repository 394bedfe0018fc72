"""Views for which the recorded model runs again: attention maps, the logit lens, geometry; and massive activations and
routes through experts, which the recording holds.
"""

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
from analysis.figures import experts as expert_figures
from analysis.figures import sinks as figures
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.recording import expert_routes
from analysis.recording.expert_routes import MOST_BARS, SinkLoads
from analysis.recording.inside_specs import attention_map_spec, geometry_spec, geometry_steps, lens_spec, undecided
from analysis.sinks import routing
from analysis.sinks.definitions import mean_of_finite
from analysis.sinks.geometry import MEASURES
from analysis.sinks.metrics import highest
from analysis.specs import SinkParams, sentence
from analysis.words import counted
from pages.parts import asking
from pages.parts.address import linked_box
from pages.parts.asking import acting_button, begin
from pages.parts.charts import PER_CENT_CELLS, cells, chart, table
from pages.parts.controls import keyed_columns, pick
from pages.parts.masks.pruned_models import known_pruned, read_address, titled
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import among, definition_formula, within
from pages.parts.recordings.explorer import place_in, show_attention
from pages.parts.recordings.measures import says_no_model, seconds_of
from pages.parts.recordings.recording import Recording, cached, show_recording
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


# --- mixtures of experts ----------------------------------------------------------------------------------------------


@cached(16, "Counting where tokens go…")
def _loads(recording: Recording) -> np.ndarray:
    """Return the load of every expert in each step, (T, M, E)."""
    return expert_routes.loads(recording.trajectory)


@cached(16, "Comparing sinks with other tokens…")
def _sink_loads(recording: Recording, params: SinkParams, split: str) -> SinkLoads | None:
    """Compare where sinks go with all other tokens and with as many random ones of the same states; None without
    sinks.
    """
    sinks = measures.counted_sinks(recording, params, split=split)
    return expert_routes.sink_loads(recording.trajectory, sinks, measures.counted(recording, split))


@cached(16)
def _turnovers(recording: Recording) -> np.ndarray:
    """Return the share of a token's experts that changed since the step before, (T, M)."""
    return expert_routes.turnover(recording.trajectory)


def experts(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab; its controls in `side`."""
    layers = recording.info.model.expert_layers
    layer = pick("Layer", layers, "expert_layer", side, help="Of those that have experts.")
    _load(recording)
    index = layers.index(layer)
    left, right = keyed_columns(2, "experts", gap="medium")
    with left:
        loads = _sink_loads(recording, params, split)
        if loads is None:
            st.info("No step has both sinks and other tokens here. Lower the threshold, or count sinks elsewhere.")
        else:
            _sinks(loads, index, layer, definition_formula(params))
    with right:
        _turnover(recording, index, layer)
    _route(recording)


def _load(recording: Recording) -> None:
    layers, shares = recording.info.model.expert_layers, mean_of_finite(_loads(recording))
    entropy, unused = routing.entropy(shares), routing.unused(shares)
    choices = expert_routes.choices_per_step(recording.trajectory)
    grid, lines = keyed_columns([3, 2], "expert_load", gap="medium")
    with grid:
        chart(
            Exhibit(
                "Load of the experts",
                f"The share of tokens' choices that each of {shares.shape[1]} experts gets, mean over the steps, as a "
                "multiple of an even load.",
                expert_figures.load_grid(shares, layers),
                cells({"layer": layers, "expert": range(shares.shape[1])}, {"share of choices": shares}),
                formula="For each layer, the share of the K choices of all routed tokens of a step that go to an "
                "expert, averaged over the steps and multiplied with the number of experts.",
                finding=finding_of("load of experts", shares, layers, choices),
            ),
            "expert_load",
        )
    with lines:
        chart(
            Exhibit(
                "How evenly they are used",
                "The entropy of each layer's load as a share of the largest, and the share of its experts that are "
                "idle in this recording.",
                expert_figures.layer_lines({"entropy": entropy, "unused experts": unused}, layers),
                pd.DataFrame({"layer": layers, "entropy": entropy, "unused experts": unused}),
                formula=r"$$-\sum_e p_e \log p_e / \log E$$ of the load p over E experts, and the share of experts "
                r"with no token. "
                "One short text uses fewer experts than many would.",
                finding=finding_of("evenness of experts", entropy, unused, layers, shares.shape[1], choices),
            ),
            "expert_evenness",
        )


def _sinks(loads: SinkLoads, index: int, layer: int, formula: str) -> None:
    shown, drawn = loads.of_layer(index)
    mean, low, high = drawn
    sinks, others = loads.sinks[index][shown], loads.others[index][shown]
    away = loads.drawn_distance[:, index]
    cut = f" Shown are the {MOST_BARS} experts that differ most." if len(shown) < loads.sinks.shape[1] else ""
    chart(
        Exhibit(
            "Where the sinks go",
            f"The load of the sinks of layer {layer}, of all other tokens, and of as many random tokens of the same "
            f"states.{cut}",
            expert_figures.group_bars(sinks, others, drawn, shown.tolist()),
            pd.DataFrame(
                {
                    "expert": shown,
                    "sinks": sinks,
                    "all other tokens": others,
                    "random tokens, mean": mean,
                    "lowest draw": low,
                    "highest draw": high,
                }
            ),
            formula="Loads are means over the steps that have sinks. The distance is half the sum of absolute "
            "differences (total variation); few tokens are far from any load by chance, which is why random ones stand "
            "beside. The range is from the smallest to the largest of the draws, of one recording: another text is not "
            f"in it.\n\n{formula}",
            finding=finding_of("routes of sinks", float(loads.distance[index]), away, layer),
        ),
        "expert_sinks",
    )


def _turnover(recording: Recording, index: int, layer: int) -> None:
    changed = _turnovers(recording)
    mean = mean_of_finite(changed, 1)
    chart(
        Exhibit(
            "How routes turn over",
            "How many of a token's experts are not those that the step before chose for its position.",
            expert_figures.turnover_lines(mean, changed[:, index], layer),
            pd.DataFrame({"step": np.arange(len(mean)), "mean over layers": mean, f"layer {layer}": changed[:, index]}),
            formula="Of the K experts of a position, the share that the step before had not chosen for it, averaged "
            "over the positions routed in both steps.",
            finding=finding_of(
                "turnover of routes",
                mean,
                int(expert_routes.routes_of(recording.trajectory)[0].shape[2]),
                recording.info.model.expert_count,
            ),
        ),
        "expert_turnover",
    )


def _route(recording: Recording) -> None:
    positions = expert_routes.routed_positions(recording.trajectory)
    within("expert_position", positions[-1])
    position = st.number_input(
        "Position",
        positions[0],
        positions[-1],
        value=positions[-1],
        key="expert_position",
        bind="query-params",
        help="The token of the text whose route is shown, counted from 0.",
    )
    layers = recording.info.model.expert_layers
    experts, weights = expert_routes.route(recording.trajectory, int(position))
    labels = [recording.trajectory.labels(step)[int(position)] for step in range(recording.trajectory.steps)]
    table = cells({"step": range(len(labels)), "layer": layers}, {"first expert": experts, "weight": weights})
    table.insert(2, "token", np.repeat(labels, len(layers)))
    chart(
        Exhibit(
            "One token's route",
            f"The expert that gets most of position {position} in each step and layer, and its weight."
            + (" Blank: steps that route no token there." if np.isnan(experts).any() else ""),
            expert_figures.route(experts, weights, layers, labels),
            table,
            formula="The first of the K experts that the router chose; the weight is what its output is multiplied "
            "with, and need not be a share.",
            finding=finding_of("route of a token", experts, recording.info.model.expert_count),
        ),
        "expert_route",
    )
