"""Figures of the changes when attention to some positions is blocked."""

from collections.abc import Mapping

import plotly.graph_objects as go

from analysis.figures.style import PER_CENT, as_text, layout, series_color


def outcome_bars(outcomes: Mapping[str, Mapping[str, float]], x_title: str, percent: bool) -> go.Figure:
    """Draw one bar per way of choosing what to block, in rows so that names have room; models next to each other.
    outcomes: model -> blocked -> value from 0 to 1.
    """
    figure = go.Figure()
    scale, unit = (100, PER_CENT) if percent else (1, "")
    for index, (model, values) in enumerate(outcomes.items()):
        figure.add_bar(
            x=[scale * value for value in values.values()],
            y=[as_text(name) for name in values],
            orientation="h",
            name=as_text(model),
            marker={"color": series_color(index), "line": {"width": 0}},
            texttemplate=f"%{{x:.0f}}{unit}" if percent else "%{x:.2f}",
            textposition="outside",
            textangle=0,
            cliponaxis=False,
            hovertemplate=f"%{{y}}<br>%{{x:{'.1f' if percent else '.3f'}}}{unit}<extra>%{{fullData.name}}</extra>",
        )
    bars = sum(map(len, outcomes.values()))
    layout(figure, x_title, "blocked", max(220, 130 + 22 * bars), legend=True)
    figure.update_layout(barmode="group", bargap=0.25)
    # The first model's bar, and the first choice, on top.
    figure.update_yaxes(autorange="reversed", ticks="")
    figure.update_xaxes(
        range=[0, 1.18 * scale], ticksuffix=unit, tickvals=[scale * tick for tick in (0, 0.25, 0.5, 0.75, 1)]
    )
    return figure
