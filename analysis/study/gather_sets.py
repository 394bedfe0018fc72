"""What the sets of recordings of a study show: their tables and their sentences. Nothing is run."""

import json
from collections.abc import Mapping

from analysis.recording import set_contrast
from analysis.recording.set_tables import Sets, count_table, kind_table, movement_table
from analysis.recording.set_verdicts import said_of
from analysis.study.findings import Finding

SINKS, MOVEMENT = "sinks", "movement"


def tables_of(sets: Sets) -> dict[str, tuple[Mapping[str, object], ...]]:
    """The rows of every table of the sets, rounded to what is read."""
    tables = {"layers": kind_table, "counts": count_table, "movement": movement_table} if sets else {}
    return {
        name: tuple(json.loads(table(sets).to_json(orient="records", double_precision=6)))
        for name, table in tables.items()
    }


def sayings_of(sets: Sets) -> tuple[Finding, ...]:
    """What each model shows beyond its nulls, where its sinks are and how they move."""
    sayings, contrasts = [], set_contrast.contrasts_in_words(sets)
    for name, recordings in sets.items():
        said = said_of(recordings, set_contrast.families(sets))
        contrast = [sentence for of, sentence in contrasts if of == name]
        for part, sentences in ((SINKS, (*said.kinds, *said.counts)), (MOVEMENT, (*contrast, *said.movement))):
            sayings.append(Finding(part=part, model=name, sentences=(*sentences, *said.silent)))
    return tuple(sayings)
