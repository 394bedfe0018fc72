"""`python -m analysis inspect`: look inside a model at its sinks, over prompts: massive activations, the logit lens,
geometry, and its texts beside another model's.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.command_line.flags import MODEL, SET_FLAGS, Fields, flag, folder_beside
from analysis.command_line.prompts import own_prompts, sampling_of
from analysis.command_line.running import check_out, runner
from analysis.command_line.written_study import finish, in_words, refusal, write
from analysis.specs import INSIGHTS, OWN_PROMPTS, InspectParams, RecordSpec, SinkParams

if TYPE_CHECKING:
    import pandas as pd

    from analysis.exhibits.inside_sets import Inspection

_STORED = ("channels", "by_query", "drift")  # of a recording: channels_kept implies the first, no other is read
NOTHING = "Nothing lies beyond its control."
_OF_ONE = "Of the first prompt alone: {sentence}"


LOOKED_AT, RECORD, SINKS = Fields(InspectParams), Fields(RecordSpec, without=_STORED), Fields(SinkParams)
FLAGS = (
    flag("--beside", metavar="SRC", help="a second model on the same prompts, such as a pruned copy"),
    *SET_FLAGS,
    LOOKED_AT,
    RECORD,
    SINKS,
)


def run(options: argparse.Namespace) -> int:
    """Look inside and write the study."""
    check_out(options, refusal)
    params, sinks, model = LOOKED_AT.build(options), SINKS.build(options), MODEL.build(options)
    own_texts = own_prompts(options.prompts).texts
    from analysis.exhibits.inside_sets import inspect_prompts
    from analysis.jobs.recording_sets import prompt_texts

    with folder_beside(options.out, "inspect") as scratch:
        with runner(scratch, options) as jobs:
            source, count = (OWN_PROMPTS if own_texts else options.prompts), params.prompt_count
            record = RECORD.build(options, model=model, sampling=sampling_of(model, options))
            texts, notes = prompt_texts(source, own_texts[:count], count, record.seed, jobs.context)
            inspection = inspect_prompts(record, list(dict.fromkeys(texts)), params, sinks, options.beside, jobs)
        settings = {
            "spec": record.model_dump(mode="json", exclude={"prompt", *_STORED}),
            "beside": options.beside,
            "inspected": params.model_dump(mode="json"),
            "sinks": sinks.model_dump(mode="json"),
            "prompts": inspection.prompts,
            "notes": [*notes, *inspection.notes],
        }
        return finish(
            options,
            scratch,
            lambda folder: write_study(folder, settings, inspection),
            lambda study: [
                f"{model.source}: {len(inspection.prompts)} prompts, {inspection.seconds:.0f} s.",
                *(f"  {title}: {one}" for title, said in study["shown"].items() for one in said or [NOTHING]),
                *(f"  {told}" for told in study["notes"]),
            ],
        )


def write_study(folder: Path, settings: dict[str, Any], inspection: "Inspection") -> dict[str, Any]:
    """Write the figures over all prompts, then those of the first one. Return the findings as written."""
    from dataclasses import replace

    study = {
        **settings,
        "seconds": inspection.seconds,
        "shown": {INSIGHTS[n].title: s for n, s in inspection.words.items()},
    }
    first = [
        replace(exhibit, sentence=_OF_ONE.format(sentence=exhibit.told), finding="") for exhibit in inspection.of_first
    ]
    shown = [*in_words(study["shown"], "{name}", NOTHING), *inspection.over_prompts, *first]
    tables: dict[str, pd.DataFrame] = {
        exhibit.name: exhibit.table for exhibit in (*inspection.over_prompts, *inspection.of_first)
    }
    write(folder, "Inside the model at its sinks", study, shown, tables | inspection.tables)
    return study
