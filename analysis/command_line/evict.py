"""`python -m analysis evict`: denoise many prompts with a part of the keys and values, beside matched controls."""

import argparse
from pathlib import Path
from typing import Any

from analysis.command_line.flags import PROMPT_COUNT, Fields, estimate, set_flags, show
from analysis.command_line.over_prompts import over_prompts
from analysis.command_line.running import Runner
from analysis.command_line.written_study import in_words, write
from analysis.specs import EvictSpec, keepings

NOTHING = "No policy was compared with a control."
_MEASURED = 2  # prompts that an estimate runs


def _say_estimate(spec: EvictSpec, jobs: Runner, options: argparse.Namespace) -> int:
    """Print the cost of all prompts, estimated by running a few."""
    few = {"prompts": spec.prompts[:_MEASURED], "keys": spec.keys[:_MEASURED]}
    measured = jobs.run("evict", spec.model_copy(update=few)).summary
    seconds = measured["seconds"] / _MEASURED * len(spec.prompts)
    threads = measured["environment"]["hardware"]["threads"]
    texts = len(keepings(spec)) * len(spec.prompts)
    about = (
        f"About {seconds:.0f} s for {len(spec.prompts)} prompts ({texts:,} texts), by {_MEASURED} prompts that took "
        f"{measured['seconds']:.1f} s on {measured['device']} with {threads} threads."
    )
    return show(options, {"seconds": seconds, "texts": texts, "prompts": len(spec.prompts)}, [about])


def write_study(folder: Path, spec: EvictSpec, summary: Any, notes: list[str]) -> dict[str, Any]:
    """Write differences with their intervals, means, and each prompt separately. Return the findings."""
    from analysis.evaluation.eviction_effects import TESTED
    from analysis.exhibits import eviction as exhibits
    from analysis.figures.export import Exhibit
    from analysis.findings import said_of

    frontiers = [shown for name in TESTED if (shown := exhibits.frontier_of(summary, name)) is not None]
    effects = [shown for name in TESTED if (shown := exhibits.effects_of(summary, name)) is not None]
    means = exhibits.means(summary["rows"])
    tables = {shown.name: shown.table for shown in effects}
    tables |= {"means": means, "prompts": exhibits.single_prompts(summary["rows"], [str(one) for one in spec.prompts])}
    study = {
        "spec": spec.model_dump(mode="json"),
        **{name: value for name, value in summary.items() if name != "rows"},
        "notes": notes,
        "conditions": exhibits.conditions(summary),
        "shown": {spec.model.source: said_of("evict", summary)},
    }
    method = Exhibit("How it was measured", " ".join([exhibits.METHOD, study["conditions"], *notes]))
    means_shown = Exhibit("Means over the prompts", "Every policy and control.", table=means)
    words = in_words(study["shown"], "What {name} keeps of its text", NOTHING)
    write(folder, "What eviction costs", study, [*words, *frontiers, *effects, means_shown, method], tables)
    return study


ASKED = Fields(EvictSpec)
FLAGS = (
    *set_flags(estimates=True),
    PROMPT_COUNT,
    estimate(f"run {_MEASURED} prompts, say what all of them would take, and write nothing"),
    ASKED,
)
run = over_prompts("evict", ASKED, write_study, NOTHING, _say_estimate)
