"""Figures on slides."""

import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from analysis.figures.presentation import enlarged, larger


def test_a_legend_above_titles_of_panels_rises_with_them():
    assert enlarged(go.Figure(layout_legend_y=1.1)).layout.legend.y == pytest.approx(1.16)
    assert enlarged(go.Figure(layout_legend_y=1)).layout.legend.y == 1
    assert enlarged(go.Figure()).layout.legend.y is None


def test_every_text_that_has_a_size_of_its_own_is_larger_and_nothing_else_changes():
    figure = make_subplots(1, 3, subplot_titles=["a", "b", "c"])
    figure.update_annotations(font_size=10).update_layout(height=300, xaxis2_tickfont_size=9)
    assert larger(figure) == {
        "font.size": pytest.approx(14.4),
        "height": pytest.approx(405),
        **{f"annotations[{number}].font.size": pytest.approx(12) for number in range(3)},
        "xaxis2.tickfont.size": pytest.approx(11.7),
    }
    assert enlarged(figure).layout.xaxis2.tickfont.size == pytest.approx(11.7)
    assert figure.layout.height == 300 and enlarged(figure).layout.xaxis.tickfont.size is None
