"""An address that the server wrote is not undone by a refresh that was on its way with the one of before."""

import tomllib

from streamlit.testing.v1 import AppTest

from tests.helpers import ROOT


def _page():
    import streamlit as st

    from pages.parts import address

    if st.button("go", key="go"):
        address.write("shown", "new")
        st.rerun()
    st.write(address.named("shown"))


def test_a_late_refresh_with_the_old_address_does_not_show_the_old_thing_again(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("pages.parts.address.time.monotonic", lambda: clock[0])
    page = AppTest.from_function(_page)
    page.query_params["shown"] = "old"
    assert page.run().markdown[0].value == "old"
    assert page.button(key="go").click().run().markdown[0].value == "new"
    page.query_params["shown"] = "old"  # what the browser had when it asked
    assert page.run().markdown[0].value == "new"
    page.query_params["shown"] = "another"
    assert page.run().markdown[0].value == "another", "a link leads where it says"
    clock[0] += 60
    page.query_params["shown"] = "old"
    assert page.run().markdown[0].value == "old", "a visitor may go back"


def _dropping_page():
    import streamlit as st

    from pages.parts import address

    if st.button("drop", key="drop"):
        address.drop("shown", stays=True)
        st.rerun()
    st.write(str(address.named("shown")))


def test_what_was_dropped_for_good_is_not_brought_back_by_a_late_refresh():
    page = AppTest.from_function(_dropping_page)
    page.query_params["shown"] = "old"
    assert page.run().markdown[0].value == "old"
    assert page.button(key="drop").click().run().markdown[0].value == "None"
    page.query_params["shown"] = "old"
    assert page.run().markdown[0].value == "None" and "shown" not in page.query_params
    page.query_params["shown"] = "another"
    assert page.run().markdown[0].value == "another"


def _refreshing_page():
    import streamlit as st

    from pages.parts import address

    if st.button("go", key="go"):
        address.write("shown", "new")
        st.rerun()
    if st.button("refresh", key="refresh"):  # a fragment draws itself again, and nothing asks for the name
        address.keep()
        return
    st.write(address.named("shown"))


def test_a_fragments_late_refresh_leaves_the_new_address_however_late_it_is(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("pages.parts.address.time.monotonic", lambda: clock[0])
    page = AppTest.from_function(_refreshing_page)
    page.query_params["shown"] = "old"
    assert page.run().button(key="go").click().run().markdown[0].value == "new"
    clock[0] += 60
    page.query_params["shown"] = "old"
    page.button(key="refresh").click().run()
    assert page.query_params["shown"] in ("new", ["new"])
    assert page.run().markdown[0].value == "new"
    page.query_params["shown"] = "old"
    assert page.run().markdown[0].value == "old", "a visitor may go back"
    page.button(key="refresh").click().run()
    assert page.query_params["shown"] in ("old", ["old"]), "and is left there"


def opened_after_going(monkeypatch) -> AppTest:
    clock = [100.0]
    monkeypatch.setattr("pages.parts.address.time.monotonic", lambda: clock[0])
    page = AppTest.from_function(_refreshing_page)
    page.query_params["shown"] = "old"
    return page.run().button(key="go").click().run()


def test_who_goes_back_in_the_browser_comes_there_at_once(monkeypatch):
    page = opened_after_going(monkeypatch)
    monkeypatch.setattr("pages.parts.address._went_back", lambda: True)
    page.query_params["shown"] = "old"
    page.button(key="refresh").click().run()
    assert page.query_params["shown"] in ("old", ["old"]), "though a fragment is drawn before it is asked for"
    assert page.run().markdown[0].value == "old"


def test_a_page_may_set_a_control_that_has_a_default_without_a_warning_in_the_log():
    settings = tomllib.loads((ROOT / ".streamlit/config.toml").read_text(encoding="utf-8"))
    assert settings["global"]["disableWidgetStateDuplicationWarning"] is True
