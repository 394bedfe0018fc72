"""`python -m analysis demo`: fill the store with examples, so that no page of a demonstration is empty."""

import argparse
import json
from typing import TYPE_CHECKING

from analysis.command_line.flags import as_json, flag, listed_words
from analysis.command_line.running import engine_of, follow, say
from analysis.errors import UserError, shorten
from analysis.machine import process
from analysis.models.registry import BUNDLED_PAIR, MODELS
from analysis.recording import inside_specs
from analysis.recording.frames import head_frame
from analysis.sinks.metrics import highest
from analysis.specs import AblateSetSpec, CalibrateSpec, ModelSpec, RecordSetSpec, RecordSpec, SinkParams, SweepSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analysis.engine import Engine
    from analysis.specs import JobSpec

_CHANNELS = 4  # of the residual stream that recordings keep
_ABOUT = ("reference", "noise", "geometry", "lens", "attention_map", "ablate")
_KINDS = ("record", *_ABOUT, "record_set", "ablate_set", "calibrate", "sweep", "study")


FLAGS = (
    flag("--study", action="store_true", help="run a study too, for a quarter of an hour; one ships with SinkScope"),
    flag(
        "--only",
        type=listed_words,
        metavar="A,B",
        help=f"run only these: record, what is asked about a recording ({', '.join(_ABOUT)}), record_set, ablate_set, "
        "calibrate, sweep",
    ),
    as_json("the jobs"),
)


def run(options: argparse.Namespace) -> int:
    """Record and ablate prompts of the bundled pair, store statistics and sweep, skipping existing results."""
    unknown = [kind for kind in options.only or () if kind not in _KINDS]
    if unknown:
        raise UserError(f"--only takes {', '.join(_KINDS)}, not '{shorten(unknown[0])}'.")
    process.prepare()
    jobs: dict[str, str] = {}
    with engine_of(options) as engine:

        def run_all(asked: "Iterable[tuple[str, JobSpec]]") -> None:
            for kind, spec in asked:
                if options.only and kind not in options.only:
                    continue
                record = follow(engine, engine.submit(kind, spec))
                if record.state != "done":
                    raise UserError(record.reason or f"The {kind} was {record.state}.")
                jobs[record.id] = kind
                say(f"{kind}: done")

        run_all(_recordings())
        run_all(_about(engine))
        run_all(_asked(options.study))
    if options.json:
        print(json.dumps(jobs))
    else:
        print(f"{len(jobs)} jobs are in the store. Start the dashboard with SINKSCOPE_DEMO=1 to show them.")
    return 0


def _recordings() -> "Iterator[tuple[str, RecordSpec]]":
    from analysis.engine.studies import new_study, sampling_of

    models = [ModelSpec(source=source) for source in BUNDLED_PAIR]
    whole = new_study(models[0])
    for prompt in MODELS[BUNDLED_PAIR[0]].examples():
        for model in models:
            sampling = sampling_of(model, whole)
            yield "record", RecordSpec(model=model, prompt=prompt, sampling=sampling, channels=_CHANNELS)


def _about(engine: "Engine") -> "Iterator[tuple[str, JobSpec]]":
    """Yield the default questions of pages about the recording that they show first."""
    from analysis.recording.trajectory_file import open_trajectory

    model = ModelSpec(source=BUNDLED_PAIR[0])
    asked = [spec for kind, spec in _recordings() if spec.model == model][-1]
    shown = next((job for job in engine.jobs("record") if job.spec == asked.model_dump(mode="json")), None)
    file = None if shown is None else engine.result_file(shown)
    if file is None:  # recordings were skipped
        return
    recording, params = open_trajectory(file), SinkParams()
    strength = head_frame(recording, params)["strength"].to_numpy().reshape(recording.layers, recording.heads)
    layer, head = highest(strength)
    yield "reference", inside_specs.reference_spec(recording, model)
    yield "noise", inside_specs.noise_spec(recording, model)
    yield "geometry", inside_specs.geometry_spec(recording, model)
    yield "lens", inside_specs.lens_spec(recording, model, step=0)
    yield "attention_map", inside_specs.attention_map_spec(recording, model, 0, layer, head)
    yield "ablate", inside_specs.ablate_spec(recording, model, params, sampling=asked.sampling)


def _asked(study: bool) -> "Iterator[tuple[str, JobSpec]]":
    from analysis.engine.studies import children_of, new_study

    models = [ModelSpec(source=source) for source in BUNDLED_PAIR]
    whole = new_study(models[0])
    # Parts of a study share their sets of prompts.
    for child in {child.name: child for part in children_of(whole).values() for child in part}.values():
        if isinstance(child.spec, RecordSetSpec):
            yield child.kind, child.spec
        elif isinstance(child.spec, AblateSetSpec) and child.spec.model == models[0]:
            yield child.kind, child.spec.model_copy(update={"random_model": False})
        elif isinstance(child.spec, SweepSpec):
            yield child.kind, child.spec.model_copy(update={"keep": "checkpoints"})
    yield "calibrate", CalibrateSpec()
    if study:
        yield "study", whole
