"""What a comparison can show, said before anything runs."""

from streamlit.testing.v1 import AppTest

from analysis.evaluation.planning import Noise
from tests.ui.helpers import folds, unfold


def drawn(limit: int | None, compared: int, measured: Noise | None = None, names=("bundled",)) -> AppTest:
    def page(names, limit, compared, measured):
        from pages.parts.accuracy.choice import planned

        planned(names, limit, compared, measured)

    test = AppTest.from_function(page, args=(names, limit, compared, measured), default_timeout=300)
    unfold(test, "fold_plan")
    assert not test.exception, test.exception
    return test


def texts(test: AppTest) -> str:
    return "\n".join(one.value for one in [*test.caption, *test.markdown]).replace("\u00a0", " ")


def test_the_preset_says_what_it_can_show_and_what_half_a_point_needs():
    test = drawn(64, 2)
    shown = texts(test)
    assert "384 items in about " in shown
    assert "one calibration seed show a difference of " in shown
    assert "To show a difference of 0.5 points" in shown
    assert "Adjusted for 14 tests." in shown
    assert folds(test)[0] == "How many items and seeds? · a difference of 0.5 points"
    before = test.markdown[0].value
    test.number_input(key="plan_target").set_value(5.0).run()
    assert "To show a difference of 5 points, take " in test.markdown[0].value
    test.number_input(key="plan_disagreement").set_value(0.2).run()
    assert "20.0 % of the items" in texts(test)
    assert test.markdown[0].value != before


def test_measured_noise_takes_the_place_of_what_is_assumed():
    test = drawn(None, 1, Noise(0.02, 0.3, 0.5, 0.003, "measured on a against b"))
    assert "Noise measured on a against b: two runs score 2.0 % of the items differently" in texts(test)
    assert [field.key for field in test.number_input] == ["plan_target"]


def test_nothing_is_planned_where_nothing_is_compared_or_known():
    assert texts(drawn(64, 0)) == ""
    assert texts(drawn(64, 1, names=("my_task",))) == ""
    assert "not known before they are read: my_task" in texts(drawn(64, 1, names=("my_task", "bundled_story")))
