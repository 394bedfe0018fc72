"""Figures of what changes where attention to some positions is blocked."""

from collections.abc import Mapping

import plotly.graph_objects as go

from analysis.figures.style import SERIES_COLORS, as_text, layout


def outcome_bars(outcomes: Mapping[str, Mapping[str, float]], y_title: str, percent: bool) -> go.Figure:
    """A bar for each way of choosing what is blocked, side by side for the models. outcomes: model -> blocked -> value
    from 0 to 1.
    """
    figure = go.Figure()
    for index, (model, values) in enumerate(outcomes.items()):
        figure.add_trace(
            go.Bar(
                x=[name.replace(" ", "<br>", 1) for name in values],
                y=list(values.values()),
                name=as_text(model),
                marker={"color": SERIES_COLORS[index % len(SERIES_COLORS)], "line": {"width": 0}},
                texttemplate="%{y:.0%}" if percent else "%{y:.2f}",
                textposition="outside",
                cliponaxis=False,
                hovertemplate=f"%{{x}}<br>%{{y:{'.1%' if percent else '.3f'}}}<extra>%{{fullData.name}}</extra>",
            )
        )
    layout(figure, "blocked", y_title, height=300)
    figure.update_layout(barmode="group", bargap=0.25, showlegend=True)
    figure.update_xaxes(tickangle=0)
    figure.update_yaxes(range=[0, 1.15], tickformat=".0%" if percent else None, tickvals=[0, 0.25, 0.5, 0.75, 1])
    return figure
