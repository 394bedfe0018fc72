"""`python -m analysis record`: denoise prompts and record their attention mass.

`--branch FILE` writes a recorded text on from another token.
"""

import argparse
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis import outputs
from analysis.command_line.flags import (
    MODEL,
    Fields,
    a_path,
    as_json,
    flag,
    folder_beside,
    one_of,
    out,
    overwrite,
    show,
)
from analysis.command_line.prompts import read_keyed, sampling_of
from analysis.command_line.running import runner
from analysis.errors import UserError, os_sentence, shorten
from analysis.findings import finding_of
from analysis.models.before_loading import single_token
from analysis.models.checkpoint import checkpoint_of, fingerprint
from analysis.recording.alternatives import (
    ONE_TEXT,
    branch_of,
    branch_request,
    deciding_step,
    parallel_effect,
    parallel_pair,
)
from analysis.recording.trajectory_file import open_trajectory, refusal
from analysis.specs import Branch, ModelSpec, RecordSpec, SinkParams, sentence
from analysis.specs.writing import THRESHOLD
from analysis.words import counted
from cache.keys import imported_key

_FLAGS = ("branch_position", "branch_token", "branch_step")
_SUFFIX = ".safetensors"
_KEPT = {"mass_dtype", "channels", "by_query", "drift"}  # settings in which a branch may differ from its parent


BRANCH = flag(
    "--branch",
    type=a_path,
    metavar="FILE",
    help="a recording to leave: its steps are repeated with its own model, prompt, settings and seed, one of them "
    "writes another token, and the text is written on from there",
)
BRANCH_FLAGS = (
    flag("--branch-position", type=int, metavar="N", of=(Branch, "position"), help="With --branch."),
    flag("--branch-token", metavar="WORD", help="One token of the model's vocabulary, as text. With --branch."),
    flag(
        "--branch-step",
        type=int,
        metavar="N",
        of=(Branch, "step"),
        help="Default: the one that wrote what stands there in the end.",
    ),
)


def refuse_branch_flags(options: argparse.Namespace) -> None:
    """Raise UserError for flags about a branch when there is none."""
    named = [name for name in _FLAGS if getattr(options, name) is not None]
    if named:
        raise UserError(f"--{named[0].replace('_', '-')} goes with --branch FILE, which names the recording to leave.")


def branch_spec(record: Fields[RecordSpec], options: argparse.Namespace) -> RecordSpec:
    """Return the job that records the branch. record: flags of a recording. Raises UserError for a branch that does not
    leave the recording."""
    if options.branch_position is None or options.branch_token is None:
        raise UserError("A branch needs --branch-position and --branch-token: where which token is written.")
    set_before = (leaf for leaf in record.leaves() if leaf.path[0] != "model" and leaf.flag not in _KEPT)
    said = next((leaf.flag for leaf in set_before if leaf.flag in options), None)
    if said is not None:
        raise UserError(f"A branch takes its settings from the recording. Leave out --{said.replace('_', '-')}.")
    try:
        trajectory = open_trajectory(options.branch)
        parent = imported_key(options.branch)
    except OSError as error:
        name = shorten(str(options.branch))
        raise UserError(f"'{name}' cannot be read: {os_sentence(error, str(options.branch))}") from error
    info = trajectory.info
    try:
        model = ModelSpec.model_validate({"source": info.model.source, **MODEL.given(options)})
        recorded = info.request(model)
    except ValidationError as error:
        raise UserError(f"This recording cannot be left: {sentence(error)}") from error
    token, word = _token(model, info.model.fingerprint, options.branch_token)
    position, step = options.branch_position, options.branch_step
    if not info.prompt_length <= position < trajectory.positions:
        raise UserError(
            f"Position {position} holds no token that was written. Choose one from {info.prompt_length} to "
            f"{trajectory.positions - 1}."
        )
    if step is None:
        step = deciding_step(trajectory, trajectory.steps - 1, position, finished=True)
    if step is None:
        raise UserError(f"No step wrote position {position}. Give --branch-step.")
    branch = branch_of(trajectory, parent, step, position, token, word)
    return branch_request(recorded, trajectory, branch).model_copy(update=record.given(options))


def _token(model: ModelSpec, recorded: str, word: str) -> tuple[int, str]:
    """The id and text of a word. recorded: the fingerprint of the model that was recorded."""
    checkpoint = checkpoint_of(model)
    if checkpoint is None:
        raise UserError(f"'{model.source}' is not on this disk. Record with it first, or name it with --model.")
    if fingerprint(checkpoint) != recorded:
        raise UserError(f"'{model.source}' is not the model that was recorded. Name that one with --model.")
    token = single_token(checkpoint, word)
    if token is None:
        raise UserError(f"'{shorten(word)}' is no single token of '{model.source}'. Choose another one.")
    return token


RECORD = Fields(RecordSpec)
FLAGS = (
    one_of(
        flag("--prompt", of=(RecordSpec, "prompt"), metavar="TEXT"),
        flag(
            "--prompts",
            type=a_path,
            metavar="FILE",
            help="a text file with one prompt per line; OUT gets a number for each",
        ),
        BRANCH,
    ),
    *BRANCH_FLAGS,
    out("FILE", "the .safetensors file to write"),
    flag(
        "--compare-parallel",
        action="store_true",
        help=f"record the prompt twice, by a confidence threshold (--threshold, else {THRESHOLD:g}) and one token per "
        "forward, into OUT with -parallel and -one-by-one, and say what that does to the text and its sinks",
    ),
    overwrite("a file"),
    as_json(),
    RECORD,
)


def run(options: argparse.Namespace) -> int:
    """Record every prompt, or a branch, into its own file."""
    specs = [branch_spec(RECORD, options)] if options.branch is not None else _specs(options)
    outs = [options.out] if options.prompts is None else _numbered(options.out, len(specs))
    if options.compare_parallel:
        if len(specs) > 1 or options.branch is not None:
            raise UserError("--compare-parallel records one prompt in two ways. Give one --prompt.")
        specs = list(parallel_pair(specs[0]))
        outs = [options.out.with_stem(f"{options.out.stem}-{way}") for way in ("parallel", "one-by-one")]
    for path in outs:
        outputs.check(path, options.overwrite, refusal)
    if options.out.suffix != _SUFFIX:
        raise UserError(f"A recording is a {_SUFFIX} file. Give --out such a name, not '{shorten(options.out.name)}'.")
    summaries: list[dict[str, Any]] = []
    with folder_beside(options.out, "recording") as folder, runner(folder, options) as jobs:
        for path, outcome in zip(outs, jobs.run_all("record", specs), strict=True):
            assert outcome.file is not None
            outputs.place(outcome.file, path, options.overwrite, refusal)
            summaries.append({"out": str(path), **outcome.summary})
    differing = _differing(outs, specs) if options.compare_parallel else {}
    told = summaries if len(summaries) > 1 or options.prompts is not None else summaries[0]
    lines = (
        f"{summary['out']}: {_writing(summary)}, {summary['bytes'] / 1e6:.1f} MB. {summary['text']}"
        for summary in summaries
    )
    results = {"recordings": told, **differing} if differing else told
    return show(options, results, chain(lines, differing.get("sentences", ())))


def _writing(summary: dict[str, Any]) -> str:
    """Return the number of tokens written and of forwards, in words."""
    written, forwards, asked = summary["written"], summary["steps"], summary["steps_asked"]
    each = f" ({sum(written) / forwards:.2g} per forward, {max(written)} at most)" if max(written) > 1 else ""
    early = "" if forwards == asked else f" of {asked}, as nothing was left to decide"
    return f"{counted(sum(written), 'token')} in {counted(forwards, 'forward')}{early}{each}"


def _differing(outs: list[Path], specs: list[RecordSpec]) -> dict[str, Any]:
    """Return how a threshold changes the text and its sinks, as numbers and sentences."""
    parallel, alone = map(open_trajectory, outs)
    effect = parallel_effect(parallel, alone, SinkParams())
    threshold = getattr(specs[0].sampling, "threshold", THRESHOLD)
    said = (
        finding_of("parallel writing", threshold, effect.written, effect.alone, effect.aligned, effect.chance),
        finding_of(
            "parallel sinks", effect.strength, effect.even, effect.strength_alone, effect.even_alone, effect.common
        ),
        ONE_TEXT,
    )
    means = {name: float(getattr(effect, name).mean()) for name in ("strength", "strength_alone", "even", "even_alone")}
    return {
        "threshold": threshold,
        "forwards": [len(effect.written), len(effect.alone)],
        **{name: round(value, 5) for name, value in means.items()},
        "aligned": round(effect.aligned, 5),
        "chance": round(effect.chance, 5),
        "sentences": list(said),
    }


def _specs(options: argparse.Namespace) -> list[RecordSpec]:
    refuse_branch_flags(options)
    prompts = [options.prompt] if options.prompts is None else [text for text, _ in read_keyed(options.prompts)]
    model = MODEL.build(options)
    sampling = sampling_of(model, options)
    return [RECORD.build(options, model=model, prompt=prompt, sampling=sampling) for prompt in prompts]


def _numbered(out: Path, count: int) -> list[Path]:
    digits = len(str(count))
    return [out.with_name(f"{out.stem}-{index:0{digits}}{out.suffix}") for index in range(1, count + 1)]
