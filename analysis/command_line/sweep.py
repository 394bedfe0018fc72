"""`python -m analysis sweep`: prune with every combination of some axes, and evaluate every pruned model."""

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import outputs
from analysis.calibration.own_noise import swept_with_own_noise
from analysis.command_line.flags import a_path, add_flags, field_of, folder_beside, given, listed_words
from analysis.csv_files import csv_of_rows
from analysis.errors import UserError
from analysis.evaluation import sweep_scores
from analysis.evaluation.command import SWEEP_FLAGS
from analysis.evaluation.items_file import DOCUMENTS
from analysis.machine import threads
from analysis.pruned.masks_file import MASK_FILE
from analysis.pruned.report_file import REPORT_FILE
from analysis.specs import (
    CalibrationParams,
    DiscountParams,
    EvaluateSpec,
    ModelSpec,
    PruneSpec,
    Spec,
    StepParams,
    SweepSpec,
    point_name,
)
from cache.store import Store

if TYPE_CHECKING:
    from analysis.engine import Engine, JobRecord
    from analysis.engine.foresight import Foresight
    from analysis.engine.sweeps import Point

FORMAT = "sinkscope-sweep-1"
SUMMARY_FILE = "sweep.json"
SUMMARY_BYTES = 256 * 2**20  # more than a summary can take
_AXES = ("methods", "sparsities", "patterns", "strengths", "stds", "step_ranges", "seeds")
_LOOK = 0.5  # seconds between looks at how far it is


def add(verb: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    verb.add_argument(
        "--model",
        nargs="+",
        action="extend",
        metavar="SRC",
        help=f"{field_of(ModelSpec, 'source').description} Several are swept alike. Default: bundled.",
    )
    for name in _AXES:
        field = field_of(SweepSpec, name)
        verb.add_argument(
            f"--{SWEEP_FLAGS.get(name, name)}",
            dest=name,
            type=listed_words,
            default=argparse.SUPPRESS,
            metavar="A,B",
            help=f"{field.title}. {field.description} With commas between. Default: "
            f"{','.join(map(str, field.default))}.".replace("%", "%%"),
        )
    verb.add_argument(
        "--tasks",
        type=listed_words,
        default=argparse.SUPPRESS,
        metavar="A,B",
        help=f"{field_of(EvaluateSpec, 'tasks').description} With commas between.",
    )
    verb.add_argument(
        "--calibration",
        dest="data",
        default=argparse.SUPPRESS,
        metavar="TEXT",
        help=field_of(CalibrationParams, "data").description,
    )
    verb.add_argument(
        "--out", type=a_path, metavar="DIR", help="the folder to write tables, masks, reports and items to"
    )
    verb.add_argument("--overwrite", action="store_true", help="replace a folder that exists")
    verb.add_argument(
        "--estimate", action="store_true", help="measure what the sweep will take, print it, and do no more"
    )
    verb.add_argument("--json", action="store_true", help="print the summary as JSON")
    # What an axis names has no flag of its own; `--seed` is the evaluation's.
    seen = {*_AXES, "tasks", "data", "out", "overwrite", "pruning", "evaluation", "calibration", "discount", "steps"}
    seen |= {"other_models", "method", "sparsity", "pattern", "discount_strength", "sink_std", "first_step"}
    seen |= {"last_step", "compare", "names", "early_draws"}
    for spec in (SweepSpec, EvaluateSpec, PruneSpec, CalibrationParams, DiscountParams, StepParams, ModelSpec):
        add_flags(verb, spec, "", seen)


def spec_of(options: argparse.Namespace) -> SweepSpec:
    """What the flags ask. Raises pydantic's ValidationError for what does not go together."""
    how = given(ModelSpec, options)
    models = tuple(ModelSpec(source=source, **how) for source in options.model or [ModelSpec().source])
    text = {name: value for name, value in given(CalibrationParams, options).items() if name != "seed"}
    pruning = PruneSpec(
        calibration=CalibrationParams(**text),
        discount=DiscountParams(**given(DiscountParams, options)),
        steps=StepParams(**given(StepParams, options)),
        **{
            name: value
            for name, value in given(PruneSpec, options).items()
            if name not in ("out", "overwrite", "steps")
        },
    )
    axes = {name: getattr(options, name) for name in (*_AXES, "keep", "footprints") if name in options}
    return SweepSpec(
        model=models[0],
        other_models=models[1:],
        pruning=pruning,
        evaluation=EvaluateSpec(**given(EvaluateSpec, options)),
        **axes,
    )


def run(options: argparse.Namespace) -> int:
    """Sweeps, on all devices, and writes what was found; the same command goes on where it was cut off."""
    if options.out is None and not options.estimate:
        raise UserError("Name the folder to write to with --out, or ask what it will take with --estimate.")
    if options.out is not None:
        outputs.check(options.out, options.overwrite, refusal)
    spec = spec_of(options)
    if "noise" not in options:
        spec = swept_with_own_noise(spec)
    from analysis.engine import Engine
    from analysis.engine.foresight import lines

    threads.prepare()
    store = Store()
    engine = Engine(store, alone=True)
    try:
        foresight = foreseen(engine, spec)
        for line in lines(foresight):
            say(line)
        if options.estimate:
            return 0
        record = followed(engine, "sweep", spec)
        return _finished(engine, record, options)
    finally:
        engine.close()
        store.close()


def foreseen(engine: "Engine", spec: SweepSpec) -> "Foresight":
    """What it will take; what is not known is measured first, on one step of each phase."""
    foresight = engine.foresee(spec)
    estimate_ids = [engine.submit("estimate", question).id for question in foresight.estimates]
    for number, job_id in enumerate(estimate_ids):
        say(f"estimating {number + 1}/{len(estimate_ids)}")
        engine.wait(job_id, timeout=86400)
    return engine.foresee(spec) if estimate_ids else foresight


def followed(engine: "Engine", kind: str, spec: Spec) -> "JobRecord":
    """Runs a job that asks for other jobs to its end. Interrupted, it stops them and may be asked again."""
    record = engine.submit(kind, spec)
    told: tuple[int, str] = (-1, "")
    try:
        while not record.ended:
            now = engine.progress(record.id)
            if (now.done, now.phase) != told and now.total:
                told = (now.done, now.phase)
                say(f"{now.phase} {now.done}/{now.total}")
            time.sleep(_LOOK)
            record = engine.job(record.id) or record
    except KeyboardInterrupt:
        engine.cancel(record.id)
        raise
    return record


def _finished(engine: "Engine", record: "JobRecord", options: argparse.Namespace) -> int:
    """Writes and prints what there is, also where some points failed."""
    from analysis.engine.sweep_points import point_row, scored

    points = engine.sweep_points(record)
    scores = scored(points, engine.result_file, sweep_scores.read_scores)
    settings = sweep_scores.settings(scores, [point.pruning for point in points])
    compared = sweep_scores.comparisons(settings)
    summary = {
        "format": FORMAT,
        "state": record.state,
        "reason": record.reason,
        "points": [point_row(point) for point in points],
        "settings": [sweep_scores.setting_row(setting) for setting in settings],
        "differences": [sweep_scores.comparison_row(comparison) for comparison in compared],
        "verdicts": sweep_scores.verdicts(compared),
        "parameters": record.spec,
        "environment": _environment(points),
    }
    with folder_beside(options.out, "sweep") as folder:
        whole = folder / "sweep"
        whole.mkdir()
        (whole / SUMMARY_FILE).write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for name in ("points", "settings", "differences"):
            (whole / f"{name}.csv").write_text(csv_of_rows(summary[name]), encoding="utf-8", newline="")
        for point in points:
            _take_along(point, engine, whole)
        note = outputs.place(whole, options.out, options.overwrite, refusal)
    if options.json:
        print(json.dumps({"out": str(options.out), **summary}, ensure_ascii=False))
    else:
        _print(settings, summary["verdicts"], options.out, note)
    if record.state != "done":
        raise UserError(f"{record.reason or f'The sweep was {record.state}.'} The same command tries them again.")
    return 0


def _environment(points: Sequence["Point"]) -> Any:
    """Versions and hardware of the first scored point; each point's own stand in its files."""
    for point in points:
        end = point.evaluated.summary.get("end") if point.evaluated is not None else None
        if isinstance(end, dict):
            return end.get("environment")
    return None


def _take_along(point: "Point", engine: "Engine", folder: Path) -> None:
    """Copies a point's masks, report and answers. Checkpoints stay where the store keeps them."""
    slug = re.sub(r"[^a-z0-9.]+", "-", f"{Path(point.pruning.model.source).name} {point_name(point.pruning)}".lower())
    pruned = engine.result(point.pruned) if point.pruned is not None else None
    if pruned is not None and pruned.folder is not None:
        for name in (MASK_FILE, REPORT_FILE):
            if (pruned.folder / name).is_file():
                shutil.copyfile(pruned.folder / name, folder / f"{slug}.{name}")
    answers = engine.result_file(point.evaluated) if point.evaluated is not None else None
    if answers is not None:
        shutil.copyfile(answers, folder / f"{slug}.{DOCUMENTS}")


def refusal(path: Path) -> str:
    """Why a sweep may not replace what is at `path`, as the end of a sentence; nothing where it may."""

    def wrote(path: Path) -> bool:
        summary = path / SUMMARY_FILE
        try:
            written = (
                json.loads(summary.read_text(encoding="utf-8")) if summary.stat().st_size < SUMMARY_BYTES else None
            )
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(written, dict) and written.get("format") == FORMAT

    suffixes = {".json", ".csv", ".jsonl", ".safetensors"}
    return outputs.folder_refusal(wrote=wrote, names=lambda name: Path(name).suffix in suffixes)(path)


def _print(settings: Sequence[sweep_scores.Setting], verdicts: Sequence[str], out: Path, note: str) -> None:
    for model in dict.fromkeys(setting.pruning.model.source for setting in settings):
        of_model = [setting for setting in settings if setting.pruning.model.source == model]
        chance = of_model[0].chance
        told = "" if chance is None else f", chance {chance:.1%}"
        print(f"{model}: dense {of_model[0].dense.value:.1%}{told}")
        for setting in of_model:
            low, high = setting.by_seed.min(), setting.by_seed.max()
            seeds = f"{len(setting.seeds)} seed{'s' if len(setting.seeds) > 1 else ''}"
            spread = f", {low:.1%} to {high:.1%} over {seeds}" if len(setting.seeds) > 1 else f", {seeds}"
            print(f"  {setting.name:<36} {setting.accuracy:.1%}{spread}")
    for verdict in verdicts:
        print(verdict)
    if note:
        print(note)
    print(
        f"{out}: {SUMMARY_FILE}, points.csv, settings.csv, differences.csv, and masks, report and answers of each point"
    )


def say(text: str) -> None:
    """A line on how far it is."""
    print(text, file=sys.stderr, flush=True)
