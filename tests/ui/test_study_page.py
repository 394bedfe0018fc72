"""The page Start: the example that ships is the first screen, and its words are those of its numbers."""

from urllib.parse import parse_qs

import pytest
from markupsafe import escape
from streamlit.testing.v1 import AppTest

from analysis import hub
from analysis.exhibits.story import playback_of, story_of
from analysis.specs import QUESTION, StudySpec
from analysis.study import rules
from analysis.study.findings import EXAMPLE, read
from pages.parts.plain import plain
from pages.parts.session import engine
from tests.ui.helpers import app, shown_box, story_pieces, texts, unglued

pytestmark = pytest.mark.slow
PAGE = "pages/start.py"


def in_hand(test: AppTest) -> tuple[str, str]:
    """The study that the sidebar tells of, and what its link names."""
    (link,) = [link.proto for link in test.sidebar.get("page_link") if link.proto.page == ""]
    return unglued(link.label.replace("\\", "")), parse_qs(link.query_string.removeprefix("?"))["study"][0]


def _read(text: str) -> str:
    """Return a text as `texts` returns it."""
    return unglued(plain(text))


def test_the_first_screen_is_the_finished_example_and_nothing_runs_for_it():
    test = app(None, "fold_behind_verdict", "fold_behind_sinks")
    told, found = texts(test), read(EXAMPLE)
    assert "**Diffusion model**" in told and "**bundled**" not in told
    assert test.title[0].value == QUESTION
    story = story_of(found)
    assert all(_read(sentence) in told for sentence in (story.about, story.thin))
    pieces = story_pieces(test)
    for answer in story.answers:
        assert f"<p>{escape(answer.question)} <b>{answer.lead}</b></p>" in pieces
        assert answer.sentence in pieces and f'aria-label="{answer.levels}"' in pieces
    for finding in story.findings:
        assert escape(finding.title) in pieces and escape(finding.caveat) in pieces
    for one in rules.verdicts(found):
        assert _read(one.numbers) in told and _read(one.sentence) in told
    assert not engine().jobs()
    assert in_hand(test) == ("Shipped study", "example") and "Finished." in told


def test_a_token_of_the_shipped_player_asks_for_its_recording_by_the_models_title():
    test = app(PAGE)
    test.session_state["study_player_token"] = (playback_of(read(EXAMPLE))["content"], {"track": 0, "position": 12})
    assert "Record its prompt with the diffusion model, and a click" in texts(test.run())


def test_settings_that_do_not_go_together_are_one_sentence_and_the_button_is_off():
    test = app(PAGE, "fold_study", ask="true")
    assert "prunings to do and score" in texts(test)
    test.text_input(key="study_quick_sparsities").set_value("0.5, 1.5").run()
    assert "Sparsity must be at most 0.95" in texts(test)
    assert test.button(key="study_start").disabled and not test.exception


def test_what_the_hub_would_have_to_give_is_said_and_the_button_is_off(monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda: False)
    test = app(PAGE, ask="true")
    test.segmented_control(key="study_size").set_value("paper").run()
    assert "needs WikiText-2, MMLU, ARC-C" in texts(test) and "the Hugging Face hub cannot be reached" in texts(test)
    assert test.button(key="study_start").disabled and not test.exception


def test_the_button_starts_the_study_of_the_address_and_it_can_be_cancelled():
    test = app(PAGE, "fold_study", ask="true")
    test.text_input(key="study_quick_seeds").set_value("0").run()
    test.button(key="study_start").click().run()
    (record,) = engine().jobs("study")
    assert test.query_params["study"] in (record.id, [record.id])
    spec = record.parameters(StudySpec)
    assert (spec.seeds, spec.model.source) == ((0,), "bundled")
    elsewhere = app("pages/runs.py")
    assert in_hand(elsewhere) == ("Diffusion model · 50 %, 70 % · 1 seed", record.id)
    assert f"stop_{record.id}" in [button.key for button in elsewhere.sidebar.button]
    test.button(key=f"cancel_study_{record.id}").click().run()
    assert engine().job(record.id).state == "cancelled"
    test.run()
    assert "This study was cancelled" in texts(test) and "Cancelled, " in texts(test)
    assert "the study ended before its first parts" in texts(test) and "under way" not in texts(test)
    shown_box(test, "Study").set_value("example").run()
    assert in_hand(test) == ("Shipped study", "example")
    test.switch_page("pages/runs.py").run()
    assert in_hand(test)[1] == "example", "the one that was opened stays in hand"


def test_a_study_that_is_not_here_is_said():
    assert "a study that is not in the store" in texts(app(PAGE, study="0123456789ab"))
