"""Attention to the dense model's sinks before and after pruning, step by step, from recordings of the pruned models."""

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.figures.dynamics import curves, lines
from analysis.figures.export import Exhibit
from analysis.figures.masks import over_depth
from analysis.findings import finding_of
from analysis.pruned.masks_file import only_masks
from analysis.sinks.definitions import kept_share, shared_inputs
from analysis.specs import ModelSpec, RecordSpec
from analysis.words import percent
from pages.parts import asking
from pages.parts.asking import allow
from pages.parts.charts import card, chart
from pages.parts.masks.pruned_models import Pruned, short_labels
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import definition_formula, opened, recording_to_look_at, sink_controls
from pages.parts.recordings.recording import Recording, prefer_recording

_OURS = "The paper gives no formula for sink strength: this one is ours."


def attention_to_sinks(first: Pruned, second: Pruned) -> None:
    """Draw the view: the dense recording, and both pruned ones beside it."""
    st.caption(
        "The sinks are those of the dense model's recording. Both pruned models denoise the same prompt with the same "
        "settings and seed; shown is what they still pay to those positions."
    )
    models = {first.run.model, second.run.model} - {""}
    prefer_recording(lambda record: record.summary.get("fingerprint") in models)
    dense = recording_to_look_at()
    if dense is None:
        return
    problem = _why_not(first, second, dense)
    if problem:
        st.info(plain(problem))
        return
    params = sink_controls()
    wanted = st.toggle(
        "Denoise this prompt with both pruned models",
        key="pruned_recordings",
        bind="query-params",
        on_change=allow,
        args=(str(first.masks.folder), str(second.masks.folder)),
        help="Two recordings are made where they are not in the store yet. It takes as long as recording did.",
    )
    if not wanted:
        return
    # Both are asked before either is waited for, so that one is next when the other is done.
    slots = {"first": first, "second": second}
    called = dict(zip(slots, short_labels([first, second]), strict=True))
    jobs = [_ask(pruned, dense, slot) for slot, pruned in slots.items()]
    recordings = {"dense": dense}
    for slot, job in zip(slots, jobs, strict=True):
        recording = opened(job) if job is not None else None
        if recording is None:
            return
        recordings[f"{slot}: {called[slot]}"] = recording
    strength = {name: measures.strength_at(recording, dense, params) for name, recording in recordings.items()}
    flags = measures.sinks(dense, params)
    if not flags.any():
        st.info("The dense recording has no sinks by this definition. Lower the threshold.")
        return
    uniform = measures.uniform_strength(dense, flags)
    _over_steps(strength, uniform, definition_formula(params))
    by_layer = {name: measures.layer_strength_at(recording, dense, params) for name, recording in recordings.items()}
    _over_layers(by_layer, float(uniform.mean()), definition_formula(params))
    same = {
        name: shared_inputs(recording.trajectory.tokens, dense.trajectory.tokens)
        for name, recording in recordings.items()
        if recording is not dense
    }
    st.caption(
        "Pruned models write their own text. Of the tokens that go into a step, "
        + " and ".join(f"{percent(value, 0)} ({plain(name)})" for name, value in same.items())
        + " are those of the dense recording on average: where texts part, a sink's position can hold another token."
    )


def _why_not(first: Pruned, second: Pruned, dense: Recording) -> str:
    """Return why the recording is not of the dense model of these two, or ''."""
    dropped = [pruned.label for pruned in (first, second) if only_masks(pruned.masks.folder)]
    if dropped:
        return (
            f"A sweep has dropped the weights of {' and '.join(dropped)} and kept the masks, so nothing can be "
            "recorded with them. Prune again, or sweep with the checkpoints kept."
        )
    geometry, recorded = first.masks.geometry, dense.trajectory
    if (geometry.layers, geometry.heads) != (recorded.layers, recorded.heads):
        return (
            f"This recording is of a model with {recorded.layers} layers of {recorded.heads} heads; these masks are "
            f"of one with {geometry.layers} layers of {geometry.heads}. Choose a "
            "recording of the model they were pruned from."
        )
    models = {first.run.model, second.run.model} - {""}
    if models and models != {dense.info.model.fingerprint}:
        return "These were pruned from another model than the one recorded. Record a prompt with that one first."
    return ""


def _ask(pruned: Pruned, dense: Recording, slot: str) -> JobRecord | None:
    request = dense.request()
    model = request.model
    spec = RecordSpec(
        model=ModelSpec(source=str(pruned.masks.folder), device=model.device, dtype=model.dtype),
        prompt=request.prompt,
        # A folder's name does not say whether its model is tuned for a template; the recording knows.
        chat_template="on" if dense.info.chat_template else "off",
        sampling=request.sampling,
        seed=request.seed,
        mass_dtype=request.mass_dtype,
    )
    return asking.ask("record", spec, f"Recording {pruned.label}", f"masks_{slot}")


def _over_steps(strength: dict[str, np.ndarray], uniform: np.ndarray, definition: str) -> None:
    strength = {**strength, "uniform attention": uniform}
    series = lines(strength, references=["uniform attention"])
    before = strength["dense"]
    table = pd.concat(
        [
            pd.DataFrame(
                {
                    "model": name,
                    "step": np.arange(len(values)),
                    "share of attention": values,
                    "of the dense model's": kept_share(values, before),
                }
            )
            for name, values in strength.items()
        ]
    )
    for column, (name, values) in zip(st.columns(3), list(strength.items())[:3], strict=True):
        mean = float(np.mean(values))
        kept = mean / float(np.mean(before[: len(values)]))
        slot, _, run = name.partition(": ")  # the name in the note, where it may have two lines
        note = f"{run}: {percent(kept, 1)} of the dense model's is kept"
        if name == "dense":
            note = f"Uniform attention would give {percent(float(np.mean(uniform)), 1)}"
        card(column, f"{slot.capitalize()}, mean over steps", percent(mean, 1), note=note)
    chart(
        Exhibit(
            "Attention to the dense model's sinks",
            "Share of all attention that goes to the positions that are sinks in the dense recording, in the same "
            "step.",
            curves(series, "denoising step", "share of attention", percent=True),
            table,
            formula="$$\\frac{\\sum_{s \\in \\text{sinks}_t^{\\text{dense}}} m_{t,s}}{\\sum_s m_{t,s}}$$\n\nwith the "
            f"mass $m$ of each model. {_OURS}\n\n{definition}",
            finding=finding_of(
                "kept attention",
                {name: float(np.mean(values)) for name, values in strength.items() if name != "uniform attention"},
                "dense",
                float(np.mean(uniform)),
            ),
        ),
        "kept_over_steps",
    )


def _over_layers(strength: dict[str, np.ndarray], uniform: float, definition: str) -> None:
    layers = len(strength["dense"])
    chart(
        Exhibit(
            "Attention to the dense model's sinks by layer",
            "The same, layer by layer, averaged over the steps.",
            over_depth(strength, {"uniform attention": np.full(layers, uniform)}, "share of attention", log=False),
            pd.DataFrame({"layer": np.arange(layers), **strength}),
            formula=f"As above with the mass of one layer, then the mean over $t$. {_OURS}\n\n{definition}",
            finding=finding_of("kept by layer", strength, "dense", uniform),
        ),
        "kept_over_layers",
    )
