"""One token's attention as lines over the text, a colour for each head."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.figures.style import SELECTED, SERIES_COLORS, as_text, layout

LINE = 46  # characters of a line of text, which a phone has room for
MOST_LINES = 8  # of a head: the strongest
_WIDEST = 7.0  # pixels of a line of all attention
_STEPS = 16  # points of a curve
_ROW = 44  # pixels from one line of text to the next
_LONGEST = 14  # characters of a token


def attention_lines(
    shares: np.ndarray, titles: Sequence[str], labels: Sequence[str], names: Sequence[str], at: int, floor: float
) -> go.Figure:
    """From one token to those that it attends to: shares (N, S), a row for each head, which sum to 1. labels: the text,
    (S,). names (S,): of its positions in that step, for the hover. at: where the token stands. floor: what uniform
    attention pays, beneath which no line is drawn.

    The width of a line is its share; of a head the strongest `MOST_LINES` are drawn. What a head pays to the token
    itself is a ring around it.
    """
    words = [_word(label) for label in labels]
    x, y = placed(words)
    figure = go.Figure()
    for number, (row, title) in enumerate(zip(np.nan_to_num(shares), titles, strict=True)):
        color = SERIES_COLORS[number % len(SERIES_COLORS)]
        targets = strongest(row, floor)
        for target in targets:
            if target != at:
                figure.add_trace(_curve((x[at], y[at]), (x[target], y[target]), float(row[target]), color, number))
        figure.add_trace(
            go.Scatter(
                x=x[targets],
                y=y[targets] - 0.3,
                mode="markers",
                marker={
                    "symbol": ["circle-open" if target == at else "circle" for target in targets],
                    "color": color,
                    "size": 7 + 9 * row[targets],
                    "line": {"color": color, "width": 2},
                },
                name=as_text(title),
                customdata=[[f"{row[target]:.1%}", as_text(names[target])] for target in targets],
                hovertemplate=f"{as_text(title)}<br>pays %{{customdata[0]}} to %{{customdata[1]}}<extra></extra>",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="text",
            text=[f"<b>{as_text(word)}</b>" if place == at else as_text(word) for place, word in enumerate(words)],
            textfont={"size": 12},
            customdata=[as_text(name) for name in names],
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    half = len(words[at]) / 2 + 0.6
    figure.add_shape(
        type="rect",
        x0=x[at] - half,
        x1=x[at] + half,
        y0=y[at] - 0.24,
        y1=y[at] + 0.24,
        line={"color": SELECTED, "width": 2},
    )
    rows = int(-y.min()) + 1
    layout(figure, "", "", height=90 + _ROW * rows)
    figure.update_layout(showlegend=True, dragmode=False)
    hidden = {"showgrid": False, "zeroline": False, "showticklabels": False, "ticks": ""}
    figure.update_xaxes(range=[-1, LINE + 1], **hidden)
    figure.update_yaxes(range=[-rows + 0.35, 0.9], **hidden)
    return figure


def strongest(row: np.ndarray, floor: float) -> np.ndarray:
    """The positions that a head pays most, at most `MOST_LINES`, each more than `floor`; (S,) -> (n,)."""
    order = np.argsort(-row, kind="stable")[:MOST_LINES]
    return order[row[order] > floor]


def placed(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where the middle of each word stands in lines of `LINE` characters, and its line, from 0 downwards, (S,) each."""
    x, y, line, used = [], [], 0, 0
    for word in words:
        if used and used + len(word) > LINE:
            line, used = line + 1, 0
        x.append(used + len(word) / 2)
        y.append(-line)
        used += len(word) + 1
    return np.array(x, float), np.array(y, float)


def _word(label: str) -> str:
    visible = label.replace("\n", "⏎").strip() or "␣"
    return visible if len(visible) <= _LONGEST else f"{visible[: _LONGEST - 1]}…"


def _curve(start: tuple[float, float], end: tuple[float, float], share: float, color: str, number: int) -> go.Scatter:
    """A curve that rises above its line of text, a little higher for each further head."""
    t = np.linspace(0, 1, _STEPS)
    (x0, y0), (x1, y1) = start, end
    top = max(y0, y1) + 0.35 + 0.12 * number
    middle = 2 * top - (y0 + y1) / 2
    y = (1 - t) ** 2 * y0 + 2 * t * (1 - t) * middle + t**2 * y1
    return go.Scatter(
        x=np.round(x0 + (x1 - x0) * t, 2),
        y=np.round(np.minimum(y, 0.85), 3),
        mode="lines",
        line={"color": color, "width": 1 + (_WIDEST - 1) * share},
        opacity=0.65,
        hoverinfo="skip",
        showlegend=False,
    )
