"""Effects of hiding sinks in other models: the twin and random weights, as the current study measured them."""

import streamlit as st

from analysis.exhibits.story_parts import spec_of
from analysis.exhibits.study import part_exhibits
from pages.parts.charts import chart
from pages.parts.study.choice import current_study

_SHOWN = ("causes_aligned", "causes_divergence")  # as on Causes


def other_models(source: str) -> None:
    """Draw what the current study found of the twin and of random weights, in a fold; else say that they were not run.
    source: of the model that the page is on.
    """
    current = current_study()
    figures = {}
    if current is not None and spec_of(current[2]).model.source == source:
        figures = part_exhibits(current[2], "causes")
    if current is None or not figures:
        st.caption("The autoregressive twin and random weights were not run; a study on Start runs both.")
        return
    title = f"The twin and random weights, {'shipped' if current[1] is None else 'current'} study"
    with st.expander(title, icon=":material/compare_arrows:", key="causes_twin"):
        for name in filter(figures.__contains__, _SHOWN):
            chart(figures[name], f"study_{name}")
