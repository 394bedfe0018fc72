"""Two recordings of one prompt side by side, as of a dense and a pruned model; and over all prompts that both have."""

from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from analysis.engine import JobRecord
from analysis.figures.causes import filled_steps, interval_curve
from analysis.figures.dynamics import Series, curves
from analysis.recording.trajectory import open_trajectory
from analysis.sinks.parting import (
    Parting,
    Text,
    mean_with_interval,
    parting,
    rank_agreement,
    shared_sinks,
    text_over_steps,
)
from analysis.specs import SinkParams
from pages.parts import tokens
from pages.parts.charts import chart, heading
from pages.parts.plain import plain
from pages.parts.recordings import measures
from pages.parts.recordings.choice import definition_formula, opened
from pages.parts.recordings.recording import BY_KEY, Recording, finished_recordings, recording_titles, short_title
from pages.parts.session import engine

_FILLED = (
    "The step in which a position got its last decision. Kendall's $\\tau$-b compares the orders; positions of one "
    "step are ties."
)


def beside_another(recording: Recording, params: SinkParams) -> None:
    """Draws the view."""
    st.caption(
        "Two recordings of the same prompt, such as a dense model's and a pruned one's: where their texts part, in "
        "which order they fill the positions, and whether they rest on the same sinks."
    )
    jobs = {job.id: job for job in finished_recordings() if _same_question(job, recording.job)}
    if not jobs:
        st.info(
            "There is no other recording of this prompt with the same sampler and seed. Choose the pruned model in the "
            "sidebar and record the prompt with it."
        )
        st.page_link("pages/denoise.py", label="**Record a prompt**", icon=":material/play_circle:")
        return
    titles = recording_titles(list(jobs.values()))
    if st.session_state.get("beside") not in jobs:
        st.session_state.pop("beside", None)
    chosen = st.selectbox(
        "Beside it", list(jobs), key="beside", bind="query-params", format_func=lambda name: titles.get(name, name)
    )
    other = opened(jobs[chosen])
    if other is None:
        return
    found = _parting(recording, other)
    _one_pair(recording, other, found, params)
    _over_prompts(recording, other)


def _same_question(job: JobRecord, shown: JobRecord) -> bool:
    """Whether a recording asked the same of another model, or of the same one under other conditions."""
    same = ("prompt", "sampling", "seed", "chat_template")
    return job.id != shown.id and all(job.spec.get(name) == shown.spec.get(name) for name in same)


def _text(recording: Recording) -> Text:
    trajectory = recording.trajectory
    return text_over_steps(trajectory.tokens, trajectory.state, trajectory.final, recording.info.model.mask_token)


@st.cache_data(max_entries=16, hash_funcs=BY_KEY, show_spinner=False)
def _parting(first: Recording, second: Recording) -> Parting:
    return parting(_text(first), _text(second))


def _one_pair(recording: Recording, other: Recording, found: Parting, params: SinkParams) -> None:
    names = [f"this: {short_title(recording.job)}", f"beside: {short_title(other.job)}"]
    labels = recording.trajectory.labels()
    st.markdown(plain(_sentence(found, labels, other.trajectory.labels())))
    length = found.filled.shape[1]
    differ = recording.trajectory.final[:length] != other.trajectory.final[:length]
    left, right = st.columns(2, gap="large")
    with left:
        chart(
            "When each position is filled",
            "Two marks a position, joined where the steps differ; orange where the tokens differ in the end.",
            _FILLED,
            filled_steps(found.filled, ["this", "beside"], differ, labels[:length]),
            "filled_steps",
            pd.DataFrame(
                {
                    "position": np.arange(length),
                    "token here": labels[:length],
                    "token beside": other.trajectory.labels()[:length],
                    "step here": found.filled[0],
                    "step beside": found.filled[1],
                }
            ),
        )
    steps = np.arange(len(found.agreement))
    shared, chance = shared_sinks(
        measures.sinks(recording, params), measures.sinks(other, params), other.trajectory.state
    )
    with right:
        chart(
            "Agreement and sinks in common, step by step",
            "Of the tokens that both have decided, how many are the same; and of this text's sinks, how many are sinks "
            "beside it, with what chance gives.",
            "Chance: as many sinks at random positions of the same state, "
            "$\\sum_g |A \\cap g|\\,|B \\cap g| / (|g|\\,|A|)$."
            "\n\n" + definition_formula(params),
            curves(
                [
                    Series("same tokens", steps, found.agreement[None]),
                    Series("sinks in common", np.arange(len(shared)), shared[None]),
                    Series("sinks in common by chance", np.arange(len(chance)), chance[None], reference=True),
                ],
                "denoising step",
                "share",
                percent=True,
            ),
            "beside_over_steps",
            pd.DataFrame({"step": steps, "same tokens": found.agreement, "flips": found.flips}).merge(
                pd.DataFrame({"step": np.arange(len(shared)), "sinks in common": shared, "by chance": chance}),
                on="step",
                how="outer",
            ),
        )
    heading("Both texts", "Shaded tokens differ.", None)
    start = recording.info.prompt_length
    for name, member in zip(names, (recording, other), strict=True):
        st.caption(plain(name))
        same = [*(~differ[start:]).tolist(), *[False] * (member.trajectory.positions - length)]
        tokens.show(tokens.changed_text(member.trajectory.labels()[start:], same))


def _sentence(found: Parting, here: list[str], there: list[str]) -> str:
    """Where the texts part, with numbers; of this one prompt alone."""
    if found.first_step is None:
        told = f"The texts are the same: {found.positions} of {found.positions} new tokens."
    else:
        at = int(found.first_positions[0])
        told = (
            f"The texts first differ after step {found.first_step}, in {len(found.first_positions)} position"
            f"{'s' if len(found.first_positions) > 1 else ''} (the first is {at}: in the end ‘{here[at]}’ against "
            f"‘{there[at]}’). In the end {found.differing} of {found.positions} new tokens differ."
        )
    if np.isfinite(found.other_step):
        tau = rank_agreement(found.filled)
        order = f" Kendall’s τ of the order is {tau:.2f}." if np.isfinite(tau) else ""
        told += f" {found.other_step:.0%} of the positions are filled in another step.{order}"
    return told + " This is one prompt: it says nothing of others."


# --- over all prompts -------------------------------------------------------------------------------------------


def _over_prompts(recording: Recording, other: Recording) -> None:
    """Flips step by step, over all prompts that were recorded of both models with one sampler and seed."""
    pairs = _pairs(recording.model.source, other.model.source)
    if recording.model.source == other.model.source or len(pairs) < 2:
        st.caption("With two or more prompts recorded of both models, their flips stand here step by step.")
        return
    flips = [flips for first, second in pairs if (flips := _flips(*first, *second)) is not None]
    if len(flips) < 2:
        return
    mean, low, high = mean_with_interval(flips)
    total = mean_with_interval([row.sum(keepdims=True) for row in flips])
    value, least, most = (float(end[0]) for end in total)
    chart(
        f"Flips a step over {len(flips)} prompts",
        f"{value:.1f} tokens a text come to differ ({least:.1f} to {most:.1f}). The interval is of the choice of "
        "prompts, with one seed of the sampler and one pruned model.",
        "A flip: both texts have decided a position and its tokens differ, which was not so a step before. Band: "
        "Student's 95 % interval of the mean over prompts, of each step by itself.",
        interval_curve(mean, low, high, "denoising step", "tokens that come to differ", "mean over prompts"),
        "flips_over_prompts",
        pd.DataFrame({"step": np.arange(len(mean)), "mean": mean, "low": low, "high": high}),
    )


def _pairs(first: str, second: str) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """(file, key) of the newest recordings of both models that were asked the same, a pair a prompt."""
    by_question: dict[str, dict[str, JobRecord]] = {}
    for job in reversed(finished_recordings()):
        question = repr([job.spec.get(name) for name in ("prompt", "sampling", "seed", "chat_template")])
        by_question.setdefault(question, {})[job.spec["model"]["source"]] = job
    found = []
    for members in by_question.values():
        files = [
            (str(file), job.key)
            for job in (members.get(first), members.get(second))
            if job is not None and job.key and (file := engine().result_file(job)) is not None
        ]
        if len(files) == 2:
            found.append((files[0], files[1]))
    return found


@st.cache_data(max_entries=1024, show_spinner="Comparing the recordings…")
def _flips(_first: str, first_key: str, _second: str, second_key: str) -> np.ndarray | None:
    """Flips a step of two recorded files, (T,), opened one pair at a time; None for one that cannot be opened."""
    from analysis.errors import UserError

    try:
        texts = [
            text_over_steps(one.tokens, one.state, one.final, one.info.model.mask_token)
            for one in (open_trajectory(Path(path)) for path in (_first, _second))
        ]
    except UserError:
        return None
    return parting(*texts).flips
