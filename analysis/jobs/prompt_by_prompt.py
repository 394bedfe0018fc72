"""Shared parts of jobs that denoise prompts one by one under conditions: each prompt's rows are kept once done."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from analysis.errors import UserError
from analysis.job_context import Context
from analysis.specs import Sampling
from analysis.specs.ablation import PromptsSpec

if TYPE_CHECKING:
    from analysis.models.loaded import LoadedModel, OpenedModel

LOGITS_LIMIT = 10**9  # bytes for the logits of a batch's rows, three times over
LEAST = 2  # prompts to finish before ending early: an interval is over prompts


class Stopped(Exception):
    """Raised inside a prompt that is left unfinished."""


def encoded(prompt: str | tuple[int, ...], spec: PromptsSpec, model: "OpenedModel") -> list[int]:
    """Return the token ids of a prompt. Raises UserError for one that the model cannot read."""
    if isinstance(prompt, str):
        return model.encode(prompt, spec.chat_template)[0]
    if not all(0 <= token < model.geometry.vocabulary for token in prompt):
        raise UserError(f"A token lies outside this model's vocabulary of {model.geometry.vocabulary} tokens.")
    return list(prompt)


def kept_rows(name: str, context: Context, compute: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the rows of a prompt, computed once and kept under this name, so that an interrupted job resumes."""
    path = context.scratch / f"{name}.json"
    if not path.is_file():
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(compute()))
        partial.replace(path)
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def rows_at_once(sampling: Sampling, model: "LoadedModel", length: int) -> int:
    """Return the number of conditions per batch: one if rows would share random draws, or if rows end separately in a
    model that is not causal throughout.
    """
    from analysis.models.growing_text import can_grow

    if not sampling.same_alone or (model.architecture.noise is None and not can_grow(model)):
        return 1
    return rows_that_fit(model, length)


def rows_that_fit(model: "LoadedModel", length: int) -> int:
    """Return the number of texts of this length whose logits fit in memory: at least one."""
    return max(1, LOGITS_LIMIT // (3 * 4 * length * model.geometry.vocabulary))


def told_now(count: int, planned: int) -> bool:
    """Return True if the results of the finished prompts should be reported now: in between not after every prompt, as
    with many of them the effects take longer to compute.
    """
    return count >= planned or (count >= LEAST and count % (1 + count // 20) == 0)


def untested(effects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the effects on the finished prompts. Tests need the planned number: stopping by interim results would
    produce chance effects.
    """
    return [effect | {"p": None, "p_holm": None} for effect in effects]


def joined_rows(done: list[list[dict[str, Any]]], named: Sequence[str], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of every prompt as one row per condition: lists of numbers, and its names once.

    named: fields that name the condition; texts of the first prompt are left out. keys: of all prompts, or none.
    """
    alike: dict[str, Any] = {"keys": list(keys[: len(done)])} if keys else {}
    return [_joined([rows[number] for rows in done], named) | alike for number in range(len(done[0]))]


def _joined(rows: list[dict[str, Any]], named: Sequence[str]) -> dict[str, Any]:
    measures = [name for name, value in rows[0].items() if name not in named and not isinstance(value, list)]
    return {name: rows[0][name] for name in named} | {
        name: [None if row[name] is None else round(row[name], 6) for row in rows] for name in measures
    }
