"""What the sets of recordings of a study show: their figures as Plotly's JSON, and their sentences. Nothing is run."""

import json
from collections.abc import Mapping

import pandas as pd

from analysis.exhibits import recording_sets
from analysis.figures.export import Exhibit
from analysis.recording import set_contrast
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_verdicts import said_of
from analysis.study.findings import Finding, StoredExhibit

SINKS, MOVEMENT = "sinks", "movement"


def shown_of(sets: Mapping[str, RecordingSet]) -> tuple[StoredExhibit, ...]:
    """Where the sinks of each model are, layer by layer, and how they move beside the nulls."""
    if not sets:
        return ()
    figures = [_shown(SINKS, recording_sets.layers_by_kind(sets), "layers")]
    counts = recording_sets.counts(sets)
    figures += [] if counts is None else [_shown(SINKS, counts, "counts")]
    for number, (name, recordings) in enumerate(sets.items()):
        figures.append(_shown(MOVEMENT, recording_sets.movement(name, recordings), f"movement_{number}"))
    return tuple(figures)


def sayings_of(sets: Mapping[str, RecordingSet]) -> tuple[Finding, ...]:
    """What each model shows beyond its nulls, where its sinks are and how they move."""
    sayings, contrasts = [], set_contrast.contrasts_in_words(sets)
    for name, recordings in sets.items():
        said = said_of(recordings, set_contrast.families(sets))
        contrast = [sentence for of, sentence in contrasts if of == name]
        for part, sentences in ((SINKS, (*said.kinds, *said.counts)), (MOVEMENT, (*contrast, *said.movement))):
            sayings.append(Finding(part=part, model=name, sentences=(*sentences, *said.silent)))
    return tuple(sayings)


def _shown(part: str, exhibit: Exhibit, name: str) -> StoredExhibit:
    return StoredExhibit(
        part=part,
        name=name,
        title=exhibit.title,
        sentence=exhibit.told,
        figure=json.loads(exhibit.figure.to_json()),
        table=_rows(exhibit.table),
    )


def _rows(table: pd.DataFrame) -> tuple[dict[str, object], ...]:
    """The rows of a table as JSON has them, rounded to what is read."""
    rows: list[dict[str, object]] = json.loads(table.to_json(orient="records", double_precision=6))
    return tuple(rows)
