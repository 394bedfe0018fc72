"""Results of a study, as plain numbers, which the page, the verdict and the report read.

One JSON document holds them, so a finished study can be shown where neither its jobs nor its models are. Accuracies and
differences are shares.
"""

import gzip
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from analysis.errors import UserError
from analysis.evaluation.ablation_effects import Begins, Change, Timing
from analysis.specs import StudySpec
from analysis.statistics.differences import Difference

EXAMPLE = Path(__file__).parents[1] / "bundled" / "study.json.gz"
PROMPTS_FILE = "prompts.jsonl"  # beside a report: the prompts of one's own
MOST_BYTES = 64 * 2**20  # more than findings can take, unpacked


class Found(BaseModel):
    """Immutable, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Contrast(Found):
    """Two methods at one sparsity, all else being equal. kind: what differs: the discount alone; noise, order and norm
    together; the whole recipe; one part of it alone, `noise alone` and so on; or which tokens are discounted, beside a
    `sham` discount or one of `light` tokens. needs: what it would take to tell the difference asked about.
    """

    kind: Literal[
        "discount", "noise", "recipe", "noise alone", "order alone", "norm alone", "discount alone", "sham", "light"
    ]
    method: str
    against: str
    sparsity: float
    effect: Difference
    needs: str = ""


class Stage(Found):
    """A step of the way from the dense model to a sink-aware one."""

    title: str
    effect: Difference


class Waterfall(Found):
    """The way to one sink-aware method at one sparsity. floor: what two calibration seeds of the control differ by, in
    root mean square; None with one seed. without: the same pruning without the discount, from the dense model.
    """

    method: str
    sparsity: float
    dense: float
    stages: tuple[Stage, ...]
    floor: float | None
    without: Difference


class Dose(Found):
    """Change of a method's accuracy with λ at one sparsity: shares, from no discount to the full one."""

    method: str
    sparsity: float
    strengths: tuple[float, ...]
    accuracies: tuple[float, ...]
    slope: Difference


class Setting(Found):
    """A method at one sparsity: the mean accuracy of each seed. part: the one of the recipe that it has alone, of
    `RECIPE`. prunings, evaluations: ids of the jobs, a seed each."""

    method: str
    part: str = ""
    sparsity: float
    seeds: tuple[int, ...]
    planned: int
    by_seed: tuple[float, ...]
    by_task: Mapping[str, float]
    prunings: tuple[str, ...] = ()
    evaluations: tuple[str, ...] = ()


class Pruning(Found):
    """Results of the sweep. noise: which sources of noise the intervals hold, in a sentence."""

    dense: float
    dense_low: float
    dense_high: float
    chance: float | None
    items: int
    clusters: int
    settings: tuple[Setting, ...]
    contrasts: tuple[Contrast, ...]
    waterfalls: tuple[Waterfall, ...]
    doses: tuple[Dose, ...] = ()
    noise: str
    waiting: int
    job: str = ""


class StoredSentences(Found):
    """Sentences on what a part of the story shows of a model beyond its nulls and controls; none where nothing does."""

    part: str
    model: str
    sentences: tuple[str, ...]


class Cause(Found):
    """Change from hiding a model's sinks beyond that from a control. measure: a row of `MEASURES`. control: a row of
    `CONTROLS`. effect: over prompts, in the measure's unit. sides: what the sinks and what the control's tokens change
    by themselves, of which the effect is the difference. left_out: prompts without sinks. unmatched: further prompts
    that lack this control. untrained: the effect in a model with random weights, None where none was asked for.
    timing: of the divergence alone. by_position: beside the aligned agreement, that by position at both; unrelated:
    that of two untouched texts of prompts that are not alike. rise: of the negative log-likelihood, by how much it is
    above that with nothing hidden; beside it, of the texts up to where they end, repeated: the share of tokens that
    equal the one before, at both; tokens: how many they have with the sinks hidden; tokens_before: with nothing hidden;
    longer: by how many more than with the control; medians: of how many they have with the sinks and with nothing
    hidden; begins: the effect over the tokens that all texts of a prompt reach.
    """

    model: str
    measure: str
    control: str = "matched"
    left_out: int = 0
    unmatched: int = 0
    effect: Difference
    sides: tuple[Change, Change]
    untrained: Difference | None = None
    timing: Timing | None = None
    by_position: tuple[float, float] | None = None
    unrelated: float | None = None
    rise: Difference | None = None
    repeated: tuple[float, float] | None = None
    tokens: float = 0.0
    tokens_before: float = 0.0
    medians: tuple[float, float] = (0.0, 0.0)
    longer: Difference | None = None
    begins: Begins | None = None


Score = tuple[float, int]


class Continuation(Found):
    """A model's continuations of one prompt: untouched, with its sinks hidden, and with as many matched tokens hidden.
    Each is a tuple of tokens. others: with the positions of further controls hidden, by the control. number: of the
    prompt, from 1. median_of: number of prompts to whose medians, of agreement, of nats per token and of length, it is
    nearest with the sinks and with random tokens of equal attention hidden. scores: of the untouched text, and of the
    others by the control, "" for the sinks: the negative log-likelihood under the untouched model in nats per token,
    and how many tokens it has up to where it ends; None where not measured.
    """

    model: str
    prompt: str
    number: int
    median_of: int
    untouched: tuple[str, ...]
    hidden: tuple[str, ...]
    matched: tuple[str, ...]
    others: dict[str, tuple[str, ...]] = {}
    scores: tuple[Score, dict[str, Score]] | None = None


class MaskChange(Found):
    """Shares of the weights that two masks do not prune alike. changed: a sink-aware method and its control, one per
    calibration seed. floor: two seeds of the control, one per pair, none with one seed. chance: independent masks.
    """

    method: str
    against: str
    sparsity: float
    seeds: tuple[int, ...]
    changed: tuple[float, ...]
    floor: tuple[float, ...]
    chance: float


class JobTiming(Found):
    """Cost of a job. name: among the children of its study; of what its sweep asked for, `evaluate` or `prune` with the
    method. memory_bytes: of the worker's process at its peak, 0 where that was not measured. bytes: of the file it
    left.
    """

    name: str
    kind: str
    seconds: float
    memory_bytes: int = 0
    bytes: int = 0


_STATES = {"waiting": "This part has not begun.", "under way": "This part is under way.", "failed": "This part failed."}


class PartFound(Found):
    """State of a part of the story. reason: why it failed, or how it departs from the request. jobs: ids of
    its jobs by their names.
    """

    name: str
    state: str
    reason: str = ""
    jobs: Mapping[str, str] = {}

    @property
    def standing(self) -> str:
        """Remark on a part that is not done, or departs from what is asked; '' otherwise."""
        return " ".join(filter(None, (_STATES.get(self.state, ""), self.reason)))


class Registered(Found):
    """The plan that was frozen before anything ran. digest: its SHA-256. made: ISO 8601. departures: in sentences."""

    digest: str
    made: str
    departures: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """Its hash and date, and every departure."""
        told = f"Departures: {' '.join(self.departures)}" if self.departures else "No departure."
        return f"Planned on {self.made[:10]}, before it ran (SHA-256 {self.digest}). {told}"


@lru_cache(maxsize=16)  # each sentence on a study asks for them, and checking them takes milliseconds
def _parameters(spec: str) -> StudySpec:
    return StudySpec.model_validate(json.loads(spec))


class Findings(Found):
    """A study. spec: its parameters. created: when it began, ISO 8601. seconds: of all its jobs. environment: versions
    and hardware, None until something was scored. command: that repeats it. tables: `layers`, `counts` and `movement`
    of its sets of recordings, a mapping per row. prompts: of each set, by model. playback: what the player takes of the
    recordings to watch, None until they are there. took: every job that was done for it. tests: the comparisons that
    it plans, which are one family of tests. registered: its plan, None where there was none.
    explorer: the recordings to watch as `explorer_html` takes them, empty where they are not there or too large.
    """

    format: Literal["sinkscope-study-4"] = "sinkscope-study-4"
    spec: Mapping[str, Any]
    created: str
    state: str
    seconds: float
    command: str
    environment: Mapping[str, Any] | None
    parts: tuple[PartFound, ...]
    tables: Mapping[str, tuple[Mapping[str, Any], ...]] = {}
    prompts: Mapping[str, int] = {}
    sayings: tuple[StoredSentences, ...] = ()
    causes: tuple[Cause, ...] = ()
    playback: Mapping[str, Any] | None = None
    pruning: Pruning | None = None
    took: tuple[JobTiming, ...] = ()
    tests: int = 0
    registered: Registered | None = None
    continuations: tuple[Continuation, ...] = ()
    mask_changes: tuple[MaskChange, ...] = ()
    explorer: str = ""

    @property
    def parameters(self) -> StudySpec:
        """Its parameters."""
        return _parameters(json.dumps(self.spec))

    @property
    def causes_by_model(self) -> dict[str, list[Cause]]:
        """The changes from hiding sinks by model, the one measured first."""
        found: dict[str, list[Cause]] = {}
        for cause in self.causes:
            found.setdefault(cause.model, []).append(cause)
        return found

    def part(self, name: str) -> PartFound:
        """A part by its name."""
        return next(part for part in self.parts if part.name == name)


def write(findings: Findings, path: Path) -> None:
    """Write findings as gzipped JSON, the same bytes for the same findings."""
    text = json.dumps(findings.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def read(path: Path) -> Findings:
    """Read findings that were written. Raises UserError for a file that holds none."""
    try:
        with gzip.open(path) as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError("too large")
        return Findings.model_validate_json(text)
    except (OSError, EOFError, ValueError, ValidationError) as error:
        raise UserError(f"'{path.name}' holds no study that this version can read. Run the study again.") from error
