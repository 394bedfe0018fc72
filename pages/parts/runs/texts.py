"""Texts of the ticked runs beside the dense model's, for the same prompt."""

from pathlib import Path

import streamlit as st

from analysis.engine import JobRecord
from analysis.engine.runs import Run
from analysis.exhibits.inside import divergence_in_words, filled_in, text_of
from analysis.sinks.text_divergence import compare_texts
from analysis.specs import RecordSpec
from pages.parts import asking, tokens
from pages.parts.acting import acting_button, allow, is_allowed
from pages.parts.charts import chart, exhibit_text, export_button, heading
from pages.parts.controls import pick
from pages.parts.linked import linked_box
from pages.parts.plain import plain
from pages.parts.primary_link import primary_link
from pages.parts.progress import duration
from pages.parts.recordings.choice import opened
from pages.parts.recordings.recording import Recording, finished_recordings, recording_titles

_KEY = "texts_of"


def texts_of(chosen: list[Run]) -> None:
    """Draw the texts of the ticked runs of one model beside the dense model's. Texts not recorded yet are offered with
    their cost."""
    runs = [run for run in chosen if run.kind == "pruned" and run.runs]
    if not runs:
        st.info("Tick pruned models above to read what they write beside the dense model, prompt by prompt.")
        return
    source = runs[0].model
    others = [run.name for run in runs if run.model != source]
    if others:
        st.caption(f"Left out, as they come from another dense model: {plain(', '.join(others))}.")
        runs = [run for run in runs if run.model == source]
    dense = _dense(source)
    if dense is None:
        return
    found = _recorded(dense, runs)
    if found:
        _draw(dense, found)
        export_button("SinkScope: texts", dense.settings(), dense.info.prompt)


def _dense(source: str) -> Recording | None:
    """Draw the box of the dense model's recordings; return the chosen one."""
    jobs = {
        job.id: job
        for job in finished_recordings()
        if job.spec["model"]["source"] == source and not job.spec.get("branch")
    }
    if not jobs:
        st.info(f"No prompt is recorded with {plain(source)} yet. Record one, and these runs write the same prompt.")
        primary_link(
            "pages/explore.py", "**Record a prompt**", ":material/play_circle:", query_params={"source": source}
        )
        return None
    titles = recording_titles(list(jobs.values()))
    newest = next(iter(jobs))
    chosen = linked_box("Recording of the dense model", list(jobs), _KEY, titles.__getitem__, newest, required=True)
    return opened(jobs[chosen or newest])


def _request(dense: Recording, run: Run) -> RecordSpec:
    """Return the request for the same prompt, sampling and seed with a pruned copy."""
    asked = dense.request()
    # A folder's name does not say whether its model is tuned for a template; the recording knows.
    template = "on" if dense.info.chat_template else "off"
    model = asked.model.model_copy(update={"source": run.source})
    return asked.model_copy(update={"model": model, "chat_template": template})


def _recorded(dense: Recording, runs: list[Run]) -> list[tuple[Run, Recording]]:
    """Return the runs that are recorded. Offer the others, or show their progress once requested."""
    requests = [_request(dense, run) for run in runs]
    new = [
        run
        for run, request in zip(runs, requests, strict=True)
        if asking.begins("record", request, run.id) and not is_allowed(run.source)
    ]
    if new:
        acting_button(
            f"Record {len(new)} text{'s' if len(new) > 1 else ''}",
            "record_texts",
            type="primary",
            icon=":material/play_circle:",
            on_click=allow,
            args=tuple(run.source for run in new),
        )
        st.caption(f"Not recorded yet: {plain(', '.join(run.name for run in new))}. {_cost(dense.job, len(new))}")
    found = []
    for run, request in zip(runs, requests, strict=True):
        if run in new:
            continue
        job = asking.ask("record", request, f"Recording {run.name}", run.id)
        recording = opened(job) if job is not None else None
        if recording is not None:
            found.append((run, recording))
    return found


def _cost(job: JobRecord, count: int) -> str:
    """Estimate the time of recording `count` texts from the dense model's recording."""
    if job.started is None or job.finished is None or job.cached:
        return "Each takes about as long as recording the dense model."
    return f"About {duration(count * (job.finished - job.started))}, by the dense model's recording."


def _draw(dense: Recording, found: list[tuple[Run, Recording]]) -> None:
    names = {run.name: recording for run, recording in found}
    base, start = text_of(dense.trajectory), dense.info.prompt_length
    divergences = {name: compare_texts(base, text_of(recording.trajectory)) for name, recording in names.items()}
    labels = dense.trajectory.labels()
    first = next(iter(names))
    said = {
        name: divergence_in_words(apart, labels, names[name].trajectory.labels()) for name, apart in divergences.items()
    }
    heading("Texts", "Shaded tokens are not in the dense text, aligned.", None, said[first] if len(names) == 1 else "")
    st.caption(f"Dense · {plain(Path(dense.model.source).name)}")
    tokens.show(tokens.changed_text(labels[start:], [True] * len(labels[start:])))
    for name, recording in names.items():
        st.caption(f"{plain(name)}{f' · {plain(said[name])}' if len(names) > 1 else ''}")
        own = recording.trajectory.labels()
        tokens.show(tokens.changed_text(own[start:], divergences[name].finished.kept[1][start:].tolist()))
        exhibit_text(f"Text of {name}", said[name], " ".join(own[start:]), f"text_{names[name].job.id}")
    if len(names) > 1:
        first = pick("Step by step", names, "texts_step_by_step")
    length = divergences[first].filled.shape[1]
    differ = dense.trajectory.final[:length] != names[first].trajectory.final[:length]
    chart(filled_in(divergences[first], (labels, names[first].trajectory.labels()), differ), "texts_filled")
