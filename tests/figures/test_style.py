"""The colours of figures: told apart by readers with each kind of colour vision, and readable on both themes' pages."""

import re
import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from colorspacious import cspace_convert, deltaE

from analysis.figures import experts, masks, pruning, sinks, sweep
from analysis.figures.explorer import colors_js, explorer_css
from analysis.figures.intervals import FAINT
from analysis.figures.style import (
    DIFFERENCE,
    KIND_COLORS,
    MASS_SCALE,
    METHOD_LOOKS,
    ON_DARK,
    REFERENCE,
    SELECTED,
    SERIES_COLORS,
    SINK,
    SYMBOLS,
    cell_colors,
    colors_by_method,
    ink_on,
    log_ticks,
    looks_by_method,
)
from analysis.sinks.definitions import KINDS
from analysis.specs import METHODS

METHOD_COLORS = {method: look.color for method, look in METHOD_LOOKS.items()}

APART = 15  # CAM02-UCS, in which 1 is about the least that is seen
AGAINST_PAGE = 3  # contrast of what a figure draws, WCAG 2.2, 1.4.11
PALETTES = {
    "kinds": (*KIND_COLORS[: len(KINDS)], REFERENCE, SINK),
    "kinds on a dark page": (*(ON_DARK[color] for color in KIND_COLORS[: len(KINDS)]), REFERENCE, SINK),
    "series": (*SERIES_COLORS, REFERENCE),
    "methods": (*METHOD_COLORS.values(), REFERENCE),
}


def rgb(color: str) -> np.ndarray:
    return np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    part = rgb(color)
    return float(np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722))


def contrast(first: str, second: str) -> float:
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def seen(color: str, vision: str | None) -> np.ndarray:
    """A colour as it is seen with one kind of cone missing (Machado, Oliveira & Fernandes 2009)."""
    if vision is None:
        return rgb(color)
    space = {"name": "sRGB1+CVD", "cvd_type": vision, "severity": 100}
    return np.clip(cspace_convert(rgb(color), space, "sRGB1"), 0, 1)


@pytest.mark.parametrize("vision", [None, "protanomaly", "deuteranomaly"])
@pytest.mark.parametrize("palette", PALETTES)
def test_colors_are_told_apart(palette: str, vision: str | None) -> None:
    apart = {
        (first, second): deltaE(seen(first, vision), seen(second, vision), input_space="sRGB1")
        for first, second in combinations(PALETTES[palette], 2)
    }
    assert min(apart.values()) >= APART, min(apart, key=lambda pair: apart[pair])


def test_colors_stand_out_on_the_pages_of_both_themes() -> None:
    theme = tomllib.loads((Path(__file__).parents[2] / ".streamlit/config.toml").read_text())["theme"]
    for mode in ("light", "dark"):
        page = theme[mode]["backgroundColor"]
        assert min(contrast(color, page) for color in SERIES_COLORS) >= AGAINST_PAGE - 0.02, mode
        band = "#" + "".join(f"{round(255 * part):02x}" for part in FAINT * rgb(REFERENCE) + (1 - FAINT) * rgb(page))
        grey = ON_DARK[DIFFERENCE] if mode == "dark" else DIFFERENCE
        assert min(contrast(grey, behind) for behind in (page, band)) >= AGAINST_PAGE, mode
        assert contrast(REFERENCE, page) >= AGAINST_PAGE, f"dots of single seeds, {mode}"
        assert contrast(SELECTED, page) >= AGAINST_PAGE, f"what is chosen, and whiskers on bars, {mode}"
    assert min(contrast(SELECTED, end) for end in (MASS_SCALE[0], MASS_SCALE[-1])) >= AGAINST_PAGE


def test_kinds_stand_out_on_a_dark_page_and_words_no_more_than_they_must() -> None:
    page, dark = "#10141d", [ON_DARK[color] for color in KIND_COLORS]
    assert min(contrast(color, page) for color in dark) >= AGAINST_PAGE - 0.02
    assert contrast(dark[-1], page) < 3.3, "the brightest mark of a dark figure is not what recedes in it"
    inks = {"#000": "#000000", "#fff": "#ffffff"}
    assert min(contrast(inks[ink_on(color)], color) for color in (*dark, *KIND_COLORS)) >= 4.5


def test_every_method_and_kind_has_a_color_of_its_own() -> None:
    assert set(METHOD_COLORS) <= {"dense", *METHODS}
    assert len(set(colors_by_method(["dense", *METHODS][: len(SERIES_COLORS)]))) == len(SERIES_COLORS)
    assert len(set(METHOD_COLORS.values())) == len({look.symbol for look in METHOD_LOOKS.values()}) == len(METHOD_LOOKS)
    assert len(KIND_COLORS) >= len(KINDS) and SERIES_COLORS[1] not in KIND_COLORS, "the orange of sinks is no kind's"
    assert len(set(SYMBOLS)) == len(SYMBOLS)


def test_sinks_and_their_discount_share_one_color_on_pages_slides_and_in_files() -> None:
    drawn = re.findall(r"\bsink: \W?(#\w+)", colors_js()) + re.findall(r"--sink: (#\w+)", explorer_css())
    assert len(drawn) == 5 and {*drawn, METHOD_COLORS["sink-wanda"]} == {SINK}


def test_a_second_run_of_a_method_has_a_color_that_no_method_beside_it_has() -> None:
    colors = colors_by_method(["dense", "sink-wanda", "wanda", "sink-wanda", "of another table"])
    assert colors[:3] == [METHOD_COLORS[method] for method in ("dense", "sink-wanda", "wanda")]
    assert len(set(colors)) == 5
    looks = looks_by_method(["wanda", "sink-wanda", "sink-wanda"])
    assert (
        looks[:2] == [METHOD_LOOKS["wanda"], METHOD_LOOKS["sink-wanda"]] and len({look.symbol for look in looks}) == 3
    )


GRIDS = {
    "mass": lambda values: sinks.head_grid(values, "share"),
    "around a centre": lambda values: sinks.head_grid(4 * values, "norm", percent=False, centre=1.0),
    "sparsity": lambda values: pruning.sparsity_grid(values, [f"p{row}" for row in range(values.shape[1])]),
    "differences": lambda values: masks.grids(
        [masks.Grid("a", values - 0.5), masks.Grid("b", 0.5 - values)], "difference", "head", signed=True
    ),
    "overlap": lambda values: masks.overlap_matrix(values, list("abcdefgh"), values.astype(str)),
    "sweep": lambda values: sweep.grid_map(values, list("abcdefgh"), list("abcdefgh"), "x", "y"),
}


@pytest.mark.parametrize("name", GRIDS)
def test_what_cells_say_is_read_on_every_cell(name: str) -> None:
    values = np.linspace(0, 1, 64).reshape(8, 8)
    values[0, 3] = np.nan
    figure = GRIDS[name](values)
    written = [trace for trace in figure.data if trace.type == "heatmap" and trace.texttemplate]
    assert {trace.textfont.color for trace in written} == {"#000000", "#ffffff"}
    for whole in [trace for trace in figure.data if trace.type == "heatmap" and not trace.texttemplate]:
        upon = [trace for trace in written if trace.xaxis == whole.xaxis]
        assert (sum(np.isfinite(trace.z) for trace in upon) == np.isfinite(whole.z)).all(), "each cell is written once"
        for trace in upon:
            cells = np.isfinite(trace.z)
            assert "%{text}" in trace.texttemplate and "} " not in trace.texttemplate, "no unit without a number"
            told = np.vectorize(str.strip)(trace.text)
            assert ((told != "") <= cells).all(), "a text or unit stands in a cell of its own"
            others = np.array(trace.text)[~cells & np.isfinite(whole.z)]
            assert set(others) <= {"\u00a0"}, "Plotly fits letters to the distance between texts"
            drawn = cell_colors(figure, trace)[cells]
            np.testing.assert_allclose(drawn, cell_colors(figure, whole)[cells], atol=1e-6)
            for color in drawn:
                hexed = "#" + "".join(f"{round(255 * part):02x}" for part in color)
                assert contrast(trace.textfont.color, hexed) >= 4.5, (hexed, trace.textfont.color)


@pytest.mark.parametrize("name", GRIDS)
def test_every_heatmap_has_its_bar_of_colours(name: str) -> None:
    figure = GRIDS[name](np.linspace(0, 1, 64).reshape(8, 8))
    bars = [trace.colorbar for trace in figure.data if trace.coloraxis is None and trace.showscale is not False]
    if figure.layout.coloraxis.colorscale is not None:
        bars.append(figure.layout.coloraxis.colorbar)
    assert [bool(bar.title.text) for bar in bars] == [True]


def test_colours_have_two_ends_as_plotly_takes_neither_of_one_alone() -> None:
    values = np.linspace(0.3, 0.9, 12).reshape(4, 3)
    for figure in (
        experts.route(np.round(values), values, [1, 2, 3], list("abcd")),
        experts.load_grid(values, [0, 1, 2, 3]),
        sinks.head_grid(values, "share"),
    ):
        for trace in figure.data:
            if trace.type == "heatmap":
                assert trace.zmin == 0 and trace.zmax is not None
                assert trace.zmax == figure.data[0].zmax, "the bar's colours are those of the cells"


def test_three_values_at_least_are_named_on_a_logarithmic_scale() -> None:
    named = {(1.0, 1e6): 7, (12.0, 40.0): 3, (4.0, 44.0): 3, (12.1, 12.9): 3, (5.0, 5.0): 3}
    for (low, high), count in named.items():
        ticks = log_ticks(np.log10(low), np.log10(high))
        assert len(ticks) == count
        assert (ticks >= low * 0.999).all() and (ticks <= high * 1.001).all()
