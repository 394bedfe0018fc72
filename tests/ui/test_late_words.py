"""What the browser still says of the recording shown before changes nothing of the one that came into view."""

from dataclasses import replace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis.engine import JobRecord
from analysis.recording.trajectory_file import save
from pages.parts.session import engine
from tests.recording.block_texts import block_trajectory


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


def _player():
    import streamlit as st

    from pages.parts.recordings.player import player
    from pages.parts.recordings.recording import open_recording
    from pages.parts.session import engine

    opened = open_recording(engine().job(st.session_state["shown"]))
    heard = st.session_state["heard"] = []
    player(opened, "player", on_step=heard.append, on_token=heard.append)


def test_a_step_and_a_token_of_another_recording_are_not_taken_for_those_of_the_one_shown(recordings, monkeypatch):
    keys = [job.key for job in recordings]

    def browser(key, data, on_step_change, on_token_change):
        for said_of in keys:
            st.session_state[key] = {name: {"step": 3, "recording": said_of} for name in ("step", "token")}
            on_step_change()
            on_token_change()

    monkeypatch.setattr("pages.parts.recordings.player._mount", browser)
    page = AppTest.from_function(_player)
    for job in recordings:
        assert _opened(page, job).session_state["heard"] == [3, {"step": 3, "recording": job.key}]


def _stepping():
    import streamlit as st

    from pages.parts.recordings.choice import show_anew, shown_step
    from pages.parts.recordings.recording import open_recording
    from pages.parts.session import engine

    if st.button("anew", key="anew"):
        show_anew(st.session_state["shown"])
        st.stop()
    st.write(str(shown_step(open_recording(engine().job(st.session_state["shown"])), 1)))


def test_a_recording_opened_anew_begins_with_its_own_step_and_not_with_one_that_comes_late(recordings):
    first, second = recordings
    page = AppTest.from_function(_stepping)
    page.query_params["step"] = "4"
    assert _opened(page, first).markdown[0].value == "4"
    page.session_state["shown"] = second.id
    page.button(key="anew").click().run()
    for _ in range(2):
        page.query_params["step"] = "4"
        assert page.run().markdown[0].value == "1"
    page.query_params["step"] = "4"
    del page.session_state["step"]
    assert page.run().markdown[0].value == "4", "a link leads where it says"
