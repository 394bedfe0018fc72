"""The live accuracy panel, with the real engine and small models."""

import json
from html import unescape

import pytest
from streamlit.testing.v1 import AppTest

from analysis.evaluation import results, tables
from analysis.models.checkpoint import find, fingerprint
from analysis.specs import EvaluateSpec, ModelSpec
from pages.parts.session import engine
from tests.engine.helpers import until
from tests.helpers import ROOT, pruned_run, there, tiny_llada, write_report
from tests.ui.helpers import texts

pytestmark = pytest.mark.slow
HARNESS = str(ROOT / "tests" / "ui" / "accuracy_harness.py")


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> EvaluateSpec:
    folder = tmp_path_factory.mktemp("models")
    models = [ModelSpec(source=tiny_llada(folder / name, seed), device="cpu") for seed, name in enumerate("abc")]
    dense = fingerprint(there(find(models[0].source)))
    for name, method in (("b", "wanda-noised"), ("c", "sink-wanda")):
        write_report(folder / name, pruned_run(model=dense, method=method))
    return EvaluateSpec(
        model=models[0],
        compare=tuple(models[1:]),
        names=("dense", "wanda-noised 50 %", "sink-wanda 50 %"),
        tasks=("bundled_agreement", "bundled_knowledge", "bundled_text"),
        limit=20,
    )


@pytest.fixture(scope="module")
def finished(asked):
    record = engine().submit("evaluate", asked.model_copy(update={"draws": 4}))
    return engine().wait(record.id, 300)


def panel(record) -> AppTest:
    test = AppTest.from_file(HARNESS, default_timeout=300)
    test.query_params["evaluation"] = record.id
    test.run()
    assert not test.exception, test.exception
    return test


def table(test: AppTest, column: str):
    """The table that has this column."""
    return next(one.value for one in test.dataframe if column in one.value.columns)


def opened(record) -> AppTest:
    """The panel with the table of differences open."""
    return panel(record).toggle(key="accuracy_whiskers_table").set_value(True).run()


def test_a_finished_evaluation_is_shown_whole(finished):
    assert finished.state == "done", finished.reason
    assert finished.summary["complete"]
    test = opened(finished)
    shown = texts(test)
    assert "Finished: " in shown
    assert "Running accuracy: Average over tasks" in shown
    assert "Difference to wanda-noised 50 %" in shown, "the control, where there is one"
    assert "interim" not in shown
    assert "evidence lower bound" in shown
    assert "sink-wanda 50 % against wanda-noised 50 %" in shown
    assert "sink-wanda 50 % against dense" not in shown
    grid = table(test, "Knowledge")
    assert list(grid.columns) == ["model", "Average", "Agreement", "Knowledge"]
    assert list(grid["model"]) == ["dense", "wanda-noised 50 %", "sink-wanda 50 %", "choosing at random"]
    assert list(grid.iloc[-1]) == ["choosing at random", "37.5", "50.0", "25.0"]
    assert "The calibration seed's own noise is not in this interval." in shown
    assert "40 items" in shown
    rows = table(test, "in words")
    assert set(rows["compared with"]) == {"wanda-noised 50 %"}
    assert set(rows["model"]) == {"sink-wanda 50 %"}
    assert "Not only the method differs" not in shown
    assert "one family of 9 tests: 3 pairs of models, 2 tasks and their average." in shown
    assert "no control here" not in shown
    test.segmented_control(key="accuracy_base").set_value("dense").run()
    rows = table(test, "in words")
    assert set(rows["compared with"]) == {"dense"}
    assert len(rows) == 2 * 3
    assert rows["p (Holm)"].notna().all()
    assert "Difference to dense" in texts(test)
    test.segmented_control(key="accuracy_base").set_value("published").run()
    assert not test.exception
    assert "sink-wanda 50 % has no published baseline here" in texts(test)
    assert "Difference to" not in texts(test)
    test.selectbox(key="accuracy_task").set_value("bundled_knowledge").run()
    assert "Running accuracy: Knowledge" in texts(test)
    assert not test.exception
    assert "python -m analysis evaluate" in test.code[0].value


def test_the_panels_numbers_are_the_jobs(finished):
    test = opened(finished)
    test.segmented_control(key="accuracy_base").set_value("dense").run()
    rows = table(test, "in words")
    job = next(t for t in finished.summary["tasks"] if t["task"] == "bundled_knowledge")
    for row in job["differences"]:
        if row["than"] == "dense":
            there = rows[(rows["task"] == "Knowledge") & (rows["model"] == row["model"])].iloc[0]
            assert there["points"] == pytest.approx(100 * row["value"])
            assert there["in words"] == row["words"]
    grid = table(test, "Knowledge").set_index("model")
    for row in job["models"]:
        assert grid.loc[row["model"], "Knowledge"].startswith(f"{100 * row['value']:.0f} [")


def test_the_conditions_that_differ_stand_beside_each_other(finished):
    sheet = table(panel(finished), "setting")
    assert {"sink-wanda 50 %", "wanda-noised 50 %"} < set(sheet.columns)
    assert "Method" in set(sheet["setting"])


def test_disagreements_are_filtered(finished):
    test = panel(finished)
    rows = table(test, "who is right")
    found = results.read(engine().result(finished).file)
    assert len(rows) == len(tables.disagreements(found, 0, 1))
    assert {"question", "choices", "right", "dense log-likelihoods", "who is right"} <= set(rows.columns)
    test.selectbox(key="disagree_right").set_value("dense").run()
    some = table(test, "who is right")
    assert 0 < len(some) < len(rows)
    assert set(some["who is right"]) == {"dense"}
    word = some["question"].iloc[0].split()[1]
    test.text_input(key="disagree_text").set_value(word).run()
    fewer = table(test, "who is right")
    assert all(word.lower() in f"{row.question} {row.choices}".lower() for row in fewer.itertuples())
    test.text_input(key="disagree_text").set_value("no such words").run()
    assert "0 of" in texts(test)


@pytest.mark.parametrize("base", ["control", "wanda-noised 50 %"])
def test_what_is_chosen_in_the_panel_can_be_in_an_address(finished, base):
    """Also in an address that names the control by its name."""
    test = AppTest.from_file(HARNESS, default_timeout=300)
    test.query_params["evaluation"] = finished.id
    test.query_params["accuracy_task"] = "Knowledge"
    test.query_params["accuracy_base"] = base
    test.query_params["disagree_second"] = "sink-wanda 50 %"
    test.run()
    assert "Running difference to wanda-noised 50 %: Knowledge" in texts(test)
    assert "sink-wanda 50 % chose" in table(test, "who is right").columns


def test_the_panel_goes_away_with_its_tables_and_its_numbers(finished, monkeypatch):
    left = {}
    monkeypatch.setattr(
        "streamlit.download_button", lambda label, data, name, *rest, **options: left.update({name: data()})
    )
    panel(finished)
    html = next(content for name, content in left.items() if name.endswith(".html"))
    for title in (
        "Accuracy",
        "Difference to wanda-noised 50 %",
        "Conditions that differ",
        "Running accuracy: Average over tasks",
        "Perplexity: Bundled text",
    ):
        assert f"<h2>{title}</h2>" in html
    assert html.count("<table") >= 3
    assert '"limit": 20' in unescape(html)
    assert json.loads(left["accuracy.json"]) == finished.summary
    assert left["accuracy.items.jsonl"].count(b'"line": "answer"') == finished.summary["answers"]
    assert left["accuracy_grid.csv"].startswith("model,Average,Agreement,Knowledge")


def test_a_running_evaluation_is_interim_and_can_be_stopped(asked):
    record = engine().submit("evaluate", asked.model_copy(update={"limit": None, "seed": 5}))

    def compares() -> bool:
        assert not there(engine().job(record.id)).ended
        return "interim, no tests yet" in texts(panel(record))

    until(compares)
    test = opened(record)
    assert "Accuracy so far (interim)" in texts(test)
    assert "p (Holm)" not in table(test, "in words").columns
    test.button(key=f"end_{record.id}").click().run()
    ended = engine().wait(record.id, 300)
    assert ended.state == "done"
    assert not ended.summary["complete"]
    test = panel(ended)
    assert "Stopped after" in texts(test)
    assert "interim" in texts(test)
    assert test.button(key=f"resume_{record.id}")
