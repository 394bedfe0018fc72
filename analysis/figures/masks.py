"""Figures of pruning masks: grids beside their floor, disagreement over depth, pictures of a mask, overlap of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import words
from analysis.figures.style import (
    CLICK_HINT,
    DIFFERENCE_SCALE,
    FLAT_BAR,
    MASS_SCALE,
    METHOD_LOOKS,
    PER_CENT,
    REFERENCE,
    SELECTED,
    SERIES_COLORS,
    SYMBOLS,
    as_text,
    cell_texts,
    color_bar,
    dots,
    flat_color_bar,
    layout,
    named_ticks,
    series_color,
    tick_step,
    without_grid,
    wrapped,
    write_cells,
)

_WRITTEN_RUNS = 10  # up to this many runs, every two of them carry their number
_WRITTEN_CELLS = 80  # up to this many cells a grid carries its numbers
# Cells (rows, columns) that a picture has pixels for on a screen of 1280, by how pictures are placed.
_STACKED, _IN_A_GRID = (192, 640), (320, 320)
_BESIDE = 192
# Of names beneath cells, the first at which none meets its neighbour. They end at their cell: one that began there
# would be cut off beneath the last.
_ANGLES = [0, -30, -90]
_PROJECTION = 30  # pixels of a row
_BESIDE_DOT = 64  # pixels for the number of a dot at the end of its row
_ROOM = 1.05  # of the largest share, where its axis ends at least
_IN_WORDS = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "gate_proj": "MLP gate",
    "up_proj": "MLP up",
    "down_proj": "MLP down",
}
MATRICES = "Attention: query, key, value, output; MLP: gate, up, down."
"""The rows of `changed_by_projection` in a sentence."""


@dataclass(frozen=True)
class Grid:
    """One number per cell, (L, C), NaN if there is none. hover: a line of text per cell, (L, C), or None."""

    title: str
    values: np.ndarray
    hover: np.ndarray | None = None


def grids(
    shown: Sequence[Grid],
    name: str,
    columns: str | Sequence[str],
    signed: bool = False,
    selected: tuple[int, int] | None = None,
    clickable: bool = False,
    percent: bool = True,
    top: float = 0.0,
    unit: str = "points",
    bar_title: str = "",
) -> go.Figure:
    """Draw layer × head or layer × projection grids side by side on one colour scale, the measured one first.

    columns: name of a column ('head'), or of each. signed: around 0, blue below and red above. selected: the cell of
    the first grid to outline. clickable: its hover says so; x is the column, y the layer. percent: the numbers are
    shares. top: least upper end of an unsigned scale. unit: of signed numbers, hundredths. bar_title: of the colour
    bar, if not the name with its unit.
    """
    several, (layers, count) = len(shown) > 1, shown[0].values.shape
    figure = make_subplots(
        1,
        len(shown),
        # In short lines, so that they do not collide on a phone.
        subplot_titles=[wrapped(grid.title, max(40 // len(shown), 12)) for grid in shown] if several else None,
        horizontal_spacing=0.05,
        shared_yaxes=True,
    )
    figure.update_annotations(font_size=12)
    largest = float(max(np.abs(grid.values[np.isfinite(grid.values)]).max(initial=0) for grid in shown))
    decimals = 0 if largest >= 0.1 else 1 if largest >= 0.02 else 2  # that fit a cell, fewer with several grids
    share = (f"%{{z:.{decimals}f}}" if several else "%{z:.3~g}") + PER_CENT
    number = "%{text}" if signed else share if percent else "%{z:.2~g}"
    for index, grid in enumerate(shown, 1):
        scaled = (100 if percent else 1) * grid.values
        figure.add_heatmap(
            # Signed numbers are differences, in points as they are written, so that none reads −0.
            z=np.asarray(np.round(100 * grid.values, 2) + 0.0 if signed else scaled, np.float32),
            coloraxis="coloraxis",
            # Written here, as Plotly's formats have a hyphen for a minus.
            text=cell_texts(lambda share: _signed(share, decimals), grid.values).tolist() if signed else None,
            hovertext=_hover(grid, name, columns, signed, percent, unit).tolist(),
            hovertemplate="%{hovertext}<extra></extra>",
            # Of no size, so that the browser fits it into the cells, also on a phone.
            texttemplate=number if grid.values.size <= _WRITTEN_CELLS else None,
            xgap=1,
            ygap=1,
            row=1,
            col=index,
        )
    if clickable:
        figure.data[0].hovertemplate = "%{hovertext}" + CLICK_HINT + "<extra></extra>"
    if selected is not None:
        y, x = selected
        box = {"x0": x - 0.5, "x1": x + 0.5, "y0": y - 0.5, "y1": y + 0.5}
        figure.add_shape(type="rect", **box, line={"color": SELECTED, "width": 3}, row=1, col=1)
    # Above one grid that carries its numbers, which on a phone it would take a third of the width from.
    is_flat = not several and layers * count <= _WRITTEN_CELLS
    height = max(260, min(640, 90 + (30 if layers > 16 else 33) * layers)) + FLAT_BAR * is_flat
    layout(figure, "", "", height)
    top = max(largest, top, 1e-9) * (100 if signed or percent else 1)
    in_percent = percent and not signed
    bar = (flat_color_bar if is_flat else color_bar)(
        bar_title or (f"{name}, {unit}" if signed else name),
        in_percent,
        "~g" if not in_percent else ".2~f" if top < 5 else ".0f",
    )
    axis = {"colorscale": DIFFERENCE_SCALE if signed else MASS_SCALE, "cmin": -top if signed else 0, "cmax": top}
    whole = figure.layout
    whole.coloraxis, whole.dragmode = {**axis, "colorbar": bar}, False
    whole.margin.t = 46 if several else FLAT_BAR if is_flat else 12
    called, ticks = "projection", named_ticks(_short(columns))
    if isinstance(columns, str):
        called, ticks = columns, {"dtick": 16 if count > 64 else tick_step(count)}
    without_grid(figure, layers, count)
    figure.update_xaxes(title_text=called, autotickangles=_ANGLES, **ticks)
    # The marks of a theme would lie upon the grid to the left.
    figure.update_yaxes(dtick=tick_step(layers), ticks="")
    figure.update_yaxes(title_text="layer", col=1)
    return write_cells(figure)


def _short(columns: Sequence[str]) -> list[str]:
    """Return names of projections for ticks, without the `_proj` that all share."""
    return [as_text(column.removesuffix("_proj")) for column in columns]


def _signed(share: float, decimals: int) -> str:
    """Return a difference in hundredths with its sign, none of which is −0; '' where there is none."""
    return "" if np.isnan(share) else f"{round(100 * share, decimals) + 0.0:+.{decimals}f}".replace("-", "−")


def _hover(grid: Grid, name: str, columns: str | Sequence[str], signed: bool, percent: bool, unit: str) -> np.ndarray:
    lines = np.empty(grid.values.shape, object)
    for (layer, column), value in np.ndenumerate(grid.values):
        where = f"{columns} {column}" if isinstance(columns, str) else as_text(columns[column])
        unsigned = words.percent(value, 3) if percent else f"{value:.3g}"
        number = ("none" if np.isnan(value) else f"{_signed(value, 3)} {unit}") if signed else unsigned
        more = f"<br>{grid.hover[layer, column]}" if grid.hover is not None else ""
        lines[layer, column] = f"layer {layer}, {where}<br>{name} {number}{more}"
    return lines


def beyond(title: str, values: np.ndarray, floor: np.ndarray, lines: np.ndarray | None, name: str) -> Grid:
    """Return a grid of values minus their floor, (L, C), for a signed scale: below it blue, above it red. The hover
    shows both numbers, called `name`, and `lines`.
    """

    def told(value: float, seed: float) -> str:
        return f"{name} {words.percent(value, 3)}, another calibration seed {words.percent(seed, 3)}"

    hover = cell_texts(told, values, floor)
    return Grid(title, values - floor, hover if lines is None else hover + "<br>" + lines)


@dataclass(frozen=True)
class Changed:
    """Shares of weights that are decided differently: of each projection over all layers (P,), and layer by layer
    (L, P), NaN where a layer has no such projection. is_floor: of another calibration seed."""

    name: str
    whole: np.ndarray
    layers: np.ndarray
    is_floor: bool = False


def changed_by_projection(shown: Sequence[Changed], names: Sequence[str]) -> go.Figure:
    """Draw a row per projection, with a dot for all its layers together: filled dots of what changes the masks, hollow
    ones of another calibration seed. The hover has the range over layers. A dot that is alone in its row has its number
    beside it, at the end of a line from zero, and needs no legend.
    """
    figure, alone = go.Figure(), len(shown) == 1
    colors = iter(dict.fromkeys((METHOD_LOOKS["sink-wanda"].color, *SERIES_COLORS)))
    for one in shown:
        color = REFERENCE if one.is_floor else next(colors)
        there = np.flatnonzero(np.isfinite(one.whole))
        layers = one.layers[:, there]
        figure.add_scatter(
            x=(100 * one.whole[there]).astype(np.float32),
            y=there,
            mode="markers+text" if alone else "markers",
            name=as_text(one.name),
            marker=dots(color, 10, symbol="circle-open" if one.is_floor else "circle"),
            text=[f"\u2002{words.percent(one.whole[place], 2)}" for place in there.tolist()] if alone else None,
            textposition="middle right",
            error_x=_from_zero(100 * one.whole[there], color) if alone else None,
            cliponaxis=False,
            hovertext=[f"{as_text(names[place])}: {words.percent(one.whole[place])}" for place in there.tolist()],
            customdata=(100 * np.stack([np.nanmin(layers, 0), np.nanmax(layers, 0)], axis=1)).astype(np.float32),
            hovertemplate=f"%{{hovertext}}<br>layers %{{customdata[0]:.2f}} to %{{customdata[1]:.2f}}{PER_CENT}"
            "<extra>%{fullData.name}</extra>",
        )
    layout(figure, "weights chosen differently", "", 92 + _PROJECTION * len(names), legend=not alone)
    largest = 100 * max((np.nanmax(one.whole, initial=0.0) for one in shown), default=0.0)
    step = _round_up(_ROOM * largest / 2)
    figure.update_xaxes(range=[0, 2 * step], dtick=step, tickangle=0, zeroline=False, ticksuffix=PER_CENT)
    if alone:
        figure.update_layout(margin={"t": 8, "r": _BESIDE_DOT})
    rows = named_ticks(in_words(names))
    figure.update_yaxes(**rows, range=[len(names) - 0.5, -0.5], zeroline=False, showgrid=not alone)
    return figure


def _round_up(value: float) -> float:
    """Return the least of 1, 2 and 5, at any power of ten, that is as large; 1 for 0."""
    power = 10.0 ** np.floor(np.log10(value)) if value > 0 else 1.0
    return float(next(digit * power for digit in (1, 2, 5, 10) if digit * power >= value))


def in_words(names: Sequence[str]) -> list[str]:
    """Return projections as figures of the discount name them."""
    return [_IN_WORDS.get(name) or short for name, short in zip(names, _short(names), strict=True)]


def _from_zero(values: np.ndarray, color: str) -> dict[str, Any]:
    """Return lines from zero to the dots at these values."""
    length = {"symmetric": False, "array": np.zeros(len(values), np.float32), "arrayminus": values.astype(np.float32)}
    return {"type": "data", **length, "color": color, "thickness": 2, "width": 0}


def floor_lines(independent: np.ndarray) -> np.ndarray:
    """Return each cell's share in independent masks as a line for its hover."""
    return cell_texts(lambda value: f"independent masks {words.percent(value, 1)}", independent)


def spread_lines(spread: np.ndarray) -> np.ndarray:
    """Return each cell's spread of independent masks as a line for its hover."""
    return cell_texts(lambda value: f"independent masks ±{100 * value:.3f} points", spread)


def overlap_lines(values: np.ndarray, chance: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return every pair of runs, their overlap and that of independent masks, as lines for the hover."""

    def told(value: float, by_chance: float, row: int, column: int) -> str:
        beside = "" if row == column else f"<br>independent masks {by_chance:.4f}"
        return f"{as_text(names[row])}<br>{as_text(names[column])}<br>Jaccard {value:.4f}{beside}"

    return cell_texts(told, values, chance, *np.indices(values.shape))


def over_depth(lines: Mapping[str, np.ndarray], floors: Mapping[str, np.ndarray], y_title: str, log: bool) -> go.Figure:
    """Draw one line per group of projections over the layers, (L,), and a dashed one per floor."""
    figure = go.Figure()
    dashes = ("dash", "dot", "dashdot")
    for index, (name, values) in enumerate([*lines.items(), *floors.items()]):
        floor = index >= len(lines)
        later = max(len(lines) - 1 - index, 0)  # Earlier lines are wider, so that overlapping ones hide nothing.
        figure.add_scatter(
            x=np.arange(len(values)),
            y=100 * np.asarray(values, np.float32),
            name=as_text(name),
            mode="lines" if floor else "lines+markers",
            marker={"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 6 + 3 * later},
            line={
                "color": REFERENCE if floor else series_color(index),
                "dash": dashes[(index - len(lines)) % len(dashes)] if floor else "solid",
                "width": 2 + later,
            },
            hovertemplate=f"%{{y:.3f}}{PER_CENT}",
        )
    layout(figure, "layer", y_title, 340, legend=True)
    figure.update_layout(hovermode="x unified")
    figure.update_xaxes(dtick=tick_step(len(next(iter(lines.values())))))
    scale = (
        {"type": "log", "dtick": "D2", "tickformat": ".2~g"} if log else {"rangemode": "tozero", "tickformat": ".2~f"}
    )
    figure.update_yaxes(title_standoff=24, ticksuffix=PER_CENT, **scale)
    return figure


@dataclass(frozen=True)
class Picture:
    """A mask, or the difference of two, in blocks: shares −1 … 1, (rows, columns). signed: a difference."""

    title: str
    shares: np.ndarray
    signed: bool = False


def room(rows: int, columns: int) -> tuple[int, int]:
    """Return how many cells (rows, columns) of a matrix's picture fit on a screen.

    The browser would thin out more, so that two nearly equal masks look different.
    """
    return _STACKED if _is_wide(rows, columns) else _IN_A_GRID


def _is_wide(rows: float, columns: float) -> bool:
    return columns >= 2 * rows


def _places(count: int, rows: int, columns: int) -> tuple[int, int]:
    """Return rows and columns of pictures: wide matrices in one column; small ones side by side, else two by two."""
    if _is_wide(rows, columns):
        return count, 1
    return (1, count) if count <= 3 and columns <= _BESIDE else (-(-count // 2), 2)


def pictures(shown: Sequence[Picture], height: int, width: int, first: tuple[int, int] = (0, 0)) -> go.Figure:
    """Draw pictures of one projection's masks that zoom together. height, width: weights per cell. first: output and
    input feature of the first cell, if part of the matrix is shown.
    """
    rows, columns = shown[0].shares.shape
    places = _places(len(shown), rows * height, columns * width)
    figure = make_subplots(
        *places,
        subplot_titles=[wrapped(picture.title, 8) for picture in shown],  # a phone gives each 50 pixels
        shared_xaxes="all",
        shared_yaxes="all",
        horizontal_spacing=0.04,
        vertical_spacing=0.08,
    )
    for index, picture in enumerate(shown):
        # Percent in one byte per cell: a quarter of float32's size.
        percent = np.rint(picture.shares * 100).astype(np.int8 if picture.signed else np.uint8)
        said = "second − first %{z:+d} points" if picture.signed else "%{z} %"
        figure.add_heatmap(
            z=percent,
            x0=first[1] + (width - 1) / 2,
            dx=width,
            y0=first[0] + (height - 1) / 2,
            dy=height,
            coloraxis="coloraxis2" if picture.signed else "coloraxis",
            hovertemplate=f"output %{{y}}, input %{{x}}<br>{picture.title}: {said}<extra></extra>",
            row=index // places[1] + 1,
            col=index % places[1] + 1,
        )
    tall = {1: 240, 2: 410, 3: 350}[places[1]]
    layout(figure, "", "", tall * places[0] + 120)
    top = max([1, *(int(np.abs(np.rint(picture.shares * 100)).max()) for picture in shown if picture.signed)])
    # Two bars share the height at the right, so that the pictures keep the width.
    upper, lower = (
        color_bar(title) | {"len": 0.5, "y": middle, "yanchor": "middle"}
        for title, middle in (("share pruned (%)", 0.77), ("second − first (points)", 0.23))
    )
    figure.update_layout(
        coloraxis={"colorscale": MASS_SCALE, "cmin": 0, "cmax": 100, "colorbar": upper},
        coloraxis2={"colorscale": DIFFERENCE_SCALE, "cmin": -top, "cmax": top, "colorbar": lower},
        margin_t=46,
    )
    figure.update_annotations(font_size=13)
    without_grid(figure)
    figure.update_xaxes(range=[first[1] - 0.5, first[1] + columns * width - 0.5])
    figure.update_yaxes(range=[first[0] + rows * height - 0.5, first[0] - 0.5])
    figure.update_xaxes(title_text=wrapped("input feature", 8), row=places[0])
    figure.update_yaxes(title_text="output feature", title_standoff=18, col=1)
    return figure


def overlap_matrix(values: np.ndarray, names: Sequence[str], hover: np.ndarray) -> go.Figure:
    """Draw the Jaccard index of every pair of runs, (K, K), with a line of text per cell."""
    # Numbered, as names in full beneath the columns leave no room for the cells, and two runs may be called the same.
    numbers = [str(place) for place in range(1, len(names) + 1)]
    named = [f"{number} · {wrapped(name, 16)}" for number, name in zip(numbers, names, strict=True)]
    written = len(names) <= _WRITTEN_RUNS
    figure = go.Figure(
        go.Heatmap(
            z=np.asarray(values, np.float32),
            colorscale=MASS_SCALE,
            zmin=0,
            zmax=1,
            colorbar=(flat_color_bar if written else color_bar)("Jaccard index"),
            text=hover.tolist(),
            texttemplate="%{z:.3f}" if written else None,
            hovertemplate="%{text}<extra></extra>",
            xgap=1,
            ygap=1,
        )
    )
    layout(figure, "run", "", max(320, min(720, 170 + 52 * len(names))) + FLAT_BAR * written)
    figure.update_layout(margin_t=FLAT_BAR if written else 10)
    without_grid(figure)
    figure.update_xaxes(**named_ticks(numbers))
    figure.update_yaxes(autorange="reversed", **named_ticks(named))
    return write_cells(figure)
