"""Runs: a model, how it was pruned, and the results of its evaluations, under one name everywhere.

Built from the engine's finished jobs, including imports of lm-eval results, and from the pruned folders it knows. A
visitor's label of a run (another name, tags, notes, a star) is stored beside the jobs.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from analysis.engine.engine import Engine
from analysis.engine.job_store import NO_LABEL, JobRecord, Label
from analysis.engine.sweeps import whole_key
from analysis.errors import UserError
from analysis.models.checkpoint import CONFIG_FILE
from analysis.pruned.masks_file import MASK_FILE, only_masks
from analysis.pruned.report_file import REPORT_FILE, Report, load_report, reported_bytes, run_name, run_names
from analysis.specs import EVERYTHING, PruneSpec, kept_of
from analysis.words import first_of, model_title

Kind = Literal["dense", "pruned", "imported", "evicted"]
LONGEST_NAME, LONGEST_NOTE = 80, 4000  # characters
_KEPT = re.compile(r".*/(kept/[0-9a-f]{32}/[^/]+)")  # a folder kept by a store, wherever the store is


@dataclass(frozen=True)
class Scored:
    """A run's place in an evaluation or an import: the job, and the number of the model in its results."""

    record: JobRecord
    number: int


@dataclass(frozen=True)
class Run:
    """A model, how it was pruned and where it was evaluated.

    id: of the pruning job, or derived from its folder or source. automatic: its generated name. source: names it in
    jobs. model: source of the dense model, '' if its report does not say. parameters: of the pruning, as
    `PruneSpec.model_dump(mode="json")`; empty for a dense or imported model. record: of the job that pruned or imported
    it. evaluations: newest first. kept: the keys and values kept while it was scored, as in `EvaluateSpec.kept`, if
    only a part; such a run consists of nothing else.
    """

    id: str
    kind: Kind
    automatic: str
    source: str
    model: str
    created: float
    folder: Path | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    report: Report | None = None
    record: JobRecord | None = None
    evaluations: tuple[Scored, ...] = ()
    label: Label = NO_LABEL
    kept: str = ""

    @cached_property
    def pruning(self) -> PruneSpec | None:
        """How it was pruned; None for one that was not, or whose parameters have changed since."""
        with suppress(ValidationError):
            return PruneSpec.model_validate(self.parameters) if self.kind == "pruned" and self.parameters else None
        return None

    @property
    def sparsity(self) -> Mapping[str, Any]:
        """Sparsity stated in its report, as `ReportedSparsity`; empty if there is none."""
        stated = self.report.get("sparsity") if self.report is not None else None
        return stated if isinstance(stated, dict) else {}

    @property
    def bytes(self) -> tuple[int, int] | None:
        """Computed bytes of the dense model's weights and of its own; None if its report does not say."""
        return None if self.report is None else reported_bytes(self.report)

    @property
    def name(self) -> str:
        """Its name: the visitor's, or else the automatic one."""
        return self.label.name or self.automatic

    @property
    def runs(self) -> bool:
        """True if it can be run. A sweep drops the weights of scored models, keeping masks and reports; an imported
        model is elsewhere, and keys are left out only while scoring.
        """
        if self.kind == "evicted":
            return False
        if self.record is not None:
            return self.kind != "imported" and not self.record.summary.get("dropped")
        return self.folder is None or not only_masks(self.folder)

    @property
    def has_masks(self) -> bool:
        """True for a pruned model whose masks can be viewed."""
        return self.folder is not None and (self.folder / CONFIG_FILE).is_file()


class _Listing(NamedTuple):
    """Runs, and what they were listed from: jobs and labels, and folders in a state."""

    jobs: list[JobRecord]
    labels: dict[str, Label]
    folders: list[Path]
    state: list[object]
    runs: list[Run]


_LISTINGS: WeakKeyDictionary[Engine, _Listing] = WeakKeyDictionary()
_KINDS = ("prune", "evaluate", "import")


def known_runs(engine: Engine) -> list[Run]:
    """Return every run, newest first: pruned models, evaluated dense ones, and imports.

    A run keeps the name under which it was first listed, whatever is pruned later. They are listed anew once a job, a
    label or a model's folder is another.
    """
    jobs, labels = [record for kind in _KINDS for record in engine.jobs(kind)], engine.labels()
    listed = _LISTINGS.get(engine)
    if listed is None or listed[:2] != (jobs, labels) or listed.state != _state(engine, jobs, listed.folders):
        folders = _folders(engine, jobs)
        state = _state(engine, jobs, folders)  # before they are read
        listed = _LISTINGS[engine] = _Listing(jobs, labels, folders, state, _list_runs(engine, labels))
    return list(listed.runs)


def _folders(engine: Engine, jobs: Sequence[JobRecord]) -> list[Path]:
    """Return the folders of models that these jobs left or scored."""
    left = [(record, engine.result(record)) for record in jobs if record.kind == "prune"]
    places = {record.summary.get("out") if result is None else result.folder for record, result in left}
    places |= {source for record in jobs if record.kind == "evaluate" for source, _ in _scored_models(record)}
    return [Path(place) for place in places if place and Path(place).is_absolute()]


def _state(engine: Engine, jobs: Sequence[JobRecord], folders: Sequence[Path]) -> list[object]:
    """Return when these folders, those that the engine offers and what tells of them changed, and which imports are
    there.
    """
    offered = sorted(engine.models_folder.iterdir()) if engine.models_folder.is_dir() else []
    imports = [engine.has_result(record) for record in jobs if record.kind == "import"]
    files = ("", CONFIG_FILE, REPORT_FILE)
    return [offered, imports, *(_changed(folder / file) for folder in (*folders, *offered) for file in files)]


def _changed(path: Path) -> int:
    """Return when a file or folder changed; 0 for none."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):  # a NUL
        return 0


def _list_runs(engine: Engine, labels: Mapping[str, Label]) -> list[Run]:
    evaluations = _evaluations(engine)
    pruned = _pruned(engine, evaluations)
    names = {_place(run.source): run.automatic for run in pruned}
    runs = [*pruned, *_unpruned(evaluations, names), *_imported(engine)]
    names = _kept_names(engine, runs, {label.name for label in labels.values()})
    whole = [
        replace(
            run,
            automatic=names[run.id],
            evaluations=run.evaluations or tuple(evaluations.get((_scored_place(engine, run), run.kept), ())),
            label=labels.get(run.id, NO_LABEL),
        )
        for run in runs
    ]
    return sorted(whole, key=lambda run: run.created, reverse=True)


def _kept_names(engine: Engine, runs: Sequence[Run], given: set[str]) -> dict[str, str]:
    """Return the automatic names by id: as kept, else as made now and kept from here on. given: names by visitors."""
    kept = engine.store.names()
    taken = given | {str(row.get("name")) for row in kept.values()}
    names: dict[str, str] = {}
    for run in sorted(runs, key=lambda run: run.created):
        row = kept.get(run.id, {})
        made_of = run_name(run.parameters) if run.parameters else run.automatic
        # A folder that no job made can hold another pruning by now.
        if isinstance(row.get("name"), str) and (run.record is not None or row.get("made_of") == made_of):
            names[run.id] = row["name"]
            continue
        name = run.automatic if run.automatic not in taken else f"{run.automatic} · {run.id[:4]}"
        names[run.id] = name if name not in taken else f"{run.automatic} · {run.id}"
        taken.add(names[run.id])
        engine.store.save_name(run.id, {"name": names[run.id], "made_of": made_of})
    return names


def _pruned(engine: Engine, evaluations: Mapping[tuple[str, str], Sequence[Scored]]) -> list[Run]:
    """Return the pruned models of finished jobs, those in folders that the engine offers by name, and those scored in
    other folders, newest first.
    """
    pruned_models: dict[str, dict[str, Any]] = {}
    for record in engine.jobs("prune"):
        result = engine.result(record)
        if result is not None and result.folder is not None:
            fields = {"id": record.id, "record": record, "folder": result.folder, "parameters": record.spec}
            fields |= {"report": record.summary.get("report"), "created": record.created}
            pruned_models.setdefault(_place(result.folder), fields)
    for folder in [*engine.pruned_models().values(), *_scored_folders(evaluations)]:
        if _place(folder) not in pruned_models:
            report = load_report(folder)
            fields = {"id": _made_id(_place(folder)), "folder": folder, "report": report}
            stated = report.get("parameters") if report is not None else None
            fields |= {"parameters": stated if isinstance(stated, dict) else {}, "created": folder.stat().st_mtime}
            pruned_models[_place(folder)] = fields
    names = run_names(
        [pruned["parameters"] for pruned in pruned_models.values()], [pruned["id"] for pruned in pruned_models.values()]
    )
    return [
        Run(
            kind="pruned",
            automatic=name if fields["parameters"] else fields["folder"].name,
            source=str(fields["folder"]),
            model=((fields["report"] or {}).get("model") or {}).get("source", ""),
            **fields,
        )
        for fields, name in zip(pruned_models.values(), names, strict=True)
    ]


def _scored_folders(evaluations: Mapping[tuple[str, str], Sequence[Scored]]) -> list[Path]:
    """Return the folders of pruned models that were scored, by their reports or masks."""
    sources = {_scored_models(scored[0].record)[scored[0].number][0] for scored in evaluations.values()}
    folders = [Path(source) for source in sorted(sources) if Path(source).is_absolute()]
    return [folder for folder in folders if load_report(folder) is not None or (folder / MASK_FILE).is_file()]


def _unpruned(evaluations: Mapping[tuple[str, str], Sequence[Scored]], pruned: Mapping[str, str]) -> list[Run]:
    """Return the unpruned models that were evaluated, by their source in the job, and all that were scored with a part
    of their keys. pruned: names of pruned models by place.
    """
    runs = []
    for (place, kept), scored in evaluations.items():
        source = _scored_models(scored[0].record)[scored[0].number][0]
        if (place in pruned and not kept) or (Path(source).is_absolute() and not Path(source).is_dir()):
            continue
        name = pruned.get(place) or (Path(source).name if Path(source).is_absolute() else source)
        created = min(evaluation.record.created for evaluation in scored)
        if kept:
            told = f"{model_title(name)} {kept_of(kept).in_words}"
            run = Run(_made_id(f"{place} {kept}"), "evicted", told, source, source, created, kept=kept)
        else:
            run = Run(_made_id(place), "dense", f"{model_title(name)} (dense)", source, source, created)
        runs.append(run)
    return runs


def _imported(engine: Engine) -> list[Run]:
    """Return the models of finished imports whose answers are stored, newest first, without duplicates."""
    numbered: dict[str, tuple[JobRecord, int]] = {}
    for record in engine.jobs("import"):
        if engine.has_result(record):
            for number in range(len(record.summary["models"])):
                numbered.setdefault(_made_id(f"import {record.key} {number}"), (record, number))
    return [
        Run(
            run_id,
            "imported",
            automatic=f"{record.summary['models'][number].replace(',', ' ')} imported",
            source=record.summary["sources"][number],
            model=record.summary["sources"][number],
            created=record.created,
            record=record,
            evaluations=(Scored(record, number),),
        )
        for run_id, (record, number) in numbered.items()
    ]


def _evaluations(engine: Engine) -> dict[tuple[str, str], list[Scored]]:
    """Return finished evaluations by model place and kept part of its keys, newest first."""
    evaluations: dict[tuple[str, str], list[Scored]] = {}
    for record in engine.jobs("evaluate"):
        if record.state == "done" and record.summary.get("models"):
            for number, (source, kept) in enumerate(_scored_models(record)):
                evaluations.setdefault((_place(source), kept), []).append(Scored(record, number))
    return evaluations


def _scored_models(record: JobRecord) -> list[tuple[str, str]]:
    """Return the source of each model of an evaluation, and the kept part of its keys; "" for all."""
    sources = [
        str(model.get("source", "")) for model in (record.spec.get("model", {}), *record.spec.get("compare", ()))
    ]
    kept = map(str, record.spec.get("kept") or [EVERYTHING] * len(sources))
    return [
        (source, "" if text == EVERYTHING or kept_of(text).all_stays else text)
        for source, text in zip(sources, kept, strict=True)
    ]


def _scored_place(engine: Engine, run: Run) -> str:
    """Return a run's place at the time it was scored: a sweep drops weights and keeps the rest under another name."""
    if run.record is None or not run.record.key or run.folder is None or run.runs:
        return _place(run.source)
    return _place(engine.store.kept / whole_key(run.record.key) / run.folder.name)


def _place(source: str | Path) -> str:
    """Return a canonical name for a folder; any other source stays as it is.

    Kept folders are named by their key, so that a store that was moved still recognizes what was scored.
    """
    path = Path(source)
    if not path.is_absolute():
        return str(source)
    resolved = path.resolve()
    kept = _KEPT.fullmatch(resolved.as_posix())
    return str(resolved) if kept is None else kept[1]


def _made_id(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:12]


# --- measurements of a run ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """Accuracy of a run in an evaluation, averaged over tasks, with its 95 % interval over items.

    tasks: the first by their titles. task_count: of all. dense: of its dense model on the same items, if scored there.
    chance: of choosing at random; None if some answers
    are free text.
    """

    value: float
    low: float
    high: float
    items: int
    tasks: str
    dense: float | None = None
    chance: float | None = None
    task_count: int = 1


def score(run: Run) -> Score | None:
    """Return the accuracy in the newest evaluation that has one."""
    return next((value for scored in run.evaluations if (value := score_in(scored, run.model)) is not None), None)


def score_in(scored: Scored, model: str) -> Score | None:
    """Return the accuracy in an evaluation's summary, or None. model: source of the dense model."""
    record, summary = scored.record, scored.record.summary
    tasks = [task for task in summary["tasks"] if "models" in task]
    if not tasks:
        return None
    rows = summary["average"] if len(tasks) > 1 else tasks[0]["models"]
    row = rows[scored.number]
    if not row["n"] or row["low"] is None:
        return None
    titles = first_of([str(task["title"]) for task in tasks])
    beside_dense = record.kind == "evaluate" and _scored_models(record)[0] == (model, "")
    levels = [level for task in tasks if (level := task.get("chance")) is not None]
    return Score(
        row["value"],
        row["low"],
        row["high"],
        row["n"],
        titles,
        dense=rows[0]["value"] if beside_dense else None,
        chance=sum(levels) / len(levels) if len(levels) == len(tasks) else None,
        task_count=len(tasks),
    )


def latency(engine: Engine, run: Run) -> Mapping[str, Any] | None:
    """The newest measurement of a pruned run's speed, as `pruning.footprint.Speed` says it; None without one."""
    for job in engine.jobs("footprint") if run.folder is not None else ():
        if job.state == "done" and job.spec.get("pruned") == str(run.folder):
            speed: Mapping[str, Any] | None = job.summary["footprint"]["speed"]
            if speed is not None:
                return speed
    return None


def size(run: Run) -> int:
    """Bytes of a run's folder; 0 without one."""
    return 0 if run.folder is None else sum(file.stat().st_size for file in run.folder.rglob("*") if file.is_file())


def remove_run(engine: Engine, run: Run) -> None:
    """Remove a run made by a job of this store: its folder or answers, if the store keeps them, and its label. Raises
    UserError for a visitor who may not.
    """
    engine.authorizer.demand("remove", run.record)
    if run.record is not None:
        remove(engine, [run.record])
        engine.store.delete_label(run.id)


# --- results of jobs and the room they take -----------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    """Result of one or several jobs with the same question. record: the newest of them. bytes: freed by removing it; a
    folder outside the store stays and counts 0.
    """

    record: JobRecord
    bytes: int


def stored_results(engine: Engine) -> list[Stored]:
    """Everything that finished jobs left, the largest first."""
    results: dict[str, Stored] = {}
    for record in engine.jobs():
        if record.key and record.key not in results and engine.has_result(record):
            results[record.key] = Stored(record, engine.store.result_bytes(record.key))
    return sorted(results.values(), key=lambda result: -result.bytes)


def remove(engine: Engine, records: Sequence[JobRecord]) -> None:
    """Remove the results and labels of these jobs, and all jobs with the same question. Raises UserError for a visitor
    who may not.
    """
    for record in records:
        engine.authorizer.demand("remove", record)
    for record in records:
        for job in engine.jobs(record.kind):
            if job.ended and (job.id == record.id or (record.key and job.key == record.key)):
                engine.store.delete_label(job.id)
                engine.forget(job.id)


# --- labels --------------------------------------------------------------------------------------------------


def save_label(engine: Engine, run: Run, label: Label) -> None:
    """Save a visitor's label for a run. A name equal to the automatic one is not stored.

    Raises UserError for a name that another run has, is too long or holds a comma; for a long note; and for a visitor
    who may not.
    """
    engine.authorizer.demand("label")
    name = " ".join(label.name.split())
    name = "" if name == run.automatic else name
    if len(name) > LONGEST_NAME or len(label.note) > LONGEST_NOTE:
        raise UserError(f"A name takes up to {LONGEST_NAME} characters, and notes up to {LONGEST_NOTE:,}. Shorten it.")
    if "," in name:
        raise UserError("A name cannot hold a comma, since lists of names are written with commas. Leave it out.")
    if name and any(name == other.name for other in known_runs(engine) if other.id != run.id):
        raise UserError(f"Another run is called '{name}'. Choose a name of its own.")
    tags = tuple(dict.fromkeys(tag.strip() for tag in label.tags if tag.strip()))
    engine.store.save_label(run.id, label.model_copy(update={"name": name, "tags": tags}).model_dump(mode="json"))


def save_recording_label(engine: Engine, record: JobRecord, label: Label, automatic: str) -> None:
    """Save a visitor's label for a recording. automatic: its generated name. Raises UserError as `save_label` does."""
    source = str(record.spec["model"]["source"])
    save_label(engine, Run(record.id, "dense", automatic, source, source, record.created, record=record), label)
