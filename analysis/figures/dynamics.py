"""Figures of moving sinks: curves over steps, spatial against temporal variance, positions and durations."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import (
    KIND_COLORS,
    MASS_SCALE,
    NARROW_TICK_LABELS,
    PER_CENT,
    REFERENCE,
    SELECTED,
    SERIES_COLORS,
    SINK,
    SYMBOLS,
    TOKEN,
    as_text,
    band,
    color_bar,
    layout,
    token_axis,
    without_grid,
    wrapped,
)
from analysis.words import UNTRAINED_LABEL


@dataclass(frozen=True)
class Series:
    """Curves of one group of recordings, (N, T) on a common grid x (T,). N > 1 is drawn as mean and range.

    low, high (T,): the ends of an interval around a single curve, drawn as its band; its name says of what. singles (M,
    T): the curves behind a mean, drawn as thin lines. color: of its line; the next of the series' colours where empty.
    """

    name: str
    x: np.ndarray
    values: np.ndarray
    reference: bool = False
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    singles: np.ndarray | None = None
    color: str = ""


def lines(
    curves: Mapping[str, np.ndarray], x: np.ndarray | None = None, references: Collection[str] = ()
) -> list[Series]:
    """Return a series for each single curve (T,), by name; without x (T,) over its steps."""
    return [
        Series(name, np.arange(len(curve)) if x is None else x, curve[None], name in references)
        for name, curve in curves.items()
    ]


def curves(
    series: Sequence[Series], x_title: str, y_title: str, step: float | None = None, percent: bool = False
) -> go.Figure:
    """Draw one line per series; a band from the smallest to the largest if a series holds several recordings. percent:
    the values are shares.
    """
    figure = go.Figure()
    dashes, colors = itertools.cycle(("dash", "dot", "dashdot")), itertools.cycle(SERIES_COLORS)
    series = [_scaled(each, 100) for each in series] if percent else series
    for place, unsorted in enumerate(series):
        order = np.argsort(unsorted.x, kind="stable")
        curve = replace(unsorted, x=unsorted.x[order], values=unsorted.values[:, order])
        color = curve.color or (REFERENCE if curve.reference else next(colors))  # the same with and without references
        count = np.isfinite(curve.values).sum(axis=0)
        mean = np.nansum(curve.values, axis=0) / np.where(count > 0, count, np.nan)
        several = len(curve.values) > 1
        if several:
            least, most = (np.nan_to_num(curve.values, nan=nothing) for nothing in (np.inf, -np.inf))
            figure.add_trace(band(curve.x, least.min(axis=0), most.max(axis=0), color))
        elif curve.low is not None and curve.high is not None:
            figure.add_trace(band(curve.x, curve.low[order], curve.high[order], color))
        if curve.singles is not None:
            figure.add_trace(_thin_lines(curve.x, curve.singles[:, order], color))
        name = as_text(f"{curve.name}, mean and range of {len(curve.values)}" if several else curve.name)
        figure.add_scatter(
            x=curve.x,
            y=mean,
            mode="lines+markers" if len(curve.x) <= 20 else "lines",
            name=name,
            line={
                "color": color,
                "width": _COVERED if _is_covered(series, place) else 2,
                "dash": next(dashes) if curve.reference else "solid",
            },
            hovertemplate=f"%{{y:.1f}}{PER_CENT}" if percent else "%{y:.3g}",
        )
    if step is not None:
        figure.add_vline(x=step, line={"color": SELECTED, "width": 1})
    layout(figure, x_title, y_title, 240 + 20 * len(series), legend=True)
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(ticksuffix=PER_CENT if percent else None)
    if percent and not _span(series):
        figure.update_yaxes(rangemode="tozero")  # else the axis spans two points around the one share
    return figure


def _scaled(series: Series, factor: float) -> Series:
    arrays = {name: getattr(series, name) for name in ("values", "low", "high", "singles")}
    return replace(series, **{name: factor * array for name, array in arrays.items() if array is not None})


_COVERED = 6  # pixels of a line beneath another one, on both sides of which it is seen


def _is_covered(series: Sequence[Series], place: int) -> bool:
    """Return whether a later curve covers this one: single curves that differ by no more than a hundredth of the span
    of all on average.
    """
    this, later, span = series[place], series[place + 1 :], _span(series)
    for other in later:
        if this.reference or other.reference or len(this.values) > 1 or this.values.shape != other.values.shape:
            continue
        apart = np.abs(this.values - other.values)
        if np.array_equal(this.x, other.x) and np.isfinite(apart).any() and np.nanmean(apart) <= span / 100:
            return True
    return False


def _span(series: Sequence[Series]) -> float:
    """Return the largest value of all less the smallest."""
    values = np.concatenate([each.values.ravel() for each in series])
    finite = values[np.isfinite(values)]
    return float(np.ptp(finite)) if finite.size else 0.0


def _thin_lines(x: np.ndarray, rows: np.ndarray, color: str) -> go.Scatter:
    """Draw curves (M, T) as one trace, with gaps between them."""
    gap = np.full((len(rows), 1), np.nan)
    return go.Scatter(
        x=np.tile(np.append(x, np.nan), len(rows)),
        y=np.concatenate([rows, gap], axis=1).ravel().astype(np.float32),
        mode="lines",
        line={"color": color, "width": 0.7},
        opacity=0.35,
        hoverinfo="skip",
        showlegend=False,
    )


@dataclass(frozen=True)
class Cloud:
    """Points of one model: spatial and temporal variance (N,), what each point is, and of which layer. reference: drawn
    in grey.
    """

    name: str
    spatial: np.ndarray
    temporal: np.ndarray
    labels: Sequence[str]
    layers: Sequence[int]
    reference: bool = False


_NAMED_POINTS = 40  # up to this many of a model carry their names


def variances(clouds: Sequence[Cloud], log: bool) -> go.Figure:
    """Draw spatial against temporal variance, one point per layer or head: right = concentrated, up = moving. One
    colour per layer, one symbol per model; customdata is the model's place and the point's.
    """
    figure = go.Figure()
    for index, cloud in enumerate(clouds):
        named = len(cloud.labels) <= _NAMED_POINTS and not cloud.reference
        short = [label.replace("layer ", "L").replace(", head ", " H") for label in cloud.labels]
        figure.add_scatter(
            x=cloud.spatial,
            y=cloud.temporal,
            mode="markers+text" if named else "markers",
            name=as_text(cloud.name),
            text=[as_text(label) for label in short] if named else None,
            textposition="top center",
            textfont={"size": 10},
            hovertext=[as_text(label) for label in cloud.labels],
            customdata=[[index, point] for point in range(len(cloud.labels))],
            marker={
                "size": 9,
                "color": REFERENCE if cloud.reference else list(cloud.layers),
                "coloraxis": None if cloud.reference else "coloraxis",
                "symbol": "x" if cloud.reference else SYMBOLS[index % len(SYMBOLS)],
                "opacity": 0.85,
                "line": {"width": 1, "color": REFERENCE},
            },
            hovertemplate="%{hovertext}<br>spatial %{x:.3g}<br>temporal %{y:.3g}<extra>%{fullData.name}</extra>",
        )
    last = max((max(cloud.layers, default=0) for cloud in clouds), default=0)
    whole = {"tick0": 0, "dtick": max(1, -(-last // 8))}  # layers lie between no two ticks
    figure.update_layout(coloraxis={"colorscale": MASS_SCALE, "colorbar": {**color_bar("layer"), **whole}})
    axes = "spatial variance of the corrected share", "temporal variance of the sink centroid"
    layout(figure, *axes, 460, legend=True)
    if log:
        figure.update_xaxes(**_log_axis([cloud.spatial for cloud in clouds]))
        figure.update_yaxes(**_log_axis([cloud.temporal for cloud in clouds]))
    return figure


def _log_axis(values: Sequence[np.ndarray]) -> dict:
    """Return a logarithmic axis with every tick in full: powers of ten, with the digits between if they are few."""
    numbers = np.concatenate([np.ravel(part) for part in values])
    numbers = numbers[np.isfinite(numbers) & (numbers > 0)]
    decades = np.ptp(np.log10(numbers)) if len(numbers) else 0
    return {"type": "log", "dtick": "D1" if decades < 1 else "D2" if decades < 4 else 1, "tickformat": "~g"}


def position_bars(
    values: np.ndarray,
    labels: list[str],
    names: Sequence[str],
    y_title: str,
    sinks: bool = False,
    reference: np.ndarray | None = None,
    later: Collection[int] = (),
) -> go.Figure:
    """Draw one bar per position, (S,). labels: the finished text, for the axis. names: of the positions over all steps,
    for the hover. reference (S,): the same for random weights, as marks. later: positions that were hidden at first.
    """
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(values)),
            y=np.asarray(values, np.float32),
            name="this recording",
            marker={"color": SINK if sinks else TOKEN, "line": {"width": 0}},
            text=[as_text(name) for name in names],
            textposition="none",
            hovertemplate="%{text}<br>%{y:.3g}<extra></extra>",
        )
    )
    if reference is not None:
        figure.add_scatter(
            x=np.arange(len(reference)),
            y=np.where(np.asarray(reference) > 0, reference, np.nan).astype(np.float32),
            mode="markers",
            name=UNTRAINED_LABEL,
            marker={"symbol": "line-ew", "size": 7, "line": {"width": 2, "color": REFERENCE}},
            hovertemplate=f"{UNTRAINED_LABEL} %{{y:.3g}}<extra></extra>",
        )
    layout(figure, "position", y_title, 300, legend=reference is not None)
    figure.update_layout(bargap=0.15)
    figure.update_xaxes(
        range=[-0.7, len(values) - 0.3], showgrid=False, zeroline=False, **token_axis(labels, NARROW_TICK_LABELS, later)
    )
    figure.update_yaxes(rangemode="tozero")
    return figure


_LEAST_DRAWN = 0.015  # of the highest bar; a kind that never has more cannot be seen


def kinds_over_steps(
    panels: Mapping[str, np.ndarray], names: Sequence[str], x_title: str = "denoising step"
) -> go.Figure:
    """Draw the number of sinks of each kind per step, stacked; recordings side by side on one scale. panels: title ->
    counts (T, kinds).
    """
    titles = [as_text(title) for title in panels] if len(panels) > 1 else None
    figure = make_subplots(1, len(panels), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.04)
    named: set[str] = set()
    for column, counts in enumerate(panels.values(), start=1):
        known = np.nan_to_num(counts)
        least = _LEAST_DRAWN * known.sum(axis=1).max(initial=0)
        for kind, name in enumerate(names):
            if known[:, kind].max(initial=0) > least:
                figure.add_bar(
                    x=np.arange(len(counts)),
                    y=counts[:, kind],
                    name=name,
                    legendgroup=name,
                    legendrank=kind,
                    showlegend=name not in named,
                    marker={"color": KIND_COLORS[kind % len(KIND_COLORS)], "line": {"width": 0}},
                    hovertemplate="step %{x}<br>%{y}<extra>" + name + "</extra>",
                    row=1,
                    col=column,
                )
                named.add(name)
    layout(figure, "", "number of sinks", 310, legend=True)
    figure.update_layout(barmode="stack", bargap=0)  # gaps of less than a pixel flicker
    figure.update_layout(legend={"y": 1.12 if titles else 1.0}, margin_t=60 if titles else 34)
    figure.update_annotations(font_size=13)
    figure.update_xaxes(title_text=x_title if len(panels) < 2 else wrapped(x_title, 16))
    figure.update_yaxes(rangemode="tozero")
    return figure


_TITLES = 36  # characters of the titles of grids that stand side by side on a phone


def small_multiples(
    grids: Mapping[str, np.ndarray], name: str, scale: Sequence[str], percent: bool, centre: float | None = None
) -> go.Figure:
    """Draw layer × head grids side by side on one colour scale. grids: title -> (L, H). centre: the middle of the
    scale.
    """
    count, middle = len(grids), 100 * centre if percent and centre is not None else centre
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[wrapped(title, _TITLES // columns) for title in grids],
        horizontal_spacing=0.04,
        vertical_spacing=0.2 if rows > 1 else 0,
        shared_yaxes=True,
    )
    number = f"%{{z:.1f}}{PER_CENT}" if percent else "%{z:.3g}"
    for index, values in enumerate(grids.values()):
        figure.add_heatmap(
            z=np.asarray(100 * values if percent else values, np.float32),
            coloraxis="coloraxis",
            hovertemplate=f"layer %{{y}}, head %{{x}}<br>{number}<extra></extra>",
            row=index // columns + 1,
            col=index % columns + 1,
        )
    layout(figure, "", "", 250 * rows)
    figure.update_layout(
        coloraxis={"colorscale": list(scale), "cmid": middle, "colorbar": color_bar(name, percent)}, margin_t=46
    )
    without_grid(figure)
    # The marks of a theme would lie upon the grid to the left.
    figure.update_yaxes(autorange="reversed", ticks="")
    figure.update_xaxes(title_text="head", row=rows)
    figure.update_yaxes(title_text="layer", col=1)
    figure.update_annotations(font_size=13)
    return figure
