"""The sidebar's panel of jobs, and several visitors who ask the same."""

import pytest
from streamlit.testing.v1 import AppTest

from pages.parts import session
from pages.parts.session import engine
from tests.helpers import ROOT
from tests.ui.helpers import another_model

pytestmark = pytest.mark.slow


@pytest.fixture
def visitors(monkeypatch):
    """Sets who looks at the page; all of them are there."""
    monkeypatch.setattr(session, "is_here", bool)
    return lambda name: monkeypatch.setattr(session, "visitor", lambda: name)


def page(what: str) -> AppTest:
    test = AppTest.from_file(str(ROOT / "tests" / "ui" / "sidebar_harness.py"), default_timeout=300)
    test.query_params["page"] = what
    return test


def texts(test: AppTest) -> str:
    return "\n".join(element.value for element in [*test.caption, *test.markdown])


def test_a_job_that_the_page_begins_is_in_the_sidebar_at_once():
    test = page("asks").run()
    assert "Idle" in texts(test)
    test.button(key="ask").click().run()
    assert not test.exception
    assert "Idle" not in texts(test)
    (job,) = [job for job in engine().jobs() if not job.ended]
    engine().cancel(job.id)


def test_moving_a_slider_cancels_a_question_only_when_nobody_else_waits_for_it(visitors):
    tests = {name: page("moves") for name in ("ann", "ben")}
    for name, test in tests.items():
        visitors(name)
        test.run()
        if name == "ann":  # the question is new; the second visitor finds its job running
            test.button(key="offer_record_here").click().run()
    (job,) = [job for job in engine().jobs() if not job.ended]
    assert "for everyone" in tests["ben"].button(key=f"cancel_{job.id}").label
    assert "Another tab, yours or another visitor's, waits for this job, too." in texts(tests["ben"])
    visitors("ann")
    tests["ann"].slider(key="seed").set_value(3).run()
    assert not engine().job(job.id).ended
    visitors("ben")
    tests["ben"].slider(key="seed").set_value(4).run()
    assert engine().job(job.id).state == "cancelled"
    for job in engine().jobs():
        engine().cancel(job.id)


def test_how_a_model_was_trained_is_asked_of_those_the_registry_does_not_list():
    test = page("asks").run()
    assert [box.key for box in test.selectbox if box.key == "model_paradigm"] == []
    another_model(test, "owner/name")
    training = test.selectbox(key="model_paradigm")
    assert list(training.options) == ["auto", "mdlm", "bd3lm"]
    assert "block by block" in training.help
    assert not test.exception


def test_only_a_model_that_was_chosen_or_typed_is_loaded():
    test = page("asks").run()
    assert test.button(key="load_model").disabled, "nothing is chosen yet"
    another_model(test, "/no/such/folder")
    assert test.button(key="load_model").label == "Load folder"
    test.button(key="load_model").click().run()
    assert not engine().jobs("load") and "stays in use" in test.error[0].value
    test.selectbox(key="model_choice").set_value("bundled-ar").run()
    assert test.button(key="load_model").label == "Load the left-to-right twin"


def test_a_model_that_another_visitor_loads_does_not_become_ones_own(visitors):
    asks, looks = page("asks"), page("asks")
    visitors("ann")
    asks.run().selectbox(key="model_choice").set_value("bundled-ar").run()
    asks.button(key="load_model").click().run()
    (job,) = engine().jobs("load")
    visitors("ben")
    assert not engine().job(job.id).ended and not looks.run().exception
    assert engine().wait(job.id, 240).state == "done"
    assert looks.run().session_state["model_in_use"].source == "bundled"
    visitors("ann")
    assert asks.run().session_state["model_in_use"].source == "bundled-ar"
