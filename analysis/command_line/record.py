"""`python -m analysis record`: denoise prompts and record their attention mass."""

import argparse
import json
from pathlib import Path
from typing import Any

from analysis import outputs
from analysis.command_line.branching import BRANCH, BRANCH_FLAGS, branch_spec, refuse_branch_flags
from analysis.command_line.flags import a_path, folder_beside
from analysis.command_line.prompts import read_prompts, sampling_of
from analysis.command_line.running import runner
from analysis.command_line.verb_flags import MODEL, Fields, OneOfFlags, as_json, flag, out, overwrite
from analysis.errors import UserError
from analysis.findings import finding_of
from analysis.recording.parallel import ONE_TEXT, parallel_effect, parallel_pair
from analysis.recording.trajectory_file import open_trajectory, refusal
from analysis.specs import RecordSpec, SinkParams
from analysis.specs.writing import THRESHOLD
from analysis.words import counted

RECORD = Fields(RecordSpec)
FLAGS = (
    OneOfFlags(
        (
            flag("--prompt", of=(RecordSpec, "prompt"), metavar="TEXT"),
            flag(
                "--prompts",
                type=a_path,
                metavar="FILE",
                help="a text file with one prompt per line; OUT gets a number for each",
            ),
            BRANCH,
        )
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
    """Records every prompt, or a branch, into a file of its own."""
    specs = [branch_spec(RECORD, options)] if options.branch is not None else _specs(options)
    outs = [options.out] if options.prompts is None else _numbered(options.out, len(specs))
    if options.compare_parallel:
        if len(specs) > 1 or options.branch is not None:
            raise UserError("--compare-parallel records one prompt in two ways. Give one --prompt.")
        specs = list(parallel_pair(specs[0]))
        outs = [options.out.with_stem(f"{options.out.stem}-{way}") for way in ("parallel", "one-by-one")]
    for path in outs:
        outputs.check(path, options.overwrite, refusal)
    summaries: list[dict[str, Any]] = []
    with folder_beside(options.out, "recording") as folder, runner(folder, options) as jobs:
        for path, outcome in zip(outs, jobs.run_all("record", specs), strict=True):
            assert outcome.file is not None
            outputs.place(outcome.file, path, options.overwrite, refusal)
            summaries.append({"out": str(path), **outcome.summary})
    differing = _differing(outs, specs) if options.compare_parallel else {}
    if options.json:
        told = summaries if len(summaries) > 1 or options.prompts is not None else summaries[0]
        print(json.dumps({"recordings": told, **differing} if differing else told, ensure_ascii=False))
    else:
        for summary in summaries:
            print(f"{summary['out']}: {_writing(summary)}, {summary['bytes'] / 1e6:.1f} MB. {summary['text']}")
        for sentence in differing.get("sentences", ()):
            print(sentence)
    return 0


def _writing(summary: dict[str, Any]) -> str:
    """Tell how many tokens were written in how many forwards."""
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
    prompts = [options.prompt] if options.prompts is None else read_prompts(options.prompts)
    model = MODEL.build(options)
    sampling = sampling_of(model, options)
    return [RECORD.build(options, model=model, prompt=prompt, sampling=sampling) for prompt in prompts]


def _numbered(out: Path, count: int) -> list[Path]:
    digits = len(str(count))
    return [out.with_name(f"{out.stem}-{index:0{digits}}{out.suffix}") for index in range(1, count + 1)]
