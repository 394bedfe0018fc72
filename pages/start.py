"""Start: what attention sinks are, whether they matter in this model, and what discounting them does, as one story."""

import streamlit as st

from analysis.engine import JobRecord
from analysis.specs import STUDY_PARTS
from analysis.study.findings import Findings
from pages.parts import address
from pages.parts.asking import cut_short, parts_progress
from pages.parts.charts import start_exhibits
from pages.parts.frame import run
from pages.parts.model_panel import real_model
from pages.parts.session import engine, model_in_use, told
from pages.parts.study import choice, presentation
from pages.parts.study.asking import ask_study
from pages.parts.study.story import ASKING, behind, share, story, without_study

REFRESH, REDRAW = 1.0, 5.0  # seconds between updates of progress, and between redraws of results


def main() -> None:
    """Draw the page: the story of a study, its slides, or the settings of a new study."""
    start_exhibits()
    if address.presenting():
        _present()
        return
    if address.named(ASKING) == "true":
        _ask()
        return
    shown = choice.shown_study()
    if shown is None:
        without_study()
    elif isinstance(shown, JobRecord):
        _state(shown)
        if shown.ended:
            _draw(shown.id)
            _await_masks(shown.id)
        else:
            st.fragment(_draw, run_every=REDRAW)(shown.id)
    else:
        _told(shown, choice.EXAMPLE)


def _ask() -> None:
    """Draw the settings of a study of the model in use, and its button."""
    st.title("Run this study on your model", anchor=False)
    st.page_link("pages/start.py", label="Back to the story", icon=":material/arrow_back:")
    offer = real_model()
    if offer:
        st.caption(offer)
    ask_study(model_in_use())


def _present() -> None:
    """Draw the slides of the study in the address, with its results so far."""
    shown = choice.shown_study(boxed=False)
    if isinstance(shown, JobRecord):
        with told():
            presentation.present(choice.of_record(shown))
    elif shown is not None:
        presentation.present(shown)


def _state(record: JobRecord) -> None:
    if not record.ended:
        st.fragment(parts_progress, run_every=REFRESH)(record.id, lambda name: STUDY_PARTS[name].title)
    elif record.state != "done":
        cut_short(record, "study", "parts")


@told()
def _draw(study_id: str) -> None:
    record = engine().job(study_id)
    if record is not None:
        _told(choice.of_record(record), study_id)


def _await_masks(study_id: str) -> None:
    """Draw the story anew once its masks are compared."""
    record = engine().job(study_id)
    if record is not None and choice.compares_masks(record):
        st.fragment(_until_compared, run_every=REFRESH)(study_id)


def _until_compared(study_id: str) -> None:
    record = engine().job(study_id)
    if record is None or not choice.compares_masks(record):
        st.rerun()
    st.caption(":material/hourglass_empty: Comparing masks. Their finding appears here when it is done.")


def _told(findings: Findings, name: str) -> None:
    """Draw the answer first, then the findings behind it, their basis, and files to take away. name: of the study in
    the address.
    """
    story(findings, name)
    behind(findings)
    share(findings)


if __name__ == "__main__":
    run(main)
