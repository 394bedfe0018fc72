"""Every module of these tests has a store and an engine of its own, whatever ran before it in this process."""

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1.element_tree import Selectbox

from pages.parts import door, lazy_section
from pages.parts.session import engine
from tests.ui.helpers import sent_to_explorer


@pytest.fixture(scope="module", autouse=True)
def _own_engine(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINKSCOPE_HOME", str(tmp_path_factory.mktemp("home")))
        engine.clear()
        door.is_demonstration.cache_clear()
        yield
        engine().close()
        engine.clear()


@pytest.fixture(autouse=True)
def _all_is_drawn(monkeypatch):
    """There is no browser that asks for what lies below."""
    monkeypatch.setattr(lazy_section, "WAITS", False)


@pytest.fixture(scope="session", autouse=True)
def _boxes_take_typed_text():
    """Streamlit's runner sends only what a box lists; a browser sends what was typed, too."""

    def sent(box: Selectbox) -> WidgetState:
        shown = None if box.value is None else box.format_func(box.value)
        return WidgetState(id=box.id) if shown is None else WidgetState(id=box.id, string_value=shown)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Selectbox, "_widget_state", property(sent))
        yield


@pytest.fixture
def explorer_sent(monkeypatch):
    """What explorers are sent, each as header and arrays."""
    sent = []

    def mount(key, data, **heard):
        sent.append(sent_to_explorer(data))

    monkeypatch.setattr("pages.parts.recordings.explorer._mount", mount)
    return sent
