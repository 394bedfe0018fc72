"""Studies and runs of the claims: the engine submits their recordings, measurements, ablations and sweep, part by part.

A row per part names the function that submits its jobs. Results of earlier parts are read from their records. If a part
fails, the others go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from pydantic import ValidationError

from analysis.bundled.prompts import keyed_prompts
from analysis.calibration.noise import swept_with_own_noise
from analysis.engine.planned import Child, PartPlanner
from analysis.models.before_loading import prompt_tokens
from analysis.models.checkpoint import checkpoint_of, describe
from analysis.models.registry import entry
from analysis.registry import Implementations
from analysis.specs import (
    BUNDLED_PROMPTS,
    CLAIM_DATA,
    CLAIM_SIZES,
    OWN_PROMPTS,
    SAMPLINGS,
    SIZES,
    STUDY_PARTS,
    AblateSetSpec,
    AutoregressiveSampling,
    ClaimMeasuresSpec,
    ClaimsSpec,
    ModelSpec,
    RecordSetSpec,
    RecordSpec,
    Sampling,
    StudySpec,
    SweepSpec,
)
from analysis.specs.commands import sized_command
from analysis.words import model_in_words


def new_study(model: ModelSpec, size: str = "quick", **changes: Any) -> StudySpec:
    """Return a study of this size, with the model's own prompt and reference if the registry has them.

    changes: fields to override. Raises pydantic's ValidationError for fields that contradict each other.
    """
    known = entry(model.source)
    values = {"model": model, **twin_of(model), **SIZES[size].values, **({"prompt": known.prompt} if known else {})}
    return StudySpec.model_validate(values | changes)


def twin_of(model: ModelSpec) -> dict[str, ModelSpec]:
    """Return the registry's twin of a model as the reference of a study; nothing if it has none."""
    known = entry(model.source)
    return {"reference": model.model_copy(update={"source": known.reference})} if known and known.reference else {}


def chosen_prompts(spec: StudySpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the prompts on which sinks are found and their keys; no keys if each prompt stands alone."""
    if spec.own_prompts:
        return spec.own_prompts[: spec.prompts], spec.own_keys[: spec.prompts]
    bundled = keyed_prompts(spec.prompts)
    return tuple(prompt.text for prompt in bundled), tuple(prompt.template for prompt in bundled)


def sampling_of(model: ModelSpec, spec: StudySpec) -> Sampling:
    """Return the sampling of a model in a study: its own sampler, one token per step, everything else at its default.

    Raises UserError for a bad model source.
    """
    kind = SAMPLINGS[describe(model).sampler]
    values = {"gen_length": spec.gen_length}
    if "steps" in kind.model_fields and kind is not AutoregressiveSampling:
        values["steps"] = spec.gen_length
    return kind.model_validate(values)


def sweep_of(spec: StudySpec) -> SweepSpec:
    """The prunings and scores of a study, with the model's own noise, and sequences that hold a canvas and as much text
    before it where the model denoises one. Raises UserError for a bad model source.
    """
    sweep = swept_with_own_noise(spec.sweep())
    family = describe(spec.model)
    if family.noise != "uniform":
        return sweep
    seq_len = max(spec.seq_len, 2 * (family.block_size or 0))
    calibration = sweep.pruning.calibration.model_copy(update={"seq_len": seq_len})
    return sweep.model_copy(update={"pruning": sweep.pruning.model_copy(update={"calibration": calibration})})


def watch_name(model: ModelSpec) -> str:
    """Name the child that records a model to watch."""
    return f"watch {model.source}"


def watch_children(spec: StudySpec) -> list[Child]:
    """A recording of the prompt with each model."""
    return [
        Child(
            watch_name(model),
            "record",
            RecordSpec(model=model, prompt=spec.prompt, sampling=sampling_of(model, spec), seed=spec.seed),
            f"recording with {model_in_words(model.source)}",
        )
        for model in spec.models
    ]


def set_name(model: ModelSpec) -> str:
    """Name the child that records a set with a model."""
    return f"sinks {model.source}"


def set_children(spec: StudySpec) -> list[Child]:
    """Return a set of recordings per model, which shows where its sinks are and how they move."""
    children = []
    for model in spec.models:
        # Random weights see one text; an encoder with a separate canvas has none to compare with.
        denoises_canvas = describe(model).noise == "uniform"
        random_models = 0 if denoises_canvas else spec.random_models
        recorded = RecordSetSpec(
            model=model,
            prompts=OWN_PROMPTS if spec.own_prompts else BUNDLED_PROMPTS,
            own_prompts=spec.own_prompts,
            own_keys=spec.own_keys,
            count=spec.prompts,
            random_models=random_models,
            null_prompts=spec.prompts,
            sampling=sampling_of(model, spec),
            seed=spec.seed,
        )
        title = f"recording {spec.prompts} prompts with {model_in_words(model.source)}"
        children.append(Child(set_name(model), "record_set", recorded, title))
    return children


def ablation_name(model: ModelSpec) -> str:
    """Name the child that ablates a model."""
    return f"causes {model.source}"


def causes_children(spec: StudySpec) -> list[Child]:
    """An ablation over the prompts of its set of each model whose sinks can be hidden, beside matched positions."""
    texts, keys = chosen_prompts(spec)
    return [
        Child(
            ablation_name(model),
            "ablate_set",
            AblateSetSpec(
                model=model,
                prompts=texts,
                keys=keys,
                sampling=sampling_of(model, spec),
                targets=("sinks",),
                random_model=spec.random_models > 0,
                seed=spec.seed,
            ),
            f"hiding the sinks of {model_in_words(model.source)}",
        )
        for model in spec.models
        if not describe(model).why_no_ablation
    ]


def departures(spec: StudySpec, part: str) -> str:
    """Return how and why a part departs from the study's request, or "". Raises UserError for a bad model source."""
    if part == "causes":
        reasons = {model.source: describe(model).why_no_ablation for model in spec.models}
        return " ".join(
            f"Sinks of {model_in_words(source)} are not hidden. {reason}"
            for source, reason in reasons.items()
            if reason
        )
    if part == "pruning" and (length := sweep_of(spec).pruning.calibration.seq_len) != spec.seq_len:
        return f"Sequences of the calibration text have {length:,} tokens, the last {length // 2:,} of them the canvas."
    return ""


def pruning_children(spec: StudySpec) -> list[Child]:
    """The sweep that prunes and scores."""
    return [Child("sweep", "sweep", sweep_of(spec), "pruning and scoring")]


CHILDREN: Implementations[Callable[[StudySpec], list[Child]]] = Implementations(STUDY_PARTS)


def children_of(spec: StudySpec) -> dict[str, list[Child]]:
    """Return the children of a study by part, in order. Raises UserError for a bad model source."""
    return {name: CHILDREN[name](spec) if name in CHILDREN else [] for name in STUDY_PARTS}


class Studies(PartPlanner[StudySpec]):
    """Planner of studies, with a thread that runs while there are any."""

    kind, spec = "study", StudySpec
    parts_of = staticmethod(children_of)
    departures = staticmethod(departures)


SWEEP = "sweep"  # the sweep among the children


def new_claims(model: ModelSpec, size: str = "quick", **changes: Any) -> ClaimsSpec:
    """Return a run of the claims of this size, with the model's own twin if the registry has one.

    changes: fields to override. Raises pydantic's ValidationError for fields that contradict each other.
    """
    return ClaimsSpec.model_validate({"model": model, **twin_of(model), **CLAIM_SIZES[size].values, **changes})


def claims_command(spec: ClaimsSpec) -> str:
    """`python -m analysis claims …` with the size that is nearest, and the settings that are not its own."""
    sizes = {name: new_claims(spec.model, name) for name in CLAIM_SIZES}
    only = ["--only", *spec.only] if spec.only else []
    return sized_command("claims", spec, sizes, only, ("only",), "FILE")


def claims_misfit(spec: ClaimsSpec) -> str:
    """Return why a run's texts do not fit one of its models, and what does, or ''. Raises UserError for a bad model
    source. Prompts count without a chat template, and not at all without a tokenizer.json: what these add, the job
    refuses once it has loaded the tokenizer.
    """
    return next(filter(None, (_misfit(spec, model) for model in spec.models)), "")


def _misfit(spec: ClaimsSpec, model: ModelSpec) -> str:
    checkpoint = checkpoint_of(model)
    if checkpoint is None:
        return ""
    given = max((prompt_tokens(checkpoint, text) or 0 for text in prompts_of(spec)[0]), default=0)
    called, most = model_in_words(model.source), checkpoint.geometry.max_length
    if _length(spec, model, given) <= most:
        return ""
    shorter = (spec.model_copy(update={"gen_length": new}) for new in range(min(spec.gen_length, most - given), 1, -1))
    fitting = next((one.gen_length for one in shorter if _length(one, model, given) <= most), None)
    told = (
        f"The longest prompt takes {given:,} tokens, and {spec.gen_length:,} new ones do not fit after it: {called} "
        f"takes {most:,} in all."
    )
    return f"{told} Choose " + (f"at most {fitting:,} new tokens." if fitting else "a model that takes longer texts.")


def _length(spec: ClaimsSpec, model: ModelSpec, given: int) -> float:
    """Return the tokens of a text after a prompt of `given` tokens; infinite where the sampler refuses its length."""
    try:
        return sampling_of(model, spec.study()).in_blocks_of(describe(model).block_size).length(given)
    except ValidationError:
        return inf


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
    return [
        Child(
            inside_name(model, measures), "measure_claims", measured, f"looking inside {model_in_words(model.source)}"
        )
    ]


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
    parts_of = staticmethod(claim_children)
