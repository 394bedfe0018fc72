"""The page Evidence: sets of recordings by layer, beside their nulls."""

from types import SimpleNamespace

import pytest

from analysis.exhibits.study import sinks_of_each
from analysis.jobs import known_key
from analysis.recording.set_file import save
from analysis.specs import AutoregressiveSampling, ModelSpec, RecordSetSpec, SinkParams
from pages.parts.recordings.choice import default_set
from pages.parts.session import engine
from pages.parts.study.choice import example
from tests.recording.made_sets import LAYERS, a_set
from tests.ui.helpers import app, charts, folds, texts


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Sets of the bundled pair as the engine keeps them, of made numbers."""
    records = []
    for seed, spec in enumerate(
        (
            RecordSetSpec(model=ModelSpec(source="bundled-ar"), sampling=AutoregressiveSampling(), count=20),
            RecordSetSpec(model=ModelSpec(source="bundled"), count=20),
        )
    ):
        path = tmp_path_factory.mktemp("set") / "set.safetensors"
        recordings = a_set(seed)
        recordings.arrays["trained.births"][:] *= 5  # more than under any null
        save(recordings, path)
        engine().store.add_result(
            known_key("record_set", spec), {"prompts": 20, "planned": 20, "source": spec.model.source}, path
        )
        records.append(engine().submit("record_set", spec))
    assert all(record.state == "done" for record in records)
    return records


def test_without_a_set_the_page_shows_the_shipped_study_offers_to_record_one_and_runs_nothing():
    test = app("pages/evidence.py")
    said = texts(test).replace("\\", "")
    assert (
        "In layers 0–2 of the diffusion model, 85 to 100 % of sinks are tokens still masked (all tokens: 33 %)." in said
    )
    assert (
        "In untrained models, at most 14 % are. Elsewhere, punctuation (layers 3 and 5) and the first token"
        in said.replace("**", "")
    )
    assert " stand out; layers 6 and 7: mostly words, as in untrained models." in said.replace("**", "")
    assert (
        "**Left-to-right twin**]]  \n**In layers 0, 1 and 3, 42 to 52 % of sinks are punctuation (all tokens: 14 %).** "
        "In untrained models, at most 13 % are. In layer 0, also the first token (34 %; all tokens: 2 %; untrained, "
        "shuffled: 0 %). In layer 2, punctuation (44 %) does not stand out: "
        "shuffled weights give 42 %. Elsewhere, no kind stands out." in said
    )
    assert len(charts(test)) == 2
    [beneath] = [each for each in test.caption if each.value.startswith("Shipped study. Sink: ")]
    assert " Stands out (bold): at least 10 points above all tokens, untrained and shuffled weights. " in beneath.value
    assert beneath.proto.help.startswith("This is the shipped study")
    assert "untrained attention does not favour masked positions" in beneath.proto.help
    drawn = sinks_of_each(example())[0].figure
    masked = next(bar for bar in drawn.data if bar.name == "masked")
    assert masked.customdata[1].endswith("of the sinks of layer 0, 3.6 per step")
    assert not any("nan" in note.text for note in drawn.layout.annotations)
    button = test.button(key="record_set")
    assert button.label == "Record 50 prompts" and not engine().jobs("record_set")
    test.segmented_control(key="evidence_view").set_value("Do they move?").run()
    said = texts(test)
    assert "less than untrained: 0.29 new per layer and step against 1.67." in said and "still masked" not in said
    assert "How the sinks of the diffusion model move" in said and len(charts(test)) == 2
    for view in ("Over the steps", "Head by head", "Single prompts"):
        test.segmented_control(key="evidence_view").set_value(view).run()
        assert "No set of recordings yet." in test.info[0].value and not charts(test), view
        assert test.button(key="record_set").label == "Record 50 prompts"


def test_the_default_set_is_the_newest_with_enough_prompts_for_a_claim_else_the_largest():
    few, enough, more, small = (SimpleNamespace(summary={"prompts": prompts}) for prompts in (4, 30, 50, 20))
    assert default_set([few, enough, more]) is enough
    assert default_set([few, small]) is small


def test_a_set_that_cannot_be_is_refused_where_it_was_asked_for():
    test = app("pages/evidence.py", "fold_set")
    test.selectbox(key="set_prompts").set_value("your own").run()
    test.text_area(key="set_own").set_value("only one").run()
    test.button(key="record_set").click().run()
    assert "at least two prompts" in texts(test) and not engine().jobs("record_set")


def test_the_form_has_what_a_set_is_made_of(monkeypatch):
    asked = []
    monkeypatch.setattr("pages.parts.asking.submit", lambda kind, spec: asked.append(spec) or SimpleNamespace(id=""))
    test = app("pages/evidence.py", "fold_set")
    assert "Settings · 50 prompts, 3 random-weight models, 64 new tokens" in folds(test)
    test.number_input(key="set_count").set_value(7)
    test.number_input(key="set_null_draws").set_value(3)
    test.number_input(key="set_LLaDASampling_gen_length").set_value(16)
    test.number_input(key="set_LLaDASampling_steps").set_value(8)
    test.selectbox(key="set_definition").set_value("above-others").run()
    test.slider(key="set_epsilon").set_value(2.0).run()
    test.button(key="record_set").click().run()
    dlm, twin = asked
    assert (dlm.count, dlm.null_draws, dlm.sampling.gen_length, dlm.sampling.steps) == (7, 3, 16, 8)
    assert isinstance(twin.sampling, AutoregressiveSampling) and twin.sampling.gen_length == 16
    assert dlm.sinks == twin.sinks == SinkParams(definition="above-others", epsilon=2.0)
    fields = {
        field
        for field in RecordSetSpec.model_fields
        if field not in ("model", "own_prompts", "own_keys", "sampling", "sinks")
    }
    widgets = {widget.key for widget in (*test.number_input, *test.selectbox, *test.checkbox, *test.toggle)}
    assert {f"set_{field}" for field in fields} <= widgets, "every parameter of a set has its control"


def test_the_page_opens_on_both_models_by_layer_with_what_exceeds_its_nulls(jobs):
    test = app("pages/evidence.py")
    assert not test.exception
    said = texts(test)
    assert test.multiselect[0].value == [jobs[1].id, jobs[0].id]
    assert test.query_params["set"] == [f"{jobs[1].id},{jobs[0].id}"] or test.query_params["set"] == ",".join(
        [jobs[1].id, jobs[0].id]
    )
    assert said.index("of the diffusion model") < said.index("Left-to-right twin**")
    assert "new sinks per step" not in said, "where sinks are is one question, whether they move another"
    assert "Over all layers a sink draws " in said and "scrambled weights: at most " in said
    assert len(charts(test)) == 4
    exported = test.session_state["exhibits"]
    assert next(iter(exported)) == "answer" and "of the diffusion model" in exported["answer"].sentence
    first, second = (table.value for table in test.table if "layer" in table.value)
    assert len(first) == LAYERS == len(second) and "vs writing alone" not in first
    plain_said = said.replace("\\", "")
    assert "above mean + 2 std per layer and step" in plain_said
    assert f"All {LAYERS} layers: more sinks are born than with other weights" in said.replace("\\", "")
    test.segmented_control(key="evidence_view").set_value("Do they move?").run()
    said = texts(test)
    models = ("the diffusion model", "the left-to-right twin")
    assert all(f"All 4 layers of {model} gain " in said for model in models)
    each = "writing alone, random weights, shuffled weights and an equally sharp untrained model"
    assert f"Nulls: {each}." in said, "nulls are named where they are read"
    assert "Sinks move more than expected from writing alone, random weights" in said
    moved = test.table[0].value
    assert set(moved["vs writing alone"]) == {":primary[:material/arrow_upward:]"} and len(moved) == LAYERS
    for view in ("Head by head", "Single prompts", "Over the steps"):
        test.segmented_control(key="evidence_view").set_value(view).run()
        assert not test.exception and ".." not in texts(test), view
    assert "This sums the layers" in texts(test).replace("\\", "")
    test.selectbox(key="set_scope").set_value("layer 1").run()
    assert not test.exception and "This sums the layers" not in texts(test)


def test_an_address_of_one_set_shows_that_one_and_an_unknown_one_is_named(jobs):
    test = app("pages/evidence.py", set=jobs[0].id)
    assert test.multiselect[0].value == [jobs[0].id]
    test = app("pages/evidence.py", set="nothing")
    assert "no set of recordings nothing" in texts(test)


def test_splits_and_kinds_of_a_set_say_undecided_where_there_is_no_mask(tmp_path):
    spec = RecordSetSpec(model=ModelSpec(source="bundled"), count=21)
    save(a_set(3, noise="uniform"), tmp_path / "set.safetensors")
    engine().store.add_result(
        known_key("record_set", spec), {"prompts": 20, "planned": 20}, tmp_path / "set.safetensors"
    )
    record = engine().submit("record_set", spec)
    for named in ("[MASK] only", "undecided only"):
        test = app("pages/evidence.py", set=record.id, set_split=named, evidence_view="Over the steps")
        split = test.selectbox(key="set_split")
        assert split.value == "[MASK] only", f"an address says {named}"
    assert {"undecided only", "without undecided"} <= set(split.options) and "random ones" in split.help
    assert not any("[MASK]" in option for option in split.options) and "[MASK]" not in texts(test).replace("\\", "")
