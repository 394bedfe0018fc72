"""Looks inside a model over prompts: each is recorded, examined and reduced before the next, so that only one recording
is in memory at a time.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from analysis.errors import UserError
from analysis.exhibits import inside, inside_sets
from analysis.figures.export import Exhibit
from analysis.job_context import Context
from analysis.jobs.outcome import Outcome
from analysis.recording import inside_specs
from analysis.recording.set_measures import LEAST_MODELS
from analysis.recording.trajectory import Trajectory
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks import definitions, geometry, text_divergence
from analysis.sinks.intervals import LEAST_PROMPTS
from analysis.specs import InspectParams, JobSpec, ModelSpec, RecordSpec, SinkParams
from analysis.words import percent

if TYPE_CHECKING:
    import pandas as pd

    from analysis.sinks.text_divergence import Text


class Jobs(Protocol):
    """Runner of jobs. context: of this process; a job's result is a file of the caller's."""

    @property
    def context(self) -> Context: ...
    def run(self, kind: str, spec: JobSpec) -> Outcome[Any]: ...


@dataclass
class Inspection:
    """Results of an inspection. words: sentences by insight. over_prompts, of_first: figures of all prompts and of the
    first one. tables: further numbers by name.
    """

    prompts: list[str]
    words: dict[str, list[str]] = field(default_factory=dict)
    over_prompts: list[Exhibit] = field(default_factory=list)
    of_first: list[Exhibit] = field(default_factory=list)
    tables: dict[str, "pd.DataFrame"] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class _Reduced:
    """Values kept of every prompt, in order; a list is empty if its insight was not requested."""

    carried: list[np.ndarray] = field(default_factory=list)  # (L,)
    chance: list[np.ndarray] = field(default_factory=list)  # (L,)
    hits: list[np.ndarray] = field(default_factory=list)  # (2, L): of undecided sinks, of other undecided tokens
    counts: list[np.ndarray] = field(default_factory=list)  # (2,)
    own: list[dict[str, np.ndarray]] = field(default_factory=list)  # name -> (L,)
    beside: list[dict[str, np.ndarray]] = field(default_factory=list)  # name -> (L,)
    random: list[dict[str, np.ndarray]] = field(default_factory=list)  # name -> (R, L)
    texts: list["Text"] = field(default_factory=list)
    flips: list[np.ndarray] = field(default_factory=list)  # (T,)


def inspect_prompts(
    spec: RecordSpec, prompts: list[str], params: InspectParams, sinks: SinkParams, beside: str | None, jobs: Jobs
) -> Inspection:
    """Record every prompt by `spec` and compute the insights of `params`.

    beside: a model on the same prompts. jobs: runs each recording and each look.

    Raises UserError where the model cannot give what is requested.
    """
    started = time.perf_counter()
    inspection, kept = Inspection(prompts), _Reduced()
    wanted = [name for name in params.insights if name != "parting" or beside is not None]
    if not wanted:
        raise UserError("Where the text of a model parts from another's needs that other model: give --beside.")
    if "channels" in wanted:
        spec = spec.model_copy(update={"channels": params.channels_kept})
    other = None if beside is None else spec.model.model_copy(update={"source": beside})
    first = _first_look(spec, prompts, params, sinks, wanted, kept, inspection, jobs)
    if other is not None:
        _look_beside(spec, other, prompts, params, sinks, wanted, kept, inspection, first, jobs)
    _over_prompts(params, wanted, kept, inspection, beside)
    inspection.seconds = round(time.perf_counter() - started, 3)
    return inspection


def _recorded(spec: RecordSpec, prompts: list[str], jobs: Jobs) -> Iterator[tuple[int, Trajectory]]:
    """Yield every prompt's recording, one at a time; its file goes when the next is made."""
    for index, prompt in enumerate(prompts):
        jobs.context.progress(f"looking inside {Path(spec.model.source).name}", index, len(prompts))
        file = jobs.run("record", spec.model_copy(update={"prompt": prompt})).file
        assert file is not None
        yield index, open_trajectory(file)
        file.unlink()


def _sinks(trajectory: Trajectory, params: SinkParams) -> np.ndarray:
    """Return the sinks of each step by the mass of all layers together, (T, S) bool."""
    mass = definitions.mean_mass(trajectory.relative_mass())
    return definitions.find_sinks(mass, params, trajectory.pattern.visible())


def _first_look(
    spec: RecordSpec,
    prompts: list[str],
    params: InspectParams,
    sink_params: SinkParams,
    wanted: list[str],
    kept: _Reduced,
    inspection: Inspection,
    jobs: Jobs,
) -> tuple[Trajectory, np.ndarray]:
    """Reduce every recording of the model itself. Return the first one with its sinks (T, S)."""
    first = None
    for index, trajectory in _recorded(spec, prompts, jobs):
        sinks = _sinks(trajectory, sink_params)
        first = first or (trajectory, sinks)
        if "channels" in wanted:
            carried, chance = inside.carried_by_layer(trajectory, sinks)
            kept.carried.append(carried.mean(axis=0))
            kept.chance.append(chance.mean(axis=0))
            if index == 0:
                inspection.of_first.append(inside.channels_by_layer(trajectory, sinks))
                inspection.tables["largest-channels"] = inside.largest_channels(trajectory, sinks)
        if "lens" in wanted:
            _read(trajectory, sinks, spec.model, params, kept, inspection, jobs)
        if "geometry" in wanted:
            arrays = _geometry(trajectory, spec.model, params.random_models, jobs)
            kept.own.append({name: geometry.by_layer(arrays[f"own_{name}"]) for name in geometry.MEASURES})
            nothing = np.empty((0, trajectory.layers))
            drawn = {
                name: np.stack([geometry.by_layer(row) for row in arrays[f"random_{name}"]])
                if params.random_models
                else nothing
                for name in geometry.MEASURES
            }
            kept.random.append(drawn)
        if "parting" in wanted:
            kept.texts.append(inside.text_of(trajectory))
    assert first is not None
    return first


def _read(
    trajectory: Trajectory,
    sinks: np.ndarray,
    model: ModelSpec,
    params: InspectParams,
    kept: _Reduced,
    inspection: Inspection,
    jobs: Jobs,
) -> None:
    """Read the lens at one step of a recording; nothing if no token is undecided there."""
    step = round(params.lens_at * (trajectory.steps - 1))
    at = inside_specs.undecided(trajectory, step)
    if not len(at):
        return
    read = jobs.run("lens", inside_specs.lens_spec(trajectory, model, step)).summary
    hits, flags = np.array(read["hits"]), sinks[step, at]
    if not kept.hits:
        inspection.of_first.append(inside.lens_by_layer(trajectory, step, at, read, flags))
    kept.hits.append(np.stack([hits[:, side].sum(axis=1) for side in (flags, ~flags)]).astype(float))
    kept.counts.append(np.array([flags.sum(), (~flags).sum()], float))


def _geometry(trajectory: Trajectory, model: ModelSpec, random: int, jobs: Jobs) -> Mapping[str, np.ndarray]:
    from safetensors.numpy import load_file

    file = jobs.run("geometry", inside_specs.geometry_spec(trajectory, model, random)).file
    assert file is not None
    arrays = load_file(file)
    file.unlink()
    return arrays


def _look_beside(
    spec: RecordSpec,
    other: ModelSpec,
    prompts: list[str],
    params: InspectParams,
    sink_params: SinkParams,
    wanted: list[str],
    kept: _Reduced,
    inspection: Inspection,
    first: tuple[Trajectory, np.ndarray],
    jobs: Jobs,
) -> None:
    """Record the prompts with the other model; its geometry is measured on its own inputs."""
    plain = spec.model_copy(update={"model": other, "channels": 0})
    for index, trajectory in _recorded(plain, prompts, jobs):
        if "geometry" in wanted:
            arrays = _geometry(trajectory, other, 0, jobs)
            kept.beside.append({name: geometry.by_layer(arrays[f"own_{name}"]) for name in geometry.MEASURES})
        if "parting" not in wanted:
            continue
        divergence = text_divergence.compare_texts(kept.texts[index], inside.text_of(trajectory))
        kept.flips.append(divergence.flips)
        if index == 0:
            here, sinks = first
            length = divergence.filled.shape[1]
            labels = here.labels(), trajectory.labels()
            differ = here.final[:length] != trajectory.final[:length]
            both = sinks, _sinks(trajectory, sink_params)
            inspection.of_first.append(inside.filled_in(divergence, labels, differ))
            inspection.of_first.append(inside.agreement_over_steps(divergence, both, trajectory.state))


def _over_prompts(
    params: InspectParams, wanted: list[str], kept: _Reduced, inspection: Inspection, beside: str | None
) -> None:
    """Add the figures and sentences over all prompts, of at least two."""
    several = len(inspection.prompts) > 1
    if not several:
        inspection.notes.append("One prompt has no interval: give two or more for figures over prompts.")

    def take(name: str, pair: tuple[Exhibit, list[str]]) -> None:
        inspection.over_prompts.append(pair[0])
        inspection.words.setdefault(name, []).extend(pair[1])

    if len(inspection.prompts) < LEAST_PROMPTS:
        silent = f"Nothing is said about {len(inspection.prompts)} prompts: a claim needs {LEAST_PROMPTS}."
        inspection.words = {name: [silent] for name in wanted if name != "parting"}
    elif "geometry" in wanted and params.random_models < LEAST_MODELS:
        inspection.words["geometry"] = [f"Nothing is said about random weights: a claim needs {LEAST_MODELS} models."]
    if "channels" in wanted and several:
        take("channels", inside_sets.channels_over_prompts(np.stack(kept.carried), np.stack(kept.chance)))
    if "lens" in wanted and len(kept.hits) < len(inspection.prompts):
        missing = len(inspection.prompts) - len(kept.hits)
        inspection.notes.append(f"No token was undecided where the lens looks in {missing} prompts: they are left out.")
    if "lens" in wanted and len(kept.hits) > 1:
        where = f"after {percent(params.lens_at, 0)} of the steps"
        take("lens", inside_sets.lens_over_prompts(np.stack(kept.hits), np.stack(kept.counts), where))
    if "geometry" in wanted and several:
        for name in geometry.MEASURES:
            models = {"this model": np.stack([row[name] for row in kept.own])}
            if kept.beside and beside is not None and kept.beside[0][name].shape == kept.own[0][name].shape:
                models[f"beside: {Path(beside).name}"] = np.stack([row[name] for row in kept.beside])
            random = np.stack([row[name] for row in kept.random])
            take("geometry", inside_sets.geometry_over_prompts(name, models, random))
    if len(kept.flips) > 1:
        shown = inside.flips_over_prompts(kept.flips)
        take("parting", (shown, [shown.told]))
