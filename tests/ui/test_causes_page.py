"""The page Causes: an ablation over prompts is asked by hand, and its effects stand with intervals."""

import re
import time
from types import SimpleNamespace

import pytest

from analysis.engine import JobRecord
from analysis.engine.stored_tables import stored_tables
from analysis.specs import AblateSetSpec, LLaDASampling, ModelSpec, RecordSpec
from pages.parts.causes.over_prompts import _first_prompts
from pages.parts.session import engine
from tests.helpers import save_pruned, there
from tests.ui.helpers import app, charts, folds, texts
from training.measure import pruned_copy

pytestmark = pytest.mark.slow
SAMPLING = LLaDASampling(gen_length=6, steps=3)
OTHER = "leo is in the park ."


@pytest.fixture(scope="module")
def recording():
    """A finished recording in the app's own store."""
    record = engine().submit("record", RecordSpec(prompt="mia has a dog .", sampling=SAMPLING))
    return engine().wait(record.id, 300)


def test_an_ablation_over_prompts_shows_effects_with_intervals(recording):
    test = app("pages/causes.py", recording=recording.id)
    assert "This is the shipped study; your own runs take its place." in texts(test)
    box = test.text_area(key="ablate_set_prompts")
    assert len(box.value.splitlines()) == 50, "the bundled pair has prompts of its own"
    box.set_value("mia has a dog .").run()
    assert "at least 2" in texts(test), "one prompt has no interval"
    written = "mia has a dog .\nleo is in the park .\n\nben has a ball ."
    test.text_area(key="ablate_set_prompts").set_value(written).run()
    assert test.button(key="run_ablate_set").label == "Hide the sinks in 3 prompts"
    test.button(key="run_ablate_set").click().run()
    job = engine().wait(engine().jobs("ablate_set")[0].id, 300)
    assert job.state == "done", job.reason
    assert job.spec["prompts"] == ["mia has a dog .", "leo is in the park .", "ben has a ball ."]
    test.session_state["ablate_set_more"] = True
    test.run()
    assert not test.exception
    said = texts(test)
    assert "Divergence of the predictions" in said and "3 prompts, layers 0 to" in said
    assert "sinks that vary most" in said and "No control matches the sinks in both masking and" in said
    assert "Holm correction over" in said and "The left-to-right twin and random weights, shipped study" in folds(test)
    same = re.search(r"changes (\d+ of \d+) tokens \(\d+ %; over all prompts ", said)
    assert "One text" in said and same is not None
    assert f"sinks hidden: {same[1]} differ" in test.session_state["exhibits"]["causes_text"].sentence
    for control in ("masked", "mass"):
        test.selectbox(key="causes_text_beside").set_value(control).run()
        assert not test.exception, "the text of every control can be read"
    assert "Decoding is deterministic: hiding nothing changes 0 tokens." in said
    assert len([name for name in folds(test) if "model" not in name]) <= 4
    drawn = str(test.session_state["exhibits"]["ablate_set_levels_nll"])
    assert "as many random tokens" in drawn and "a masked one for a masked sink" in drawn
    assert "ablate_set_answer" in test.session_state["exhibits"]
    means, single = (frame.value for frame in test.dataframe[-2:])
    assert len(single) == 30 and set(single["prompt"]) == set(job.spec["prompts"])
    assert set(means["which"]) == {
        "target",
        "control: as many random tokens",
        "control: other masked positions",
        "control: random tokens of equal attention",
    }
    test.text_area(key="ablate_set_prompts").set_value("ben has a cat .\nmia is in the house .\nleo has a hat .").run()
    said = texts(test).replace("\\", "")
    latest = re.search(r"Other prompts than set\. Writes \d+ texts", said)
    assert latest is not None and "Each of 3 prompts" in said, "the latest one is shown"
    assert not [box for box in test.selectbox if box.label == "Recording"], "no one-prompt box above many prompts"
    test.button(key="run_ablate_set").click().run()
    job = engine().jobs("ablate_set")[0]
    while not (engine().progress(job.id).done or there(engine().job(job.id)).ended):
        time.sleep(0.05)
    engine().finish_early(job.id)
    stopped = engine().wait(job.id, 300)
    assert (stopped.state, stopped.summary["prompts"]) == ("done", 2), stopped.reason
    test.run()
    assert (
        not test.exception and "Stopped after 2 of 3 prompts" in texts(test) and "o control matches" not in texts(test)
    )
    assert test.button(key="go_on_ablate_set")


def test_a_page_that_is_loaded_again_begins_with_the_prompts_of_the_run_under_way(monkeypatch):
    spec = AblateSetSpec(prompts=("Sue is", "Leo is")).model_dump(mode="json")
    record = JobRecord(id="one", kind="ablate_set", spec=spec, state="running", created=0.0)
    monkeypatch.setattr(type(engine()), "jobs", lambda self, kind: [record])
    assert _first_prompts(SimpleNamespace(model=ModelSpec()), "ablate_set") == "Sue is\nLeo is"


def test_an_eviction_says_its_cost_runs_by_hand_and_opens_by_its_address(recording):
    test = app("pages/causes.py", recording=recording.id, causes_view="Cache eviction")
    assert not engine().jobs("evict") and "Press **Run eviction**" in texts(test) and "one after another" in texts(test)
    test.multiselect(key="evict_policies").set_value([]).run()
    assert "list at least 1" in texts(test)
    test.multiselect(key="evict_policies").set_value(["sinks"]).run()
    test.multiselect(key="evict_budgets").set_value([0.5]).run()
    test.text_area(key="evict_prompts").set_value("mia has a dog .\nleo is in the park .\nben has a ball .").run()
    test.button(key="run_evict").click().run()
    job = engine().wait(engine().jobs("evict")[0].id, 300)
    assert job.state == "done", job.reason
    test.run()
    said = texts(test)
    assert not test.exception and "sinks and a window" in said and "No time is given" in said
    assert "Agreement with the full text against bytes kept" in said and len(charts(test)) == 4
    means, single = (frame.value for frame in test.dataframe[-2:])
    assert len(means) == 4 and len(single) == 12
    tables = stored_tables(engine())
    assert len(tables["evictions"]) == 12 and len(tables["eviction_differences"]) == 4
    assert tables["evictions"]["bytes"].min() > 0 and tables["eviction_differences"]["low"].notna().all()
    again = app("pages/causes.py", eviction_job=job.id)
    assert "6 new tokens" in texts(again) and "Each of 3 prompts" in texts(again) and len(charts(again)) == 4


def test_a_pruned_model_stands_beside_the_dense_one(recording, bundled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruned") / "half"
    save_pruned(pruned_copy(bundled, "magnitude", 0.7, []), folder)
    alone = app("pages/causes.py", recording=recording.id, causes_view="Dense against pruned")
    assert "No other recording of this prompt" in texts(alone)
    for source, prompt in ((str(folder), "mia has a dog ."), ("bundled", OTHER), (str(folder), OTHER)):
        template = "off" if source != "bundled" else "auto"  # as Masks asks of pruned models
        spec = RecordSpec(model=ModelSpec(source=source), prompt=prompt, sampling=SAMPLING, chat_template=template)
        assert engine().wait(engine().submit("record", spec).id, 300).state == "done"
    test = app("pages/causes.py", recording=recording.id, causes_view="Dense against pruned")
    said = texts(test)
    assert len(test.selectbox(key="beside").options) == 1, "of the same prompt alone"
    assert "This is one prompt: it says nothing of others." in said
    assert "When each position is filled" in said and "sinks in common" in said.lower()
    assert "Flips per step over 2 prompts" in said and "tokens per text come to differ" in said


def test_the_largest_channels_are_recorded_by_hand_and_shown(recording):
    test = app("pages/explore.py", recording=recording.id, tab="Massive activations")
    assert "without its residual channels" in texts(test)
    test.button(key="record_channels").click().run()
    job = engine().wait(engine().jobs("record")[0].id, 300)
    assert job.state == "done" and job.spec["channels"] == 4
    test.run()
    assert not test.exception
    assert "The largest residual channel of each layer and step" in texts(test)
    assert test.dataframe[-1].value["largest in"].sum() == pytest.approx(100)


@pytest.mark.parametrize(("view", "kind", "says"), [("Logit lens", "lens", "become"), ("Geometry", "geometry", "rank")])
def test_what_looks_inside_is_asked_by_hand(recording, view, kind, says):
    test = app("pages/explore.py", recording=recording.id, tab=view)
    assert not engine().jobs(kind)
    test.button(key=f"ask_{kind}_").click().run()
    job = engine().wait(engine().jobs(kind)[0].id, 300)
    assert job.state == "done", job.reason
    test.run()
    assert not test.exception
    assert says in texts(test) and len(charts(test)) == (1 if kind == "lens" else 2)
