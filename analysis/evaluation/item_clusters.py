"""Clusters of a task's items whose answers are not independent, by a column of its data set.

A task's own YAML file names it as `metadata: {cluster: COLUMN}`; for data sets of the hub it stands in `COLUMNS`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm_eval.api.task import Task

COLUMNS: dict[tuple[str, str], str] = {
    ("cais/mmlu", ""): "subject",
    ("hails/mmlu_no_train", ""): "subject",
    ("TIGER-Lab/MMLU-Pro", ""): "category",
    ("Idavidrein/gpqa", ""): "Subdomain",
    ("Rowan/hellaswag", ""): "source_id",
    ("EleutherAI/race", ""): "article",
    ("EleutherAI/drop", ""): "passage",
    ("facebook/belebele", ""): "flores_passage",
    ("aps/super_glue", "boolq"): "passage",
    ("aps/super_glue", "multirc"): "paragraph",
    ("aps/super_glue", "record"): "passage",
}
"""By data set and its configuration, '' for any: the column with the passage, the subject or the source of an item."""

_LONGEST = 64  # characters of a cluster's name; of a longer one, as a passage, the hash stands for it


def columns(tasks: Mapping[str, "Task"]) -> dict[str, str]:
    """By the name of each task of a benchmark, the column that holds its items' clusters; '' where each is on its own.

    A column that says the same of all items of the benchmark, as the subject where one subject alone is asked, parts
    nothing and is none.
    """
    named = {
        name: column_of(
            {
                "metadata": task.config.metadata,
                "dataset_path": task.config.dataset_path,
                "dataset_name": task.config.dataset_name,
            }
        )
        for name, task in tasks.items()
    }
    parts: set[Any] = set()
    for name, task in tasks.items():
        for doc in task.eval_docs:
            parts.add(_value(doc, named[name]))
            if len(parts) > 1:
                return named
    return dict.fromkeys(tasks, "")


def cluster(doc: Mapping[str, Any], column: str) -> str:
    """The name of an item's cluster, '' where it is on its own."""
    value = _value(doc, column)
    if value is None:
        return ""
    text = str(value)
    return text if len(text) <= _LONGEST else hashlib.sha256(text.encode()).hexdigest()[:32]


def column_of(config: Mapping[str, Any]) -> str:
    """The column that holds the clusters of a task's items, by lm-eval's config of it; '' where each is on its own."""
    metadata = config.get("metadata")
    stated = metadata.get("cluster") if isinstance(metadata, Mapping) else None
    if isinstance(stated, str):
        return stated
    path = str(config.get("dataset_path") or "")
    return COLUMNS.get((path, str(config.get("dataset_name") or ""))) or COLUMNS.get((path, ""), "")


def in_words(named: Iterable[str]) -> str:
    """The distinct columns, with commas between; '' where there is none."""
    return ", ".join(dict.fromkeys(column for column in named if column))


def _value(doc: Mapping[str, Any], column: str) -> Any:
    return doc.get(column) if column and isinstance(doc, Mapping) else None
