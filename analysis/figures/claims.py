"""Figure of papers' claims: distance of each beyond its null, beside the smallest difference that counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import as_text, dots, ends_of, grey_line, interval_bar, layout, name_rows_above, wrapped

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
            textposition=["middle left" if row.value > 0 else "middle right" for row in some],
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
