"""`python -m analysis demo`: fill the store with examples, so that no page of a demonstration is empty."""

import argparse
import json
from typing import TYPE_CHECKING

from analysis.command_line.flags import listed_words
from analysis.command_line.running import engine_of, follow, say
from analysis.errors import UserError
from analysis.machine import threads
from analysis.models.registry import BUNDLED_PAIR, MODELS
from analysis.specs import (
    AblateSetSpec,
    CalibrateSpec,
    CalibrationParams,
    EvaluateSpec,
    ModelSpec,
    PruneSpec,
    RecordSetSpec,
    RecordSpec,
    SweepSpec,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.specs import JobSpec

_ABLATED = 10  # prompts
_SWEEP = SweepSpec(
    methods=("wanda", "wanda-noised", "sink-wanda"),
    sparsities=(0.5, 0.6, 0.7),
    seeds=(0, 1),
    keep="checkpoints",
    pruning=PruneSpec(calibration=CalibrationParams(samples=32, seq_len=64)),
    evaluation=EvaluateSpec(tasks=("bundled",), limit=60),
)


def add(verb: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    verb.add_argument(
        "--study", action="store_true", help="run a study too, for a quarter of an hour; one ships with SinkScope"
    )
    verb.add_argument(
        "--only",
        type=listed_words,
        metavar="A,B",
        help="run only these: record, record_set, ablate_set, calibrate, sweep",
    )
    verb.add_argument("--json", action="store_true", help="print the jobs as JSON")


def run(options: argparse.Namespace) -> int:
    """Records and ablates prompts of the bundled pair, stores statistics and sweeps; what is there is not run again."""
    threads.prepare()
    jobs = {}
    with engine_of(options) as engine:
        for kind, spec in _asked(options.study):
            if options.only and kind not in options.only:
                continue
            record = follow(engine, engine.submit(kind, spec))
            if record.state != "done":
                raise UserError(record.reason or f"The {kind} was {record.state}.")
            jobs[record.id] = kind
            say(f"{kind}: done")
    if options.json:
        print(json.dumps(jobs))
    else:
        print(f"{len(jobs)} jobs are in the store. Start the dashboard with SINKSCOPE_DEMO=1 to show them.")
    return 0


def _asked(study: bool) -> "Iterator[tuple[str, JobSpec]]":
    from analysis.engine.studies import children_of, new_study, sampling_of

    models = [ModelSpec(source=source) for source in BUNDLED_PAIR]
    whole = new_study(models[0])
    for prompt in MODELS[BUNDLED_PAIR[0]].examples():
        for model in models:
            yield "record", RecordSpec(model=model, prompt=prompt, sampling=sampling_of(model, whole))
    small = new_study(models[0], random_models=1)
    # Parts of a study share their sets of prompts.
    for child in {child.name: child for part in children_of(small).values() for child in part}.values():
        if isinstance(child.spec, RecordSetSpec):
            yield child.kind, child.spec
        elif isinstance(child.spec, AblateSetSpec):
            prompts = {"prompts": child.spec.prompts[:_ABLATED], "keys": child.spec.keys[:_ABLATED]}
            yield child.kind, child.spec.model_copy(update={**prompts, "random_model": False})
    yield "calibrate", CalibrateSpec()
    yield "sweep", _SWEEP
    if study:
        yield "study", whole
