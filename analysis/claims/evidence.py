"""Evidence for claims, from the recordings, measurements and scores that a run of the claims has left: one number and
one null per prompt, or a difference over calibration seeds. Runs nothing; no torch.
"""

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from analysis.engine import Engine, JobRecord
from analysis.engine.planned import Part
from analysis.engine.studies import prompts_of
from analysis.engine.sweeps import Read, scored
from analysis.errors import UserError
from analysis.evaluation import sweep_scores
from analysis.evaluation.sweep_scores import Setting
from analysis.jobs.claim_measures import NULLS, TRAINED
from analysis.jobs.summaries import ClaimMeasuresSummary
from analysis.recording.set_file import RecordingSet, open_set
from analysis.recording.set_measures import Arrays, arrays_of
from analysis.registry import Implementations
from analysis.sinks.intervals import LEAST_PROMPTS
from analysis.specs import CLAIM_DATA, CLAIMS, Claim, ClaimsSpec
from analysis.statistics.clustered import Estimate, difference, estimate
from analysis.statistics.differences import Difference


@dataclass(frozen=True)
class Found:
    """Data of a run of the claims. clusters: of each prompt, (N,). settings: of the sweep, once it is complete.
    reference: the twin's name in sentences. reasons: why data are missing, by row of `CLAIM_DATA`.
    """

    random_models: int
    clusters: np.ndarray
    recordings: RecordingSet | None = None
    inside: ClaimMeasuresSummary | None = None
    twin: ClaimMeasuresSummary | None = None
    settings: Sequence[Setting] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""

    @property
    def fingerprint(self) -> str:
        """Of the model, as its jobs say it; empty where none does."""
        if self.inside is not None:
            return self.inside["fingerprint"]
        return "" if self.recordings is None else self.recordings.info.model.fingerprint

    def why(self, data: str) -> str:
        """Return why some data are missing, and what would provide them, in a sentence or two."""
        return self.reasons.get(data) or CLAIM_DATA[data].without


def found_by(record: JobRecord, engine: Engine, read: Read = sweep_scores.read_scores) -> Found:
    """Return the results of a run of the claims so far. Raises UserError for a damaged file."""
    spec = record.parameters(ClaimsSpec)
    parts = {part.name: part for part in engine.parts(record)}
    jobs = {
        name: job for name, part in parts.items() for job in part.jobs.values() if job.ended and job.state == "done"
    }
    file = engine.result_file(jobs["set"]) if "set" in jobs else None
    settings: Sequence[Setting] = ()
    if "sweep" in jobs:
        points = engine.sweep_points(jobs["sweep"])
        settings = sweep_scores.settings(scored(points, engine.result_file, read), [point.pruning for point in points])
    return Found(
        spec.random_models,
        clusters_of(spec),
        None if file is None else open_set(file, "The stored set of recordings"),
        _measured(jobs, "inside"),
        _measured(jobs, "twin"),
        settings,
        {
            name: _why(part, record.ended)
            for name, part in parts.items()
            if name not in jobs and part.state != "not asked"
        },
        "" if spec.reference is None else spec.reference.source,
    )


def clusters_of(spec: ClaimsSpec) -> np.ndarray:
    """The number of each prompt's cluster, (N,): its own where it shares no key."""
    texts, keys = prompts_of(spec)
    return np.asarray(np.unique(keys or [str(index) for index in range(len(texts))], return_inverse=True)[1])


def _measured(jobs: Mapping[str, JobRecord], name: str) -> ClaimMeasuresSummary | None:
    return cast(ClaimMeasuresSummary, jobs[name].summary) if name in jobs else None


def _why(part: Part, ended: bool) -> str:
    title = CLAIM_DATA[part.name].title
    if part.state == "failed":
        return f"{title[0].upper()}{title[1:]}: {part.reason}"
    return f"This run has no {title}. Test the claims again." if ended else f"Still to come: {title}."


LEAST_SEEDS = 2
LEAST_SHARED = 20  # prompts with a value both in the model and with other weights
FEW_PROMPTS = f"A verdict needs at least {LEAST_PROMPTS} prompts; prompts of one template count once."


@dataclass(frozen=True)
class Evidence:
    """Numbers of a claim on a model, in the claim's own scale. value, null: the claimed quantity and its comparison,
    each with its interval. excess: how far the value lies beyond the null, positive in the claimed direction. others:
    the same against every model of each null of other weights. values, nulls: of every prompt, seed or item.
    above_chance: False if the model cannot be scored. counted: unit of sample size. twin: the name of the model behind
    the null, if it is another.
    """

    value: Estimate
    null: Estimate
    excess: Difference
    others: Mapping[str, tuple[Difference, ...]] = field(default_factory=dict)
    values: tuple[float, ...] = ()
    nulls: tuple[float, ...] = ()
    above_chance: bool = True
    counted: str = "prompts"
    twin: str = ""


class Missing(Exception):
    """Raised if a claim cannot be judged. Its text says what data would decide, in a sentence or two."""


Samples = tuple[np.ndarray, np.ndarray]
"""A number and its null per prompt, (N,) each; NaN for a prompt with nothing to measure."""


def of_prompts(
    claim: Claim, pair: Samples, others: Mapping[str, Sequence[Samples]], clusters: np.ndarray, models: int
) -> Evidence:
    """Return the evidence of paired numbers over prompts. clusters: of each prompt, (N,). models: per null of other
    weights.

    others: the comparison for each model, by null: the model's own number and theirs. Raises Missing for too few
    clusters for a verdict, or too few models.
    """
    value, null = pair
    there = np.isfinite(value) & np.isfinite(null)
    count = len(set(clusters[there].tolist()))
    if count < LEAST_PROMPTS:
        raise Missing(f"{FEW_PROMPTS} {count} count here.")
    if not models or any(len(others.get(null, ())) < models for null in NULLS):
        raise Missing("The same was not measured with random and shuffled weights. Set the random-weight models to 3.")
    return Evidence(
        estimate_of(value[there], clusters[there]),
        estimate_of(null[there], clusters[there]),
        _excess(claim, value, null, clusters),
        {name: tuple(_excess(claim, own, theirs, clusters) for own, theirs in pairs) for name, pairs in others.items()},
        tuple(value[there].tolist()),
        tuple(null[there].tolist()),
    )


def estimate_of(values: np.ndarray, clusters: np.ndarray) -> Estimate:
    """Return the mean over prompts with its clustered interval, Student's for any values."""
    told = difference(values, np.zeros_like(values), clusters, test=False)
    return Estimate(told.value, told.low, told.high, told.n, told.clusters)


def _excess(claim: Claim, first: np.ndarray, second: np.ndarray, clusters: np.ndarray) -> Difference:
    """First beyond second in the claimed direction, over the prompts that have both."""
    there = np.isfinite(first) & np.isfinite(second)
    if there.sum() < LEAST_SHARED:
        raise Missing(
            f"{there.sum()} prompts have a number with other weights as well, and a verdict needs {LEAST_SHARED}. Give "
            "more prompts."
        )
    sides = (first[there], second[there])[:: claim.direction]
    return difference(*sides, clusters[there], test=True)


# --- from sets of recordings ------------------------------------------------------------------------------------


def _per_prompt(parts: Callable[[Arrays], Samples]) -> Callable[[Claim, Found, str], Evidence]:
    """Evidence from a quotient of sums over the layers of a set."""

    def told(claim: Claim, found: Found, null: str) -> Evidence:
        recordings = found.recordings
        if recordings is None:
            raise Missing(found.why("set"))

        def quotients(which: str, model: int | None = None) -> np.ndarray:
            above, below = parts(arrays_of(recordings, which, model))
            return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)

        value = quotients(TRAINED)
        others = {
            name: [(value, quotients(name, model)) for model in range(len(recordings.info.seeds_of(name)))]
            for name in NULLS
        }
        return of_prompts(claim, (value, quotients(null)), others, recordings.clusters, found.random_models)

    return told


def _replaced(arrays: Arrays) -> Samples:
    """Return births and deaths over twice the sinks that could die, per prompt, over all layers."""
    events = (arrays["births"] + arrays["deaths"])[:, :-1].sum(axis=(1, 2))
    return events, 2 * arrays["alive"][:, :-1].sum(axis=1)


def sinks_move(claim: Claim, found: Found) -> Evidence:
    """Root mean square change of the corrected share, beside shares that only writing changes."""

    def root(arrays: Arrays) -> Samples:
        squares = arrays["change_squares"][:, :-1]  # over all layers; the root is taken of the quotient
        below = arrays["changes"] * squares.shape[1]
        return np.sqrt(squares.sum(axis=1) / np.where(below > 0, below, np.nan)), np.ones(len(below))

    return _per_prompt(root)(claim, found, "fixed")


def sinks_stay(claim: Claim, found: Found) -> Evidence:
    """Share of the sinks that are replaced per step, beside as many sinks at random positions of the same state."""
    return _per_prompt(_replaced)(claim, found, "shuffled")


# --- from measurements inside -----------------------------------------------------------------------------------


def inside(claim: Claim, found: Found) -> Evidence:
    """A row of `CLAIM_MEASURES` beside its null, and the difference of both with other weights."""
    summary = _inside_of(found, "inside")
    own = _samples(summary, claim.measure, TRAINED)
    others = {
        null: [
            (own[0] - own[1], _shown_difference(summary, claim.measure, null, model))
            for model in range(len(summary["networks"][null]))
        ]
        for null in NULLS
    }
    return of_prompts(claim, own, others, found.clusters, found.random_models)


def hiding_costs_less(claim: Claim, found: Found) -> Evidence:
    """Return the cost of hiding sinks beyond other tokens, in the model and in its twin, and with other weights."""
    model, twin = _inside_of(found, "inside"), _inside_of(found, "twin")

    costs = [np.subtract(*_samples(summary, claim.measure, TRAINED)) for summary in (model, twin)]
    own, theirs = costs
    others = {
        null: [
            (
                own - theirs,
                np.subtract(*(_shown_difference(each, claim.measure, null, number) for each in (model, twin))),
            )
            for number in range(min(len(model["networks"][null]), len(twin["networks"][null])))
        ]
        for null in NULLS
    }
    told = of_prompts(claim, (own, theirs), others, found.clusters, found.random_models)
    return replace(told, twin=found.reference)


def _inside_of(found: Found, data: str) -> ClaimMeasuresSummary:
    summary = found.inside if data == "inside" else found.twin
    if summary is None:
        raise Missing(found.why(data))
    return summary


def _shown_difference(summary: ClaimMeasuresSummary, measure: str, null: str, number: int) -> np.ndarray:
    """Return value beyond null of every prompt with other weights, (N,): 0 if these have nothing to measure, as no
    sinks to hide, so that they show no effect; NaN for prompts that they were not shown.
    """
    value, beside = _samples(summary, measure, null, number)
    shown = np.arange(len(value)) < len(summary["networks"][null][number][measure])
    return np.where(shown, np.nan_to_num(value - beside), np.nan)


def _samples(summary: ClaimMeasuresSummary, measure: str, network: str, number: int = 0) -> Samples:
    """Return value and null of every prompt in one network; NaN if there is none."""
    rows = summary["networks"][network][number].get(measure)
    if rows is None:
        raise Missing("This was not measured in that run. Test the claims again.")
    pairs = np.full((max(summary["prompts"], len(rows)), 2), np.nan)
    pairs[: len(rows)] = [row or (np.nan, np.nan) for row in rows]
    return pairs[:, 0], pairs[:, 1]


def hiding_keeps_accuracy(claim: Claim, found: Found) -> Evidence:
    """Return the accuracy that hiding sinks costs beyond other tokens, in the model and in its twin, over the items
    they share.
    """
    summaries = [_inside_of(found, data) for data in ("inside", "twin")]
    own, theirs = (summary.get("accuracy") for summary in summaries)
    if own is None or theirs is None:
        notes = dict.fromkeys(note for summary in summaries for note in summary.get("notes", ()))
        raise Missing(" ".join(notes) or "Accuracy was not measured in that run. Test the claims again.")
    shared = set(own["keys"]) & set(theirs["keys"])
    at = [number for number, key in enumerate(own["keys"]) if key in shared]
    places = {key: number for number, key in enumerate(theirs["keys"])}
    like = [places[own["keys"][number]] for number in at]
    clusters = np.unique([own["clusters"][number] for number in at], return_inverse=True)[1]
    count = len(set(clusters.tolist()))
    if count < LEAST_PROMPTS:
        raise Missing(f"{count} clusters of items were answered, and a verdict needs at least {LEAST_PROMPTS}.")
    lost, above = [], True
    for scores, chosen in ((own, at), (theirs, like)):
        others, hidden, chances, untouched = (
            np.array(scores[name])[chosen] for name in ("others", "hidden", "chances", "untouched")
        )
        lost.append(others - hidden)
        above &= bool(estimate(untouched, clusters).low > np.mean(chances))
    return Evidence(
        estimate_of(lost[0], clusters),
        estimate_of(lost[1], clusters),
        _excess(claim, lost[0], lost[1], clusters),
        values=tuple(lost[0].tolist()),
        nulls=tuple(lost[1].tolist()),
        above_chance=above,
        counted="items",
        twin=found.reference,
    )


# --- from a sweep -----------------------------------------------------------------------------------------------


def discount_helps(claim: Claim, found: Found) -> Evidence:
    """The method that discounts sinks against its control with the same noise, over seeds and clusters of items.

    A model with random weights answers at chance, so it has no pruning to compare: the dense model has to be above it.
    """
    pair = next((one for one in sweep_scores.comparisons(found.settings) if one.relation == "control"), None)
    if pair is None:
        raise Missing(found.why("sweep"))
    if len(pair.seeds) < LEAST_SEEDS:
        raise Missing("One calibration seed is one draw of a method. Give at least two seeds.")
    means = [
        setting.by_seed[[setting.seeds.index(seed) for seed in pair.seeds]] for setting in (pair.setting, pair.other)
    ]
    seeds = np.arange(len(pair.seeds))
    return Evidence(
        estimate(means[0], seeds),
        estimate(means[1], seeds),
        replace(pair.difference, p_holm=None, tests=1),
        values=tuple(means[0].tolist()),
        nulls=tuple(means[1].tolist()),
        above_chance=pair.setting.above_chance,
        counted="calibration seeds and items",
    )


EVIDENCE: Implementations[Callable[[Claim, Found], Evidence]] = Implementations(CLAIMS)


# --- the claims as they were tested on the model that ships ----------------------------------------------------------


EXAMPLE = Path(__file__).parents[1] / "bundled" / "claims.json.gz"
MOST_BYTES = 2**22  # unpacked


class TestedClaims(BaseModel):
    """What a run of the claims found. evidence: by claim; missing: why another has none. fingerprint: of the model.
    created: when the run began, ISO 8601. environment: versions and hardware. command: that repeats it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")
    __test__ = False  # no test, for all its name

    spec: ClaimsSpec
    evidence: dict[str, Evidence]
    missing: dict[str, str]
    fingerprint: str
    created: str
    environment: dict[str, Any]
    command: str


def write(tested: TestedClaims, path: Path) -> None:
    """Write them as gzipped JSON, the same bytes for the same evidence."""
    path.write_bytes(gzip.compress(tested.model_dump_json().encode(), 9, mtime=0))


def read(path: Path) -> TestedClaims:
    """Read claims that were written. Raises UserError for a file that holds none."""
    try:
        with gzip.open(path) as file:
            return TestedClaims.model_validate_json(file.read(MOST_BYTES))
    except (OSError, EOFError, ValueError, ValidationError) as error:
        raise UserError(f"'{path.name}' holds no claims that this version can read. Test the claims again.") from error
