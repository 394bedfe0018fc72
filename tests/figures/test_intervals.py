"""The figure of estimates with their intervals: every one in view, none beneath a name, significance by filling."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.figures.interval_layout import IntervalRow
from analysis.figures.intervals import Level, difference_row, interval_rows, way
from analysis.statistics.decisions import NATS
from analysis.statistics.differences import Difference

NUMBERS = st.floats(-1e3, 1e3).map(lambda drawn: round(drawn, 6))  # none too small for float32
LINE = 17  # pixels of a line of text


def test_an_estimate_stands_beneath_its_name_filled_where_it_is_significant() -> None:
    rows = [
        difference_row("as many", Difference(0.3, 0.1, 0.5, 30, 30), NATS, hover=("0.5, control 0.2",)),
        difference_row("equal <i>", Difference(0.1, -0.1, 0.3, 30, 30), NATS, filled=False),
    ]
    figure = interval_rows(rows, "nats", even="same as control")
    (drawn,) = figure.data
    ends = np.array(drawn.x) - drawn.error_x.arrayminus, np.array(drawn.x) + drawn.error_x.array
    np.testing.assert_allclose(ends, [[0.1, -0.1], [0.5, 0.3]], atol=1e-7)
    assert drawn.marker.symbol == ("circle", "circle-open")
    assert drawn.text[0] == "as many<br>+0.300 [+0.100, +0.500]<br>0.5, control 0.2"
    first, second, even = (note.text for note in figure.layout.annotations)
    assert (
        even == "same as control" and first == "as many <b>+0.300 [+0.100, +0.500]</b>" and "equal &lt;i&gt;" in second
    )
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes} == {(0, 0)}
    assert not figure.layout.showlegend
    assert figure.layout.minreducedheight < figure.layout.height - 50, (
        "Plotly's own puts the title on the ticks of a row"
    )


def test_words_stand_beneath_all_names_where_one_has_no_room_beside_its_name() -> None:
    rows = [IntervalRow(name, 0.1, 0.0, 0.2, "+0.1 [0.0, +0.2]") for name in ("short", "as long as it is on a phone")]
    assert [note.text.count("<br>") for note in interval_rows(rows, "points").layout.annotations] == [0, 0]
    rows.append(replace(rows[0], name="longer than a phone can show it"))
    assert [note.text.count("<br>") for note in interval_rows(rows, "points").layout.annotations] == [1, 1, 1]


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=6), st.floats(0, 10))
@settings(max_examples=30)
def test_every_estimate_is_in_view_and_no_name_stands_on_a_line_or_a_band(values, margin) -> None:
    rows = [
        IntervalRow(f"{'word ' * 12}{place}", value, value - abs(low), value + abs(high), "+1.0", points=(value,))
        for place, (value, low, high) in enumerate(values)
    ]
    figure = interval_rows(rows, "points", even="", margin=margin)
    low, high = figure.layout.xaxis.range
    assert all(low < row.value < high for row in rows) and low <= -margin <= margin <= high
    drawn = figure.data[0]
    ends = np.array(drawn.x) - drawn.error_x.arrayminus, np.array(drawn.x) + drawn.error_x.array
    room = 1e-3 * (high - low)
    assert (ends[0] >= low - room).all() and (ends[1] <= high + room).all()
    for name in figure.layout.annotations:
        foot = name.y + LINE * (name.text.count("<br>") + 1)
        assert all(shape.y0 >= foot or shape.y1 <= name.y for shape in figure.layout.shapes), "no line crosses a name"
    bottom, top = figure.layout.yaxis.range
    assert top == 0 and all(0 < y < bottom for one in figure.data for y in one.y)


def test_models_share_the_name_of_a_task_each_in_its_colour() -> None:
    rows = [IntervalRow(task, value, value - 1, value + 1, "+1", f"model {model}", color)
            for value, task in enumerate(("Average", "Agreement"))
            for model, color in enumerate(("#111111", "#222222"))]  # fmt: skip
    figure = interval_rows(rows, "points", even="no difference")
    assert [note.text for note in figure.layout.annotations] == ["Average", "Agreement", "no difference"]
    assert [(one.name, one.marker.color) for one in figure.data] == [("model 0", "#111111"), ("model 1", "#222222")]
    assert figure.layout.showlegend and len({y for one in figure.data for y in one.y}) == 4


@pytest.mark.parametrize(("half", "arrows"), [(0.8, 0), (40.0, 2)])
def test_an_interval_far_wider_than_all_else_ends_in_arrows(half: float, arrows: int) -> None:
    row = IntervalRow("50 %", 0.1, 0.1 - half, 0.1 + half, points=(0.0, 0.2))
    figure = interval_rows([row], "points", even="", margin=2.0)
    assert figure.layout.xaxis.range[1] < 20, "the axis holds seeds and band"
    assert sum(len(one.x) for one in figure.data if str(one.marker.symbol).startswith("triangle")) == arrows


def test_levels_have_no_line_begin_at_zero_where_asked_and_all_seeds_can_be_counted() -> None:
    row = IntervalRow("mean", 20.0, np.nan, np.nan, "20 %", points=(20.0, 20.0, 20.001))
    figure = interval_rows([row], "weights", unit=" %", from_zero=True)
    mean, seeds = figure.data
    assert not figure.layout.shapes and figure.layout.xaxis.range[0] == 0 and figure.layout.xaxis.ticksuffix == " %"
    assert len(set(zip(seeds.x, seeds.y, strict=True))) == 3 and len(set(seeds.y)) == 3
    assert list(mean.x) == [20] and not mean.error_x.array.any()
    assert interval_rows([row], "weights").layout.xaxis.range[0] > 0


def test_each_change_on_the_way_has_its_own_interval_around_no_change() -> None:
    points = np.array([[-4, -6, -2], [0, -1, 1], [-4, -7, -1]], float)
    figure = way(["one", "two", "Sink-Wanda"], points, "points", floor=0.5)
    changes, whole = figure.data
    assert list(changes.x) == [-4, 0] and list(whole.x) == [-4]
    assert list(changes.error_x.array) == [2, 1] and list(changes.error_x.arrayminus) == [2, 1]
    assert changes.marker.symbol == ("circle", "circle-open") and whole.name == "the whole way"
    names = [note.text for note in figure.layout.annotations]
    assert names == ["one <b>−4.0</b>", "two <b>+0.0</b>", "Sink-Wanda <b>−4.0</b>"]
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes} == {(0, 0), (-0.5, 0.5)}


SCORES = (
    IntervalRow(
        "Without <b>",
        90.0,
        85.0,
        95.0,
        color="#888888",
        points=(89.0, 91.0),
        section="50 % removed",
        beside=("90.0 %", "−3.0 [−8, +2]", "+1 <9"),
    ),
    IntervalRow("With", 91.0, np.nan, np.nan, color="#e5600f", section="50 % removed", beside=("91.0 %",)),
    IntervalRow("With", 72.0, 70.0, 74.0, color="#e5600f", section="70 % removed", beside=("72.0 %",)),
)
HEADING = ("accuracy", "minus dense", "discount minus this row")
LEVELS = (Level("dense 93.0 %", 93.0, "dash"), Level("chance 37.5 %", 37.5, "dot", needed=False))


def test_a_section_has_its_heading_and_each_row_its_numbers_beside_its_mark() -> None:
    rows = [replace(row, beside=row.beside[:2]) for row in SCORES]
    figure = interval_rows(rows, "accuracy, %", levels=LEVELS, heading=HEADING[:2])
    grey, orange, seeds = figure.data
    assert list(seeds.x) == [89, 91] and list(orange.x) == [91, 72]
    assert [note.text for note in figure.layout.annotations] == [
        "<b>50 % removed</b>",
        "Without &lt;b&gt;",
        "With",
        "<b>70 % removed</b>",
        "With",
        "<b>90.0 %</b><br>−3.0 [−8, +2]",
        "<b>91.0 %</b>",
        "<b>72.0 %</b>",
        "<b>accuracy</b><br>minus dense",
        "dense 93.0 %",
        "← chance 37.5 %",
    ]
    *numbers, head = [note for note in figure.layout.annotations if note.x == 1]
    middles = [note.y + LINE for note in numbers]
    assert middles == [*grey.y, *orange.y], "beside their marks, all from one line on"
    guides = [shape.y0 for shape in figure.layout.shapes if shape.y0 == shape.y1]
    assert guides == [*grey.y, *orange.y], "lead from a name to its numbers"
    assert numbers[0].y >= head.y + 2 * LINE, "the head does not touch what is beneath"
    assert numbers[0].y + 2 * LINE <= numbers[1].y, "nor numbers each other"
    [dashed] = [shape for shape in figure.layout.shapes if shape.x0 == shape.x1]
    assert (dashed.x0, dashed.line.dash) == (93.0, "dash"), "one line, as no name reaches it"
    low, high = figure.layout.xaxis.range
    assert 60 < low < 70 and 95 <= high <= 101 and figure.layout.margin.r > 80


def test_more_numbers_than_fit_beside_a_narrow_axis_stand_beneath_the_name_of_their_row() -> None:
    figure = interval_rows(SCORES, "accuracy, %", levels=LEVELS, heading=HEADING)
    *heads, head = figure.layout.annotations[:3]
    notes = figure.layout.annotations[3:]
    assert [each.text for each in (*heads, head)] == ["accuracy", "minus dense", "discount<br>minus this<br>row"]
    assert [note.text for note in notes] == [
        "<b>50 % removed</b>",
        *("Without &lt;b&gt;", "<b>90.0 %</b>", "−3.0 [−8, +2]", "+1 &lt;9"),
        *("With", "<b>91.0 %</b>", "–", "–"),
        "<b>70 % removed</b>",
        *("With", "<b>72.0 %</b>", "–", "–"),
        "dense 93.0 %",
        "← chance 37.5 %",
    ]
    starts = [note.xshift for note in (*heads, head)]
    assert [note.xshift for note in notes[2:5]] == starts == sorted(starts), "each beneath its title"
    section, name, *_, dense, chance = notes
    assert chance.y < dense.y < head.y - 3 * LINE < head.y <= section.y < name.y and figure.layout.margin.r < 20, (
        "the axis has all the width"
    )
    grey, orange, _ = figure.data
    guides = [shape.y0 for shape in figure.layout.shapes if shape.y0 == shape.y1]
    assert guides == [*grey.y, *orange.y] and grey.y[0] > name.y + 2 * LINE


def test_a_level_is_drawn_where_an_estimate_comes_near_and_none_makes_room_for_numbers() -> None:
    row = IntervalRow("No pruning", 40.0, 30.0, 50.0)
    near = interval_rows([row], "accuracy, %", levels=[Level("chance 37.5 %", 37.5, "dot", needed=False)])
    assert "chance 37.5 %" in {note.text for note in near.layout.annotations}
    assert {shape.x0 for shape in near.layout.shapes} == {37.5}
    levels = [Level("dense", 45.0, "dash"), Level("chance", 1.0, "dot", needed=False)]
    both = interval_rows([row], "accuracy, %", levels=levels)
    names = {note.text: note.y for note in both.layout.annotations}
    assert names["dense"] - names["← chance"] >= LINE and names["No pruning"] - names["dense"] >= LINE, "where narrow"
    assert not interval_rows([], "accuracy, %", even="no difference").data, "before the first item"
    alone = interval_rows([row], "accuracy, %")
    assert [note.text for note in alone.layout.annotations] == ["No pruning"] and alone.layout.margin.r < 20


def test_a_level_s_name_stands_over_its_line_where_the_figure_has_room() -> None:
    rows = [replace(row, beside=()) for row in SCORES]

    def shifts(value: float, name: str = "dense") -> tuple[float, float]:
        figure = interval_rows(rows, "accuracy, %", levels=[Level(name, value)])
        wide = figure.layout.meta["wide"]["layout"]["annotations"]
        [narrow] = [note.xshift for note in figure.layout.annotations if note.text == name]
        return narrow, next(note["xshift"] for note in wide if note["text"] == name)

    assert shifts(80.0) == (0, 0)
    narrow, wide = shifts(95.0, "the dense model of this family")
    assert narrow < -20 and wide < -20, "it would be cut at the right"
    narrow, wide = shifts(70.0, "the dense model of this family")
    assert narrow > 20 and wide == 0, "names of rows leave room at the left"
    figure = interval_rows(SCORES, "accuracy, %", levels=LEVELS[:1], heading=HEADING)
    [dense] = [note for note in figure.layout.meta["wide"]["layout"]["annotations"] if note["text"] == LEVELS[0].name]
    assert dense["xshift"] < -20, "clear of the title of the first column"


LONG = "3.1 tokens, 95 % masked, 10 % of attention"


def test_what_a_row_holds_stands_beneath_its_bold_name_and_lines_stop_at_names() -> None:
    rows = [
        IntervalRow("sinks <i>", 3.8, 3.1, 4.7, color="#111111", held=(LONG, "text ends"), beside=("3.8",)),
        IntervalRow("as many", 2.6, 2.3, 2.9, "", "", "#222222", False, held=(LONG, "ends"), beside=("2.6",)),
    ]
    figure = interval_rows(
        rows, "perplexity", from_zero=True, levels=[Level("nothing hidden: 2.4", 2.4)], heading=("value",)
    )
    names = [note for note in figure.layout.annotations if note.x == 0]
    assert [note.text for note in names] == [
        f"<b>sinks &lt;i&gt;</b><br>{LONG}<br>text ends",
        f"<b>as many</b><br>{LONG}<br>ends",
    ]
    lines = [(shape.y0, shape.y1) for shape in figure.layout.shapes if shape.x0 == shape.x1 == 2.4]
    assert len(lines) == 2 and lines[0][1] <= names[1].y and lines[1][0] >= names[1].y + 3 * LINE
    assert figure.layout.xaxis.range[0] == 0 and figure.data[1].marker.symbol == ("circle-open",)
    assert figure.layout.font.size == 13 > figure.layout.meta["wide"]["layout"]["font"]["size"]


def test_a_line_stops_at_numbers_that_stand_behind_a_name() -> None:
    rows = [replace(row, beside=(), words="90.0 % [85, 95]") for row in SCORES]
    narrow = interval_rows(rows, "accuracy, %", levels=[Level("", 81.0)]).layout.shapes
    assert len(narrow) == len(rows), "one in each row, as the numbers reach beyond it"
    assert len(interval_rows(SCORES[2:], "accuracy, %", levels=[Level("", 73.0)]).layout.shapes) == 2, "with its guide"


def test_where_there_is_room_names_stand_at_the_left_and_numbers_in_columns() -> None:
    figure = interval_rows(SCORES, "accuracy, %", levels=LEVELS, heading=HEADING)
    wide = figure.layout.meta["wide"]
    changed, (grey, orange, seeds) = wide["layout"], wide["y"]
    assert [len(trace.y) for trace in figure.data] == [len(places) for places in wide["y"]]
    assert changed["height"] < figure.layout.height, "as names take no lines of their own"
    assert wide["from"] > changed["margin"]["l"] + changed["margin"]["r"] + 200, "left for the axis"
    at = {note["text"]: note for note in changed["annotations"]}
    columns = ["accuracy", "minus dense", "discount<br>minus this<br>row"]
    cells = ["<b>90.0 %</b>", "−3.0 [−8, +2]", "+1 &lt;9"]
    assert len({at[title]["y"] for title in columns}) == 1, "titles end in one line"
    for title, cell, following in zip(columns, cells, [*columns[1:], ""], strict=True):
        assert at[title]["xshift"] == at[cell]["xshift"] and at[cell]["y"] == grey[0]
        if following:
            width = max(map(len, [*title.split("<br>"), cell.removeprefix("<b>").removesuffix("</b>")]))
            assert at[following]["xshift"] >= at[title]["xshift"] + 5.8 * width
    assert [at[f"<b>{share} %</b>"]["y"] for share in ("91.0", "72.0")] == orange
    assert -changed["margin"]["l"] <= at["Without &lt;b&gt;"]["xshift"] < 0, "left of the axis"
    assert grey[0] < min(seeds) <= max(seeds) < orange[0] < at["<b>70 % removed</b>"]["y"] < orange[1]
    [(begin, end)] = [(shape["y0"], shape["y1"]) for shape in changed["shapes"] if shape["x0"] == shape["x1"] == 93.0]
    assert begin < grey[0] < orange[1] < end, "one line through all sections"


def test_names_and_three_columns_of_numbers_have_room_on_a_tablet() -> None:
    beside = ("71.4 %", "−21.2 [−24.5, −17.9]", "+0.8 [−1.2, +2.8]")
    row = IntervalRow("Wanda as published · clean text", 71.4, 68.1, 74.7, section="70 % removed", beside=beside)
    figure = interval_rows([row], "accuracy, %", levels=LEVELS, heading=HEADING)
    assert figure.layout.meta["wide"]["from"] <= 730, "pixels of a page in a window of 820"
    told = [note for note in figure.layout.annotations if note.x == 0 and note.text in beside]
    assert told[-1].xshift + 5.2 * len(beside[-1]) <= 330, "and on a phone beneath the name"


def test_words_of_a_difference_become_its_column_and_none_stays_empty() -> None:
    rows = [difference_row("as many", Difference(0.3, 0.1, 0.5, 30, 30)), IntervalRow("equal", 0.1, 0.0, 0.2)]
    changed = interval_rows(rows, "points", even="", margin=2.0).layout.meta["wide"]["layout"]
    assert [note["text"] for note in changed["annotations"] if note["x"] == 1] == [f"<b>{rows[0].words}</b>"]
    (band,) = [shape for shape in changed["shapes"] if shape["type"] == "rect"]
    assert (band["x0"], band["x1"]) == (-2.0, 2.0)
    alone = interval_rows([rows[1]], "points").layout.meta["wide"]["layout"]
    assert alone["margin"]["r"] < 20 and [note["text"] for note in alone["annotations"]] == ["equal"]
