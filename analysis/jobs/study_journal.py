"""A finished or stopped search as an Optuna journal, which optuna-dashboard and Optuna's own functions open.

Optuna is imported only for writing: the check whether a file may be replaced does without.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from analysis import outputs
from analysis.jobs.summaries import SuggestSummary
from analysis.specs import OBJECTIVES, DiscountParams

_WROTE = "SinkScope: discount by "
_CREATE_STUDY = 0  # the operation on a journal's first line (optuna.storages.journal.JournalOperation)
_LINE_BYTES = 2**16  # more than the first line of such a file can take


def write(path: Path, summary: SuggestSummary, base: DiscountParams, parameters: Mapping[str, Any]) -> None:
    """Write a search's trials to a new file: values as they are, the searched parameters with their fields' ranges.

    User attributes of a trial hold its other measurements and its whole setting, those of the study the search's
    `parameters` (JSON), seeds, fingerprint and notes. `varies_only_searched` is false for a reference that differs from
    `base` in what is not searched. Start times are not recorded: trials follow each other up to the moment of writing,
    each with its own duration.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from analysis.tuning.search_space import space

    ranges = space(summary["searched"])
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=f"{_WROTE}{OBJECTIVES[summary['objective']].title}, seed {summary['seed']}",
        direction="maximize" if summary["maximise"] else "minimize",
    )
    for name in ("objective", "seed", "calibration_seed", "fingerprint", "planned", "stopped", "notes"):
        study.set_user_attr(name, summary[name])
    study.set_user_attr("parameters", dict(parameters))
    began = datetime.now() - timedelta(seconds=sum(row["seconds"] for row in summary["trials"]))
    for row in summary["trials"]:
        values = {name: row["discount"][name] for name in ranges}
        attributes = {
            **row["facts"],
            "name": row["name"],
            "published": row["published"],
            "seconds": row["seconds"],
            "discount": row["discount"],
            "varies_only_searched": base.model_copy(update=values) == DiscountParams(**row["discount"]),
        }
        trial = optuna.trial.create_trial(
            params=values, distributions=ranges, value=row["value"], user_attrs=attributes
        )
        trial.datetime_start = began
        began += timedelta(seconds=row["seconds"])
        trial.datetime_complete = began
        study.add_trial(trial)


def refusal(path: Path) -> str:
    """Return why a journal may not replace `path`, as the end of a sentence; "" if it may."""

    def wrote(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                first = json.loads(file.readline(_LINE_BYTES))
        except (OSError, ValueError, RecursionError):
            return False
        if not isinstance(first, dict) or first.get("op_code") != _CREATE_STUDY:
            return False
        return str(first.get("study_name", "")).startswith(_WROTE)

    return outputs.file_refusal(wrote)(path)
