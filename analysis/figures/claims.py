"""Figure of papers' claims: distance of each beyond its null, beside the smallest difference that counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import REFERENCE, as_text, interval_bar, layout, name_above, wrapped

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
    places = np.arange(len(rows), dtype=float)
    value, low, high = (
        np.clip([getattr(row, end) for row in rows], -_FARTHEST, _FARTHEST) for end in ("value", "low", "high")
    )
    for verdict, (color, symbol) in looks.items():
        at = [place for place, row in enumerate(rows) if row.verdict == verdict]
        if not at:
            continue
        away = [abs(rows[place].value) > _FARTHEST for place in at]
        figure.add_trace(
            go.Scatter(
                x=value[at],
                y=places[at],
                mode="markers+text",
                text=[
                    f"{rows[place].value:.0f} ×".replace("-", "−") if far else ""
                    for place, far in zip(at, away, strict=True)
                ],
                textposition=["middle left" if rows[place].value > 0 else "middle right" for place in at],
                name=verdict,
                marker={"size": 11, "color": color, "symbol": symbol, "line": {"width": 2, "color": color}},
                error_x=interval_bar(value[at], low[at], high[at]),
                customdata=[_hovered(rows[place]) for place in at],
                hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>%{customdata[2]:.2g} × the smallest difference "
                "that counts (%{customdata[3]:.2g} to %{customdata[4]:.2g})<extra>%{fullData.name}</extra>",
                cliponaxis=False,
            )
        )
    for place, row in enumerate(rows):
        for number, dash in ((0, "solid"), (1, "dot")):  # beneath its name, which they would cross
            line = {"color": REFERENCE, "width": 2, "dash": dash}
            figure.add_shape(type="line", x0=number, x1=number, y0=place - 0.12, y1=place + 0.2, line=line)
        name_above(figure, place, wrapped(row.name, _LETTERS), yshift=8)
    title = wrapped("difference from the null ÷ smallest difference that counts", 34)
    layout(figure, title, "", _AROUND + _ROW * len(rows))
    for number, called, side in ((0, "null", "right"), (1, "smallest that counts", "left")):
        figure.add_annotation(
            x=number, y=1, yref="paper", yanchor="bottom", xanchor=side, text=called, font_size=12, showarrow=False
        )
    height = _ROW * len(rows)
    figure.update_layout(showlegend=True, legend_y=1 + 22 / height, margin={"l": 14, "t": 84})
    figure.update_yaxes(tickvals=places, showticklabels=False, ticks="", range=[len(rows) - 0.6, -1], zeroline=False)
    figure.update_yaxes(automargin=False, showgrid=False)
    least, most = min(-1.0, *low), max(2.0, *high)
    figure.update_xaxes(zeroline=False, tickformat="~g", dtick=1, showgrid=False, range=[least - 0.2, most + 0.2])
    return figure


def _hovered(row: ClaimRow) -> list[object]:
    return [as_text(row.name), as_text(row.told), row.value, row.low, row.high]
