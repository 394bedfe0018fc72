"""Visitors' labels for recordings: a name, tags, notes and a star, stored like those of runs."""

from pydantic import ValidationError

from analysis.engine.engine import Engine
from analysis.engine.records import JobRecord
from analysis.engine.runs import Label, Run, save_label


def recording_labels(engine: Engine) -> dict[str, Label]:
    """Return the labels of recordings and runs, by id, without unreadable ones."""
    labels = {}
    for job_id, fields in engine.store.labels().items():
        try:
            labels[job_id] = Label.model_validate(fields)
        except ValidationError:
            continue
    return labels


def save_recording_label(engine: Engine, record: JobRecord, label: Label, automatic: str) -> None:
    """Save a visitor's label for a recording. automatic: its generated name. Raises UserError as `save_label` does."""
    source = str(record.spec["model"]["source"])
    save_label(engine, Run(record.id, "dense", automatic, source, source, record.created, record=record), label)
