"""Parameters and objective of a search: its controls, and a search in words."""

from typing import Any

from pydantic import ValidationError

from analysis.evaluation.presets import PRESETS, SUITES
from analysis.specs import (
    OBJECTIVES,
    CalibrateSpec,
    DiscountParams,
    StatisticsParams,
    SuggestSpec,
    TuneParams,
    sentence,
    short_label,
)
from analysis.specs.tuning import searchable
from pages.parts import controls
from pages.parts.expander import keys_of
from pages.parts.keyed import keyed_columns
from pages.parts.plain import plain
from pages.parts.tuning import settings

_TASKS = "tasks"
_ONLY_TYPED = "include_path"  # a folder whose functions are run is given on the command line alone


def search_controls(statistics_spec: CalibrateSpec, setting: TuneParams) -> tuple[SuggestSpec | None, str]:
    """Draw the controls of a search around `setting` with these statistics: return its spec, or why there is none."""
    values: dict[str, Any] = {}
    columns = keyed_columns([1.4, 2.6, 1, 1], "search")
    with columns[0]:
        values["objective"] = controls.draw(
            SuggestSpec,
            "objective",
            "suggest_judge",  # as addresses have it
            format_func=lambda name: OBJECTIVES[name].title,
        )
    values["searched"] = controls.draw_several(
        SuggestSpec, "searched", "suggest_searched", searchable(), columns[1], format_func=parameter_title
    )
    values |= controls.draw_each(SuggestSpec, keys_of("suggest", ("trials", "seed")), columns[2:])
    reads = OBJECTIVES[values["objective"]].reads
    drawn = [name for name in reads if name not in (_TASKS, _ONLY_TYPED)]
    columns = keyed_columns([3, *(1 for _ in drawn)], "search_reads") if reads else []
    if _TASKS in reads:
        values[_TASKS] = controls.draw_several(
            SuggestSpec,
            _TASKS,
            "suggest_tasks",
            [*SUITES, *PRESETS],
            columns[0],
            persist_state="session",
            accept_new_options=True,
        )
    values |= controls.draw_each(SuggestSpec, keys_of("suggest", drawn), columns[1:])
    statistics = StatisticsParams(**{name: getattr(statistics_spec, name) for name in StatisticsParams.model_fields})
    try:
        return SuggestSpec(model=statistics_spec.model, statistics=statistics, setting=setting, **values), ""
    except ValidationError as error:
        return None, sentence(error)


def parameter_title(name: str) -> str:
    """Return a parameter's label without its brackets."""
    return str(DiscountParams.model_fields[name].title).partition(" (")[0]


def search_in_words(spec: SuggestSpec) -> str:
    """Say what a search does and holds fixed."""
    objective = OBJECTIVES[spec.objective]
    by = f"{objective.title} on {', '.join(spec.tasks)}" if _TASKS in objective.reads else objective.title
    return plain(
        f"Judged by {by} · held: {held_in_words(spec)} · search seed {spec.seed} · "
        f"calibration seed {spec.statistics.calibration.seed}"
    )


def held_in_words(spec: SuggestSpec) -> str:
    """Say what all trials of a search have in common."""
    held = [name for name in searchable() if name not in spec.searched]
    fields = DiscountParams.model_fields
    fixed = [f"{short_label(name, fields[name])} {getattr(spec.setting.discount, name)}" for name in held]
    return ", ".join([settings.rest_in_words(spec.setting).replace(" · ", ", "), *fixed])
