"""Every module of these tests has a store and an engine of its own, whatever ran before it in this process."""

import pytest

from pages.parts import below
from pages.parts.session import engine


@pytest.fixture(scope="module", autouse=True)
def _own_engine(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINKSCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        engine.clear()
        yield
        engine().close()
        engine.clear()


@pytest.fixture(autouse=True)
def _all_is_drawn(monkeypatch):
    """There is no browser that asks for what lies below."""
    monkeypatch.setattr(below, "WAITS", False)
