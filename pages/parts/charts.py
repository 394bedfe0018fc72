"""A chart with what it shows in one sentence, and its formula behind a help icon."""

from typing import Any

import plotly.graph_objects as go
import streamlit as st

_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


def chart(title: str, sentence: str, formula: str, figure: go.Figure, key: str, **options: Any) -> Any:
    """Draws title, sentence and figure. formula: markdown with LaTeX, behind the title's help icon.

    A chart that is clicked (on_select among the options) has no tool bar, which would cover its cells.
    """
    heading(title, sentence, formula)
    config = _CONFIG | {"displayModeBar": False} if "on_select" in options else _CONFIG
    return st.plotly_chart(figure, key=key, config=config, alt=f"{title}. {sentence}", **options)


def heading(title: str, sentence: str, formula: str) -> None:
    """The title and sentence of a chart."""
    st.markdown(f"**{title}**", help=formula)
    st.caption(sentence)
