"""What lies below what is seen, in Streamlit's own runner: drawn once it is asked for."""

import pytest
from streamlit.testing.v1 import AppTest

from pages.parts import lazy_section


def script():
    import streamlit as st

    from pages.parts.lazy_section import lazy_section as part

    st.text("above")
    part(lambda: st.text("below"), "part", 900)


@pytest.mark.parametrize("waits", [True, False])
def test_it_waits_until_it_is_asked_for(monkeypatch, waits):
    monkeypatch.setattr(lazy_section, "WAITS", waits)
    test = AppTest.from_function(script).run()
    assert not test.exception
    assert [text.value for text in test.text] == ["above"] + ["below"] * (not waits)
