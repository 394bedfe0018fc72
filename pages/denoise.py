"""Record a prompt, watch the text fill in, and replay it step by step with its sinks marked."""

import numpy as np
import streamlit as st

from analysis.engine import JobRecord
from analysis.jobs import RecordPartial
from analysis.readings import reading
from analysis.sinks.token_names import position_name
from analysis.specs import DiffusionGemmaSampling, RecordSpec
from pages.parts import permission, tokens
from pages.parts.charts import exhibit_text, export_button, heading, start_exhibits
from pages.parts.denoise import branches
from pages.parts.denoise.asking import ask
from pages.parts.denoise.replay import replay
from pages.parts.frame import run
from pages.parts.keyed import keyed_columns
from pages.parts.plain import plain
from pages.parts.progress import cancel_button, progress_bar
from pages.parts.recordings.beside import beside_choice
from pages.parts.recordings.choice import choose_recording, opened
from pages.parts.recordings.explorer import sink_params
from pages.parts.recordings.recording import Recording, show_recording, shown_recording
from pages.parts.session import engine, submit
from pages.parts.trouble import told


def main() -> None:
    """Draws the page."""
    st.title("Denoise")
    start_exhibits()
    record = shown_recording()
    if record is not None and record.state == "done":
        _look_at(record)
        return
    ask(record, narrow=False)
    if record is None:
        st.info("No recording yet. Write a prompt and press **Record**; the text fills in as the model denoises it.")
        return
    st.divider()
    if not record.ended:
        _follow(record.id)
    else:
        _ended_badly(record)


def _look_at(record: JobRecord) -> None:
    """A finished recording in the explorer, with what can be recorded next in a fold."""
    choose_recording(record)
    new, other = keyed_columns([1, 1], "denoise", vertical_alignment="bottom")
    with new.expander("Record another prompt", icon=":material/add:"):
        ask(record, narrow=True)
    recording = opened(record)
    if recording is not None:
        with other:
            beside = beside_choice(recording, branches.parent_of(recording))
        _show(recording, beside)


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
        noise = isinstance(record.parameters(RecordSpec).sampling, DiffusionGemmaSampling)
        chosen = [value is not None for value in live["confidence"]]
        tokens.show(
            tokens.token_text(
                live["tokens"],
                tokens.states_of(live["undecided"], live["prompt_length"]),
                live["confidence"],
                new=chosen,
                open_block=live.get("open_block"),
                random_tokens=noise,
            ),
            tokens.legend(blocks=live.get("open_block") is not None, random_tokens=noise),
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


def _show(recording: Recording, beside: Recording | None) -> None:
    info = recording.info
    if info.unknown_tokens:
        st.warning(
            f"{info.unknown_tokens:d} token{'s' if info.unknown_tokens > 1 else ''} of the prompt are unknown to this "
            "model and were read as its unknown token."
        )
    replay(recording, beside)
    _facts(recording)
    text = recording.info.final_text or "(nothing)"
    exhibit_text("What the model wrote", "The finished text, up to where the model ended it.", text, "written_text")
    settings = {**recording.settings(), "sinks": sink_params().model_dump()}
    export_button("SinkScope: denoise", settings, recording.info.prompt)


def _written(recording: Recording) -> tuple[np.ndarray, list[str]]:
    """What the model wrote, up to where it ended it: probabilities (T, N) and the names of the tokens (N,)."""
    trajectory, span = recording.trajectory, recording.trajectory.written
    names = [position_name(at, label) for at, label in enumerate(trajectory.labels())]
    return trajectory.confidence[:, span], names[span]


def _facts(recording: Recording) -> None:
    info, trajectory = recording.info, recording.trajectory
    heading(
        "What the model wrote",
        "The finished text, up to where the model ended it.",
        "The model's probability of each token, at temperature 1, in the step that chose it last.",
        reading("written text", *_written(recording)),
    )
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
