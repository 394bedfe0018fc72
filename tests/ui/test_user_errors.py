"""How pages say what was refused."""

from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from analysis.errors import UserError
    from pages.parts.session import refusal_kept, say_refusal

    def clicked(place: str) -> None:
        with refusal_kept(place):
            if place == "first":
                raise UserError("There is no *model* of this name.")
            if place == "second":
                raise KeyError(place)

    for place in ("first", "second", "third"):
        st.button(place, key=place, on_click=clicked, args=(place,))
        say_refusal(place)


def test_a_refused_click_is_said_once_where_it_was_made():
    test = AppTest.from_function(page).run()
    assert not test.error
    test.button(key="first").click().run()
    assert [error.value for error in test.error] == [r"There is no \*model\* of this name."]
    assert not test.run().error
    assert not test.button(key="third").click().run().error


def test_what_no_user_gave_is_no_refusal():
    test = AppTest.from_function(page).run()
    test.button(key="second").click().run()
    assert test.exception, "a bug is not said as if the user had made it"
