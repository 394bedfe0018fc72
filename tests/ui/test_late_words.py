"""What the browser still says of the recording shown before changes nothing of the one that came into view."""

from dataclasses import replace
from typing import ClassVar

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis.engine import JobRecord
from analysis.recording.trajectory_file import save
from pages.parts.session import engine
from tests.recording.block_texts import block_trajectory
from tests.ui.helpers import sent_to_explorer


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two recordings that can be told apart."""
    folder = tmp_path_factory.mktemp("two")
    text = block_trajectory(cached=False)
    for name in ("first", "second"):
        save(replace(text, info=text.info.model_copy(update={"prompt": name})), folder / f"{name}.safetensors")
    return [engine().add_recording(folder / f"{name}.safetensors") for name in ("first", "second")]


def _opened(page: AppTest, job: JobRecord) -> AppTest:
    page.session_state["shown"] = job.id
    assert not page.run().exception
    return page


def _explorer():
    import streamlit as st

    from pages.parts.recordings.choice import show_anew
    from pages.parts.recordings.explorer import explorer
    from pages.parts.recordings.recording import open_recording
    from pages.parts.session import engine

    opened = open_recording(engine().job(st.session_state["shown"]))
    if st.button("anew", key="anew"):
        show_anew(st.session_state["shown"])
        st.rerun()
    heard = st.session_state["heard"] = []
    explorer(opened, "explorer", on_token=heard.append)


@pytest.fixture
def browser(monkeypatch):
    """What is sent to the browser, and what it says: set `says`, of the recordings whose contents it knows."""

    class Browser:
        sent: ClassVar[list[dict]] = []
        says: ClassVar[dict[str, dict]] = {}

        def __call__(self, key, data, on_view_change, on_token_change, on_need_change):
            header, _ = sent_to_explorer(data)
            self.sent.append(header)
            for content in {each["content"] for each in self.sent}:
                for name, hear in {"view": on_view_change, "token": on_token_change}.items():
                    if name in self.says:
                        st.session_state[key] = {name: self.says[name] | {"content": content}}
                        hear()

    made = Browser()
    made.sent.clear()
    made.says.clear()
    monkeypatch.setattr("pages.parts.recordings.explorer._mount", made)
    return made


def test_a_token_and_a_place_of_another_recording_are_not_taken_for_those_of_the_one_shown(recordings, browser):
    token = {"track": 0, "step": 3, "finished": False, "position": 2}
    browser.says |= {"view": {"address": {"step": "3", "layer": "1", "unknown": "x"}}, "token": token}
    page = AppTest.from_function(_explorer)
    for job in recordings:
        assert _opened(page, job).session_state["heard"] == [token], "each content is heard once"
        assert {name: page.query_params[name] for name in ("step", "layer")} == {"step": "3", "layer": "1"}
        assert "unknown" not in page.query_params


def test_what_the_explorer_said_is_not_said_to_it_again_and_a_link_is_followed(recordings, browser):
    page = AppTest.from_function(_explorer)
    page.query_params["step"] = "4"
    _opened(page, recordings[0])
    browser.says["view"] = {"address": {"step": "5"}}
    page.run()
    page.run()
    assert [each["state"]["step"] for each in browser.sent] == ["4", "4", "4"], "the data stay as they were sent"
    browser.says.clear()
    page.query_params["step"] = "7"
    page.run()
    assert browser.sent[-1]["state"]["step"] == "7"


def test_a_recording_opened_anew_begins_with_its_own_step_and_not_with_one_that_comes_late(recordings, browser):
    first, second = recordings
    page = AppTest.from_function(_explorer)
    page.query_params["step"] = "4"
    _opened(page, first)
    assert browser.sent[-1]["state"]["step"] == "4"
    page.session_state["shown"] = second.id
    page.button(key="anew").click().run()
    for _ in range(2):
        page.query_params["step"] = "4"
        page.run()
        assert "step" not in browser.sent[-1]["state"]
