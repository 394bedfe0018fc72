"""Runs with a sink discount beside their controls, over the calibration seeds that both were pruned with."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from analysis.engine.runs import Run, score
from analysis.errors import UserError
from analysis.specs import (
    METHODS,
    EvaluateSpec,
    ModelSpec,
    PruneSpec,
    SweepSpec,
    against,
    detail,
    grid,
    setting_key,
    step_range,
    where,
)
from analysis.specs.pruning import only_read


class RunPair(NamedTuple):
    """A control, and the run that differs from it in the discount of the sinks alone. spec: of the run."""

    control: Run
    run: Run
    spec: PruneSpec

    @property
    def seed(self) -> int:
        """The calibration seed of both."""
        return self.spec.calibration.seed


def pairs_by_setting(runs: Sequence[Run], asked: Iterable[PruneSpec] = ()) -> list[list[RunPair]]:
    """Return the pairs of each setting by seed: those of the requested settings first, then those with the newest run.

    runs: newest first; of two pruned alike the newer one counts. Only runs of the same precision form a pair.
    """
    known: dict[tuple[str, str, int], tuple[Run, PruneSpec]] = {}
    for run in runs:
        if (spec := run.pruning) is not None:
            known.setdefault((_setting(run.model, spec), _precision(run), spec.calibration.seed), (run, spec))
    groups: dict[tuple[str, str], list[RunPair]] = defaultdict(list)
    for (setting, precision, seed), (run, spec) in known.items():
        control = _control(spec)
        other = None if control is None else known.get((_setting(run.model, control), precision, seed))
        if other is not None:
            groups[setting, precision].append(RunPair(other[0], run, spec))
    wanted = {_setting(spec.model.source, spec): place for place, spec in enumerate(asked)}
    order = sorted(groups, key=lambda group: wanted.get(group[0], len(wanted)))
    return [sorted(groups[group], key=lambda pair: pair.seed) for group in order]


def at_other_sparsities(runs: Sequence[Run], pairs: Sequence[RunPair]) -> list[RunPair]:
    """Return the pairs that differ from these in their sparsity, by sparsity and seed. pairs: of one setting. runs:
    newest first."""
    if not pairs:
        return []
    own = pairs[0]
    wanted, sparsity = (_setting(own.run.model, own.spec), _precision(own.run)), own.spec.sparsity
    groups = [
        group
        for group in pairs_by_setting(runs)
        if group[0].spec.sparsity != sparsity
        and (
            _setting(group[0].run.model, group[0].spec.model_copy(update={"sparsity": sparsity})),
            _precision(group[0].run),
        )
        == wanted
    ]
    return [pair for group in sorted(groups, key=lambda group: group[0].spec.sparsity) for pair in group]


def as_asked(runs: Sequence[Run], asked: Iterable[PruneSpec]) -> list[Run]:
    """Return the runs that were pruned as one of the asked prunings is, whatever their calibration seed: first those
    with a sink discount, and of these the asked seed, newest first. runs: newest first."""
    wanted = {_setting(spec.model.source, spec): spec.calibration.seed for spec in asked}
    found = []
    for run in runs:
        spec = run.pruning
        setting = "" if spec is None else _setting(run.model, spec)
        if spec is not None and setting in wanted:
            found.append((not METHODS[spec.method].discounted, spec.calibration.seed != wanted[setting], run))
    return [run for *_, run in sorted(found, key=lambda one: one[:2])]


def scored_pairs(pairs: Sequence[RunPair]) -> list[RunPair]:
    """Return the pairs of which both runs answered as many items of the same tasks as the first such pair."""
    asked = {}
    for place, pair in enumerate(pairs):
        scores = [score(run) for run in (pair.control, pair.run)]
        if all(scores):
            asked[place] = {(one.tasks, one.items) for one in scores if one is not None}
    return [pairs[place] for place, alike in asked.items() if alike == next(iter(asked.values()))]


def title_of(spec: PruneSpec, method: bool) -> str:
    """Return the title of prunings that differ only in their calibration seed. method: include the method."""
    title, removed = METHODS[spec.method].title if method else "", where(spec)
    return ", ".join(filter(None, (title, removed and f"{removed} sparsity", detail(spec))))


def has_setting(pair: RunPair, asked: Iterable[PruneSpec]) -> bool:
    """Return True if a pair has one of the requested settings, with any calibration seed."""
    return _setting(pair.run.model, pair.spec) in {_setting(spec.model.source, spec) for spec in asked}


@lru_cache(maxsize=4096)
def _control(spec: PruneSpec) -> PruneSpec | None:
    return against(spec, "control")


@lru_cache(maxsize=4096)
def _setting(model: str, spec: PruneSpec) -> str:
    """Return the key of a pruning's setting, wherever its model was run."""
    return setting_key(spec.model_copy(update={"model": ModelSpec(source=model)}))


def _precision(run: Run) -> str:
    model = run.report.get("model") if run.report is not None else None
    return str(model.get("dtype", "")) if model else ""


def sweep_of(prunings: Sequence[PruneSpec], evaluation: EvaluateSpec, seeds: Sequence[int], **more: Any) -> SweepSpec:
    """Return the sweep that runs these prunings at calibration seeds and scores them: its axes are their differences.

    more: other fields of `SweepSpec`. Raises UserError if they do not form a grid of one model.
    """
    discounted = [one for one in prunings if any(row.discounted for row in one.readers)]
    weighing = [one for one in prunings if any(row.weighs_steps for row in one.readers)]
    quantized = [one for one in prunings if one.quantization.active]
    axes: dict[str, list[Any]] = {
        "methods": [one.method for one in prunings],
        "sparsities": [one.sparsity for one in prunings if METHODS[one.method].removes],
        "patterns": [one.pattern for one in prunings if METHODS[one.method].removes],
        "bits": [one.quantization.bits for one in prunings],
        "quantizers": [one.quantization.quantizer for one in quantized],
        "strengths": [one.discount.discount_strength for one in discounted],
        "stds": [one.discount.sink_std for one in discounted],
        "step_ranges": [step_range(one) for one in weighing],
    }
    base = prunings[0].model_dump()
    for one in prunings:  # a parameter that another method does not read may be unset there
        for name, value in only_read(one.model_dump()).items():
            base[name] = base[name] | value if isinstance(value, dict) else value
    model = prunings[0].model
    fields: dict[str, Any] = {name: tuple(dict.fromkeys(values)) for name, values in axes.items() if values}
    spec = SweepSpec(
        model=model,
        seeds=tuple(seeds),
        pruning=PruneSpec.model_validate(base | {"out": "", "overwrite": False}),
        evaluation=evaluation.model_copy(update={"model": model, "compare": (), "names": (), "kept": ()}),
        **fields,
        **more,
    )
    if {setting_key(one) for one in prunings} != {setting_key(one) for one in grid(spec).prunings}:
        raise UserError("These prunings are not all combinations of what they differ by.")
    return spec
