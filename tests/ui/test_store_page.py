"""A store that does not open: every page is drawn, with one sentence, and works once the store is put right."""

import shutil

import pytest
from streamlit.testing.v1 import AppTest

from pages.parts.session import engine
from tests.cache.test_store_opening import DAMAGES, fill, read_only
from tests.helpers import ROOT

pytestmark = pytest.mark.slow
PAGES = ("start", "explore", "evidence", "causes", "prune", "runs")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own for the app, whose engine is started by the test."""
    engine.clear()
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    shutil.rmtree(tmp_path / "home", ignore_errors=True)
    monkeypatch.undo()
    engine.clear()


def app() -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()


def test_every_page_says_that_the_home_is_a_file_and_works_when_it_is_gone(home):
    home.write_text("mine")
    test = app()
    for page in PAGES:
        test.switch_page(f"pages/{page}.py").run()
        assert not test.exception
        assert [element.value for element in test.title]
        [error] = test.error
        assert "a file is in the way" in error.value
    home.unlink()
    for page in PAGES:
        test.switch_page(f"pages/{page}.py").run()
        assert not test.exception
        assert not any("in the way" in error.value for error in test.error)
    engine().close()


def test_a_read_only_database_is_one_sentence(home):
    read_only(fill(home))
    test = app()
    assert not test.exception
    assert "cannot be written" in test.error[0].value


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_database_is_set_aside_and_the_sidebar_says_so(home, damage):
    damage(fill(home))
    test = app()
    assert not test.exception
    assert not test.error
    assert any("jobs was damaged" in warning.value for warning in test.warning)
    engine().close()
