"""Uploads to the Hugging Face hub: the files of a folder, their card, and the upload itself.

Pruned checkpoints become model repositories; recordings, studies and exported tables become dataset repositories.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analysis import outputs
from analysis.engine.engine import Engine
from analysis.engine.runs import Run, known_runs
from analysis.errors import UserError, shorten
from analysis.evaluation.comparing import DENSE
from analysis.pruned.report_file import CARD_FILE, load_report, read_report
from analysis.pruning.card import MeasuredTask, model_card
from analysis.recording.trajectory_file import open_trajectory

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_DATA_SUFFIXES = (".csv", ".html", ".json", ".jsonl", ".parquet", ".png", ".safetensors", ".svg", ".txt")


@dataclass(frozen=True)
class Upload:
    """A planned upload. files: by their names in the repository. card: text of README.md, in place of a file."""

    repository: str
    kind: Literal["model", "dataset"]
    files: Mapping[str, Path]
    card: str

    @property
    def bytes(self) -> int:
        """Size of all files and the card."""
        return sum(path.stat().st_size for path in self.files.values()) + len(self.card.encode())


def planned_upload(source: Path, repository: str, engine: Engine | None = None) -> Upload:
    """Return the upload planned for a pruned folder, a recording, or a folder of results.

    engine: finds the accuracies measured for a pruned folder; None leaves them out. Raises UserError for files that
    SinkScope did not write, and for an invalid repository name.
    """
    if not REPOSITORY.fullmatch(repository):
        raise UserError(
            f"'{shorten(repository)}' is not a repository name on the hub. Give an owner and a name, "
            "such as me/my-model."
        )
    if source.is_file():
        info = open_trajectory(source).info
        model = info.model.source
        model = Path(model).name if Path(model).is_absolute() else model
        told = f"One recording of {model}: attention mass by step, layer and head while it writes."
        return Upload(repository, "dataset", {source.name: source}, _dataset_card(source.stem, told))
    if not source.is_dir():
        raise UserError(
            f"There is no '{shorten(str(source))}'. Give a pruned folder, a recording or a folder of results."
        )
    there = {path.name: path for path in sorted(source.iterdir()) if path.is_file() and not path.is_symlink()}
    if read_report(source).settings:
        there.pop(CARD_FILE, None)
        return Upload(repository, "model", there, _model_card(source, engine))
    files = {name: path for name, path in there.items() if path.suffix in _DATA_SUFFIXES}
    if not files or not _is_ours(files):
        raise UserError(
            f"'{shorten(str(source))}' was not written by SinkScope, so it is not uploaded. Give a pruned folder, a "
            "recording, or the folder of a study, a sweep, a set or an export."
        )
    return Upload(repository, "dataset", files, _dataset_card(source.name, "Results from SinkScope."))


def upload(plan: Upload, private: bool = True) -> str:
    """Create the repository if need be, upload in one commit, and return the address. The token is the environment's
    (HF_TOKEN, or a log-in with `hf auth login`). Raises UserError if the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    operations = [CommitOperationAdd(name, path) for name, path in plan.files.items()]
    operations.append(CommitOperationAdd(CARD_FILE, plan.card.encode()))
    try:
        address = api.create_repo(plan.repository, repo_type=plan.kind, private=private, exist_ok=True)
        api.create_commit(plan.repository, operations, commit_message="Upload from SinkScope", repo_type=plan.kind)
    except LocalTokenNotFoundError as error:
        raise UserError(_NO_TOKEN) from error
    except HfHubHTTPError as error:
        raise UserError(_refused(plan, error.response.status_code)) from error
    except OSError as error:
        raise UserError("The Hugging Face hub cannot be reached, and nothing was uploaded. Try again later.") from error
    return str(address)


_NO_TOKEN = "No token for the Hugging Face hub was found. Set HF_TOKEN, or log in with `hf auth login`."


def _refused(plan: Upload, status: int) -> str:
    if status == 401:
        return _NO_TOKEN if not os.environ.get("HF_TOKEN") else "The hub does not accept the token in HF_TOKEN."
    if status == 403:
        return f"The token may not write to {plan.repository}. Give it write access, or choose another owner."
    return f"The hub refused the upload (status {status}), and nothing was committed. Try again later."


def _model_card(folder: Path, engine: Engine | None) -> str:
    from analysis.pruning.card import licence_in

    report = load_report(folder)
    assert report is not None  # it has settings
    try:
        return model_card(report, licence_in(folder), () if engine is None else measured_tasks(engine, folder))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"The report in '{shorten(str(folder))}' is incomplete. Prune again before you upload."
        ) from error


def measured_tasks(engine: Engine, folder: Path) -> list[MeasuredTask]:
    """Return the accuracies of a pruned folder in its newest evaluation, beside those of the dense model there."""
    place = folder.resolve()
    run = next((run for run in known_runs(engine) if run.folder is not None and run.folder.resolve() == place), None)
    return [] if run is None or not run.evaluations else _tasks(run)


def _tasks(run: Run) -> list[MeasuredTask]:
    scored = run.evaluations[0]
    summary, number = scored.record.summary, scored.number
    name, found = summary["models"][number], []
    for task in summary["tasks"]:
        row = task["models"][number] if "models" in task else {"n": 0}
        if not row["n"] or row["low"] is None:
            continue
        change = next(
            (row for row in task["differences"] if row["model"] == name and DENSE in row["as"] and row["n"]), None
        )
        found.append(
            MeasuredTask(
                task["title"],
                row["value"],
                row["low"],
                row["high"],
                row["n"],
                row["clusters"],
                task["chance"],
                None if change is None else task["models"][0]["value"],
                None if change is None else (change["value"], change["low"], change["high"]),
            )
        )
    return found


def _is_ours(files: Mapping[str, Path]) -> bool:
    """Return True if a folder holds a sweep, a study, a set or an export, by its identifying file."""
    if "dictionary.csv" in files:
        return True
    named = [outputs.json_object(files[name]) for name in ("sweep.json", "study.json") if name in files]
    return any(str(content.get("format", "")).startswith("sinkscope-") or "shown" in content for content in named)


def _dataset_card(title: str, told: str) -> str:
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(tags=["sinkscope", "attention-sinks"], pretty_name=title)
    return f"---\n{data.to_yaml()}\n---\n\n# {title}\n\n{told} Open it with SinkScope.\n"
