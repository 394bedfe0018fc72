"""Figures of a set of recordings: kinds of each layer's sinks, and their movement beside nulls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures.style import (
    KIND_COLORS,
    PER_CENT,
    REFERENCE,
    SINK,
    add_notes,
    as_text,
    dots,
    grey_line,
    ink_on,
    interval_bar,
    layout,
    wrapped,
)
from analysis.sinks.intervals import Estimates
from analysis.words import percent

_LEAST_DRAWN = 0.015  # of some row; a kind that is rarer in all of them cannot be seen
LEAST_PORTION = 0.05  # of a layer's sinks; a kind that is rarer has no dot in the figure of strengths
_TALL, _LEAST_ROW, _MOST_ROW = 400, 16, 27  # pixels of all layers of a model, and of one
_MOST_NAMED = 16  # layers up to which each is named
_APART = 1.3  # rows between the baseline, whose name has two lines, and what is beneath it
_BAR = 0.72  # rows
_ENDS = 0.6  # rows from the last layer to the end of its panel
_LABEL, _LABELLED = 12, 0.08  # pixels of the letters in a bar, and the least portion that is written there
_BENEATH, _BETWEEN = 66, 34  # pixels beneath the panels, and between those of two models
_KEY_LINE, _KEY_ROOM = 20, 14  # pixels of a line that names marks, and between these and the panels
_BESIDE, _KEY_LEFT = 5, -64  # kinds that a line names, and pixels from the panels to its begin
_NAME, _HEAD = 22, 6  # pixels of a model's name above its panels, and of what the numbers at the right are
_SHARES = (0, 0.25, 0.5, 0.75, 1)  # that the axis names
_HELD_KIND, _HELD = (
    "the same kind when",
    {"untrained": 8, "shuffled": 70},
)  # columns at the right of the bars, from pixel
_COLUMN = 66  # pixels of one of them
_BARE = 14  # pixels at the right without them
_ROW, _LEGEND = 250, 120  # pixels a row of panels, and above them
_LINE, _ABOVE = 16, 32  # pixels of a line of the panels' titles, and of what parts them from the legend above
_MARGIN = 0.1  # of a power of ten, around the values on a logarithmic axis
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


@dataclass(frozen=True)
class LayerKinds:
    """One model. kinds: names. portions (L, K): the part of a layer's sinks that is of a kind, NaN without sinks.
    counts (L,): sinks per step. tokens (K,): the same parts of all tokens, None where they are not known. untrained:
    the portions in untrained, equally sharp models, NaN without sinks. shuffled: the same with shuffled weights.
    told, beside: by layer, the kind whose share is bold, and the one whose share with other weights is written beside
    it where no kind's is; the commonest where neither is known.
    """

    name: str
    kinds: Sequence[str]
    portions: Estimates
    counts: np.ndarray
    tokens: np.ndarray | None
    untrained: np.ndarray
    shuffled: np.ndarray
    told: Mapping[int, int]
    beside: Mapping[int, int]

    @property
    def drawn(self) -> list[int]:
        """The kinds that have a bar and are named in the key."""
        return np.flatnonzero((self.rows > _LEAST_DRAWN).any(axis=0)).tolist()

    @property
    def above(self) -> list[float]:
        """The place of the baseline, if it is known."""
        return [] if self.tokens is None else [-_APART]

    @property
    def held(self) -> list[int]:
        """The layers that have sinks in untrained models."""
        return np.flatnonzero(np.isfinite(self.untrained).all(axis=1)).tolist()

    @property
    def elsewhere(self) -> list[np.ndarray]:
        """The portions with other weights that are known: untrained ones, then shuffled ones."""
        return [weights for weights in (self.untrained, self.shuffled) if np.isfinite(weights).any()]

    @property
    def bold(self) -> list[int]:
        """The layers whose share of the kind that is told is bold, and held against untrained models."""
        return [layer for layer in self.held if layer in self.told]

    @property
    def rows(self) -> np.ndarray:
        """The rows that are drawn, (rows, K): the baseline and the layers."""
        tokens = [] if self.tokens is None else [self.tokens]
        return np.nan_to_num(np.vstack([*tokens, self.portions.value]))

    @property
    def named(self) -> range:
        """The layers that are named."""
        return range(0, len(self.counts), 1 if len(self.counts) <= _MOST_NAMED else 4)


ALL_TOKENS = "all tokens"
"""Name of the row of all tokens."""


def layer_kinds(models: Sequence[LayerKinds], beside: Sequence[LayerKinds] = ()) -> go.Figure:
    """Draw a panel per model: kinds of each layer's sinks beneath all tokens, and at the right the share of one kind
    with other weights.
    beside: models whose figures stand beside this one, with as much room above.
    """
    rows = max(len(model.counts) - min(model.above, default=0) for model in models)
    tall = int(max(_LEAST_ROW, min(_MOST_ROW, _TALL // rows)) * rows)
    figure = make_subplots(
        len(models),
        1,
        shared_xaxes=True,
        vertical_spacing=_BETWEEN / (tall * len(models) + _BETWEEN * (len(models) - 1)),
    )
    for number, model in enumerate(models, start=1):
        _kind_bars(figure, model, number)
        figure.update_yaxes(**_row_axis(model), row=number)
        _write_others(figure, model, number)
        if len(models) > 1:
            top = next(figure.select_yaxes(row=number, col=1)).domain[1]
            figure.add_annotation(text=f"<b>{as_text(model.name)}</b>", **_ON_PAPER, y=top)
    head = _NAME if len(models) > 1 else _HEAD
    keys = _keys(models)
    # Above the panels, where a phone has more room for it than for a legend.
    key = {"xshift": _KEY_LEFT, "yshift": _KEY_ROOM / 2 + head, "align": "left", "font_size": 12}
    figure.add_annotation(text="<br>".join(keys), **_ON_PAPER, y=1, **key)
    above = _KEY_LINE * max(len(keys), *(len(_keys([model])) for model in beside), 0) + _KEY_ROOM + head
    height = above + tall * len(models) + _BETWEEN * (len(models) - 1) + _BENEATH
    layout(figure, "", "", height, legend=False)
    columns = max((len(model.elsewhere) for model in (*models, *beside)), default=0)
    right = list(_HELD.values())[columns - 1] + _COLUMN if columns else _BARE
    figure.update_layout(barmode="stack", margin_t=above, margin_r=right)
    figure.update_xaxes(
        zeroline=False, range=[0, 1], tickvals=_SHARES, ticktext=[_unitless(value) for value in _SHARES]
    )
    figure.update_yaxes(title_standoff=0)
    figure.update_xaxes(title={"text": "share of the layer's sinks, %", "font_size": 12}, row=len(models))
    return figure


_ON_PAPER: dict[str, Any] = {
    "x": 0,
    "xref": "paper",
    "xanchor": "left",
    "yref": "paper",
    "yanchor": "bottom",
    "showarrow": False,
}


def _write_others(figure: go.Figure, model: LayerKinds, row: int) -> None:
    """Write at the right of each layer, as far as the layers are named, the share of the kind that leads in it in
    untrained models and with shuffled weights.
    """
    if not model.held:
        return
    number = "" if row == 1 else str(row)  # of the panel's axes
    at = {"xref": f"x{number} domain", "yref": f"y{number}", **_AT_THE_RIGHT}
    columns = list(zip(_HELD.items(), model.elsewhere, strict=False))
    leading, notes = {**model.beside, **model.told}, []
    for layer in (
        layer for layer in model.held if layer in model.named and np.isfinite(model.portions.value[layer]).any()
    ):
        kind = leading.get(layer, int(np.nanargmax(model.portions.value[layer])))
        for (_, place), weights in columns:
            text = f"{_mark(kind, _LABEL)} {_share(weights[layer, kind])} %"
            notes.append({"y": layer, "text": text, "xshift": place, **at})
    above = {"y": -0.5, "yanchor": "bottom", "align": "left", **at}
    lines = [_HELD_KIND, *[""] * (len(columns) - 1)]
    notes += [
        {"text": f"{line}<br>{name}", "xshift": place, **above}
        for ((name, place), _), line in zip(columns, lines, strict=True)
    ]
    add_notes(figure, notes)


_AT_THE_RIGHT: dict[str, Any] = {"x": 1, "xanchor": "left", "font": {"size": _LABEL}, "showarrow": False}


def _keys(models: Sequence[LayerKinds]) -> list[str]:
    """Return the lines that name the kinds of models."""
    named: dict[int, dict[str, None]] = {}
    for model in models:
        for kind in model.drawn:
            named.setdefault(kind, {})[as_text(model.kinds[kind])] = None
    marks = [f"{_mark(kind)} {' or '.join(named[kind])}" for kind in sorted(named)]
    return ["  ".join(marks[start : start + _BESIDE]) for start in range(0, len(marks), _BESIDE)]


def _mark(kind: int, size: int = 14) -> str:
    return f"<span style='color:{_color(kind)};font-size:{size}px'>■</span>"


def _color(kind: int) -> str:
    return KIND_COLORS[kind % len(KIND_COLORS)]


def _row_axis(model: LayerKinds) -> dict[str, object]:
    """Return an axis that names the baseline and the layers."""
    above = model.above
    return {
        "range": [len(model.counts) - 1 + _ENDS, min(above, default=0) - 0.5],
        "tickvals": [*above, *model.named],
        "ticktext": [*(f"{ALL_TOKENS}<br>(baseline)" for _ in above), *(f"layer {layer}" for layer in model.named)],
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }


def _kind_bars(figure: go.Figure, model: LayerKinds, row: int) -> None:
    """Draw the shares of the kinds, of all tokens and of the sinks of each layer, written where they have room."""
    bars = [*model.above, *range(len(model.counts))]
    above = ["of all tokens" for _ in model.above]
    for kind in model.drawn:
        value = model.rows[:, kind]
        low, high = (np.nan_to_num(end[:, kind]) for end in (model.portions.low, model.portions.high))
        told = [
            f"[{percent(least, 0).removesuffix(' %')}, {percent(most, 0)}] of the sinks of layer {layer}, {count:.1f} "
            "per step"
            for layer, (least, most, count) in enumerate(zip(low, high, model.counts, strict=True))
        ]
        color, name = _color(kind), as_text(model.kinds[kind])
        bold = [layer for layer in model.bold if model.told[layer] == kind]
        figure.add_bar(
            x=_float(value),
            y=bars,
            width=_BAR,
            orientation="h",
            name=name,
            legendrank=kind,
            marker={"color": color, "line": {"width": 0}},
            text=[_label(each, place in bold) for place, each in zip(bars, value, strict=True)],
            textposition="inside",
            insidetextanchor="middle",
            constraintext="none",
            textangle=0,
            textfont={"size": _LABEL, "color": ink_on(color)},
            customdata=[*above, *told],
            hovertext=[percent(each, 1) for each in value],
            hovertemplate=f"{name}<br>%{{hovertext}} %{{customdata}}<extra></extra>",
            row=row,
            col=1,
        )


def _label(share: float, bold: bool) -> str:
    """Return what is written in a bar; a bold share also where it is small, as another is held against it."""
    if bold:
        return f"<b>{_unitless(share)}</b>"
    return _unitless(share) if share >= _LABELLED else ""


def _share(share: float) -> str:
    """Return a share in per cent, without the sign; a dash where there are no sinks."""
    return _unitless(share) if np.isfinite(share) else "–"


def _unitless(share: float) -> str:
    return percent(share, 0).removesuffix(PER_CENT)


@dataclass(frozen=True)
class KindStrengths:
    """Attention to a sink beside uniform attention, of one model. kinds: names. shares (L, K), NaN where a kind is
    rare; means (L,): of all sinks of a layer. others: the same of other weights, by name.
    """

    name: str
    kinds: Sequence[str]
    shares: Estimates
    means: Estimates
    others: Mapping[str, Estimates]


def kind_strengths(models: Sequence[KindStrengths]) -> go.Figure:
    """Draw a panel per model: the attention to a sink by kind, its mean over the layer, and the means of other
    weights.
    """
    figure = make_subplots(
        1,
        len(models),
        shared_yaxes=True,
        subplot_titles=[wrapped(model.name, 22) for model in models] if len(models) > 1 else None,
        horizontal_spacing=0.06,
    )
    named: set[str] = set()
    for column, model in enumerate(models, start=1):
        shares, layers = model.shares, np.arange(len(model.means.value))
        series = _nulls(model.others, 100)
        series.append(_Series("mean of the layer", model.means, REFERENCE, "line-ew-open", 99))
        series += [
            _Series(
                name,
                Estimates(*(end[:, kind] for end in (shares.value, shares.low, shares.high))),
                _color(kind),
                "circle",
                kind,
            )
            for kind, name in enumerate(model.kinds)
            if np.isfinite(shares.value[:, kind]).any()
        ]
        for one in series:
            drawn = _dots(layers, one, named)
            if one.symbol == "line-ew-open":  # a line beneath the dots of its kinds, whose intervals are enough
                drawn.marker.size, drawn.error_y = 14, None
            figure.add_trace(drawn, row=1, col=column)
        figure.update_xaxes(**_layer_axis(len(layers)), row=1, col=column)
    figure.add_hline(y=1, line=grey_line("dot", 1))
    layout(figure, "", "attention to a sink (× uniform)", 180 + _ROW, legend=True)
    figure.update_layout(margin_t=110)
    if len(models) > 1:
        figure.update_layout(legend_y=_above(figure, _ROW))
    figure.update_xaxes(title_text="layer")
    figure.update_yaxes(rangemode="tozero")
    figure.update_annotations(font_size=12)
    return figure


@dataclass(frozen=True)
class MovePanel:
    """One measure of movement of a model, by layer, (L,). nulls: name -> the same of each baseline."""

    title: str
    observed: Estimates
    nulls: Mapping[str, Estimates]
    percent: bool = False


def movement(panels: Sequence[MovePanel], span: tuple[float, float] | None = None) -> go.Figure:
    """Draw a panel per measure: the observed values with intervals, and the nulls; a single one has a logarithmic axis,
    as its nulls lie far apart. span: least and largest value of all figures side by side, which share one logarithmic
    axis.
    """
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
        series = _nulls(panel.nulls, 1)
        series.append(_Series("observed", panel.observed, SINK, "circle", 0))  # last, not to be hidden by its nulls
        for number, one in enumerate(series):
            beside = (number / max(len(series) - 1, 1) - 0.5) * _WIDTH  # so that marks of one layer do not hide another
            layers = np.arange(len(one.shown.value)) + beside
            figure.add_trace(_dots(layers, one, named, panel.percent), **place)
        figure.update_xaxes(**_layer_axis(len(panel.observed.value)), **place)
        numbers = np.concatenate([one.shown.value for one in series])
        alone = len(panels) == 1 and bool((numbers > 0).all())
        scale: dict[str, Any] = {"type": "log", "dtick": "D2", "tickformat": "~g"} if alone else {"rangemode": "tozero"}
        if alone and span is not None:
            scale["range"] = np.log10(span) + _MARGIN * np.array([-1, 1])
        figure.update_yaxes(**scale | ({"tickformat": "~g", "ticksuffix": PER_CENT} if panel.percent else {}), **place)
    layout(figure, "", "", _LEGEND + _ROW * rows, legend=True)
    figure.update_layout(legend_y=_above(figure, _ROW * rows), margin_t=_LEGEND)
    figure.update_xaxes(title_text="layer", row=rows)
    figure.update_annotations(font_size=12)
    return figure


def _layer_axis(layers: int) -> dict[str, object]:
    """Return an axis of so many layers that names no other."""
    step = 1 if layers <= _MOST_NAMED else 4
    return {"range": [-0.6, layers - 0.4], "tick0": 0, "dtick": step, "tickformat": "d", "zeroline": False}


def _above(figure: go.Figure, height: int) -> float:
    """Return where a legend stands above the longest title of the panels, as a share of the plots' height."""
    lines = max(note.text.count("<br>") + 1 for note in figure.layout.annotations)
    return 1 + (lines * _LINE + _ABOVE) / height


class _Series(NamedTuple):
    """Values by layer, (L,), and the look of their dots. rank: in the legend."""

    name: str
    shown: Estimates
    color: str
    symbol: str
    rank: int


def _nulls(nulls: Mapping[str, Estimates], first: int) -> list[_Series]:
    """Return baselines, by name, as grey marks. first: the rank of the first."""
    return [
        _Series(name, shown, REFERENCE, _MARKS[place % len(_MARKS)], first + place)
        for place, (name, shown) in enumerate(nulls.items())
    ]


def _dots(x: np.ndarray, one: _Series, named: set[str], percent: bool = False) -> go.Scatter:
    """Draw dots with their intervals. named: what stands in the legend already, and this then. percent: values are
    shares, drawn in per cent.
    """
    scale, unit = (100, PER_CENT) if percent else (1, "")
    value, low, high = (scale * _float(end) for end in (one.shown.value, one.shown.low, one.shown.high))
    is_new = one.name not in named
    named.add(one.name)
    return go.Scatter(
        x=x,
        y=value,
        mode="markers",
        marker=dots(one.color, 9, symbol=one.symbol),
        error_y=interval_bar(value, low, high, thickness=1.5, width=3),
        customdata=np.stack([low, high, np.round(x)], axis=1),
        hovertemplate=f"layer %{{customdata[2]}}<br>%{{y:.3g}}{unit} "
        f"(%{{customdata[0]:.3g}}–%{{customdata[1]:.3g}}{unit})",
        cliponaxis=False,  # zeros lie on the axis
        showlegend=is_new,
        name=as_text(one.name),
        legendgroup=one.name,
        legendrank=one.rank,
    )


def _float(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)
