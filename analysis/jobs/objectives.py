"""Objectives by which a search judges a setting of the discount: the output error of its masks, or benchmark items.

An objective function gives every setting a number and facts as JSON, and belongs to a row of `OBJECTIVES`
(analysis/specs/tuning.py). Its slow parts resume after an interruption.
"""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin

import numpy as np

from analysis.calibration.noise import why_steps_count_alike
from analysis.errors import UserError
from analysis.evaluation import comparing, results
from analysis.job_context import Context
from analysis.jobs.calibration import calibrate, heldout, seed_floor
from analysis.jobs.evaluation import evaluate
from analysis.jobs.outcome import Outcome, result_key
from analysis.jobs.pruning import prune
from analysis.jobs.summaries import EvaluateSummary, SearchFloor
from analysis.machine import process
from analysis.models.checkpoint import find, fingerprint
from analysis.registry import Implementations
from analysis.specs import (
    OBJECTIVES,
    CalibrateSpec,
    DiscountParams,
    EvaluateSpec,
    HeldoutSpec,
    ModelSpec,
    PruneSpec,
    SeedFloorSpec,
    StepParams,
    SuggestSpec,
)
from analysis.statistics import clustered
from analysis.tuning import bin_error
from analysis.tuning import effects as tuning
from analysis.tuning.statistics_file import StoredStatistics, effect_of, joined, open_statistics, plain_of, steps_of

Tell = Callable[[str], None]
Facts = dict[str, Any]
Part = Literal["tuning", "reported"]


class ObjectiveFunction(Protocol):
    """Objective of a search. notes: sentences on what was left out."""

    notes: list[str]

    def unserved(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the choices that cannot be judged, by parameter."""
        return {}

    def value(self, discount: DiscountParams, tell: Tell) -> tuple[float, Facts]:
        """Return the value of a setting, and facts about it. tell: called at every step, and may raise to stop."""

    def floor(self, tell: Tell) -> SearchFloor | None:
        """Return the value of no discount with another calibration seed; None if a seed changes nothing here."""

    def compare(self, settings: dict[str, DiscountParams], tell: Tell) -> Facts | None:
        """Compare the finished search's settings by name, 'best' first, on unseen items; None if there are none."""
        return None


class _Part(Context):
    """The context of a job that runs as a part of this one, with a folder of its own."""

    def __init__(self, whole: Context, folder: Path, tell: Tell) -> None:
        self.folder, self.workers, self.stores = folder, whole.workers, whole.stores
        self._log, self._within, self._tell = whole.log, whole.within, tell

    @property
    def scratch(self) -> Path:
        return self.folder

    def progress(self, phase: str, done: int = 0, total: int = 0, **details: Any) -> None:
        self._tell(f"{phase} {done} of {total}" if total else phase)

    def log(self, text: str) -> None:
        self._log(text)

    def within(self, seconds: float, reason: str) -> AbstractContextManager[None]:
        return self._within(seconds, reason)


# --- output error -----------------------------------------------------------------------------------------------


class OutputError(ObjectiveFunction):
    """The mean output error over all projections on the held-out text, from stored statistics; no model runs."""

    def __init__(self, spec: SuggestSpec, content: str, context: Context, tell: Tell) -> None:
        self.notes: list[str] = []
        self._setting = spec.setting
        self._statistics = _statistics(spec, content, context, tell)
        info = self._statistics.info
        if not self._statistics.has_grams:
            raise UserError(
                "The Gram matrices of the held-out text were too large to store, so there is no output error to judge "
                f"by. Raise the room for squares{_instead()}."
            )
        problem = tuning.why_needs_a_run(info.grouping, info.scopes, spec.base)
        problem = problem or why_steps_count_alike(info.spec.calibration, spec.setting)
        if problem:
            raise UserError(problem)
        if not steps_of(self._statistics, spec.setting).any():
            raise UserError("No stored noise step lies in the range of steps that count. Widen it.")
        if info.grouping == "bins":
            self.notes.append(bin_error.in_words(info.bin_errors))
        self._plain: dict[int, tuning.Plain] = {}
        self._spec, self._content, self._context = spec, content, context
        self._threads = process.count(context.workers)

    def unserved(self, names: Sequence[str]) -> dict[str, list[str]]:
        info = self._statistics.info
        left_out: dict[str, list[str]] = {}
        for name in names:
            kind = DiscountParams.model_fields[name].annotation
            for choice in get_args(kind) if get_origin(kind) is Literal else ():
                reason = tuning.why_needs_a_run(info.grouping, info.scopes, DiscountParams(**{name: choice}))
                if reason:
                    left_out.setdefault(name, []).append(choice)
                    self.notes.append(f"{name} {choice} was left out. {reason}")
        return left_out

    def value(self, discount: DiscountParams, tell: Tell) -> tuple[float, Facts]:
        total = tuning.total(tuning.together(self._effects(discount, tell)), self._statistics.sizes)
        if not np.isfinite(total.error):
            raise UserError("The output error is not finite: a projection gives nothing on the held-out text.")
        return total.error, {"changed": total.changed}

    @process.one_blas_thread()
    def _effects(self, discount: DiscountParams, tell: Tell) -> list[tuning.LayerEffect]:
        """Compute every layer, one per CPU at a time: each layer's products are too small to be shared."""
        weights = self._statistics.group_weights(discount)
        setting = self._setting.model_copy(update={"discount": discount})

        def effect(index: int) -> tuning.LayerEffect:
            if index not in self._plain:
                self._plain[index] = plain_of(self._statistics, index, setting)
            return effect_of(self._statistics, index, setting, weights, self._plain[index])

        effects = []
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for layer_effect in pool.map(effect, range(self._statistics.info.layers)):
                    effects.append(layer_effect)
                    tell("")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return effects

    @process.one_blas_thread()
    def floor(self, tell: Tell) -> SearchFloor | None:
        statistics = self._statistics
        if "seed_floor" in statistics.missing:
            asked = SeedFloorSpec(model=self._spec.model, **dict(self._spec.statistics))
            statistics = joined(statistics, _left_by(seed_floor, asked, self._content, self._context, tell))
        layers = []
        for index in range(statistics.info.layers):
            layers.append(plain_of(statistics, index, self._setting))
            tell("")
        errors, floors = (
            np.array([list(getattr(layer, name).values()) for layer in layers]) for name in ("other_error", "floor")
        )
        if not np.isfinite(errors).all():
            return None
        changed = float((floors * statistics.sizes).sum() / statistics.sizes.sum())
        return {"value": float(errors.mean()), "changed": changed, "seed": statistics.info.other_seed}


def _instead() -> str:
    """The objectives that need no statistics, as the end of an advice."""
    titles = [objective.title for objective in OBJECTIVES.values() if not objective.reads_statistics]
    return f", or judge by {' or '.join(titles)}" if titles else ""


def _statistics(spec: SuggestSpec, content: str, context: Context, tell: Tell) -> StoredStatistics:
    """The statistics and their held-out part, where it fits. content: the model's fingerprint."""
    asked = {"model": spec.model, **dict(spec.statistics)}
    statistics = open_statistics(_left_by(calibrate, CalibrateSpec(**asked), content, context, tell))
    if "heldout" not in statistics.missing:
        return statistics
    return joined(statistics, _left_by(heldout, HeldoutSpec(**asked), content, context, tell))


def _left_by(
    run: Callable[[Any, Context], Outcome[Any]], spec: CalibrateSpec, content: str, context: Context, tell: Tell
) -> Path:
    """The file that a job leaves, which has its function's name: from the results where it is there, else made here
    once.
    """
    key = result_key(run, spec, content)
    stored = context.stores.results.result(key)
    if stored is not None and stored.file is not None:
        return stored.file
    path = context.scratch / f"{key}.safetensors"
    if not path.is_file():
        made = run(spec, _Part(context, context.scratch, lambda text: tell(f"storing statistics: {text}"))).file
        assert made is not None
        made.replace(path)
    return path


# --- accuracy ---------------------------------------------------------------------------------------------------


class TaskAccuracy(ObjectiveFunction):
    """Mean accuracy over tasks of the model pruned by Sink-Wanda with a setting, on the items kept for tuning.

    Every setting gets the same items with the same masks, and a complete pruning. Answers are stored by content, so the
    dense model and settings with known masks are not evaluated again.
    """

    def __init__(self, spec: SuggestSpec, content: str, context: Context, tell: Tell) -> None:
        self.notes: list[str] = []
        self._spec, self._context = spec, context
        self._folder = context.scratch / "trial"

    def value(self, discount: DiscountParams, tell: Tell) -> tuple[float, Facts]:
        summary, prints, _ = self._evaluated({"this setting": discount}, "tuning", self._spec.limit, tell)
        for problem in summary["problems"]:
            if problem not in self.notes:
                self.notes.append(problem)
        dense, pruned = summary["average"]
        if pruned["value"] is None:
            raise UserError(
                "These tasks count no right answers, so settings cannot be judged by them. Choose a task with choices."
            )
        tasks = {task["title"]: task["models"][1]["value"] for task in summary["tasks"] if "models" in task}
        return pruned["value"], {"tasks": tasks, "items": pruned["n"], "dense": dense["value"], "pruned": prints[0]}

    def floor(self, tell: Tell) -> SearchFloor | None:
        seed = (self._spec.statistics.calibration.seed + 1) % 2**31
        none = {"no discount": self._spec.references["no discount"]}
        summary, _, _ = self._evaluated(none, "tuning", self._spec.limit, tell, seed)
        value = summary["average"][1]["value"]
        return None if value is None else {"value": value, "changed": None, "seed": seed}

    def compare(self, settings: dict[str, DiscountParams], tell: Tell) -> Facts | None:
        summary, prints, evaluated = self._evaluated(settings, "reported", self._spec.reported_limit, tell)
        names = list(settings)
        rows = []
        pairs = {
            (evaluated.names.index(first), evaluated.names.index(second)): (first, second)
            for first, second in combinations(names, 2)
        }
        alike = {pair for pair, both in pairs.items() if len({prints[names.index(name)] for name in both}) == 1}
        # Between equal masks there is nothing to test.
        tested = comparing.family(evaluated, [pair for pair in pairs if pair not in alike])
        same = comparing.family(evaluated, sorted(alike))
        for pair, (first, second) in pairs.items():
            for task, difference in (same if pair in alike else tested)[pair].items():
                title = task if task == results.AVERAGE else evaluated.benchmark(task).title
                words = "the same masks" if pair in alike else difference.words
                rows.append(
                    {"task": title, "setting": first, "than": second, **clustered.as_json(difference), "words": words}
                )
            if results.AVERAGE not in (same if pair in alike else tested)[pair]:
                rows.append({**rows[-1], "task": results.AVERAGE})
        accuracies = [
            {"model": row["model"], **{name: row[name] for name in ("value", "low", "high", "n")}}
            for row in summary["average"]
        ]
        return {"accuracies": accuracies, "differences": rows, "problems": summary["problems"]}

    def _evaluated(
        self,
        settings: dict[str, DiscountParams],
        part: Part,
        limit: int | None,
        tell: Tell,
        calibration_seed: int | None = None,
    ) -> tuple[EvaluateSummary, list[str], results.Results]:
        """The summary of the dense model and these settings on a part, fingerprints of the pruned, and the items.

        calibration_seed: that of the search when None.
        """
        spec, calibration = self._spec, self._spec.statistics.calibration
        if calibration_seed is not None:
            calibration = calibration.model_copy(update={"seed": calibration_seed})
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        try:
            folders = []
            steps = StepParams(**{name: getattr(spec.setting, name) for name in StepParams.model_fields})
            for number, discount in enumerate(settings.values()):
                folders.append(self._folder / f"pruned-{number}")
                pruning = PruneSpec(
                    model=spec.model,
                    method="sink-wanda",
                    sparsity=spec.setting.sparsity,
                    discount=discount,
                    steps=steps,
                    calibration=calibration,
                    streaming=spec.statistics.streaming,
                    out=str(folders[-1]),
                )
                prune(pruning, _Part(self._context, self._folder, tell))
            sources = [
                ModelSpec(source=str(folder), device=spec.model.device, dtype=spec.model.dtype) for folder in folders
            ]
            evaluation = EvaluateSpec(
                model=spec.model,
                compare=tuple(sources),
                names=("dense", *settings),
                tasks=spec.tasks,
                limit=limit,
                draws=spec.draws,
                include_path=spec.include_path,
                part=part,
                seed=spec.seed,
            )
            outcome = evaluate(evaluation, _Part(self._context, self._folder, tell))
            assert outcome.file is not None
            prints = [fingerprint(checkpoint) for checkpoint in map(find, map(str, folders)) if checkpoint is not None]
            return outcome.summary, prints, results.read(outcome.file)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


OBJECTIVE_FUNCTIONS: Implementations[Callable[[SuggestSpec, str, Context, Tell], ObjectiveFunction]] = Implementations(
    OBJECTIVES
)
"""(spec, the model's fingerprint, context, tell) -> the objective function. Raises UserError if it cannot judge."""
