"""What keeps figures readable on a phone: titles in short lines, and no bar beside cells that carry their numbers."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.figures import masks
from analysis.figures.dynamics import kinds_over_steps, small_multiples
from analysis.figures.style import MASS_SCALE


def test_titles_of_small_multiples_stand_in_short_lines():
    names = ("step 0", "random weights", "step 31", "step 47")
    for count, titles in (
        (4, ["step 0", "random<br>weights", "step 31", "step 47"]),
        (2, ["step 0", "random weights"]),
    ):
        grids = dict.fromkeys(names[:count], np.zeros((2, 3)))
        figure = small_multiples(grids, "mass", MASS_SCALE, True)
        assert [note.text for note in figure.layout.annotations] == titles


def test_panels_beside_each_other_have_no_marks_that_would_lie_upon_their_neighbours():
    figure = small_multiples({"step 0": np.zeros((2, 3)), "step 1": np.zeros((2, 3))}, "mass", MASS_SCALE, True)
    beside = masks.grids([masks.Grid("a", np.zeros((2, 3))), masks.Grid("b", np.zeros((2, 3)))], "share", "head")
    for panels in (figure, beside):
        assert [axis.ticks for axis in panels.select_yaxes()] == ["", ""]


def test_names_beneath_cells_end_at_their_cell_so_that_the_last_is_not_cut_off():
    figure = masks.grids([masks.Grid("", np.ones((2, 3)))], "output error", ["q_proj", "k_proj", "down_proj"])
    assert max(figure.layout.xaxis.autotickangles) <= 0


def test_titles_of_masks_beside_each_other_stand_in_short_lines():
    shown = [masks.Picture("first", np.ones((4, 4))), masks.Picture("second − first", np.ones((4, 4)), signed=True)]
    figure = masks.pictures(shown, 1, 1)
    assert [note.text for note in figure.layout.annotations] == ["first", "second −<br>first"]
    assert figure.layout.xaxis.title.text == "input<br>feature"


@pytest.mark.parametrize(("largest", "written"), [(0.4, "+40"), (0.05, "+5.0"), (0.004, "+0.40")])
def test_differences_have_as_many_decimals_as_cells_have_room_for(largest, written):
    values = np.full((2, 3), largest)
    shown = [masks.Grid("a", values), masks.Grid("b", values)]
    figure = masks.grids(shown, "difference", "head", signed=True)
    assert {text for each in figure.data if each.texttemplate for text in np.ravel(each.text)} == {written}
    assert figure.layout.coloraxis.colorbar.title.text == "difference, points"


def test_shares_of_several_grids_are_written_in_whole_percents_where_they_are_large():
    shown = [masks.Grid("a", np.full((2, 3), 0.351)), masks.Grid("b", np.full((2, 3), 0.029))]
    figure = masks.grids(shown, "sink strength", "head")
    assert {trace.texttemplate for trace in figure.data if trace.texttemplate} == {"%{z:.0f}%{text}"}
    faint = masks.grids([replace(each, values=each.values / 10) for each in shown], "sink strength", "head")
    assert {trace.texttemplate for trace in faint.data if trace.texttemplate} == {"%{z:.1f}%{text}"}
    alone = masks.grids(shown[:1], "sink strength", "head")
    assert {trace.texttemplate for trace in alone.data if trace.texttemplate} == {"%{z:.3~g}%{text}"}
    assert {unit for trace in alone.data if trace.texttemplate for unit in np.ravel(trace.text)} == {" %"}


def test_titles_of_panels_beside_each_other_stand_in_short_lines():
    counts = np.ones((4, 2))
    beside = kinds_over_steps({"a": counts, "b": counts}, ["x", "y"], "step, from most to fewest masks")
    assert beside.layout.xaxis2.title.text == "step, from most<br>to fewest masks"
    assert kinds_over_steps({"a": counts}, ["x", "y"]).layout.xaxis.title.text == "denoising step"


def test_one_grid_that_carries_its_numbers_has_its_bar_above_it_where_it_takes_no_width():
    figure = masks.grids([masks.Grid("", np.ones((2, 3)))], "sparsity beyond the whole", "head", signed=True)
    bar = figure.layout.coloraxis.colorbar
    assert (bar.orientation, bar.title.text) == ("h", "sparsity beyond the whole, points")
    relative = masks.grids([masks.Grid("", np.ones((2, 3)))], "change", "head", signed=True, unit="%")
    assert relative.layout.coloraxis.colorbar.title.text == "change, %"
    assert relative.data[0].hovertext[0][0].endswith("+100.000 %")
    large = masks.grids([masks.Grid("", np.ones((40, 32)))], "mask disagreement", "head")
    assert large.layout.coloraxis.colorbar.orientation is None
    assert figure.layout.xaxis.title.text == large.layout.xaxis.title.text == "head"
