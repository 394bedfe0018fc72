"""The prompts of a file, and the sampler of a model as flags describe it: for the verbs that record."""

import argparse
from pathlib import Path

from analysis.command_line.flags import NOT_FLAGS, field_of, given
from analysis.errors import UserError, os_sentence, shorten
from analysis.models.checkpoint import describe
from analysis.specs import SAMPLINGS, RecordSpec, Sampling

PROMPTS_BYTES = 64 * 2**20


def sampling_of(model: str, options: argparse.Namespace, strict: bool = True) -> Sampling:
    """The parameters of the model's sampler. Raises UserError for a flag that belongs to another one.

    Not strict: such flags are for another model and are left out.
    """
    named = describe(model, getattr(options, "paradigm", "auto")).sampler
    sampling = SAMPLINGS[named]
    every = {name for kind in SAMPLINGS.values() for name in kind.model_fields} - NOT_FLAGS
    foreign = sorted(name for name in every if name in options and name not in sampling.model_fields)
    if foreign and strict:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise UserError(f"'{model}' is sampled with '{named}', which has no {flags}.")
    return sampling(**given(sampling, options))


def own_prompts(prompts: str) -> list[str]:
    """The prompts of a file, where `prompts` names one; none where it is a source of prompts by name."""
    path = Path(prompts)
    return read_prompts(path) if path.suffix or path.is_file() else []


def read_prompts(path: Path) -> list[str]:
    """One prompt a line, of a file or a pipe. Raises UserError for what is no text, holds none or is far too long."""
    name = shorten(str(path))
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
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"The prompts in '{name}' cannot be read: they are not UTF-8 text ({error.reason}).") from error
    limit = next(rule.max_length for rule in field_of(RecordSpec, "prompt").metadata if hasattr(rule, "max_length"))
    for number, line in enumerate(lines, start=1):
        if len(line.strip()) > limit:
            raise UserError(
                f"Line {number} of '{name}' has {len(line):,} characters, and a prompt at most {limit:,}. Shorten it."
            )
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise UserError(f"'{name}' holds no prompt. Write one a line.")
    return prompts
