"""Figures of a study: a method's accuracies over seeds.

Figure of papers' claims: distance of each beyond its null, beside the smallest difference that counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import (
    PER_CENT,
    as_text,
    colors_by_method,
    dots,
    ends_of,
    grey_line,
    interval_bar,
    layout,
    name_rows_above,
    named_ticks,
    wrapped,
)
from analysis.words import percent


@dataclass(frozen=True)
class Dots:
    """A method at one sparsity: its title, its mean, and the accuracy of every seed, as shares."""

    method: str
    name: str
    sparsity: float
    mean: float
    seeds: Sequence[float]


def seed_dots(dots: Sequence[Dots], dense: float, chance: float | None) -> go.Figure:
    """Draw the accuracy of every calibration seed as a dot and the mean as a bar mark, grouped by sparsity."""
    figure = go.Figure()
    methods = {group.name: group.method for group in dots}
    names = list(methods)
    sparsities = sorted({group.sparsity for group in dots})
    colors = dict(zip(names, colors_by_method(list(methods.values())), strict=True))
    for place, name in enumerate(names):
        of_name = [group for group in dots if group.name == name]
        x = [sparsities.index(group.sparsity) + 0.22 * (place - (len(names) - 1) / 2) for group in of_name]
        figure.add_scatter(
            x=[at for at, group in zip(x, of_name, strict=True) for _ in group.seeds],
            y=[100 * value for group in of_name for value in group.seeds],
            mode="markers",
            name=as_text(name),
            legendgroup=name,
            marker={"color": colors[name], "size": 8, "opacity": 0.65},
            hovertemplate=f"%{{y:.1f}}{PER_CENT}<extra>%{{fullData.name}}, one seed</extra>",
        )
        figure.add_scatter(
            x=x,
            y=[100 * group.mean for group in of_name],
            mode="markers",
            name=as_text(name),
            legendgroup=name,
            showlegend=False,
            marker={"symbol": "line-ew", "size": 22, "line": {"width": 3, "color": colors[name]}},
            hovertemplate=f"mean %{{y:.1f}}{PER_CENT}<extra>%{{fullData.name}}</extra>",
        )
    for level, dash, label in ((dense, "dash", "dense"), (chance, "dot", "chance")):
        if level is not None:
            figure.add_hline(
                y=100 * level,
                line=grey_line(dash),
                annotation_text=f"{label} {percent(level, 1)}",
                annotation_position="bottom right" if label == "dense" else "top right",
            )
    layout(figure, "sparsity", "accuracy", 340, legend=True)
    ticks = named_ticks([percent(sparsity, 0) for sparsity in sparsities])
    figure.update_xaxes(range=[-0.6, len(sparsities) - 0.4], **ticks)
    figure.update_yaxes(ticksuffix=PER_CENT)
    return figure


_ROW, _AROUND = 60, 140  # pixels of a claim, and above and beneath all
_LETTERS = 54  # of a line of a claim, which a phone holds
_FARTHEST = 4.0  # × the smallest difference that counts; larger ones are drawn at the edge, with their number


@dataclass(frozen=True)
class ClaimRow:
    """One claim. verdict: one of the figure's. value, low, high: beyond the null, where 1 is the smallest difference
    that counts. told: its numbers, for the hover.
    """

    name: str
    verdict: str
    value: float
    low: float
    high: float
    told: str


def claim_rows(rows: Sequence[ClaimRow], looks: dict[str, tuple[str, str]]) -> go.Figure:
    """Draw a row per claim, beneath its sentence, coloured by verdict. looks: colour and symbol of each verdict."""
    figure = go.Figure()
    for verdict, (color, symbol) in looks.items():
        places = [place for place, row in enumerate(rows) if row.verdict == verdict]
        some = [rows[place] for place in places]
        if not some:
            continue
        ends = np.clip(ends_of(some), -_FARTHEST, _FARTHEST)
        figure.add_scatter(
            x=ends[0],
            y=places,
            mode="markers+text",
            text=[f"{row.value:.0f} ×".replace("-", "−") if abs(row.value) > _FARTHEST else "" for row in some],
            textposition=[
                f"{'bottom' if high > low else 'middle'} {'left' if row.value > 0 else 'right'}"  # off its interval
                for row, low, high in zip(some, *ends[1:], strict=True)
            ],
            name=verdict,
            marker=dots(color, 11, symbol=symbol),
            error_x=interval_bar(*ends),
            customdata=[[as_text(row.name), as_text(row.told), row.value, row.low, row.high] for row in some],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>%{customdata[2]:.2g} × the smallest difference "
            "that counts (%{customdata[3]:.2g} to %{customdata[4]:.2g})<extra>%{fullData.name}</extra>",
            cliponaxis=False,
        )
    for place in range(len(rows)):
        for number, dash in ((0, "solid"), (1, "dot")):  # beneath its name, which they would cross
            line = grey_line(dash, 2)
            figure.add_shape(type="line", x0=number, x1=number, y0=place - 0.12, y1=place + 0.2, line=line)
    title = wrapped("difference from the null ÷ smallest difference that counts", 34)
    layout(figure, title, "", _AROUND + _ROW * len(rows), legend=True)
    name_rows_above(figure, [wrapped(row.name, _LETTERS) for row in rows], 1, 0.4, yshift=8)
    for number, called, side in ((0, "null", "right"), (1, "smallest that counts", "left")):
        figure.add_annotation(
            x=number, y=1, yref="paper", yanchor="bottom", xanchor=side, text=called, font_size=12, showarrow=False
        )
    height = _ROW * len(rows)
    figure.update_layout(legend_y=1 + 22 / height, margin={"l": 14, "t": 84})
    figure.update_yaxes(showgrid=False)
    _, low, high = np.clip(ends_of(rows), -_FARTHEST, _FARTHEST)
    least, most = min(-1.0, *low), max(2.0, *high)
    figure.update_xaxes(zeroline=False, tickformat="~g", dtick=1, showgrid=False, range=[least - 0.2, most + 0.2])
    return figure
