"""What a pruning depended on, what differs between two, and which run is another's control."""

from dataclasses import replace
from typing import Any

import pytest

from analysis.evaluation.conditions import (
    PLACEBOS,
    RELATIONS,
    conditions,
    counterpart,
    differing,
    differing_settings,
    nearest,
    scoring,
    scoring_of_all,
    title,
)
from analysis.evaluation.items_file import EvaluatedBenchmark, EvaluatedModel, Header
from analysis.pruned.report_file import PrunedRun
from analysis.specs import METHODS
from tests.helpers import pruned_run


def of(**changes):
    return conditions(pruned_run(**changes))


def test_relations_name_methods_that_there_are():
    for relation in RELATIONS:
        named = {name: getattr(row, relation) for name, row in METHODS.items() if getattr(row, relation)}
        assert set(named) == {name for name, row in METHODS.items() if row.discounted and row.tokens == "sinks"}
        assert all(other in METHODS and not METHODS[other].discounted for other in named.values())
    for placebo in PLACEBOS:
        named = {name: getattr(row, placebo) for name, row in METHODS.items() if getattr(row, placebo)}
        assert named.items() <= {f"sink-{kind}": f"{placebo}-{kind}" for kind in ("wanda", "sparsegpt")}.items()
        assert "sink-wanda" in named and all(METHODS[other].tokens == placebo for other in named.values())
    for row in METHODS.values():  # a control reads the same noise, where the noise is in its scores
        assert row.control is None or METHODS[row.control].weighs_steps == row.weighs_steps


def test_what_a_method_does_not_read_is_no_condition():
    assert differing(of(method="wanda", calibration={"step_interval": 10}), of(method="sink-wanda")) == []
    assert differing(of(method="wanda-noised", calibration={"step_interval": 10}), of(method="sink-wanda")) == [
        "calibration.step_interval"
    ]
    assert differing(of(method="wanda-noised", steps={"first_step": 9}), of(method="sink-wanda")) == [
        "steps.first_step"
    ]
    assert differing(of(method="sparsegpt", steps={"first_step": 9}), of(method="sink-sparsegpt")) == []
    assert differing(of(method="magnitude", ranking="dense"), of(method="wanda")) == []
    assert differing(of(method="wanda", owl_threshold=9), of(method="sink-wanda")) == []
    assert differing(of(method="wanda", allocation="owl", owl_threshold=9), of(allocation="owl")) == ["owl_threshold"]
    assert differing(of(method="magnitude", calibration={"data": "c4"}), of(method="wanda")) == []
    assert differing(of(method="magnitude", allocation="owl", calibration={"data": "c4"}), of(allocation="owl")) == [
        "calibration.data"
    ]
    assert "calibration.data" not in of(method="magnitude")
    assert "expert_worth" not in of(method="wanda") and "expert_worth" in of(method="wanda", pattern="experts")
    assert "calibration.seed" in of(method="magnitude", pattern="experts", expert_worth="random")


def test_a_scope_or_order_that_is_the_methods_own_is_the_published_one():
    assert differing(of(method="wanda", quota_scope="row"), of(method="sink-wanda")) == []
    assert differing(of(method="wanda", ranking="layerwise"), of(method="sink-wanda", ranking="dense")) == []
    assert differing(of(method="wanda", ranking="dense"), of(method="sink-wanda", ranking="dense")) == ["ranking"]
    assert differing(of(method="magnitude", quota_scope="projection"), of(method="magnitude")) == ["quota_scope"]
    assert differing(of(method="sparsegpt", quota_scope="row"), of(method="sink-sparsegpt")) == ["quota_scope"]


@pytest.mark.parametrize("changes", [{"quota_scope": "layer"}, {"ranking": "layerwise"}])
def test_the_control_of_a_scope_or_order_is_of_the_same(changes):
    sink, same, published = of(**changes), of(method="wanda-noised", **changes), of(method="wanda-noised")
    assert counterpart([sink, published, same], 0, "control") == 2
    assert counterpart([sink, published], 0, "control") is None


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"sparsity": 0.6}, "sparsity"),
        ({"quota_scope": "projection"}, "quota_scope"),
        ({"ranking": "layerwise"}, "ranking"),
        ({"pattern": "2:4"}, "pattern"),
        ({"allocation": "depth"}, "allocation"),
        ({"skip_layers": (0,)}, "skip_layers"),
        ({"calibration": {"data": "c4"}}, "calibration.data"),
        ({"calibration": {"samples": 7}}, "calibration.samples"),
        ({"calibration": {"seed": 7}}, "calibration.seed"),
        ({"calibration": {"noise_eps": 0.01}}, "calibration.noise_eps"),
        ({"steps": {"step_weighting": "noisy"}}, "steps.step_weighting"),
        ({"precision": "bfloat16"}, "pruned_in"),
        ({"device": "cuda"}, "pruned_on"),
        ({"model": "another"}, "dense"),
    ],
)
def test_a_control_is_equal_in_everything_but_method_and_discount(changes, name):
    sink = of(method="sink-wanda", discount={"sink_alpha": 3})
    control, other = of(method="wanda-noised"), of(method="wanda-noised", **changes)
    assert counterpart([sink, other, control], 0, "control") == 2
    assert counterpart([sink, other], 0, "control") is None
    assert nearest([sink, other], 0, "control") == (1, [name])
    assert title(name) != name


def test_two_settings_of_the_discount_have_one_control():
    every = [of(discount={"sink_alpha": alpha}) for alpha in (1, 5)] + [of(method="wanda-noised")]
    assert [counterpart(every, index, "control") for index in range(3)] == [2, 2, None]


def test_published_baselines():
    every = [of(method=name) for name in METHODS]
    names = list(METHODS)
    found = {name: counterpart(every, place, "published") for place, name in enumerate(names)}
    told = {name: names[other] for name, other in found.items() if other is not None}
    assert told == {"sink-wanda": "wanda", "sink-sparsegpt": "sparsegpt"}
    assert nearest(every, names.index("wanda"), "control") is None


def test_tasks_in_another_order_are_the_same_condition():
    def asked(*titles: str) -> Header:
        base: dict[str, Any] = {
            "metric": "acc",
            "kind": "multiple_choice",
            "planned": 8,
            "guidance": 0.0,
            "gen_length": None,
        }
        base |= {"source": "ours"}
        return Header(
            names=("m",),
            models=(),
            benchmarks=tuple(
                EvaluatedBenchmark(name=title, title=title, shots=len(title), draws=len(title), **base)
                for title in titles
            ),
            problems=(),
        )

    forth, back = (scoring_of_all(asked(*titles), {}) for titles in (("MMLU", "RTE"), ("RTE", "MMLU")))
    assert differing(forth, back) == [] and forth["draws"] == "MMLU 4, RTE 3"
    assert differing(forth, scoring_of_all(asked("MMLU", "ARC"), {})) != []
    stored = EvaluatedModel(source="m", scored={"tasks": ["MMLU", "RTE"]})
    assert scoring(asked(), stored, {})["tasks"] == ("MMLU", "RTE")


def test_versions_stand_in_the_sheet_and_hinder_no_control():
    run = pruned_run(method="wanda-noised")
    other = conditions(replace(run, versions={"torch": "2.12.0"}))
    assert counterpart([of(), other], 0, "control") == 1
    assert differing(of(), other) == ["versions.torch"]
    assert title("versions.torch") == "Version of torch"


def test_what_differs_has_a_row_each_and_a_column_for_every_run():
    rows = differing_settings([of(sparsity=0.6), of(method="wanda", sparsity=0.7)], ("first", "second"))
    assert {"setting": "Sparsity", "first": "60 %", "second": "70 %"} in rows
    assert [row["setting"] for row in rows].count("Method") == 1
    assert differing_settings([of(), of()], ("first", "second")) == []


def test_reports_that_lack_a_field_or_hold_another_type():
    """A report from before a parameter was there was made with its default."""
    run = pruned_run(method="wanda-noised")
    older = replace(run, settings={name: value for name, value in run.settings.items() if name != "steps"})
    assert counterpart([of(), conditions(older)], 0, "control") == 1
    assert conditions(PrunedRun({}, None, "")) == {}
    assert conditions(PrunedRun({"method": "of my own"}, None, "")) == {}
    odd = replace(run, settings=run.settings | {"calibration": 3, "sparsity": [1], "allocation": {"a": 1}})
    assert counterpart([of(), conditions(odd)], 0, "control") is None
    assert differing_settings([of(), conditions(odd)], ("first", "second"))
