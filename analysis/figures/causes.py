"""Figures of what sinks do: effects of an ablation with their intervals."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.dynamics import KIND_COLORS
from analysis.figures.style import REFERENCE, as_text, layout


def effect_intervals(
    names: Sequence[str],
    groups: Sequence[str],
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    shown: Sequence[bool],
    x_title: str,
    percent: bool = False,
) -> go.Figure:
    """A row for each effect with its interval, (N,) each, coloured by group; filled where it is shown to be no chance.

    The vertical line is no effect.
    """
    figure = go.Figure()
    rows = np.arange(len(names))
    number = ".1%" if percent else ".3g"
    for index, group in enumerate(dict.fromkeys(groups)):
        at = np.array([member == group for member in groups])
        color = KIND_COLORS[index % len(KIND_COLORS)]
        figure.add_trace(
            go.Scatter(
                x=values[at],
                y=rows[at],
                mode="markers",
                name=as_text(group),
                marker={
                    "size": 10,
                    "color": color,
                    "line": {"width": 2, "color": color},
                    "symbol": ["circle" if flag else "circle-open" for flag in np.array(shown)[at]],
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": (high - values)[at],
                    "arrayminus": (values - low)[at],
                    "thickness": 2,
                    "width": 5,
                },
                customdata=np.stack([low[at], high[at]], axis=-1),
                text=[as_text(name) for name, member in zip(names, groups, strict=True) if member == group],
                hovertemplate=f"%{{text}}<br>%{{x:{number}}} (%{{customdata[0]:{number}}} to %{{customdata[1]:{number}}})"
                + "<extra>%{fullData.name}</extra>",
            )
        )
    figure.add_vline(x=0, line={"color": REFERENCE, "width": 1.5, "dash": "dash"})
    layout(figure, x_title, "", height=150 + 34 * len(names))
    figure.update_layout(showlegend=True)
    figure.update_yaxes(
        tickmode="array",
        tickvals=rows,
        ticktext=[as_text(name) for name in names],
        range=[len(names) - 0.5, -0.5],
        zeroline=False,
    )
    figure.update_xaxes(zeroline=False, tickformat="~p" if percent else "~g")
    return figure
