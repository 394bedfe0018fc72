"""Search for a discount: settings are tried in turn, each chosen from the results of earlier ones.

Every finished trial goes into the answer store under a name without the number of trials, so that a later search, also
a longer one, resumes. A finished or stopped search leaves an Optuna journal, which optuna-dashboard and Optuna's own
functions open.
"""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from analysis.errors import UserError
from analysis.job_context import Context
from analysis.jobs.evaluation import downloaded
from analysis.jobs.objectives import OBJECTIVE_FUNCTIONS, ObjectiveFunction
from analysis.jobs.outcome import Outcome
from analysis.jobs.summaries import Judged, Searched, SearchFloor, SuggestSummary, Trial
from analysis.models.checkpoint import fingerprint
from analysis.specs import OBJECTIVES, DiscountParams, SuggestSpec
from cache.keys import code_version, content_key
from cache.stores import Responses


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
        study_name=f"SinkScope: discount by {OBJECTIVES[summary['objective']].title}, seed {summary['seed']}",
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


class _Stopped(Exception):
    """Raised to end a search early with the trials so far."""


class _Told:
    """Progress reporter of the search. Raises `_Stopped` when the context asks to stop."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.phase, self.done, self.total = "getting ready", 0, 0

    def __call__(self, doing: str, **details: Any) -> None:
        if self._context.stopping:
            raise _Stopped
        self._context.progress(self.phase, self.done, self.total, doing=doing, **details)


def suggest(spec: SuggestSpec, context: Context) -> Outcome[SuggestSummary]:
    """Search for the discount that costs the model least.

    The summary holds every trial, the importance of the parameters, the best trial and, if the objective compares, the
    scores of the best setting, the published one and no discount on items that no trial has seen. The file is the
    search as an Optuna journal; a search without a trial has none.
    """
    began = time.perf_counter()
    told = _Told(context)
    content = fingerprint(downloaded(spec.model, context))
    study = content_key(
        kind="search",
        fingerprint=content,
        device=spec.model.device,
        dtype=spec.model.dtype,
        question=spec.question(),
        code=code_version(__name__),
    )
    rows: list[Trial] = []
    findings: Searched = {"searched": [], "importance": {}, "notes": [], "comparison": None, "floor": None}
    stopped = False
    try:
        objective = OBJECTIVE_FUNCTIONS[spec.objective](spec, content, context, told)
        responses = context.stores.responses
        _try_all(spec, objective, responses, study, told, rows, findings)
        findings["comparison"] = _compared(spec, objective, responses, study, told, rows)
    except _Stopped:
        stopped = True
    maximise = OBJECTIVES[spec.objective].maximise
    summary: SuggestSummary = {
        "objective": spec.objective,
        "maximise": maximise,
        "trials": rows,
        "planned": spec.trials,
        "best": _best(rows, maximise) if rows else None,
        **findings,
        "stopped": stopped,
        "seed": spec.seed,
        "calibration_seed": spec.statistics.calibration.seed,
        "fingerprint": content,
        "seconds": round(time.perf_counter() - began, 3),
    }
    key = content_key(study=study, trials=len(rows), reported=spec.reported_limit, stopped=stopped)
    journal = context.folder / "search.journal" if rows else None
    if journal is not None:
        journal.unlink(missing_ok=True)  # of an earlier run of the same job
        write(journal, summary, spec.base, spec.model_dump(mode="json"))
    return Outcome(summary, journal, key)


def _try_all(
    spec: SuggestSpec,
    objective: ObjectiveFunction,
    responses: Responses,
    study: str,
    told: _Told,
    rows: list[Trial],
    findings: Searched,
) -> None:
    """Fill `rows` with the trials, in order, and `findings` with their results so far."""
    told("starting Optuna")
    from analysis.tuning.search_space import Search, space

    ranges = space(spec.searched, objective.unserved(spec.searched))
    if not ranges:
        raise UserError(f"Nothing is left to search. {' '.join(objective.notes)} Search another parameter too.")
    search = Search(ranges, spec.base, spec.seed, OBJECTIVES[spec.objective].maximise)
    references = list(spec.references.items())
    findings.update({"searched": list(ranges), "notes": objective.notes})
    told.phase, told.total = "trying settings", spec.trials
    for number in range(spec.trials):
        told.done = number
        if number == len(references):
            findings["floor"] = _floor(objective, responses, study, told, findings["notes"])
        name, discount = references[number] if number < len(references) else ("", None)
        key = content_key(kind="trial", study=study, number=number)
        row = cast(Trial | None, responses.get(key))
        if row is None:
            told("")
            judged = _tried(objective, discount or search.ask(), rows, told)
            published = rows[0]["value"] if rows else judged["value"]
            row = {"number": number, "name": name, **judged, "published": published}
            responses.put(key, dict(row))
        rows.append(row)
        tried = DiscountParams(**row["discount"])
        if search.holds(tried):
            search.tell(tried, row["value"])
        findings["importance"] = search.importances()
        told.done = number + 1
        told(
            "",
            trials=list(rows),
            importance=findings["importance"],
            searched=findings["searched"],
            floor=findings["floor"],
        )


def _floor(
    objective: ObjectiveFunction, responses: Responses, study: str, told: _Told, notes: list[str]
) -> SearchFloor | None:
    """Return the value of no discount with another calibration seed; None if unavailable, with a note that says why."""
    key = content_key(kind="floor", study=study)
    known = cast(SearchFloor | None, responses.get(key))
    if known is not None:
        return known
    try:
        floor = objective.floor(told)
    except UserError as error:
        notes.append(f"What another calibration seed changes was not measured. {error}")
        return None
    if floor is not None:
        responses.put(key, dict(floor))
    return floor


def _compared(
    spec: SuggestSpec, objective: ObjectiveFunction, responses: Responses, study: str, told: _Told, rows: list[Trial]
) -> dict[str, Any] | None:
    """Return the best setting and the references that differ from it, scored on items that no trial has seen."""
    told.phase, told.done, told.total = "comparing on items that no trial has seen", 0, 0
    best = rows[_best(rows, OBJECTIVES[spec.objective].maximise)]["discount"]
    references = {row["name"]: row["discount"] for row in rows if row["name"] and row["discount"] != best}
    settings = {"best": best, **references}
    key = content_key(kind="comparison", study=study, settings=settings, limit=spec.reported_limit)
    stored = responses.get(key)
    if stored is not None:
        return stored
    compared = objective.compare({name: DiscountParams(**setting) for name, setting in settings.items()}, told)
    if compared is not None:
        responses.put(key, compared)
    return compared


def _tried(objective: ObjectiveFunction, discount: DiscountParams, rows: list[Trial], told: _Told) -> Judged:
    """Return the value of a setting, judging it only if it was not tried before."""
    setting = discount.model_dump(mode="json")
    before = next((row for row in rows if row["discount"] == setting), None)
    if before is not None:
        return {"discount": setting, "value": before["value"], "facts": before["facts"], "seconds": 0.0}
    began = time.perf_counter()
    value, facts = objective.value(discount, told)
    return {"discount": setting, "value": value, "facts": facts, "seconds": round(time.perf_counter() - began, 3)}


def _best(rows: list[Trial], maximise: bool) -> int:
    """Return the number of the best trial; the first of equal ones, so that a tie goes to the published setting."""
    values = [row["value"] for row in rows]
    return values.index(max(values) if maximise else min(values))
