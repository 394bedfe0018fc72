"""The hub's benchmarks through lm-eval's own files and code, on a few items of ours laid out as the hub's are."""

import re
from pathlib import Path

import datasets
import lm_eval.tasks
import numpy as np
import pytest

from analysis.errors import UserError
from analysis.evaluation import results, tasks
from analysis.evaluation.importing import import_folders
from analysis.evaluation.language_model import LanguageModel, Settings
from analysis.evaluation.presets import PRESETS
from analysis.jobs import evaluation
from analysis.models.load import load
from analysis.models.native_code import DreamConfig, DreamModel
from analysis.specs import EvaluateSpec, ImportSpec, ModelSpec
from tests.evaluation import hub_datasets
from tests.helpers import QuietContext, save_tiny, tiny_llada

HUB = tuple(name for name in PRESETS if not name.startswith("bundled_"))
LM_EVAL = Path(lm_eval.tasks.__file__).parent
FOLDERS = ("mmlu/default", "arc", "piqa", "winogrande", "gsm8k", "hellaswag", "gpqa/n_shot", "race", "wikitext")


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A folder that holds every dataset under its name on the hub."""
    root = tmp_path_factory.mktemp("hub")
    files = sorted((LM_EVAL / "mmlu" / "default").glob("mmlu_*.yaml"))
    subjects = [re.findall(r'dataset_name"?: "?(\w+)', file.read_text())[0] for file in files]
    assert len(subjects) == 57
    hub_datasets.write(root, subjects)
    return root


@pytest.fixture(scope="module")
def load_once():
    """`load_dataset` that reads each of them once, and one of the 57 subjects, which share their items here: with each
    the list of all is read."""
    known: dict[str, datasets.DatasetDict] = {}
    listed: set[str] = set()

    def load_dataset(path: str, name: str | None = None, **options) -> datasets.DatasetDict:
        if path == "cais/mmlu":
            listed.update(listed or datasets.get_dataset_config_names(path))
            assert name in listed
        asked = repr((path, name if path != "cais/mmlu" else "any", sorted(options.items())))
        if asked not in known:
            known[asked] = real(path, name, **options)
        return datasets.DatasetDict(known[asked])

    real = datasets.load_dataset
    return load_dataset


@pytest.fixture(autouse=True)
def _in_the_hub(hub, load_once, monkeypatch):
    """`load_dataset` finds a folder before it asks the hub. Of lm-eval's thousands of files only these are read."""
    monkeypatch.chdir(hub)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", hub / "cache")
    monkeypatch.setattr(datasets, "load_dataset", load_once)
    monkeypatch.setattr(tasks.hub, "reachable", lambda: False)
    real = tasks.TaskManager
    folders = [str(LM_EVAL / name) for name in FOLDERS]
    monkeypatch.setattr(
        tasks, "TaskManager", lambda include_path, include_defaults=True: real(None, [*include_path, *folders], False)
    )


def test_the_datasets_of_the_presets_are_those_that_lm_eval_reads():
    for name in HUB:
        (benchmark,) = loaded(tasks=(name,), limit=1)
        paths = {task.get_config("dataset_path") for task in benchmark.tasks.values()}
        assert paths == {PRESETS[name].dataset}, name


def loaded(**asked) -> list[tasks.Benchmark]:
    found, problems = tasks.load_benchmarks(EvaluateSpec(**asked), None)
    assert not problems
    return found


def right_answers() -> dict[str, set[str]]:
    """What is right in the items of each benchmark of choices, by what we wrote."""
    rows = {name: dataset[3] for name, dataset in hub_datasets.DATASETS.items()}
    arc = {row["choices"]["text"][1] for row in rows["allenai/ai2_arc"]}
    return {
        "mmlu": set("ABCD"),
        "arc_challenge": arc,
        "arc_easy": arc,
        "piqa": {"Give it food.", "Use some water."},
        "winogrande": {
            row["sentence"].split("_")[0] + row[f"option{row['answer']}"] for row in rows["allenai/winogrande"]
        },
        "hellaswag": {"sees a cow there.", "sees the sun there.", "sees nothing there.", "sees a king there."},
        "gpqa": {"(A)", "(B)", "(C)", "(D)"},
        "race": {f"A {animal}" for animal in hub_datasets.ANIMALS},
    }


def test_every_preset_of_the_hub_is_evaluated(tmp_path):
    asked = EvaluateSpec(model=ModelSpec(device="cpu"), tasks=HUB, limit=2, draws=2, gen_length=4)
    outcome = evaluation.evaluate(asked, QuietContext(tmp_path))
    found = results.read(outcome.file)
    assert outcome.summary["complete"]
    assert not found.problems
    assert [benchmark.name for benchmark in found.benchmarks] == list(HUB)
    right = right_answers()
    for benchmark in found.benchmarks:
        row = PRESETS[benchmark.name]
        assert benchmark.shots == (5 if row.shots is None else row.shots) * (benchmark.kind != results.PERPLEXITY)
        assert benchmark.guidance == row.guidance
        documents = found.shuffled[benchmark.name]
        assert len(documents) == 2
        for document in documents:
            answer = found.answers[document.key, 0]
            if benchmark.name in right:
                assert document.choices[document.right] in right[benchmark.name]
                assert answer.metrics["acc"] == float(np.argmax(answer.values) == document.right)
                assert len(set(answer.values)) == len(document.choices)
            elif benchmark.name == "gsm8k":
                assert isinstance(answer.responses[0], str)
                assert answer.metrics["exact_match"] in (0.0, 1.0)
            else:
                assert answer.metrics["word_perplexity"][0] < 0
    cut = {task["task"]: task["truncated"] for task in outcome.summary["tasks"]}
    assert cut["race"] == 2  # its articles are longer than the model takes
    assert cut["arc_easy"] == 0


def test_items_of_a_subject_source_or_passage_are_one_cluster():
    """As the columns of the hub's data sets say; a column that parts nothing, as here GPQA's, is none."""
    names = ("mmlu", "hellaswag", "race", "gpqa", "arc_easy", "winogrande")
    found = {benchmark.name: benchmark for benchmark in loaded(tasks=names, shots=0, limit=40)}
    columns = {name: benchmark.cluster for name, benchmark in found.items()}
    assert columns == {
        "mmlu": "subject",
        "hellaswag": "source_id",
        "race": "article",
        "gpqa": "",
        "arc_easy": "",
        "winogrande": "",
    }
    of = {name: {document.cluster for document in benchmark.documents} for name, benchmark in found.items()}
    assert of["mmlu"] == {"anatomy", "virology"}
    assert of["hellaswag"] == {f"wikihow~{n}" for n in range(hub_datasets.ITEMS)}
    assert len(of["race"]) == hub_datasets.ITEMS
    assert all(len(name) == 32 for name in of["race"])  # not the whole article
    assert of["gpqa"] == of["arc_easy"] == of["winogrande"] == {""}
    assert {document.key: document.cluster for document in found["mmlu"].documents} == {
        document.key: tasks.described(found["mmlu"], document).cluster for document in found["mmlu"].documents
    }


def test_chance_goes_by_the_number_of_choices():
    found = {one.name: one for one in loaded(tasks=("arc_easy", "piqa", "winogrande", "gsm8k", "wikitext"), shots=0)}
    choices = [len(row["choices"]["text"]) for row in hub_datasets.DATASETS["allenai/ai2_arc"][3]]
    assert set(choices) == {3, 4, 5}
    assert found["arc_easy"].chance == pytest.approx(np.mean([1 / count for count in choices]))
    assert found["piqa"].chance == found["winogrande"].chance == 0.5
    assert found["gsm8k"].chance is found["wikitext"].chance is None


def test_questions_are_shown_without_the_examples_before_them():
    for benchmark in loaded(tasks=("gpqa", "winogrande", "gsm8k", "mmlu"), limit=2):
        assert benchmark.shots == 5
        for document in benchmark.documents:
            shown = tasks.described(benchmark, document).question
            asked = (
                "".join(document.requests[0].args) if benchmark.name == "winogrande" else document.requests[0].args[0]
            )
            assert asked.endswith(shown.strip("…"))
            assert len(shown) < len(asked) / 4


def test_a_scored_text_equals_lm_evals_own(tmp_path, monkeypatch):
    """Accuracy, per item, of tasks whose choices, contexts or written answers are scored; and what lm-eval writes of
    them is joined with ours."""
    from lm_eval import evaluator, simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    monkeypatch.setattr(evaluator, "add_env_info", lambda storage: None)  # asks every package manager there is
    model = ModelSpec(source=tiny_llada(tmp_path / "tiny", 0), device="cpu")
    names = ("arc_challenge", "winogrande", "hellaswag", "gsm8k")
    asked = EvaluateSpec(model=model, tasks=names, shots=2, draws=3, guidance=0, gen_length=4, limit=4)
    found_file = evaluation.evaluate(asked, QuietContext(tmp_path)).file
    found = results.read(found_file)
    chosen = hub_datasets.samples(loaded(tasks=names, limit=4))
    tracker = EvaluationTracker(output_path=str(tmp_path / "out"))
    own = simple_evaluate(
        model=LanguageModel(load(model), Settings(draws=3, gen_length=4)),
        tasks=list(names),
        num_fewshot=2,
        samples=chosen,
        bootstrap_iters=0,
        task_manager=tasks.TaskManager([]),
        evaluation_tracker=tracker,
    )
    for name in names:
        benchmark = found.benchmark(name)
        right, _ = results.scores(found, name, 0)
        assert len(right) == 4
        metric = "exact_match,strict-match" if name == "gsm8k" else "acc,none"
        assert right.mean() == own["results"][name][metric]
        for row in own["samples"][name]:
            answer = found.answers[f"{name}/{row['doc_id']}", 0]
            if benchmark.kind == "multiple_choice":
                assert answer.values == pytest.approx([resp[0][0] for resp in row["resps"]], rel=1e-4)
            else:
                assert answer.responses[0] == row["resps"][0][0]
    written = {name: value for name, value in own.items() if name != "samples"}
    tracker.save_results_aggregated(results=written, samples=own["samples"])
    for name in names:
        tracker.save_results_samples(task_name=name, samples=own["samples"][name])
    both = import_folders(ImportSpec(folders=(str(tmp_path / "out"),), names=("elsewhere",), beside=(str(found_file),)))
    for name in names:  # with examples, through several filters, and with choices in the context
        assert len(both.shuffled[name]) == 4, both.problems
        here, there = both.scored[name]
        assert here.tolist() == there.tolist()


def test_choices_that_stand_in_the_context_share_their_masks(tmp_path):
    """WinoGrande's two choices are two contexts of one ending. Another item has masks of its own."""
    model = load(ModelSpec(source=tiny_llada(tmp_path / "tiny", 0), device="cpu"))
    (benchmark,) = loaded(tasks=("winogrande",), shots=0, limit=4)
    rows: list[list[int]] = []
    predict = model.predict

    def noted(tokens, **options):
        rows.extend(tokens.tolist())
        return predict(tokens, **options)

    object.__setattr__(model, "predict", noted)
    masks = []
    for document in benchmark.documents:
        rows.clear()
        LanguageModel(model, Settings(draws=6, greedy=False)).loglikelihood(document.requests)
        (ending,) = {request.args[1] for request in document.requests}
        length = len(model.tokenizer(ending, add_special_tokens=False)["input_ids"])
        assert 2**length - 1 > 6  # drawn, not enumerated
        hidden: dict[tuple[int, ...], set] = {}
        for row in rows:
            hidden.setdefault(tuple(row[:-length]), set()).add(tuple(one == model.mask_token for one in row[-length:]))
        first, second = hidden.values()
        assert first == second
        masks.append(frozenset(first))
    assert len(set(masks)) > 1


def test_the_same_text_is_asked_every_time():
    """GPQA's choices are shuffled by a generator that lm-eval never sets back."""

    def texts(**asked):
        (benchmark,) = loaded(tasks=("gpqa",), shots=0, **asked)
        return {document.id: document.requests[0].args for document in benchmark.documents}

    whole = texts()
    assert texts() == whole
    assert {text == whole[place] for place, text in texts(limit=3).items()} == {True}
    orders = {tuple(line[4:] for line in args[0].splitlines() if line.startswith("(")) for args in whole.values()}
    assert len({order.index("the sky") for order in orders}) > 1


@pytest.mark.parametrize("name", ["gpqa", "race", "winogrande"])
def test_no_item_is_shown_its_own_answer(name):
    """Where examples come from the items asked: three of eight would hold it in every third prompt."""
    (benchmark,) = loaded(tasks=(name,), shots=3)
    own = [
        re.findall(r"Where is the \w+|Who goes \(\d\)|The \w+ saw the king", d.requests[0].args[0])
        for d in benchmark.documents
    ]
    assert len(own) == hub_datasets.ITEMS
    assert all(len(shown) == 4 for shown in own)
    assert all(shown[-1] not in shown[:-1] for shown in own)


def test_written_answers_that_do_not_fit_are_left_out(tmp_path):
    asked = EvaluateSpec(model=ModelSpec(device="cpu"), tasks=("gsm8k", "arc_easy"), limit=1, draws=1)
    outcome = evaluation.evaluate(asked, QuietContext(tmp_path))
    assert outcome.summary["complete"]
    assert [task["task"] for task in outcome.summary["tasks"]] == ["arc_easy"]
    assert "GSM8K was left out: its answers are written in 1024 tokens" in outcome.summary["problems"][0]
    assert "bundled_problems" in outcome.summary["problems"][0]
    with pytest.raises(UserError, match="GSM8K was left out"):
        evaluation.evaluate(asked.model_copy(update={"tasks": ("gsm8k",)}), QuietContext(tmp_path))


def test_dream_gets_no_guidance_unless_asked(tmp_path):
    """The presets' guidance is on LLaDA's scale, on which 0.5 strengthens the prompt; on Dream's it would weaken it."""
    folder = save_tiny(tmp_path / "dream", DreamModel, DreamConfig, mask_token_id=1)
    asked = EvaluateSpec(model=ModelSpec(source=str(folder), device="cpu"), tasks=("piqa",), limit=1, draws=1)
    for guidance, used in ((None, 0.0), (2.0, 2.0)):
        outcome = evaluation.evaluate(asked.model_copy(update={"guidance": guidance}), QuietContext(tmp_path))
        assert outcome.summary["tasks"][0]["guidance"] == used
