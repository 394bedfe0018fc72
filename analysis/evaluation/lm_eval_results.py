"""Finding what lm-eval wrote: folders with its results files and, beside them, the samples of `--log_samples`.

From 0.4.3 on they are called `results_TIME.json` (or `NAME_TIME.json`, for an `--output_path` that names a file) and
`samples_TASK_TIME.jsonl`; before, `results.json` and `ARGUMENTS_TASK.jsonl`. A model is what the results files of one
folder call by one name and one set of arguments. Where a task was run more than once, the newest counts. Imports no
lm-eval.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.errors import UserError, shorten
from analysis.evaluation.presets import PRESETS

Json = Mapping[str, Any]
WITHOUT_SAMPLES = "Run lm-eval again with --log_samples, which writes every answer."
_DEPTH = 3  # folders below the one named that are looked into
_DATED = re.compile(r".*_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)")  # results files, without their suffix
_UNDATED = "results"


@dataclass
class TaskSamples:
    """A task of a model: its benchmark's name, lm-eval's config of it, and the file with its samples.

    better: by the name of a metric, whether more of it is better.
    """

    name: str
    benchmark: str
    config: Json
    shots: Any
    version: Any
    better: Json
    samples: Path


@dataclass
class ImportedModel:
    """A model with results. said: what its newest results file says of the model and of how it was run. problems:
    sentences on what is left out."""

    folder: Path
    said: Json
    tasks: dict[str, TaskSamples] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Model name as lm-eval gives it, without the path before it."""
        source = self.source
        return Path(source).name or source or self.folder.name

    @property
    def source(self) -> str:
        """Source the model was loaded from, if the file says it."""
        arguments = mapping(self.said.get("config")).get("model_args")
        given = _arguments(arguments).get("pretrained") or _arguments(arguments).get("model")
        return str(given or self.said.get("model_name") or "")


def models_in(folder: Path) -> list[ImportedModel]:
    """The models whose results lie in a folder or below it, in order of their folders' names."""
    with contextlib.suppress(RuntimeError):  # the home of a user who does not exist
        folder = folder.expanduser()
    if not folder.is_dir():
        raise UserError(
            f"There is no folder '{shorten(str(folder))}'. Give the folder that lm-eval wrote its results to."
        )
    groups: dict[tuple[Path, str], list[tuple[Path, Json]]] = {}
    for file in sorted(_results_files(folder), key=lambda file: (file.parent, _date(file))):
        said = _results(file)
        arguments = mapping(said.get("config")).get("model_args")
        told = json.dumps([said.get("model_name"), arguments], sort_keys=True, default=str)
        groups.setdefault((file.parent, told), []).append((file, said))
    if not groups:
        raise UserError(
            f"'{shorten(str(folder))}' holds no results of lm-eval: no file results_*.json was found in it. Give the "
            "--output_path of a run."
        )
    return [_model(place, files) for (place, _), files in groups.items()]


def _results_files(folder: Path) -> Iterator[Path]:
    for depth in range(_DEPTH):
        for file in folder.glob("*/" * depth + "*.json"):
            if file.stem == _UNDATED or _DATED.fullmatch(file.stem):
                yield file


def _date(file: Path) -> str:
    """The time with which a results file's name ends; '' for one of before lm-eval 0.4.3."""
    dated = _DATED.fullmatch(file.stem)
    return dated[1] if dated else ""


def _samples_file(file: Path, results: Json, task: str) -> Path:
    """Find the samples of a task beside its results file."""
    date = _date(file)
    arguments = re.sub("/|=", "__", str(mapping(results.get("config")).get("model_args") or ""))
    name = f"samples_{task}_{date}.jsonl" if date else f"{arguments}_{task}.jsonl"
    # By its last part: a task's name is text from outside, and a path in it would lead elsewhere.
    return file.parent / Path(name).name


def _model(folder: Path, files: Sequence[tuple[Path, Json]]) -> ImportedModel:
    """A model by its results files, oldest first, with the newest samples of each of its tasks."""
    model = ImportedModel(folder, files[-1][1])
    missing: list[str] = []
    for file, results in files:
        for task, config in results["configs"].items():
            samples = _samples_file(file, results, task)
            if not samples.is_file():
                missing.append(task)
                continue
            model.tasks[task] = TaskSamples(
                name=task,
                benchmark=_benchmark_of(task, mapping(config), mapping(results.get("group_subtasks"))),
                config=mapping(config),
                shots=mapping(results.get("n-shot")).get(task),
                version=mapping(results.get("versions")).get(task),
                better=mapping(mapping(results.get("higher_is_better")).get(task)),
                samples=samples,
            )
    if not model.tasks:
        which = f" of {', '.join(missing[:3])}" if missing else ""
        raise UserError(f"'{shorten(str(folder))}' holds no samples{which} beside its results. {WITHOUT_SAMPLES}")
    absent = [task for task in dict.fromkeys(missing) if task not in model.tasks]
    model.problems += [f"{task} is left out: its file of samples is not beside its results." for task in absent]
    return model


def _results(file: Path) -> Json:
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{file.name}' cannot be read as JSON. Give a folder that lm-eval wrote.") from error
    if not isinstance(results, dict) or not isinstance(results.get("configs"), dict):
        raise UserError(f"'{file.name}' is no results file of lm-eval: it has no 'configs' of tasks.")
    return results


def _benchmark_of(task: str, config: Json, groups: Json) -> str:
    """The benchmark that a task belongs to: a group that is one here, as MMLU, else the task itself.

    Before lm-eval 0.4.3 a task names its own group, such as mmlu_stem, and nothing says what holds that.
    """
    known = {row.task: name for name, row in PRESETS.items()}
    stated = config.get("group")
    holding = [task, *([stated] if isinstance(stated, str) else stated if isinstance(stated, list) else [])]
    at = 0
    while at < len(holding):
        holding += [
            group
            for group, members in groups.items()
            if isinstance(members, list) and holding[at] in members and group not in holding
        ]
        at += 1
    if not groups:
        holding += [name for name in known if any(str(group).startswith(f"{name}_") for group in holding[1:])]
    return next((known[name] for name in holding if name in known), task)


def mapping(value: Any) -> Json:
    """A value of a results file that should be a mapping; an empty one where it is not."""
    return value if isinstance(value, dict) else {}


def _arguments(arguments: Any) -> Json:
    """The model's arguments, which lm-eval writes as it was given them: a mapping, or `name=value,…`."""
    if isinstance(arguments, str):
        return dict(part.partition("=")[::2] for part in arguments.split(",") if "=" in part)
    return mapping(arguments)
