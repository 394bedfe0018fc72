"""The text that a recording wrote, finished, and its tokens per forward, beside one token per forward."""

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.errors import UserError
from analysis.figures.dynamics import curves, lines
from analysis.figures.export import Exhibit
from analysis.findings import finding_of
from analysis.recording.alternatives import ONE_TEXT, ParallelEffect, is_pair, parallel_effect, parallel_pair
from analysis.recording.trajectory import tokens_written
from analysis.sinks.step_inputs import position_name
from analysis.specs import SinkParams
from analysis.specs.writing import THRESHOLD
from pages.parts import address
from pages.parts.asking import begin, kept_button, may_record
from pages.parts.charts import chart, exhibit_text, heading
from pages.parts.plain import plain
from pages.parts.recordings.choice import definition_formula, show_anew
from pages.parts.recordings.recording import Recording, cached, open_recording
from pages.parts.session import EXPECTED, engine, told


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
        finding_of(
            "written text",
            trajectory.confidence[:, :last],
            names[:last],
            prompt=info.prompt_length,
            branch=info.branch is not None and info.branch.position < last,
        ),
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


_BESIDE = "beside"  # what the address calls the recording beside the one shown


def parallel_writing(recording: Recording, params: SinkParams, split: str, side: DeltaGenerator) -> None:
    """Draw the tab, which has no controls: tokens written per forward, the queries run, and sinks with several tokens
    per forward beside one.
    """
    pair = _pair(recording, _beside())
    _kept_keys(recording)
    if pair is not None:
        _compared(*pair, params)
        return
    _written(recording)
    _button(recording)


def _kept_keys(recording: Recording) -> None:
    """Say how many queries ran, if steps reused kept keys."""
    trajectory = recording.trajectory
    if not trajectory.goes_stale:
        return
    counts = np.diff(trajectory.queries, axis=1)[:, 0]
    part = counts < trajectory.present.sum(axis=1)
    least, most = int(counts[part].min()), int(counts[part].max())
    st.info(
        f"{part.sum():d} of {len(part):d} forwards ran {least if least == most else f'{least} to {most}'} of "
        f"{trajectory.positions:d} tokens, over keys kept from the forward that opened their block. Those keys are "
        "stale, so the text differs from the one without a cache. Attention and sinks are those of the tokens that ran."
    )


def _written(recording: Recording) -> None:
    written = tokens_written(recording.trajectory)
    forwards, title = np.arange(len(written)), f"{written.sum()} tokens in {len(written)} forwards"
    if (written == 1).all():
        heading(title, "Every forward wrote a single token.", None)
        return
    chart(
        Exhibit(
            title,
            "How many tokens each forward wrote.",
            curves(lines({"this recording": written}), "forward", "tokens written"),
            pd.DataFrame({"forward": forwards, "tokens written": written}),
            formula="A token is written when it stops being undecided.",
        ),
        "tokens_written",
    )


# --- beside one token per forward -------------------------------------------------------------------------------


def _beside() -> Recording | None:
    """Return the recording that the address names beside the one shown, if it can be opened."""
    named = address.named(_BESIDE)
    job = engine().job(named) if named else None
    if job is None or job.kind != "record" or job.state != "done":
        return None
    try:
        return open_recording(job)
    except EXPECTED:
        return None


def _pair(shown: Recording, beside: Recording | None) -> tuple[Recording, Recording] | None:
    """Return the recording by a threshold and the one of one token per forward, if these two are such a pair."""
    if beside is None:
        return None
    for first, second in ((shown, beside), (beside, shown)):
        alike = [
            (each.info.prompt, each.info.prompt_length, each.info.seed, each.info.model.fingerprint, each.info.branch)
            for each in (first, second)
        ]
        if alike[0] == alike[1] and is_pair(first.info.sampling, second.info.sampling):
            return first, second
    return None


@cached(8)
def _effect(parallel: Recording, alone: Recording, params: SinkParams) -> ParallelEffect:
    return parallel_effect(parallel.trajectory, alone.trajectory, params)


def _compared(parallel: Recording, alone: Recording, params: SinkParams) -> None:
    effect, threshold = _effect(parallel, alone, params), parallel.info.sampling.model_dump()["threshold"]
    names = f"threshold {threshold:g}", "one token per forward"
    counts = dict(zip(names, (effect.written, effect.alone), strict=True))
    left, right = st.columns(2, gap="large")
    with left:
        chart(
            Exhibit(
                "Tokens written per forward",
                f"Both texts by whole forwards, with the same prompt and seed. {ONE_TEXT}",
                curves(lines(counts), "forward", "tokens written"),
                pd.DataFrame({name: pd.Series(count) for name, count in counts.items()})
                .rename_axis("forward")
                .reset_index(),
                formula="Aligned: the F1 of the longest common subsequence of tokens.",
                finding=finding_of(
                    "parallel writing", threshold, effect.written, effect.alone, effect.aligned, effect.chance
                ),
            ),
            "tokens_written",
        )
    with right:
        even = "even split over its sinks"
        shares = {names[0]: effect.strength, names[1]: effect.strength_alone, even: effect.even}
        chart(
            Exhibit(
                "What sinks take, at as many tokens written",
                "Share of all attention that goes to the sinks of a forward, where both texts have one with as many "
                "tokens written.",
                curves(
                    lines(shares, effect.before, [even]), "tokens already written", "attention to sinks", percent=True
                ),
                pd.DataFrame({"tokens written": effect.before, **shares}),
                formula=definition_formula(params),
                finding=finding_of(
                    "parallel sinks",
                    effect.strength,
                    effect.even,
                    effect.strength_alone,
                    effect.even_alone,
                    effect.common,
                ),
            ),
            "parallel_sinks",
        )


def _button(recording: Recording) -> None:
    """Draw the button that records both ways, if not in the store yet, and shows them side by side."""
    try:
        request = recording.request()
        parallel, alone = parallel_pair(request)
    except UserError as error:
        st.caption(plain(str(error)))
        return
    except TypeError:  # forwards over given inputs are no prompt
        return
    if recording.info.branch is not None or not may_record():
        return
    threshold = parallel.sampling.model_dump()["threshold"]
    pressed = kept_button(
        f"Compare threshold {threshold:g} with one token per forward",
        "compare_parallel",
        icon=":material/compare_arrows:",
        type="primary",
        help="Records this prompt twice with the same seed, by whole forwards: every prediction at least "
        f"{threshold:g} sure in one forward ({THRESHOLD:g} is Fast-dLLM's), and one token per forward. Both are then "
        "shown side by side.",
    )
    if pressed:
        with told():
            beside, shown = begin("record", alone), begin("record", parallel)
            show_anew(shown.id)
            address.write(_BESIDE, beside.id)
            address.write("show", "both")
            st.rerun()
