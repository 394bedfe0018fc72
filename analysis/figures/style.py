"""Colours and layout shared by every figure: one meaning, one colour, legible on light and dark pages."""

import itertools
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

# Attention mass and strength: dark = little, bright = much; even in lightness, safe for colour-blind readers.
MASS_SCALE = ["#141a3c", "#24418a", "#2477a8", "#36a796", "#8fce69", "#f8ee9a"]
# Differences of two masks: blue = the second keeps more, red = it prunes more. The grey middle reads on both themes.
DIFFERENCE_SCALE = ["#1b4fa0", "#5a90d8", "#cfd4dc", "#e27f6a", "#a81f2d"]
SINK = "#e5600f"  # and the discount on them
TOKEN = "#5b8def"
REFERENCE = "#8a94a6"
DIFFERENCE = "#737d90"  # of two methods, which has the colour of neither
SELECTED = "#e83e8c"
# Told apart by protanopes and deuteranopes too, from the grey of references as well, and against both themes' pages.
SERIES_COLORS = ("#3097ff", SINK, "#38a778", "#5048e7", "#c70008", "#785887", "#586858")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star")
# Of tokens, in the order of `KINDS`: words recede. None is the orange of sinks, nor a red that says that something is
# wrong.
KIND_COLORS = ("#5048e7", "#0b6b5a", "#963a8a", "#3daef2", "#26384a", "#c0c5cc")
# What a dark page shows in place of a colour: words recede there, too, and all else stands out.
ON_DARK = dict(zip(KIND_COLORS, ("#5048e7", "#4ccf92", "#876097", "#3daef2", "#c3ccd8", "#646567"), strict=True)) | {
    DIFFERENCE: "#97a1b3"
}


def with_tool_bar(script: str) -> str:
    """Put the functions of the figures' tool bar and of their colours on dark pages into a script that draws some,
    where it says `%TOOL_BAR%`.
    """
    colors = json.dumps({color: (dark, ink_on(dark)) for color, dark in ON_DARK.items() if dark != color})
    on_dark = _ON_DARK_JS.read_text(encoding="utf-8").replace("%ON_DARK%", colors)
    return script.replace("%TOOL_BAR%", f"{_TOOL_BAR.read_text(encoding='utf-8')}\n{on_dark}")


def on_page(color: str, ink: bool = False) -> str:
    """Return a colour as CSS that follows the page's theme. ink: that of numbers on it instead."""
    pair = [ink_on(each) if ink else each for each in (color, ON_DARK.get(color, color))]
    return pair[0] if pair[0] == pair[1] else f"light-dark({', '.join(pair)})"


class Look(NamedTuple):
    """Colour and symbol of a series."""

    color: str
    symbol: str


# A method looks the same on all pages; unlisted ones take what their figure leaves.
METHOD_LOOKS = {
    "dense": Look("#586858", "cross"),
    "magnitude": Look("#785887", "triangle-up"),
    "wanda": Look("#3097ff", "circle"),
    "wanda-noised": Look("#5048e7", "square"),
    "sink-wanda": Look(SINK, "diamond"),
    "sparsegpt": Look("#38a778", "star"),
    "sink-sparsegpt": Look("#c70008", "hexagon"),
}
_TOOL_BAR, _ON_DARK_JS = (Path(__file__).with_name(f"{name}.js") for name in ("tool_bar", "on_dark"))
# On a phone only every third of many ticks is named: names that stand upright need 11 pixels each. Hidden, they keep
# the margin that Plotly has measured for them.
PAGE_STYLE = (
    "@media (max-width:640px){.js-plotly-plot :has(>.xtick:nth-child(26))>.xtick:not(:nth-child(3n+1)) text"
    "{visibility:hidden}}"
) + _TOOL_BAR.with_suffix(".css").read_text(encoding="utf-8")
"""Style of figures and their tool bar, for pages, exported files and reports."""
PER_CENT = " %"  # after values of an axis in per cent: Plotly's own formats have no space before the sign
_MOST_TICKS = 16  # of layers, heads or columns up to which each is named
_LEAST_TICKS = 3  # by which a reader sees that a scale is logarithmic
_NEARLY = 1e-6  # of a power that is computed from its logarithm
_EVEN = 0.179  # the luminance that contrasts as much with black as with white
_BLANK = "\u00a0"  # what a cell says that another trace writes
CLICK_HINT = "<br><i>click to open</i>"

FLAT_BAR = 54  # pixels of an upper margin that holds a colour bar
MAX_CELLS = 1024  # a heatmap's side; more would be finer than the screen
MAX_TICK_LABELS = 64  # of tokens along the whole width of a page
NARROW_TICK_LABELS = 28  # the same along half of it


def layout(figure: go.Figure, x: str, y: str, height: int, legend: bool | None = None) -> go.Figure:
    """Set axis titles, margins and a horizontal legend above the plot. legend: whether to show it; by default where
    there is more than one series.
    """
    # Property by property: `update_layout` looks every name up along its path, which takes twenty times as long.
    whole = figure.layout
    whole.height, whole.uirevision, whole.hoverlabel.align, whole.showlegend = height, "keep", "left", legend
    margin, key = whole.margin, whole.legend
    margin.l, margin.r, margin.t, margin.b = 8, 8, 34, 8
    key.orientation, key.yanchor, key.y, key.xanchor, key.x = "h", "bottom", 1.0, "left", 0
    whole.xaxis.title.text, whole.yaxis.title.text = x, y
    for axis in figure.select_xaxes():
        axis.automargin, axis.title.standoff = True, 8
    for axis in figure.select_yaxes():
        axis.automargin, axis.title.standoff, axis.exponentformat = True, 22, "power"
    return figure


def without_grid(figure: go.Figure, rows: int | None = None, columns: int | None = None) -> None:
    """Draw no lines through cells. rows, columns: show as many from the upper left, whole."""
    across, down = (None if columns is None else [-0.5, columns - 0.5]), (None if rows is None else [rows - 0.5, -0.5])
    for axes, ends in ((figure.select_xaxes(), across), (figure.select_yaxes(), down)):
        for axis in axes:
            axis.showgrid, axis.zeroline, axis.range = False, False, ends


def tick_step(count: int) -> int:
    """Return the distance of the ticks of layers, heads or columns, of which many are not named one by one."""
    return 1 if count <= _MOST_TICKS else 4


def named_ticks(names: Sequence[str]) -> dict[str, Any]:
    """Return the ticks of an axis that names the places from 0 on."""
    return {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": list(names)}


def series_color(place: int) -> str:
    """Return the colour of a series by its place."""
    return SERIES_COLORS[place % len(SERIES_COLORS)]


def grey_line(dash: str | None = None, width: float = 1.5) -> dict[str, Any]:
    """Return the line of a reference."""
    return {"color": REFERENCE, "width": width, "dash": dash}


def dots(color: str, size: int, filled: Iterable[bool] = (), symbol: str = "circle") -> dict[str, Any]:
    """Return markers with a rim, of one size whether they are filled or not. filled: which are; all without."""
    symbols = [symbol if full else f"{symbol}-open" for full in filled]
    return {"size": size, "color": color, "line": {"width": 2, "color": color}, "symbol": symbols or symbol}


def ends(estimate: Any, scale: float = 1.0) -> tuple[float, float, float]:
    """Return value, low and high of an estimate."""
    return scale * estimate.value, scale * estimate.low, scale * estimate.high


def ends_of(estimates: Iterable[Any], scale: float = 1.0) -> np.ndarray:
    """Return the same of several, (3, N)."""
    return np.array([ends(one, scale) for one in estimates], float).reshape(-1, 3).T


def band(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, color: str, opacity: float = 0.18, **more: Any
) -> go.Scatter:
    """Draw the area between two curves, (N,) each, where both are known."""
    there = np.isfinite(low) & np.isfinite(high)
    x, low, high = x[there], low[there], high[there]
    return go.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([high, low[::-1]]).astype(np.float32),
        fill="toself",
        mode="none",
        fillcolor=color,
        opacity=opacity,
        hoverinfo="skip",
        **{"showlegend": False} | more,
    )


def looks_by_method(methods: Sequence[str]) -> list[Look]:
    """Return a look for each series by its method: the method's own, or, if another series has that already or it has
    none, a colour and a symbol that no method here has.
    """
    named = [METHOD_LOOKS[method] for method in methods if method in METHOD_LOOKS]
    colors, symbols = {look.color for look in named}, {look.symbol for look in named}
    spare_colors = itertools.cycle([color for color in SERIES_COLORS if color not in colors] or SERIES_COLORS)
    spare_symbols = itertools.cycle([symbol for symbol in SYMBOLS if symbol not in symbols] or SYMBOLS)
    first = {method: place for place, method in reversed(list(enumerate(methods)))}
    return [
        METHOD_LOOKS[method]
        if method in METHOD_LOOKS and first[method] == place
        else Look(next(spare_colors), next(spare_symbols))
        for place, method in enumerate(methods)
    ]


def colors_by_method(methods: Sequence[str]) -> list[str]:
    """Return the colours of `looks_by_method`."""
    return [look.color for look in looks_by_method(methods)]


def color_bar(title: str, percent: bool = False, tick_format: str = "~g") -> dict:
    """Return a colour bar with its title along the side, so that it takes no width from the plot. percent: of values in
    per cent.
    """
    return {
        "title": {"text": title, "side": "right"},
        "thickness": 12,
        "outlinewidth": 0,
        "tickformat": tick_format,
        "ticksuffix": PER_CENT if percent else "",
    }


def flat_color_bar(title: str, percent: bool = False, tick_format: str = "~g") -> dict:
    """Return a colour bar in the upper margin, of `FLAT_BAR`: on a phone it takes no width from the cells."""
    # Placed by the whole figure: where it pushes a margin, Plotly draws the axis title upon the ticks.
    place = {"orientation": "h", "xref": "paper", "xpad": 0, "yref": "container", "y": 1, "yanchor": "top", "ypad": 2}
    return (
        color_bar(title, percent, tick_format)
        | place
        | {"title": {"text": title, "side": "top"}, "thickness": 8, "nticks": 5}
    )


def log_ticks(low: float, high: float) -> np.ndarray:
    """Return values to name on a logarithmic scale from 10**low to 10**high: the coarsest round ones that give
    three.
    """
    powers = 10.0 ** np.arange(np.floor(low), np.ceil(high) + 1)
    for digits in ((1,), (1, 2, 5), range(1, 10), np.arange(1, 10, 0.5)):
        ticks = np.outer(powers, digits).ravel()
        inside = ticks[(ticks >= 10**low * (1 - _NEARLY)) & (ticks <= 10**high * (1 + _NEARLY))]
        if len(inside) >= _LEAST_TICKS:
            return inside
    return 10 ** np.linspace(low, high, _LEAST_TICKS)


def token_axis(labels: list[str], most: int = MAX_TICK_LABELS, later: Collection[int] = (), every: int = 1) -> dict:
    """Return ticks, and hover text, that read as position and token; one per position if `most` allows, or of every so
    many. A token not there yet has an empty label, and no name. later: positions that held something else before, shown
    by number alone.
    """
    names = [
        f"{position} ‘{shorten(label)}’" if label and position not in later else str(position)
        for position, label in enumerate(labels)
    ]
    if len(labels) > most:
        return {"labelalias": {str(position): name for position, name in enumerate(names)}}
    return {
        "tickmode": "array",
        "tickvals": list(range(0, len(labels), every)),
        "ticktext": names[::every],
        "tickangle": -90,
        "tickfont": {"size": 10},
    }


def interval_bar(value: np.ndarray, low: np.ndarray, high: np.ndarray, **look: Any) -> dict[str, Any]:
    """Return the error bar of estimates with their intervals, (N,) each. look: thickness, width of the caps, color."""
    ends = {"array": np.asarray(high - value, np.float32), "arrayminus": np.asarray(value - low, np.float32)}
    return {"type": "data", "symmetric": False, "thickness": 2, "width": 5, **ends, **look}


def add_notes(figure: go.Figure, notes: Sequence[Mapping[str, Any]]) -> None:
    """Add annotations at once. With each one that is added alone, Plotly reads all others anew."""
    figure.layout.annotations += tuple(map(go.layout.Annotation, notes))


def shorten(label: str, width: int = 10) -> str:
    """Return a token as a tick label: white space made visible, long ones cut, its own marks as text."""
    visible = label.replace("\n", "⏎").strip() or "␣"
    return as_text(visible if len(visible) <= width else visible[: width - 1] + "…")


def as_text(label: str) -> str:
    """Return text from outside so that Plotly shows it literally: it reads `<…>` as markup, and `%{…}` as a number's
    place.
    """
    return escape(label, quote=False).replace("%{", "%&#123;")


def wrapped(label: str, width: int) -> str:
    """Wrap text from outside to lines of at most `width` characters: Plotly cuts titles that are wider than their
    plot.
    """
    return "<br>".join(as_text(line) for line in wrap(label, width))


def cell_texts(write: Callable[..., str], *values: np.ndarray) -> np.ndarray:
    """Return a text per cell, from the values of each."""
    arrays = np.broadcast_arrays(*values)
    texts = np.empty(arrays[0].size, object)
    with np.errstate(invalid="ignore"):  # a text of NaN is no mistake
        texts[:] = [write(*cell) for cell in zip(*(each.flat for each in arrays), strict=True)]
    return texts.reshape(arrays[0].shape)


def block_reduce(values: np.ndarray, limit: int = MAX_CELLS) -> tuple[np.ndarray, int, int]:
    """Average blocks of a matrix until neither side exceeds `limit`. Return it with the block's height and width.

    NaN cells are left out of their block's mean; an all-NaN block stays NaN.
    """
    rows, columns = (-(-size // limit) for size in values.shape)
    if rows == columns == 1:
        return values, 1, 1
    padded = np.full((-(-values.shape[0] // rows) * rows, -(-values.shape[1] // columns) * columns), np.nan, np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    counts = np.isfinite(blocks).sum(axis=(1, 3))
    return np.nansum(blocks, axis=(1, 3)) / np.where(counts, counts, np.nan), rows, columns


def write_cells(figure: go.Figure) -> go.Figure:
    """Draw the texts in heatmap cells in black or white, whichever contrasts more with the cell.

    A heatmap has one text colour, so two overlaid heatmaps write its text, one for the cells of each colour.
    """
    for written in [trace for trace in figure.data if isinstance(trace, go.Heatmap) and trace.texttemplate]:
        values = np.asarray(written.z, float)
        is_light = _luminance(cell_colors(figure, written)) > _EVEN
        # Both ends, as Plotly takes neither of one alone: the bar would name other colours than the cells have.
        low, high = (None, None) if written.coloraxis else cell_range(written)
        written.update(zmin=low, zmax=high, zmid=None)
        template = written.texttemplate
        own = "%{text}" in template
        number, _, unit = template.rpartition("}")
        there = np.isfinite(values)
        for cells, ink in ((is_light, "#000000"), (~is_light, "#ffffff")):
            if (cells & there).any():
                figure.add_trace(
                    go.Heatmap(written).update(
                        z=np.where(cells, values, np.nan).astype(np.float32),
                        # Written where there is no value, too; a blank there keeps letters to the width of one cell.
                        text=np.where(cells, written.text, _BLANK) if own else np.where(cells & there, unit, _BLANK),
                        texttemplate=template if own else f"{number}}}%{{text}}",
                        textfont={"color": ink},
                        showscale=False,
                        hoverinfo="skip",
                        hovertemplate=None,
                    )
                )
        written.update(texttemplate=None)
    return figure


def cell_range(heatmap: go.Heatmap) -> tuple[float, float]:
    """Return the values at the ends of a heatmap's own colours, as Plotly chooses them by default."""
    values = np.asarray(heatmap.z, float)
    values = values[np.isfinite(values)] if np.isfinite(values).any() else np.zeros(1)
    low, high = (
        given if given is not None else end
        for given, end in ((heatmap.zmin, values.min()), (heatmap.zmax, values.max()))
    )
    if heatmap.zmid is not None:
        reach = max(heatmap.zmid - low, high - heatmap.zmid)
        low, high = heatmap.zmid - reach, heatmap.zmid + reach
    return float(low), float(high)


def cell_colors(figure: go.Figure, heatmap: go.Heatmap) -> np.ndarray:
    """Return the colour of each of a heatmap's cells, (rows, columns, 3) in 0 … 1; of missing ones that of the
    lowest.
    """
    axis = figure.layout[heatmap.coloraxis] if heatmap.coloraxis else heatmap
    low, high = (axis.cmin, axis.cmax) if heatmap.coloraxis else cell_range(heatmap)
    share = np.clip((np.nan_to_num(np.asarray(heatmap.z, float), nan=low) - low) / max(high - low, 1e-12), 0, 1)
    ends, colors = zip(*axis.colorscale, strict=True)
    parts = np.array([[int(color[place : place + 2], 16) for place in (1, 3, 5)] for color in colors]) / 255
    return np.stack([np.interp(share, ends, part) for part in parts.T], axis=-1)


def _luminance(colors: np.ndarray) -> np.ndarray:
    """Return the relative luminance of sRGB colours (…, 3), WCAG 2.2."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return linear @ np.array((0.2126, 0.7152, 0.0722))


def ink_on(color: str) -> str:
    """Return black or white, whichever contrasts more with a colour, `#rrggbb`."""
    channels = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return "#000" if _luminance(channels) > _EVEN else "#fff"
