"""Every page through Streamlit's own test runner, with the real engine and the bundled model."""

import pytest
from streamlit.testing.v1 import AppTest

from analysis.specs import LLaDASampling, ModelSpec, RecordSpec
from pages.parts.session import engine
from tests.helpers import ROOT

pytestmark = pytest.mark.slow
PAGES = ("pages/overview.py", "pages/denoise.py", "pages/sinks.py")


@pytest.fixture(scope="module", autouse=True)
def _stop_engine():
    yield
    engine().close()
    engine.clear()


@pytest.fixture(scope="module")
def recording():
    """A finished recording in the app's own store."""
    sampling = LLaDASampling(gen_length=12, steps=6)
    record = engine().submit("record", RecordSpec(prompt="mia has a dog .", sampling=sampling))
    return engine().wait(record.id, 120)


def app(page: str | None = None, **query: str) -> AppTest:
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    if page:
        test.switch_page(page)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, test.exception
    return test


def another_model(test: AppTest, source: str) -> None:
    """Types a source into the sidebar."""
    test.selectbox(key="model_choice").set_value("another model …").run()
    test.text_input(key="model_source").set_value(source).run()


def texts(test: AppTest) -> str:
    elements = [*test.markdown, *test.caption, *test.info, *test.warning, *test.error, *test.title]
    return "\n".join(element.value for element in elements)


@pytest.mark.parametrize("page", PAGES)
def test_pages_open_before_anything_is_recorded(page, monkeypatch):
    monkeypatch.setattr(type(engine()), "jobs", lambda self, kind=None: [])
    test = app(page)
    assert "Model in use" in texts(test)
    if page != "pages/overview.py":
        assert "recording" in " ".join(element.value for element in test.info).lower()


def test_overview_describes_the_model_and_lists_recordings(recording):
    test = app()
    assert test.title[0].value == "SinkScope"
    assert "mia has a dog ." in texts(test)
    assert test.button(key=f"open_{recording.id}")


def test_denoise_records_the_prompt_and_shows_it():
    test = app("pages/denoise.py")
    test.text_area[0].set_value("leo is in the park .").run()
    test.number_input(key="bundled_gen_length").set_value(10).run()
    test.number_input(key="bundled_steps").set_value(5).run()
    test.number_input(key="seed").set_value(7).run()
    assert "10 new tokens in 5 steps" in texts(test)
    test.button(key="record").click().run()
    record = engine().jobs("record")[0]
    spec = record.parameters()
    assert (spec.prompt, spec.seed, spec.sampling.gen_length, spec.sampling.steps) == ("leo is in the park .", 7, 10, 5)
    assert engine().wait(record.id, 120).state == "done"
    test.run()
    assert not test.exception
    assert test.slider(key="step").max == 4
    assert "Text at step 0" in texts(test)


def test_settings_that_do_not_fit_cannot_be_submitted():
    test = app("pages/denoise.py")
    test.number_input(key="bundled_block_length").set_value(5).run()
    assert "multiple of the block length (5)" in test.error[0].value
    assert test.button(key="record").disabled


def test_denoise_replays_a_recording_from_its_address(recording):
    test = app("pages/denoise.py", recording=recording.id)
    test.slider(key="step").set_value(3).run()
    assert "Text at step 3" in texts(test)
    assert test.session_state["denoise_playing"] is False if "denoise_playing" in test.session_state else True
    test.selectbox(key="definition").set_value("above-others").run()
    assert test.slider(key="epsilon").value == 3.0
    assert not test.exception
    test.button(key="play").click().run()
    assert test.session_state["denoise_playing"] is True
    assert test.session_state["step"] == 4


def test_replay_stops_at_the_last_step(recording):
    test = app("pages/denoise.py", recording=recording.id)
    test.slider(key="step").set_value(4).run()
    test.button(key="play").click().run()
    test.run()
    assert test.session_state["step"] == 5
    assert test.session_state["denoise_playing"] is False


def test_an_unknown_recording_in_the_address_falls_back_to_the_newest(recording):
    test = app("pages/sinks.py", recording="nonsense")
    assert "Sink strength by layer and head" in texts(test)


def test_sinks_page_opens_the_strongest_head_and_any_other(recording):
    test = app("pages/sinks.py", recording=recording.id)
    layer, head = test.selectbox(key="layer").value, test.selectbox(key="head").value
    assert f"Layer {layer}, head {head}: attention over the steps" in texts(test)
    test.selectbox(key="layer").set_value(4)
    test.selectbox(key="head").set_value(2).run()
    assert "Layer 4, head 2: attention over the steps" in texts(test)
    test.segmented_control[0].set_value("One step")
    test.slider(key="step").set_value(2).run()
    assert "in step 2" in texts(test)
    assert not test.exception


def test_threshold_changes_the_number_of_sinks(recording):
    test = app("pages/sinks.py", recording=recording.id)
    before = float(test.metric[0].value)
    test.slider(key="k").set_value(0.5).run()
    assert float(test.metric[0].value) > before


def test_the_full_map_is_fetched_on_demand(recording):
    test = app("pages/sinks.py", recording=recording.id)
    maps = len(engine().jobs("attention_map"))
    test.toggle(key="full_map").set_value(True).run()
    job = engine().jobs("attention_map")[0]
    assert len(engine().jobs("attention_map")) == maps + 1
    assert engine().wait(job.id, 60).state == "done"
    test.run()
    assert "Full attention map of layer" in texts(test)
    assert not test.error


def test_a_map_needs_the_model_that_was_recorded(recording, monkeypatch):
    monkeypatch.setattr("analysis.models.checkpoint.fingerprint", lambda found: "another")
    test = app("pages/sinks.py", recording=recording.id)
    test.toggle(key="full_map").set_value(True).run()
    assert "has changed since" in test.info[0].value


def test_a_failed_recording_says_why_and_can_be_tried_again():
    spec = RecordSpec(prompt="ben", sampling=LLaDASampling(gen_length=300, steps=300))
    failed = engine().wait(engine().submit("record", spec).id, 60)
    assert failed.state == "failed"
    test = app("pages/denoise.py", recording=failed.id)
    assert "takes 256" in test.error[0].value
    test.button(key="try_again").click().run()
    assert engine().jobs("record")[0].id != failed.id


def test_a_bad_model_leaves_the_one_in_use(tmp_path):
    test = app()
    another_model(test, str(tmp_path))
    test.button(key="load_model").click().run()
    assert "no config.json" in test.error[0].value
    assert "`bundled` stays in use" in test.error[0].value
    assert test.session_state["model_in_use"] == ModelSpec()


def test_loading_a_model_puts_it_in_use():
    golden = str(ROOT / "tests" / "golden" / "dream-gqa")
    test = app()
    another_model(test, golden)
    test.selectbox(key="model_device").set_value("cpu").run()
    test.button(key="load_model").click().run()
    assert engine().wait(engine().jobs("load")[0].id, 60).state == "done"
    test.run()
    assert test.session_state["model_in_use"] == ModelSpec(source=golden, device="cpu")
    test.switch_page("pages/denoise.py").run()
    assert not test.exception
    assert test.selectbox(key=f"{golden}_alg").value == "entropy"
