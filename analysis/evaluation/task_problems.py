"""Why a benchmark, or some of its items, cannot be scored."""

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.task import Task

from analysis.errors import first_line, named_line, shorten
from analysis.evaluation.presets import Preset


def has_answer(task: Task, doc: Mapping[str, Any]) -> bool:
    """Say whether an answer can be right: lm-eval counts an item whose right answer is none of its choices as wrong,
    whatever a model answers. Tasks with a scoring function of their own decide for themselves."""
    if task.OUTPUT_TYPE != "multiple_choice" or callable(task.config.process_results):
        return True
    choices = task.doc_to_choice(doc)
    right = task.doc_to_text(doc) if getattr(task, "multiple_input", 0) else task.doc_to_target(doc)
    return any(_is_choice(one, choices) for one in (right if isinstance(right, list) else [right]))


def _is_choice(right: Any, choices: Sequence[Any]) -> bool:
    """Say whether a right answer, a place among the choices or the text of one, is one of them."""
    if isinstance(right, int):
        return 0 <= right < len(choices)
    return right in choices


def problem(row: Preset, error: Exception) -> str:
    """Say why a benchmark cannot be run, and what to do."""
    text = first_line(error)
    name = type(error).__name__.lower()
    words = ("connect", "offline", "reach", "resolve host", "timed out", "localentrynotfound")
    if any(word in f"{name} {text}".lower() for word in words):
        return (
            f"{row.title} was left out: its items come from the Hugging Face hub, which cannot be reached, and they "
            f"are not on this disk. {row.alternative} ships with SinkScope and needs no network."
        )
    if "gated" in text.lower() or "authenticated" in text.lower():
        return (
            f"{row.title} was left out: its authors ask you to accept their terms on the Hugging Face hub first, and "
            f"to log in with `hf auth login`. {row.alternative} needs neither."
        )
    return (
        f"{row.title} was left out: lm-eval cannot make its items ({shorten(named_line(error), 240)}). Check the "
        "fields of its YAML file, and its data."
    )
