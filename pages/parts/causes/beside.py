"""Two recordings of one prompt side by side, as of a dense and a pruned model; and over all prompts that both have."""

from pathlib import Path

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.exhibits.inside import agreement_over_steps, filled_in, flips_over_prompts, text_of
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.text_divergence import TextDivergence, compare_texts
from analysis.specs import SinkParams
from pages.parts import tokens
from pages.parts.charts import chart, heading
from pages.parts.linked import linked_box
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import definition_formula, opened
from pages.parts.recordings.recording import Recording, cached, finished_recordings, recording_titles, short_title
from pages.parts.session import engine


def beside_another(recording: Recording, params: SinkParams, side: DeltaGenerator) -> None:
    """Draw the view; `side` holds the definition of a sink alone."""
    st.caption(
        "Two recordings of one prompt, such as a dense and a pruned model's: where their texts diverge, the order in "
        "which they fill positions, and whether they share their sinks."
    )
    jobs = {job.id: job for job in finished_recordings() if _same_question(job, recording.job)}
    if not jobs:
        st.info(
            "No other recording of this prompt with the same sampler and seed. Press **Record this prompt with…** on "
            "Explore to record it with a pruned copy."
        )
        query = {"recording": recording.job.id}
        st.page_link("pages/explore.py", label="**Open it in Explore**", icon=":material/blur_on:", query_params=query)
        return
    titles = recording_titles(list(jobs.values()))
    others = (name for name, job in jobs.items() if job.spec["model"]["source"] != recording.model.source)
    newest = next(others, next(iter(jobs)))  # another model's first
    chosen = linked_box("Compare with", list(jobs), "beside", titles.__getitem__, first=newest, required=True)
    other = opened(jobs[chosen or newest])
    if other is None:
        return
    if other.info.chat_template != recording.info.chat_template:
        st.info("One of the two applied a chat template, so they were not asked the same. Choose another one.")
        return
    divergence = _divergence(recording, other)
    _one_pair(recording, other, divergence, params)
    _over_prompts(recording, other)


def _same_question(job: JobRecord, shown: JobRecord) -> bool:
    """Return whether two recordings differ only in the model or its conditions."""
    templates = {job.spec.get("chat_template"), shown.spec.get("chat_template")} - {"auto"}
    return job.id != shown.id and _question(job) == _question(shown) and len(templates) < 2


def _question(job: JobRecord) -> str:
    """Return a recording's request without its template: 'auto' is one of the other two, as its file knows."""
    return repr([job.spec.get(name) for name in ("prompt", "sampling", "seed")])


@cached(16)
def _divergence(first: Recording, second: Recording) -> TextDivergence:
    return compare_texts(text_of(first.trajectory), text_of(second.trajectory))


def _one_pair(recording: Recording, other: Recording, divergence: TextDivergence, params: SinkParams) -> None:
    names = [f"this: {short_title(recording.job)}", f"beside: {short_title(other.job)}"]
    labels = recording.trajectory.labels(), other.trajectory.labels()
    length = divergence.filled.shape[1]
    differ = recording.trajectory.final[:length] != other.trajectory.final[:length]
    sinks = measures.sinks(recording, params), measures.sinks(other, params)
    chart(filled_in(divergence, labels, differ), "filled_steps")
    chart(
        agreement_over_steps(divergence, sinks, other.trajectory.state, definition_formula(params)), "beside_over_steps"
    )
    heading("Both texts", "Shaded tokens are not in the other text, aligned.", None)
    start = recording.info.prompt_length
    for name, member, kept in zip(names, (recording, other), divergence.finished.kept, strict=True):
        st.caption(plain(name))
        tokens.show(tokens.changed_text(member.trajectory.labels()[start:], kept[start:].tolist()))


# --- over all prompts -------------------------------------------------------------------------------------------


def _over_prompts(recording: Recording, other: Recording) -> None:
    """Draw flips per step over all prompts recorded with both models under one sampler and seed."""
    pairs = _pairs(recording.model.source, other.model.source)
    if recording.model.source == other.model.source or len(pairs) < 2:
        st.caption("Record two or more prompts with both models to see their flips step by step.")
        return
    flips = [flips for first, second in pairs if (flips := _flips(*first, *second)) is not None]
    if len(flips) < 2:
        return
    chart(flips_over_prompts(flips), "flips_over_prompts")


def _pairs(first: str, second: str) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Return (file, key) of both models' newest recordings of the same request, one pair per prompt."""
    by_question: dict[str, dict[str, JobRecord]] = {}
    for job in reversed(finished_recordings()):
        by_question.setdefault(_question(job), {})[job.spec["model"]["source"]] = job
    rows = []
    for members in by_question.values():
        files = [
            (str(file), job.key)
            for job in (members.get(first), members.get(second))
            if job is not None and job.key and (file := engine().result_file(job)) is not None
        ]
        if len(files) == 2:
            rows.append((files[0], files[1]))
    return rows


@st.cache_data(max_entries=1024, show_spinner="Comparing the recordings…")
def _flips(_first: str, first_key: str, _second: str, second_key: str) -> np.ndarray | None:
    """Return the flips per step of two recorded files, (T,), opened one pair at a time; None where one cannot be opened
    or only one applied a chat template.
    """
    from analysis.errors import UserError

    try:
        opened = [open_trajectory(Path(path)) for path in (_first, _second)]
    except UserError:
        return None
    if len({trajectory.info.chat_template for trajectory in opened}) > 1:
        return None
    return compare_texts(*map(text_of, opened)).flips
