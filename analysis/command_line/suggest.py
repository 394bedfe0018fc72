"""`python -m analysis suggest`: search the discount that costs the model least."""

import argparse
import json
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import outputs
from analysis.command_line.flags import a_path, add_flags, field_of, folder_beside, given
from analysis.command_line.running import runner
from analysis.evaluation.differences import points
from analysis.readings import reading
from analysis.specs import (
    OBJECTIVES,
    CalibrationParams,
    DiscountParams,
    ModelSpec,
    StatisticsParams,
    SuggestSpec,
    TuneParams,
)

if TYPE_CHECKING:
    from analysis.jobs.summaries import SuggestSummary

_JOURNAL = "--journal"


def add(verb: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    verb.add_argument("--model", default="bundled", metavar="SRC", help=field_of(ModelSpec, "source").description)
    verb.add_argument(
        "--calibration",
        dest="data",
        default=argparse.SUPPRESS,
        metavar="TEXT",
        help=field_of(CalibrationParams, "data").description,
    )
    for name in ("samples", "seq_len", "seed"):
        flag = "calibration-seed" if name == "seed" else name.replace("_", "-")
        help_text = f"{field_of(CalibrationParams, name).description} Default: {getattr(_text(), name)}."
        verb.add_argument(
            f"--{flag}",
            dest=f"calibration_{name}",
            type=int,
            default=argparse.SUPPRESS,
            metavar=name.upper(),
            help=help_text,
        )
    verb.add_argument(
        _JOURNAL,
        type=a_path,
        metavar="FILE",
        help="write the trials as an Optuna journal, which optuna-dashboard opens",
    )
    verb.add_argument("--overwrite", action="store_true", help="replace a journal that exists")
    verb.add_argument("--json", action="store_true", help="print the summary as JSON")
    # What `--objective` was called in earlier versions.
    judge: dict[str, Any] = {
        "dest": "objective",
        "choices": list(OBJECTIVES),
        "default": argparse.SUPPRESS,
        "help": argparse.SUPPRESS,
    }
    verb.add_argument("--judge", **judge)
    seen = {"statistics", "setting", "calibration", "discount", "data", "samples", "seq_len"}
    for spec in (SuggestSpec, TuneParams, DiscountParams, StatisticsParams, CalibrationParams, ModelSpec):
        add_flags(verb, spec, "", seen)


def run(options: argparse.Namespace) -> int:
    """Searches."""
    journal: Path | None = options.journal
    if journal is not None:
        outputs.check(journal, options.overwrite, _refusal, _JOURNAL)
    text = _text().model_dump() | {
        name: value for name, value in given(CalibrationParams, options).items() if name != "seed"
    }
    text |= {
        name: getattr(options, f"calibration_{name}")
        for name in CalibrationParams.model_fields
        if f"calibration_{name}" in options
    }
    spec = SuggestSpec(
        model=ModelSpec(source=options.model, **given(ModelSpec, options)),
        statistics=StatisticsParams(calibration=CalibrationParams(**text), **given(StatisticsParams, options)),
        setting=TuneParams(discount=DiscountParams(**given(DiscountParams, options)), **given(TuneParams, options)),
        **given(SuggestSpec, options),
    )
    with _folder(journal) as folder, runner(Path(folder), options) as jobs:
        outcome = jobs.run("suggest", spec)
        if journal is not None and outcome.file is not None:
            outputs.place(outcome.file, journal, options.overwrite, _refusal, _JOURNAL)
    summary = outcome.summary
    if options.json:
        print(json.dumps(summary, ensure_ascii=False))
        return 0
    _print(summary)
    return 0


def _refusal(path: Path) -> str:
    from analysis.jobs import study_journal

    return study_journal.refusal(path)


def _folder(journal: Path | None) -> AbstractContextManager[Path]:
    place = Path(tempfile.gettempdir())
    return outputs.workplace(place, "sinkscope") if journal is None else folder_beside(journal, "search")


def _text() -> CalibrationParams:
    return StatisticsParams().calibration


def _print(summary: "SuggestSummary") -> None:
    objective = OBJECTIVES[summary["objective"]]
    assert summary["best"] is not None  # of at least two trials
    trials, best = summary["trials"], summary["trials"][summary["best"]]
    seeds = f"seed {summary['seed']}, calibration seed {summary['calibration_seed']}"
    print(f"{len(trials)} trials by {objective.title}, {seeds}")
    for name, row in {"best": best, **{row["name"]: row for row in trials if row["name"]}}.items():
        setting = ", ".join(f"{key} {value}" for key, value in row["discount"].items())
        print(f"  {name:<12} {row['value']:.4%}  trial {row['number']}: {setting}")
    floor = summary.get("floor")
    if floor is not None:
        bits = "" if floor["changed"] is None else f", {floor['changed']:.2%} of the mask bits change"
        print(f"  {'another seed':<12} {floor['value']:.4%}  no discount with calibration seed {floor['seed']}{bits}")
    none = next((row["value"] for row in trials if row["name"] == "no discount"), None)
    finding = reading(
        "trials",
        [row["value"] for row in trials],
        trials[0]["value"],
        none,
        1 if objective.maximise else -1,
        objective.decimals,
        None if floor is None else floor["value"],
    )
    print(finding or "No setting tried is better than the published one and no discount in the digits shown.")
    shares = ", ".join(f"{name} {share:.0%}" for name, share in summary["importance"].items())
    print(f"importance: {shares or 'too few trials that differ'}")
    for row in (summary["comparison"] or {}).get("differences", ()):
        if row["task"] == "average":
            print(
                f"  {row['setting']} − {row['than']} on {row['n']} items that no trial has seen: "
                f"{points(row['value'])} points [{points(row['low'])}, {points(row['high'])}], {row['words']}"
            )
    for note in summary["notes"]:
        print(f"note: {note}")
