"""A handful of items of our own in the columns and types of the hub datasets that lm-eval's tasks read.

`write(root)` makes a folder a dataset, laid out as its repository on the hub is, so that `load_dataset("cais/mmlu",
"anatomy")` finds it from inside `root` as it would find the hub's.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, List, Value

from analysis.evaluation.tasks import Benchmark

Rows = list[dict[str, Any]]
TEXT, ITEMS = Value("string"), 8

ANIMALS = ("dog", "cat", "hen", "fox", "cow", "owl", "pig", "bee", "ant", "rat")
_PLACES = ("park", "zoo", "farm", "lake", "hill", "shop", "barn", "pond", "wood", "town")


def samples(benchmarks: Sequence[Benchmark]) -> dict[str, list[int]]:
    """The items taken as `lm_eval.simple_evaluate(samples=…)` wants them: sorted, or they are logged wrongly."""
    ids: dict[str, list[int]] = defaultdict(list)
    for document in (document for benchmark in benchmarks for document in benchmark.documents):
        ids[document.task].append(document.id)
    return {task: sorted(some) for task, some in ids.items()}


def _words(count: int = ITEMS) -> list[tuple[int, str, str]]:
    return [(n, ANIMALS[n % 10], _PLACES[(3 * n) % 10]) for n in range(count)]


def _mmlu() -> Rows:
    return [
        {
            "question": f" Where is the {animal} today?",
            "subject": ("anatomy", "virology")[n // 4],
            "answer": n % 4,
            "choices": [f"In the {_PLACES[(3 * n + shift - n % 4) % 10]}" for shift in range(4)],
        }
        for n, animal, _ in _words()
    ]


def _arc() -> Rows:
    # The hub's items have three to five choices, labelled by letters or by numbers.
    rows = []
    for n, animal, place in _words():
        labels = (["A", "B", "C"], ["1", "2", "3", "4"], ["A", "B", "C", "D", "E"])[n % 3]
        texts = [place if index == 1 else f"{place} {index}" for index in range(len(labels))]
        rows.append(
            {
                "id": f"id {n}",
                "question": f"Where does the {animal} live?",
                "choices": {"text": texts, "label": labels},
                "answerKey": labels[1],
            }
        )
    return rows


def _piqa() -> Rows:
    return [
        {"goal": f"How to feed the {animal}", "sol1": "Give it food.", "sol2": f"Paint the {place}.", "label": 0}
        if n % 2
        else {"goal": f"How to wash the {animal}", "sol1": "Use the wind.", "sol2": "Use some water.", "label": 1}
        for n, animal, place in _words()
    ]


def _winogrande() -> Rows:
    return [
        {
            "sentence": f"The {animal} saw the king in the {place} because _ was tall.",
            "option1": f"the {animal}",
            "option2": "the king",
            "answer": str(1 + n % 2),
        }
        for n, animal, place in _words()
    ]


def _gsm8k() -> Rows:
    return [
        {
            "question": f"The {animal} has {n} eggs and finds 2 more. How many eggs does it have?",
            "answer": f"It has {n} + 2 = <<{n}+2={n + 2}>>{n + 2} eggs.\n#### {n + 2}",
        }
        for n, animal, _ in _words()
    ]


def _hellaswag() -> Rows:
    return [
        {
            "ind": n,
            "activity_label": "Walking",
            "ctx_a": f"The {animal} goes to the {place}.",
            "ctx_b": "then it",
            "ctx": f"The {animal} goes to the {place}. then it",
            "endings": [f"sees {end} [step] there." for end in ("a cow", "the sun", "nothing", "a king")],
            "source_id": f"wikihow~{n}",
            "split": "val",
            "split_type": "indomain",
            "label": str(n % 4),
        }
        for n, animal, place in _words()
    ]


def _gpqa() -> Rows:
    return [
        {
            "Question": f"Where is the {animal}?",
            "Correct Answer": f" the {place}",
            "Incorrect Answer 1": "the sea\n",
            "Incorrect Answer 2": "the sky",
            "Incorrect Answer 3": "the moon [title]",
            "Explanation": f"It likes {place}.",
            "Subdomain": "Zoology",
            "High-level domain": "Biology",
            "Record ID": f"rec{n}",
        }
        for n, animal, place in _words()
    ]


def _race() -> Rows:
    return [
        {
            "article": "It is happy. " * 300 + f"One day the {animal} goes to the {place}.",
            "problems": str(
                [
                    {
                        "question": "The animal goes to the  _  .",
                        "answer": "B",
                        "options": ["sea", place, "moon", "sky"],
                    },
                    {"question": "How is it?", "answer": "A", "options": ["Happy.", "Sad.", "Ill.", "Old."]},
                    {
                        "question": f"Who goes ({n})?",
                        "answer": "D",
                        "options": ["A king", "A boy", "A girl", f"A {animal}"],
                    },
                ]
            ),
        }
        for n, animal, place in _words()
    ]


def _wikitext() -> Rows:
    return [
        {"page": f" = The {animal} = \n \n The {animal} 's {place} , as it is called , has 1 @,@ 000 trees . \n"}
        for _, animal, place in _words()
    ]


_LETTERS = ClassLabel(names=["A", "B", "C", "D"])

# hub name -> configurations (None: every one that is asked for), splits, columns, rows
DATASETS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Features, Rows]] = {
    "allenai/ai2_arc": (
        ("ARC-Easy", "ARC-Challenge"),
        ("train", "validation", "test"),
        Features(id=TEXT, question=TEXT, choices={"text": List(TEXT), "label": List(TEXT)}, answerKey=TEXT),
        _arc(),
    ),
    "baber/piqa": (
        ("default",),
        ("train", "validation"),
        Features(goal=TEXT, sol1=TEXT, sol2=TEXT, label=Value("int64")),
        _piqa(),
    ),
    "allenai/winogrande": (
        ("winogrande_xl",),
        ("train", "validation"),
        Features(sentence=TEXT, option1=TEXT, option2=TEXT, answer=TEXT),
        _winogrande(),
    ),
    "openai/gsm8k": (("main",), ("train", "test"), Features(question=TEXT, answer=TEXT), _gsm8k()),
    "Rowan/hellaswag": (
        ("default",),
        ("train", "validation"),
        Features(
            ind=Value("int32"),
            activity_label=TEXT,
            ctx_a=TEXT,
            ctx_b=TEXT,
            ctx=TEXT,
            endings=List(TEXT),
            source_id=TEXT,
            split=TEXT,
            split_type=TEXT,
            label=TEXT,
        ),
        _hellaswag(),
    ),
    "Idavidrein/gpqa": (("gpqa_main",), ("train",), Features(dict.fromkeys(_gpqa()[0], TEXT)), _gpqa()),
    "EleutherAI/race": (("high",), ("test",), Features(article=TEXT, problems=TEXT), _race()),
    "EleutherAI/wikitext_document_level": (
        ("wikitext-2-raw-v1",),
        ("train", "validation", "test"),
        Features(page=TEXT),
        _wikitext(),
    ),
    "cais/mmlu": (
        (),
        ("dev", "validation", "test"),
        Features(question=TEXT, subject=TEXT, choices=List(TEXT), answer=_LETTERS),
        _mmlu(),
    ),
}


def write(root: Path, subjects: list[str]) -> None:
    """Writes every dataset under `root`. subjects: MMLU's configurations, which share their items here."""
    for name, (configurations, splits, features, rows) in DATASETS.items():
        folder = root / name
        folder.mkdir(parents=True)
        for split in splits:
            # Examples are other items than those asked, except where the hub has one split for both.
            some = rows if len(splits) == 1 or split != "train" else rows[::-1]
            Dataset.from_list(some, features=features).to_parquet(folder / f"{split}.parquet")
        listed = "".join(
            f"- config_name: {one}\n  data_files:\n"
            + "".join(f"  - split: {split}\n    path: {split}.parquet\n" for split in splits)
            for one in configurations or subjects
        )
        (folder / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")
