"""The finished text of a recording, how sure the model was of it, and how it was recorded."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.findings import finding_of
from analysis.sinks.token_names import position_name
from analysis.specs import SinkParams
from pages.parts.charts import exhibit_text, heading
from pages.parts.recordings.recording import Recording


def exhibit_written(recording: Recording) -> None:
    """Put the finished text into the page's export."""
    exhibit_text(
        "What the model wrote",
        "The finished text, up to where the model ended it.",
        recording.info.final_text or "(nothing)",
        "written_text",
    )


def text(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab, which has no controls."""
    info, trajectory = recording.info, recording.trajectory
    last = trajectory.written.stop
    names = [position_name(at, label) for at, label in enumerate(trajectory.labels())]
    heading(
        "What the model wrote",
        "The finished text, up to where the model ended it.",
        "The model's probability of each token, at temperature 1, in the step that chose it last.",
        finding_of("written text", trajectory.confidence[:, :last], names[:last], prompt=info.prompt_length),
    )
    st.code(info.final_text or "(nothing)", language=None, wrap_lines=True)
    exhibit_written(recording)
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
