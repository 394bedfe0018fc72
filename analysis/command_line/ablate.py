"""`python -m analysis ablate`: denoise many prompts with attention changed at sinks, beside matched controls."""

import argparse
import json
from pathlib import Path
from typing import Any

from analysis import outputs
from analysis.command_line.flags import add_flags, add_prompt_count, add_set_flags, field_of, folder_beside, given
from analysis.command_line.prompts import prompts_of, sampling_of
from analysis.command_line.running import runner
from analysis.command_line.written_study import PAGE, in_words, refusal, write
from analysis.specs import SAMPLINGS, AblateSetSpec, ModelSpec, SinkParams

NOTHING = "No effect is told from its control."


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the verb its flags."""
    parser.add_argument("--model", default="bundled", metavar="SRC", help=field_of(ModelSpec, "source").description)
    add_set_flags(parser)
    add_prompt_count(parser)
    seen = {"prompts", "keys", "sinks"}
    for spec in (AblateSetSpec, SinkParams, ModelSpec):
        add_flags(parser, spec, "", seen)
    for name, kind in SAMPLINGS.items():
        add_flags(parser, kind, f" [{name}]", seen)


def run(options: argparse.Namespace) -> int:
    """Ablates over the prompts and writes the study."""
    outputs.check(options.out, options.overwrite, refusal)
    params = given(AblateSetSpec, options)
    params.pop("prompts", None)
    with folder_beside(options.out, "ablate") as scratch:
        with runner(scratch, options) as jobs:
            prompts, notes = prompts_of(options, params.get("seed", 0), jobs.context)
            spec = AblateSetSpec(
                model=ModelSpec(source=options.model, **given(ModelSpec, options)),
                prompts=prompts.texts,
                keys=prompts.keys,
                sampling=sampling_of(options.model, options),
                sinks=SinkParams(**given(SinkParams, options)),
                **params,
            )
            summary = jobs.run("ablate_set", spec).summary
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


def write_study(folder: Path, spec: AblateSetSpec, summary: Any, notes: list[str]) -> dict[str, Any]:
    """Effects with their intervals, means, and every prompt by itself. What was found, as it is written."""
    from analysis.evaluation import ablation_exhibits as exhibits
    from analysis.evaluation.ablation_effects import MEASURES
    from analysis.figures.export import Exhibit

    prompts = [str(prompt) for prompt in spec.prompts]
    effects = [shown for name in MEASURES if (shown := exhibits.effects_of(summary, name)) is not None]
    means = exhibits.means(summary["rows"])
    tables = {shown.name: shown.table for shown in effects}
    tables |= {"means": means, "prompts": exhibits.single_prompts(summary["rows"], prompts)}
    study = {
        "spec": spec.model_dump(mode="json"),
        **{name: value for name, value in summary.items() if name != "rows"},
        "notes": notes,
        "shown": {spec.model.source: exhibits.in_words(summary)},
    }
    method = Exhibit("How it was measured", " ".join([exhibits.METHOD, *notes]), None)
    means_shown = Exhibit("Means over the prompts", "Target and matched control of every condition.", None, means)
    words = in_words(study["shown"], "What {name} loses without its sinks", NOTHING)
    write(folder, "What sinks do", study, [*words, *effects, means_shown, method], tables)
    return study
