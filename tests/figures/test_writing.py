"""The marks of what is written when."""

import numpy as np
import plotly.graph_objects as go

from analysis.figures.writing import MOST_MARKS, mark_writing


def marked(open_block, shape=(4, 6), **flags):
    arrays = {name: np.zeros(shape, bool) for name in ("written", "edited", "taken_back")} | flags
    figure = mark_writing(go.Figure(), np.array(open_block), **arrays)
    return {trace.name: trace for trace in figure.data}


def test_the_open_block_is_outlined_once_for_each_stretch_of_steps():
    border = marked([[2, 4], [2, 4], [4, 6], [4, 6]])["open block"]
    first, second = np.array(border.x[:5]), np.array(border.x[6:11])
    assert (first.min(), first.max()) == (1.5, 3.5) and (second.min(), second.max()) == (3.5, 5.5)
    assert border.y[:5] == (-0.5, -0.5, 1.5, 1.5, -0.5) and border.y[6] == 1.5
    assert border.x[5] is None and border.y[5] is None


def test_tokens_appended_one_by_one_have_no_border():
    assert "open block" not in marked([[2, 3], [3, 4], [4, 5], [5, 6]])


def test_marks_stand_where_and_when_it_happens():
    written, edited = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    written[1, 3], edited[2, 5] = True, True
    traces = marked([[2, 6]] * 4, written=written, edited=edited)
    assert (list(traces["written in this step"].x), list(traces["written in this step"].y)) == ([3], [1])
    assert (list(traces["edited in this step"].x), list(traces["edited in this step"].y)) == ([5], [2])
    assert "taken back in this step" not in traces


def test_more_marks_than_can_be_seen_are_left_out():
    shape = (2, MOST_MARKS)
    assert "written in this step" not in marked([[0, 4]] * 2, shape, written=np.ones(shape, bool))
