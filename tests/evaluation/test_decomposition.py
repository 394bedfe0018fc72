"""The way from the dense model to a sink-aware run, step by step."""

import pytest

from analysis.evaluation import comparing, results
from analysis.evaluation.comparing import decomposed, stages
from analysis.pruned.report_file import PrunedRun
from tests.evaluation.test_results import written
from tests.helpers import pruned_run

DENSE = PrunedRun({}, None, "")


def evaluated(path, *methods, **changes):
    runs = (DENSE, *(pruned_run(method=name, **changes) for name in methods))
    names = ("dense", *methods)
    return written(path, (40,) * len(runs), runs, names, drop=0.2)


@pytest.mark.parametrize("order", [("wanda", "wanda-noised", "sink-wanda"), ("sink-wanda", "wanda-noised", "wanda")])
@pytest.mark.parametrize("task", ["a", results.AVERAGE])
def test_the_steps_add_up_to_the_whole(tmp_path, order, task):
    found = evaluated(tmp_path / "items.jsonl", *order)
    sink = found.names.index("sink-wanda")
    assert decomposed(found) == [sink]
    *steps, whole = stages(found, sink, task)
    assert [step.title for step in steps] == ["Wanda", "+ noise (control)", "+ discount"]
    assert [tuple(found.names[model] for model in step.pair) for step in steps] == [
        ("wanda", "dense"),
        ("wanda-noised", "wanda"),
        ("sink-wanda", "wanda-noised"),
    ]
    assert whole.total
    assert sum(step.difference.value for step in steps) == pytest.approx(whole.difference.value)
    same = comparing.family(found)[sink, 0]
    expected = comparing.overall(same) if task == results.AVERAGE else same[task]
    assert (whole.difference.value, whole.difference.low) == (expected.value, expected.low)


def test_where_the_baseline_is_the_control_or_is_missing_there_is_one_step_less(tmp_path):
    found = evaluated(tmp_path / "a.jsonl", "sparsegpt", "sink-sparsegpt")
    assert [step.title for step in stages(found, 2, "a")] == ["SparseGPT", "+ discount", "Sink-SparseGPT in all"]
    found = evaluated(tmp_path / "b.jsonl", "wanda-noised", "sink-wanda")
    assert [step.pair for step in stages(found, 2, "a")] == [(1, 0), (2, 1), (2, 0)]


def test_without_a_control_nothing_can_be_put_down_to_the_discount(tmp_path):
    found = evaluated(tmp_path / "items.jsonl", "wanda", "sink-wanda")
    assert decomposed(found) == []
    assert stages(found, 2, "a") == []
