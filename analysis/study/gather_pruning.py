"""Results of a study's two experiments: its sweep, with the comparisons that tell the discount from the rest, and its
ablations, with the effects of hiding sinks beside their controls. Runs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.engine import JobRecord
from analysis.engine.planned import Part
from analysis.engine.sweeps import Point
from analysis.evaluation import planning, sweep_scores
from analysis.evaluation.ablation_effects import (
    COUNT,
    MASKED,
    MASS,
    TESTED,
    UNIT,
    begins_of,
    changes_of,
    effect_of,
    effects,
    length_of,
    means_of,
    median_lengths,
    rise_of,
    timing_of,
)
from analysis.evaluation.conditions import PLACEBOS
from analysis.evaluation.presets import known_sizes
from analysis.evaluation.sweep_scores import Setting as Scored
from analysis.findings import sweeps
from analysis.specs import METHODS, PruneSpec, StudySpec, against, part_alone, setting_key
from analysis.statistics.decisions import CANNOT_TELL, decide
from analysis.statistics.differences import Difference
from analysis.study.findings import Cause, Contrast, Dose, Pruning, Setting, Stage, Waterfall

DISCOUNT, NOISE, RECIPE = "discount", "noise", "recipe"


@dataclass(frozen=True)
class Step:
    """One setting against another, on the seeds that both have. kind: what differs, as in `Contrast`."""

    kind: str
    setting: Scored
    other: Scored
    seeds: tuple[int, ...]
    difference: Difference


def steps_of(settings: Sequence[Scored]) -> list[Step]:
    """Every comparison of the study that has scores, not adjusted yet, each once."""
    by_name = {setting_key(setting.pruning): setting for setting in settings}
    steps = []
    for kind, first, second in _pairs([setting.pruning for setting in settings]):
        one, other = by_name[first], by_name[second]
        seeds = tuple(seed for seed in one.seeds if seed in other.seeds)
        if seeds:
            steps.append(Step(kind, one, other, seeds, sweep_scores.between(one, other, seeds)))
    return steps


def planned_steps(prunings: Sequence[PruneSpec]) -> int:
    """Return how many comparisons these prunings make once all of them are scored."""
    return len(_pairs(prunings))


def compared(prunings: Sequence[PruneSpec]) -> list[tuple[PruneSpec, PruneSpec]]:
    """Return the pairs of prunings that are compared."""
    by_name = {setting_key(pruning): pruning for pruning in prunings}
    return [(by_name[first], by_name[second]) for _, first, second in _pairs(prunings)]


def adjusted(steps: Sequence[Step], differences: Sequence[Difference]) -> list[Step]:
    """The steps with these differences, which are adjusted over their family."""
    return [replace(step, difference=difference) for step, difference in zip(steps, differences, strict=True)]


def _pairs(prunings: Sequence[PruneSpec]) -> list[tuple[str, str, str]]:
    """Return each comparison as its kind and both settings. A method published against its control makes one pair."""
    points = {setting_key(pruning): pruning for pruning in strongest(prunings)}
    pairs: dict[tuple[str, str, str], None] = {}
    for name, pruning in points.items():
        if part := part_alone(pruning):
            baseline = _there(points, against(pruning, "published"))
            pairs |= {(f"{part} alone", name, baseline): None} if baseline else {}
            continue
        for placebo in PLACEBOS:
            other = _there(points, against(pruning, placebo))
            pairs |= {(placebo, name, other): None} if other else {}
        control, published = (_there(points, against(pruning, relation)) for relation in ("control", "published"))
        if control:
            pairs[DISCOUNT, name, control] = None
        if published and published != control:
            pairs[RECIPE, name, published] = None
        if control and published and published != control:
            pairs[NOISE, control, published] = None
    return list(pairs)


def strongest(prunings: Sequence[PruneSpec]) -> list[PruneSpec]:
    """Return the prunings without those that discount less than others do: verdicts are of the largest λ."""
    most = max((each.discount.discount_strength for each in prunings if METHODS[each.method].discounted), default=1.0)
    return [each for each in prunings if not METHODS[each.method].discounted or each.discount.discount_strength == most]


def _there(points: dict[str, PruneSpec], wanted: PruneSpec | None) -> str:
    """The name of a pruning where it is one of the points, else nothing."""
    name = "" if wanted is None else setting_key(wanted)
    return name if name in points else ""


# --- what is kept -----------------------------------------------------------------------------------------------


def pruning_of(
    spec: StudySpec, sweep: JobRecord, points: Sequence[Point], settings: Sequence[Scored], steps: Sequence[Step]
) -> Pruning | None:
    """The sweep's findings; None while no pruned model is scored. steps: adjusted over their family."""
    if not settings:
        return None
    dense, kept = settings[0].dense, strongest([setting.pruning for setting in settings])
    differences = [step.difference for step in steps]
    of_setting: dict[str, list[Point]] = {}
    for point in points:
        of_setting.setdefault(setting_key(point.pruning), []).append(point)
    return Pruning(
        dense=dense.value,
        dense_low=dense.low,
        dense_high=dense.high,
        chance=settings[0].chance,
        items=dense.n,
        clusters=dense.clusters,
        settings=tuple(
            _setting(setting, of_setting[setting_key(setting.pruning)])
            for setting in settings
            if setting.pruning in kept
        ),
        contrasts=tuple(_contrast(spec, step) for step in steps),
        waterfalls=tuple(_waterfalls(settings, steps)),
        doses=tuple(_dose(response) for response in sweep_scores.dose_responses(settings)),
        noise=sweeps.noise(differences) if differences else "",
        waiting=sum(point.state in ("waiting", "under way") for point in points),
        job=sweep.id,
    )


def _dose(response: sweep_scores.DoseResponse) -> Dose:
    point = response.settings[0].pruning
    return Dose(
        method=point.method,
        sparsity=point.sparsity,
        strengths=response.strengths,
        accuracies=response.accuracies,
        slope=response.slope,
    )


def _setting(setting: Scored, points: Sequence[Point]) -> Setting:
    """points: those of this setting."""
    of_seed = {point.pruning.calibration.seed: point for point in points}
    of_setting = [of_seed[seed] for seed in setting.seeds]
    return Setting(
        method=setting.pruning.method,
        part=part_alone(setting.pruning),
        sparsity=setting.pruning.sparsity,
        seeds=setting.seeds,
        planned=setting.planned,
        by_seed=tuple(map(float, setting.by_seed)),
        by_task={setting.titles[name]: setting.of_task(name) for name in setting.tasks},
        prunings=tuple(point.pruned.id for point in of_setting if point.pruned is not None),
        evaluations=tuple(point.evaluated.id for point in of_setting if point.evaluated is not None),
    )


def _contrast(spec: StudySpec, step: Step) -> Contrast:
    open_question = decide(step.difference, spec.difference / 100) == CANNOT_TELL
    return Contrast.model_validate(
        {
            "kind": step.kind,
            "method": step.setting.pruning.method,
            "against": step.other.pruning.method,
            "sparsity": step.setting.pruning.sparsity,
            "effect": step.difference,
            "needs": _needs(spec, step) if open_question else "",
        }
    )


def _needs(spec: StudySpec, step: Step) -> str:
    """Say what it would take to show the difference asked about in this family of tests, by the measured noise."""
    tasks, _ = known_sizes(spec.tasks)
    if not tasks:
        return ""
    noise, target = sweep_scores.noise_between(step.setting, step.other, step.seeds), spec.difference / 100
    tests = step.difference.tests
    if not noise.disagreement:
        return ""  # no item differs, so there is no noise to plan by
    return planning.needed_in_words(planning.needed(tasks, noise, target, tests), target, tasks, noise, tests)


def _waterfalls(settings: Sequence[Scored], steps: Sequence[Step]) -> list[Waterfall]:
    """The way to every sink-aware method that has its control: published baseline, noise, discount, and in all.

    Its steps are comparisons of the study, with their adjusted p; the rest of the way from the dense model has none.
    """
    by_name = {setting_key(setting.pruning): setting for setting in settings}
    waterfalls = []
    for last in (step for step in steps if step.kind == DISCOUNT):
        wanted = against(last.setting.pruning, "published")
        published = by_name.get("" if wanted is None else setting_key(wanted), last.other)
        first = [step for step in steps if (step.kind, step.setting, step.other) == (NOISE, last.other, published)]
        start = published if first else last.other
        stages = [Stage(title=METHODS[start.pruning.method].title, effect=_from_dense(start))]
        stages += [Stage(title="+ noise", effect=step.difference) for step in first]
        stages.append(Stage(title="+ discount", effect=last.difference))
        stages.append(
            Stage(title=f"{METHODS[last.setting.pruning.method].title} in all", effect=_from_dense(last.setting))
        )
        floor = sweep_scores.floor(last.other)
        waterfalls.append(
            Waterfall(
                method=last.setting.pruning.method,
                sparsity=last.setting.pruning.sparsity,
                dense=last.setting.dense.value,
                stages=tuple(stages),
                floor=None if floor is None else floor.typical,
                without=_from_dense(last.other),
            )
        )
    return waterfalls


def _from_dense(setting: Scored) -> Difference:
    return replace(sweep_scores.from_dense(setting), p=None)


_CONTROLS = (COUNT, MASS, UNIT)  # that the verdict is of, in models with and without [MASK] alike
_SHOWN = (*_CONTROLS, MASKED)  # the last with its interval alone, in models with [MASK]


def causes_of(ablations: Mapping[str, JobRecord], primary: str) -> tuple[Cause, ...]:
    """Return the effect of hiding each model's sinks against each control, in every measure, not yet adjusted.

    primary: the outcome tested against every control that all models have; the others are tested only against as many
    tokens.
    """
    return tuple(
        Cause(
            model=model,
            measure=row["measure"],
            control=row["against"],
            left_out=row["left_out"],
            unmatched=row["unmatched"],
            effect=_tested(row, primary) if _whole(job) else replace(effect_of(row), p=None, final=False),
            sides=changes_of(job.summary["rows"], row),
            timing=timing_of(row) if _whole(job) else None,
            by_position=means_of(job.summary["rows"], row, "agreement") if _of_text(row) else None,
            rise=rise_of(job.summary["rows"], row) if row["measure"] == "nll" else None,
            repeated=means_of(job.summary["rows"], row, "repeated") if row["measure"] == "nll" else None,
            tokens=means_of(job.summary["rows"], row, "tokens")[0] if row["measure"] == "nll" else 0.0,
            tokens_before=means_of(job.summary["rows"], row, "tokens_before")[0] if row["measure"] == "nll" else 0.0,
            medians=median_lengths(job.summary["rows"], row) if row["measure"] == "nll" else (0.0, 0.0),
            longer=length_of(job.summary["rows"], row) if row["measure"] == "nll" else None,
            begins=begins_of(job.summary["rows"], row) if row["measure"] == "nll" else None,
            unrelated=job.summary["unrelated"] if _of_text(row) else None,
            untrained=next(
                (effect_of(other) for other in _hidden(job.summary["untrained"]) if _same(row, other)), None
            ),
        )
        for model, job in ablations.items()
        for row in _hidden(effects(job.summary["rows"]))
    )


def _of_text(row: Mapping[str, Any]) -> bool:
    return row["measure"] == "aligned" and row["against"] != UNIT


def _tested(row: Mapping[str, Any], primary: str) -> Difference:
    effect = effect_of(row)
    tested = row["against"] == COUNT or (row["measure"] == primary and row["against"] in _CONTROLS)
    return effect if tested else replace(effect, p=None)


def _whole(job: JobRecord) -> bool:
    """Return True if all planned prompts are done: else nothing is tested."""
    return bool(job.summary["prompts"] == job.summary["planned"])


def _hidden(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The effects of hiding sinks against each control."""
    return [row for row in rows if row["target"] == "sinks" and row["against"] in _SHOWN and row["low"] is not None]


def _same(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(row[name] == other[name] for name in ("measure", "against"))


def planned_causes(spec: StudySpec, parts: Sequence[Part]) -> int:
    """Return how many comparisons a study's ablations make once all of them are done: per model, every outcome against
    as many tokens, and the primary one against the other controls.
    """
    part = next((part for part in parts if part.name == "causes"), None)
    if part is None or part.state == "not asked":
        return 0
    models = len(part.jobs) if part.state == "done" else len(spec.models)
    return models * (len(TESTED) + len(_CONTROLS) - 1)
