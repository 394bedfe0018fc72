"""What stands above the figures of a study: sentences with the numbers of the figure."""

from analysis.exhibits import study as exhibits
from analysis.recording.set_measures import KIND_MEASURES, MOVES
from analysis.study.findings import EXAMPLE, read
from tests.study.helpers import study


def test_figures_of_pruning_say_what_the_whole_way_and_the_discount_change():
    found = study(noise=0.12, discount=0.03)
    way = found.pruning.waterfalls[0]
    shown = exhibits.pruning_exhibits(found)[exhibits.way_name(way)]
    discount, whole = (f"{100 * stage.effect.value:+.1f}".replace("-", "−") for stage in way.stages[-2:])
    assert f"against the dense model: {whole} points [" in shown.finding
    assert f"its last step, discount, {discount} points [" in shown.finding
    assert way.floor and 100 * way.floor in {shape.x1 for shape in shown.figure.layout.shapes}, (
        "two seeds of the control"
    )


def test_every_seed_of_a_method_above_the_others_is_said_of_the_seeds():
    shown = exhibits.pruning_exhibits(study(noise=0.12, discount=0.03))["seeds"]
    assert "every seed of" in shown.finding


def test_figures_of_blocked_sinks_say_which_effects_are_shown():
    shown = exhibits.part_exhibits(read(EXAMPLE), "causes")
    for name, exhibit in shown.items():
        filled = sum((trace.marker.symbol or ()).count("circle") for trace in exhibit.figure.data)
        effects = sum(f"causes_{cause.measure}" == name for cause in read(EXAMPLE).causes)
        told = f"{filled} of {effects} effects"
        assert exhibit.finding.startswith(told) if filled else exhibit.finding == ""
        assert "bundled" not in f"{exhibit.finding}{exhibit.figure.to_json()}{exhibit.table.to_csv()}"


def test_panels_by_layer_name_no_layer_that_the_model_lacks():
    for exhibit in exhibits.movement_exhibits(read(EXAMPLE)).values():
        for axis in exhibit.figure.select_xaxes():
            assert (axis.range, axis.dtick) == ((-0.6, 7.6), 1)


def test_the_example_calls_its_measures_as_they_are_called_now():
    titles = {row.title for row in (*KIND_MEASURES.values(), *MOVES.values())}
    tables = read(EXAMPLE).tables
    assert {row["measure"] for name in ("layers", "movement") for row in tables[name]} <= titles
