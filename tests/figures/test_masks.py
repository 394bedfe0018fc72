"""Figures of masks: colours mean the same everywhere, cells say what they are, pictures are small to send."""

import numpy as np
import pytest

from analysis.figures import masks as figures
from analysis.figures.style import CLICK_HINT, DIFFERENCE_SCALE, MASS_SCALE


def colors(figure, axis="coloraxis"):
    return [color for _, color in figure.layout[axis].colorscale]


def test_a_measure_and_its_floor_share_one_scale_from_zero():
    measured, floor = np.array([[0.1, 0.2]]), np.array([[0.4, 0.05]])
    figure = figures.grids([figures.Grid("measured", measured), figures.Grid("seeds", floor)], "disagreement", "head")
    assert {trace.coloraxis for trace in figure.data} == {"coloraxis"}
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, pytest.approx(40))
    assert colors(figure) == MASS_SCALE
    assert [text.text for text in figure.layout.annotations] == ["measured", "seeds"]
    assert figure.layout.xaxis.title.text == "head"
    assert figure.layout.yaxis.title.text == "layer"


def test_differences_are_blue_below_zero_and_red_above_it_with_zero_in_the_middle():
    figure = figures.grids([figures.Grid("d", np.array([[-0.01, 0.04]]))], "sparsity", "head", signed=True)
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (pytest.approx(-4), pytest.approx(4))
    assert figure.layout.coloraxis.colorbar.title.text.endswith("points")
    assert "+4.000 points" in figure.data[0].hovertext[0][1] and "−1.000 points" in figure.data[0].hovertext[0][0]
    assert colors(figure) == DIFFERENCE_SCALE
    red, blue = (lambda color, part: int(color[part : part + 2], 16)), DIFFERENCE_SCALE[0]
    assert red(blue, 5) > red(blue, 1)
    assert red(DIFFERENCE_SCALE[-1], 1) > red(DIFFERENCE_SCALE[-1], 5)


def test_a_difference_that_rounds_to_nothing_is_not_written_as_minus_zero():
    figure = figures.grids([figures.Grid("d", np.array([[-1e-6, 0.04]]))], "sparsity", "head", signed=True)
    assert not np.signbit(figure.data[0].z[0][0]) and "+0.000 points" in figure.data[0].hovertext[0][0]


def test_cells_write_differences_with_their_sign_and_the_minus_as_wide_as_the_plus():
    values = np.array([[-0.0128, 0.004], [-1e-6, np.nan]])
    figure = figures.grids([figures.Grid("d", values)], "sparsity", "head", signed=True)
    written = [trace.text for trace in figure.data if trace.texttemplate == "%{text}"]
    assert sorted(filter(str.strip, np.ravel(written))) == ["+0.00", "+0.40", "−1.28"]


def test_a_grid_of_nothing_but_zeros_or_gaps_is_drawn():
    figure = figures.grids([figures.Grid("d", np.array([[0.0, np.nan]]))], "disagreement", "head")
    assert figure.layout.coloraxis.cmax > 0
    assert "nan" in figure.data[0].hovertext[0][1]


def test_cells_say_where_they_are_and_what_chance_shows():
    floors = figures.floor_lines(np.array([[0.5, 0.5]]))
    grid = figures.Grid("g", np.array([[0.25, 0.125]]), floors)
    figure = figures.grids([grid], "disagreement", ["q_proj", "down_proj"], selected=(0, 1), clickable=True)
    text = figure.data[0].hovertext[0][1]
    for part in ("layer 0, down_proj", "12.500 %", "independent masks 50.0 %"):
        assert part in text
    assert figure.data[0].hovertemplate.startswith("%{hovertext}" + CLICK_HINT)
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].y0) == (0.5, -0.5)
    assert list(figure.layout.xaxis.ticktext) == ["q", "down"], "short enough to lie flat"


def test_what_lies_beyond_the_floor_stands_on_the_diverging_scale_and_says_both_numbers():
    values, floor = np.array([[0.25, 0.125]]), np.array([[0.15, 0.225]])
    grid = figures.beyond("", values, floor, figures.floor_lines(np.full((1, 2), 0.5)), "disagreement")
    figure = figures.grids([grid], "beyond two seeds", "head", signed=True)
    np.testing.assert_allclose(figure.data[0].z, [[10, -10]])
    assert colors(figure) == DIFFERENCE_SCALE and figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    assert "disagreement 25.000 %, another calibration seed 15.000 %<br>independent masks 50.0 %" in grid.hover[0, 0]


def test_colours_reach_what_chance_gives_though_no_cell_does():
    figure = figures.grids([figures.Grid("d", np.array([[0.0043, 0.002]]))], "disagreement", "head", top=0.5)
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 50)


def test_depth_draws_floors_dashed_and_zero_only_on_a_plain_axis():
    lines, floors = (
        {"all": np.array([0.0, 0.1])},
        {"seeds": np.array([0.01, 0.01]), "independent": np.array([0.5, 0.5])},
    )
    figure = figures.over_depth(lines, floors, "disagreement", log=True)
    assert [trace.line.dash for trace in figure.data] == ["solid", "dash", "dot"]
    assert figure.layout.yaxis.type == "log"
    assert figures.over_depth(lines, floors, "disagreement", log=False).layout.yaxis.rangemode == "tozero"


def pictured(shape, height=1, width=1):
    share = np.linspace(0, 1, shape[0] * shape[1]).reshape(shape).astype(np.float32)
    shown = [figures.Picture("first", share), figures.Picture("second − first", share - 1, signed=True)]
    return figures.pictures(shown, height, width), share


def test_pictures_send_one_byte_a_cell_and_place_blocks_where_their_weights_are():
    figure, share = pictured((5, 4), height=3, width=2)
    first, difference = figure.data
    assert (first.z.dtype, difference.z.dtype) == (np.uint8, np.int8)
    np.testing.assert_array_equal(first.z, np.rint(share * 100))
    np.testing.assert_array_equal(difference.z, np.rint((share - 1) * 100))
    assert (first.y0, first.dy, first.x0, first.dx) == (1.0, 3, 0.5, 2)  # the middle of the first block's weights
    assert colors(figure, "coloraxis") == MASS_SCALE
    assert colors(figure, "coloraxis2") == DIFFERENCE_SCALE
    assert list(figure.layout.yaxis.range) == [14.5, -0.5]


def test_pictures_are_placed_by_their_shape():
    def placed(shape, count):
        share = np.zeros(shape, np.float32)
        figure = figures.pictures([figures.Picture(str(index), share) for index in range(count)], 1, 1)
        corners = {(trace.xaxis, trace.yaxis) for trace in figure.data}
        assert len(corners) == count
        across = {figure.layout[axis.replace("x", "xaxis")].domain for axis, _ in corners}
        down = {figure.layout[axis.replace("y", "yaxis")].domain for _, axis in corners}
        return len(down), len(across)

    assert placed((192, 192), 3) == (1, 3)
    assert placed((192, 576), 3) == (3, 1)
    assert placed((300, 300), 4) == (2, 2)
    assert placed((576, 192), 3) == (1, 3)
    assert figures.room(4096, 4096) == (320, 320)
    assert figures.room(4096, 12288) == (192, 640)


def test_a_part_of_a_matrix_keeps_its_own_feature_numbers():
    share = np.zeros((2, 3), np.float32)
    figure = figures.pictures([figures.Picture("first", share)], 1, 1, (10, 20))
    assert (figure.data[0].y0, figure.data[0].x0) == (10, 20)
    assert list(figure.layout.xaxis.range) == [19.5, 22.5]
    assert list(figure.layout.yaxis.range) == [11.5, 9.5]


def test_the_overlap_names_both_runs_in_every_cell():
    values = np.array([[1, 0.4], [0.4, 1]])
    lines = figures.overlap_lines(values, np.full((2, 2), 0.333), ["a", "b"])
    figure = figures.overlap_matrix(values, ["a", "b"], lines)
    assert figure.data[0].text[0][1] == "a<br>b<br>Jaccard 0.4000<br>independent masks 0.3330"
    assert "independent" not in figure.data[0].text[0][0]
    assert (figure.data[0].zmin, figure.data[0].zmax) == (0, 1)
    assert list(figure.layout.xaxis.ticktext) == ["1", "2"], "names in full beside the rows alone"
    assert list(figure.layout.yaxis.ticktext) == ["1 · a", "2 · b"]


def test_each_projection_has_a_dot_over_its_layers_and_a_name_in_words():
    layers = np.array([[0.01, 0.02], [0.03, np.nan]])
    mine = figures.Changed("with the discount", np.array([0.02, 0.02]), layers)
    seed = figures.Changed("another calibration seed", np.array([0.05, np.nan]), layers * 2, is_floor=True)
    figure = figures.changed_by_projection([mine, seed], ["q_proj", "down_proj"])
    assert list(figure.layout.yaxis.ticktext) == ["query", "MLP down"]
    assert figure.layout.xaxis.title.text == "weights chosen differently", "longer, it is cut beside the settings"
    first, floor = figure.data
    assert list(first.x) == pytest.approx([2, 2]) and list(floor.x) == pytest.approx([5])
    assert figure.layout.xaxis.range == (0, 10) and figure.layout.xaxis.dtick == 5, "the last tick is beyond all dots"
    assert first.customdata.tolist() == [pytest.approx([1, 3]), pytest.approx([2, 2])], "the range over layers"
    assert list(floor.y) == [0], "a projection that no layer has"
    assert (first.marker.symbol, floor.marker.symbol) == ("circle", "circle-open")
