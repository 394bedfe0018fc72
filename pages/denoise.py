"""Record a prompt, watch the text fill in, and replay it step by step with its sinks marked."""

import time
from typing import Literal

import numpy as np
import pandas as pd
import streamlit as st
from pydantic import ValidationError

from analysis.engine import JobRecord
from analysis.figures import sinks as figures
from analysis.jobs import RecordPartial
from analysis.models.checkpoint import describe, find
from analysis.recording.collecting import planned_bytes
from analysis.sinks import definitions as sink_analysis
from analysis.sinks.token_states import TokenState
from analysis.specs import (
    SAMPLINGS,
    BlockWriting,
    DiffusionGemmaSampling,
    LLaDASampling,
    ModelSpec,
    RecordSpec,
    Sampling,
    SinkParams,
    sentence,
)
from pages.parts import controls, permission, tokens
from pages.parts.charts import chart, heading
from pages.parts.frame import run
from pages.parts.plain import code, plain
from pages.parts.progress import cancel_button, progress_bar
from pages.parts.recordings import measures
from pages.parts.recordings.choice import choose_recording, definition_formula, opened, sink_controls, step_slider
from pages.parts.recordings.recording import Recording, show_recording, shown_recording
from pages.parts.recordings.references import stored_reference
from pages.parts.session import engine, model_entry, model_in_use, submit
from pages.parts.trouble import EXPECTED, told

PLAY_INTERVAL = 0.35  # seconds a step
HOLD, LATE_STEPS = 1.0, 3  # seconds after Pause, and steps, in which the browser may lag
_PLAYING, _POSITION, _HELD_SINCE = "denoise_playing", "denoise_position", "denoise_held_since"
_STARTED = "denoise_started"
_GAUSSIAN = "Gaussian reference"


def main() -> None:
    """Draws the page."""
    st.title("Denoise")
    _ask()
    record = shown_recording()
    if record is None:
        st.info("No recording yet. Write a prompt and press **Record**; the text fills in as the model denoises it.")
        return
    st.divider()
    if not record.ended:
        _follow(record.id)
    elif record.state == "done":
        choose_recording(record)
        recording = opened(record)
        if recording is not None:
            _show(recording)
    else:
        _ended_badly(record)


# --- asking -----------------------------------------------------------------------------------------------------


def _ask() -> None:
    model = model_in_use()
    known = model_entry(model)
    prompt = st.text_area(
        RecordSpec.model_fields["prompt"].title or "Prompt",
        value=known.prompt,
        key=f"prompt_{model.source}",
        height=90,
        persist_state="session",
        help=RecordSpec.model_fields["prompt"].description,
    )
    sampling_type = _sampling_type(model)
    with st.expander(f"Settings · {(sampling_type.__doc__ or '').split(':')[0].strip('.')}"):
        try:
            sampling = _sampling(sampling_type, model.source, dict(known.sampling))
            problem = ""
        except ValidationError as error:
            sampling, problem = None, sentence(error)
        columns = st.columns(3)
        with columns[0]:
            seed = controls.draw(RecordSpec, "seed", "seed", persist_state="session")
        with columns[1]:
            chat = controls.draw(RecordSpec, "chat_template", "chat_template", persist_state="session")
        with columns[2]:
            stored = controls.draw(RecordSpec, "mass_dtype", "mass_dtype", persist_state="session")
        observe: Literal["writer", "reader"] = "writer"
        if sampling_type is DiffusionGemmaSampling:
            observe = controls.draw(RecordSpec, "observe", "observe", persist_state="session")
    if problem:
        st.error(plain(problem))
    button, note = st.columns([1, 5], vertical_alignment="center")
    pressed = button.button(
        "Record",
        key="record",
        type="primary",
        icon=":material/fiber_manual_record:",
        width="stretch",
        disabled=bool(problem),
    )
    if sampling is not None:
        steps = sampling.forwards()
        given = getattr(sampling, "steps", steps if isinstance(sampling, BlockWriting) else sampling.gen_length)
        rest = f" (the rest of {given:d} would decide nothing)" if steps < given else ""
        size = _recording_size(model, prompt, sampling, stored)
        about = f" The recording takes about {size / 1e6:,.1f} MB." if size else ""
        note.caption(
            f"{sampling.gen_length:d} new tokens in {steps:d} steps{rest} with {code(model.source)}, "
            f"seed {seed:d}.{about}"
        )
    if pressed and sampling is not None:
        with told():
            spec = RecordSpec(
                model=model,
                prompt=prompt,
                sampling=sampling,
                seed=seed,
                chat_template=chat,
                observe=observe,
                mass_dtype=stored,
            )
            permission.allow(model.source)
            record = submit("record", spec)
            st.session_state[_PLAYING] = False
            st.session_state["step"] = 0
            show_recording(record.id)
            st.rerun()


def _sampling_type(model: ModelSpec) -> type[Sampling]:
    """The sampler's parameters for a model; LLaDA's where the hub cannot be asked what it is."""
    sampler = _sampler(model.source, model.paradigm)
    return LLaDASampling if sampler is None else SAMPLINGS[sampler]


def _recording_size(model: ModelSpec, prompt: str, sampling: Sampling, stored: str) -> int | None:
    """About how many bytes it will take, or None for a model that is not on this disk. A word counts as 1.5 tokens."""
    try:
        checkpoint = find(model.source, model.paradigm)
    except EXPECTED:
        return None
    if checkpoint is None:
        return None
    sampling = sampling.in_blocks_of(checkpoint.architecture.block_size)
    return planned_bytes(sampling, checkpoint.geometry, int(1.5 * len(prompt.split())), 0, stored)


@st.cache_data(ttl=60, max_entries=32, show_spinner="Asking what this model is…")
def _sampler(source: str, paradigm: str) -> str | None:
    try:
        return describe(source, paradigm).sampler
    except EXPECTED:
        return None


def _sampling(kind: type[Sampling], source: str, defaults: dict[str, int]) -> Sampling:
    """Draws the sampler's parameters, three in a row. Raises ValidationError where they do not fit together."""
    names = [name for name in kind.model_fields if name != "sampler"]
    values = {}
    columns = st.columns(3)
    for index, name in enumerate(names):
        with columns[index % 3]:
            values[name] = controls.draw(
                kind, name, f"{source}_{name}", default=defaults.get(name), persist_state="session"
            )
    return kind(**values)


# --- following --------------------------------------------------------------------------------------------------


@st.fragment(run_every=0.3)
def _follow(job_id: str) -> None:
    record = engine().job(job_id)
    if record is None or record.ended:
        st.rerun()
    heading(
        "Denoising now",
        "The text fills in as the model uncovers it.",
        "Shade is the probability of each token when it was chosen.",
    )
    progress_bar(record)
    live = engine().progress(job_id).details_as(RecordPartial)
    if live.get("tokens"):
        chosen = [value is not None for value in live["confidence"]]
        tokens.show(
            tokens.token_text(
                live["tokens"],
                tokens.states_of(live["undecided"], live["prompt_length"]),
                live["confidence"],
                new=chosen,
                open_block=live.get("open_block"),
            ),
            tokens.legend(sinks=False),
        )
    cancel_button(record, "cancel_recording")


def _ended_badly(record: JobRecord) -> None:
    texts = {
        "failed": plain(record.reason) or "The recording failed.",
        "cancelled": "This recording was cancelled.",
        "interrupted": "SinkScope was stopped while this recording ran.",
    }
    (st.error if record.state == "failed" else st.warning)(texts[record.state])
    if record.traceback:
        with st.expander("Traceback"):
            st.code(record.traceback)
    if st.button("Try again", key="try_again", icon=":material/refresh:"):
        with told():
            permission.allow(record.spec["model"]["source"])
            show_recording(submit("record", record.parameters()).id)
            st.rerun()
    choose_recording(record)


# --- showing ----------------------------------------------------------------------------------------------------


def _show(recording: Recording) -> None:
    info = recording.info
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    with left:
        params = sink_controls()
    with right:
        st.page_link(
            "pages/sinks.py",
            label="**Show its sinks**",
            icon=":material/grid_view:",
            width="stretch",
            query_params={"recording": recording.job.id},
        )
    if info.unknown_tokens:
        st.warning(
            f"{info.unknown_tokens:d} token{'s' if info.unknown_tokens > 1 else ''} of the prompt are unknown to this "
            "model and were read as its unknown token."
        )
    interval = PLAY_INTERVAL if st.session_state.get(_PLAYING) else None
    st.fragment(_replay, run_every=interval)(recording, params, _references(recording, params))
    _facts(recording)


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


def _replay(recording: Recording, params: SinkParams, references: dict[str, np.ndarray]) -> None:
    last = recording.trajectory.steps - 1
    started = st.session_state.pop(_STARTED, False)  # the run of the click itself, which draws the page anew
    if st.session_state.get(_PLAYING):
        if not started:
            _advance(last)
    else:
        _hold()
    button, slider = st.columns([1, 8], vertical_alignment="bottom")
    with button:
        playing = st.session_state.get(_PLAYING, False)
        icon = ":material/pause:" if playing else ":material/play_arrow:"
        pressed = st.button(
            "Pause" if playing else "Play",
            key="play",
            icon=icon,
            width="stretch",
            disabled=last == 0,
            on_click=_toggle_play,
            args=(last,),
        )
    if pressed:
        st.rerun()  # the page, so that the timer starts or ends
    with slider:
        step = step_slider(recording)

    mass = measures.mean_mass(recording)
    sinks = measures.sinks(recording, params)
    heading(
        f"Text at step {step}",
        "What went into this step. Shade: the probability a token was chosen with. Outline: an attention sink.",
        definition_formula(params),
    )
    tokens.show(_text(recording, step, sinks[step], mass[step]), _legend(recording))
    threshold = measures.threshold(recording, params, step)
    _charts(params, step, mass, sinks, threshold, references, recording.trajectory.labels(step))


def _advance(last: int) -> None:
    """One step on. The browser's slider may lag a step, so the position is kept here; a jump is the visitor's own."""
    chosen, position = st.session_state.get("step", 0), st.session_state.get(_POSITION, 0)
    step = chosen if abs(chosen - position) > 1 else position
    if step >= last:
        st.session_state[_PLAYING] = False
        st.rerun()
    st.session_state[_POSITION] = st.session_state["step"] = step + 1


def _hold() -> None:
    """Right after Pause the browser may still send a step from before: the one that was shown stays."""
    held_since, position = st.session_state.get(_HELD_SINCE, 0.0), st.session_state.get(_POSITION, 0)
    behind = position - st.session_state.get("step", 0)
    if 0 < behind <= LATE_STEPS and time.monotonic() - held_since < HOLD:
        st.session_state["step"] = position


def _toggle_play(last: int) -> None:
    """A callback, so that Pause takes effect before another step is taken: the step that is seen stays."""
    starting = not st.session_state.get(_PLAYING, False)
    if not starting:
        # Either side may be a step behind what is seen: the browser's slider, or a run that was cut short.
        shown, position = st.session_state["step"], st.session_state[_POSITION]
        st.session_state["step"] = max(shown, position) if abs(shown - position) <= LATE_STEPS else shown
        st.session_state[_HELD_SINCE] = time.monotonic()
    elif st.session_state.get("step", 0) >= last:
        st.session_state["step"] = 0
    st.session_state[_POSITION] = st.session_state.get("step", 0)
    st.session_state[_PLAYING] = st.session_state[_STARTED] = starting


def _text(recording: Recording, step: int, sinks: np.ndarray, mass: np.ndarray) -> str:
    trajectory = recording.trajectory
    earlier = trajectory.confidence[:step]
    chosen_with = np.where(np.isfinite(earlier), earlier, -1).max(axis=0, initial=-1)
    labels, before, new = trajectory.labels(step), {}, np.zeros(trajectory.positions, bool)
    if step:
        changes, labels_before = measures.changes(recording), trajectory.labels(step - 1)
        changed = changes.edited[step - 1] | changes.taken_back[step - 1]
        before = {position: labels_before[position] for position in np.flatnonzero(changed).tolist()}
        new = np.isfinite(trajectory.confidence[step - 1])
    return tokens.token_text(
        labels,
        trajectory.state[step].tolist(),
        [float(value) if value >= 0 else None for value in chosen_with],
        sinks=sinks.tolist(),
        new=new.tolist(),
        mass=mass.tolist(),
        before=before,
        open_block=trajectory.open_block[step].tolist() if _has_blocks(recording) else None,
        noise=recording.info.model.noise == "uniform",
    )


def _has_blocks(recording: Recording) -> bool:
    """Whether the text was written in several blocks of more than a token."""
    blocks = np.unique(recording.trajectory.open_block, axis=0)
    return len(blocks) > 1 and bool((np.diff(blocks, axis=1) > 1).any())


def _legend(recording: Recording) -> str:
    changes = measures.changes(recording)
    return tokens.legend(
        accepted=bool((recording.trajectory.state == TokenState.ACCEPTED).any()),
        changed=bool(changes.edited.any() or changes.taken_back.any()),
        blocks=_has_blocks(recording),
        noise=recording.info.model.noise == "uniform",
    )


def _charts(
    params: SinkParams,
    step: int,
    mass: np.ndarray,
    sinks: np.ndarray,
    threshold: float | None,
    references: dict[str, np.ndarray],
    labels: list[str],
) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left:
        chart(
            f"Where attention goes in step {step}",
            "Each bar is the attention a position receives, averaged over all layers and heads; sinks stand out.",
            "Attention mass of key $s$: $m_{t,l,h,s} = \\sum_q p_{t,l,h}(q, s)$, averaged over layers $l$ and heads "
            "$h$. Uniform attention gives 1.\n\n" + definition_formula(params),
            figures.mass_of_step(mass[step], labels, sinks[step], threshold, float(np.nanmax(mass))),
            "mass_of_step",
            pd.DataFrame(
                {"position": np.arange(len(labels)), "token": labels, "mass": mass[step], "sink": sinks[step]}
            ),
        )
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
        )


def _facts(recording: Recording) -> None:
    info, trajectory = recording.info, recording.trajectory
    heading(
        "What the model wrote",
        "The finished text. Shade: the probability each token was chosen with.",
        "The probability the model gave the token at temperature 1 in the step that chose it.",
    )
    best = np.where(np.isfinite(trajectory.confidence), trajectory.confidence, -1).max(axis=0)
    confidence = [float(value) if value >= 0 else None for value in best]
    states = tokens.states_of([False] * trajectory.positions, info.prompt_length)
    tokens.show(tokens.token_text(trajectory.labels(), states, confidence))
    st.code(info.final_text or "(nothing)", language=None, wrap_lines=True)
    with st.expander("How this was recorded"):
        st.json(
            {
                "model": info.model.model_dump(),
                "prompt": info.prompt,
                "chat template applied": info.chat_template,
                "sampling": info.sampling.model_dump(),
                "seed": info.seed,
                "recorded": info.created,
                "seconds": round(info.seconds, 3),
                "attention mass (steps, layers, heads, positions)": list(trajectory.mass.shape),
                "stored precision": info.mass_dtype,
                "largest rounding error of a stored mass": info.mass_error,
                **info.environment,
            }
        )


if __name__ == "__main__":
    run(main)
