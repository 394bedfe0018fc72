"""Study sizes beside each other: what each can show, rule out and cost, and the cheapest studies that reach their
power.

Plans are for the discount, the study's question about pruning, at the level that its family of tests leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

from analysis.engine import Engine
from analysis.engine.cost_estimate import duration
from analysis.engine.planned import Part
from analysis.engine.studies import new_study
from analysis.errors import UserError
from analysis.evaluation import plan_noise, planning
from analysis.evaluation.planning import Noise, Plan, TaskItems
from analysis.evaluation.presets import Scoring, known_sizes, scorings
from analysis.machine.speed import CARDS, SUSTAINED, Card
from analysis.models.checkpoint import checkpoint_of, describe, weight_bytes
from analysis.specs import METHODS, SIZES, ModelSpec, PlanParams, StudySpec, grid
from analysis.statistics.decisions import POINTS
from analysis.statistics.differences import POWER
from analysis.study.cost_estimate import StudyCostEstimate, foresee_study
from analysis.study.findings import Findings
from analysis.study.gather_pruning import DISCOUNT, planned_causes, planned_steps
from analysis.words import percent

WEIGHTS = 8e9  # of a model that is not on this disk
AS_SET = "As set"


def planned_tests(spec: StudySpec) -> int:
    """Return how many comparisons a study plans; they form one family."""
    causes = Part("causes", {}, "waiting" if any(map(_can_be_ablated, spec.models)) else "not asked")
    return planned_causes(spec, [causes]) + planned_steps(grid(spec.sweep()).prunings)


def _can_be_ablated(model: ModelSpec) -> bool:
    try:
        return not describe(model).why_no_ablation
    except UserError:  # not on this disk, and no hub to ask
        return True


def noise_of(spec: StudySpec, example: Findings | None) -> Noise:
    """Return the noise of the discount: measured by the example where model and tasks are the same, else assumed."""
    if example is None or example.pruning is None:
        return planning.assumed(PlanParams())
    theirs = example.parameters
    effects = [contrast.effect for contrast in example.pruning.contrasts if contrast.kind == DISCOUNT]
    if (theirs.model.source, theirs.tasks) != (spec.model.source, spec.tasks):
        return planning.assumed(PlanParams())
    return plan_noise.seen(effects, known_sizes(theirs.tasks)[0], theirs.limit, "measured in the study that ships")


def plan_of(spec: StudySpec, noise: Noise) -> Plan | None:
    """Return what a study can show; None where the sizes of its tasks are not known before they are read."""
    tasks, unknown = known_sizes(spec.tasks)
    if unknown or not tasks:
        return None
    return planning.plan(tasks, noise, spec.limit, len(spec.seeds), planned_tests(spec), spec.difference / 100)


# --- sizes beside each other --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sized:
    """A study of one size. prunings: to do and to score. seconds: on one worker, or on one card where `computed`; None
    where that is not known.
    """

    title: str
    spec: StudySpec
    plan: Plan | None
    prunings: int
    seconds: float | None
    computed: bool


def sizes_of(
    engine: Engine, model: ModelSpec, example: Findings | None, chosen: StudySpec | None = None
) -> list[Sized]:
    """Return every size for a model, after the chosen study where it is none of them. Raises UserError for a bad model
    source.
    """
    specs = {row.title: new_study(model, name) for name, row in SIZES.items()}
    if chosen is not None and chosen not in specs.values():
        specs = {AS_SET: chosen} | specs
    return [_sized(title, spec, engine, example) for title, spec in specs.items()]


def _sized(title: str, spec: StudySpec, engine: Engine, example: Findings | None) -> Sized:
    plan, prunings = plan_of(spec, noise_of(spec, example)), len(grid(spec.sweep()).prunings)
    foreseen = _foreseen(engine, spec, example)
    if foreseen is not None and not any("scoring" in said for said in foreseen.unknown):
        return Sized(title, spec, plan, prunings, foreseen.seconds, False)
    asked, unknown = scorings(spec.tasks, spec.limit, spec.draws)
    seconds = None if unknown else (prunings + 1) * sum(_seconds(one, spec, CARDS[0]) for one in asked)
    return Sized(title, spec, plan, prunings, seconds, True)


def _foreseen(engine: Engine, spec: StudySpec, example: Findings | None) -> StudyCostEstimate | None:
    try:
        return foresee_study(engine, spec, example)
    except UserError:  # a model that is not on this disk, and no hub to ask
        return None


def sizes_table(sizes: Sequence[Sized]) -> list[dict[str, Any]]:
    """Return power, equivalence and time of each size, one row each, as text."""
    return [
        {
            "size": one.title,
            "items": "not known" if one.plan is None else f"{one.plan.items:,}",
            "seeds": f"{len(one.spec.seeds)}",
            "prunings": f"{one.prunings:,}",
            "tests": f"{planned_tests(one.spec)}",
            f"shows ({percent(POWER, 0)})": _told(None if one.plan is None else one.plan.detectable),
            f"rules out ({percent(POWER, 0)})": _told(None if one.plan is None else one.plan.excluded),
            "asked about": POINTS.margin(one.spec.difference / 100),
            "… shown": "not known" if one.plan is None else percent(one.plan.power, 0),
            "… ruled out": "not known" if one.plan is None else percent(one.plan.exclusion, 0),
            "time": _time(one),
        }
        for one in sizes
    ]


def how_planned(noise: Noise) -> str:
    """Explain the numbers of the table in plain words."""
    return (
        f"Shows: the true difference of the discount that is significant with {percent(POWER, 0)} probability, at the "
        "level "
        "left by the study's family of tests. Rules out: the margin that contains the interval as often when there is "
        f"no difference. {planning.noise_in_words(noise)} Computed times: scoring alone, on one {CARDS[0].name} at "
        f"{percent(SUSTAINED, 0)} of its data sheet."
    )


def _told(points: float | None) -> str:
    if points is None:
        return "not known"
    return f"±{POINTS.size(points)}" if isfinite(points) else "nothing"


def _time(one: Sized) -> str:
    if one.seconds is None:
        return "not known"
    return f"{long_duration(one.seconds)}{', computed' if one.computed else ''}"


def long_duration(seconds: float) -> str:
    """Return `duration`, in days from four days on."""
    if seconds < 0.5:
        return "under a second"
    return duration(seconds) if seconds < 4 * 86400 else f"{seconds / 86400:,.0f} days"


# --- hours --------------------------------------------------------------------------------------------------------


def weights_of(model: ModelSpec) -> tuple[float, bool]:
    """Return how many weights a model has, and whether that is known; 8 billion where it is not."""
    checkpoint = checkpoint_of(model)
    return (WEIGHTS, False) if checkpoint is None else (float(weight_bytes(checkpoint, 1)), True)


def _seconds(one: Scoring, spec: StudySpec, card: Card) -> float:
    return one.seconds(weights_of(spec.model)[0], card)


def hours_table(spec: StudySpec) -> list[dict[str, Any]]:
    """Return the forwards of one model and the time that scoring it takes on each card, per benchmark, as text."""
    weights, _ = weights_of(spec.model)
    fits = [card for card in CARDS if 2 * weights < 1e9 * card.memory]
    asked, _ = scorings(spec.tasks, spec.limit, spec.draws)
    rows = [
        {
            "benchmark": one.title,
            "items": f"{one.items:,}",
            "forwards": f"{one.forwards:,.0f}",
            "tokens each": f"{one.length:,.0f}",
            **{card.name: long_duration(one.seconds(weights, card)) for card in fits},
        }
        for one in asked
    ]
    models = len(grid(spec.sweep()).prunings) + 1
    for title, count in (("one model", 1), (f"all {models} models", models)):
        whole = {card.name: count * sum(one.seconds(weights, card) for one in asked) for card in fits}
        times = {name: long_duration(seconds) for name, seconds in whole.items()}
        forwards = f"{count * sum(one.forwards for one in asked):,.0f}"
        rows.append({"benchmark": title, "items": "", "forwards": forwards, "tokens each": "", **times})
    return rows


# --- designs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Design:
    """A study that reaches the power named. asks: what it compares. models: to score, the dense one among them.
    seconds: of scoring, on the first of `CARDS`.
    """

    asks: str
    spec: StudySpec
    plan: Plan
    models: int
    seconds: float


def designs(spec: StudySpec, noise: Noise) -> list[Design]:
    """Return the cheapest studies that show the difference asked about with 80 % probability: of all comparisons, of
    one sparsity, and of the discount alone at one sparsity; each with the benchmarks, items and seeds that cost least.
    Cheapest first; a study is left out where no number of seeds reaches that probability.
    """
    middle = sorted(spec.sparsities)[len(spec.sparsities) // 2]
    aware = next((name for name in spec.methods if METHODS[name].control in spec.methods), None)
    changes: dict[str, dict[str, Any]] = {"all that this size compares": {}}
    if len(spec.sparsities) > 1:
        changes[f"its methods at {percent(middle, 0)} alone"] = {"sparsities": (middle,)}
    if aware is not None:
        pair = (METHODS[aware].control, aware)
        changes[f"{METHODS[aware].title} against its control at {percent(middle, 0)} alone"] = {
            "sparsities": (middle,),
            "methods": pair,
        }
    found = [_cheapest(asks, spec, change, noise) for asks, change in changes.items()]
    return sorted((one for one in found if one is not None), key=lambda one: one.seconds)


def _cheapest(asks: str, spec: StudySpec, change: dict[str, Any], noise: Noise) -> Design | None:
    changed = StudySpec.model_validate(spec.model_dump() | change)
    tests, target = planned_tests(changed), changed.difference / 100
    asked, unknown = scorings(changed.tasks, None, changed.draws)
    if unknown:
        return None
    settings = len(grid(changed.sweep()).prunings) // len(changed.seeds)
    by_cost = sorted(asked, key=lambda one: _seconds(one, changed, CARDS[0]) / one.items)
    best: Design | None = None
    for count in range(1, len(by_cost) + 1):
        some = by_cost[:count]
        tasks = [_items_of(one) for one in some]
        each = [_seconds(one, changed, CARDS[0]) / one.items for one in some]
        cost = partial(_cost, tasks, each, settings)
        plan = planning.needed(tasks, noise, target, tests, cost=cost)
        if plan is None:
            continue
        seconds = cost(plan.items_a_task or max(task.items for task in tasks), plan.seeds)
        if best is None or seconds < best.seconds:
            most = max(task.items for task in tasks)
            limit = None if plan.items_a_task is None or plan.items_a_task >= most else plan.items_a_task
            named = {"tasks": tuple(one.name for one in some), "limit": limit, "seeds": tuple(range(plan.seeds))}
            reached = StudySpec.model_validate(changed.model_dump() | named)
            best = Design(asks, reached, plan, settings * plan.seeds + 1, seconds)
    return best


def _items_of(one: Scoring) -> TaskItems:
    return known_sizes((one.name,))[0][0]


def _cost(tasks: Sequence[TaskItems], each: Sequence[float], settings: int, items_a_task: int, seeds: int) -> float:
    """Return the seconds that scoring takes. each: seconds per item of each task."""
    a_model = sum(min(items_a_task, task.items) * cost for task, cost in zip(tasks, each, strict=True))
    return (settings * seeds + 1) * a_model


def design_in_words(design: Design) -> str:
    """Describe a design in one sentence, with the flags that ask for it."""
    spec = design.spec
    items = "all items" if spec.limit is None else f"{spec.limit:,} items of each"
    seeds = f"0-{len(spec.seeds) - 1}"
    flags = f"--tasks {','.join(spec.tasks)} --seeds {seeds} --sparsities {','.join(map(str, spec.sparsities))}"
    flags += f" --methods {','.join(spec.methods)}" + ("" if spec.limit is None else f" --limit {spec.limit}")
    tasks = f"{len(spec.tasks)} benchmarks" if len(spec.tasks) > 1 else "one benchmark"
    return (
        f"{long_duration(design.seconds)} on one {CARDS[0].name}: {design.asks}, {tasks} with {items}, "
        f"{len(spec.seeds)} seeds, {design.models:,} models to score ({flags})."
    )


def designs_in_words(spec: StudySpec, found: Sequence[Design]) -> list[str]:
    """Describe the designs, one sentence each, after what they reach."""
    wanted = f"a difference of {POINTS.margin(spec.difference / 100)} with {percent(POWER, 0)} probability"
    if not found:
        return [f"No number of seeds up to {planning.MOST_SEEDS} shows {wanted} on these benchmarks."]
    return [f"Cheapest studies that show {wanted}:", *(f"  {design_in_words(design)}" for design in found)]
