"""Claims tested on a model: the engine submits the recordings, measurements and prunings that decide them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from analysis.engine.planned_parts import Child, PartPlanner
from analysis.engine.studies import chosen_prompts, sampling_of, set_children, sweep_of, twin_of
from analysis.registry import Implementations
from analysis.specs import CLAIM_DATA, CLAIM_SIZES, ClaimMeasuresSpec, ClaimsSpec, ModelSpec

SWEEP = "sweep"  # the sweep among the children


def new_claims(model: ModelSpec, size: str = "quick", **changes: Any) -> ClaimsSpec:
    """Return a run of the claims of this size, with the model's own twin if the registry has one.

    changes: fields to override. Raises pydantic's ValidationError for fields that contradict each other.
    """
    return ClaimsSpec.model_validate({"model": model, **twin_of(model), **CLAIM_SIZES[size].values, **changes})


def prompts_of(spec: ClaimsSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the prompts and their keys; no keys if each prompt stands alone."""
    return chosen_prompts(spec.study())


def of_sets(spec: ClaimsSpec) -> list[Child]:
    """Return the recordings of a study of the same size, with only the nulls that claims are tested against."""
    return [
        replace(child, spec=child.spec.model_copy(update={"skip_matched": True, "null_prompts": spec.null_prompts}))
        for child in set_children(spec.study())
    ]


def inside_name(model: ModelSpec, measures: Sequence[str]) -> str:
    """Name the child that measures inside a model. The measures are in the name, so that a longer table is measured
    anew.
    """
    return f"inside {model.source}: {' '.join(measures)}"


def _inside(spec: ClaimsSpec, model: ModelSpec, twin: bool) -> list[Child]:
    measures = spec.measures(twin)
    if not measures:
        return []
    measured = ClaimMeasuresSpec(
        model=model,
        prompts=prompts_of(spec)[0],
        measures=measures,
        random_models=spec.random_models,
        null_prompts=spec.null_prompts,
        looks=spec.looks,
        tasks=spec.tasks,
        limit=spec.limit,
        sampling=sampling_of(model, spec.study()),
        seed=spec.seed,
    )
    return [Child(inside_name(model, measures), "measure_claims", measured, f"looking inside {model.source}")]


def of_inside(spec: ClaimsSpec) -> list[Child]:
    """Return the measurements inside the model."""
    return _inside(spec, spec.model, twin=False)


def of_twin(spec: ClaimsSpec) -> list[Child]:
    """Return the measurements inside its twin, if there is one."""
    return [] if spec.reference is None else _inside(spec, spec.reference, twin=True)


def of_sweep(spec: ClaimsSpec) -> list[Child]:
    """Return the sweep that prunes and scores."""
    return [Child(SWEEP, "sweep", sweep_of(spec.study()), "pruning and scoring")]


CLAIM_CHILDREN: Implementations[Callable[[ClaimsSpec], list[Child]]] = Implementations(CLAIM_DATA)


def claim_children(spec: ClaimsSpec) -> dict[str, list[Child]]:
    """Return the children of a run of the claims, by row of `CLAIM_DATA`. Raises UserError for a bad model source."""
    return {name: CLAIM_CHILDREN[name](spec) if name in spec.needed else [] for name in CLAIM_DATA}


class ClaimRuns(PartPlanner[ClaimsSpec]):
    """Planner of claims runs, with a thread that runs while there are any."""

    kind, spec = "claims", ClaimsSpec

    def parts_of(self, spec: ClaimsSpec) -> dict[str, list[Child]]:
        """Return the children of a run of the claims, by the data that claims need."""
        return claim_children(spec)
