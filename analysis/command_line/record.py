"""`python -m analysis record`: denoise prompts and record their attention mass."""

import argparse
import json
from pathlib import Path
from typing import Any

from analysis import outputs
from analysis.command_line.flags import NOT_FLAGS, Terminal, add_flags, field_of, folder_beside, given
from analysis.errors import UserError, os_sentence, shorten
from analysis.jobs import recordings
from analysis.models.checkpoint import describe
from analysis.recording.trajectory import refusal
from analysis.specs import SAMPLINGS, ModelSpec, RecordSpec, Sampling

PROMPTS_BYTES = 64 * 2**20


def add(verbs: Any) -> None:
    """The verb and its flags."""
    record = verbs.add_parser("record", help="denoise prompts and record their attention mass")
    record.add_argument("--model", default="bundled", metavar="SRC", help=field_of(ModelSpec, "source").description)
    text = record.add_mutually_exclusive_group(required=True)
    text.add_argument("--prompt", metavar="TEXT", help=field_of(RecordSpec, "prompt").description)
    text.add_argument(
        "--prompts", type=Path, metavar="FILE", help="a text file with one prompt a line; OUT gets a number for each"
    )
    record.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    record.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    record.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_flags(record, ModelSpec, "")
    add_flags(record, RecordSpec, "")
    seen: set[str] = set()
    for name, kind in SAMPLINGS.items():
        add_flags(record, kind, f" [{name}]", seen)


def _sampling(options: argparse.Namespace) -> Sampling:
    """The sampler's parameters. Raises UserError for a flag that belongs to another sampler than the model's."""
    named = describe(options.model, getattr(options, "paradigm", "auto")).sampler
    sampling = SAMPLINGS[named]
    every = {name for kind in SAMPLINGS.values() for name in kind.model_fields} - NOT_FLAGS
    foreign = sorted(name for name in every if name in options and name not in sampling.model_fields)
    if foreign:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise UserError(f"'{options.model}' is sampled with '{named}', which has no {flags}.")
    return sampling(**given(sampling, options))


def run(options: argparse.Namespace) -> int:
    """Records every prompt into a file of its own."""
    prompts = [options.prompt] if options.prompts is None else _read_prompts(options.prompts)
    outs = [options.out] if options.prompts is None else _numbered(options.out, len(prompts))
    for out in outs:
        outputs.check(out, options.overwrite, refusal)
    model = ModelSpec(source=options.model, **given(ModelSpec, options))
    sampling = _sampling(options)
    specs = [
        RecordSpec(model=model, prompt=prompt, sampling=sampling, **given(RecordSpec, options)) for prompt in prompts
    ]
    summaries: list[dict[str, Any]] = []
    for spec, out in zip(specs, outs, strict=True):
        with folder_beside(out, ".recording-") as folder:
            with Terminal(folder) as context:
                outcome = recordings.record(spec, context)
            assert outcome.file is not None
            outputs.place(outcome.file, out, options.overwrite, refusal)
        summaries.append({"out": str(out), **outcome.summary})
    if options.json:
        print(json.dumps(summaries[0] if options.prompts is None else summaries, ensure_ascii=False))
    else:
        for summary in summaries:
            steps, steps_asked = summary["steps"], summary["steps_asked"]
            early = "" if steps == steps_asked else f" of {steps_asked}, as nothing was left to decide"
            print(f"{summary['out']}: {steps} steps{early}, {summary['bytes'] / 1e6:.1f} MB. {summary['text']}")
    return 0


def _read_prompts(path: Path) -> list[str]:
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


def _numbered(out: Path, count: int) -> list[Path]:
    digits = len(str(count))
    return [out.with_name(f"{out.stem}-{index:0{digits}}{out.suffix}") for index in range(1, count + 1)]
