"""The prompts of a file, and the sampler of a model as flags describe it: for the verbs that record."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analysis.bundled.prompts import keyed_prompts
from analysis.command_line.flags import Fields
from analysis.errors import UserError, os_sentence, shorten
from analysis.job_context import Context
from analysis.models.checkpoint import describe
from analysis.specs import BUNDLED_PROMPTS, OWN_PROMPTS, SAMPLINGS, ModelSpec, RecordSpec, Sampling
from analysis.specs.recording_sets import CLUSTER, MOST_PROMPTS

PROMPTS_BYTES = 64 * 2**20


def sampling_of(model: ModelSpec, options: argparse.Namespace, strict: bool = True) -> Sampling:
    """The parameters of the model's sampler. Raises UserError for a flag that belongs to another one.

    Not strict: such flags are for another model and are left out.
    """
    named = describe(model).sampler
    fields = {name: Fields(kind) for name, kind in SAMPLINGS.items()}
    every = {leaf.flag for kind in fields.values() for leaf in kind.leaves()}
    foreign = sorted(every.intersection(vars(options)) - {leaf.flag for leaf in fields[named].leaves()})
    if foreign and strict:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise UserError(f"'{model.source}' is sampled with '{named}', which has no {flags}.")
    return fields[named].build(options)


class OwnPrompts(NamedTuple):
    """The prompts of a file. keys: of those that are alike, as many as prompts or none."""

    texts: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def first(self, count: int) -> "OwnPrompts":
        """So many of them."""
        return OwnPrompts(self.texts[:count], self.keys[:count])


def own_prompts(prompts: str) -> OwnPrompts:
    """The prompts of a file, where `prompts` names one; none where it is a source of prompts by name."""
    path = Path(prompts)
    if not path.suffix and not path.is_file():
        return OwnPrompts()
    keyed: dict[str, str] = {}
    for text, key in read_keyed(path):
        keyed.setdefault(text, key)  # duplicates count once
    return OwnPrompts(tuple(keyed), _keys(list(keyed.values())))


def own_settings(prompts: str | None, count: int | None, counted: str) -> dict[str, Any]:
    """Return the fields of a study that --prompts FILE and --prompt-count set. counted: the field of their number."""
    if prompts is None:
        return {} if count is None else {counted: count}
    own = own_prompts(prompts)
    chosen = own.first(min(len(own.texts), MOST_PROMPTS) if count is None else count)
    return {"own_prompts": chosen.texts, "own_keys": chosen.keys, counted: len(chosen.texts)}


def prompts_of(options: argparse.Namespace, seed: int, context: Context) -> tuple[OwnPrompts, list[str]]:
    """The prompts that --prompts and --prompt-count name, with the keys of those that are alike, and notes on them."""
    from analysis.jobs.recording_sets import prompt_texts

    own, count = own_prompts(options.prompts), options.prompt_count
    source = OWN_PROMPTS if own.texts else options.prompts
    given_own = own.first(count)
    texts, notes = prompt_texts(source, given_own.texts, count, seed, context)
    keys = given_own.keys
    if source == BUNDLED_PROMPTS:
        keys = tuple(prompt.template for prompt in keyed_prompts(count))
    return OwnPrompts(tuple(dict.fromkeys(texts)), keys), notes


def reference_of(options: argparse.Namespace, model: ModelSpec) -> dict[str, ModelSpec | None]:
    """Return the change requested by --reference: another model than the registry's twin, or none."""
    if options.reference is None:
        return {}
    named = None if options.reference == "none" else model.model_copy(update={"source": options.reference})
    return {"reference": named}


def _keys(given: Sequence[str]) -> tuple[str, ...]:
    """The keys of prompts, one of its own for each that has none; none where no prompt has one."""
    if not any(given):
        return ()
    return tuple(f"{CLUSTER}{key}" if key else f"prompt {number}" for number, key in enumerate(given, start=1))


def read_keyed(path: Path) -> list[tuple[str, str]]:
    """Read one prompt per line, from a file or a pipe, with its key, or "". A .jsonl file has one object per line, with
    `prompt` or `text`, and for similar prompts a shared `cluster`. Raises UserError for input that is not text, empty
    or far too long.
    """
    name = shorten(str(path))
    limit = next(rule.max_length for rule in RecordSpec.model_fields["prompt"].metadata if hasattr(rule, "max_length"))
    keyed: list[tuple[str, str]] = []
    for number, line in enumerate(_lines(path, name), start=1):
        if not line.strip():
            continue
        text, key = _object(line, number, name) if path.suffix == ".jsonl" else (line.strip(), "")
        if len(text) > limit:
            raise UserError(
                f"Line {number} of '{name}' has {len(text):,} characters, and a prompt at most {limit:,}. Shorten it."
            )
        keyed.append((text, key))
    if not keyed:
        raise UserError(f"'{name}' holds no prompt. Write one a line.")
    return keyed


def _object(line: str, number: int, name: str) -> tuple[str, str]:
    """The text and the key of a line of JSON."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"Line {number} of '{name}' is not JSON. Write an object with 'prompt' on each line."
        ) from error
    text = (row.get("prompt") or row.get("text")) if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"Line {number} of '{name}' has no text under 'prompt'.")
    key = row.get("cluster")
    if key is not None and (isinstance(key, bool) or not isinstance(key, str | int)):
        raise UserError(f"The 'cluster' in line {number} of '{name}' is neither text nor a whole number.")
    return text.strip(), "" if key is None else str(key)


def _lines(path: Path, name: str) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(PROMPTS_BYTES + 1)
    except OSError as error:
        raise UserError(f"The prompts in '{name}' cannot be read: {os_sentence(error, str(path))}") from error
    except ValueError as error:
        raise UserError("The name given with --prompts holds a NUL character, so it cannot be read.") from error
    if len(content) > PROMPTS_BYTES:
        raise UserError(f"'{name}' holds more than {PROMPTS_BYTES / 2**20:.0f} MiB. Write them into several files.")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"The prompts in '{name}' cannot be read: they are not UTF-8 text ({error.reason}).") from error
