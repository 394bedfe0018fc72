"""What is shown changes by a choice in its box, and not by what the browser still says of the box of before."""

from streamlit.testing.v1 import AppTest

from tests.ui.helpers import shown_box


def _page():
    import streamlit as st

    from pages.parts import address
    from pages.parts.address import shown_box

    if st.button("go", key="go"):
        address.write("shown", "b")
        st.rerun()
    shown = address.named("shown")
    shown_box("Shown", "what", shown, "abc", str.upper, lambda choice: address.write("shown", choice))
    st.write(shown)


def _opened() -> AppTest:
    page = AppTest.from_function(_page)
    page.query_params["shown"] = "a"
    page.run()
    assert page.markdown[0].value == shown_box(page, "Shown").value == "a"
    return page


def test_a_choice_is_shown_and_stands_in_the_box():
    page = _opened()
    shown_box(page, "Shown").set_value("c").run()
    assert page.markdown[0].value == shown_box(page, "Shown").value == "c"
    shown_box(page, "Shown").set_value("a").run()
    assert page.markdown[0].value == shown_box(page, "Shown").value == "a"


def test_what_the_browser_says_late_of_the_box_of_before_is_no_choice():
    page = _opened()
    of_before = page._tree.get_widget_states()
    page.button(key="go").click().run()
    assert page.markdown[0].value == "b"
    page._run(of_before)
    assert page.markdown[0].value == shown_box(page, "Shown").value == "b"


def test_emptied_it_goes_on_to_hold_what_is_shown():
    page = _opened()
    shown_box(page, "Shown").set_value(None).run()
    assert page.markdown[0].value == shown_box(page, "Shown").value == "a"


def _run():
    import streamlit as st

    from pages.parts import address
    from pages.parts.address import shown_box

    ended = st.toggle("ended", key="ended")
    shown = address.named("shown")
    shown_box(
        "Shown",
        "what",
        shown,
        "ab",
        f"{{}} {'done' if ended else 'running'}".format,
        lambda one: address.write("shown", one),
    )


def test_a_title_that_has_changed_is_no_choice():
    page = AppTest.from_function(_run)
    page.query_params["shown"] = "a"
    page.run()
    page.toggle(key="ended").set_value(True).run()
    states = page._tree.get_widget_states()
    for state in states.widgets:
        if state.string_value == "a done":
            state.string_value = "a running"
    page._run(states)
    assert not page.exception and page.query_params["shown"] in ("a", ["a"])
