"""What visitors say of recordings: a name, tags, notes and a star, kept as those of runs are."""

from pydantic import ValidationError

from analysis.engine.engine import Engine
from analysis.engine.records import JobRecord
from analysis.engine.runs import Label, Run, save_label


def recording_labels(engine: Engine) -> dict[str, Label]:
    """What was said of recordings and runs, by their ids; what cannot be read is left out."""
    labels = {}
    for job_id, fields in engine.store.labels().items():
        try:
            labels[job_id] = Label.model_validate(fields)
        except ValidationError:
            continue
    return labels


def save_recording_label(engine: Engine, record: JobRecord, label: Label, automatic: str) -> None:
    """Keeps what a visitor says of a recording. automatic: the name it has by itself. Raises UserError as `save_label`
    does.
    """
    source = str(record.spec["model"]["source"])
    save_label(engine, Run(record.id, "dense", automatic, source, source, record.created, record=record), label)
