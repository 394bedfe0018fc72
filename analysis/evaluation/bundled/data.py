"""Loader of the bundled tasks for lm-eval: the JSONL files beside this one, wherever the program is started from."""

import json
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).parent
TEXTS = 256  # documents of the bundled text


def load(task: str, **metadata: Any) -> Any:
    """The two splits of a task as a `datasets.DatasetDict`. lm-eval also passes the task's metadata."""
    from datasets import load_dataset

    files = {split: str(FOLDER / f"{task}_{name}.jsonl") for split, name in (("validation", "dev"), ("test", "test"))}
    return load_dataset("json", data_files=files)


@cache
def cluster_sizes(task: str) -> tuple[int, ...]:
    """Count the items of a bundled task, such as `physical`, that share each key."""
    with (FOLDER / f"{task}_test.jsonl").open(encoding="utf-8") as lines:
        return tuple(Counter(json.loads(line)["key"] for line in lines).values())


def text(**metadata: Any) -> Any:
    """Return documents of the bundled grammar, from a stream that no training run reads."""
    from datasets import Dataset, DatasetDict

    from analysis.bundled.grammar import document

    random = Random("perplexity")
    return DatasetDict({"test": Dataset.from_list([{"text": document(random).text} for _ in range(TEXTS)])})
