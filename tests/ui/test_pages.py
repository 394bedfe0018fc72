"""Every page through Streamlit's own test runner, with the real engine and the bundled model."""

import re

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks import definitions
from analysis.sinks.step_inputs import ALL
from analysis.specs import AutoregressiveSampling, LLaDASampling, ModelSpec, RecordSpec, SinkParams
from analysis.study import findings
from analysis.words import UNTRAINED_LABEL
from pages.parts.explore import asking, dynamics
from pages.parts.explore.dynamics import EXPLORED
from pages.parts.session import engine
from tests.helpers import ROOT
from tests.ui.helpers import (
    another_model,
    app,
    charts,
    folds,
    prompt_box,
    sent_to_explorer,
    shown_box,
    texts,
    unfold,
    unglued,
)

pytestmark = pytest.mark.slow
PAGES = {
    "pages/explore.py": "the text fills in",
    "pages/evidence.py": "which tokens are the sinks of each layer",
    "pages/causes.py": "hides a recording's sinks and shows how far the text changes",
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
    monkeypatch.setattr(findings, "EXAMPLE", ROOT / "none")
    test = app(page)
    assert "**Model**" in texts(test)
    said = " ".join(element.value for element in test.info)
    assert "recording" in said and shows in said
    leads_on = {link.proto.label for link in test.get("page_link")} | {button.key for button in test.button}
    assert leads_on & {"**Record a prompt**", "record", "record_set"}


def test_explore_opens_on_the_shipped_example_before_anything_is_recorded_and_runs_nothing(monkeypatch):
    ran = engine().jobs()
    monkeypatch.setattr(type(engine()), "jobs", lambda self, kind=None: [])
    test = app("pages/explore.py")
    assert "Shipped study" in texts(test) and test.button(key="record") and not test.info
    sent = [part.proto.bytes for part in test.get("bidi_component")]
    assert any(b"Left-to-right" in each for each in sent)
    monkeypatch.setattr(type(engine()), "seconds_to_start", lambda self: 60.0)
    (said,) = re.findall(r"about (\d+) s on an idle machine", texts(test.run()))
    assert int(said) >= 60, "the start of the first worker is part of what a recording takes"
    monkeypatch.undo()
    assert [job.id for job in engine().jobs()] == [job.id for job in ran]


def test_causes_opens_on_the_shipped_study_before_anything_is_recorded(monkeypatch):
    monkeypatch.setattr(type(engine()), "jobs", lambda self, kind=None: [])
    test = app("pages/causes.py")
    said = unglued(texts(test)).replace("\\", "")
    assert (
        "##### Hiding the sinks hurts the text more than hiding other masked positions: perplexity 3.8 against 2.8 "
        "(nothing hidden: 2.4)."
    ) in said
    assert "Perplexity is not significantly higher or lower than with random tokens of equal attention (4.5)." in said
    assert (
        "Hiding the sinks changes 63 of 100 tokens (two unrelated texts: 65), 32 with as many random tokens, 38 with "
        "other masked positions and 43 with random tokens of equal attention." in said
    )
    assert (
        "With sinks hidden, texts end at token 21 (nothing hidden: 44), earlier than with any control (44 to 45). "
        "No control matches the sinks in both masking and attention." in said
    )
    assert (
        "| sinks minus other masked positions (equal attention in the first half) | +0.104 [+0.080, +0.128] | −0.011 "
        "[−0.037, +0.016] | +0.047 [+0.029, +0.064] |" in said
    )
    [drawn] = charts(test)
    written = str(drawn)
    assert (
        "<b>random tokens of equal attention</b><br>7.5 tokens, 35 % masked, 10 % of attention" in written
        and "<b>value</b><br>sinks against<br>control" in written
        and "nothing hidden: 2.4" in written
    )


def test_the_sidebar_describes_the_model_in_use(recording):
    facts = unglued(app("pages/explore.py").sidebar.table[0].value.to_string())
    assert "LLaDA" in facts and "every token sees every other" in facts and "8 × 6" in facts


def test_a_prompt_is_recorded_and_shown():
    test = app("pages/explore.py", "fold_record")
    prompt_box(test).set_value("leo is in the park .").run()
    test.number_input(key="bundled_gen_length").set_value(10).run()
    test.number_input(key="bundled_steps").set_value(5).run()
    test.number_input(key="seed").set_value(7).run()
    assert "10 new tokens in 5 forwards" in texts(test)
    test.button(key="record").click().run()
    record = engine().jobs("record")[0]
    spec = record.parameters()
    assert (spec.prompt, spec.seed, spec.sampling.gen_length, spec.sampling.steps) == ("leo is in the park .", 7, 10, 5)
    assert engine().wait(record.id, 300).state == "done"
    test.run()
    assert not test.exception
    assert test.segmented_control(key="tab").value is None, "what the explorer shows is not repeated beneath it"
    assert test.session_state["explorer_plays"] == record.id, "it plays once by itself"


def test_settings_that_do_not_fit_cannot_be_submitted():
    test = app("pages/explore.py", "fold_record")
    test.number_input(key="bundled_block_length").set_value(5).run()
    assert "multiple of the block length (5)" in test.error[0].value
    assert test.button(key="record").disabled
    assert "new tokens in" not in texts(test), "what is refused has no plan"
    test.number_input(key="bundled_block_length").set_value(None).run()
    test.number_input(key="bundled_gen_length").set_value(1).run()
    assert "1 new token in 1 forward (the rest of 48" in texts(test) and "takes less than 0.1 MB" in texts(test)


def test_what_the_explorer_tells_after_its_page_was_left_changes_nothing(recording, monkeypatch):
    """Its message can arrive with the click on a link: then nothing of it is left in the session."""
    told = []

    def mount(key, data, **heard):
        for each in heard.values():
            each()
            told.append(each)

    monkeypatch.setattr("pages.parts.recordings.explorer._mount", mount)
    test = app("pages/explore.py", recording=recording.id)
    assert told and not test.exception


def test_a_recording_opens_in_the_explorer_where_its_address_says(recording, explorer_sent):
    test = app("pages/explore.py", recording=recording.id, step="3", definition="above-others", epsilon="2.5")
    header, arrays = explorer_sent[-1]
    assert prompt_box(test).value == recording.spec["prompt"]
    place = {"step": "3", "definition": "above-others", "epsilon": "2.5"}
    assert header["state"] == {**place, "asks": "yes", "prompts": "30"}, "of the shipped study, which Evidence shows"
    trajectory = open_trajectory(engine().result(recording).file)
    mass = trajectory.relative_mass()
    assert np.array_equal(arrays["0.model"].reshape(mass.shape[0], -1), definitions.mean_mass(mass))
    heads = np.moveaxis(mass, 0, 2).reshape(-1)
    assert np.array_equal(arrays["0.heads"].astype(np.float32), heads, equal_nan=True)


def test_a_character_that_the_vocabulary_lacks_is_told(recording):
    told = "The model's vocabulary lacks a character of the prompt"
    assert told not in texts(app("pages/explore.py", recording=recording.id))
    spec = RecordSpec(prompt="mia has a \U0001f600 .", sampling=LLaDASampling(gen_length=4, steps=2))
    record = engine().wait(engine().submit("record", spec).id, 300)
    warned = app("pages/explore.py", recording=record.id).warning
    assert [warning for warning in warned if told in warning.value]


def test_the_list_of_models_to_record_with_closes_with_the_choice(recording, monkeypatch):
    spec = recording.parameters().model_copy(update={"seed": 91})
    offers = [asking._Offer(title, spec) for title in ("One", "Another")]
    monkeypatch.setattr(asking, "_offers", lambda shown: offers)
    test = app("pages/explore.py", "fold_compare", recording=recording.id)
    unfold(test, "record_with_choice")
    test.button(key="record_with_1").click().run()
    assert test.session_state["record_with_choice"] is False
    engine().cancel(engine().jobs("record")[0].id)


def test_the_prompt_is_recorded_with_the_twin_in_one_click_and_stands_beside(explorer_sent):
    spec = RecordSpec(prompt="kate has a cat .", sampling=LLaDASampling(gen_length=6, steps=3), seed=4)
    dense = engine().wait(engine().submit("record", spec).id, 300)
    test = app("pages/explore.py", "fold_compare", recording=dense.id)
    next(button for button in test.button if button.label == "Record with the left-to-right twin").click().run()
    twin = engine().jobs("record")[0]
    assert twin.parameters() == RecordSpec(
        model=ModelSpec(source="bundled-ar"), prompt=spec.prompt, sampling=AutoregressiveSampling(gen_length=6), seed=4
    )
    assert engine().wait(twin.id, 300).state == "done"
    test.run()
    assert not test.exception and not test.error
    assert [track["name"] for track in explorer_sent[-1][0]["tracks"]] == ["Diffusion", "Left-to-right"]
    assert test.query_params["beside"] in (twin.id, [twin.id]) and test.query_params["show"] in ("both", ["both"])
    assert not [button for button in test.button if button.label == "Record with the left-to-right twin"], (
        "it was recorded"
    )


def test_what_can_be_done_with_its_sinks_is_linked_with_their_definition(recording, caplog):
    test = app("pages/explore.py", recording=recording.id, k="1.5")
    exhibit = test.session_state["exhibits"]["explorer"]
    caplog.clear()
    assert exhibit.explorer()
    assert "ScriptRunContext" not in caplog.text, "an export is made where no visitor is known"
    links = {link.proto.label: link.proto for link in test.get("page_link")}
    hide, discount = links["**Hide these sinks**"], links["**Discount these sinks**"]
    assert hide.page == "causes" and "k=1.5" in hide.query_string and "causes_view=One+prompt" in hide.query_string
    assert "prune_sink_std=1.5" in discount.query_string


def test_a_branch_stands_beside_the_text_that_it_left(recording, monkeypatch):
    """A token that was chosen is asked about, and a link to the branch shows both texts."""
    trajectory = open_trajectory(engine().result(recording).file)
    position = trajectory.info.prompt_length + 1
    test = app("pages/explore.py", recording=recording.id)
    test.selectbox(key="denoise_token_box").set_value(position).run()
    asked = engine().jobs("alternatives")[0]
    assert engine().wait(asked.id, 300).state == "done"
    test.run()
    assert f"What else could stand at position {position}" in texts(test) and test.button(key="branch").disabled
    named = test.query_params["picked"]
    assert named in (f"{recording.id}.5.{position}.end", [f"{recording.id}.5.{position}.end"])
    followed = app("pages/explore.py", recording=recording.id, picked=f"{recording.id}.5.{position}.end")
    assert f"What else could stand at position {position}" in texts(followed) and followed.dataframe
    later = trajectory.labels()[position].strip()
    masked = app("pages/explore.py", recording=recording.id, picked=f"{recording.id}.0.{position}")
    box = masked.selectbox(key="denoise_token_box")
    assert box.options[box.index] == f"{position}, still masked (later ‘{later}’)"
    for nonsense in (f"{recording.id}.5.{10**9}", f"{recording.id}.a.b", "...", f"{recording.id}.5.1.2.end"):
        assert "What else" not in texts(app("pages/explore.py", recording=recording.id, picked=nonsense))
    test.text_input(key="denoise_branch_word").set_value("entanglement").run()
    assert "no single token" in test.error[0].value
    test.text_input(key="denoise_branch_word").set_value("river").run()
    test.button(key="branch").click().run()
    assert "picked" not in test.query_params
    job = engine().wait(engine().jobs("record")[0].id, 300)
    assert job.state == "done" and job.spec["branch"]["parent"] == recording.key
    before = len(engine().jobs())
    linked = app("pages/explore.py", recording=job.id)
    assert not linked.exception and len(engine().jobs()) == before, "a link shows"
    assert f"wrote ‘river’ at position {position}" in texts(linked) and "How far the two texts agree" in texts(linked)
    monkeypatch.setattr(type(engine()), "answered", lambda self, kind, key: None)
    assert "The text that it left is not in the store." in texts(app("pages/explore.py", recording=job.id))


def test_the_box_takes_over_the_prompt_of_what_is_shown_unless_something_was_typed(recording):
    test = app("pages/explore.py")
    other = RecordSpec(prompt="Sue has a cat.", sampling=LLaDASampling(gen_length=4, steps=2))
    record = engine().wait(engine().submit("record", other).id, 300)
    test.query_params["recording"] = record.id
    test.run()
    assert prompt_box(test).value == "Sue has a cat."
    prompt_box(test).set_value("Leo is").run()
    test.query_params["recording"] = recording.id
    test.run()
    assert prompt_box(test).value == "Leo is"
    test.session_state["fold_record"] = True
    test.run()
    test.selectbox(key="prompt_bundled_example").set_value("The opposite of narrow is").run()
    assert prompt_box(test).value == "The opposite of narrow is"
    assert test.selectbox(key="prompt_bundled_example").value is None


def test_what_speaks_against_a_prompt_is_said_before_it_is_recorded():
    test = app("pages/explore.py", "fold_record")
    prompt_box(test).set_value("What is quantum entanglement? mia and Sue [MASK]").run()
    said = test.warning[0].value
    assert "‘quantum’, ‘entanglement’, ‘mia’" in said and "‘Mia’" in said and "Sue" not in said and "MASK" not in said
    assert "Prompts it can follow are in Settings." in said and "with the diffusion model, seed 0" in texts(test)
    assert not test.button(key="record").disabled
    prompt_box(test).set_value("").run()
    assert "prompt is empty" in test.warning[0].value and not test.button(key="record").disabled
    prompt_box(test).set_value("Sue [MASK] a cat.").run()
    assert not test.error
    test.number_input(key="bundled_block_length").set_value(24)
    test.selectbox(key="bundled_cache").set_value("prefix").run()
    assert "which no step behind a cache fills" in test.error[0].value and test.button(key="record").disabled
    test.selectbox(key="bundled_cache").set_value("none")
    test.number_input(key="bundled_block_length").set_value(None).run()
    prompt_box(test).set_value(" ".join(["Sue"] * 230)).run()
    assert "takes 231 tokens and 48 would be written; this model takes 256 in all. At most 25" in test.error[0].value
    assert test.button(key="record").disabled
    prompt_box(test).set_value(" ".join(["Sue"] * 300)).run()
    assert "301 tokens" in test.error[0].value and "Shorten it" in test.error[0].value
    prompt_box(test).set_value("x" * 5000).run()
    assert len(test.warning[0].value) < 300
    prompt_box(test).set_value("Sue is").run()
    assert not test.error and not test.warning
    test.number_input(key="bundled_gen_length").set_value(254).run()
    assert "At most 253 new tokens fit" in test.error[0].value


def test_the_newest_recording_of_the_model_in_use_is_shown_and_one_can_be_removed(recording):
    sampling = AutoregressiveSampling(gen_length=2)
    spec = RecordSpec(model=ModelSpec(source="bundled-ar"), prompt="Sue", sampling=sampling)
    other = engine().wait(engine().submit("record", spec).id, 120)
    newest = next(job for job in engine().jobs("record") if job.spec["model"]["source"] == "bundled")
    test = app("pages/causes.py", causes_view="One prompt")
    assert test.session_state["recording_shown"] == newest.id
    test.session_state["model_in_use"] = ModelSpec(source="bundled-ar")
    test.run()
    assert test.session_state["recording_shown"] == other.id
    test.checkbox(key=f"sure_{other.id}").check().run()
    test.button(key=f"forget_{other.id}").click().run()
    assert not engine().has_result(other) and test.session_state["recording_shown"] != other.id
    linked = app("pages/causes.py", recording=recording.id, causes_view="One prompt")
    assert linked.session_state["recording_shown"] == recording.id


def test_an_unknown_recording_in_the_address_falls_back_to_the_newest(recording):
    test = app("pages/explore.py", recording="nonsense")
    newest = next(job for job in engine().jobs("record") if engine().has_result(job))
    assert "newest one instead" in texts(test) and test.session_state["recording_shown"] == newest.id


def test_the_explorer_and_the_tab_beneath_it_share_their_place(recording, explorer_sent):
    test = app("pages/explore.py", recording=recording.id, tab="Heads", metric="Entropy")
    assert "Entropy by layer and head" in texts(test)
    layer, head = map(int, test.dataframe[0].value.iloc[3][["layer", "head"]])
    place = {"layer": str(layer), "head": str(head), "step": "2"}
    linked = app("pages/explore.py", recording=recording.id, tab="Attention map", **place)
    assert explorer_sent[-1][0]["state"] == {**place, "asks": "yes", "prompts": "30"}
    assert f"layer {layer}, head {head} at step 2" in texts(linked)


def test_a_recording_is_tagged_and_starred_and_the_box_finds_it_by_that(recording):
    test = app("pages/explore.py", "fold_compare", recording=recording.id)
    automatic = shown_box(test).value

    def say(tags, star):
        test.text_input(key=f"tags_{recording.id}").set_value(tags)
        test.toggle(key=f"star_{recording.id}").set_value(star)
        next(button for button in test.button if button.label == "Save").click().run()
        assert not test.exception and not test.error
        return shown_box(app("pages/causes.py", recording=recording.id, causes_view="One prompt")).options

    options = say("mine, for the talk", True)
    assert sum(option.startswith("★ ") and option.endswith(" #mine #for the talk") for option in options) == 1
    assert not any("#" in option or "★" in option for option in say("", False))
    assert shown_box(test).value == automatic


def test_the_full_map_is_fetched_on_demand(recording):
    test = app("pages/explore.py", recording=recording.id, tab="Attention map", layer="1", head="2", step="3")
    assert not engine().jobs("attention_map"), "opening the tab starts nothing"
    test.button(key="ask_attention_map_").click().run()
    (job,) = engine().jobs("attention_map")
    assert engine().wait(job.id, 300).state == "done"
    test.run()
    assert "Full attention map of layer 1, head 2 at step 3" in texts(test) and not test.error
    assert "lines show what it attends to" in texts(test)
    again = app("pages/explore.py", recording=recording.id, tab="Attention map", layer="1", head="2", step="3")
    assert "Full attention map" in texts(again), "a stored map needs no button"


def test_maps_of_chosen_heads_are_handed_to_the_explorer(recording):
    test = app("pages/explore.py", recording=recording.id, tab="Attention map", step="3")
    test.multiselect(key="line_heads").set_value(["layer 0, head 0", "layer 1, head 1"]).run()
    test.button(key="ask_attention_map_").click().run()
    for job in engine().jobs("attention_map"):
        assert engine().wait(job.id, 300).state == "done"
    test.run()
    assert not test.error
    (fed,) = [
        sent_to_explorer(element.proto.bytes)[1]
        for element in test.get("bidi_component")
        if element.proto.component_name == "sinkscope_explorer_feed"
    ]
    assert set(fed) == {"0|attention|3 0 0", "0|attention|3 1 1"}
    size = recording.summary["positions"]
    assert all(np.allclose(values.reshape(size, size).sum(axis=1), 1, atol=1e-4) for values in fed.values())


def test_a_map_needs_the_model_that_was_recorded(recording, monkeypatch):
    monkeypatch.setattr("pages.parts.recordings.measures.fingerprint", lambda found: "another")
    test = app("pages/explore.py", recording=recording.id, tab="Attention map")
    assert "has changed since" in test.info[0].value


def test_a_failed_recording_says_why_and_can_be_tried_again():
    spec = RecordSpec(prompt="ben", sampling=LLaDASampling(gen_length=300, steps=300))
    failed = engine().wait(engine().submit("record", spec).id, 300)
    assert failed.state == "failed"
    test = app("pages/explore.py", recording=failed.id)
    assert "takes 256" in test.error[0].value
    test.button(key="try_again").click().run()
    assert engine().jobs("record")[0].id != failed.id


def test_a_bad_model_leaves_the_one_in_use(tmp_path):
    test = app()
    another_model(test, str(tmp_path))
    test.button(key="load_model").click().run()
    assert "no config.json" in test.error[0].value
    assert "Diffusion model stays in use" in test.error[0].value
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
    test.session_state["fold_record"] = True
    test.switch_page("pages/explore.py").run()
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


# --- tabs ---------------------------------------------------------------------------------------------


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
def test_every_head_metric_is_ranked_and_drawn_where_the_explorer_does_not(recording, metric):
    from analysis.sinks.metrics import HEAD_METRICS

    test = app("pages/explore.py", recording=recording.id, tab="Heads", metric=HEAD_METRICS[metric].title)
    title = HEAD_METRICS[metric].title
    assert (f"{title} by layer and head" in texts(test)) == (metric != "strength")
    assert f"Heads by {title.lower()}" in texts(test)
    assert len(test.dataframe[0].value) == recording.summary["layers"] * recording.summary["heads"]
    if HEAD_METRICS[metric].per_step:
        test.segmented_control(key="heads_view").set_value("Chosen steps").run()
        assert not test.exception and f"{title} at chosen steps" in texts(test)


def test_chosen_steps_are_those_chosen(recording):
    test = app("pages/explore.py", recording=recording.id, tab="Heads", heads_view="Chosen steps")
    test.multiselect(key="steps").set_value([1, 4]).run()
    (drawn,) = [chart for chart in charts(test) if "chosen steps" in chart["alt"]]
    assert len([trace for trace in drawn["figure"]["data"] if trace["type"] == "heatmap"]) == 2


def test_ablation_shows_sinks_beside_its_controls_and_the_autoregressive_model(recording):
    test = app("pages/causes.py", recording=recording.id, causes_view="One prompt")
    assert not test.dataframe
    test.button(key="record_twin").click().run()
    while_recorded = test.selectbox(key=f"reference_{recording.id}").options
    twin = engine().wait(engine().jobs("record")[0].id, 300)
    assert twin.parameters().sampling == AutoregressiveSampling(gen_length=12)
    assert twin.spec["prompt"] == recording.spec["prompt"]
    test.run()
    named = test.selectbox(key=f"reference_{recording.id}").options
    assert while_recorded[-1].startswith("Left-to-right twin · ") and set(while_recorded) == set(named)
    test.button(key="run_ablation").click().run()
    for job in engine().jobs("ablate")[:2]:
        ended = engine().wait(job.id, 300)
    assert ended.state == "done", ended.reason
    test.run()
    assert not test.exception, test.exception
    table = test.dataframe[0].value
    blocked = ["nothing", "sinks", "as many random tokens", "random tokens of equal attention"]
    blocked += ["heaviest non-sinks", "first token alone"]
    assert table["title"].tolist() == [*blocked[:3], "other masked positions", *blocked[3:], *blocked]
    assert table["model"].tolist() == ["bundled"] * 7 + ["bundled-ar"] * 6
    assert table["aligned"].tolist()[::7] == table["agreement"].tolist()[::7] == [100, 100]
    assert (table["aligned"] >= table["agreement"]).all()
    assert "What the left-to-right twin wrote" in folds(test)
    models = [trace["name"] for trace in charts(test)[0]["figure"]["data"]]
    assert models == ["Diffusion model", "Left-to-right twin"]

    view = {"recording": recording.id, "causes_view": "One prompt"}
    assert not app("pages/causes.py", **view, k="1.5").dataframe
    again = app("pages/causes.py", **view, reference=str(test.query_params["reference"]).strip("[]'"))
    assert again.dataframe[0].value.equals(table)


def own_rows(test: AppTest):
    """The rows of the open table that are of the recording itself; the random weights' may join them at any time."""
    table = test.dataframe[0].value
    return table[table["series"] == "this recording"]


def test_dynamics_draws_what_the_explorer_does_not_and_splits_by_kind(recording):
    from analysis.sinks.metrics import CURVES

    view = {"recording": recording.id, "tab": "Dynamics", "kinds_over_steps_table": "true", "reference": "none"}
    test = app("pages/explore.py", **view)
    for name, curve in CURVES.items():
        assert (curve.title in texts(test)) == (name not in EXPLORED), name
    assert "Which tokens are sinks" in texts(test)
    assert "Where in the text" not in texts(test) and "What each step changes" not in texts(test), "one token per step"
    whole = own_rows(test)
    test.selectbox(key="scope").set_value("layer 2").run()
    test.selectbox(key="scope_head").set_value("head 1").run()
    assert not test.exception
    test = app("pages/explore.py", **view, split="[MASK] only")
    assert "Number of sinks" in texts(test) and "Gini" not in texts(test)
    masks = own_rows(test)
    assert masks["[MASK]"].tolist() == whole["[MASK]"].tolist()
    assert masks[["first", "last", "word", "punctuation"]].to_numpy().sum() == 0


def test_dynamics_compares_recordings_of_different_lengths(recording):
    sampling = LLaDASampling(gen_length=12, steps=4)
    other = engine().submit("record", RecordSpec(prompt="leo has a cat .", sampling=sampling))
    engine().wait(other.id, 300)
    test = app("pages/explore.py", recording=recording.id, tab="Dynamics")
    test.multiselect(key="compare_choice").set_value([other.id]).run()
    assert not test.exception, test.exception
    assert "Total sink strength" in texts(test), "beside another it is drawn"
    assert test.query_params["compare"] in (other.id, [other.id])
    again = app("pages/explore.py", recording=recording.id, tab="Dynamics", compare=other.id)
    assert again.multiselect(key="compare_choice").value == [other.id]
    test.selectbox(key="dynamics_view").set_value("Stable or moving").run()
    assert "Spatial against temporal variance" in texts(test)


def test_of_several_panels_each_has_a_sentence_of_its_own(monkeypatch):
    monkeypatch.setattr(dynamics, "_kinds_reading", lambda panel, *_: panel)
    said = {"this recording": "All are first.", "noised text": "", UNTRAINED_LABEL: "Half are words."}
    drawn = dynamics._kinds_readings(said, SinkParams(), (None, None), ALL)
    assert drawn == "This recording: All are first. Untrained, equally sharp: Half are words."
    del said[UNTRAINED_LABEL], said["noised text"]
    assert dynamics._kinds_readings(said, SinkParams(), (None, None), ALL) == "All are first."


def test_dynamics_stands_beside_random_weights(recording, explorer_sent):
    view = {"recording": recording.id, "tab": "Dynamics"}
    test = app("pages/explore.py", **view)
    assert not test.toggle(key="random_reference").value and not engine().jobs("reference")
    test.session_state["explorer_given"]["said"] = {"step": "2"}  # the reader has moved there since
    test.query_params["step"] = "2"
    test.toggle(key="random_reference").set_value(True).run()
    settle(test, "reference")
    assert "0.nullHeads" in explorer_sent[-1][1] and explorer_sent[-1][0]["state"]["step"] == "2", "it stays there"
    test.toggle(key="kinds_over_steps_table").set_value(True).run()
    assert test.dataframe[0].value["series"].unique().tolist() == ["this recording", UNTRAINED_LABEL]
    stored = app("pages/explore.py", **view)
    assert stored.toggle(key="random_reference").value, "on by itself where it is stored"
    heads = app("pages/explore.py", recording=recording.id, tab="Heads", metric="Entropy")
    assert UNTRAINED_LABEL in heads.dataframe[0].value and "No baseline yet" not in texts(heads)
    assert any("not above untrained, equally sharp" in str(chart["figure"]["data"]) for chart in charts(heads))
    assert "0.nullHeads" in explorer_sent[-1][1]
    test.toggle(key="random_reference").set_value(False).run()
    assert UNTRAINED_LABEL not in test.dataframe[0].value["series"].tolist()


def test_dynamics_shows_noised_text_beside_the_real_trajectory(recording):
    test = app("pages/explore.py", recording=recording.id, tab="Dynamics", dynamics_view="Noised against real")
    test.button(key="ask_noise_").click().run()
    settle(test, "noise")
    assert "Entropy of the mass" in texts(test)
    assert "Turnover" not in texts(test)
    assert "Spatial against temporal variance" in texts(test)


def test_the_autoregressive_reference_stands_beside_by_itself(recording):
    spec = RecordSpec(
        model=ModelSpec(source="bundled-ar"), prompt="mia has a dog .", sampling=AutoregressiveSampling(gen_length=12)
    )
    twin = engine().wait(engine().submit("record", spec).id, 300)
    view = {"recording": recording.id, "tab": "Dynamics", "dynamics_view": "Stable or moving"}
    test = app("pages/explore.py", **view, random_reference="false")
    test.toggle(key="variances_table").set_value(True).run()
    layers = recording.summary["layers"] + twin.summary["layers"]
    assert len(test.dataframe[0].value) == layers
    assert test.query_params["reference"] in (twin.id, [twin.id])
    alone = app("pages/explore.py", **view, random_reference="false", reference="none", variances_table="true")
    assert len(alone.dataframe[0].value) == recording.summary["layers"]


def test_a_split_changes_the_heads_numbers(recording):
    view = {"recording": recording.id, "tab": "Heads"}

    def strength(**query: str) -> np.ndarray:
        table = app("pages/explore.py", **view, **query).dataframe[0].value
        return table.sort_values(["layer", "head"])["Sink strength"].to_numpy()

    parts = [strength(split=split) for split in ("[MASK] only", "without [MASK]")]
    np.testing.assert_allclose(sum(parts), strength(), atol=1e-5)


def test_positions_have_a_table_with_the_same_numbers(recording):
    view = {"recording": recording.id, "tab": "Dynamics", "dynamics_view": "Positions", "lifetime_table": "true"}
    table = app("pages/explore.py", **view).dataframe[0].value
    assert list(table.columns)[:3] == ["position", "finished token", "steps as a sink"]
    assert table["steps as a sink"].max() <= 6
    parts = [
        app("pages/explore.py", **view, split=split).dataframe[0].value["steps as a sink"].to_numpy()
        for split in ("[MASK] only", "without [MASK]")
    ]
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
    for tab in ("Text", "Heads", "Dynamics"):
        assert not app("pages/explore.py", recording=record.id, tab=tab).error, tab
    test = app("pages/explore.py", recording=record.id, tab="Attention map")
    assert "needs the recorded model" in test.info[0].value


def test_a_stored_recording_that_is_damaged_can_be_removed_and_recorded_again():
    spec = RecordSpec(prompt="sue has a cat .", sampling=LLaDASampling(gen_length=4, steps=2))
    record = engine().wait(engine().submit("record", spec).id, 300)
    engine().result(record).file.write_bytes(b"nothing")
    test = app("pages/explore.py", recording=record.id)
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
    app("pages/explore.py", recording=recording.id, tab="Dynamics", scope="layer 2", split="without [MASK]")
    _, settings, exhibits, _ = written[-1]
    assert settings["prompt"] == "mia has a dog ."
    assert settings["selection"]["recording"] == recording.id
    assert settings["selection"]["scope"] == "layer 2"
    assert settings["sinks"]["k"] == 2
    assert "Which tokens are sinks" in [exhibit.title for exhibit in exhibits]


def test_a_download_runs_no_page_anew(recording):
    """The end of a run takes away the file that was made for the click, before the browser has fetched it."""
    for page in ("pages/explore.py", "pages/start.py"):
        downloads = app(page, recording=recording.id).get("download_button")
        assert downloads and all(button.proto.ignore_rerun for button in downloads)


def test_the_export_of_a_text_has_the_text_and_plays_it(recording, monkeypatch):
    made = {}
    monkeypatch.setattr(
        "streamlit.download_button", lambda label, data, name, *rest, **options: made.update({label: data})
    )
    app("pages/explore.py", recording=recording.id)
    html = made["Export page (HTML)"]()
    assert engine().result(recording).summary["text"] in html and 'class="sinkscope-explorer"' in html


def test_an_export_has_neither_large_tables_nor_hints_and_a_name_of_its_own(recording, monkeypatch):
    made = {}
    monkeypatch.setattr(
        "streamlit.download_button", lambda label, data, name, *rest, **options: made.update({label: (data, name)})
    )
    test = app("pages/explore.py", recording=recording.id, tab="Heads", metric="Entropy")
    write, name = made["Export page (HTML)"]
    html = write()
    assert name == "sinkscope-heads-mia-has-a-dog.html"
    assert '<p class="subject">mia has a dog .</p>' in html
    assert "Entropy by layer and head" in html and 'class="sinkscope-explorer"' in html
    assert "Click a cell" not in html and "click to open" not in html
    widest = max(html[at:].split("</tr>")[0].count("<th") for at in range(len(html)) if html.startswith("<tr", at))
    assert widest <= 12
    assert "Select a cell to open its head" in texts(test)


# --- several tokens per forward ---------------------------------------------------------------------------------


def test_parallel_writing_is_compared_in_one_click(recording, explorer_sent):
    test = app("pages/explore.py", recording=recording.id, tab="Parallel writing")
    assert "12 tokens in 6 forwards" in texts(test)
    before = {job.id for job in engine().jobs("record")}
    test.button(key="compare_parallel").click().run()
    started = [job for job in engine().jobs("record") if job.id not in before]
    assert {job.spec["sampling"]["threshold"] for job in started} == {0.9, None} and len(started) == 2
    ended = [engine().wait(job.id, 300) for job in started]
    assert {job.state for job in ended} == {"done"}
    test.run()
    assert not test.exception
    header, _ = explorer_sent[-1]
    assert [track["name"] for track in header["tracks"]] == ["Threshold", "One per forward"]
    assert header["tracks"][1]["steps"] == 12
    said = texts(test)
    assert "one by one it took 12 forwards" in said and "With as many tokens written, sinks take" in said
    assert "One prompt" in said or "one prompt with one seed" in said
    assert not [button for button in test.button if button.key == "compare_parallel"]


def test_a_recording_under_a_cache_says_what_ran(recording):
    sampling = LLaDASampling(gen_length=8, steps=8, block_length=4, cache="dual")
    record = engine().submit("record", RecordSpec(prompt="mia has a dog .", sampling=sampling))
    assert engine().wait(record.id, 300).state == "done"
    said = texts(app("pages/explore.py", recording=record.id, tab="Parallel writing"))
    assert "6 of 8 forwards ran 4 of" in said and "the text differs from the one without a cache" in said
    for tab in ("Logit lens", "Geometry"):
        assert "cache set to none" in texts(app("pages/explore.py", recording=record.id, tab=tab)), tab
    test = app("pages/explore.py", "fold_record")
    test.selectbox(key="bundled_cache").set_value("prefix").run()
    assert "the text differs from the one without a cache" in texts(test)
