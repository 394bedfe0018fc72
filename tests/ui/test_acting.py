"""Buttons whose press is kept."""

from streamlit.testing.v1 import AppTest


def script() -> None:
    import streamlit as st

    from pages.parts.asking import kept_button, on_page

    on_page(st.session_state["path"])
    if st.session_state.pop("cut_off", False):
        st.rerun()
    if st.session_state.get("reaches_button", True) and kept_button("Go", "go"):
        st.session_state["went"] = st.session_state.get("went", 0) + 1


def opened() -> AppTest:
    test = AppTest.from_function(script)
    test.session_state["path"] = "here"
    return test.run()


def test_a_press_whose_script_is_cut_off_on_its_way_to_the_button_is_acted_on_once():
    test = opened()
    test.session_state["cut_off"] = True
    test.button("go").click().run()
    assert test.session_state["went"] == 1
    assert test.run().session_state["went"] == 1


def test_a_press_that_nothing_came_of_is_forgotten_on_another_page():
    test = opened()
    test.session_state["reaches_button"] = False
    test.button("go").click().run()
    test.session_state["path"] = "there"
    test.run()
    test.session_state["path"], test.session_state["reaches_button"] = "here", True
    assert "went" not in test.run().session_state
