"""Figures of a set of recordings: which kinds of token each layer's sinks are; how they move, beside their nulls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import KIND_COLORS, REFERENCE, SINK, as_text, layout, wrapped

LEAST_PORTION = 0.05  # of a layer's sinks; rarer kinds have no mark of their own
_ROW = 250  # pixels a row of panels
_LINE, _ABOVE = 16, 32  # pixels of a line of the panels' titles, and of what parts them from the legend above
_WIDTH = 0.5  # of a layer, over which the marks of its series are spread
_MARKS = (
    "diamond-open",
    "square-open",
    "x-thin-open",
    "triangle-up-open",
    "triangle-down-open",
    "cross-thin-open",
    "hexagon-open",
    "star-open",
)


class Band(Protocol):
    """Values with the ends of their intervals, arrays of one shape."""

    @property
    def value(self) -> np.ndarray: ...
    @property
    def low(self) -> np.ndarray: ...
    @property
    def high(self) -> np.ndarray: ...


@dataclass(frozen=True)
class LayerKinds:
    """One model. kinds: names. counts, shares: by layer and kind, (L, K); portions (L, K): the part of a layer's sinks
    that is of a kind. means: shares of all kinds together, (L,). random_counts, random_shares: the same of random
    weights; None where there are none. iid_counts: the counts of log-normal attention.
    """

    name: str
    kinds: Sequence[str]
    counts: Band
    shares: Band
    portions: np.ndarray
    means: Band
    random_counts: Band | None = None
    random_shares: Band | None = None
    iid_counts: Band | None = None


def layer_kinds(models: Sequence[LayerKinds]) -> go.Figure:
    """A row per model: how many sinks each layer has, by kind, and their attention beside uniform attention."""
    titles = ("sinks per step", "attention to a sink (× uniform)")
    figure = make_subplots(
        len(models),
        2,
        shared_yaxes="columns",  # so that models compare
        subplot_titles=[
            wrapped(f"{as_text(model.name)}: {title}" if len(models) > 1 else title, 24)
            for model in models
            for title in titles
        ],
        horizontal_spacing=0.12,
        vertical_spacing=min(0.2, 0.5 / max(len(models), 1)),
    )
    named: set[str] = set()
    for row, model in enumerate(models, start=1):
        layers = np.arange(len(model.portions))
        for kind, name in enumerate(model.kinds):
            if not (model.portions[:, kind] >= LEAST_PORTION).any():
                continue
            style = {"name": as_text(name), "legendgroup": name, "legendrank": kind}
            figure.add_trace(
                go.Bar(
                    x=layers,
                    y=_float(model.counts.value[:, kind]),
                    marker={"color": KIND_COLORS[kind % len(KIND_COLORS)], "line": {"width": 0}},
                    customdata=np.stack([model.counts.low[:, kind], model.counts.high[:, kind]], axis=1),
                    hovertemplate="layer %{x}<br>%{y:.2f} a step (%{customdata[0]:.2f}–%{customdata[1]:.2f})",
                    showlegend=name not in named,
                    **style,
                ),
                row=row,
                col=1,
            )
            named.add(name)
            shown = model.portions[:, kind] >= LEAST_PORTION
            dots = _dots(
                layers, _Column(model.shares, kind, shown), KIND_COLORS[kind % len(KIND_COLORS)], "circle", **style
            )
            figure.add_trace(dots, row, 2)
        others = (
            ("layer mean", "line-ew-open", 2, model.means, 98),
            ("random weights", "diamond", 1, model.random_counts, 99),
            ("random weights", "diamond", 2, model.random_shares, 99),
            ("log-normal attention", "x-thin-open", 1, model.iid_counts, 100),
        )
        for label, symbol, column, band, rank in others:
            if band is not None:
                dots = _dots(layers, band, REFERENCE, symbol, name=label, legendgroup=label, legendrank=rank)
                dots.showlegend = label not in named
                if label == "layer mean":  # a line beneath the dots of its kinds, whose intervals are enough
                    dots.marker.size, dots.error_y = 14, None
                figure.add_trace(dots, row=row, col=column)
                named.add(label)
        figure.add_hline(y=1, line={"color": REFERENCE, "width": 1, "dash": "dot"}, row=row, col=2)
    layout(figure, "", "", 120 + _ROW * len(models))
    figure.update_layout(barmode="stack", showlegend=True, legend_y=_above(figure, _ROW * len(models)))
    figure.update_xaxes(tickformat="d", zeroline=False)
    figure.update_xaxes(title_text="layer", row=len(models))
    figure.update_yaxes(rangemode="tozero")
    figure.update_annotations(font_size=12)
    return figure


@dataclass(frozen=True)
class MovePanel:
    """One measure of movement of a model, by layer, (L,). nulls: name -> the same of what it is held against."""

    title: str
    observed: Band
    nulls: Mapping[str, Band]
    percent: bool = False


def movement(panels: Sequence[MovePanel]) -> go.Figure:
    """A panel a measure: what was observed, with its interval, and its nulls."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[wrapped(panel.title, 22) for panel in panels],
        horizontal_spacing=0.17,
        vertical_spacing=0.5 / rows if rows > 1 else 0,
    )
    named: set[str] = set()
    for index, panel in enumerate(panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        series = [
            (name, band, REFERENCE, _MARKS[number % len(_MARKS)], number + 1)
            for number, (name, band) in enumerate(panel.nulls.items())
        ]
        series.append(("observed", panel.observed, SINK, "circle", 0))  # last, as it is not to be hidden by its nulls
        for number, (name, band, color, symbol, rank) in enumerate(series):
            style = {"name": as_text(name), "legendgroup": name, "legendrank": rank}
            beside = (number / max(len(series) - 1, 1) - 0.5) * _WIDTH  # so that marks of one layer do not hide another
            dots = _dots(np.arange(len(band.value)) + beside, band, color, symbol, **style)
            dots.showlegend = name not in named
            figure.add_trace(dots, **place)
            named.add(name)
        figure.update_yaxes(tickformat="~p" if panel.percent else None, **place)
    layout(figure, "", "", 120 + _ROW * rows)
    figure.update_layout(showlegend=True, legend_y=_above(figure, _ROW * rows))
    figure.update_xaxes(zeroline=False, tickformat="d")
    figure.update_xaxes(title_text="layer", row=rows)
    figure.update_yaxes(rangemode="tozero")
    figure.update_annotations(font_size=12)
    return figure


def _above(figure: go.Figure, height: int) -> float:
    """Return where a legend stands above the longest title of the panels, as a share of the plots' height."""
    lines = max(note.text.count("<br>") + 1 for note in figure.layout.annotations)
    return 1 + (lines * _LINE + _ABOVE) / height


class _Column:
    """One kind of a band by layer and kind, NaN where it is not shown."""

    def __init__(self, band: Band, kind: int, shown: np.ndarray) -> None:
        self.value, self.low, self.high = (
            np.where(shown, part[:, kind], np.nan) for part in (band.value, band.low, band.high)
        )


def _dots(x: np.ndarray, band: Band, color: str, symbol: str, **style: object) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=_float(band.value),
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 9, "line": {"color": color, "width": 2}},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": _float(band.high - band.value),
            "arrayminus": _float(band.value - band.low),
            "thickness": 1.5,
            "width": 3,
        },
        customdata=np.stack([_float(band.low), _float(band.high), np.round(x)], axis=1),
        hovertemplate="layer %{customdata[2]}<br>%{y:.3g} (%{customdata[0]:.3g}–%{customdata[1]:.3g})",
        cliponaxis=False,  # what is 0 lies on the axis
        showlegend=False,
        **style,
    )


def _float(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)
