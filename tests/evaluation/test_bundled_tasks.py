"""The bundled benchmark: made from held-out combinations, and not to be solved by looking at the choices alone."""

import json
import math
from collections import Counter, defaultdict
from itertools import cycle
from random import Random

import pytest
import yaml

from analysis.evaluation.bundled.data import FOLDER
from training import tasks

ALL = [*tasks.TASKS, tasks.GENERATIVE]


def read(task: str, split: str) -> list[dict]:
    return [json.loads(line) for line in (FOLDER / f"{task}_{split}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("task", ALL)
def test_there_are_enough_items(task):
    assert len(read(task, "test")) >= 500
    assert len(read(task, "dev")) >= 200


@pytest.mark.parametrize(("task", "split"), [*zip(ALL, cycle(tasks.SPLITS))])
def test_the_files_are_what_the_script_writes(task, split):
    made = tasks.problems(split) if task == tasks.GENERATIVE else tasks.items(task, split)
    assert read(task, split) == made


def test_a_world_with_too_few_combinations_is_said(monkeypatch):
    monkeypatch.setitem(tasks.SIZES, "dev", 100_000)
    monkeypatch.setattr(tasks, "_MOST_GROUPS", 3_000)
    with pytest.raises(ValueError, match="physical, dev: tool has too few held-out units"):
        tasks.items("physical", "dev")


@pytest.mark.parametrize("task", ALL)
def test_few_items_are_of_one_combination(task):
    """Kish's effective number of clusters."""
    keys = [item["key"] for item in read(task, "test")]
    assert tasks.effective_clusters(keys) >= 300


def test_effective_clusters_are_kishs():
    assert tasks.effective_clusters(["a", "b", "c"]) == 3
    assert tasks.effective_clusters(["a"] * 4) == 1
    assert tasks.effective_clusters(["a", "a", "b"]) == pytest.approx(9 / 5)


@pytest.mark.parametrize("task", ALL)
def test_dev_and_test_share_no_combination(task):
    assert {item["key"] for item in read(task, "dev")}.isdisjoint(item["key"] for item in read(task, "test"))


@pytest.mark.parametrize("task", tasks.TASKS)
def test_items_are_well_formed(task):
    count = tasks.TASKS[task].choices
    for item in read(task, "test"):
        assert len(set(item["choices"])) == len(item["choices"]) == count
        assert 0 <= item["answer"] < count
        assert item["context"] == item["context"].strip()


@pytest.mark.parametrize("task", tasks.TASKS)
def test_words_of_the_choices_do_not_give_the_answer_away(task):
    """Naive Bayes on the words of the choices, cross-validated; items with the same choices stay in one fold."""
    items = read(task, "test")
    chance = 1 / tasks.TASKS[task].choices
    assert abs(_bag_of_words(items) - chance) < 0.05


@pytest.mark.parametrize("task", tasks.TASKS)
@pytest.mark.parametrize("sign", [1, -1], ids=["longest", "shortest"])
def test_length_does_not_give_the_answer_away(task, sign):
    items = read(task, "test")
    right = 0.0
    for item in items:
        lengths = [sign * len(choice) for choice in item["choices"]]
        best = [index for index, length in enumerate(lengths) if length == max(lengths)]
        right += (item["answer"] in best) / len(best)
    assert abs(right / len(items) - 1 / tasks.TASKS[task].choices) < 0.05


def test_position_does_not_give_the_answer_away():
    for task, spec in tasks.TASKS.items():
        places = Counter(item["answer"] for item in read(task, "test"))
        assert max(places.values()) / sum(places.values()) < 1 / spec.choices + 0.07, task


def test_the_bag_of_words_rule_finds_a_give_away():
    """The rule is no straw man: with one telling word it is right."""
    telling = [
        {"choices": [f"good {index}", f"bad {index}"], "answer": 0, "context": "", "key": str(index)}
        for index in range(60)
    ]
    assert _bag_of_words(telling) > 0.95


def _bag_of_words(items: list[dict], folds: int = 5) -> float:
    groups: dict[tuple[str, ...], list[dict]] = defaultdict(list)
    for item in items:
        groups[tuple(sorted(item["choices"]))].append(item)
    order = sorted(groups)
    Random(0).shuffle(order)
    right = 0.0
    for fold in range(folds):
        good: Counter[str] = Counter()
        bad: Counter[str] = Counter()
        for number, group in enumerate(order):
            if number % folds != fold:
                for item in groups[group]:
                    for index, choice in enumerate(item["choices"]):
                        (good if index == item["answer"] else bad).update(choice.split())
        for group in order[fold::folds]:
            for item in groups[group]:
                scores = [_log_odds(choice, good, bad) for choice in item["choices"]]
                best = [index for index, score in enumerate(scores) if score >= max(scores) - 1e-12]
                right += (item["answer"] in best) / len(best)
    return right / len(items)


def _log_odds(choice: str, good: Counter, bad: Counter) -> float:
    ratio = (sum(good.values()) + 1) / (sum(bad.values()) + 1)
    return sum(math.log((good[word] + 1) / (bad[word] + 1) / ratio) for word in choice.split())


# --- lm-eval's form ---------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Reads lm-eval's !function tags as plain text."""


_Loader.add_constructor("!function", lambda loader, node: node.value)


@pytest.mark.parametrize("task", ALL)
def test_each_task_has_its_yaml(task):
    spec = yaml.load((FOLDER / f"{task}.yaml").read_text(encoding="utf-8"), Loader=_Loader)
    assert spec["task"] == f"bundled_{task}"
    assert spec["custom_dataset"] == "data.load"
    assert spec["dataset_kwargs"] == {"task": task}
    fields = set(read(task, "test")[0])
    used = {spec["doc_to_text"].strip("{}"), spec["doc_to_target"].strip("{}")}
    assert used <= fields
    assert spec["output_type"] == ("generate_until" if task == tasks.GENERATIVE else "multiple_choice")


def test_the_group_names_the_choice_tasks():
    group = yaml.load((FOLDER / "bundled.yaml").read_text(encoding="utf-8"), Loader=_Loader)
    assert group["task"] == [f"bundled_{task}" for task in tasks.TASKS]


def test_lm_eval_scores_the_tasks():
    """lm-eval itself reads the YAML and scores a model that likes long answers and writes one fixed sentence."""
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Longest(LM):
        def loglikelihood(self, requests):
            return [(float(len(request.args[1])), False) for request in requests]

        def loglikelihood_rolling(self, requests):
            raise NotImplementedError

        def generate_until(self, requests):
            return ["So he has 3 apples."] * len(requests)

    limit = 40
    manager = TaskManager(include_path=str(FOLDER), include_defaults=False)
    found = lm_eval.simple_evaluate(
        Longest(), tasks=["bundled", "bundled_problems"], task_manager=manager, limit=limit, bootstrap_iters=0
    )["results"]
    for task in tasks.TASKS:
        items = read(task, "test")[:limit]
        longest = [max(range(len(item["choices"])), key=lambda i: len(item["choices"][i])) for item in items]
        right = sum(best == item["answer"] for best, item in zip(longest, items, strict=True))
        assert found[f"bundled_{task}"]["acc,none"] == pytest.approx(right / limit), task
    three = sum(item["result"] == "3" for item in read(tasks.GENERATIVE, "test")[:limit])
    assert three > 0
    assert found["bundled_problems"]["exact_match,worked-answer"] == pytest.approx(three / limit)
