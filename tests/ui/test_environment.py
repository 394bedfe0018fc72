"""A page says which environment variable is wrong, and starts nothing."""

import pytest
from streamlit.testing.v1 import AppTest

from analysis.engine import Engine
from pages.parts import session
from tests.helpers import ROOT


@pytest.mark.parametrize(("name", "text"), [("SINKSCOPE_WIRE_LIMIT", "lots"), ("SINKSCOPE_HOME", "~nobody-here/x")])
def test_every_page_says_what_is_wrong_with_the_environment(name, text, monkeypatch):
    monkeypatch.setenv(name, text)
    session.engine.clear()
    monkeypatch.setattr(Engine, "__init__", lambda *_: pytest.fail("an engine was started"))
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()
    assert not test.exception
    (error,) = test.error
    assert error.value.replace("\\", "").startswith(f"The environment variable {name} is '{text}'. Expected ")
