"""A shared server's pages: what a visitor of each role sees and may press. The engine's own refusals: engine tests."""

from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from analysis.engine.permissions import NOBODY, Visitor
from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from pages.parts import door, frame, session
from pages.parts import session as who
from pages.parts.recordings import measures
from pages.parts.session import engine
from tests.helpers import ROOT
from tests.ui.helpers import another_model, app, texts

pytestmark = pytest.mark.slow
ADA, EVE = Visitor("run", "a" * 16), Visitor("look", "e" * 16)
SAMPLING = LLaDASampling(gen_length=6, steps=3)


@pytest.fixture(scope="module")
def asked_by():
    """Who the pages take the visitor to be; may be set to another."""
    role = {"is": ADA}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "who", lambda: role["is"])
        engine.clear()
        yield role
        engine().close()
        engine.clear()


@pytest.fixture(scope="module")
def recording(asked_by, _own_engine):
    """Ada's recording."""
    asked_by["is"] = ADA
    spec = RecordSpec(prompt="mia has a dog .", sampling=SAMPLING)
    return engine().wait(engine().submit("record", spec).id, 240)


PAGES = ("start", "explore", "evidence", "causes", "prune", "sweep", "runs")


@pytest.mark.parametrize("name", PAGES)
def test_no_button_of_who_may_look_starts_or_changes_anything(name, recording, asked_by):
    asked_by["is"] = EVE
    before = [(job.id, job.state, job.shared) for job in engine()._job_store.jobs()], engine().store.labels()
    test = app(f"pages/{name}.py", "fold_compare", recording=recording.id)
    assert "You may look at this server" in texts(test) and not test.get("file_uploader")
    for key in [button.key for button in test.button if not button.disabled]:
        test.button(key=key).click().run()
        assert not test.exception, key
        test = app(f"pages/{name}.py", "fold_compare", recording=recording.id)
    assert ([(job.id, job.state, job.shared) for job in engine()._job_store.jobs()], engine().store.labels()) == before


def test_a_recording_is_listed_to_others_once_it_is_shared(recording, asked_by):
    asked_by["is"] = EVE
    assert engine().jobs("record") == []
    asked_by["is"] = ADA
    test = app("pages/explore.py", "fold_compare", recording=recording.id)
    test.toggle(key=f"shared_{recording.id}").set_value(True).run()
    assert not test.exception and engine().job(recording.id).shared
    asked_by["is"] = EVE
    assert [job.id for job in engine().jobs("record")] == [recording.id]
    test = app("pages/explore.py", "fold_compare", recording=recording.id)
    assert not [one for one in test.toggle if "shared" in str(one.key)]


def test_a_model_that_is_not_listed_is_not_opened_by_an_address_or_the_sidebar(asked_by, recording):
    asked_by["is"] = ADA
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    test.query_params["source"] = "/etc"
    test.run()
    assert "does not open the model" in texts(test) and "is in use instead" in texts(test)
    another_model(test, "/etc")
    test.button(key="load_model").click().run()
    assert "does not open the model" in texts(test)
    assert not [job for job in engine().jobs("load") if job.spec["model"]["source"] == "/etc"]


def test_folders_that_are_typed_are_not_looked_at(asked_by, recording):
    asked_by["is"] = ADA
    assert "does not read" in texts(app("pages/runs.py", runs_view="Masks", first="/etc", second="/usr"))
    test = app("pages/runs.py")
    test.text_input(key="import_folder").set_value("/etc").run()
    test.button(key="import_start").click().run()
    assert "does not read" in texts(test)


def test_a_server_with_a_log_in_shows_nothing_before_it(monkeypatch, recording, asked_by):
    monkeypatch.setattr(door, "wants_log_in", lambda: True)
    asked_by["is"] = NOBODY
    monkeypatch.setattr(frame, "who", lambda: asked_by["is"])
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    shown = texts(test)
    assert "on no list" in shown or "asks you to log in" in shown
    assert not test.sidebar.button and "mia" not in shown and not test.exception


def test_a_log_in_gives_the_role_of_its_list_and_a_name_that_hides_the_address(monkeypatch):
    lists: dict[str, object] = {"run": ["ada@example.org"], "look": ["@example.org"]}
    sections = {"auth": {"client_id": "x"}, "sinkscope": lists}
    monkeypatch.setattr(door, "_secrets", lambda section: sections.get(section, {}))

    def visitor(logged_in=True, **claims):
        monkeypatch.setattr(who.st, "user", {"is_logged_in": logged_in, **claims})
        return who._logged_in()

    ada = visitor(email="Ada@example.org", email_verified=True)
    assert ada.role == "run" and len(ada.name) == 16 and "ada" not in ada.name
    assert visitor(email="ada@example.org", email_verified="true") == ada
    assert visitor(email="eve@example.org", email_verified=True).role == "look"
    assert visitor(email="eve@other.org", email_verified=True) == visitor() == NOBODY
    assert visitor(logged_in=False, email="ada@example.org", email_verified=True) == NOBODY
    for said in ({"email_verified": False}, {"email_verified": "false"}, {}):
        assert visitor(email="ada@example.org", **said) == NOBODY
    lists["trust_addresses"] = True  # of whom the provider says nothing
    assert visitor(email="ada@example.org") == ada
    assert visitor(email="ada@example.org", email_verified=False) == NOBODY


def test_what_the_model_of_a_recording_from_elsewhere_names_is_not_looked_for(asked_by, recording, monkeypatch):
    asked_by["is"] = ADA
    monkeypatch.setattr(measures, "checkpoint_of", lambda *_: pytest.fail("it was looked for"))
    assert "does not open the model" in measures.why_no_model(SimpleNamespace(model=ModelSpec(source="/etc")))
