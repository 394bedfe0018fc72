"""`python -m analysis ablate`: denoise many prompts with attention changed at sinks, beside matched controls."""

from pathlib import Path
from typing import Any

from analysis.command_line.flags import PROMPT_COUNT, SET_FLAGS, Fields
from analysis.command_line.over_prompts import over_prompts
from analysis.command_line.written_study import in_words, write
from analysis.specs import AblateSetSpec

NOTHING = "No effect is told from its control."


def write_study(folder: Path, spec: AblateSetSpec, summary: Any, notes: list[str]) -> dict[str, Any]:
    """Write levels and effects with their intervals, means, and each prompt separately. Return the findings as
    written.
    """
    from analysis.evaluation.ablation_effects import TESTED
    from analysis.exhibits import ablation as exhibits
    from analysis.figures.export import Exhibit
    from analysis.findings import said_of

    prompts = [str(prompt) for prompt in spec.prompts]
    levels = [shown for name in TESTED if (shown := exhibits.levels_beside(summary, name)) is not None]
    effects = [shown for name in TESTED if (shown := exhibits.effects_of(summary, name)) is not None]
    timing = exhibits.timing(summary)
    effects += [] if timing is None else [timing]
    means = exhibits.means(summary["rows"])
    tables = {shown.name: shown.table for shown in (*levels, *effects)}
    tables |= {"means": means, "prompts": exhibits.single_prompts(summary["rows"], prompts)}
    study = {
        "spec": spec.model_dump(mode="json"),
        **{name: value for name, value in summary.items() if name != "rows"},
        "notes": notes,
        "shown": {spec.model.source: said_of("ablate_set", summary)},
    }
    method = Exhibit("How it was measured", " ".join([exhibits.METHOD, *notes]))
    means_shown = Exhibit("Means over the prompts", "Target and matched control of every condition.", table=means)
    words = in_words(study["shown"], "What {name} loses without its sinks", NOTHING)
    write(folder, "What sinks do", study, [*words, *levels, *effects, means_shown, method], tables)
    return study


ASKED = Fields(AblateSetSpec)
FLAGS = (*SET_FLAGS, PROMPT_COUNT, ASKED)
run = over_prompts("ablate_set", ASKED, write_study, NOTHING)
