"""The box of prompts for a view of Causes."""

import streamlit as st

from analysis.bundled.prompts import prompts
from analysis.models.registry import BUNDLED_PAIR
from pages.parts.causes.latest import latest
from pages.parts.recordings.recording import Recording, finished_recordings

BUNDLED_PROMPTS = 50


def prompt_box(recording: Recording, kind: str) -> tuple[str, ...]:
    """Draw the box and return its prompts, each once. kind: of the jobs that use them."""
    text = st.text_area(
        "Prompts, one per line",
        value=_first_prompts(recording, kind),
        key=f"{kind}_prompts",
        persist_state="session",
        height=120,
        help="Intervals cover the choice of prompts: few prompts give wide ones.",
    )
    return tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))


def _first_prompts(recording: Recording, kind: str) -> str:
    """Return the first text of the box, a line each: the prompts of the latest run of the model, so that results and
    settings agree; else the bundled prompts for the bundled pair, or those recorded of the model.
    """
    source = recording.model.source
    job = latest(kind, source)
    if job is not None and all(isinstance(prompt, str) and "\n" not in prompt for prompt in job.spec["prompts"]):
        return "\n".join(job.spec["prompts"])
    if source in BUNDLED_PAIR:
        return "\n".join(prompts(BUNDLED_PROMPTS))
    texts = [job.spec["prompt"] for job in finished_recordings() if job.spec["model"]["source"] == source]
    return "\n".join(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))
