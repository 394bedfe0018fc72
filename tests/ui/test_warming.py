"""What the first visitor would wait for is loaded as the server starts, and a failure of that stops nothing."""

import ast
import gc
import sys

import pytest

from analysis.study import findings
from pages.parts.warming import warm_up
from tests.helpers import ROOT


@pytest.fixture(autouse=True)
def thawed():
    """As a server starts: nothing is left out when garbage is looked for; for other tests it is again."""
    gc.unfreeze()
    yield
    gc.freeze()


def test_it_draws_the_example_and_a_failure_is_only_logged(monkeypatch, caplog):
    read = []
    monkeypatch.setattr(findings, "read", lambda path: read.append(path) or findings.Findings.model_validate({}))
    warm_up().join(60)
    assert read == [findings.EXAMPLE]
    assert "Nothing could be loaded before the first visit" in caplog.text


def test_it_loads_all_that_the_story_and_intervals_of_accuracies_are_drawn_with(caplog, monkeypatch):
    monkeypatch.delitem(sys.modules, "statsmodels.stats.proportion", raising=False)
    warm_up().join(120)
    assert not caplog.records and "statsmodels.stats.proportion" in sys.modules


def test_what_is_loaded_is_left_out_when_garbage_is_looked_for():
    """Streamlit looks for it after every run of a script, and looks through all that is not frozen."""
    loaded = len(gc.get_objects())
    warm_up().join(120)
    assert gc.get_freeze_count() > 0.9 * loaded
    assert len(gc.get_objects()) < 0.1 * loaded


def test_the_server_begins_it_as_it_starts():
    calls = [node.func.id for node in ast.walk(ast.parse((ROOT / "app.py").read_text())) if _is_call(node)]
    assert calls.index("start_engine") < calls.index("warm_up")


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
