"""A demonstration's pages: nothing on them starts or changes anything but a recording of the bundled pair."""

import pytest
from streamlit.testing.v1 import AppTest

from analysis.engine import permissions as demonstration_bounds
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from pages.parts import door, guards
from pages.parts.session import engine
from tests.helpers import ROOT
from tests.ui.helpers import app, texts
from tests.ui.test_door import ask, inside

pytestmark = pytest.mark.slow
PAGES = {
    "start": {"ask": "true"},
    "explore": {"tab": "Dynamics"},
    "evidence": {},
    "causes": {"causes_view": "One prompt"},
    "prune": {},
    "sweep": {},
    "runs": {"runs_view": "Masks"},
}
SWITCHED_OFF = ("prune", "sweep", "start", "runs", "causes")  # with one sentence in the place of the button
STARTING = ("record", "try_again", "record_with_0")  # keys of buttons that record


@pytest.fixture(scope="module", autouse=True)
def demonstration(_own_engine):
    """The engine of these tests is a demonstration's, with one recording."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SINKSCOPE_DEMO", "1")
        engine.clear()
        spec = RecordSpec(prompt="mia has a dog .", sampling=LLaDASampling(gen_length=6, steps=3))
        yield engine().wait(engine().submit("record", spec).id, 300)
        engine().close()
        engine.clear()


def state() -> tuple:
    """Everything that a visitor could have changed."""
    return [(job.id, job.state) for job in engine().jobs()], engine().store.labels()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_that_this_is_a_demonstration_and_no_control_of_it_starts_or_changes_anything(name, demonstration):
    test = app(f"pages/{name}.py", "fold_compare", recording=demonstration.id, **PAGES[name])
    assert "This is a demonstration" in test.main.caption[0].value, "before everything else"
    said = "\n".join([texts(test), *(block.value for block in test.code)])
    assert "Switched off in this demonstration" in said or name not in SWITCHED_OFF
    assert str(engine().store.root) not in said and (name == "start" or "python -m analysis" not in said)
    assert "press **Prune**" not in said and "type the path" not in said
    assert not test.get("file_uploader"), "a file would be taken in"
    before, keys = state(), [button.key for button in test.button if not button.disabled]
    for key in keys:
        if key in STARTING:
            continue
        if key not in [button.key for button in test.button if not button.disabled]:  # another one took it away
            test = app(f"pages/{name}.py", "fold_compare", recording=demonstration.id, **PAGES[name])
        test.button(key=key).click().run()
        assert not test.exception
        assert state() == before, f"{key} changes something"


def test_a_visitor_does_not_come_to_what_another_one_is_recording(demonstration):
    spec = RecordSpec(prompt="kate is in the car .", sampling=LLaDASampling(gen_length=48, steps=48), seed=9)
    running = engine().submit("record", spec, "another visitor")
    fresh = app("pages/causes.py")
    assert not engine().job(running.id).ended
    assert fresh.query_params["recording"] in (demonstration.id, [demonstration.id])
    engine().wait(running.id, 300)


def test_results_of_models_that_are_gone_do_not_stand_below_a_claim_that_nothing_was_pruned(demonstration, monkeypatch):
    query = {"runs_view": "Accuracy"}
    assert "No accuracies yet" in texts(app("pages/runs.py", **query))
    monkeypatch.setattr("pages.parts.runs.overview.evaluations", lambda: [object()])
    assert "No accuracies yet" not in texts(app("pages/runs.py", **query))


def test_another_model_in_the_address_is_not_looked_for(demonstration):
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    test.query_params["source"] = "/etc"
    test.run()
    assert "a model that this demonstration does not run" in texts(test)
    test.segmented_control(key="demo_model").set_value("bundled-ar").run()
    assert test.query_params["source"] in ("bundled-ar", ["bundled-ar"]) and not test.exception


def test_a_recording_is_made_and_one_beyond_the_bounds_is_refused(demonstration):
    test = app("pages/explore.py", "fold_record")
    before = len(engine().jobs("record"))
    test.number_input(key="bundled_gen_length").set_value(80).run()
    test.button(key="record").click().run()
    assert "This demonstration takes prompts of up to" in texts(test) and len(engine().jobs("record")) == before
    test.number_input(key="bundled_gen_length").set_value(16).run()
    test.text_area(key="prompt_bundled").set_value("kate is in the car .").run()
    test.button(key="record").click().run()
    assert len(engine().jobs("record")) == before + 1
    assert engine().wait(engine().jobs("record")[0].id, 300).state == "done"
    assert engine().jobs("record")[0].spec["model"] == ModelSpec().model_dump(mode="json")


def test_a_token_is_branched_within_the_bounds_and_refused_before_the_click_beyond_them(demonstration, monkeypatch):
    record = engine().jobs("record")[0]
    first = record.parameters(RecordSpec)
    position = len(open_trajectory(engine().result(record).file).labels()) - 1
    linked = app("pages/explore.py", recording=record.id, picked=f"{record.id}.0.{position}.end")
    assert [button.key for button in linked.button if button.key == "read_alternatives"], "a link starts nothing"
    test = app("pages/explore.py", recording=record.id)
    test.selectbox(key="denoise_token_box").set_value(position).run()
    assert engine().wait(engine().jobs("alternatives")[0].id, 300).state == "done"
    test.run()
    test.text_input(key="denoise_branch_word").set_value("river").run()
    assert not test.button(key="branch").disabled
    with monkeypatch.context() as patch:
        patch.setattr(demonstration_bounds, "MOST_TOKENS", 1)
        test.run()
        assert test.button(key="branch").disabled and "This demonstration takes prompts of up to" in texts(test)
    test.run()
    test.button(key="branch").click().run()
    branch = engine().wait(engine().jobs("record")[0].id, 300)
    assert branch.state == "done" and branch.spec["branch"]["word"].strip() == "river"
    assert branch.spec["prompt"] == first.prompt


def test_files_are_refused_at_the_door_and_a_demonstration_may_stand_open(demonstration):
    guard = guards.Uploads(inside, log_in=False)
    assert ask(guard, "/_stcore/upload_file/a/b", method="PUT", body=b"x" * 9)[0] == 403
    assert ask(guard, "/study")[2] == b"inside"
    assert door.why_closed("0.0.0.0") == ""
    assert guards.Uploads in [layer.cls for layer in guards.middleware()]
