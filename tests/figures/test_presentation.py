"""Figures on slides."""

import plotly.graph_objects as go
import pytest

from analysis.figures.presentation import enlarged


def test_a_legend_above_titles_of_panels_rises_with_them():
    assert enlarged(go.Figure(layout_legend_y=1.1)).layout.legend.y == pytest.approx(1.16)
    assert enlarged(go.Figure(layout_legend_y=1)).layout.legend.y == 1
    assert enlarged(go.Figure()).layout.legend.y is None
