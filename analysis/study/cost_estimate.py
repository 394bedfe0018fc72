"""Time, memory and disk that a whole study will take, and the hub data that it needs, before it starts. Runs nothing.

Costs are those of earlier jobs of the store, else those of the study that ships, if it is of the same model. Data is
looked for first, since scores come last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles

from analysis import hub
from analysis.calibration.text import SOURCES
from analysis.engine import Engine
from analysis.engine.cost_estimate import CostEstimate, duration, nothing_swept
from analysis.engine.planned import Child
from analysis.engine.studies import children_of, claim_children
from analysis.evaluation.presets import PRESETS, expand, known_sizes
from analysis.jobs.claim_measures import NULLS, text_sampling
from analysis.models.checkpoint import checkpoint_of
from analysis.sinks.movement import weight_nulls
from analysis.specs import (
    CLAIM_MEASURES,
    TEXT_DRAWS,
    AblateSetSpec,
    AutoregressiveSampling,
    ClaimMeasuresSpec,
    ClaimsSpec,
    RecordSetSpec,
    RecordSpec,
    Sampling,
    Spec,
    StudySpec,
    SweepSpec,
    controls_drawn,
)
from analysis.study.findings import Findings, JobTiming

_STATE_BYTES = 4  # of float32


@dataclass(frozen=True)
class StudyCostEstimate:
    """Cost of the rest of a study. seconds: of one worker, of what is known. memory_bytes: of a worker's process;
    disk_bytes: at the most; None where not known. from_example: whether some of it is what the study that ships took.
    unknown: what is not known, a sentence each.
    """

    sweep: CostEstimate
    seconds: float
    memory_bytes: int | None
    disk_bytes: int | None
    workers: int
    from_example: bool
    unknown: tuple[str, ...]


def foresee_study(engine: Engine, spec: StudySpec, example: Findings | None) -> StudyCostEstimate:
    """Add up every part of a study. Raises UserError for a bad model source."""
    asked = [child for part in children_of(spec).values() for child in part]
    return _foreseen(engine, spec, asked, example)


def foresee_claims(engine: Engine, spec: ClaimsSpec, example: Findings | None) -> StudyCostEstimate:
    """Add up what a run of the claims asks for. Raises UserError for a bad model source."""
    asked = [child for part in claim_children(spec).values() for child in part]
    return _foreseen(engine, spec.study(), asked, example)


def _foreseen(engine: Engine, spec: StudySpec, asked: Sequence[Child], example: Findings | None) -> StudyCostEstimate:
    """spec: the study that the sweep is of, if a sweep is asked for."""
    swept = next((child.spec for child in asked if isinstance(child.spec, SweepSpec)), None)
    sweep = engine.foresee(swept) if swept is not None else nothing_swept(engine.workers())
    seconds, disk, unknown, from_example = sweep.seconds, sweep.disk_bytes, [], False
    children = {child.name: child for child in asked if child.kind != "sweep"}
    for child in children.values():
        if engine.answered(child.kind, child.spec) is not None:
            continue
        measured = _of_store(engine, child)
        if not measured and example is not None:
            measured = _of_example(example, child)
            from_example |= bool(measured)
        if not measured:
            unknown.append(f"the time of {child.title}")
            continue
        work = forwards(child.spec)
        seconds += work * median(took for took, _ in measured)
        if disk is not None:
            disk += round(work * median(size for _, size in measured))
    unknown += sweep.unknown
    found = StudyCostEstimate(sweep, seconds, sweep.memory_bytes, disk, engine.workers(), from_example, tuple(unknown))
    return found if example is None else _by_example(found, spec, example)


def forwards(spec: Spec) -> int:
    """Count the forwards of one sequence that a recording, a set of them or an ablation takes, by which its time is
    scaled.
    """
    match spec:
        case RecordSpec():
            return spec.sampling.forwards()
        case RecordSetSpec():
            nulls = len(weight_nulls(spec.skip_matched)) * spec.random_models * min(spec.null_prompts, spec.count)
            # Every prompt once more at half the length, in half the steps.
            return round(spec.sampling.forwards() * ((1.5 + spec.by_query) * spec.count + nulls))
        case AblateSetSpec():
            # Untouched once; each target and its controls take a forward that chooses and one that predicts. Then the
            # likelihood of each text.
            conditions = sum(1 + len(controls_drawn(name)) for name in spec.targets) * len(spec.interventions)
            draws = 1 if isinstance(spec.sampling, AutoregressiveSampling) else TEXT_DRAWS
            each = spec.sampling.forwards() * (1 + 2 * conditions) + draws * (1 + conditions)
            return each * len(spec.prompts) * (1 + spec.random_model)
        case ClaimMeasuresSpec():
            # Recorded once; then one pass over the steps looked at with one other text, and the forwards of each
            # measure.
            rows = [CLAIM_MEASURES[name] for name in spec.measures]
            each = spec.looks * (1 + sum(row.forwards for row in rows)) + 1
            # Untouched, and in each of two conditions a forward that chooses and one that predicts; where a text grows,
            # only the latter two are whole.
            written = text_sampling(spec.sampling)
            each += any(row.writes for row in rows) * written.forwards() * (3 if _grows(written) else 5)
            prompts = len(spec.prompts)
            looked_at = prompts + min(spec.null_prompts, prompts) * len(NULLS) * spec.random_models
            return prompts * spec.sampling.forwards() + looked_at * each + _readings(spec)
    raise TypeError(f"{type(spec).__name__} is no job of a study.")


def _grows(sampling: Sampling) -> bool:
    return isinstance(sampling, AutoregressiveSampling)


def _readings(spec: ClaimMeasuresSpec) -> int:
    """Count the forwards of scoring items untouched, with sinks hidden and with others hidden; 0 where sizes are not
    known.
    """
    return 4 * _items(spec) if any(CLAIM_MEASURES[name].items for name in spec.measures) else 0


def _of_store(engine: Engine, child: Child) -> list[tuple[float, float]]:
    """Return seconds and bytes per forward of earlier jobs of this kind with this model."""
    estimates = []
    for job in engine.jobs(child.kind):
        if job.state != "done" or job.cached or not job.started or not job.finished:
            continue
        try:
            spec = job.parameters(Spec)
        except ValueError:  # parameters that changed since
            continue
        if getattr(spec, "model", None) == getattr(child.spec, "model", None):
            work = forwards(spec)
            estimates.append(((job.finished - job.started) / work, job.summary.get("bytes", 0) / work))
    return estimates


def _of_example(example: Findings, child: Child) -> list[tuple[float, float]]:
    """The same of the study that ships. Measurements inside either model of its pair, which have one shape, go by the
    quickest of its jobs that run whole forwards: the others waited for more of what else the machine did.
    """
    study = example.parameters
    theirs = {one.name: one for part in children_of(study).values() for one in part}
    model = getattr(child.spec, "model", None)
    of_pair = isinstance(child.spec, ClaimMeasuresSpec) and model in study.models
    alike = [one for one in theirs.values() if _runs_whole(one.spec)] if of_pair else [theirs.get(child.name)]
    rates = [
        (took.seconds / forwards(there.spec), took.bytes / forwards(there.spec))
        for there in alike
        for took in example.took
        if there is not None and took.name == there.name and (of_pair or getattr(there.spec, "model", None) == model)
    ]
    return [min(rates)] if rates else []


def _runs_whole(spec: Spec) -> bool:
    """Return whether a job's forwards are whole texts: an autoregressive recording grows one."""
    return isinstance(spec, AblateSetSpec) or (isinstance(spec, RecordSetSpec) and not _grows(spec.sampling))


def _by_example(found: StudyCostEstimate, spec: StudySpec, example: Findings) -> StudyCostEstimate:
    """Add what the sweep's own estimate lacks, by the study that ships, where it is of the same model."""
    sweep, theirs = found.sweep, example.parameters
    if not sweep.points or theirs.model != spec.model:
        return found
    seconds, unknown, known = found.seconds, list(found.unknown), []
    pruned = {point.method: _of_name(example.took, f"prune {point.method}") for point in sweep.unmeasured}
    timed = [pruned[point.method] for point in sweep.unmeasured if pruned[point.method]]
    if timed and spec.data == theirs.data:
        seconds += sum(map(_usual, timed)) * max(1.0, _tokens(spec) / _tokens(theirs))
        known.append("prunings, until")
        others = len(sweep.unmeasured) - len(timed)
        if others:
            unknown.append(f"the time of {others} of {sweep.points} prunings by methods that it had not")
    scored = _of_name(example.took, "evaluate")
    same = (spec.tasks, spec.draws) == (theirs.tasks, theirs.draws)
    if sweep.unscored and scored and same and _items(theirs):
        seconds += (sweep.points + 1) * _usual(scored) * _items(spec) / _items(theirs)
        known.append("the time of scoring")
    if not known:
        return found
    peak = max(one.memory_bytes for one in example.took) + max(0, _states(spec) - _states(theirs))
    left = tuple(said for said in unknown if not any(part in said for part in known))
    memory = max(peak, found.memory_bytes or 0) or None
    return replace(found, seconds=seconds, memory_bytes=memory, from_example=True, unknown=left)


def _tokens(spec: StudySpec) -> int:
    """Tokens of a calibration, as long as the model takes them."""
    checkpoint = checkpoint_of(spec.model)
    longest = spec.seq_len if checkpoint is None else min(spec.seq_len, checkpoint.geometry.max_length)
    return spec.samples * longest


def _states(spec: StudySpec) -> int:
    """Bytes of the states of a calibration's tokens between two blocks, which is what grows with it."""
    checkpoint = checkpoint_of(spec.model)
    return 0 if checkpoint is None else _tokens(spec) * checkpoint.geometry.hidden * _STATE_BYTES


def _of_name(took: Sequence[JobTiming], name: str) -> list[float]:
    return [part.seconds for part in took if part.name == name]


def _usual(seconds: Sequence[float]) -> float:
    """The lower quartile: what it took while the machine did nothing else."""
    return quantiles(seconds, n=4)[0] if len(seconds) > 1 else seconds[0]


def _items(spec: StudySpec | ClaimMeasuresSpec) -> int:
    """Items that every model is asked; 0 where that is not known before they are downloaded."""
    tasks, unknown = known_sizes(spec.tasks)
    return 0 if unknown else sum(min(task.items, spec.limit or task.items) for task in tasks)


def lines(cost_estimate: StudyCostEstimate) -> list[str]:
    """Say what a study will take, a sentence each."""
    points = cost_estimate.sweep.points
    told = [f"{points:,} prunings to do and score, and the recordings and measurements."] if points else []
    if cost_estimate.seconds:
        whence = ", as it took where the example was made" if cost_estimate.from_example else ""
        whole = "of what is known" if cost_estimate.unknown else "in all"
        told.append(
            f"About {duration(cost_estimate.seconds)} of one worker's time {whole}{whence}; "
            f"{cost_estimate.workers} at work."
        )
    if cost_estimate.memory_bytes:
        told.append(f"Up to about {cost_estimate.memory_bytes / 1e6:,.0f} MB of memory per worker.")
    if (cost_estimate.disk_bytes or 0) >= 1e6:
        told.append(f"Up to {(cost_estimate.disk_bytes or 0) / 1e6:,.0f} MB on the disk.")
    if cost_estimate.unknown:
        told.append(f"Not known: {'; '.join(cost_estimate.unknown)}.")
    return told


def why_not(spec: StudySpec) -> str:
    """Return why the benchmarks or the calibration text of a study cannot be had here, in two sentences, or ''.

    Tasks and texts that SinkScope does not know by name are not looked for.
    """
    wanted = [(PRESETS[name].title, PRESETS[name].dataset) for name in expand(spec.tasks) if name in PRESETS]
    if spec.data in SOURCES:
        wanted.insert(0, (SOURCES[spec.data].title, SOURCES[spec.data].dataset))
    missing = [title for title, dataset in wanted if dataset and not hub.stored(dataset)]
    if not missing or hub.reachable():
        return ""
    are = "is" if len(missing) == 1 else "are"
    return (
        f"This study needs {', '.join(missing)}, which {are} not on this disk, and the Hugging Face hub cannot be "
        "reached. Choose another size, or tasks and a calibration text that are here."
    )
