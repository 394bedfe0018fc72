"""`python -m analysis record`: denoise prompts and record their attention mass."""

import argparse
import json
from pathlib import Path
from typing import Any

from analysis import outputs
from analysis.command_line.branching import add_branch_flags, branch_spec, refuse_branch_flags
from analysis.command_line.flags import a_path, add_flags, field_of, folder_beside, given
from analysis.command_line.prompts import read_prompts, sampling_of
from analysis.command_line.running import runner
from analysis.recording.trajectory_file import refusal
from analysis.specs import SAMPLINGS, ModelSpec, RecordSpec


def add(record: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    record.add_argument("--model", metavar="SRC", help=f"{field_of(ModelSpec, 'source').description} Default: bundled.")
    text = record.add_mutually_exclusive_group(required=True)
    text.add_argument("--prompt", metavar="TEXT", help=field_of(RecordSpec, "prompt").description)
    text.add_argument(
        "--prompts", type=a_path, metavar="FILE", help="a text file with one prompt a line; OUT gets a number for each"
    )
    add_branch_flags(record, text)
    record.add_argument("--out", type=a_path, required=True, metavar="FILE", help="the .safetensors file to write")
    record.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    record.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_flags(record, ModelSpec, "")
    add_flags(record, RecordSpec, "")
    seen: set[str] = set()
    for name, kind in SAMPLINGS.items():
        add_flags(record, kind, f" [{name}]", seen)


def run(options: argparse.Namespace) -> int:
    """Records every prompt, or a branch, into a file of its own."""
    specs = [branch_spec(options)] if options.branch is not None else _specs(options)
    outs = [options.out] if options.prompts is None else _numbered(options.out, len(specs))
    for out in outs:
        outputs.check(out, options.overwrite, refusal)
    summaries: list[dict[str, Any]] = []
    with folder_beside(options.out, "recording") as folder, runner(folder, options) as jobs:
        for out, outcome in zip(outs, jobs.run_all("record", specs), strict=True):
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


def _specs(options: argparse.Namespace) -> list[RecordSpec]:
    refuse_branch_flags(options)
    prompts = [options.prompt] if options.prompts is None else read_prompts(options.prompts)
    source = "bundled" if options.model is None else options.model
    model = ModelSpec(source=source, **given(ModelSpec, options))
    sampling = sampling_of(source, options)
    others = given(RecordSpec, options)
    return [RecordSpec(model=model, prompt=prompt, sampling=sampling, **others) for prompt in prompts]


def _numbered(out: Path, count: int) -> list[Path]:
    digits = len(str(count))
    return [out.with_name(f"{out.stem}-{index:0{digits}}{out.suffix}") for index in range(1, count + 1)]
