"""One prompt: the ablation of its sinks, beside controls and an autoregressive model; and two recordings side by side,
as of a dense and a pruned model, also over all prompts that both have.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.column_config import NumberColumn, ProgressColumn, TextColumn
from streamlit.delta_generator import DeltaGenerator

from analysis.engine import JobRecord
from analysis.exhibits.inside import agreement_over_steps, filled_in, flips_over_prompts, text_of
from analysis.figures.causes import outcome_bars
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.recording.inside_specs import ablate_spec
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks.agreement import TextDivergence, compare_texts
from analysis.specs import CONTROLS, TARGETS, AblateSpec, SinkParams, controls_drawn
from analysis.words import model_title
from cache.keys import content_key
from pages.parts import asking, controls, tokens
from pages.parts.address import linked_box
from pages.parts.asking import acting_button
from pages.parts.charts import PER_CENT_CELLS, as_percent, chart, download_buttons, exhibit_table, heading
from pages.parts.controls import keyed_columns
from pages.parts.plain import model_called, plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import autoregressive_reference, definition_formula, opened
from pages.parts.recordings.recording import Recording, cached, finished_recordings, recording_titles, short_title
from pages.parts.session import engine

_ASKED = "ablation_asked"
_METHOD = (
    "Positions are chosen in every step from an untouched forward of the same input; attention to them is zero in all "
    "layers and heads of a second forward, which predicts the tokens."
)
_SENTENCE = (
    "Attention hidden: the share of all attention that went to the positions before. Agreement: the share of tokens "
    "in common with the untouched text, aligned, so that a shifted text counts as the same; by position, which it does "
    "not. Lost per 10 %: agreement lost for each tenth of all attention that was hidden. Confidence: mean probability "
    "of the chosen tokens."
)

ALIGNED = "The share of tokens that both texts have in the same order: the F1 of their longest common subsequence."

_CALLED = {
    "title": "hidden",
    "blocked_share": "attention hidden",
    "aligned": "agreement",
    "agreement": "by position",
    "lost_per_tenth": "lost per 10 % of attention",
    "confidence": "mean confidence",
    "text": "what the model wrote",
}
"""Columns as they are read."""


def ablation(recording: Recording, params: SinkParams, side: DeltaGenerator) -> None:
    """Draw the view: its controls, and each model's outcome once run. side: has no controls of its own."""
    single = [target for target in TARGETS.values() if not target.for_sets]
    blocked_in_turn = _bullets(target.help for target in single if not target.control)
    beside_them = [row.help for row in CONTROLS.values() if row.drawn] + [row.help for row in single if row.control]
    controls_beside = _bullets(beside_them)
    st.caption(
        "Writes this prompt's text again while no token attends to the sinks of each step, then with other tokens "
        "hidden as controls.",
        help=f"Hidden in turn:\n{blocked_in_turn}\n\nControls:\n{controls_beside}",
    )
    if measures.says_no_model(recording):
        return
    count, reference, button = keyed_columns([4, 6, 4], "ablate", vertical_alignment="bottom")
    with count:
        blocked = controls.draw(AblateSpec, "count", "ablate_count")
    with reference:
        beside = autoregressive_reference(recording)
    recordings = [recording]
    causal = opened(beside) if beside is not None else None
    if causal is not None and not measures.says_no_model(causal):
        recordings.append(causal)
    specs = [ablate_spec(each.trajectory, each.model, params, blocked, each.request().sampling) for each in recordings]
    # Another setting is another question, to be asked by hand.
    question = content_key(specs=[spec.model_dump(mode="json") for spec in specs])[:12]
    if acting_button(
        "Hide the sinks", "run_ablation", button, icon=":material/science:", width="stretch", type="primary"
    ):
        st.session_state[_ASKED] = question
    by_hand = st.session_state.get(_ASKED) == question
    if not by_hand and not all(asking.at_hand("ablate", spec) for spec in specs):
        st.info("Press **Hide the sinks** to see what each model writes.")
        texts = 1 + len(single) + len(controls_drawn(single[0].name))
        st.caption(f"Writes {texts} texts per model, {measures.seconds_of(recording, texts)}.")
        return
    answers = [
        asking.ask(
            "ablate", spec, f"Denoising with positions hidden: {model_title(spec.model.source)}", str(index), by_hand
        )
        for index, spec in enumerate(specs)
    ]
    jobs = [(spec.model.source, job) for spec, job in zip(specs, answers, strict=True) if job is not None]
    if jobs:
        _outcome(jobs, blocked)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)


def _outcome(jobs: list[tuple[str, JobRecord]], blocked: int | None) -> None:
    table = pd.concat([pd.DataFrame(job.summary["rows"]).assign(model=source) for source, job in jobs])
    table["lost_per_tenth"] = (1 - table["aligned"]) / (10 * table["blocked_share"]).where(table["blocked_share"] > 0)
    shown = ("model", "title", "blocked_share", "aligned", "lost_per_tenth", "agreement", "confidence", "text")
    numbers = table[list(shown)]
    for source, job in jobs:
        steps, with_sinks = job.summary["steps"], job.summary["steps_with_sinks"]
        if with_sinks == 0:
            st.info(
                f"No sinks here: by this definition, no step of {model_called(source)} has one. Nothing was hidden."
            )
        elif with_sinks < steps:
            st.caption(
                f"{with_sinks:d} of {steps:d} steps of {model_called(source)} have sinks; only these were changed."
            )
    _draw_answer(table)
    with st.expander("Confidence and numbers", icon=":material/list:", key="ablation_more"):
        chart(
            _bars(table, "confidence", "Confidence", "The mean probability of the tokens chosen."),
            "ablation_confidence",
        )
        at_most = f", {blocked} at most" if blocked else ""
        heading(f"Sinks of every step hidden{at_most}, beside controls", _SENTENCE, _METHOD)
        columns = {
            "title": TextColumn(_CALLED["title"]),
            "blocked_share": NumberColumn(_CALLED["blocked_share"], format=PER_CENT_CELLS),
            "aligned": ProgressColumn(
                _CALLED["aligned"], min_value=0, max_value=100, format=PER_CENT_CELLS, help=ALIGNED
            ),
            "agreement": NumberColumn(_CALLED["agreement"], format=PER_CENT_CELLS),
            "lost_per_tenth": NumberColumn(_CALLED["lost_per_tenth"], format=PER_CENT_CELLS),
            "confidence": NumberColumn(_CALLED["confidence"], format="%.3f"),
            "text": TextColumn(_CALLED["text"], width="large"),
        }
        st.dataframe(as_percent(numbers, columns), hide_index=True, key="ablation_table", column_config=columns)
        download_buttons(numbers, "ablation")
    exhibit_table(
        "Attention hidden, and what it changes", _SENTENCE, numbers.rename(columns=_CALLED), "ablation_numbers"
    )
    for place, (source, job) in enumerate(jobs):
        with st.expander(f"What {model_called(source)} wrote", icon=":material/notes:", expanded=place == 0):
            st.caption("Shaded tokens are not in the untouched text, aligned; a line marks tokens left out.")
            for row in job.summary["rows"]:
                st.caption(f"Hidden: {plain(row['title'])}")
                tokens.show(tokens.changed_text(row["words"], row["same"], missing=row["missing"]))


def _draw_answer(table: pd.DataFrame) -> None:
    """Draw the effect of hiding on the text, in a sentence and a figure."""
    title = "Agreement with the untouched text"
    told = _blocked(table, "aligned", title)
    if told:
        st.markdown(f"##### {plain(told)}")
    chart(_bars(table, "aligned", title, ALIGNED), "ablation_aligned")


def _bars(table: pd.DataFrame, name: str, title: str, sentence: str) -> Exhibit:
    """Show a column of the table as bars, of each model in its own colour."""
    bars = {
        model_title(str(source)): dict(zip(rows["title"], rows[name], strict=True))
        for source, rows in table.groupby("model", sort=False)
    }
    percent = name == "aligned"
    return Exhibit(title, sentence, outcome_bars(bars, "agreement" if percent else name, percent), formula=_METHOD)


def _blocked(table: pd.DataFrame, name: str, title: str) -> str:
    """Say what hiding does beside its controls, one sentence per model."""
    controls = [row.title for row in CONTROLS.values()] + [row.title for row in TARGETS.values() if row.control]
    told = []
    for source, rows in table.groupby("model", sort=False):
        outcomes = dict(zip(rows["title"], rows[name], strict=True))
        told.append(
            finding_of("blocked", outcomes, controls, f"{model_title(str(source))}: {title[0].lower()}{title[1:]}")
        )
    return " ".join(filter(None, told))


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
