"""Folds: what their titles say, when their controls are sent, and that values survive while they are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as some
from streamlit.testing.v1 import AppTest

from analysis.specs import CalibrationParams, EvaluateSpec, StepParams
from pages.parts.controls import Setting, settings_of, told
from tests.ui.helpers import folds, unfold

KEYS = {"data": "data", "samples": "samples", "seed": "seed", "noise_eps": "eps"}


def test_the_title_tells_what_is_always_told_and_what_is_not_as_preset():
    settings = settings_of(CalibrationParams, KEYS, always=("data", "seed"), samples=64)
    assert told(settings, {}) == "calibration text bundled, calibration seed 0"
    assert told(settings, {"samples": 64, "eps": 1e-3}) == told(settings, {})
    changed = told(settings, {"samples": 32, "seed": 3, "eps": 0.01})
    assert changed == "calibration text bundled, samples 32, calibration seed 3, noise ε 0.01"
    steps = settings_of(StepParams, {"first_step": "first"}, words={"first_step": "from step {} on"})
    assert told(steps, {}) == ""
    assert told(steps, {"first": 5}) == "from step 5 on"


def test_values_of_every_kind_are_told_in_words():
    kinds = [
        Setting("a", "a {}", False),
        Setting("b", "b {}", ()),
        Setting("c", "{} c", None, empty="all"),
        Setting("d", "d {}", 5),
    ]
    assert told(kinds, {"a": True, "b": [1, 2], "c": 4, "d": None}) == "a on, b 1, 2, 4 c, d unset"
    assert told(kinds, {"a": False, "b": [], "c": "", "d": 5.0}) == ""
    (shots,) = settings_of(EvaluateSpec, {"shots": "shots"}, always=("shots",))
    assert told([shots], {}) == "examples before each item the task's own"


@given(some.integers(0, 12))
def test_a_title_is_short(count):
    settings = [Setting(str(number), f"s{number} {{}}", 0) for number in range(count)]
    text = told(settings, {str(number): 1 for number in range(count)})
    assert text.count("s") - text.count("as") <= 6 and (count <= 6 or f"and {count - 6} more" in text)


def folded() -> None:
    import streamlit as st

    from analysis.specs import DiscountParams
    from pages.parts import controls
    from pages.parts.controls import fold, settings_of

    keys = {name: name for name in ("sink_std", "sink_scope")}
    if st.checkbox("here", value=True, key="here"):
        place, drawn = fold("Discount", "the_fold", settings_of(DiscountParams, keys, always=("sink_std",)))
        values = {}
        if drawn:
            with place:
                values = {n: controls.draw(DiscountParams, n, k, bind="query-params") for n, k in keys.items()}
        st.text(f"{DiscountParams(**values).sink_std:g} {DiscountParams(**values).sink_scope}")


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_function(folded, default_timeout=60)


def state(test: AppTest) -> tuple[str, bool, str]:
    """The fold's title, whether its controls are there, and the setting that the page reads."""
    assert not test.exception, test.exception
    return folds(test)[0], bool(test.number_input), test.text[0].value


def test_controls_are_sent_once_the_fold_is_opened_and_stay_while_one_is_not_as_preset(page):
    assert state(page.run()) == ("Discount · k 2", False, "2 model")
    assert state(unfold(page, "the_fold")) == ("Discount · k 2", True, "2 model")
    page.number_input(key="sink_std").set_value(3.0).run()
    assert state(page) == ("Discount · k 2", True, "3 model"), "while it is open its title stays"
    assert state(unfold(page, "the_fold", False)) == ("Discount · k 3", True, "3 model")
    page.number_input(key="sink_std").set_value(2.0).run()
    assert state(page.run()) == ("Discount · k 2", False, "2 model")


def test_the_address_is_read_without_opening_the_fold(page):
    page.query_params["sink_std"] = "2.5"
    page.query_params["sink_scope"] = "layer"
    assert state(page.run()) == ("Discount · k 2.5, sinks of layer", True, "2.5 layer")
    assert page.query_params["sink_scope"] in ("layer", ["layer"])


def test_an_address_that_names_the_preset_wins_over_what_was_kept(page):
    page.query_params["sink_std"] = "2.5"
    page.run()
    page.checkbox(key="here").set_value(False).run()
    page.query_params["sink_std"] = "2.0"
    page.checkbox(key="here").set_value(True).run()
    assert state(page) == ("Discount · k 2", False, "2 model")
    assert state(unfold(page, "the_fold")) == ("Discount · k 2", True, "2 model")


def test_what_was_set_is_kept_while_the_fold_is_not_on_the_page(page):
    unfold(page, "the_fold")
    page.number_input(key="sink_std").set_value(3.0).run()
    unfold(page, "the_fold", False)
    page.checkbox(key="here").set_value(False).run()
    page.checkbox(key="here").set_value(True).run()
    assert state(page) == ("Discount · k 3", True, "3 model")
