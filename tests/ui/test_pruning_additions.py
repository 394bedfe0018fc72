"""A method, a pattern, an allocation and a noise that were only added to their tables, chosen on the page and run."""

import dask
import pytest

from pages.parts.session import engine
from tests.pruning import additions
from tests.ui.helpers import app, folds, texts, unfold

pytestmark = pytest.mark.slow
PRELOAD = {"distributed.worker.preload": ["tests.pruning.additions"]}


def pruned(test, method, sparsity) -> dict:
    """Presses the button and returns the report of the run."""
    assert not test.exception, test.exception
    test.toggle(key="prune_then_score").set_value(False).run()
    test.button(key="prune").click().run()
    record = next(job for job in engine().jobs("prune") if job.spec["method"] == method)
    record = engine().wait(record.id, 300)
    assert record.state == "done", record.reason
    test.run()
    assert not test.exception
    assert f"· {sparsity}" in texts(test)
    return record.summary["report"]


def test_what_is_added_to_a_table_is_offered_explained_and_run():
    with dask.config.set(PRELOAD), additions.added():
        test = app("pages/prune.py", "fold_prune_calibration", prune_seeds="1")
        for key, row in (
            ("prune_pattern", additions.PATTERN),
            ("prune_allocation", additions.ALLOCATION),
            ("prune_noise", additions.NOISE),
        ):
            box = test.selectbox(key=key)
            assert row.name in box.options and row.help in box.help
        methods = test.multiselect(key="prune_methods")
        assert additions.METHOD.title in methods.options and additions.METHOD.help in methods.help

        methods.set_value(["largest"]).run()
        test.selectbox(key="prune_pattern").set_value("structured").run()
        assert "Structured pruning scores features" in texts(test)
        test.selectbox(key="prune_pattern").set_value("3:4").run()
        assert next(slider for slider in test.slider if slider.label == "Sparsity").value == 0.25
        test.multiselect(key="prune_methods").set_value(["wanda-noised"])
        test.selectbox(key="prune_pattern").set_value("unstructured").run()
        test.selectbox(key="prune_allocation").set_value("late")
        test.selectbox(key="prune_noise").set_value("odd")
        test.number_input(key="prune_samples").set_value(2)
        test.number_input(key="prune_seq_len").set_value(32)
        test.run()
        assert "More settings · allocation range ± 0.08" in folds(test)
        unfold(test, "fold_prune_more")
        assert test.number_input(key="prune_allocation_range").value == 0.08
        report = pruned(test, "wanda-noised", "50 %")
        assert set(report["calibration"]["masked"]) == {0.5}
        assert report["sparsity"]["by_layer"]["0"] < 0.45
