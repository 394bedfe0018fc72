"""Do sinks matter in this model, and does discounting them help pruning? One story, and what it comes to."""

import streamlit as st

from analysis.engine import JobRecord
from analysis.specs import QUESTION, STUDY_PARTS, StudySpec
from analysis.study.findings import Findings
from pages.parts import address
from pages.parts.charts import start_exhibits
from pages.parts.frame import run
from pages.parts.plain import code, plain
from pages.parts.progress import cancel_button, cut_short, progress_bar
from pages.parts.session import engine, model_in_use
from pages.parts.study import choice, found, in_hand, presentation
from pages.parts.study.asking import ask_study
from pages.parts.study.story import answer, share, story, verdict
from pages.parts.trouble import EXPECTED, told, why

_INTRODUCTION = (
    "Diffusion language models write by filling in a masked text, step by step. A few tokens draw several times their "
    "share of attention: attention sinks."
)
REFRESH, REDRAW = 1.0, 5.0  # seconds between looks at how far it is, and between drawings of what is there


def main() -> None:
    """Draws the page."""
    start_exhibits()
    if address.presenting():
        _present()
        return
    st.title(QUESTION)
    st.caption(_INTRODUCTION)
    model = model_in_use()
    shown = choice.shown_study()
    if shown is None:
        st.info("Nothing was studied yet. Choose a size and press **Start the study**; every part shows as it comes.")
        ask_study(model)
        _by_hand()
        return
    if isinstance(shown, JobRecord):
        _state(shown)
        if shown.ended:
            _draw(shown.id)
        else:
            st.fragment(_draw, run_every=REDRAW)(shown.id)
    else:
        st.caption(
            f"An example that comes with SinkScope, made on {plain(shown.created[:10])} with "
            f"{code(StudySpec.model_validate(shown.spec).model.source)}. Nothing runs to show it; the figures of a "
            "study of your own lead on to the pages behind them."
        )
        _told(shown, in_hand.EXAMPLE)
    st.divider()
    ask_study(model)
    _by_hand()


def _by_hand() -> None:
    """The ways to the pages for those who ask step by step."""
    st.subheader("Or step by step", anchor=False)
    with st.container(horizontal=True):
        st.page_link("pages/denoise.py", label="**Record a prompt**", icon=":material/play_circle:")
        st.page_link("pages/tuning.py", label="**Tune the discount**", icon=":material/tune:")
        st.page_link("pages/pruning.py", label="**Prune the model**", icon=":material/content_cut:")
        st.page_link("pages/runs.py", label="**Compare runs**", icon=":material/table_view:")


def _present() -> None:
    """The slides of the study in the address, with what is there by now."""
    shown = choice.shown_study(boxed=False)
    if isinstance(shown, JobRecord):
        with told():
            presentation.present(found.of_record(shown))
    elif shown is not None:
        presentation.present(shown)


def _state(record: JobRecord) -> None:
    if not record.ended:
        st.fragment(_running, run_every=REFRESH)(record.id)
        return
    if record.state != "done":
        cut_short(record, "study", "parts")


def _running(study_id: str) -> None:
    """How far it is, and what failed so far."""
    record = engine().job(study_id)
    if record is None or record.ended:
        st.rerun()
    progress_bar(record)
    for part in engine().study_parts(record):
        if part.state == "failed":
            st.caption(f":material/error: {STUDY_PARTS[part.name].title}: {plain(part.reason)}")
    cancel_button(record, f"cancel_study_{study_id}", "Stop")


def _draw(study_id: str) -> None:
    record = engine().job(study_id)
    if record is None:
        return
    try:
        findings = found.of_record(record)
    except EXPECTED as error:
        st.error(plain(why(error)))
        return
    _told(findings, study_id)


def _told(findings: Findings, name: str) -> None:
    """The answer first, then the story it comes from, and what it comes to. name: of the study in the address."""
    answer(findings)
    presentation.present_link(name)
    story(findings)
    verdict(findings)
    share(findings)


if __name__ == "__main__":
    run(main)
