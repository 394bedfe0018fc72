"""`python -m analysis evict`: denoise many prompts with a part of the keys and values, beside matched controls."""

import argparse
import json
from pathlib import Path
from typing import Any

from analysis import outputs
from analysis.command_line.flags import add_flags, add_prompt_count, add_set_flags, field_of, folder_beside, given
from analysis.command_line.prompts import prompts_of, sampling_of
from analysis.command_line.running import runner
from analysis.command_line.written_study import PAGE, in_words, refusal, write
from analysis.specs import SAMPLINGS, EvictSpec, ModelSpec, SinkParams, keepings

NOTHING = "No policy was compared with a control."
_MEASURED = 2  # prompts that an estimate runs


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    parser.add_argument("--model", default="bundled", metavar="SRC", help=field_of(ModelSpec, "source").description)
    add_set_flags(parser)
    add_prompt_count(parser)
    parser.add_argument(
        "--estimate",
        action="store_true",
        help=f"run {_MEASURED} prompts, say what all of them would take, and write nothing",
    )
    seen = {"prompts", "keys", "sinks"}
    for spec in (EvictSpec, SinkParams, ModelSpec):
        add_flags(parser, spec, "", seen)
    for name, kind in SAMPLINGS.items():
        add_flags(parser, kind, f" [{name}]", seen)


def run(options: argparse.Namespace) -> int:
    """Evicts over the prompts and writes the study."""
    if not options.estimate:
        outputs.check(options.out, options.overwrite, refusal)
    params = given(EvictSpec, options)
    params.pop("prompts", None)
    with folder_beside(options.out, "evict") as scratch:
        with runner(scratch, options) as jobs:
            prompts, notes = prompts_of(options, params.get("seed", 0), jobs.context)
            spec = EvictSpec(
                model=ModelSpec(source=options.model, **given(ModelSpec, options)),
                prompts=prompts.texts,
                keys=prompts.keys,
                sampling=sampling_of(options.model, options),
                sinks=SinkParams(**given(SinkParams, options)),
                **params,
            )
            if options.estimate:
                few = {"prompts": spec.prompts[:_MEASURED], "keys": spec.keys[:_MEASURED]}
                measured = jobs.run("evict", spec.model_copy(update=few)).summary
                return _say_estimate(spec, measured, options.json)
            summary = jobs.run("evict", spec).summary
        folder = scratch / "study"
        folder.mkdir()
        study = write_study(folder, spec, summary, notes)
        note = outputs.place(folder, options.out, options.overwrite, refusal)
    if options.json:
        print(json.dumps({"out": str(options.out), **study}, ensure_ascii=False))
        return 0
    print(f"{options.model}: {summary['prompts']} prompts, {summary['seconds']:.0f} s.")
    for sentence in study["shown"][options.model] or [NOTHING]:
        print(f"  {sentence}")
    print(f"{options.out / PAGE} shows all of it. {note}".strip())
    return 0


def _say_estimate(spec: EvictSpec, measured: Any, as_json: bool) -> int:
    """Print what all prompts take, by the few that were run."""
    seconds = measured["seconds"] / _MEASURED * len(spec.prompts)
    threads = measured["environment"]["hardware"]["threads"]
    texts = len(keepings(spec)) * len(spec.prompts)
    if as_json:
        print(json.dumps({"seconds": seconds, "texts": texts, "prompts": len(spec.prompts)}))
        return 0
    print(
        f"About {seconds:.0f} s for {len(spec.prompts)} prompts ({texts:,} texts), by {_MEASURED} prompts that took "
        f"{measured['seconds']:.1f} s on {measured['device']} with {threads} threads."
    )
    return 0


def write_study(folder: Path, spec: EvictSpec, summary: Any, notes: list[str]) -> dict[str, Any]:
    """Write differences with their intervals, means, and every prompt by itself. Returns what was found."""
    from analysis.evaluation import eviction_exhibits as exhibits
    from analysis.evaluation.eviction_effects import MEASURES, TESTED
    from analysis.figures.export import Exhibit

    frontiers = [shown for name in TESTED if (shown := exhibits.frontier_of(summary, name)) is not None]
    effects = [shown for name in MEASURES if (shown := exhibits.effects_of(summary, name)) is not None]
    means = exhibits.means(summary["rows"])
    tables = {shown.name: shown.table for shown in effects}
    tables |= {"means": means, "prompts": exhibits.single_prompts(summary["rows"], [str(one) for one in spec.prompts])}
    study = {
        "spec": spec.model_dump(mode="json"),
        **{name: value for name, value in summary.items() if name != "rows"},
        "notes": notes,
        "conditions": exhibits.conditions(summary),
        "shown": {spec.model.source: exhibits.words_of(summary)},
    }
    method = Exhibit("How it was measured", " ".join([exhibits.METHOD, study["conditions"], *notes]), None)
    means_shown = Exhibit("Means over the prompts", "Every policy and control.", None, means)
    words = in_words(study["shown"], "What {name} keeps of its text", NOTHING)
    write(folder, "What eviction costs", study, [*words, *frontiers, *effects, means_shown, method], tables)
    return study
