"""Figures: what a reader sees follows from the arrays, and every axis is named."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.figures import causes, dynamics, experts, tuning
from analysis.figures import sinks as figures
from analysis.figures.causes import outcome_bars
from analysis.figures.interval_layout import IntervalRow
from analysis.figures.intervals import interval_rows
from analysis.figures.style import PER_CENT, REFERENCE, as_text, block_reduce, cell_texts, shorten, token_axis
from pages.parts.charts import Point


def every_figure():
    rng = np.random.default_rng(0)
    mass = rng.random((5, 9)).astype(np.float32)
    labels = [f"t{index}" for index in range(9)]
    flags = mass > 0.8
    return {
        "head_grid": figures.head_grid(rng.random((3, 4)), "sink strength"),
        "mass_over_steps": figures.mass_over_steps(mass, labels, flags, [labels] * 5),
        "attention_map": figures.attention_map(rng.random((9, 9)), labels),
        "curves": dynamics.curves([dynamics.Series("a", np.arange(5), mass.T)], "step", "count", 2),
        "variances": dynamics.variances([dynamics.Cloud("a", mass[0], mass[1], labels, range(len(labels)))], True),
        "position_bars": dynamics.position_bars(mass[0], labels, labels, "variance"),
        "kinds_over_steps": dynamics.kinds_over_steps({"one": flags[:, :2].astype(int)}, ("a", "b")),
        "outcome_bars": outcome_bars({"a": {"nothing": 1.0, "sinks": 0.4}}, "agreement", True),
    }


@pytest.mark.parametrize("name", list(every_figure()))
def test_axes_are_named_and_arrays_are_not_half_precision(name):
    figure = every_figure()[name]
    assert figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text
    for trace in figure.data:
        for axis in ("x", "y", "z"):
            values = getattr(trace, axis, None)
            assert getattr(values, "dtype", None) != np.float16
    for trace in figure.data:
        if trace.type == "heatmap" and trace.coloraxis is None:
            assert trace.colorbar.title.text


def test_a_grid_cell_says_its_number_and_what_its_head_attends_to_most():
    grid = np.arange(6).reshape(2, 3) / 10
    assert figures.head_grid(grid, "strength").data[0].text[1][1] == "40.0 %"
    assert {each.texttemplate for each in figures.head_grid(grid, "strength").data if each.texttemplate} == {
        "%{z:.0f}%{text}"
    }
    null = np.full((2, 3), 0.15)
    marked = figures.head_grid(grid, "strength", null=null).data[1]
    assert (
        len(marked.x) == int((grid <= 0.15).sum())
        and marked.name == "not above untrained, equally sharp (at most 15 %)"
    )
    figure = figures.head_grid(grid, "strength", names=[["a", "b", "c"], ["d", "<b>", "f"]])
    assert figure.data[0].text[1][1] == "40.0 %<br>most attention: &lt;b&gt;"


def test_maps_and_grids_stand_as_their_arrays_do():
    """The first row is on top and the first column on the left, whatever is drawn."""
    rng = np.random.default_rng(0)
    attention, mass, heads = rng.random((4, 4)), rng.random((5, 4)), rng.random((2, 3))
    drawn = {
        "attention map": (attention, figures.attention_map(attention, list("abcd"))),
        "mass over steps": (mass, figures.mass_over_steps(mass, list("abcd"), mass > 2, None)),
        "heads": (100 * heads, figures.head_grid(heads, "strength")),
    }
    for name, (array, figure) in drawn.items():
        np.testing.assert_allclose(np.array(figure.data[0].z, float), array, rtol=1e-6, err_msg=name)
        first, last = figure.layout.yaxis.range or (1, 0)
        assert first > last or figure.layout.yaxis.autorange == "reversed", name
        left, right = figure.layout.xaxis.range or (0, 1)
        assert left < right, name


def test_shares_are_in_per_cent_with_a_space_before_the_sign():
    one = dynamics.Series("a", np.arange(2), np.array([[0.5, 1]]), low=np.array([0.25, 0.5]), high=np.array([0.75, 1]))
    drawn = dynamics.curves([one], "step", "share", percent=True)
    band, line = drawn.data
    assert list(line.y) == [50, 100] and list(band.y) == [75, 100, 50, 25]
    figure = experts.layer_lines({"unused": np.array([0.5, 0.25])}, [0, 1])
    assert list(figure.data[0].y) == [50, 25]
    grid = dynamics.small_multiples({"a": np.full((2, 2), 0.5)}, "share", ["#000", "#fff"], True, 0.5)
    assert grid.data[0].z[0][0] == grid.layout.coloraxis.cmid == 50
    lens = causes.lens_map(np.array([[0.5]]), [["a"]], ["0 a"], np.array([False])).data[0]
    assert lens.z[0][0] == 50 and lens.zmax == 100
    assert drawn.layout.yaxis.ticksuffix == figure.layout.yaxis.ticksuffix == lens.colorbar.ticksuffix == PER_CENT


def test_a_clicked_cell_is_its_layer_and_head():
    heads = np.arange(6).reshape(2, 3) / 10
    drawn = figures.head_grid(heads, "strength")
    assert (drawn.layout.yaxis.title.text, drawn.layout.xaxis.title.text) == ("layer", "head")
    layer, head = Point(x=2, y=1, customdata=None).cell  # the column and the row that Plotly names
    assert heads[layer, head] == heads[1, 2] == pytest.approx(float(drawn.data[0].z[1][2]) / 100)


def test_padding_leaves_gaps_in_a_heads_heatmap():
    mass = np.full((3, 4), np.nan, np.float32)
    mass[:, :2] = 1
    figure = figures.mass_over_steps(mass, list("abcd"), np.zeros((3, 4), bool), None)
    assert np.isnan(figure.data[0].z[:, 2:]).all()
    assert figure.data[0].hoverongaps is False
    assert len(figure.data) == 1, "no legend for sinks that are not there"


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 30))
def test_blocks_are_means_and_fit_the_limit(rows, columns, limit):
    values = np.random.default_rng(rows * 61 + columns).random((rows, columns)).astype(np.float32)
    reduced, height, width = block_reduce(values, limit)
    assert max(reduced.shape) <= limit
    for row in range(reduced.shape[0]):
        for column in range(reduced.shape[1]):
            block = values[row * height : (row + 1) * height, column * width : (column + 1) * width]
            assert reduced[row, column] == pytest.approx(block.mean(), rel=1e-4)


def test_long_texts_get_numbers_and_white_space_is_visible():
    assert token_axis(["a"] * 500)["labelalias"]["17"] == "17 ‘a’"
    assert token_axis(["a", "b"])["ticktext"] == ["0 ‘a’", "1 ‘b’"]
    assert token_axis(["a", "b"], later={1})["ticktext"] == ["0 ‘a’", "1"]
    assert token_axis([" ", ""])["ticktext"] == ["0 ‘␣’", "1"], "a token that is not there yet has no name"
    assert "ticktext" not in token_axis(["a", "b"], most=1)
    assert shorten("  \n") == "⏎"
    assert shorten(" ") == "␣"
    assert shorten("abcdefghijklmnop") == "abcdefghi…"


def test_curves_run_from_left_to_right_and_show_mean_and_range():
    one = dynamics.Series("a", np.array([0.5, 0.1, 0.9]), np.array([[5.0, 1.0, 9.0], [7.0, 3.0, np.nan]]))
    figure = dynamics.curves([one], "x", "y")
    band, line = figure.data
    assert list(line.x) == [0.1, 0.5, 0.9]
    assert list(line.y) == [2.0, 6.0, 9.0]
    assert list(band.y) == [3.0, 7.0, 9.0, 9.0, 5.0, 1.0]
    assert "range of 2" in line.name


def test_a_curve_that_lies_beneath_another_is_wider_and_seen_on_both_sides():
    steps, values = np.arange(3), np.array([[10.0, 20.0, np.nan]])
    far = dynamics.Series("random weights", steps, np.zeros((1, 3)), reference=True)
    drawn = dynamics.curves(
        [dynamics.Series("dense", steps, values), dynamics.Series("pruned", steps, values + 0.1), far], "step", "rank"
    )
    assert [trace.line.width for trace in drawn.data] == [6, 2, 2]
    apart = dynamics.curves([dynamics.Series("a", steps, values), dynamics.Series("b", steps, values + 2)], "x", "y")
    assert [trace.line.width for trace in apart.data] == [2, 2]
    level = dynamics.curves(
        [dynamics.Series(name, steps, np.ones((1, 3))) for name in "ab"], "step", "agreement", percent=True
    )
    assert [trace.line.width for trace in level.data] == [6, 2]
    assert level.layout.yaxis.rangemode == "tozero" and drawn.layout.yaxis.rangemode is None


def test_the_curve_of_a_discount_lies_over_its_bars_with_ticks_of_its_own():
    line = np.linspace(0, 1, 3)
    axes = tuning.discount_curves({"a": (line, line, line, line)}, np.ones(2), 2.0).layout
    assert (axes.yaxis.overlaying, axes.yaxis2.overlaying) == ("y2", None)
    assert (axes.yaxis.tickmode, axes.yaxis.dtick) == ("linear", 0.2), "an overlaying axis else takes the other's ticks"


def test_a_few_experts_are_all_named():
    assert experts.load_grid(np.full((2, 8), 0.125), [1, 2]).layout.xaxis.dtick == 1
    assert experts.load_grid(np.full((2, 64), 1 / 64), [1, 2]).layout.xaxis.dtick is None


def test_log_axes_name_as_many_ticks_as_there_is_room_for():
    near = dynamics.Cloud("a", np.array([0.1, 0.5]), np.array([0.01, 0.0]), ["layer 0, head 1", "y"], [0, 1])
    far = dynamics.Cloud("b", np.array([1e-6, np.nan]), np.array([0.1, 0.2]), ["x", "y"], [0, 1], reference=True)
    figure = dynamics.variances([near, far], log=True)
    assert (figure.layout.xaxis.dtick, figure.layout.yaxis.dtick) == (1, "D2")
    assert dynamics.variances([near], log=True).layout.xaxis.dtick == "D1"  # less than a decade has one 2 or 5, or none
    assert dynamics.variances([near], log=False).layout.xaxis.type is None
    named, grey = figure.data
    assert list(named.text) == ["L0 H1", "y"] and list(named.marker.color) == [0, 1] and grey.marker.color == REFERENCE
    assert list(named.customdata[1]) == [0, 1]


def test_the_colours_of_layers_are_named_by_whole_numbers():
    ticks = {}
    for layers in (1, 3, 8, 32):
        line = np.linspace(0.1, 0.5, layers)
        bar = dynamics.variances([dynamics.Cloud("a", line, line, ["x"] * layers, range(layers))], True)
        ticks[layers] = (bar.layout.coloraxis.colorbar.tick0, bar.layout.coloraxis.colorbar.dtick)
    assert ticks == {1: (0, 1), 3: (0, 1), 8: (0, 1), 32: (0, 4)}


# --- text from outside ------------------------------------------------------------------------------------------

HOSTILE = "<a href='http://evil.test'>x</a> <b>%{x}</b> &lt;"


def hostile_figures():
    """Every figure that shows names or tokens, given hostile ones."""
    from analysis.evaluation.curves import RunningMean
    from analysis.figures import accuracy, masks, pruning, tuning

    mass, grid = np.ones((2, 3), np.float32), np.full((2, 2), 0.5)
    labels, line = [HOSTILE] * 3, np.linspace(0, 1, 3)
    curve = RunningMean(HOSTILE, np.arange(1, 4), line, line, line)
    return [
        figures.head_grid(grid, "strength", names=[labels[:2]] * 2),
        figures.mass_over_steps(mass, labels, mass > 0, [labels] * 2),
        figures.attention_map(np.ones((3, 3)), labels),
        dynamics.curves([dynamics.Series(HOSTILE, line, mass)], "step", "count"),
        dynamics.variances([dynamics.Cloud(HOSTILE, line, line, labels, range(len(labels)))], False),
        dynamics.position_bars(mass[0], labels, labels, "variance"),
        dynamics.kinds_over_steps({HOSTILE: np.ones((2, 1), int), "b": np.ones((2, 1), int)}, ("word",)),
        outcome_bars({HOSTILE: {"nothing": 1.0}}, "agreement", True),
        accuracy.running([curve], ["#111111"], "accuracy"),
        interval_rows(
            [IntervalRow(HOSTILE, 1, 0, 2, HOSTILE, group, hover=(HOSTILE,)) for group in (HOSTILE, "b")],
            f"against {HOSTILE}",
            even=HOSTILE,
        ),
        masks.grids([masks.Grid(HOSTILE, grid), masks.Grid("b", grid)], "changed", [HOSTILE] * 2, clickable=True),
        masks.over_depth({HOSTILE: line}, {"b": line}, "share", False),
        masks.overlap_matrix(grid, [HOSTILE] * 2, masks.overlap_lines(grid, grid, [HOSTILE] * 2)),
        pruning.sparsity_grid(grid, [HOSTILE] * 2),
        pruning.layer_profiles({HOSTILE: line}),
        pruning.phase_bar([(HOSTILE, 1.0)]),
        tuning.history([0.1], [HOSTILE], {"published": 0.1}, "error", False, 3, 4, 2e-4),
        tuning.discount_curves({HOSTILE: (line, line, line, line)}, np.ones(2), 2.0),
        tuning.score_shifts([{"a": np.arange(5.0)}], {"a": HOSTILE}),
    ]


def test_names_and_tokens_are_drawn_as_text():
    for figure in hostile_figures():
        drawn = figure.to_json().encode().decode("unicode_escape")
        assert "evil" in drawn or "&lt;a" in drawn, figure.data[0].type
        for markup in ("<a ", "</a>", "<b>%", "%{x}</b>", "</b>"):
            assert markup not in drawn.replace(f"<b>{as_text(HOSTILE)}</b>", ""), (figure.data[0].type, markup)


def test_a_cell_without_a_number_warns_nobody():
    with warnings.catch_warnings(action="error"):
        assert cell_texts(lambda value: str(value - value), np.array([np.inf])).tolist() == ["nan"]


@pytest.mark.parametrize(("size", "named"), [(36, 36), (59, 30), (64, 32)])
def test_names_of_a_map_have_room(size: int, named: int) -> None:
    shown = figures.attention_map(np.ones((size, size)), [f"t{place}" for place in range(size)]).layout
    for axis in (shown.xaxis, shown.yaxis):
        assert len(axis.tickvals) == len(axis.ticktext) == named
        assert axis.ticktext[-1] == f"{axis.tickvals[-1]} ‘t{axis.tickvals[-1]}’"
    assert (shown.height - 150) / named > 11, "pixels of each"
