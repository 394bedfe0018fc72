"""Suggesting a discount on the tuning page, with the real engine and statistics really stored."""

import json

import pytest

from analysis.specs import CalibrateSpec, CalibrationParams, DiscountParams, StatisticsParams, SuggestSpec
from analysis.words import percent
from pages.parts.session import engine
from tests.ui.helpers import app, charts, texts, unfold

pytestmark = pytest.mark.slow
SPEC = CalibrateSpec(calibration=CalibrationParams(samples=2, seq_len=32, step_interval=25), heldout=1)
QUERY = {
    "prune_samples": "2",
    "prune_seq_len": "32",
    "prune_step_interval": "25",
    "calibrate_heldout": "1",
    "prune_view": "Suggest settings",
}
STATISTICS = StatisticsParams(calibration=SPEC.calibration, heldout=SPEC.heldout)


@pytest.fixture(scope="module", autouse=True)
def _statistics():
    assert engine().wait(engine().submit("calibrate", SPEC).id, 300).state == "done"


def page(**query):
    return check(app("pages/prune.py", **QUERY, **query))


def check(test):
    assert not test.exception, test.exception
    assert not test.error, [element.value for element in test.error]
    return test


def metrics(test):
    return {metric.label: metric.value for metric in test.metric}


def running(spec):
    """A search that has finished some trials."""
    record = engine().submit("suggest", spec)
    while len(engine().progress(record.id).details.get("trials", [])) < 3:
        assert not engine().job(record.id).ended, engine().job(record.id).reason
        wait(record.id, 0.1)
    return record


def wait(job_id, seconds):
    try:
        return engine().wait(job_id, seconds)
    except TimeoutError:
        return None


def test_the_page_searches_shows_what_came_out_and_takes_it_over():
    test = page(suggest_trials="12")
    assert "No search of this model yet" in texts(test) and "not known before the first trial" in texts(test)
    test.multiselect(key="suggest_searched").set_value(["sink_std", "discount_strength"]).run()
    test.button(key="suggest").click().run()
    record = engine().jobs("suggest")[0]
    spec = record.parameters()
    assert spec.statistics == STATISTICS and spec.trials == 12 and spec.searched == ("sink_std", "discount_strength")
    record = engine().wait(record.id, 300)
    assert record.state == "done", record.reason
    check(test.run())
    rows, best = record.summary["trials"], record.summary["best"]
    measured = sum(row["seconds"] > 0 for row in rows)
    assert "12 trials take about" in texts(test) and f"by {measured} trials measured here" in texts(test)
    shown = metrics(test)
    assert shown[f"Output error, best (trial {best})"] == percent(rows[best]["value"], 4)
    assert shown["Output error, no discount"] == percent(rows[1]["value"], 4)
    drawn = [chart["alt"].partition(".")[0] for chart in charts(test)]
    assert drawn[-2:] == ["Trials", "Importance of the parameters"] and "search seed 0" in texts(test)
    floor = record.summary["floor"]
    seed = f"Another calibration seed ({floor['seed']}) without a discount"
    assert seed in texts(test) and f"{percent(floor['changed'], 2)} of the mask bits." in texts(test)
    (journal,) = (button for button in test.get("download_button") if button.proto.label == "Open in optuna-dashboard")
    assert not journal.proto.disabled
    lines = [json.loads(line) for line in engine().result_file(record).read_text().splitlines()]
    assert [line["value"] for line in lines if "value" in line] == [row["value"] for row in rows]
    test.toggle(key="suggest_history_table").set_value(True).run()
    table = next(one.value for one in test.dataframe if "sink_std" in one.value.columns)
    assert list(table["output error, %"]) == [100 * row["value"] for row in rows]
    assert list(table["sink_std"]) == [row["discount"]["sink_std"] for row in rows]
    chosen = next(row for row in rows if row["number"] != best and row["discount"] != DiscountParams().model_dump())
    test.selectbox(key="suggest_trial").set_value(chosen["number"]).run()
    test.button(key="suggest_use").click().run()
    unfold(test, "fold_prune_discount")
    sliders = {name: check(test).slider(key=f"prune_{name}").value for name in spec.searched}
    assert sliders == {name: chosen["discount"][name] for name in spec.searched}
    test.button(key="tuning_undo").click().run()
    assert check(test).slider(key="prune_sink_std").value == 2.0
    assert test.slider(key="prune_discount_strength").value == 1.0
    test.run()
    assert test.query_params["search"] in (record.id, [record.id])


def test_a_running_search_is_stopped_and_goes_on():
    record = running(SuggestSpec(statistics=STATISTICS, trials=500, seed=3))
    test = page(search=record.id)
    before = len(engine().progress(record.id).details["trials"])
    assert metrics(test)["Output error, published"] and test.button(key=f"search_cancel_{record.id}")
    test.button(key=f"search_stop_{record.id}").click().run()
    stopped = engine().wait(record.id, 300)
    assert stopped.state == "done" and stopped.summary["stopped"] and before <= len(stopped.summary["trials"]) < 500
    test = page(search=record.id)
    assert f"Stopped after {len(stopped.summary['trials'])} of 500 trials" in texts(test)
    test.button(key=f"search_resume_{record.id}").click().run()
    again = engine().jobs("suggest")[0]
    assert again.id != record.id and again.spec == record.spec
    engine().cancel(again.id)


def test_a_cancelled_search_keeps_its_trials_and_resumes_under_its_name():
    record = running(SuggestSpec(statistics=STATISTICS, trials=500, seed=4))
    engine().cancel(record.id)
    test = page(search=record.id)
    assert "was cancelled" in texts(test) and "Output error, published" in metrics(test)
    test.button(key=f"search_resume_{record.id}").click().run()
    assert not test.exception and not engine().job(record.id).ended
    engine().cancel(record.id)


def test_a_failed_search_says_why():
    steps = SuggestSpec(statistics=STATISTICS).setting.model_copy(update={"first_step": 1, "last_step": 2})
    record = engine().wait(engine().submit("suggest", SuggestSpec(statistics=STATISTICS, setting=steps)).id, 300)
    test = app("pages/prune.py", **QUERY, search=record.id)
    assert "No stored noise step lies in the range" in texts(test)
