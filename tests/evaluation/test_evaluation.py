"""Evaluating through lm-eval: its accuracies, its tokens, resuming, batches, and what happens without a network."""

import argparse
import itertools
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import lm_eval.tasks
import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from pydantic import ValidationError
from transformers import LlamaConfig, LlamaForCausalLM

from analysis import hub
from analysis.__main__ import main
from analysis.command_line import evaluate
from analysis.command_line.flags import add_flags
from analysis.errors import UserError
from analysis.evaluation import comparing, early_draws, language_model, live, results, tables, tasks
from analysis.evaluation.bundled.data import FOLDER
from analysis.evaluation.items_file import DOCUMENTS
from analysis.evaluation.language_model import LanguageModel, Settings
from analysis.evaluation.likelihood import Budget, Request, log_likelihoods
from analysis.evaluation.presets import PRESETS, SUITES, expand
from analysis.job_context import Cancelled
from analysis.jobs import evaluation
from analysis.jobs.pruning import prune
from analysis.models import resident
from analysis.models.load import load, register
from analysis.models.native_code import DreamConfig, DreamModel
from analysis.recording.denoising import denoise
from analysis.specs import EvaluateSpec, LLaDASampling, ModelSpec, PruneSpec
from analysis.specs.commands import evaluate_command
from tests.evaluation import hub_datasets
from tests.evaluation.every_order import EveryOrder
from tests.helpers import QuietContext, pruned_run, save_tiny, tiny_llada, write_report
from training import measure
from training.measure import pruned_copy

QUICK = ("bundled_agreement", "bundled_knowledge")


@pytest.fixture(autouse=True)
def _own_tasks_only(monkeypatch):
    """lm-eval's thousands of task files are not read in every test."""
    real = tasks.TaskManager
    monkeypatch.setattr(
        tasks, "TaskManager", lambda include_path, include_defaults=True: real(None, include_path, False)
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    """A folder with a very small random model in LLaDA's format that reads the bundled text."""
    return tiny_llada(tmp_path_factory.mktemp("tiny") / "dense", 0)


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> str:
    """Another of the same shape."""
    return tiny_llada(tmp_path_factory.mktemp("tiny") / "other", 1)


@pytest.fixture
def spec(tiny):
    """Makes specs that evaluate the tiny model."""
    usual = {"model": ModelSpec(source=tiny, device="cpu"), "tasks": QUICK, "limit": 24, "draws": 4}
    return lambda **changes: EvaluateSpec(**{**usual, **changes})


def evaluated(folder, asked: EvaluateSpec, context=None, home="home") -> results.Results:
    """What an evaluation in `folder` finds; those beside it with the same home know each other's answers."""
    folder.mkdir(exist_ok=True)
    outcome = evaluation.evaluate(asked, context or QuietContext(folder, folder.parent / home))
    assert outcome.file is not None
    return results.read(outcome.file)


def choices(found: results.Results) -> dict:
    return {key: int(np.argmax(answer.values)) for key, answer in found.answers.items()}


def values(found: results.Results) -> dict:
    return {key: pytest.approx(answer.values, rel=1e-5) for key, answer in found.answers.items()}


# --- lm-eval's own numbers --------------------------------------------------------------------------------------


def test_bundled_items_are_made_once_for_all_models_and_anew_for_other_settings(spec, tmp_path, monkeypatch):
    made: list[str] = []
    make = tasks._benchmark
    monkeypatch.setattr(tasks, "_benchmark", lambda name, *rest: made.append(name) or make(name, *rest))
    folder = tmp_path / "files"
    shutil.copytree(FOLDER, folder)
    monkeypatch.setattr(tasks, "FOLDER", folder)
    tasks._shipped.cache_clear()

    def loaded(**changes: Any) -> list[Any]:
        benchmarks, problems = tasks.load_benchmarks(spec(tasks=("bundled_story",), limit=6, **changes), None)
        assert not problems
        return [(each.key, each.place, [one.args for one in each.requests]) for each in benchmarks[0].documents]

    first = loaded()
    assert loaded(compare=(ModelSpec(source="bundled-ar"),)) == first and len(made) == 1
    tasks._shipped.cache_clear()
    assert loaded() == first and len(made) == 2, "what is kept is what is made"
    assert loaded(seed=1) != first and len(made) == 3
    items = folder / "story_test.jsonl"
    items.write_text("".join(reversed(items.read_text().splitlines(keepends=True))))
    assert loaded(seed=1) and loaded() != first and len(made) == 5, "the files are other ones"
    tasks._shipped.cache_clear()


def test_accuracy_equals_lm_evals_own(tmp_path, spec, tiny, monkeypatch):
    from lm_eval import evaluator, simple_evaluate

    monkeypatch.setattr(evaluator, "add_env_info", lambda storage: None)  # asks every package manager there is

    asked = spec(shots=2)
    found = evaluated(tmp_path / "job", asked)
    benchmarks, _ = tasks.load_benchmarks(asked, None)
    own = simple_evaluate(
        model=LanguageModel(load(ModelSpec(source=tiny, device="cpu")), Settings(draws=4)),
        tasks=[task for benchmark in benchmarks for task in benchmark.tasks.values()],
        samples=hub_datasets.samples(benchmarks),
        num_fewshot=2,
        bootstrap_iters=0,
        task_manager=tasks.TaskManager(str(FOLDER)),
    )
    for benchmark in QUICK:
        right, keys = results.scores(found, benchmark, 0)
        assert len(right) == 24
        assert right.mean() == own["results"][benchmark]["acc,none"]
        assert {int(key.split("/")[1]) for key in keys} == {row["doc_id"] for row in own["samples"][benchmark]}
        for row in own["samples"][benchmark]:
            answer = found.answers[f"{benchmark}/{row['doc_id']}", 0]
            assert answer.metrics["acc"] == row["acc"]
            assert answer.values == pytest.approx([resp[0][0] for resp in row["resps"]], rel=1e-4)


@pytest.mark.parametrize("kind", ["dream", "autoregressive"])
def test_accuracy_equals_that_of_an_independent_scorer(tmp_path, monkeypatch, kind):
    """lm-eval's own evaluation with every order of every answer enumerated, from the network's raw logits."""
    from lm_eval import evaluator, simple_evaluate

    monkeypatch.setattr(evaluator, "add_env_info", lambda storage: None)  # asks every package manager there is
    names, folder = ("bundled_knowledge", "bundled_physical", "bundled_story"), tmp_path / kind
    tokenizer = load(ModelSpec(source="bundled", device="cpu")).tokenizer
    shape = {"vocab_size": len(tokenizer), "max_position_embeddings": 256, "initializer_range": 0.2}
    classes = (LlamaForCausalLM, LlamaConfig)
    if kind == "dream":
        classes, shape = (DreamModel, DreamConfig), shape | {"mask_token_id": tokenizer.mask_token_id}
    save_tiny(folder, *classes, tokenizer=False, seed=3, **shape)
    tokenizer.save_pretrained(folder)
    model = ModelSpec(source=str(folder), device="cpu")
    found = evaluated(tmp_path / "job", EvaluateSpec(model=model, tasks=names, limit=8))
    loaded = load(model)
    benchmarks, _ = tasks.load_benchmarks(EvaluateSpec(model=model, tasks=names, limit=8), None)
    own = simple_evaluate(
        model=EveryOrder(loaded.network, loaded.tokenizer, loaded.mask_token, 1),
        tasks=[task for benchmark in benchmarks for task in benchmark.tasks.values()],
        samples=hub_datasets.samples(benchmarks),
        bootstrap_iters=0,
        task_manager=tasks.TaskManager(str(FOLDER)),
    )
    lengths = set()
    for benchmark in names:
        right, _ = results.scores(found, benchmark, 0)
        assert len(right) == 8
        assert right.mean() == own["results"][benchmark]["acc,none"]
        for row in own["samples"][benchmark]:
            answer = found.answers[f"{benchmark}/{row['doc_id']}", 0]
            assert answer.metrics["acc"] == row["acc"]
            assert answer.values == pytest.approx([resp[0][0] for resp in row["resps"]], rel=1e-4)
            lengths |= set(answer.draws)
    assert kind == "autoregressive" or max(lengths) >= 7  # answers of three tokens and more, in all their orders


def test_items_are_right_where_the_model_card_says_so(tmp_path, spec, bundled):
    asked = spec(model=ModelSpec(device="cpu"), tasks=("bundled_knowledge",), limit=None, draws=32)
    (benchmark,), _ = tasks.load_benchmarks(asked, None)
    first = replace(benchmark, documents=tuple(one for one in benchmark.documents if one.id < 12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "load_benchmarks", lambda *rest: ([first], []))
        found = evaluated(tmp_path / "job", asked)
    card = measure.correct(bundled, "knowledge", "test", 12)
    assert 0 < card.mean() < 1
    for number, right in enumerate(card):
        assert found.answers[f"bundled_knowledge/{number}", 0].metrics["acc"] == float(right)


def test_text_is_written_by_the_models_own_sampler(bundled):
    items = measure.read_items("problems", "test")[:2]
    requests = [
        Instance("generate_until", {}, (item["context"], {"until": ["Question:"], "max_gen_toks": 6}), 0, ("t", n, 1))
        for n, item in enumerate(items)
    ]
    written = LanguageModel(bundled, Settings()).generate_until(requests)
    for item, text in zip(items, written, strict=True):
        prompt = torch.tensor([bundled.tokenizer(item["context"])["input_ids"]])
        *_, step = denoise(bundled, prompt, LLaDASampling(gen_length=6, steps=6), 0)
        own = bundled.tokenizer.decode(step.choice.output[0, prompt.shape[1] :].tolist(), skip_special_tokens=True)
        assert own.startswith(text.rstrip())
        assert "Question:" not in text
        assert text


def test_autoregressive_text_ends_at_a_stop_string():
    model = load(ModelSpec(source="bundled-ar", device="cpu"))
    ask = ("The dog is happy. The cat", {"until": ["."], "max_gen_toks": 40})
    (text,) = LanguageModel(model, Settings()).generate_until([Instance("generate_until", {}, ask, 0, ("t", 0, 1))])
    assert text
    assert "." not in text


@pytest.mark.parametrize("kind", ["bundled", "bundled-ar"])
def test_tokens_follow_lm_evals_semantics(kind):
    """Prompt and answer are encoded together; trailing spaces go to the answer; an empty prompt is one start token."""
    model = load(ModelSpec(source=kind, device="cpu"))
    seen: list[Request] = []

    def spy(model, requests, *rest, on_result, **options):
        seen.extend(requests)
        return log_likelihoods(model, requests, on_result=on_result, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_model, "log_likelihoods", spy)
        LanguageModel(model, Settings()).loglikelihood(
            [_request("The dog", " is happy"), _request("The dog ", "is happy"), _request("", "The dog")]
        )
    encode = model.tokenizer
    start = encode.bos_token_id
    context = (start, *encode("The dog", add_special_tokens=False)["input_ids"])
    whole = (start, *encode("The dog is happy", add_special_tokens=False)["input_ids"])
    assert [request.context for request in seen] == [context, context, (start,)]
    assert [request.context + request.continuation for request in seen[:2]] == [whole, whole]
    assert seen[2].continuation == tuple(encode("The dog", add_special_tokens=False)["input_ids"])


def test_too_long_a_prompt_is_cut_from_the_left(bundled):
    model = LanguageModel(bundled, Settings())
    long = " ".join(["The dog is happy."] * 200)
    ((value, _),) = model.loglikelihood([_request(long, " It is small")])
    assert model.cut == {0}
    ids = bundled.tokenizer(long)["input_ids"]
    answer = bundled.tokenizer(" It is small", add_special_tokens=False)["input_ids"]
    room = bundled.geometry.max_length - len(answer)
    (expected,) = log_likelihoods(bundled, [Request(tuple(ids[-room:]), tuple(answer))])
    assert value == pytest.approx(expected.value, rel=1e-5)


def _request(context: str, continuation: str, number: int = 0) -> Instance:
    return Instance("loglikelihood", {}, (context, continuation), number, ("", number, 1))


def test_rolling_windows_score_every_token_once():
    model = load(ModelSpec(source="bundled-ar", device="cpu"))
    text = " ".join(["The dog is happy."] * 90)
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > model.geometry.max_length
    asked = LanguageModel(model, Settings())
    (value,) = asked.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0, ("t", 0, 1))])
    room = model.geometry.max_length - 1
    first = log_likelihoods(model, [Request((asked.prefix_token_id,), tuple(ids[:room]))])[0].value
    rest = ids[room:]
    context = ids[-model.geometry.max_length : -len(rest)]
    second = log_likelihoods(model, [Request(tuple(context), tuple(rest))])[0].value
    assert value == pytest.approx(first + second, rel=1e-5)


# --- live -------------------------------------------------------------------------------------------------------


def test_batch_sizes_do_not_change_choices(tmp_path, spec, monkeypatch):
    asked = spec(tasks=("bundled_knowledge",), limit=12)
    whole = evaluated(tmp_path / "one", asked)
    monkeypatch.setattr(Budget, "of", classmethod(lambda cls, model: cls(tokens=40)))
    parts = evaluated(tmp_path / "two", asked, home="another home")
    assert len(whole.answers) == 12
    assert choices(parts) == choices(whole)
    assert {key: answer.values for key, answer in parts.answers.items()} == values(whole)


class Interrupting(QuietContext):
    """A context that is cancelled after some items."""

    def __init__(self, folder, after: int) -> None:
        super().__init__(folder, folder.parent / "home")
        self.after = after

    def progress(self, phase, done=0, total=0, **details):
        super().progress(phase, done, total, **details)
        if phase == "evaluating" and done >= self.after:
            raise Cancelled


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, spec, monkeypatch):
    asked = spec(draws=2)
    with pytest.raises(Cancelled):
        evaluated(tmp_path / "first", asked, Interrupting(tmp_path / "first", 30))
    forwards = []
    real = live.LanguageModel.loglikelihood
    monkeypatch.setattr(
        live.LanguageModel, "loglikelihood", lambda self, requests: forwards.extend(requests) or real(self, requests)
    )
    resumed = evaluated(tmp_path / "second", asked)
    assert sum(answer.restored for answer in resumed.answers.values()) == 30
    assert len({(request.task_name, request.doc_id) for request in forwards}) == 48 - 30
    whole = evaluated(tmp_path / "third", asked, home="another home")
    assert not any(answer.restored for answer in whole.answers.values())
    assert choices(resumed) == choices(whole)
    assert {key: answer.values for key, answer in resumed.answers.items()} == values(whole)
    assert {key: answer.metrics for key, answer in resumed.answers.items()} == {
        key: answer.metrics for key, answer in whole.answers.items()
    }


def test_stopping_keeps_what_is_there(tmp_path, spec):
    class Stopping(QuietContext):
        def progress(self, phase, done=0, total=0, **details):
            if phase == "evaluating" and done == 30:
                self.stop = True

    found = evaluated(tmp_path / "job", spec(), Stopping(tmp_path / "job", tmp_path / "home"))
    assert found.end is not None
    assert found.end.stopped
    there = len(found.answers)
    assert 30 <= there <= 32
    assert not evaluation.summary(found)["complete"]
    again = evaluated(tmp_path / "again", spec())
    assert len(again.answers) == 48
    assert sum(answer.restored for answer in again.answers.values()) == there


def test_a_dense_evaluation_is_the_same_after_pruning(tmp_path, spec, monkeypatch):
    before = evaluated(tmp_path / "before", spec())
    model = resident.resident_model(spec().model, QuietContext(tmp_path))
    pruned_copy(model, "magnitude", 0.7)
    pruned_copy(model, "wanda", 0.5, [torch.arange(5, 69).reshape(2, 32)])
    after = evaluated(tmp_path / "after", spec(), home="another home")
    assert {key: answer.values for key, answer in after.answers.items()} == {
        key: answer.values for key, answer in before.answers.items()
    }


def test_dense_is_computed_once(tmp_path, spec, other):
    alone = evaluated(tmp_path / "alone", spec())
    both = evaluated(tmp_path / "both", spec(compare=(ModelSpec(source=other, device="cpu"),)))
    assert all(both.answers[key].restored == (key[1] == 0) for key in both.answers)
    assert {key: both.answers[key].values for key in alone.answers} == {
        key: answer.values for key, answer in alone.answers.items()
    }
    fewer = evaluated(tmp_path / "fewer", spec(draws=1))
    assert not any(answer.restored for answer in fewer.answers.values())


def test_every_model_sees_the_same_masks(tiny, other):
    seen: dict[str, list] = {}

    def spied(folder, name):
        model = load(ModelSpec(source=folder, device="cpu"))
        predict = model.predict

        def noted(tokens, **options):
            seen.setdefault(name, []).append(tokens)
            return predict(tokens, **options)

        object.__setattr__(model, "predict", noted)
        return model

    requests = [_request("The dog", " is happy and small today because", 0), _request("A cat", " was there", 1)]
    LanguageModel(spied(tiny, "dense"), Settings(draws=6)).loglikelihood(requests)
    LanguageModel(spied(other, "pruned"), Settings(draws=6), Budget(tokens=11)).loglikelihood(requests[::-1])

    def rows(name):
        return sorted(tuple(row) for batch in seen[name] for row in batch.tolist())

    assert len(seen["dense"]) != len(seen["pruned"])
    assert rows("dense") == rows("pruned")


@pytest.mark.parametrize("together", [True, False])
def test_models_take_turns_window_by_window(tmp_path, spec, other, monkeypatch, together):
    monkeypatch.setattr(evaluation._Models, "_all_fit", lambda self, found: together)
    asked = spec(compare=(ModelSpec(source=other, device="cpu"),), tasks=("bundled_agreement",), limit=70)
    found = evaluated(tmp_path / "job", asked)
    lines = (tmp_path / "job" / DOCUMENTS).read_text().splitlines()
    order = [line["model"] for line in map(json.loads, lines) if line["line"] == "answer"]
    turns = [order[0], *(b for a, b in itertools.pairwise(order) if a != b)]
    assert turns == ([0, 1, 0, 1] if together else [0, 1])
    assert found.header.together is together
    first = [document.length for document in live.windows(tasks.load_benchmarks(asked, None)[0][0].documents)[0]]
    assert len(first) == 64
    assert first == sorted(first)


def test_subsets_are_random_seeded_and_nested(spec):
    def ids(**changes):
        (benchmark,), _ = tasks.load_benchmarks(spec(tasks=("bundled_story",), **changes), None)
        return [document.id for document in benchmark.documents]

    few = ids(limit=20)
    assert few == ids(limit=20)
    assert few != sorted(few)
    assert max(few) > 100
    assert ids(limit=40)[:20] == few
    assert ids(limit=20, seed=1) != few
    assert sorted(ids(limit=None)) == list(range(504))


def test_drawing_may_stop_early_for_one_model(bundled, spec):
    """Where one answer is text and the other is none, few rounds do; between two alike, all are drawn."""
    context = tuple(bundled.tokenizer("The dog")["input_ids"])

    def answer(text):
        return Request(context, tuple(bundled.tokenizer(text, add_special_tokens=False)["input_ids"]), "t")

    # Of a name that nothing speaks for, one is as likely as another.
    sense, alike, none = answer(" saw Tom and Ann."), answer(" saw Sam and Eva."), answer(" and is king Sue four")
    requests, told = [sense, none, sense, alike], {}
    assert all(len(request.continuation) == 5 for request in requests)
    found = early_draws.log_likelihoods(bundled, requests, "aabb", 16, 0, lambda i, result: told.update({i: result}))
    assert [told[index] for index in range(4)] == found
    assert [result.draws for result in found[2:]] == [16, 16]
    assert found[0].draws == found[1].draws < 16
    assert found[0].draws % 2 == 0
    assert found[0].draws >= 2 * early_draws.LEAST_ROUNDS
    assert not any(result.exact for result in found)
    with pytest.raises(ValueError, match="comparison"):
        spec(early_draws=True, compare=(ModelSpec(),))


# --- comparing --------------------------------------------------------------------------------------------------


def test_the_control_of_really_pruned_runs_is_found_whatever_they_are_called(tmp_path, spec):
    """Also after its folder was renamed to something that says another thing."""
    register()  # saves under the authors' names
    dense = ModelSpec(source=tiny_llada(tmp_path / "tiny", 0), device="cpu")
    for name, method, sparsity in (
        ("wanda-noised", "wanda-noised", 0.7),
        ("x", "wanda-noised", 0.6),
        ("y", "sink-wanda", 0.6),
        ("z", "wanda", 0.6),
    ):
        asked = PruneSpec(
            model=dense,
            method=method,
            sparsity=sparsity,
            out=str(tmp_path / name),
            calibration={"samples": 2, "seq_len": 16, "step_interval": 25},
        )
        prune(asked, QuietContext(tmp_path))
    (tmp_path / "x").rename(tmp_path / "dense model")
    sources = [str(tmp_path / name) for name in ("wanda-noised", "dense model", "y", "z")]
    asked = spec(model=dense, compare=tuple(ModelSpec(source=source, device="cpu") for source in sources), limit=2)
    found = evaluated(tmp_path / "job", asked)
    related = comparing.related_pairs(found)
    assert related["control"] == [(3, 2)]
    assert related["published"] == [(3, 4)]
    assert not any(comparing.mismatch(found, pair) for some in related.values() for pair in some)
    assert "Sparsity (70 % and 60 %)" in comparing.mismatch(found, (1, 3))
    alone = evaluated(tmp_path / "alone", asked.model_copy(update={"compare": asked.compare[::2]}))
    (told,) = comparing.missing(alone, "control")
    assert told.startswith("y has no control here: wanda-noised differs in more than the method: Sparsity (60 % and 70")


def test_answers_say_in_what_precision_they_were_given(tmp_path, spec, tiny):
    asked = spec(compare=(ModelSpec(source=tiny, device="cpu", dtype="bfloat16"),), limit=4)
    for folder in ("first", "again"):  # the second time they come from the store
        found = evaluated(tmp_path / folder, asked)
        assert {answer.precision for (_, model), answer in found.answers.items() if model == 0} == {"float32"}
        assert {answer.precision for (_, model), answer in found.answers.items() if model == 1} == {"bfloat16"}
        assert {answer.device for answer in found.answers.values()} == {"cpu"}
        assert comparing.mismatch(found, (1, 0)) == "Precision of the scoring (bfloat16 and float32)"
    assert all(answer.restored for answer in found.answers.values())


def test_the_same_weights_with_another_report_are_another_result(tmp_path, spec, tiny):
    """λ = 0 writes the bits of the control: what is held against what is told by the report alone."""
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    asked, keys = spec(compare=(ModelSpec(source=str(copy), device="cpu"),), limit=2), []
    for method in ("sink-wanda", "wanda-noised"):
        write_report(copy, pruned_run(method=method))
        (tmp_path / method).mkdir()
        keys.append(evaluation.evaluate(asked, QuietContext(tmp_path / method)).key)
    assert keys[0] != keys[1]


# --- tasks ------------------------------------------------------------------------------------------------------


def test_presets_name_tasks_that_lm_eval_has():
    folders = ("mmlu", "arc", "piqa", "winogrande", "gsm8k", "hellaswag", "gpqa", "race", "wikitext")
    root = Path(lm_eval.tasks.__file__).parent
    there = tasks.TaskManager([str(root / folder) for folder in folders] + [str(FOLDER)]).task_index
    assert {row.task for row in PRESETS.values()} <= set(there)


def test_presets_are_the_scripts():
    rows = {name: (PRESETS[name].shots, PRESETS[name].guidance, PRESETS[name].draws) for name in SUITES["paper"]}
    assert rows["mmlu"] == (5, 0, 1)
    assert rows["piqa"] == rows["hellaswag"] == rows["arc_challenge"] == (0, 0.5, 128)
    assert rows["winogrande"] == (5, 0, 128)
    assert rows["gpqa"] == (5, 0.5, 128)
    assert PRESETS["gsm8k"].gen_length == 1024
    assert len(SUITES["paper"]) == 8
    assert expand(("bundled", "bundled_story", "arc_easy"))[-1] == "arc_easy"
    assert all(row.alternative in PRESETS or row.alternative == "bundled" for row in PRESETS.values())


def test_without_a_network_the_rest_goes_on(tmp_path, spec, monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda: False)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    arc = Path(lm_eval.tasks.__file__).parent / "arc"
    asked = spec(tasks=("arc_easy", "bundled_knowledge", "nonsense"), include_path=str(arc))
    found, problems = tasks.load_benchmarks(asked, None)
    assert [benchmark.name for benchmark in found] == ["bundled_knowledge"]
    assert len(problems) == 2
    assert "ARC-E was left out" in problems[0]
    assert "bundled_knowledge ships with SinkScope" in problems[0]
    assert "There is no task 'nonsense'" in problems[1]
    with pytest.raises(UserError, match="ARC-C was left out"):
        tasks.load_benchmarks(spec(tasks=("arc_challenge",), include_path=str(arc)), None)


def test_ones_own_tasks(tmp_path, spec):
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = [{"q": f"The dog number {n}", "a": "is", "b": "are", "right": 0} for n in range(6)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "mine.yaml").write_text(
        f"task: my_task\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {folder / 'rows.jsonl'}\n"
        'output_type: multiple_choice\ntest_split: test\ndoc_to_text: "{{q}}"\ndoc_to_choice: "{{[a, b]}}"\n'
        "doc_to_target: right\nmetric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"
    )
    found = evaluated(tmp_path / "job", spec(tasks=("my_task",), include_path=str(folder), limit=4))
    assert len(results.scores(found, "my_task", 0)[0]) == 4
    assert found.benchmark("my_task").cluster == ""
    assert len(set(results.clusters(found, "my_task", [0]))) == 4
    with pytest.raises(UserError, match="no folder"):
        tasks.load_benchmarks(spec(include_path=str(tmp_path / "none")), None)


def own_task(folder, rows, **changes):
    """A folder with a task of one's own, `mine`, of these rows; changes: of its fields, as YAML writes them."""
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    fields = {
        "task": "mine",
        "dataset_path": "json",
        "dataset_kwargs": f"{{data_files: {{test: {folder / 'rows.jsonl'}}}}}",
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "q",
        "doc_to_choice": '["is", "are"]',
        "doc_to_target": "right",
        "metric_list": "[{metric: acc, aggregation: mean, higher_is_better: true}]",
        **changes,
    }
    (folder / "mine.yaml").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    return str(folder)


def test_items_whose_right_answer_is_none_of_their_choices_are_left_out_and_told(tmp_path, spec):
    rows = [
        {"q": f"The dog number {n}", "right": right} for n, right in enumerate(("is", "are", "were", "", "7", "is"))
    ]
    folder = own_task(tmp_path / "some", rows)
    (benchmark,), (told,) = tasks.load_benchmarks(spec(tasks=("mine",), include_path=folder, limit=None), None)
    assert [document.id for document in sorted(benchmark.documents, key=lambda each: each.id)] == [0, 1, 5]
    assert told == "mine: 3 of 6 items were left out, as their right answer is none of their choices."
    for number, right in enumerate(("were", -1)):
        folder = own_task(tmp_path / f"none{number}", [{"q": "The dog", "right": right}] * 3)
        with pytest.raises(UserError, match="the right answer of each of its items is none of the item's choices"):
            tasks.load_benchmarks(spec(tasks=("mine",), include_path=folder), None)
    lists = own_task(tmp_path / "lists", [{"q": "The dog", "right": [1, 9]}, {"q": "The cat", "right": [0]}])
    (benchmark,), told = tasks.load_benchmarks(spec(tasks=("mine",), include_path=lists), None)
    assert len(benchmark.documents) == 2 and not told


def test_tasks_that_cannot_be_listed_or_write_without_end_are_one_sentence(tmp_path, spec):
    rows = [{"q": "The dog", "right": 0}]
    folder = own_task(tmp_path / "number", rows, task=5)
    with pytest.raises(UserError, match='`task: "5"`'):
        tasks.load_benchmarks(spec(tasks=("mine",), include_path=folder), None)
    folder = own_task(tmp_path / "loop", rows, doc_to_text='"{% for i in range(100000000) %}x{% endfor %}"')
    with pytest.raises(UserError, match="mine was left out: a template of its YAML file counts 100,000,000 numbers"):
        tasks.load_benchmarks(spec(tasks=("mine",), include_path=folder), None)
    with pytest.raises(ValidationError, match="The folder with your tasks has no name"):
        spec(include_path=" ")


def test_a_task_of_ones_own_names_its_clusters(tmp_path, spec):
    rows = [
        {"q": f"The dog number {n}", "a": "is", "b": "are", "right": 0, "kind": n // 3, "all": "x"} for n in range(6)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("kind", "all", "none"):
        (tmp_path / f"{name}.yaml").write_text(
            f"task: by_{name}\ndataset_path: json\n"
            f"dataset_kwargs:\n  data_files:\n    test: {tmp_path / 'rows.jsonl'}\n"
            'output_type: multiple_choice\ntest_split: test\ndoc_to_text: "{{q}}"\ndoc_to_choice: "{{[a, b]}}"\n'
            "doc_to_target: right\nmetric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"
            f"metadata:\n  cluster: {name}\n"
        )
    found = evaluated(
        tmp_path / "job", spec(tasks=("by_kind", "by_all", "by_none"), include_path=str(tmp_path), limit=None)
    )
    clusters = {name: len(set(results.clusters(found, f"by_{name}", [0]))) for name in ("kind", "all", "none")}
    assert clusters == {"kind": 2, "all": 6, "none": 6}
    assert found.benchmark("by_kind").cluster == "kind"
    assert {item.cluster for item in found.shuffled["by_kind"]} == {"0", "1"}
    row = evaluation.summary(found)["tasks"][0]["models"][0]
    assert (row["n"], row["clusters"]) == (6, 2)


def test_bundled_items_with_a_key_are_one_cluster(tmp_path, spec):
    (benchmark,), _ = tasks.load_benchmarks(spec(tasks=("bundled_physical",), limit=None), None)
    keys = [row["key"] for row in map(json.loads, (FOLDER / "physical_test.jsonl").read_text().splitlines())]
    assert {document.id: document.cluster for document in benchmark.documents} == dict(enumerate(keys))
    assert benchmark.cluster == "key"
    assert benchmark.chance == 0.5


def test_items_with_answers_too_long_are_left_out_and_told(tmp_path, spec):
    rows = [{"q": f"Item {n}", "c": ["a dog", "a cat" + " and a cat" * (90 if n == 1 else 1)]} for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, where in (("long", "rows.jsonl"), ("longest", "one.jsonl")):
        (tmp_path / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {tmp_path / where}\n"
            'output_type: multiple_choice\ntest_split: test\ndoc_to_text: "{{q}}"\ndoc_to_choice: "{{c}}"\n'
            "doc_to_target: 0\nmetric_list:\n  - metric: acc\n    aggregation: mean\n    higher_is_better: true\n"
        )
    (tmp_path / "one.jsonl").write_text(json.dumps(rows[1]))
    asked = spec(tasks=("long", "longest"), include_path=str(tmp_path), draws=1)
    found = evaluated(tmp_path / "job", asked)
    assert sorted(document.question for document in found.documents.values()) == ["Item 0", "Item 2"]
    assert [one.planned for one in found.benchmarks] == [2]
    assert found.problems[0].startswith("long: 1 of 3 items were left out")
    assert found.problems[1].startswith("longest was left out")


def test_perplexity_is_that_of_the_bound(tmp_path, spec):
    found = evaluated(tmp_path / "job", spec(tasks=("bundled_text",), limit=3, draws=8))
    (row,) = tables.perplexities(found, "bundled_text")
    assert row["texts"] == 3
    words = sum(len(document.question.split()) for document in found.documents.values())
    total = sum(answer.metrics["word_perplexity"][0] for answer in found.answers.values())
    assert row["perplexity a word"] == pytest.approx(np.exp(-total / words))


# --- chat -------------------------------------------------------------------------------------------------------

TEMPLATE = (
    "{% for m in messages %}[BOS] {{ m['role'] }} : {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}[BOS] assistant : {% endif %}"
)


def test_instruct_models_get_their_chat_template(tmp_path, spec, monkeypatch):
    folder = save_tiny(tmp_path / "tiny-instruct", LlamaForCausalLM, LlamaConfig)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    seen = []
    real = live.LanguageModel.loglikelihood
    monkeypatch.setattr(
        live.LanguageModel,
        "loglikelihood",
        lambda self, requests: seen.append((self, requests)) or real(self, requests),
    )
    asked = spec(model=ModelSpec(source=str(folder), device="cpu"), tasks=("bundled_agreement",), limit=3)
    evaluated(tmp_path / "job", asked)
    model, requests = seen[0]
    context = requests[0].args[0]
    assert context.startswith("[BOS] user : ")
    assert context.endswith("assistant : ")
    assert model.tok_encode(context).count(model.tokenizer.bos_token_id) == 2  # the template's, no third
    off = asked.model_copy(update={"chat_template": "off"})
    evaluated(tmp_path / "off", off)
    assert not seen[-1][1][0].args[0].startswith("[BOS]")


def test_a_model_without_tokenizer_is_refused(tmp_path, spec):
    folder = save_tiny(tmp_path / "bare", LlamaForCausalLM, LlamaConfig, tokenizer=False)
    with pytest.raises(UserError, match="no tokenizer"):
        evaluated(tmp_path / "job", spec(model=ModelSpec(source=str(folder), device="cpu")))


def test_an_answer_longer_than_the_model_is_one_sentence(bundled):
    model = LanguageModel(bundled, Settings())
    with pytest.raises(UserError, match="this model takes 256"):
        model.loglikelihood([_request("The", " dog" * 300)])
    with pytest.raises(UserError, match="fewer new tokens"):
        model.generate_until([Instance("generate_until", {}, ("The", {"max_gen_toks": 256}), 0, ("t", 0, 1))])


# --- the command line -------------------------------------------------------------------------------------------


def test_the_command_line_evaluates(tmp_path, capsys, tiny, other):
    out = tmp_path / "result.json"
    ask = ["evaluate", "--model", tiny, "--compare", other, "--names", "dense,pruned", "--device", "cpu"]
    ask += ["--tasks", "bundled_knowledge,nonsense", "--limit", "9"]
    assert main([*ask, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    row = json.loads(out.read_text())["tasks"][0]["differences"][0]
    number = f"{100 * row['value']:+.1f}".replace("-", "−")
    assert f"  pruned − dense: {number} points [" in printed.out
    assert "plan: 9 items in about 9 clusters and one calibration seed show" in printed.err
    assert "plan: To show a difference of 0.5 points" in printed.err
    assert "plan: How many items there are is not known before they are read: nonsense." in printed.err
    assert "choosing at random" in printed.out
    assert f"], p = {row['p_holm']:.3f} (Holm), {row['words']}" in printed.out
    assert row["words"] == "no verdict: accuracy is not above chance", "random weights"
    assert "one family of 1 tests: 1 pair of models, one task." in printed.out
    assert "There is no task 'nonsense'" in printed.out
    written = json.loads(out.read_text())
    assert written["models"] == ["dense", "pruned"]
    assert written["complete"]
    assert written["tasks"][0]["planned"] == 9
    assert written["tasks"][0]["differences"][0]["p"] is not None
    assert written["end"]["environment"]["versions"]["lm_eval"]
    assert len(results.read(tmp_path / "result.items.jsonl").answers) == 18
    assert main([*ask, "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["evaluate", "--names", "a,b", "--out", str(tmp_path / "x.json")]) == 2
    assert "1 models and 2 names" in capsys.readouterr().err


def test_the_command_line_prints_the_average_difference_its_p_and_what_it_is_held_against(
    tmp_path, capsys, tiny, other
):
    folders = [shutil.copytree(other, tmp_path / name) for name in ("a", "b")]
    for folder, method in zip(folders, ("sink-wanda", "wanda-noised"), strict=True):
        write_report(folder, pruned_run(method=method))
    out = tmp_path / "result.json"
    ask = ["evaluate", "--model", tiny, "--compare", *map(str, folders), "--names", "dense,one,two", "--device", "cpu"]
    assert main([*ask, "--tasks", ",".join(QUICK), "--limit", "9", "--out", str(out)]) == 0
    printed = capsys.readouterr().out.partition("average over tasks")[2]
    rows = {(row["model"], row["than"]): row for row in json.loads(out.read_text())["average_differences"]}
    assert set(rows) == {("one", "dense"), ("two", "dense"), ("one", "two")}
    assert "  one − two (control): +0.0 points [" in printed
    assert f"p = {rows['one', 'two']['p_holm']:.3f} (Holm), {rows['one', 'two']['words']}" in printed
    assert "9 tests: 3 pairs of models, 2 tasks and their average." in printed
    assert "note: one has no published baseline here: its method would be wanda" in printed
    assert "between one and dense not only the method differs: Dense model" in printed  # a report of another's model
    assert "between one and two" not in printed


def test_the_command_that_is_shown_asks_the_same_again():
    parser = argparse.ArgumentParser()
    add_flags(parser.add_subparsers().add_parser("evaluate"), evaluate.FLAGS)
    model = ModelSpec(source="a model", device="cpu", dtype="float32")
    for asked in (
        EvaluateSpec(),
        EvaluateSpec(
            model=model,
            compare=(model.model_copy(update={"source": "b"}),),
            names=("dense", "sink-wanda 50 %"),
            tasks=("bundled", "piqa"),
            limit=9,
            draws=4,
            shots=0,
            guidance=0.5,
            gen_length=8,
            chat_template="off",
            include_path="my tasks",
            seed=3,
        ),
        EvaluateSpec(early_draws=True),
    ):
        words = shlex.split(evaluate_command(asked))
        assert words[:4] == ["python", "-m", "analysis", "evaluate"]
        assert evaluate.spec_of(parser.parse_args(words[3:])) == asked


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "x.jsonl"
    for content in ("", "[]\n", '{"line": "header"}\n', "nonsense\n"):
        path.write_text(content)
        with pytest.raises(UserError, match="no evaluation"):
            results.read(path)
