"""The command line: the same specs and the same jobs as the pages.

Progress goes to stderr, a summary to stdout (as JSON with --json). Bad input exits with 2 and one clear line.
"""

import argparse
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from analysis import jobs
from analysis.errors import UserError
from analysis.models.checkpoint import describe, find
from analysis.models.registry import MODELS
from analysis.specs import SAMPLINGS, ModelSpec, RecordSpec, Spec, sentence

_NOT_FLAGS = {"model", "sampling", "sampler", "prompt", "source"}


def main(arguments: list[str] | None = None) -> int:
    """Runs one verb. Returns the exit code: 0 done, 2 bad input, 130 interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return _VERBS[options.verb](options)
    except ValidationError as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 2


# --- flags from specs -------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis", description="Attention sinks in diffusion language models."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)

    models = verbs.add_parser("models", help="list the models offered by name")
    models.add_argument("--json", action="store_true", help="print JSON")

    record = verbs.add_parser("record", help="denoise prompts and record their attention mass")
    record.add_argument("--model", default="bundled", metavar="SRC", help=_field(ModelSpec, "source").description)
    text = record.add_mutually_exclusive_group(required=True)
    text.add_argument("--prompt", metavar="TEXT", help=_field(RecordSpec, "prompt").description)
    text.add_argument(
        "--prompts", type=Path, metavar="FILE", help="a text file with one prompt a line; OUT gets a number for each"
    )
    record.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    record.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    record.add_argument("--json", action="store_true", help="print the summary as JSON")
    _add_flags(record, ModelSpec, "")
    _add_flags(record, RecordSpec, "")
    seen: set[str] = set()
    for name, kind in SAMPLINGS.items():
        _add_flags(record, kind, f" [{name}]", seen)
    return parser


def _field(spec: type[BaseModel], name: str) -> Any:
    return spec.model_fields[name]


def _add_flags(parser: argparse.ArgumentParser, spec: type[Spec], note: str, seen: set[str] | None = None) -> None:
    """One flag a field. A flag not given stays out of the namespace, so that the spec's own default holds."""
    seen = set() if seen is None else seen
    for name, field in spec.model_fields.items():
        if name in _NOT_FLAGS or name in seen:
            continue
        seen.add(name)
        kinds = get_args(field.annotation)
        kind = field.annotation
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(part for part in kinds if part is not type(None))
        choices = list(get_args(kind)) if get_origin(kind) is Literal else None
        default = "none" if field.default is None else field.default
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            type=str if choices else kind,
            choices=choices,
            default=argparse.SUPPRESS,
            metavar=None if choices else name.upper(),
            help=f"{field.description} Default: {default}.{note}".replace("%", "%%"),
        )


def _given(spec: type[Spec], options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in spec.model_fields if name in options and name not in _NOT_FLAGS}


def _sampling(options: argparse.Namespace) -> Spec:
    """The sampler's parameters. Raises UserError for a flag that belongs to another sampler than the model's."""
    named = describe(options.model).sampler
    own = SAMPLINGS[named]
    every = {name for kind in SAMPLINGS.values() for name in kind.model_fields} - _NOT_FLAGS
    foreign = sorted(name for name in every if name in options and name not in own.model_fields)
    if foreign:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise UserError(f"'{options.model}' is sampled with '{named}', which has no {flags}.")
    return own(**_given(own, options))


# --- verbs ------------------------------------------------------------------------------------------------------


class _Terminal:
    """A job's context in the command line: progress on stderr."""

    workers = 1

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._line = ""

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        line = f"{phase} {done}/{total}" if total else phase
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif phase != self._line or (total and done == total):
            print(line, file=sys.stderr, flush=True)
        self._line = phase

    def end(self) -> None:
        if sys.stderr.isatty():
            print(file=sys.stderr)


def _models(options: argparse.Namespace) -> int:
    rows = []
    for name, model in MODELS.items():
        there = find(name) is not None
        rows.append({"name": name, "source": model.source, "here": there, "summary": model.summary})
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(f"{row['name']:<{width}}  {'on this disk' if row['here'] else 'to download ':<12}  {row['summary']}")
    return 0


def _record(options: argparse.Namespace) -> int:
    prompts = [options.prompt] if options.prompts is None else _read_prompts(options.prompts)
    outs = [options.out] if options.prompts is None else _numbered(options.out, len(prompts))
    taken = [str(out) for out in outs if out.exists()]
    if taken and not options.overwrite:
        raise UserError(f"'{taken[0]}' exists. Choose another --out, or replace it with --overwrite.")
    model = ModelSpec(source=options.model, **_given(ModelSpec, options))
    sampling = _sampling(options)
    specs = [
        RecordSpec(model=model, prompt=prompt, sampling=sampling, **_given(RecordSpec, options)) for prompt in prompts
    ]
    summaries = []
    for spec, out in zip(specs, outs, strict=True):
        if not out.parent.is_dir():
            raise UserError(f"The folder '{out.parent}' does not exist. Make it first.")
        # In the target's folder, so that the finished file only has to be renamed.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".recording-") as folder:
            context = _Terminal(Path(folder))
            outcome = jobs.record(spec, context)
            context.end()
            outcome.file.replace(out)
        summaries.append({"out": str(out), **outcome.summary})
    if options.json:
        print(json.dumps(summaries[0] if options.prompts is None else summaries, ensure_ascii=False))
    else:
        for summary in summaries:
            print(f"{summary['out']}: {summary['steps']} steps, {summary['bytes'] / 1e6:.1f} MB. {summary['text']}")
    return 0


def _read_prompts(path: Path) -> list[str]:
    try:
        prompts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The prompts in '{path}' cannot be read: {error}.") from error
    if not prompts:
        raise UserError(f"'{path}' holds no prompt. Write one a line.")
    return prompts


def _numbered(out: Path, count: int) -> list[Path]:
    digits = len(str(count))
    return [out.with_name(f"{out.stem}-{index:0{digits}}{out.suffix}") for index in range(1, count + 1)]


_VERBS = {"models": _models, "record": _record}


if __name__ == "__main__":
    sys.exit(main())
