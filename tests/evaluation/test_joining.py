"""Models that were scored apart, compared on the items that all were asked."""

from dataclasses import replace

import pytest

from analysis.errors import UserError
from analysis.evaluation import comparing, results
from analysis.evaluation.importing import Part, joined
from tests.evaluation.test_results import written


@pytest.fixture
def found(tmp_path) -> results.Results:
    return written(tmp_path / "items.jsonl", counts=(40, 40, 40))


def changed(found: results.Results, **fields) -> results.Results:
    """The same results in a file whose items or header say something else."""
    documents = {key: item.model_copy(update=fields.get("item", {})) for key, item in found.documents.items()}
    return replace(found, documents=documents, header=found.header.model_copy(update=fields.get("header", {})))


def apart(found: results.Results, other: results.Results) -> results.Results:
    return joined([Part("one", found, 0), Part("two", other, 1)])


def test_models_scored_apart_differ_as_if_they_had_been_scored_together(found, tmp_path):
    other = written(tmp_path / "other.jsonl", counts=(40, 40, 40))
    whole = apart(found, other)
    assert whole.names == ("one", "two")
    expected, got = comparing.family(found, [(1, 0)])[1, 0], comparing.family(whole, [(1, 0)])[1, 0]
    assert {task: (one.value, one.low, one.high, one.n) for task, one in got.items()} == {
        task: (one.value, one.low, one.high, one.n) for task, one in expected.items()
    }
    assert whole.problems == ()
    assert not comparing.mismatch(whole, (1, 0)).startswith("Tasks")


def test_items_are_the_same_by_their_prompt_whatever_their_number(found):
    documents = {f"x{key}": item.model_copy(update={"key": f"x{key}"}) for key, item in found.documents.items()}
    answers = {(f"x{key}", model): answer for (key, model), answer in found.answers.items()}
    renamed = replace(found, documents=documents, answers=answers)
    whole = apart(found, renamed)
    assert len(whole.documents) == 80
    assert comparing.family(whole, [(1, 0)])[1, 0]["a"].value == comparing.family(found, [(1, 0)])[1, 0]["a"].value


def test_what_not_all_have_is_left_out_and_said(found, tmp_path):
    fewer = written(tmp_path / "fewer.jsonl", counts=(40, 25, 40))
    whole = apart(found, fewer)
    assert {name: len(items) for name, items in whole.shuffled.items()} == {"a": 25, "b": 25}
    assert any("A is compared on the 25 items" in problem for problem in whole.problems)
    family = comparing.family(whole, [(1, 0)])[1, 0]
    assert family["a"].p is None, "tests wait for what one of the two still has to answer"


def test_other_prompts_are_other_items(found):
    with pytest.raises(UserError, match="No item was answered by all of one, two"):
        apart(found, changed(found, item={"prompt": "f" * 64}))


def test_an_item_asked_twice_is_two_items(found):
    twice = changed(found, item={"question": "the same", "prompt": ""})
    whole = apart(twice, twice)
    assert len(whole.documents) == 80


def test_conditions_that_the_parts_do_not_share_are_named(found):
    benchmarks = tuple(one.model_copy(update={"draws": 4}) for one in found.benchmarks)
    whole = apart(found, changed(found, header={"benchmarks": benchmarks, "seed": 7}))
    assert "Draws (4 and 32)" in comparing.mismatch(whole, (1, 0))


def test_two_models_of_one_name_are_refused(found):
    with pytest.raises(UserError, match="same name"):
        joined([Part("one", found, 0), Part("one", found, 1)])
