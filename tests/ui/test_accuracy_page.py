"""The accuracy of pruned copies, where they are pruned: choosing runs, asking, and where there are none."""

import pytest

from analysis.pruned.report_file import run_name
from analysis.specs import CalibrationParams, ModelSpec, PruneSpec
from pages.parts.session import engine
from tests.ui.helpers import app, texts

pytestmark = pytest.mark.slow
PAGE = "pages/prune.py"
SMALL = CalibrationParams(samples=2, seq_len=32)


def test_where_nothing_was_pruned_it_leads_to_pruning():
    test = app(PAGE, prune_sparsity="0.4")  # at which the study that ships has pruned nothing
    assert "No pruned copy of this model yet" in texts(test)
    assert not [button for button in test.button if button.key == "compare_accuracy"]


@pytest.fixture(scope="module")
def pruned():
    """Two finished prunings of one method, and one of another, in the app's own store."""
    asked = [
        PruneSpec(method=method, sparsity=sparsity, calibration=SMALL)
        for method, sparsity in (("magnitude", 0.5), ("wanda", 0.5), ("wanda", 0.6))
    ]
    return [engine().wait(engine().submit("prune", spec).id, 300) for spec in asked]


def test_runs_are_chosen_by_their_names_and_compared_with_the_dense_model(pruned):
    assert all(job.state == "done" for job in pruned), [job.reason for job in pruned]
    test = app(PAGE, accuracy_draws="2")
    names, ids = [run_name(job.spec) for job in pruned], [job.id for job in pruned]
    box = test.multiselect(key="accuracy_runs")
    assert set(box.options) == set(names)
    assert set(box.value) == {ids[0], ids[2]}  # the newest of each method
    box.set_value(ids[1:]).run()
    assert test.multiselect(key="accuracy_runs").value == ids[1:]  # also after the run that it causes
    tasks = test.multiselect(key="accuracy_tasks")
    assert tasks.options[:2] == ["included tasks", "the paper's tasks"], "and not their names in addresses"
    tasks.set_value(["bundled_agreement"])
    test.number_input(key="accuracy_limit").set_value(6).run()
    test.button(key="compare_accuracy").click().run()
    record = engine().jobs("evaluate")[0]
    assert record.spec["limit"] == 6
    assert record.spec["names"] == ["dense", *names[1:]]
    record = engine().wait(record.id, 300)
    assert record.state == "done", record.reason
    test.run()
    assert not test.exception, test.exception
    shown = texts(test)
    assert "**Accuracy**" in shown, "it is not interim"
    assert f"{names[1]} against dense" in shown
    assert f"Noise: measured on {names[1]} against dense and 1 more matched pair of runs." in shown
    test.multiselect(key="accuracy_runs").set_value([ids[0]]).run()
    assert "Noise: assumed." in texts(test), "no evaluation of runs like this one: others do not count"
    test.multiselect(key="accuracy_runs").set_value([ids[2]]).run()
    assert f"Noise: measured on {names[2]} against dense." in texts(test)


def test_of_another_model_its_own_runs_are_offered(pruned):
    test = app(PAGE)
    test.session_state["model_in_use"] = ModelSpec(source="bundled-ar")
    test.run()
    assert "No pruned copy of this model yet" in texts(test)


def test_what_is_pruned_is_scored_next(pruned):
    test = app(PAGE, accuracy_limit="2", prune_sparsity="0.5")
    test.multiselect(key="accuracy_tasks").set_value(["bundled_agreement"])
    test.multiselect(key="prune_methods").set_value(["magnitude"]).run()
    test.button(key="prune").click().run()
    record = engine().wait(engine().jobs("sweep")[0].id, 300)
    assert record.state == "done", record.reason
    (point,) = engine().sweep_points(record)
    assert point.pruning.method == "magnitude" and point.evaluated.spec["tasks"] == ["bundled_agreement"]
    assert "**Accuracy**" in texts(test.run())
