"""Inspection of a model at its sinks over many prompts, and figures of the measures with intervals over prompts.
Imports no torch.

Each prompt is recorded, examined and reduced before the next, so that only one recording is in memory at a time.
Shapes: N prompts, L layers, R random-weight models. NaN where a prompt has nothing to measure.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from analysis.errors import UserError
from analysis.exhibits import inside
from analysis.exhibits.inside import RANDOM
from analysis.figures.dynamics import Series, curves
from analysis.figures.export import Exhibit
from analysis.findings.sets import beyond
from analysis.job_context import Context
from analysis.jobs.outcome import Outcome
from analysis.recording import inside_specs
from analysis.recording.set_file import RecordingSet
from analysis.recording.set_measures import LEAST_MODELS
from analysis.recording.set_tables import layers_in_words
from analysis.recording.trajectory import Trajectory
from analysis.recording.trajectory_file import open_trajectory
from analysis.sinks import agreement, definitions, geometry
from analysis.sinks.intervals import FEW_PROMPTS, LEAST_PROMPTS, Estimates, paired_difference, quotient
from analysis.specs import InspectParams, JobSpec, ModelSpec, RecordSpec, SinkParams
from analysis.words import model_in_words, percent

if TYPE_CHECKING:
    from analysis.sinks.agreement import Text


_BAND = "Mean over {prompts} prompts with its 95 % interval."


def channels_over_prompts(carried: np.ndarray, chance: np.ndarray) -> tuple[Exhibit, list[str]]:
    """Show how often a sink carries a layer's largest residual channel, (N, L), beside a random token of the same
    state.
    """
    lines = {"on a sink": quotient(carried), "by chance": quotient(chance)}
    sentences = _beyond(
        _apart(carried, chance),
        len(carried),
        "{layers}: sinks carry the largest residual channel more often than random tokens of the same state.",
        "{layers}: sinks carry the largest residual channel less often than random tokens of the same state.",
    )
    shown = _by_layer(
        "channels-over-prompts",
        "How often a sink carries the largest residual channel",
        "In which share of the steps its token is a sink, beside a random token of the same state.",
        "$\\operatorname{mean}_t [\\operatorname{argmax}_{s,c} |h_{t,l,s,c}| \\in \\text{sinks}_t]$",
        lines,
        len(carried),
        "share of the steps",
        "by chance",
        percent=True,
    )
    return shown, sentences


def lens_over_prompts(hits: np.ndarray, counts: np.ndarray, where: str) -> tuple[Exhibit, list[str]]:
    """Show how many undecided sinks, and other undecided tokens, a layer already reads as what they become. hits (N, 2,
    L), counts (N, 2): of sinks and of the others. where: the step.
    """
    of = [np.broadcast_to(counts[:, side, None], hits[:, side].shape) for side in (0, 1)]
    lines = {
        name: quotient(hits[:, side], of[side]) for side, name in enumerate(("undecided sinks", "other undecided"))
    }
    sentences = _beyond(
        paired_difference((hits[:, 0], of[0]), (hits[:, 1], of[1])),
        int(((counts > 0).all(axis=1)).sum()),
        "{layers}: undecided sinks are read as the token they become more often than other undecided tokens.",
        "{layers}: undecided sinks are read as the token they become less often than other undecided tokens.",
    )
    shown = _by_layer(
        "lens-over-prompts",
        "How many undecided tokens a layer reads as what they become",
        f"Sinks beside the others, {where}.",
        "$\\operatorname{argmax} W\\,\\operatorname{norm}(h_l)$ is the token that the position becomes.",
        lines,
        len(hits),
        "share of the tokens",
        "other undecided",
        percent=True,
    )
    return shown, sentences


def queries_over_prompts(
    apart: np.ndarray, permuted: np.ndarray, clusters: np.ndarray | None = None
) -> tuple[Exhibit, list[str]]:
    """Show how far the tokens that undecided and written queries attend to are apart, (N, L), and the same with the
    states of the queries permuted. clusters (N,): numbers of the prompts' clusters.
    """
    lines = {
        "undecided against written": quotient(apart, clusters=clusters),
        "states permuted": quotient(permuted, clusters=clusters),
    }
    told = np.isfinite(apart).any(axis=1)
    sentences = _beyond(
        _apart(apart, permuted, clusters),
        len(told) if clusters is None else len(set(clusters[told].tolist())),
        "{layers}: undecided and written queries attend to different tokens, further apart than with permuted states.",
        "{layers}: undecided and written queries attend to more similar tokens than with permuted states.",
    )
    shown = _by_layer(
        "queries-over-prompts",
        "Distance between what undecided and written queries attend to",
        "Total-variation distance of the two mean distributions over keys: 0 where they are the same, 1 where they "
        "share no token.",
        "$\\operatorname{mean}_{t,h} \\frac{1}{2} \\sum_s "
        "|p^{\\text{undecided}}_{t,l,h,s} - p^{\\text{written}}_{t,l,h,s}|$",
        lines,
        len(apart),
        "total-variation distance",
        "states permuted",
    )
    return shown, sentences


def queries_apart(recordings: RecordingSet) -> Exhibit | None:
    """Return `queries_over_prompts` of a set with what lies beyond the null as its finding; None where the set was not
    recorded by query state or no query was undecided.
    """
    if not recordings.info.by_query:
        return None
    arrays = recordings.part("trained")
    if not np.isfinite(arrays["apart"]).any():
        return None
    shown, sentences = queries_over_prompts(arrays["apart"], arrays["apart_permuted"], recordings.clusters)
    return replace(shown, finding=" ".join(sentences))


def geometry_over_prompts(name: str, models: Mapping[str, np.ndarray], random: np.ndarray) -> tuple[Exhibit, list[str]]:
    """Show a row of `geometry.MEASURES` by layer. models: name -> (N, L), the main model first; random (N, R, L)."""
    measure = geometry.MEASURES[name]
    own = next(iter(models.values()))
    lines = {model: quotient(values) for model, values in models.items()}
    prompts, count = random.shape[:2]
    if count:
        lines[RANDOM] = quotient(random.mean(axis=1))
    sentences: list[str] = []
    if count >= LEAST_MODELS:
        each = [_apart(own, random[:, number]) for number in range(count)]
        closest = Estimates(
            each[0].value,
            np.min([difference.low for difference in each], axis=0),
            np.max([difference.high for difference in each], axis=0),
        )
        title = measure.title[0].lower() + measure.title[1:]
        sentences = _beyond(
            closest,
            prompts,
            f"{{layers}}: the {title} is larger than in each of {count} models of its shape with random weights.",
            f"{{layers}}: the {title} is smaller than in each of {count} models of its shape with random weights.",
        )
    shown = _by_layer(
        f"geometry-{name}-over-prompts",
        measure.title,
        f"The mean over steps, beside {count} models with random weights on the same inputs.",
        measure.formula,
        lines,
        prompts,
        measure.axis,
        RANDOM,
    )
    return shown, sentences


def _apart(first: np.ndarray, second: np.ndarray, clusters: np.ndarray | None = None) -> Estimates:
    """Return the mean of the first minus that of the second over prompts, (N, L) each."""
    ones = np.ones_like(first)
    return paired_difference((first, ones), (second, ones), clusters)


def _by_layer(
    name: str,
    title: str,
    sentence: str,
    formula: str,
    lines: Mapping[str, Estimates],
    prompts: int,
    axis: str,
    reference: str,
    percent: bool = False,
) -> Exhibit:
    """Show a line per series over the layers, with its band. reference: label of the reference line."""
    tables, series = [], []
    for label, line in lines.items():
        layers = np.arange(len(line.value))
        tables.append(
            pd.DataFrame({"layer": layers, "of": label, axis: line.value, "low": line.low, "high": line.high})
        )
        series.append(Series(label, layers, line.value[None], label == reference, line.low, line.high))
    few = FEW_PROMPTS if prompts < LEAST_PROMPTS else ""
    return Exhibit(
        title,
        f"{sentence} {_BAND.format(prompts=prompts)}{few}",
        curves(series, "layer", axis, percent=percent),
        pd.concat(tables),
        formula=formula,
        name=name,
    )


def _beyond(difference: Estimates, prompts: int, above: str, below: str) -> list[str]:
    """Say in which layers the difference lies on one side of zero; nothing for too few prompts."""
    if prompts < LEAST_PROMPTS:
        return []
    sides = ((words, np.flatnonzero(beyond(difference, sign))) for words, sign in ((above, 1), (below, -1)))
    count = len(difference.value)
    return [words.format(layers=layers_in_words(layers, count)) for words, layers in sides if len(layers)]


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
            self.jobs.context.progress(
                f"looking inside {model_in_words(Path(spec.model.source).name)}", index, len(prompts)
            )
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
            divergence = agreement.compare_texts(self.texts[index], inside.text_of(trajectory))
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
            silent = f"Needs at least {LEAST_PROMPTS} prompts (you have {prompts})."
            found.words = {name: [silent] for name in wanted if name != "parting"}
        elif "geometry" in wanted and self.params.random_models < LEAST_MODELS:
            needed = f"Needs at least {LEAST_MODELS} models with random weights (you have {self.params.random_models})."
            found.words["geometry"] = [needed]
        if "channels" in wanted and several:
            self._take("channels", channels_over_prompts(np.stack(self.carried), np.stack(self.chance)))
        if "lens" in wanted and len(self.hits) < prompts:
            missing = prompts - len(self.hits)
            found.notes.append(f"No token was undecided where the lens looks in {missing} prompts: they are left out.")
        if "lens" in wanted and len(self.hits) > 1:
            where = f"after {percent(self.params.lens_at, 0)} of the steps"
            self._take("lens", lens_over_prompts(np.stack(self.hits), np.stack(self.counts), where))
        if "geometry" in wanted and several:
            for name in geometry.MEASURES:
                own, random = (np.stack([row[name] for row in rows]) for rows in (self.own, self.random))
                models = {"this model": own}
                if self.beside is not None and self.others[0][name].shape == self.own[0][name].shape:
                    models[f"beside: {Path(self.beside).name}"] = np.stack([row[name] for row in self.others])
                self._take("geometry", geometry_over_prompts(name, models, random))
        if len(self.flips) > 1:
            shown = inside.flips_over_prompts(self.flips)
            self._take("parting", (shown, [shown.told]))


def _own(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the measures of the model itself by layer."""
    return {name: geometry.by_layer(arrays[f"own_{name}"]) for name in geometry.MEASURES}
