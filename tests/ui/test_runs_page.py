"""The page Runs through Streamlit's own test runner: the table, one run, several, and removing what is stored."""

import json
import re

import pytest

from analysis.engine.job_store import Label
from analysis.engine.runs import known_runs, save_label
from analysis.pruned.report_file import run_name
from analysis.specs import CalibrationParams, EvaluateSpec, LLaDASampling, ModelSpec, PruneSpec, RecordSpec
from analysis.words import percent
from pages.parts.accuracy.choice import finished_results
from pages.parts.recordings.recording import short_title
from pages.parts.session import engine
from tests.engine.fake_hub import fake_hub
from tests.ui.helpers import app, folds, texts

pytestmark = pytest.mark.slow
PAGE = "pages/runs.py"
SMALL = CalibrationParams(samples=2, seq_len=32)


def test_where_there_is_no_run_it_leads_to_pruning():
    test = app(PAGE)
    assert "No runs yet" in texts(test)
    assert "**Prune the model**" in {link.proto.label for link in test.get("page_link")}
    for view in ("Accuracy", "Masks", "Texts"):
        check(test.segmented_control(key="runs_view").set_value(view).run())


@pytest.fixture(scope="module")
def pruned():
    """Two finished prunings, scored together with the dense model; and one that is not scored."""
    specs = [
        PruneSpec(method="magnitude", sparsity=0.3),
        PruneSpec(method="magnitude", sparsity=0.6),
        PruneSpec(method="wanda", calibration=SMALL),
    ]
    jobs = [engine().wait(engine().submit("prune", spec).id, 300) for spec in specs]
    sources = [str(engine().result(job).folder) for job in jobs]
    for compare in (sources[:1], sources[1:2]):  # each in an evaluation of its own
        asked = EvaluateSpec(
            compare=tuple(ModelSpec(source=source) for source in compare), tasks=("bundled_agreement",), limit=12
        )
        assert engine().wait(engine().submit("evaluate", asked).id, 300).state == "done"
    return jobs


def check(test):
    assert not test.exception, test.exception
    assert not test.error, [element.value for element in test.error]
    return test


def ticked(test, *jobs):
    """Tick runs, for which the runner has no click."""
    test.session_state["runs_chosen"] = [job.id for job in jobs]
    return test.run()


def source(job):
    """The folder of a pruned model."""
    return str(engine().result(job).folder)


def rows(test, column="run"):
    return next(one.value for one in test.dataframe if column in one.value.columns)


def test_what_is_stored_is_read_once_its_fold_opens(pruned):
    assert not [box for box in app(PAGE).selectbox if box.key == "disk_kind"]
    test = check(app(PAGE, "fold_disk").selectbox(key="disk_kind").set_value("prune").run())
    stored = rows(test, "MB")
    assert len(stored) == 3 and (stored["MB"] > 1).all()


def test_every_run_stands_in_the_table_and_can_be_filtered(pruned):
    assert all(job.state == "done" for job in pruned), [job.reason for job in pruned]
    names = [run_name(job.spec) for job in pruned]
    test = app(PAGE)
    table = rows(test).set_index("run")
    assert set(table.index) == {*names, "Diffusion model (dense)"}
    assert table.loc[names[0], "sparsity, %"] == pytest.approx(30, abs=0.5)
    assert table.loc[names[0], "size, MB"] > 1
    assert table.loc[names[0], "accuracy on"] == "Agreement"
    assert table.loc[names[0], ["items", "chance, %"]].tolist() == [12, 50]
    assert table.loc[names[0], "dense, %"] == table.loc["Diffusion model (dense)", "accuracy, %"]
    summary = engine().jobs("evaluate")[1].summary
    assert table.loc[names[0], "accuracy, %"] == pytest.approx(100 * summary["tasks"][0]["models"][1]["value"])
    told = texts(test).replace("\u00a0", " ")
    assert re.search(
        r"##### Magnitude: pruning 30 % of the weights (costs \d+ points of accuracy|changes accuracy by [−+]\d+ "
        r"points) \\\[.+\]; 60 % (costs|changes it by) [−+]?\d+ \\\[.+\]\.",
        told,
    )
    assert "All 4 runs" in told and "Without discount (control): the same text" in told
    differences = table["to dense, points"]
    assert differences[names[0]] == pytest.approx(
        table.loc[names[0], "accuracy, %"] - table.loc["Diffusion model (dense)", "accuracy, %"]
    )
    assert table.loc[names[0], "interval to dense"].startswith("[") and differences.isna()["Diffusion model (dense)"]
    assert "What pruning costs" in told
    assert list(rows(test)["method"]) == ["Dense", "Magnitude", "Wanda as published", "Magnitude"]
    test.multiselect(key="runs_methods").set_value(["Wanda as published"]).run()
    assert list(rows(test)["run"]) == [names[2]]
    test.text_input(key="runs_words").set_value("no such run").run()
    assert "What pruning costs" not in texts(test), "no figure of runs that do not match"
    assert "0 of 4 runs" in texts(test) and "No pruned model is scored yet." not in texts(test)


def test_a_run_is_pushed_to_the_hub_after_what_would_go_was_shown(pruned, monkeypatch):
    token = "hf_" + "a" * 20
    monkeypatch.setenv("HF_TOKEN", token)
    with fake_hub(token) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", hub.address, raising=False)
        test = app(PAGE, run=pruned[0].id)
        name = test.text_input(key=f"push_to_{pruned[0].id}")
        name.set_value("no name").run()
        assert "is not a repository name on the hub" in texts(test) and not hub.requests
        name.set_value("me/small").run()
        assert "into a private repository" in texts(test) and not hub.requests
        accuracy = engine().jobs("evaluate")[1].summary["tasks"][0]["models"][1]["value"]
        assert f"{percent(accuracy, 1)} [" in next(
            one.value for one in test.code if "base" in one.value or "# " in one.value
        )
        check(test.button(key=f"push_{pruned[0].id}").click().run())
        assert "Uploaded" in test.success[0].value and hub.address.rpartition(":")[2] in test.success[0].value
        assert "model.safetensors" in hub.files["me/small"] and hub.created[0]["visibility"] == "private"


def test_one_run_shows_everything_about_it(pruned):
    test = app(PAGE, run=pruned[0].id)
    took = next(caption for caption in test.caption if "weights removed" in caption.value)
    assert " of those that can be. Took " in took.value and "pruning" in took.help and " MB in the process" in took.help
    assert rows(test, "setting")["setting"].iloc[0] == "Dense model"
    assert len(rows(test, "complete")) == 1
    assert any("python -m analysis prune" in block.value for block in test.code)
    check(test.button(key="to_masks").click().run())
    assert test.selectbox(key="second").value == pruned[0].id
    check(test.segmented_control(key="runs_view").set_value("Overview").run())
    (scored,) = [job for job in engine().jobs("evaluate") if job.spec["compare"][0]["source"] == source(pruned[0])]
    check(test.button(key=f"to_{scored.id}").click().run())
    assert "Finished: " in texts(test) and test.query_params["evaluation"] in (scored.id, [scored.id])


def test_an_open_model_is_called_by_the_name_of_its_run(pruned):
    folder = str(engine().result(pruned[1]).folder)
    shown = texts(app(PAGE, source=folder))
    assert f":material/deployed_code: `{run_name(pruned[1].spec)}`" in shown
    assert f"`{folder}`" not in shown


def test_a_name_given_here_is_the_name_everywhere(pruned):
    test = app(PAGE, run=pruned[2].id)
    test.text_input(key=f"name_{pruned[2].id}").set_value("my wanda")
    test.text_input(key=f"tags_{pruned[2].id}").set_value("first, kept")
    next(button for button in test.button if button.label == "Save").click().run()
    assert not test.exception
    assert "my wanda" in list(rows(test)["run"])
    pruning = app("pages/prune.py", "fold_prune_runs")
    assert "my wanda" in list(rows(pruning)["run"])
    assert "my wanda" in pruning.multiselect(key="accuracy_runs").options
    run = next(run for run in known_runs(engine()) if run.id == pruned[2].id)
    assert run.label.tags == ("first", "kept")
    spec = RecordSpec(model=ModelSpec(source=run.source), prompt="kate has a cat .").model_dump(mode="json")
    recording = pruned[2].model_copy(update={"spec": spec})
    assert short_title(recording).startswith("my wanda · “kate has a cat .” · ")
    assert short_title(recording, "kate has a cat .").startswith("my wanda · same prompt · "), "a narrow box cuts more"
    leftward = recording.model_copy(update={"spec": spec | {"prompt": "שלום"}})
    assert "\u2068“שלום”\u2069 · seed" in short_title(leftward), "what follows is not drawn inside it"
    save_label(engine(), run, Label())


def test_runs_that_were_scored_apart_are_compared_on_what_both_were_asked(pruned):
    test = app(PAGE)
    check(ticked(test, pruned[0], pruned[1]))
    assert list(rows(test, "setting")["setting"]) == ["Sparsity"]
    shown = texts(check(test.segmented_control(key="runs_view").set_value("Accuracy").run()))
    assert f"{run_name(pruned[1].spec)} against {run_name(pruned[0].spec)}" in shown
    assert "Not only the method differs: Sparsity (60 % and 30 %)" in shown
    assert "Items on which two models disagree" in folds(test)


def test_runs_without_an_evaluation_are_scored_where_they_are_ticked(pruned):
    test = app(PAGE, run=[pruned[0].id, pruned[2].id], runs_view="Accuracy", accuracy_limit="12")
    assert f"Not scored yet: {run_name(pruned[2].spec)}" in texts(test)
    test.multiselect(key="accuracy_tasks").set_value(["bundled_agreement"]).run()
    check(test.button(key="compare_accuracy").click().run())
    record = engine().jobs("evaluate")[0]
    assert [model["source"] for model in record.spec["compare"]] == [source(pruned[0]), source(pruned[2])]
    assert engine().wait(record.id, 300).state == "done"
    assert "Finished: " in texts(check(test.run()))
    check(test.button(key="runs_clear").click().run())
    assert "evaluation" not in test.query_params, "what is ticked is shown, and not what was asked before"
    assert "run" not in test.query_params and test.session_state["runs_chosen"] == []


def test_a_run_writes_the_dense_models_prompt_beside_it_once_that_is_asked(pruned):
    test = app(PAGE, run=[pruned[1].id], runs_view="Texts")
    assert "The dense model has no recording yet." in texts(test)
    sampling = LLaDASampling(gen_length=6, steps=3)
    dense = engine().wait(engine().submit("record", RecordSpec(prompt="mia has a dog .", sampling=sampling)).id, 300)
    check(test.run())
    assert "Not recorded yet" in texts(test) and "By the" not in texts(test)
    assert len(engine().jobs("record")) == 1, "opening a view starts nothing"
    check(test.button(key="record_texts").click().run())
    record = engine().jobs("record")[0]
    assert record.spec["model"]["source"] == source(pruned[1]) and record.spec["prompt"] == dense.spec["prompt"]
    assert engine().wait(record.id, 300).state == "done"
    shown = texts(check(test.run()))
    assert "When each position is filled" in shown and "of their new tokens in common" in shown
    assert "Dense · Diffusion model" in shown
    exported = test.session_state["exhibits"]
    assert exported["text_dense"].notes, "an exported page holds both texts"
    assert not [name for name in exported if name.startswith("runs_table")], "and not the rows to choose from"


def test_a_run_in_the_address_that_is_gone_is_said(pruned):
    assert "a run that is not in the store" in texts(app(PAGE, run="0123456789ab"))


@pytest.fixture
def elsewhere(tmp_path):
    """What lm-eval writes of two models, of the items of an evaluation made here."""
    found = finished_results(engine().jobs("evaluate")[0])
    for name, right in (("first", 1.0), ("second", 0.0)):
        place = tmp_path / name
        place.mkdir()
        said = {"model_name": f"some/{name}", "config": {"model_args": f"pretrained=some/{name}"}}
        config = {"output_type": "multiple_choice", "metadata": {"cluster": "key"}}
        (place / "results_2026-01-01T00-00-00.json").write_text(
            json.dumps({**said, "configs": {"bundled_agreement": config}, "n-shot": {"bundled_agreement": 0}})
        )
        rows = [
            {
                "doc_id": number,
                "doc": {"key": item.cluster},
                "target": str(item.right),
                "arguments": {
                    f"gen_args_{at}": {"arg_0": item.question, "arg_1": f" {choice}"}
                    for at, choice in enumerate(item.choices)
                },
                "filtered_resps": [[str(-float(at)), "False"] for at in range(len(item.choices))],
                "filter": "none",
                "metrics": ["acc"],
                "prompt_hash": item.prompt,
                "acc": right,
            }
            for number, item in enumerate(found.shuffled["bundled_agreement"])
        ]
        file = place / "samples_bundled_agreement_2026-01-01T00-00-00.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_folder_of_lm_evals_becomes_runs_that_are_compared_with_those_made_here(pruned, elsewhere):
    test = app(PAGE)
    test.button(key="import_start").click().run()
    assert "Give the folder that lm-eval wrote" in texts(test) and "There is no folder" not in texts(test)
    test.text_input(key="import_folder").set_value(str(elsewhere / "none"))
    test.button(key="import_start").click().run()
    assert "There is no folder" in texts(test)
    test.text_input(key="import_folder").set_value(str(elsewhere))
    test.button(key="import_start").click().run()
    jobs = engine().jobs("import")
    assert len(jobs) == 2
    assert [engine().wait(job.id, 300).state for job in jobs] == ["done", "done"], jobs
    assert "2 folders were read, into the list of runs above." in texts(test.run())
    table = rows(app(PAGE)).set_index("run")
    assert table.loc["first imported", "method"] == "imported"
    assert table.loc["first imported", "accuracy, %"] == 100
    imported = {run.name: run for run in known_runs(engine()) if run.kind == "imported"}
    assert set(imported) == {"first imported", "second imported"}
    opened = app(PAGE, run=imported["first imported"].id)
    assert "Scored elsewhere by lm-eval" in texts(opened)
    assert "**Record a prompt with it**" not in {link.proto.label for link in opened.get("page_link")}
    compared = app(PAGE, runs_view="Accuracy", run=[pruned[0].id, imported["second imported"].id])
    assert "second imported against" in texts(compared)
    assert "0 draws" not in texts(compared)
    shown = texts(app(PAGE, runs_view="Accuracy", evaluation=imported["first imported"].record.id))
    assert "Imported: 12 answers" in shown and "0 draws" not in shown
    opened.button(key=f"remove_now_{imported['first imported'].id}").click().run()
    assert "first imported" not in list(rows(opened)["run"])


def test_removing_asks_first_and_then_frees_the_room(pruned):
    test = app(PAGE, run=pruned[1].id)
    folder = engine().result(pruned[1]).folder
    test.button(key=f"remove_now_{pruned[1].id}").click().run()
    assert not test.exception
    assert not folder.exists()
    assert run_name(pruned[1].spec) not in list(rows(test)["run"])
