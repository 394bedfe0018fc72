"""Jobs on a recording or a model, for Python, that have no verb or leave more than a summary."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

from analysis.errors import UserError
from analysis.recording import inside_specs
from analysis.recording.trajectory import Trajectory
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import CalibrateSpec, HeldoutSpec, JobSpec, ModelSpec, SeedFloorSpec, SinkParams, SuggestSpec
from analysis.specs.messages import spec_of
from analysis.tuning import statistics_file
from sinkscope.results import Ablation, AttentionMap, Geometry, Lens, Result, Search, part_file

if TYPE_CHECKING:
    from analysis.jobs import Outcome

_DTYPES = ("bfloat16", "float32")
PART_SPECS: Mapping[str, type[CalibrateSpec]] = {"seed_floor": SeedFloorSpec, "heldout": HeldoutSpec}


@dataclass(frozen=True)
class Asked:
    """A requested job. run: runs one of a kind. out: the file to keep; None for none. options: by name."""

    recording: Trajectory | None
    out: Path | None
    options: dict[str, Any]
    run: Callable[[str, JobSpec], "Outcome[Any]"]

    def of(self) -> tuple[Trajectory, ModelSpec]:
        """Return the recording and its model. Raises UserError without a recording, or where its model has changed."""
        from analysis.models.checkpoint import checkpoint_of, fingerprint

        if self.recording is None:
            raise UserError("This job is about a recording. Give one as the second argument.")
        recorded = self.recording.info.model
        given = self.options.pop("model", recorded.source)
        model = given if isinstance(given, ModelSpec) else ModelSpec.model_validate({"source": str(given)})
        if recorded.dtype in _DTYPES and model.dtype == "auto":
            model = model.model_copy(update={"dtype": recorded.dtype})
        checkpoint = checkpoint_of(model)
        if checkpoint is None or fingerprint(checkpoint) != recorded.fingerprint:
            raise UserError(
                f"This job runs the recorded model again, and '{model.source}' is not that model here. Record again, "
                "or name its folder with model=…."
            )
        return self.recording, model


def _attention_map(asked: Asked) -> Result:
    recording, model = asked.of()
    step, layer, head = (int(asked.options.pop(name, 0)) for name in ("step", "layer", "head"))
    _nothing_left(asked, "step, layer, head, model")
    _in_range(recording, step)
    done = asked.run("attention_map", inside_specs.attention_map_spec(recording, model, step, layer, head))
    return AttentionMap(recording, step, layer, head, _arrays(done)["map"])


def _ablate(asked: Asked) -> Result:
    recording, model = asked.of()
    count = asked.options.pop("count", None)
    params = spec_of(SinkParams, asked.options)
    done = asked.run("ablate", inside_specs.ablate_spec(recording, model, params, count))
    return Ablation(model.source, done.summary)


def _reference(asked: Asked) -> Result:
    recording, model = asked.of()
    seed = int(asked.options.pop("seed", 0))
    _nothing_left(asked, "seed, model")
    return _recorded(asked, asked.run("reference", inside_specs.reference_spec(recording, model, seed)))


def _noise(asked: Asked) -> Result:
    recording, model = asked.of()
    _nothing_left(asked, "model")
    return _recorded(asked, asked.run("noise", inside_specs.noise_spec(recording, model)))


def _lens(asked: Asked) -> Result:
    recording, model = asked.of()
    step = int(asked.options.pop("step", 0))
    _nothing_left(asked, "step, model")
    _in_range(recording, step)
    at = inside_specs.undecided(recording, step)
    if not len(at):
        raise UserError(f"No token of step {step} is undecided. Choose an earlier step.")
    done = asked.run("lens", inside_specs.lens_spec(recording, model, step))
    return Lens(recording, step, at, done.summary)


def _geometry(asked: Asked) -> Result:
    recording, model = asked.of()
    random_models = asked.options.pop("random_models", None)
    _nothing_left(asked, "random_models, model")
    done = asked.run("geometry", inside_specs.geometry_spec(recording, model, random_models))
    return Geometry(inside_specs.geometry_steps(recording), _arrays(done))


def _calibrate(asked: Asked) -> Result:
    spec = spec_of(CalibrateSpec, _with_model(asked.options))
    done = asked.run("calibrate", spec)
    statistics = statistics_file.open_statistics(_kept(asked, done, None))
    for part in statistics.missing:
        found = asked.run(part, spec_of(PART_SPECS[part], dict(spec)))
        statistics = statistics_file.joined(statistics, _kept(asked, found, part))
    return statistics


def _suggest(asked: Asked) -> Result:
    spec = spec_of(SuggestSpec, _with_model(asked.options))
    return Search(spec, asked.run("suggest", spec).summary)


@dataclass(frozen=True)
class JobKind:
    """A kind of job. help: its purpose and options. run: runs it."""

    help: str
    run: Callable[[Asked], Result]


KINDS: Mapping[str, JobKind] = {
    "attention_map": JobKind("Read the full attention map of a head. step, layer, head", _attention_map),
    "ablate": JobKind("Write the text again without its sinks, and with controls hidden. count, k", _ablate),
    "reference": JobKind("Run the recorded inputs through an untrained, equally sharp model. seed", _reference),
    "noise": JobKind("Noise the finished text forward, as calibration sees it", _noise),
    "lens": JobKind("Read the states behind every layer by the model's own head. step", _lens),
    "geometry": JobKind("Measure dimensions of attention and token states. random_models", _geometry),
    "calibrate": JobKind("Store what every discount's masks are computed from. Fields of CalibrateSpec", _calibrate),
    "suggest": JobKind("Search the discount that costs the model least. Fields of SuggestSpec", _suggest),
}
"""Jobs by the names of their rows in `analysis.jobs.JOBS`."""


def _with_model(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose model may be named by its source."""
    model = options.get("model", "bundled")
    return {**options, "model": model if isinstance(model, ModelSpec) else {"source": str(model)}}


def _nothing_left(asked: Asked, known: str) -> None:
    if asked.options:
        raise UserError(f"There is no option '{next(iter(asked.options))}'. There are: {known}.")


def _in_range(recording: Trajectory, step: int) -> None:
    if not 0 <= step < recording.steps:
        raise UserError(f"The recording has no step {step}: its {recording.steps} steps are counted from 0.")


def _arrays(done: "Outcome[Any]") -> Mapping[str, Any]:
    from safetensors.numpy import load_file

    assert done.file is not None
    return load_file(done.file)


def _kept(asked: Asked, done: "Outcome[Any]", part: str | None) -> Path:
    """Return the file of a job, copied to the requested place, if any."""
    assert done.file is not None
    if asked.out is None:
        return done.file
    return copyfile(done.file, asked.out if part is None else part_file(asked.out, part))


def _recorded(asked: Asked, done: "Outcome[Any]") -> Trajectory:
    return open_trajectory(_kept(asked, done, None))


def run_job(kind: str, recording: Trajectory | None, out: Path | None, options: Mapping[str, Any]) -> Result:
    """Run a row of `KINDS` in this process, with a progress bar."""
    import tempfile

    from analysis.command_line.flags import Terminal
    from analysis.jobs import JOBS

    if kind not in KINDS:
        raise UserError(f"There is no job '{kind}'. There are: {', '.join(KINDS)}.")
    if out is not None and out.exists():
        raise UserError(f"'{out}' exists. Name another file, or remove it.")

    temporary = tempfile.TemporaryDirectory(prefix="sinkscope-", ignore_cleanup_errors=True)
    with temporary as folder, Terminal(Path(folder)) as context:

        def run(name: str, spec: JobSpec) -> "Outcome[Any]":
            function = JOBS[name].run
            assert function is not None
            outcome: Outcome[Any] = function(spec, context)
            return outcome

        return KINDS[kind].run(Asked(recording, out, dict(options), run))
