"""The page Study: the example that ships is the first screen, and its words are those of its numbers."""

import pytest

from analysis.specs import QUESTION, StudySpec
from analysis.study import rules
from analysis.study.findings import EXAMPLE, read
from pages.parts.plain import plain
from pages.parts.session import engine
from tests.ui.helpers import app, texts

pytestmark = pytest.mark.slow
PAGE = "pages/study.py"


def test_the_first_screen_is_the_finished_example_and_nothing_runs_for_it():
    test = app()
    told, found = texts(test), read(EXAMPLE)
    assert test.title[0].value == QUESTION
    assert "An example that comes with SinkScope" in told
    for sentence in rules.answer(found):
        assert plain(sentence) in told
    for one in rules.verdicts(found):
        assert plain(one.numbers) in told and plain(one.sentence) in told
    assert not engine().jobs()


def test_settings_that_do_not_go_together_are_one_sentence_and_the_button_is_off():
    test = app(PAGE)
    assert "prunings to do and to score" in texts(test)
    test.text_input(key="study_quick_sparsities").set_value("0.5, 1.5").run()
    assert "Sparsity: Input should be less than or equal to 0.95" in texts(test)
    assert test.button(key="study_start").disabled and not test.exception


def test_the_button_starts_the_study_of_the_address_and_it_can_be_stopped():
    test = app(PAGE)
    test.text_input(key="study_quick_seeds").set_value("0").run()
    test.button(key="study_start").click().run()
    (record,) = engine().jobs("study")
    assert test.query_params["study"] in (record.id, [record.id])
    spec = record.parameters(StudySpec)
    assert (spec.seeds, spec.model.source) == ((0,), "bundled")
    test.button(key=f"cancel_study_{record.id}").click().run()
    assert engine().job(record.id).state == "cancelled"
    test.run()
    assert "This study was cancelled" in texts(test)


def test_a_study_that_is_not_here_is_said():
    assert "a study that is not in the store" in texts(app(PAGE, study="0123456789ab"))
