"""Effects of hiding sinks in other models: the twin and random weights, as the current study measured them."""

import streamlit as st

from analysis.exhibits.story_parts import spec_of
from analysis.exhibits.study import part_exhibits
from analysis.study.findings import Findings
from pages.parts.charts import chart
from pages.parts.study.found import example, of_record
from pages.parts.study.in_hand import studies, study_in_hand
from pages.parts.user_errors import EXPECTED

_SHOWN = ("causes_aligned", "causes_divergence")  # as on Causes


def other_models(source: str) -> None:
    """Draw the way to the next page, and what the current study found of the twin and of random weights, in a fold;
    else say that they were not run. source: of the model that the page is on.
    """
    st.page_link("pages/prune.py", label="Discount them when pruning", icon=":material/content_cut:")
    findings, shipped = _of_study()
    figures = {} if findings is None or spec_of(findings).model.source != source else part_exhibits(findings, "causes")
    if not figures:
        st.caption("The autoregressive twin and random weights were not run; a study on Start runs both.")
        return
    title = f"The twin and random weights, {'shipped' if shipped else 'current'} study"
    with st.expander(title, icon=":material/compare_arrows:", key="causes_twin"):
        for name in filter(figures.__contains__, _SHOWN):
            chart(figures[name], f"study_{name}")


def _of_study() -> tuple[Findings | None, bool]:
    """Return what the current study found, and whether it is the one that ships."""
    there = studies()
    name = study_in_hand(there)
    if name is None:
        return None, False
    record = there[name]
    try:
        return (example() if record is None else of_record(record)), record is None
    except EXPECTED:  # which Start tells
        return None, False
