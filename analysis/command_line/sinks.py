"""`python -m analysis sinks`: the whole study of sinks' places and movement, over many prompts."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from analysis.command_line.flags import MODEL, SET_FLAGS, Fields, flag, folder_beside
from analysis.command_line.prompts import own_prompts, sampling_of
from analysis.command_line.running import check_out, runner
from analysis.command_line.written_study import file_name, finish, in_words, refusal, write
from analysis.errors import UserError
from analysis.findings.layers import SetAnswer
from analysis.recording import set_file
from analysis.recording.set_file import RecordingSet
from analysis.sinks.metrics import CURVES
from analysis.specs import OWN_PROMPTS, RecordSetSpec

ASKED = Fields(RecordSetSpec)
FLAGS = (
    flag(
        "--beside",
        nargs="+",
        default=[],
        metavar="SRC",
        help="more models to record on the same prompts, such as bundled-ar",
    ),
    *SET_FLAGS,
    ASKED,
)


def run(options: argparse.Namespace) -> int:
    """Record a set with every model and write the study."""
    first = MODEL.build(options).source
    sources = list(dict.fromkeys([first, *options.beside]))
    specs = {source: _spec(source, options, strict=source == first) for source in sources}
    check_out(options, refusal)
    from analysis.findings import layers
    from analysis.findings.sets import NOISE

    with folder_beside(options.out, "sinks") as scratch:
        files, summaries = {}, {}
        with runner(scratch, options) as jobs:
            for source, outcome in zip(specs, jobs.run_all("record_set", list(specs.values())), strict=True):
                assert outcome.file is not None
                files[source] = outcome.file.replace(scratch / f"{file_name(source)}.safetensors")
                summaries[source] = outcome.summary

        def write_into(folder: Path) -> dict[str, Any]:
            sets = {source: set_file.open_set(file.replace(folder / file.name)) for source, file in files.items()}
            told = layers.answers(sets)
            study: dict[str, Any] = {
                "models": {
                    source: {**summaries[source], "spec": specs[source].model_dump(mode="json")} for source in sources
                },
                "shown": {
                    source: [*filter(None, (told[source].where, told[source].movement)), *sentences]
                    for source, sentences in layers.words(sets, told).items()
                },
                "noise": NOISE,
            }
            write_study(folder, sets, told, study)
            return study

        def lines(study: dict[str, Any]) -> Iterator[str]:
            for source, sentences in study["shown"].items():
                summary = summaries[source]
                yield f"{source}: {summary['prompts']} prompts, {summary['steps']} steps, {summary['seconds']:.0f} s."
                yield from (f"  {sentence}" for sentence in sentences)

        return finish(options, scratch, write_into, lines)


def write_study(folder: Path, sets: dict[str, RecordingSet], told: dict[str, SetAnswer], study: dict[str, Any]) -> None:
    """Write the numbers as CSV and JSON, every figure as Plotly's JSON, and one page with all of them. told: from
    `answers`.
    """
    from analysis.exhibits import recording_sets
    from analysis.exhibits.inside_sets import queries_apart
    from analysis.figures.export import Exhibit
    from analysis.findings.layers import layer_table, legend, movement_table
    from analysis.findings.sets import NOISE
    from analysis.recording import set_tables

    first = next(iter(sets.values()))
    by_layer = {name: layer_table(answer).merge(movement_table(answer)) for name, answer in told.items()}
    answers = [Exhibit(f"{name}, layer by layer", legend(table), table=table) for name, table in by_layer.items()]
    layers, counts = recording_sets.layers_by_kind(sets), recording_sets.counts(sets)
    moves = [
        replace(recording_sets.movement(name, recordings), name=f"movement-{file_name(name)}")
        for name, recordings in sets.items()
    ]
    apart = [
        replace(one, name=f"{one.name}-{file_name(name)}", title=f"{one.title}: {name}")
        for name, recordings in sets.items()
        if (one := queries_apart(recordings)) is not None
    ]
    by_head = [
        replace(shown, name=f"{shown.name}-{file_name(name)}")
        for name, recordings in sets.items()
        for shown in (recording_sets.heads(name, recordings, metric) for metric in recordings.info.head_metrics)
    ]
    over_steps = [
        recording_sets.kinds_over_steps(sets, -1),
        *(recording_sets.curve(sets, name, -1) for name in first.info.curves if name in CURVES),
    ]
    tables = {
        **{f"layers-{file_name(name)}": table for name, table in by_layer.items()},
        "layers-by-kind": layers.table,
        "movement": set_tables.movement_table(sets),
        **{shown.name: shown.table for shown in [counts, *apart, *over_steps, *by_head]},
        **{f"prompts-{file_name(name)}": set_tables.prompt_table(recordings) for name, recordings in sets.items()},
    }
    words = in_words(study["shown"], "What {name} shows", "")
    caveat = Exhibit("What these sentences leave out", f"{NOISE} {recording_sets.CENTROID_CAVEAT}")
    write(
        folder,
        "Where the sinks are",
        study,
        [*words, *answers, layers, caveat, counts, *moves, *apart, *over_steps, *by_head],
        tables,
    )


def _spec(source: str, options: argparse.Namespace, strict: bool) -> RecordSetSpec:
    own = own_prompts(options.prompts)
    if 0 < len(own.texts) < 2:
        name = Path(options.prompts).name
        raise UserError(f"'{name}' holds one prompt. A set needs at least two, as its intervals are over prompts.")
    count = RecordSetSpec.model_fields["count"].default if "count" not in options else options.count
    chosen, model = own.first(count), MODEL.build(options, source=source)
    return ASKED.build(
        options,
        model=model,
        prompts=OWN_PROMPTS if own.texts else options.prompts,
        own_prompts=chosen.texts,
        own_keys=chosen.keys,
        sampling=sampling_of(model, options, strict),
    )
