"""Plans in sentences: what a study can show, what a difference needs, and the noise that was assumed."""

from collections.abc import Sequence
from math import ceil, isfinite

from analysis.evaluation.planning import MOST_SEEDS, Noise, Plan, TaskItems, needed, plan
from analysis.statistics.differences import POWER
from analysis.words import percent


def sentences(
    tasks: Sequence[TaskItems], noise: Noise, target: float, items_a_task: int | None, seeds: int, tests: int
) -> list[str]:
    """Tell what the chosen items show, what a difference of `target` (a share) needs, and the noise assumed."""
    family = f" Adjusted for {tests} tests." if tests > 1 else ""
    return [
        in_words(plan(tasks, noise, items_a_task, seeds, tests)),
        needed_in_words(needed(tasks, noise, target, tests), target, tasks, noise, tests),
        f"{noise_in_words(noise)}{family}",
    ]


def in_words(shown: Plan) -> str:
    """Tell what a plan shows, in one sentence."""
    text = f"{shown.items:,} items in about {shown.clusters:,} clusters"
    of_seeds = "one calibration seed" if shown.seeds == 1 else f"{shown.seeds} calibration seeds"
    if not isfinite(shown.detectable):
        return f"{text} and {of_seeds} show no difference: too few of the items would be scored differently."
    told = (
        f"{text} and {of_seeds} show a difference of {_points(shown.detectable)} points on average, or a larger one, "
        f"with {percent(POWER, 0)} probability"
    )
    if shown.seeds == 1:
        return f"{told}. The seed's own noise comes on top: no number of items averages it out."
    return f"{told}; where there is none, they rule out one of {_points(shown.excluded)} points."


def needed_in_words(
    needed_plan: Plan | None, target: float, tasks: Sequence[TaskItems], noise: Noise, tests: int
) -> str:
    """Tell what a difference of `target` needs, in one sentence."""
    wanted = f"To show a difference of {_points(target)} {'point' if target == 0.01 else 'points'}"
    if needed_plan is None:
        best = plan(tasks, noise, None, MOST_SEEDS, tests)
        return (
            f"{wanted}, even {best.items:,} items and {MOST_SEEDS} seeds are too few: they resolve "
            f"only {_points(best.detectable)} points. Take more tasks."
        )
    each = (
        "all items" if needed_plan.items == sum(task.items for task in tasks) else f"{needed_plan.items_a_task:,} items"
    )
    return (
        f"{wanted}, take {each} of each task ({needed_plan.items:,} in about {needed_plan.clusters:,} clusters) and "
        f"{needed_plan.seeds} calibration seeds."
    )


def noise_in_words(noise: Noise) -> str:
    """Tell the noise a plan goes by, and where it is from."""
    return (
        f"Noise {noise.source}: two runs score {percent(noise.disagreement, 1)} of the items differently, the "
        "correlation "
        f"within a cluster is {noise.alike:.2f}, and seeds spread the difference by {_points(noise.seed_spread)} "
        "points."
    )


def _points(value: float) -> str:
    """Return a share in points, two digits where it is small, rounded up so that no more is promised than holds."""
    digits = 1 if value >= 0.01 else 2
    return f"{ceil(round(value * 100 * 10**digits, 6)) / 10**digits:g}"
