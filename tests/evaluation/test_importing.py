"""What lm-eval itself has written for two tiny models, read and compared."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from analysis.__main__ import main
from analysis.errors import UserError
from analysis.evaluation import comparing, importing, results
from analysis.evaluation.lm_eval_results import models_in
from analysis.evaluation.results import Results
from analysis.evaluation.tables import disagreements
from analysis.jobs.evaluation import summary
from analysis.specs import ImportSpec
from tests.command_line.surface import holds_fields

TASKS = ("bundled_knowledge", "bundled_problems", "bundled_text")
TURNS = "{% for turn in messages %}{{ turn['content'] }} .{% endfor %}"
TOKENIZER = Path("analysis/bundled/autoregressive").resolve()


def import_folders(folders: Sequence[Path], names: Sequence[str] = (), **more: tuple[str, ...]) -> Results:
    """Import folders, with other fields of the spec as they are given."""
    return importing.import_folders(ImportSpec(folders=tuple(map(str, folders)), names=tuple(names), **more))


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """--output_path of lm-eval for two models, of which the second was asked fewer items; beside it, in `chat`, what
    both answered to one task in the turns of a chat template.
    """
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    root = tmp_path_factory.mktemp("lm-eval")
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    manager = TaskManager(include_path="analysis/evaluation/bundled", include_defaults=False)
    for seed, limit in ((0, 8), (1, 6)):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=256,
            )
        )
        source = root / f"tiny-{seed}"
        model.save_pretrained(source)
        for place, tasks, template in (("out", TASKS, None), ("chat", TASKS[:1], TURNS)):
            tokenizer.chat_template = template
            tokenizer.save_pretrained(source)
            tracker = EvaluationTracker(output_path=str(root / place))
            said = simple_evaluate(
                model="hf",
                model_args={"pretrained": str(source)},
                tasks=list(tasks),
                limit=limit,
                batch_size=8,
                task_manager=manager,
                log_samples=True,
                device="cpu",
                evaluation_tracker=tracker,
                bootstrap_iters=0,
                apply_chat_template=template is not None,
            )
            samples = said.pop("samples")
            tracker.save_results_aggregated(results=said, samples=samples)
            for task in said["configs"]:
                tracker.save_results_samples(task_name=task, samples=samples[task])
    return root / "out"


@pytest.fixture
def folder(kept, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(kept, tmp_path / "out"))


def of_model(folder: Path, number: int) -> Path:
    return next(place for place in folder.iterdir() if place.name.endswith(f"tiny-{number}"))


def file_of(folder: Path, number: int, start: str) -> Path:
    return next(of_model(folder, number).glob(f"{start}*"))


def changed(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_scores_are_those_that_lm_eval_has_aggregated(folder):
    found = import_folders([of_model(folder, 0)])
    said = json.loads(file_of(folder, 0, "results_").read_text())["results"]
    tasks = {row["task"]: row for row in summary(found)["tasks"]}
    assert tasks["bundled_knowledge"]["models"][0]["value"] == pytest.approx(said["bundled_knowledge"]["acc,none"])
    assert tasks["bundled_problems"]["models"][0]["value"] == pytest.approx(
        said["bundled_problems"]["exact_match,worked-answer"]
    )
    assert tasks["bundled_text"]["perplexity"][0]["perplexity a word"] == pytest.approx(
        said["bundled_text"]["word_perplexity,none"]
    )
    assert {row["draws"] for row in tasks.values()} == {None}, "nothing says how many draws an answer took"


def test_two_models_are_compared_on_the_items_both_were_asked_and_it_says_so(folder):
    found = import_folders([folder])
    assert found.names == ("tiny-0", "tiny-1")
    assert {name: len(items) for name, items in found.shuffled.items()} == dict.fromkeys(TASKS, 6)
    assert any("Knowledge is compared on the 6 items" in problem for problem in found.problems)
    difference = comparing.family(found, [(1, 0)])[1, 0]["bundled_knowledge"]
    rows = [
        [json.loads(line)["acc"] for line in file_of(folder, number, "samples_bundled_knowledge").open()][:6]
        for number in (0, 1)
    ]
    assert difference.value == pytest.approx((sum(rows[1]) - sum(rows[0])) / 6)
    assert difference.p is not None


def test_items_have_their_key_as_cluster_and_their_right_answer(folder):
    found = import_folders([of_model(folder, 0)])
    docs = [json.loads(line)["doc"] for line in file_of(folder, 0, "samples_bundled_knowledge").open()]
    items = found.shuffled["bundled_knowledge"]
    assert found.benchmark("bundled_knowledge").cluster == "key"
    assert [item.cluster for item in items] == [doc["key"] for doc in docs]
    assert [item.right for item in items] == [doc["answer"] for doc in docs]
    assert [list(item.choices) for item in items] == [doc["choices"] for doc in docs]


def test_disagreements_are_where_the_log_likelihoods_choose_differently(folder):
    chosen = []
    for number in (0, 1):
        rows = [json.loads(line) for line in file_of(folder, number, "samples_bundled_knowledge").open()][:6]
        values = [[float(response[0]) for response in row["filtered_resps"]] for row in rows]
        chosen.append([row.index(max(row)) for row in values])
    expected = sum(one != other for one, other in zip(*chosen, strict=True))
    assert len(disagreements(import_folders([folder]), 0, 1, "bundled_knowledge")) == expected > 0


def test_written_answers_differ_where_what_the_metric_read_differs(folder, tmp_path):
    """A text as it was written is no answer of its own: here another run's texts are longer, and read alike."""
    place = Path(shutil.copytree(of_model(folder, 0), tmp_path / "again"))
    file = next(place.glob("samples_bundled_problems_*"))
    rows = [json.loads(line) for line in file.open()]
    rewrite(file, [row | {"resps": [[f"{row['resps'][0][0]} and so on"]]} for row in rows])
    both = import_folders([of_model(folder, 0), place], ["here", "there"])
    assert not disagreements(both, 0, 1)
    key, answer = next((key, answer) for (key, model), answer in both.answers.items() if model and answer.filtered)
    assert answer.responses[0].endswith("and so on") and answer.filtered == rows[0]["filtered_resps"][0]
    rewrite(file, [row | {"filtered_resps": ["7"]} for row in rows])
    assert disagreements(import_folders([of_model(folder, 0), place], ["here", "there"]), 0, 1)
    # Of files that do not say what was read, whole texts are compared with whole texts.
    older_answer = both.answers[key, 0].model_copy(update={"filtered": None})
    unread = replace(both, answers={**both.answers, (key, 0): older_answer})
    assert [row["there chose"].endswith("and so on") for row in disagreements(unread, 0, 1)] == [True]


def test_the_order_in_which_tasks_were_run_is_no_difference(folder):
    file = file_of(folder, 1, "results_")
    results = json.loads(file.read_text())
    changed(file, configs=dict(reversed(results["configs"].items())))
    assert "Tasks" not in comparing.mismatch(import_folders([folder]), (1, 0))


def test_a_column_that_says_the_same_of_all_items_parts_nothing(folder):
    file = file_of(folder, 0, "samples_bundled_knowledge")
    rows = [json.loads(line) for line in file.open()]
    file.write_text("".join(json.dumps(row | {"doc": row["doc"] | {"key": "one"}}) + "\n" for row in rows))
    found = import_folders([of_model(folder, 0)])
    assert found.benchmark("bundled_knowledge").cluster == ""
    assert {item.cluster for item in found.shuffled["bundled_knowledge"]} == {""}


def test_other_versions_are_compared_and_said(folder):
    changed(file_of(folder, 1, "results_"), lm_eval_version="0.4.1")
    assert "Version of lm_eval at the scoring" in comparing.mismatch(import_folders([folder]), (1, 0))


def test_items_with_another_prompt_are_not_compared(folder):
    file = file_of(folder, 1, "samples_bundled_knowledge")
    rows = [json.loads(line) for line in file.open()]
    file.write_text("".join(json.dumps(row | {"prompt_hash": "0" * 64}) + "\n" for row in rows))
    found = import_folders([folder])
    assert "bundled_knowledge" not in found.shuffled
    assert any(problem.startswith("Knowledge of tiny-0 is not compared") for problem in found.problems)


def test_prompts_in_chat_turns_are_joined_with_their_like_and_with_no_others(folder, kept):
    chat = kept.parent / "chat"
    together = import_folders([chat])
    assert together.names == ("tiny-0", "tiny-1")
    assert len(together.shuffled["bundled_knowledge"]) == 6
    assert "emplate" not in comparing.mismatch(together, (1, 0))
    item = next(iter(together.shuffled["bundled_knowledge"]))
    assert item.question.endswith(" ."), "as it was asked, in its turn"
    with pytest.raises(UserError, match="their tasks or prompts differ"):
        import_folders([of_model(folder, 0), of_model(chat, 0)], ["plain", "chat"])


def test_the_newest_of_two_runs_of_a_task_counts(folder):
    place = of_model(folder, 0)
    date = file_of(folder, 0, "results_").stem.removeprefix("results_")
    for file in list(place.iterdir()):
        shutil.copy(file, place / file.name.replace(date, "2099" + date[4:]))
    newest = place / f"samples_bundled_knowledge_2099{date[4:]}.jsonl"
    newest.write_text("".join(newest.read_text().splitlines(keepends=True)[:3]))
    found = import_folders([place])
    assert found.names == ("tiny-0",)
    assert len(found.shuffled["bundled_knowledge"]) == 3


def samples_of(folder: Path, task: str = "bundled_knowledge") -> tuple[Path, list[dict]]:
    file = file_of(folder, 0, f"samples_{task}_")
    return file, [json.loads(line) for line in file.open()]


def rewrite(file: Path, rows: list[dict]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_scores_with_degrees_count(folder):
    file, rows = samples_of(folder)
    rewrite(file, [row | {"acc": row["doc_id"] / 10} for row in rows])
    found = import_folders([folder])
    (row,) = [row for row in summary(found)["tasks"] if row["task"] == "bundled_knowledge"]
    assert row["models"][0]["value"] == pytest.approx(sum(range(6)) / 60)
    pairs = disagreements(found, 0, 1, "bundled_knowledge")
    right = [found.answers[pair["item"], 1].metrics["acc"] for pair in pairs]
    numbers = [int(pair["item"].rpartition("/")[2]) / 10 for pair in pairs]
    told = [
        "tiny-1" if other > one else "tiny-0" if one else "neither" for one, other in zip(numbers, right, strict=True)
    ]
    assert [pair["who is right"] for pair in pairs] == told


def test_a_task_without_a_share_of_what_is_right_is_left_out_and_said(folder):
    file, rows = samples_of(folder)
    rewrite(file, [row | {"acc": 25.0} for row in rows])
    found = import_folders([of_model(folder, 0)])
    assert [one.name for one in found.benchmarks] == list(TASKS[1:])
    assert any(problem.startswith("bundled_knowledge is left out") for problem in found.problems)


def test_of_several_filters_and_metrics_the_wanted_one_counts(folder):
    file, rows = samples_of(folder)
    strict = [row | {"acc": 0.0, "acc_norm": 1.0, "metrics": ["acc", "acc_norm"]} for row in rows]
    rewrite(file, [*strict, *(row | {"filter": "loose", "acc": 1.0} for row in strict)])

    def mean(**wanted: tuple[str, ...]) -> float:
        found = import_folders([of_model(folder, 0)], **wanted)
        assert any("the filters none, loose" in problem for problem in found.problems)
        return float(found.scored["bundled_knowledge"].mean())

    assert mean() == 0
    assert mean(filters=("absent", "loose")) == 1
    assert mean(metrics=("acc_norm",)) == 1


def without(folder: Path, *names: str) -> tuple[Path, list[dict]]:
    """The first model's samples of a task as lm-eval before 0.4.7 wrote them, and their rows."""
    file, rows = samples_of(folder)
    return file, [{name: value for name, value in row.items() if name not in names} for row in rows]


def test_samples_that_lack_filter_and_metrics_say_the_same(folder):
    now = summary(import_folders([of_model(folder, 0)]))
    rewrite(*without(folder, "filter", "metrics"))
    assert summary(import_folders([of_model(folder, 0)])) == now


def test_filters_of_older_files_are_told_by_their_order(folder):
    place, results = of_model(folder, 0), file_of(folder, 0, "results_")
    said = json.loads(results.read_text())
    said["configs"]["bundled_knowledge"]["filter_list"] = [{"name": "strict"}, {"name": "loose"}]
    results.write_text(json.dumps(said))
    file, rows = without(folder, "filter", "metrics")
    rewrite(file, [row | {"acc": score} for score in (0.0, 1.0) for row in rows])
    found = [import_folders([place], filters=names) for names in ((), ("loose",))]
    assert [float(one.scored["bundled_knowledge"].mean()) for one in found] == [0.0, 1.0]


def test_arguments_given_as_text_name_the_model(folder):
    changed(file_of(folder, 0, "results_"), config={"model_args": "pretrained=some/where,dtype=float"})
    assert import_folders([of_model(folder, 0)]).names == ("where",)


def test_results_of_a_path_that_names_a_file_are_found(folder):
    file = file_of(folder, 0, "results_")
    file.rename(file.with_name(file.name.replace("results_", "llama_")))
    assert import_folders([of_model(folder, 0)]).names == ("tiny-0",)


def test_the_subjects_of_mmlu_are_one_benchmark(folder):
    file = file_of(folder, 0, "results_")
    results = json.loads(file.read_text())
    results["configs"] = {"mmlu_anatomy": results["configs"]["bundled_knowledge"]}
    results["group_subtasks"] = {"mmlu": ["mmlu_stem"], "mmlu_stem": ["mmlu_virology", "mmlu_anatomy"]}
    samples, _ = samples_of(folder)
    samples.rename(samples.with_name(samples.name.replace("bundled_knowledge", "mmlu_anatomy")))
    file.write_text(json.dumps(results))
    found = import_folders([of_model(folder, 0)])
    assert [(one.name, one.title) for one in found.benchmarks] == [("mmlu", "MMLU")]


def test_a_task_whose_samples_are_absent_is_said(folder):
    file_of(folder, 0, "samples_bundled_text").unlink()
    found = import_folders([of_model(folder, 0)])
    assert any(problem.startswith("bundled_text is left out") for problem in found.problems)


def test_a_tasks_name_leads_to_no_file_elsewhere(folder):
    place = of_model(folder, 0)
    file = file_of(folder, 0, "results_")
    date = file.stem.removeprefix("results_")
    (place / "samples_bundled_text").mkdir()
    file_of(folder, 0, "samples_bundled_text_").rename(folder / f"outside_{date}.jsonl")
    results = json.loads(file.read_text())
    results["configs"] = {"bundled_text/../../outside": results["configs"]["bundled_text"]}
    file.write_text(json.dumps(results))
    with pytest.raises(UserError, match="holds no samples"):
        import_folders([place])


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def _twice(file: Path) -> None:
    file.write_text(file.read_text() * 2)


@pytest.mark.parametrize(
    ("start", "damage", "sentence"),
    [
        ("results_", _cut, "cannot be read as JSON"),
        ("results_", lambda file: file.write_text("{}"), "no results file of lm-eval"),
        ("results_", lambda file: file.write_text("[1]"), "no results file of lm-eval"),
        ("results_", Path.unlink, "no file results_"),
        ("samples_bundled_knowledge", _cut, "line 8 is not JSON"),
        ("samples_bundled_knowledge", _twice, "holds item 0 twice"),
        ("samples_bundled_knowledge", lambda file: file.write_text(""), "holds no sample"),
        ("samples_bundled_knowledge", lambda file: file.write_text("{}\n"), "line 1 is no sample"),
        ("samples_bundled_knowledge", lambda file: file.write_text("3\n"), "line 1 is no sample"),
        ("samples_bundled_knowledge", lambda file: file.write_bytes(b"\xff\xfe\n"), "cannot be read"),
    ],
)
def test_what_is_damaged_is_told_in_a_sentence(folder, start, damage, sentence):
    damage(file_of(folder, 0, start))
    with pytest.raises(UserError, match=sentence):
        import_folders([of_model(folder, 0)])


def test_a_folder_without_samples_says_how_to_make_them(folder):
    for file in of_model(folder, 0).glob("samples_*"):
        file.unlink()
    with pytest.raises(UserError, match="--log_samples"):
        import_folders([of_model(folder, 0)])


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        import_folders([tmp_path / "none"])
    with pytest.raises(UserError, match="There is no folder '~nobody-of-this-name/x'"):
        models_in(Path("~nobody-of-this-name/x"))


def test_the_command_line_writes_what_it_has_read(folder, tmp_path, capsys):
    out = tmp_path / "imported.json"
    assert main(["import", str(folder), "--names", "one,two", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "two − one" in printed and "draws" not in printed.splitlines()[0]
    written = results.read(tmp_path / "imported.items.jsonl")
    assert written.end is not None and written.names == ("one", "two")
    assert summary(written)["tasks"] == summary(import_folders([folder], ["one", "two"]))["tasks"]
    pair = json.loads(out.read_text())["disagreements"][0]
    assert pair["models"] == ["one", "two"]
    assert f"choose differently on {len(pair['items'])} items" in printed
    assert main(["import", str(folder), "--out", str(out)]) == 2, "what is there is not replaced unasked"
    assert main(["import", str(folder), "--out", str(out), "--overwrite", "--json"]) == 0
    holds_fields("import", json.loads(capsys.readouterr().out))


def test_an_evaluation_made_here_is_joined_by_the_hash_of_its_prompts(folder, tmp_path, capsys):
    # Of a seed whose first items hold some of the eight that lm-eval was asked.
    asked = ["--model", "bundled-ar", "--tasks", "bundled_knowledge", "--limit", "40", "--seed", "15"]
    assert main(["evaluate", *asked, "--json", "--out", str(tmp_path / "ours.json")]) == 0
    holds_fields("evaluate", json.loads(capsys.readouterr().out))
    found = import_folders([of_model(folder, 0)], beside=(str(tmp_path / "ours.items.jsonl"),))
    assert found.names == ("bundled-ar", "tiny-0")
    ours = results.read(tmp_path / "ours.items.jsonl").shuffled["bundled_knowledge"]
    common = {item.key for item in ours if int(item.key.rpartition("/")[2]) < 8}
    assert common and {item.key for item in found.shuffled["bundled_knowledge"]} == common
    assert found.benchmark("bundled_knowledge").draws == 0, "of one of the two nothing says it"
