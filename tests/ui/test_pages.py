"""Every page through Streamlit's own test runner, with the real engine and the bundled model."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks import definitions
from analysis.sinks.token_states import ALL
from analysis.specs import AutoregressiveSampling, LLaDASampling, ModelSpec, RecordSpec, SinkParams
from pages.parts.dynamics import curves
from pages.parts.session import engine
from tests.helpers import ROOT
from tests.ui.helpers import another_model, app, charts, prompt_box, shown_box, texts

pytestmark = pytest.mark.slow
PAGES = {
    "pages/denoise.py": "the text fills in",
    "pages/sinks.py": "how much of its attention each layer and head pays to a few tokens",
    "pages/dynamics.py": "which tokens each layer rests on",
    "pages/causes.py": "how far the text changes where they are taken away",
    "pages/experts.py": "how evenly its experts are used",
}
"""With what each would show, which it says before there is anything to show."""


@pytest.fixture(scope="module")
def recording():
    """A finished recording in the app's own store."""
    sampling = LLaDASampling(gen_length=12, steps=6)
    record = engine().submit("record", RecordSpec(prompt="mia has a dog .", sampling=sampling))
    return engine().wait(record.id, 300)


@pytest.mark.parametrize(("page", "shows"), PAGES.items())
def test_pages_say_what_they_show_before_anything_is_recorded(page, shows, monkeypatch):
    monkeypatch.setattr(type(engine()), "jobs", lambda self, kind=None: [])
    test = app(page)
    assert "Model in use" in texts(test)
    said = " ".join(element.value for element in test.info)
    assert "recording" in said and shows in said
    leads_on = {link.proto.label for link in test.get("page_link")} | {button.key for button in test.button}
    assert leads_on & {"**Record a prompt**", "record", "record_set"}


def test_the_sidebar_describes_the_model_in_use(recording):
    facts = app("pages/denoise.py").sidebar.table[0].value.to_string()
    assert "LLaDA" in facts and "every token sees every other" in facts and "8 × 6" in facts


def test_denoise_records_the_prompt_and_shows_it():
    test = app("pages/denoise.py")
    prompt_box(test).set_value("leo is in the park .").run()
    test.number_input(key="bundled_gen_length").set_value(10).run()
    test.number_input(key="bundled_steps").set_value(5).run()
    test.number_input(key="seed").set_value(7).run()
    assert "10 new tokens in 5 steps" in texts(test)
    test.button(key="record").click().run()
    record = engine().jobs("record")[0]
    spec = record.parameters()
    assert (spec.prompt, spec.seed, spec.sampling.gen_length, spec.sampling.steps) == ("leo is in the park .", 7, 10, 5)
    assert engine().wait(record.id, 300).state == "done"
    test.run()
    assert not test.exception
    assert "What the model wrote" in texts(test)
    assert test.session_state["denoise_play"] == record.id, "it plays once by itself"


def test_settings_that_do_not_fit_cannot_be_submitted():
    test = app("pages/denoise.py")
    test.number_input(key="bundled_block_length").set_value(5).run()
    assert "multiple of the block length (5)" in test.error[0].value
    assert test.button(key="record").disabled


def test_denoise_opens_a_recording_in_the_explorer_where_its_address_says(recording, explorer_sent):
    test = app("pages/denoise.py", recording=recording.id, step="3", definition="above-others", epsilon="2.5")
    header, arrays = explorer_sent[-1]
    assert prompt_box(test).value == recording.spec["prompt"]
    assert header["state"] == {"step": "3", "definition": "above-others", "epsilon": "2.5", "asks": "yes"}
    trajectory = open_trajectory(engine().result(recording).file)
    mass = trajectory.relative_mass()
    assert np.array_equal(arrays["0.model"].reshape(mass.shape[0], -1), definitions.mean_mass(mass))
    heads = np.moveaxis(mass, 0, 2).reshape(-1)
    assert np.array_equal(arrays["0.heads"].astype(np.float32), heads, equal_nan=True)


def test_a_branch_stands_beside_the_text_that_it_left(recording, monkeypatch):
    """A token that was chosen is asked about, and a link to the branch shows both texts."""
    trajectory = open_trajectory(engine().result(recording).file)
    position = trajectory.info.prompt_length + 1
    test = app("pages/denoise.py", recording=recording.id)
    test.selectbox(key="denoise_token_box").set_value(position).run()
    asked = engine().jobs("alternatives")[0]
    assert engine().wait(asked.id, 300).state == "done"
    test.run()
    assert f"What else could stand at position {position}" in texts(test) and test.button(key="branch").disabled
    named = test.query_params["picked"]
    assert named in (f"{recording.id}.5.{position}.end", [f"{recording.id}.5.{position}.end"])
    followed = app("pages/denoise.py", recording=recording.id, picked=f"{recording.id}.5.{position}.end")
    assert f"What else could stand at position {position}" in texts(followed) and followed.dataframe
    for nonsense in (f"{recording.id}.5.{10**9}", f"{recording.id}.a.b", "...", f"{recording.id}.5.1.2.end"):
        assert "What else" not in texts(app("pages/denoise.py", recording=recording.id, picked=nonsense))
    test.text_input(key="denoise_branch_word").set_value("entanglement").run()
    assert "no single token" in test.error[0].value
    test.text_input(key="denoise_branch_word").set_value("river").run()
    test.button(key="branch").click().run()
    assert "picked" not in test.query_params
    job = engine().wait(engine().jobs("record")[0].id, 300)
    assert job.state == "done" and job.spec["branch"]["parent"] == recording.key
    before = len(engine().jobs())
    linked = app("pages/denoise.py", recording=job.id)
    assert not linked.exception and len(engine().jobs()) == before, "a link shows"
    assert f"wrote ‘river’ at position {position}" in texts(linked) and "How far the two texts agree" in texts(linked)
    monkeypatch.setattr(type(engine()), "answered", lambda self, kind, key: None)
    assert "The text that it left is not in the store." in texts(app("pages/denoise.py", recording=job.id))


def test_the_box_takes_over_the_prompt_of_what_is_shown_unless_something_was_typed(recording):
    test = app("pages/denoise.py")
    other = RecordSpec(prompt="Sue has a cat.", sampling=LLaDASampling(gen_length=4, steps=2))
    record = engine().wait(engine().submit("record", other).id, 300)
    test.query_params["recording"] = record.id
    test.run()
    assert prompt_box(test).value == "Sue has a cat."
    prompt_box(test).set_value("Leo is").run()
    test.query_params["recording"] = recording.id
    test.run()
    assert prompt_box(test).value == "Leo is"
    test.selectbox(key="prompt_bundled_example").set_value("The opposite of narrow is").run()
    assert prompt_box(test).value == "The opposite of narrow is"
    assert test.selectbox(key="prompt_bundled_example").value is None


def test_what_speaks_against_a_prompt_is_said_before_it_is_recorded():
    test = app("pages/denoise.py")
    prompt_box(test).set_value("What is quantum entanglement? mia and Sue [MASK]").run()
    said = test.warning[0].value
    assert "‘quantum’, ‘entanglement’, ‘mia’" in said and "‘Mia’" in said and "Sue" not in said and "MASK" not in said
    assert not test.button(key="record").disabled
    prompt_box(test).set_value("").run()
    assert "prompt is empty" in test.warning[0].value and not test.button(key="record").disabled
    prompt_box(test).set_value(" ".join(["Sue"] * 230)).run()
    assert "takes 231 tokens and 48 would be written; this model takes 256 in all. At most 25" in test.error[0].value
    assert test.button(key="record").disabled
    prompt_box(test).set_value(" ".join(["Sue"] * 300)).run()
    assert "301 tokens" in test.error[0].value and "Shorten it" in test.error[0].value
    prompt_box(test).set_value("Sue is").run()
    assert not test.error and not test.warning
    test.number_input(key="bundled_gen_length").set_value(254).run()
    assert "At most 253 new tokens fit" in test.error[0].value


def test_the_newest_recording_of_the_model_in_use_is_shown_and_one_can_be_removed(recording):
    sampling = AutoregressiveSampling(gen_length=2)
    spec = RecordSpec(model=ModelSpec(source="bundled-ar"), prompt="Sue", sampling=sampling)
    other = engine().wait(engine().submit("record", spec).id, 120)
    newest = next(job for job in engine().jobs("record") if job.spec["model"]["source"] == "bundled")
    test = app("pages/sinks.py")
    assert test.session_state["recording_shown"] == newest.id
    test.session_state["model_in_use"] = ModelSpec(source="bundled-ar")
    test.run()
    assert test.session_state["recording_shown"] == other.id
    test.checkbox(key=f"sure_{other.id}").check().run()
    test.button(key=f"forget_{other.id}").click().run()
    assert not engine().has_result(other) and test.session_state["recording_shown"] != other.id
    linked = app("pages/sinks.py", recording=recording.id)
    assert linked.session_state["recording_shown"] == recording.id


def test_an_unknown_recording_in_the_address_falls_back_to_the_newest(recording):
    test = app("pages/sinks.py", recording="nonsense")
    assert "Sink strength by layer and head" in texts(test)


def test_sinks_page_opens_the_strongest_head_and_any_other(recording):
    test = app("pages/sinks.py", recording=recording.id)
    trajectory = open_trajectory(engine().result(recording).file)
    flags = definitions.find_sinks(definitions.mean_mass(trajectory.mass), SinkParams())
    strength = definitions.sink_strength(trajectory.mass, flags).mean(axis=0)
    layer, head = np.unravel_index(strength.argmax(), strength.shape)
    assert f"Layer {layer}, head {head}: attention over the steps" in texts(test)
    test.selectbox(key="layer").set_value(4).run()
    assert f"Layer 4, head {strength[4].argmax()}: attention over the steps" in texts(test)
    test.selectbox(key="head").set_value(2).run()
    assert "Layer 4, head 2: attention over the steps" in texts(test)
    test.segmented_control(key="view").set_value("One step")
    test.slider(key="step").set_value(2).run()
    assert "in step 2" in texts(test)
    test.selectbox(key="position").set_value(1).run()
    said = texts(test)
    linked = app("pages/sinks.py", recording=recording.id, position="2")
    called = [trajectory.names.over_steps()[position] for position in (1, 2)]
    assert f"Attention to {called[1]}" in texts(linked)
    assert f"Attention to {called[0]}" in said and f"Heads that feed {trajectory.names.at(2)[1]} in step 2" in said
    assert not test.exception


def test_what_is_pointed_at_is_named_as_it_stands_in_its_step(recording):
    """Which is no word that a masked position becomes later."""
    trajectory = open_trajectory(engine().result(recording).file)
    at = trajectory.names.at
    grid, head = charts(app("pages/sinks.py", recording=recording.id, step="1", view="One step"))[:2]
    strongest = {line.split("most attention: ")[1] for row in grid["figure"]["data"][0]["text"] for line in row}
    assert strongest <= set(at(1)) and any("still masked" in name for name in strongest)
    assert head["figure"]["data"][0]["text"] == [at(step) for step in range(trajectory.steps)]
    raster = charts(app("pages/dynamics.py", recording=recording.id, dynamics_view="Positions"))[0]["figure"]["data"]
    assert all(trace["hovertemplate"].startswith("step %{y}, %{text}") for trace in raster if "text" in trace)


def test_a_recording_is_tagged_and_starred_and_the_box_finds_it_by_that(recording):
    test = app("pages/sinks.py", recording=recording.id)
    automatic = shown_box(test).value

    def say(tags, star):
        test.text_input(key=f"tags_{recording.id}").set_value(tags)
        test.toggle(key=f"star_{recording.id}").set_value(star)
        next(button for button in test.button if button.label == "Save").click().run()
        assert not test.exception and not test.error
        return shown_box(app("pages/dynamics.py", recording=recording.id)).options

    options = say("mine, for the talk", True)
    assert sum(option.startswith("★ ") and option.endswith(" #mine #for the talk") for option in options) == 1
    assert not any("#" in option or "★" in option for option in say("", False))
    assert shown_box(test).value == automatic


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
    assert engine().wait(job.id, 300).state == "done"
    test.run()
    assert "Full attention map of layer" in texts(test)
    assert not test.error


def test_what_a_token_attends_to_is_drawn_for_chosen_heads(recording):
    test = app("pages/sinks.py", recording=recording.id, position="2", layer="1", head="1", step="3")
    named = open_trajectory(engine().result(recording).file).names.at(3)[2]
    assert f"What {named}" not in texts(test)
    test.toggle(key="token_lines").set_value(True).run()
    for heads in (["layer 1, head 1"], ["layer 0, head 0", "layer 1, head 1"]):
        for _ in heads:
            for job in engine().jobs("attention_map"):
                assert engine().wait(job.id, 300).state == "done"
            test.run()
        assert f"What {named}" in texts(test) and not test.error
        table = test.toggle(key="token_lines_figure_table").set_value(True).run().dataframe[-1].value
        assert all(np.isclose(table[head].sum(), 1, atol=1e-4) for head in heads)
        test.toggle(key="token_lines_figure_table").set_value(False)
        test.multiselect(key="line_heads").set_value(["layer 0, head 0", "layer 1, head 1"]).run()


def test_a_map_needs_the_model_that_was_recorded(recording, monkeypatch):
    monkeypatch.setattr("pages.parts.recordings.references.fingerprint", lambda found: "another")
    test = app("pages/sinks.py", recording=recording.id)
    test.toggle(key="full_map").set_value(True).run()
    assert "has changed since" in test.info[0].value


def test_a_failed_recording_says_why_and_can_be_tried_again():
    spec = RecordSpec(prompt="ben", sampling=LLaDASampling(gen_length=300, steps=300))
    failed = engine().wait(engine().submit("record", spec).id, 300)
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
    assert "bundled stays in use" in test.error[0].value
    assert test.session_state["model_in_use"] == ModelSpec()


def test_loading_a_model_puts_it_in_use():
    golden = str(ROOT / "tests" / "golden" / "dream-gqa")
    test = app()
    another_model(test, golden)
    test.selectbox(key="model_device").set_value("cpu").run()
    test.button(key="load_model").click().run()
    assert engine().wait(engine().jobs("load")[0].id, 300).state == "done"
    test.run()
    assert test.session_state["model_in_use"] == ModelSpec(source=golden, device="cpu")
    test.switch_page("pages/denoise.py").run()
    assert not test.exception
    assert test.selectbox(key=f"{golden}_alg").value == "entropy"


def test_the_model_in_use_is_in_the_address():
    golden = str(ROOT / "tests" / "golden" / "dream-gqa")
    for device, expected in (("cpu", ModelSpec(source=golden, device="cpu")), ("abacus", ModelSpec())):
        test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
        test.query_params["source"], test.query_params["device"] = golden, device
        test.run()
        assert not test.exception, test.exception
        assert test.session_state["model_in_use"] == expected


def test_a_deep_link_outlines_the_head_it_opens(recording):
    test = app("pages/sinks.py", recording=recording.id, layer="3", head="2")
    assert "Layer 3, head 2: attention over the steps" in texts(test)
    figure = charts(test)[0]["figure"]
    outline = figure["layout"]["shapes"][0]
    assert (outline["y0"], outline["x0"]) == (2.5, 1.5)


# --- sinks in depth ---------------------------------------------------------------------------------------------


def settle(test: AppTest, kind: str) -> AppTest:
    """Waits for the newest job of a kind and runs the page again."""
    job = engine().jobs(kind)[0]
    ended = engine().wait(job.id, 300)
    assert ended.state == "done", ended.reason
    test.run()
    assert not test.exception, test.exception
    assert not test.error
    return test


@pytest.mark.parametrize("metric", ["strength", "first", "entropy", "temporal-variance", "lifetime", "value-norm"])
def test_every_head_metric_draws_in_every_view(recording, metric):
    from analysis.sinks.metrics import HEAD_METRICS

    test = app("pages/sinks.py", recording=recording.id)
    test.selectbox(key="metric").set_value(metric).run()
    title = HEAD_METRICS[metric].title
    assert f"{title} by layer and head" in texts(test)
    for view in ("Chosen steps", "Ranking"):
        test.segmented_control(key="sinks_view").set_value(view).run()
        assert not test.exception, test.exception
    assert f"Heads by {title.lower()}" in texts(test)
    assert len(test.dataframe[0].value) == recording.summary["layers"] * recording.summary["heads"]


def test_chosen_steps_and_pinned_heads_are_shown(recording):
    test = app("pages/sinks.py", recording=recording.id)
    test.segmented_control(key="sinks_view").set_value("Chosen steps").run()
    test.multiselect(key="steps").set_value([1, 4]).run()
    assert not test.exception, test.exception
    test.segmented_control(key="sinks_view").set_value("Ranking").run()
    test.multiselect(key="pinned").set_value(["layer 3, head 1", "layer 0, head 2", "layer 1, head 0"]).run()
    assert "Layer 3, head 1: attention over the steps" in texts(test)
    test.multiselect(key="pinned").set_value([]).run()
    first = test.dataframe[0].value.iloc[0]
    assert f"Layer {int(first['layer'])}, head {int(first['head'])}: attention over the steps" in texts(test)


def test_ablation_shows_sinks_beside_its_controls_and_the_autoregressive_model(recording):
    test = app("pages/sinks.py", recording=recording.id)
    test.segmented_control(key="sinks_view").set_value("Ablation").run()
    assert not test.dataframe
    test.button(key="record_twin").click().run()
    twin = engine().wait(engine().jobs("record")[0].id, 300)
    assert twin.parameters().sampling == AutoregressiveSampling(gen_length=12)
    assert twin.spec["prompt"] == recording.spec["prompt"]
    test.run()
    test.button(key="run_ablation").click().run()
    for job in engine().jobs("ablate")[:2]:
        ended = engine().wait(job.id, 300)
    assert ended.state == "done", ended.reason
    test.run()
    assert not test.exception, test.exception
    table = test.dataframe[0].value
    blocked = ["nothing", "sinks", "as many random tokens", "random tokens of equal attention"]
    blocked += ["heaviest non-sinks", "first token alone"]
    assert table["title"].tolist() == blocked * 2
    assert table["model"].tolist() == ["bundled"] * 6 + ["bundled-ar"] * 6
    assert table["aligned"].tolist()[::6] == table["agreement"].tolist()[::6] == [1, 1]
    assert (table["aligned"] >= table["agreement"]).all()
    assert "What bundled-ar wrote" in texts(test)

    view = {"recording": recording.id, "sinks_view": "Ablation"}
    assert not app("pages/sinks.py", **view, k="1.5").dataframe
    again = app("pages/sinks.py", **view, reference=str(test.query_params["reference"]).strip("[]'"))
    assert again.dataframe[0].value.equals(table)


def own_rows(test: AppTest):
    """The rows of the open table that are of the recording itself; the random weights' may join them at any time."""
    table = test.dataframe[0].value
    return table[table["series"] == "this recording"]


def test_dynamics_draws_every_curve_and_splits_by_kind(recording):
    from analysis.sinks.metrics import CURVES

    test = app("pages/dynamics.py", recording=recording.id)
    for curve in CURVES.values():
        assert curve.title in texts(test)
    assert "Which tokens are sinks" in texts(test)
    test.toggle(key="kinds_over_steps_table").set_value(True).run()
    whole = own_rows(test)
    test.selectbox(key="split").set_value("[MASK] only").run()
    assert "Number of sinks" in texts(test)
    assert "Gini" not in texts(test)
    masks = own_rows(test)
    assert masks["[MASK]"].tolist() == whole["[MASK]"].tolist()
    assert masks[["first", "last", "word", "punctuation"]].to_numpy().sum() == 0
    test.selectbox(key="scope").set_value("layer 2").run()
    test.selectbox(key="scope_head").set_value("head 1").run()
    assert not test.exception


def test_dynamics_compares_recordings_of_different_lengths(recording):
    sampling = LLaDASampling(gen_length=12, steps=4)
    other = engine().submit("record", RecordSpec(prompt="leo has a cat .", sampling=sampling))
    engine().wait(other.id, 300)
    test = app("pages/dynamics.py", recording=recording.id)
    test.multiselect(key="compare_choice").set_value([other.id]).run()
    assert not test.exception, test.exception
    assert test.query_params["compare"] in (other.id, [other.id])
    again = app("pages/dynamics.py", recording=recording.id, compare=other.id)
    assert again.multiselect(key="compare_choice").value == [other.id]
    test.segmented_control(key="dynamics_view").set_value("Stable or moving").run()
    assert "Spatial against temporal variance" in texts(test)


def test_of_several_panels_each_has_a_sentence_of_its_own(monkeypatch):
    monkeypatch.setattr(curves, "_kinds_reading", lambda panel, *_: panel)
    said = {"this recording": "All are first.", "noised text": "", "random weights": "Half are words."}
    drawn = curves._kinds_readings(said, SinkParams(), (None, None), ALL)
    assert drawn == "This recording: All are first. Random weights: Half are words."
    del said["random weights"], said["noised text"]
    assert curves._kinds_readings(said, SinkParams(), (None, None), ALL) == "All are first."


def test_dynamics_stands_beside_random_weights(recording, explorer_sent):
    test = app("pages/dynamics.py", recording=recording.id)
    assert test.toggle(key="random_reference").value, "on by itself for a small model"
    test.button(key="offer_reference_").click().run()
    settle(test, "reference")
    test.toggle(key="kinds_over_steps_table").set_value(True).run()
    table = test.dataframe[0].value
    assert table["series"].unique().tolist() == ["this recording", "random weights"]
    app("pages/denoise.py", recording=recording.id)
    assert "0.randomWeights" in explorer_sent[-1][1]
    assert "Random weights:" in texts(app("pages/sinks.py", recording=recording.id))
    test.toggle(key="random_reference").set_value(False).run()
    assert "random weights" not in test.dataframe[0].value["series"].tolist()


def test_dynamics_shows_noised_text_beside_the_real_trajectory(recording):
    test = app("pages/dynamics.py", recording=recording.id)
    test.segmented_control(key="dynamics_view").set_value("Noised against real").run()
    test.button(key="offer_noise_").click().run()
    settle(test, "noise")
    assert "Entropy of the mass" in texts(test)
    assert "Turnover" not in texts(test)
    assert "Spatial against temporal variance" in texts(test)


def test_the_autoregressive_reference_stands_beside_by_itself(recording):
    spec = RecordSpec(
        model=ModelSpec(source="bundled-ar"), prompt="mia has a dog .", sampling=AutoregressiveSampling(gen_length=12)
    )
    twin = engine().wait(engine().submit("record", spec).id, 300)
    test = app("pages/dynamics.py", recording=recording.id, dynamics_view="Stable or moving", random_reference="false")
    test.toggle(key="variances_table").set_value(True).run()
    layers = recording.summary["layers"] + twin.summary["layers"]
    assert len(test.dataframe[0].value) == layers
    assert test.query_params["reference"] in (twin.id, [twin.id])
    alone = app(
        "pages/dynamics.py",
        recording=recording.id,
        dynamics_view="Stable or moving",
        random_reference="false",
        reference="none",
        variances_table="true",
    )
    assert len(alone.dataframe[0].value) == recording.summary["layers"]


def test_a_split_changes_the_heads_numbers(recording):
    test = app("pages/sinks.py", recording=recording.id, head_grid_table="true")
    whole = test.dataframe[0].value["Sink strength"].to_numpy()
    parts = []
    for split in ("[MASK] only", "without [MASK]"):
        test.selectbox(key="split").set_value(split).run()
        parts.append(test.dataframe[0].value["Sink strength"].to_numpy())
    np.testing.assert_allclose(sum(parts), whole, atol=1e-5)


def test_positions_have_a_table_with_the_same_numbers(recording):
    test = app("pages/dynamics.py", recording=recording.id)
    test.segmented_control(key="dynamics_view").set_value("Positions").run()
    test.toggle(key="lifetime_table").set_value(True).run()
    table = test.dataframe[0].value
    assert list(table.columns)[:3] == ["position", "finished token", "steps as a sink"]
    assert table["steps as a sink"].max() <= 6
    parts = []
    for split in ("[MASK] only", "without [MASK]"):
        test.selectbox(key="split").set_value(split).run()
        parts.append(test.dataframe[0].value["steps as a sink"].to_numpy())
    assert (sum(parts) == table["steps as a sink"].to_numpy()).all()


def test_a_recording_made_elsewhere_opens_without_its_model(recording, tmp_path):
    from dataclasses import replace

    from analysis.recording.trajectory_file import save

    trajectory = open_trajectory(engine().result(recording).file)
    model = trajectory.info.model.model_copy(update={"source": "someone/far-away", "fingerprint": "f" * 32})
    path = tmp_path / "shared.safetensors"
    save(replace(trajectory, info=trajectory.info.model_copy(update={"model": model})), path)
    record = engine().add_recording(path)
    assert record.summary["imported"]
    for page in ("pages/denoise.py", "pages/sinks.py", "pages/dynamics.py"):
        test = app(page, recording=record.id)
        assert not test.error, page
    test = app("pages/sinks.py", recording=record.id)
    test.toggle(key="full_map").set_value(True).run()
    assert "needs the recorded model" in test.info[0].value


def test_a_stored_recording_that_is_damaged_can_be_removed_and_recorded_again():
    spec = RecordSpec(prompt="sue has a cat .", sampling=LLaDASampling(gen_length=4, steps=2))
    record = engine().wait(engine().submit("record", spec).id, 300)
    engine().result(record).file.write_bytes(b"nothing")
    test = app("pages/denoise.py", recording=record.id)
    assert "not a whole recording" in test.error[0].value
    assert engine().submit("record", spec).id == record.id, "asking again finds the damaged file"
    test.button(key=f"remove_{record.id}").click().run()
    assert not test.exception
    again = engine().wait(engine().submit("record", spec).id, 300)
    assert open_trajectory(engine().result(again).file).steps == 2


def test_a_page_is_exported_with_everything_that_was_chosen(recording, monkeypatch):
    written = []
    monkeypatch.setattr("pages.parts.charts.page_html", lambda *parts, subject: written.append(parts) or "")
    monkeypatch.setattr("streamlit.download_button", lambda label, data, *rest, **options: data())
    app("pages/dynamics.py", recording=recording.id, scope="layer 2", split="without [MASK]")
    _, settings, exhibits, _ = written[-1]
    assert settings["prompt"] == "mia has a dog ."
    assert settings["selection"]["recording"] == recording.id
    assert settings["selection"]["scope"] == "layer 2"
    assert settings["sinks"]["k"] == 2
    assert "Which tokens are sinks" in [exhibit.title for exhibit in exhibits]


def test_a_download_runs_no_page_anew(recording):
    """The end of a run takes away the file that was made for the click, before the browser has fetched it."""
    for page in ("pages/denoise.py", "pages/sinks.py", "pages/start.py"):
        downloads = app(page, recording=recording.id).get("download_button")
        assert downloads and all(button.proto.ignore_rerun for button in downloads)


def test_the_export_of_a_text_has_the_text_and_plays_it(recording, monkeypatch):
    made = {}
    monkeypatch.setattr(
        "streamlit.download_button", lambda label, data, name, *rest, **options: made.update({label: data})
    )
    app("pages/denoise.py", recording=recording.id)
    html = made["Export page (HTML)"]()
    assert engine().result(recording).summary["text"] in html and 'class="sinkscope-explorer"' in html


def test_an_export_has_the_cards_and_neither_large_tables_nor_hints_and_a_name_of_its_own(recording, monkeypatch):
    made = {}
    monkeypatch.setattr(
        "streamlit.download_button", lambda label, data, name, *rest, **options: made.update({label: (data, name)})
    )
    test = app("pages/sinks.py", recording=recording.id)
    test.toggle(key="full_map").set_value(True).run()
    engine().wait(engine().jobs("attention_map")[0].id, 300)
    test.run()
    assert "Full attention map" in texts(test)
    write, name = made["Export page (HTML)"]
    html = write()
    assert name == "sinkscope-sinks-heads-mia-has-a-dog.html"
    assert '<p class="subject">mia has a dog .</p>' in html
    for told in (
        "Sinks, mean over steps",
        "Attention they take",
        "Uniform attention would give them",
        "mia has a dog .",
    ):
        assert told in html
    assert "Click a cell" not in html and "click to open" not in html
    assert "Full attention map" in html
    widest = max(html[at:].split("</tr>")[0].count("<th") for at in range(len(html)) if html.startswith("<tr", at))
    assert widest <= 12
    assert "Click a cell to open that head" in texts(test)
