"""Studies: recordings, ablations and a sweep that the engine asks for itself, until every part of the story has its
answer.

A part that fails leaves the others to go on. What a part asks for is one function of `CHILDREN`; what it needs of an
earlier one it reads from that one's record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analysis.bundled.prompts import keyed_prompts
from analysis.calibration.own_noise import swept_with_own_noise
from analysis.engine.planned import LOOKAHEAD, Planner, children, ended_well, why_ended
from analysis.engine.records import JobRecord
from analysis.models.checkpoint import describe
from analysis.models.registry import entry
from analysis.registry import Attached
from analysis.specs import (
    BUNDLED_PROMPTS,
    OWN_PROMPTS,
    SAMPLINGS,
    SIZES,
    STUDY_PARTS,
    AblateSetSpec,
    AutoregressiveSampling,
    ModelSpec,
    RecordSetSpec,
    RecordSpec,
    Sampling,
    Spec,
    StudySpec,
    SweepSpec,
    grid,
)

PartState = Literal["waiting", "under way", "done", "failed", "not asked"]


@dataclass(frozen=True)
class Child:
    """A job that a part asks for. name: in the study's record; title: for people."""

    name: str
    kind: str
    spec: Spec
    title: str


@dataclass(frozen=True)
class Part:
    """A part of a study: its children so far, by name, and where it stands. reason: why it failed, or in what it
    departs from what is asked.
    """

    name: str
    jobs: Mapping[str, JobRecord]
    state: PartState
    reason: str = ""


def new_study(model: ModelSpec, size: str = "quick", **changes: Any) -> StudySpec:
    """A study of this size, with the model's own prompt and reference where the registry has them.

    changes: fields that are asked for otherwise. Raises pydantic's ValidationError for what does not go together.
    """
    values: dict[str, Any] = {"model": model, **SIZES[size].values}
    known = entry(model.source)
    if known is not None:
        values["prompt"] = known.prompt
        if known.reference:
            values["reference"] = model.model_copy(update={"source": known.reference})
    return StudySpec.model_validate(values | changes)


def sampling_of(model: ModelSpec, spec: StudySpec) -> Sampling:
    """How a model of a study writes: its own sampler, one token a step, everything else at its default.

    Raises UserError for a bad model source.
    """
    kind = SAMPLINGS[describe(model.source, model.paradigm).sampler]
    values = {"gen_length": spec.gen_length}
    if "steps" in kind.model_fields and kind is not AutoregressiveSampling:
        values["steps"] = spec.gen_length
    return kind.model_validate(values)


def sweep_of(spec: StudySpec) -> SweepSpec:
    """The prunings and scores of a study, with the model's own noise, and sequences that hold a canvas and as much text
    before it where the model denoises one. Raises UserError for a bad model source.
    """
    sweep = swept_with_own_noise(spec.sweep())
    family = describe(spec.model.source, spec.model.paradigm)
    if family.noise != "uniform":
        return sweep
    seq_len = max(spec.seq_len, 2 * (family.block_size or 0))
    calibration = sweep.pruning.calibration.model_copy(update={"seq_len": seq_len})
    return sweep.model_copy(update={"pruning": sweep.pruning.model_copy(update={"calibration": calibration})})


def watch_name(model: ModelSpec) -> str:
    """What a study's recording of a model to watch is called among its children."""
    return f"watch {model.source}"


def _watch(spec: StudySpec) -> list[Child]:
    return [
        Child(
            watch_name(model),
            "record",
            RecordSpec(model=model, prompt=spec.prompt, sampling=sampling_of(model, spec), seed=spec.seed),
            f"recording {model.source}",
        )
        for model in spec.models
    ]


def set_name(model: ModelSpec) -> str:
    """What a study's set of recordings of a model is called among its children."""
    return f"sinks {model.source}"


def _sinks(spec: StudySpec) -> list[Child]:
    """A set of recordings of each model, which tells where its sinks are and how they move."""
    children = []
    for model in spec.models:
        # Random weights see one text; a model that reads a text and denoises a canvas beside it has none to stand by.
        denoises_canvas = describe(model.source, model.paradigm).noise == "uniform"
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
        title = f"recording {spec.prompts} prompts with {model.source}"
        children.append(Child(set_name(model), "record_set", recorded, title))
    return children


def ablation_name(model: ModelSpec) -> str:
    """What a study's ablation of a model is called among its children."""
    return f"causes {model.source}"


def _causes(spec: StudySpec) -> list[Child]:
    """An ablation over the prompts of its set of each model whose sinks can be blocked, beside matched positions."""
    bundled = keyed_prompts(spec.prompts) if not spec.own_prompts else []
    texts = spec.own_prompts[: spec.prompts] or tuple(prompt.text for prompt in bundled)
    keys = spec.own_keys[: spec.prompts] or tuple(prompt.template for prompt in bundled)
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
            f"blocking the sinks of {model.source}",
        )
        for model in spec.models
        if not describe(model.source, model.paradigm).why_no_ablation
    ]


def departures(spec: StudySpec, part: str) -> str:
    """In what a part departs from what the study asks, and why, or nothing. Raises UserError for a bad model source."""
    if part == "causes":
        reasons = {model.source: describe(model.source, model.paradigm).why_no_ablation for model in spec.models}
        return " ".join(f"Sinks of {source} are not blocked. {reason}" for source, reason in reasons.items() if reason)
    if part == "pruning" and (length := sweep_of(spec).pruning.calibration.seq_len) != spec.seq_len:
        return f"Sequences of the calibration text have {length:,} tokens, the last {length // 2:,} of them the canvas."
    return ""


def _pruning(spec: StudySpec) -> list[Child]:
    return [Child("sweep", "sweep", sweep_of(spec), "pruning and scoring")]


CHILDREN: Attached[Callable[[StudySpec], list[Child]]] = Attached(
    STUDY_PARTS, {"watch": _watch, "sinks": _sinks, "movement": _sinks, "causes": _causes, "pruning": _pruning}
)


def children_of(spec: StudySpec) -> dict[str, list[Child]]:
    """What a study asks for, by its parts in their order. Raises UserError for a bad model source."""
    return {name: CHILDREN[name](spec) for name in STUDY_PARTS if name in CHILDREN}


class Studies(Planner[StudySpec, StudySpec]):
    """Works off the studies of one engine, in a thread that runs while there are any."""

    kind, spec = "study", StudySpec

    def parts(self, record: JobRecord) -> list[Part]:
        """Every part of a study and where it stands, in the order of the story."""
        spec = record.parameters(StudySpec)
        parts, by_part = [], children_of(spec)
        for name in STUDY_PARTS:
            wanted = by_part.get(name, [])
            jobs = {child.name: job for child in wanted if (job := self._child(record, child.name)) is not None}
            failed = next((job for job in jobs.values() if job.ended and not ended_well(job)), None)
            state: PartState = "under way" if jobs else "waiting"
            if not wanted:
                state = "not asked"
            elif failed is not None:
                state = "failed"
            elif len(jobs) == len(wanted) and all(job.ended for job in jobs.values()):
                state = "done"
            parts.append(Part(name, jobs, state, departures(spec, name) if failed is None else why_ended(failed)))
        return parts

    def _models(self, spec: StudySpec) -> tuple[ModelSpec, ...]:
        return spec.models

    def _begun(self, spec: StudySpec) -> StudySpec:
        return spec

    def _whole(self, record: JobRecord) -> bool:
        """Whether what the parts of a finished study found is still in the store."""
        jobs = [job for part in self.parts(record) for job in part.jobs.values()]
        return all(part.state in ("done", "not asked") for part in self.parts(record)) and all(
            job.key is None or self._engine.has_result(job) for job in jobs
        )

    def _advance(self, job_id: str, live: StudySpec) -> None:
        record = self._running(job_id)
        if record is None:
            return
        every = [child for some in children_of(live).values() for child in some]
        wanted = list({child.name: child for child in every}.values())  # two parts may read one job
        missing = [child for child in wanted if child.name not in children(record)]
        room = self._room(record)
        idle = room == LOOKAHEAD * self._engine.workers()
        for child in missing[: max(0, room)]:
            job = self._engine.submit(child.kind, child.spec, self._asker(job_id), record)
            record = self._note(job_id, child.name, job, made=not job.ended) or record
        self._tell(record, live, wanted, finished=idle and not missing)

    def _tell(self, record: JobRecord, spec: StudySpec, wanted: list[Child], finished: bool) -> None:
        """How far it is: every job counts one, and every point of the sweep."""
        done, doing, failed = 0, "", []
        points = len(grid(spec.sweep()).prunings)
        for child in wanted:
            job = self._child(record, child.name)
            size = points if child.kind == "sweep" else 1
            if job is not None and job.ended:
                done += size
                failed += [] if ended_well(job) else [job]
            elif job is not None:
                doing = doing or child.title
                done += min(self._job_store.progress(job.id).done, points) if child.kind == "sweep" else 0
        total = points + sum(child.kind != "sweep" for child in wanted)
        failures = f", {len(failed)} failed" if failed else ""
        self._job_store.report(record.id, {"phase": f"{doing or 'looking'}{failures}", "done": done, "total": total})
        if not finished:
            return
        if failed:
            several = f"{len(failed)} of {len(wanted)} parts of it failed. The first: {why_ended(failed[0])}"
            self._end(record.id, "failed", reason=several)
        else:
            self._end(record.id, "done")

    def _child(self, record: JobRecord, name: str) -> JobRecord | None:
        job_id = children(record).get(name)
        return None if job_id is None else self._engine.job(job_id)
