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


def inspect_prompts(
    spec: RecordSpec, prompts: list[str], params: InspectParams, sinks: SinkParams, beside: str | None, jobs: Jobs
) -> Inspection:
    """Record every prompt by `spec` and compute the insights of `params`.

    beside: a model on the same prompts. jobs: runs each recording and each look.

    Raises UserError where the model cannot give what is requested.
    """
    started = time.perf_counter()
    wanted = [name for name in params.insights if name != "parting" or beside is not None]
    if not wanted:
        raise UserError("Where the text of a model parts from another's needs that other model: give --beside.")
    if "channels" in wanted:
        spec = spec.model_copy(update={"channels": params.channels_kept})
    looks = _Looks(spec, params, sinks, beside, jobs, wanted, Inspection(prompts))
    first = looks.first()
    if beside is not None:
        looks.beside_it(spec.model.model_copy(update={"source": beside}), *first)
    looks.over_prompts()
    looks.found.seconds = round(time.perf_counter() - started, 3)
    return looks.found


@dataclass
class _Looks:
    """An inspection under way: what is asked, what is found, and the values kept of every prompt, in order; a list is
    empty if its insight was not requested.
    """

    spec: RecordSpec
    params: InspectParams
    sinks: SinkParams
    beside: str | None
    jobs: Jobs
    wanted: list[str]
    found: Inspection
    carried: list[np.ndarray] = field(default_factory=list)  # (L,)
    chance: list[np.ndarray] = field(default_factory=list)  # (L,)
    hits: list[np.ndarray] = field(default_factory=list)  # (2, L): of undecided sinks, of other undecided tokens
    counts: list[np.ndarray] = field(default_factory=list)  # (2,)
    own: list[dict[str, np.ndarray]] = field(default_factory=list)  # name -> (L,)
    others: list[dict[str, np.ndarray]] = field(default_factory=list)  # name -> (L,), of the model beside it
    random: list[dict[str, np.ndarray]] = field(default_factory=list)  # name -> (R, L)
    texts: list["Text"] = field(default_factory=list)
    flips: list[np.ndarray] = field(default_factory=list)  # (T,)

    def _recorded(self, spec: RecordSpec) -> Iterator[tuple[int, Trajectory]]:
        """Yield every prompt's recording, one at a time; its file goes when the next is made."""
        prompts = self.found.prompts
        for index, prompt in enumerate(prompts):
            self.jobs.context.progress(f"looking inside {Path(spec.model.source).name}", index, len(prompts))
            file = self.jobs.run("record", spec.model_copy(update={"prompt": prompt})).file
            assert file is not None
            yield index, open_trajectory(file)
            file.unlink()

    def _sinks(self, trajectory: Trajectory) -> np.ndarray:
        """Return the sinks of each step by the mass of all layers together, (T, S) bool."""
        mass = definitions.mean_mass(trajectory.relative_mass())
        return definitions.find_sinks(mass, self.sinks, trajectory.pattern.visible())

    def first(self) -> tuple[Trajectory, np.ndarray]:
        """Reduce every recording of the model itself. Return the first one with its sinks (T, S)."""
        first = None
        for index, trajectory in self._recorded(self.spec):
            sinks = self._sinks(trajectory)
            first = first or (trajectory, sinks)
            if "channels" in self.wanted:
                carried, chance = inside.carried_by_layer(trajectory, sinks)
                self.carried.append(carried.mean(axis=0))
                self.chance.append(chance.mean(axis=0))
                if index == 0:
                    self.found.of_first.append(inside.channels_by_layer(trajectory, sinks))
                    self.found.tables["largest-channels"] = inside.largest_channels(trajectory, sinks)
            if "lens" in self.wanted:
                self._read(trajectory, sinks)
            if "geometry" in self.wanted:
                arrays = self._geometry(trajectory, self.spec.model, self.params.random_models)
                self.own.append(_own(arrays))
                drawn = {name: map(geometry.by_layer, arrays.get(f"random_{name}", ())) for name in geometry.MEASURES}
                shape = self.params.random_models, trajectory.layers
                self.random.append({name: np.array(list(rows)).reshape(shape) for name, rows in drawn.items()})
            if "parting" in self.wanted:
                self.texts.append(inside.text_of(trajectory))
        assert first is not None
        return first

    def _read(self, trajectory: Trajectory, sinks: np.ndarray) -> None:
        """Read the lens at one step of a recording; nothing if no token is undecided there."""
        step = round(self.params.lens_at * (trajectory.steps - 1))
        at = inside_specs.undecided(trajectory, step)
        if not len(at):
            return
        read = self.jobs.run("lens", inside_specs.lens_spec(trajectory, self.spec.model, step)).summary
        hits, flags = np.array(read["hits"]), sinks[step, at]
        if not self.hits:
            self.found.of_first.append(inside.lens_by_layer(trajectory, step, at, read, flags))
        self.hits.append(np.stack([hits[:, side].sum(axis=1) for side in (flags, ~flags)]).astype(float))
        self.counts.append(np.array([flags.sum(), (~flags).sum()], float))

    def _geometry(self, trajectory: Trajectory, model: ModelSpec, random: int) -> Mapping[str, np.ndarray]:
        from safetensors.numpy import load_file

        file = self.jobs.run("geometry", inside_specs.geometry_spec(trajectory, model, random)).file
        assert file is not None
        arrays = load_file(file)
        file.unlink()
        return arrays

    def beside_it(self, other: ModelSpec, first: Trajectory, sinks: np.ndarray) -> None:
        """Record the prompts with the other model; its geometry is measured on its own inputs. first: the model's first
        recording; sinks (T, S): of it.
        """
        for index, trajectory in self._recorded(self.spec.model_copy(update={"model": other, "channels": 0})):
            if "geometry" in self.wanted:
                self.others.append(_own(self._geometry(trajectory, other, 0)))
            if "parting" not in self.wanted:
                continue
            divergence = text_divergence.compare_texts(self.texts[index], inside.text_of(trajectory))
            self.flips.append(divergence.flips)
            if index == 0:
                length = divergence.filled.shape[1]
                labels = first.labels(), trajectory.labels()
                differ = first.final[:length] != trajectory.final[:length]
                both = sinks, self._sinks(trajectory)
                self.found.of_first.append(inside.filled_in(divergence, labels, differ))
                self.found.of_first.append(inside.agreement_over_steps(divergence, both, trajectory.state))

    def _take(self, name: str, pair: tuple[Exhibit, list[str]]) -> None:
        self.found.over_prompts.append(pair[0])
        self.found.words.setdefault(name, []).extend(pair[1])

    def over_prompts(self) -> None:
        """Add the figures and sentences over all prompts, of at least two."""
        found, wanted, prompts = self.found, self.wanted, len(self.found.prompts)
        several = prompts > 1
        if not several:
            found.notes.append("One prompt has no interval: give two or more for figures over prompts.")
        if prompts < LEAST_PROMPTS:
            silent = f"Nothing is said about {prompts} prompts: a claim needs {LEAST_PROMPTS}."
            found.words = {name: [silent] for name in wanted if name != "parting"}
        elif "geometry" in wanted and self.params.random_models < LEAST_MODELS:
            found.words["geometry"] = [f"Nothing is said about random weights: a claim needs {LEAST_MODELS} models."]
        if "channels" in wanted and several:
            self._take("channels", inside_sets.channels_over_prompts(np.stack(self.carried), np.stack(self.chance)))
        if "lens" in wanted and len(self.hits) < prompts:
            missing = prompts - len(self.hits)
            found.notes.append(f"No token was undecided where the lens looks in {missing} prompts: they are left out.")
        if "lens" in wanted and len(self.hits) > 1:
            where = f"after {percent(self.params.lens_at, 0)} of the steps"
            self._take("lens", inside_sets.lens_over_prompts(np.stack(self.hits), np.stack(self.counts), where))
        if "geometry" in wanted and several:
            for name in geometry.MEASURES:
                own, random = (np.stack([row[name] for row in rows]) for rows in (self.own, self.random))
                models = {"this model": own}
                if self.beside is not None and self.others[0][name].shape == self.own[0][name].shape:
                    models[f"beside: {Path(self.beside).name}"] = np.stack([row[name] for row in self.others])
                self._take("geometry", inside_sets.geometry_over_prompts(name, models, random))
        if len(self.flips) > 1:
            shown = inside.flips_over_prompts(self.flips)
            self._take("parting", (shown, [shown.told]))


def _own(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the measures of the model itself by layer."""
    return {name: geometry.by_layer(arrays[f"own_{name}"]) for name in geometry.MEASURES}
