"""Results of jobs in numbers and words, as JSON: their summaries, kept in the records, and partial results.

Fields missing from imported recordings are NotRequired.
"""

from typing import Any, NotRequired

from typing_extensions import TypedDict

Rows = list[dict[str, Any]]
"""Rows of a table by the names of its columns."""


class NoSummary(TypedDict):
    """Nothing to say."""


class LoadSummary(TypedDict):
    """The model in memory. bytes, parameters: of its weights."""

    source: str
    architecture: str
    sampler: str
    layers: int
    heads: int
    kv_heads: int
    max_length: int
    mask_token: int | None
    dtype: str
    device: str
    bytes: int
    parameters: int
    fingerprint: str


class RecordSummary(TypedDict):
    """A recorded generation. steps_asked: maximum number of steps. written: tokens written in each step. mass_error:
    bound of the rounding error. caveat: of a model that was not trained as a diffusion model.
    """

    source: str
    text: str
    steps: int
    seed: int
    fingerprint: str
    steps_asked: NotRequired[int]
    written: NotRequired[list[int]]
    layers: NotRequired[int]
    heads: NotRequired[int]
    experts: NotRequired[int]
    positions: NotRequired[int]
    seconds: NotRequired[float]
    bytes: NotRequired[int]
    unknown_tokens: NotRequired[int]
    mass_dtype: NotRequired[str]
    mass_error: NotRequired[float]
    imported: NotRequired[bool]
    caveat: NotRequired[str]


class RecordPartial(TypedDict, total=False):
    """The text at the last step, one entry per position. confidence: None without a prediction. open_block: range
    written by the step, in a text of several blocks. share_decided: of the new tokens, if the number of steps is
    unknown in advance.
    """

    tokens: list[str]
    confidence: list[float | None]
    undecided: list[bool]
    prompt_length: int
    open_block: list[int] | None
    share_decided: float


class RecordSetSummary(TypedDict):
    """A set of recordings. prompts: number recorded of those planned, fewer if stopped. steps: of all prompts together.
    random_models: number that memory and time allowed. batch_rows, batch_bytes: most sequences written together, and
    the memory planned for them. notes: for the reader.
    """

    source: str
    prompts: int
    planned: int
    prompts_from: str
    layers: int
    heads: int
    steps: int
    seed: int
    random_models: int
    batch_rows: int
    batch_bytes: int
    notes: list[str]
    seconds: float
    bytes: int
    fingerprint: str


class ReplaySummary(TypedDict):
    """One observed forward over each of given inputs."""

    steps: int
    fingerprint: str
    seed: int


class AttentionMapSummary(TypedDict):
    """positions: tokens of the input."""

    positions: int
    fingerprint: str


class Alternative(TypedDict):
    """A token that could be written, and the probability that the model gives it at temperature 1."""

    token: int
    text: str
    probability: float


class AlternativesSummary(TypedDict):
    """alternatives: the likeliest first."""

    alternatives: list[Alternative]
    fingerprint: str


class GeometrySummary(TypedDict):
    """Number of inputs, and the seeds of the models with random weights."""

    steps: int
    seeds: list[int]
    fingerprint: str


class LensSummary(TypedDict):
    """words, probability: the likeliest token of each layer and position, (L, N). becomes: the probability of the token
    that the position becomes, (L, N); hits: True if that is the likeliest.
    """

    words: list[list[str]]
    probability: list[list[float]]
    becomes: list[list[float]]
    hits: list[list[bool]]
    fingerprint: str


class AblateSummary(TypedDict):
    """rows: one per target, 'untouched' first. steps, steps_with_sinks: number of steps, and of those with a sink by
    the definition in use.
    """

    rows: Rows
    steps: int
    steps_with_sinks: int
    architecture: str
    fingerprint: str


class AblateSetSummary(TypedDict):
    """rows: one per intervention, target and control (empty for the target itself), with a list of one number per
    prompt for each measure. effects: paired differences (`evaluation/ablation_effects.py`). untrained: the same in a
    model with random weights, if requested. prompts: number done of those planned, fewer if stopped: then nothing is
    tested. layers: first and last. environment: see `machine/provenance.py`. shown: index of the prompt whose text
    changes and ends nearest the medians with the sinks hidden and with tokens of equal attention hidden. untouched: the
    tokens written after it; texts: those written under each condition (`words`), with its intervention, target and
    control. unrelated: mean aligned agreement of two untouched texts of prompts that share no key, None without such a
    pair.
    """

    rows: Rows
    effects: Rows
    unrelated: float | None
    shown: int
    untouched: list[str]
    texts: Rows
    untrained: Rows
    prompts: int
    planned: int
    layers: list[int]
    seconds: float
    seed: int
    architecture: str
    fingerprint: str
    environment: dict[str, Any]


class EvictSummary(TypedDict):
    """rows: one per policy, budget and control (empty for the policy itself), with a list of one number per prompt for
    each measure. effects: paired differences (`evaluation/eviction_effects.py`). prompts: number done of those planned,
    fewer if stopped: then nothing is tested. gone: True if positions left a cache; otherwise their keys were hidden.
    positions: tokens of a text, mean. device, dtype, environment: conditions of bytes and times.
    """

    rows: Rows
    effects: Rows
    prompts: int
    planned: int
    gone: bool
    positions: float
    seconds: float
    seed: int
    architecture: str
    device: str
    dtype: str
    fingerprint: str
    environment: dict[str, Any]


class EvictPartial(TypedDict, total=False):
    """`EvictSummary` of the finished prompts."""

    rows: Rows
    effects: Rows
    prompts: int


class AblateSetPartial(EvictPartial, total=False):
    """`AblateSetSummary` of the finished prompts; of the rows only the means."""

    layers: list[int]


class PruneSummary(TypedDict):
    """report: as it is written beside the checkpoint. dropped: its weights were removed, its masks stay."""

    fingerprint: str
    report: dict[str, Any]
    dropped: NotRequired[bool]


class PrunePartial(TypedDict, total=False):
    """phases: those done, with their seconds. layers: sparsity of each projection in each pruned block."""

    phases: Rows
    layers: list[list[float | None]]
    projections: list[str]


class DenseStatisticsSummary(TypedDict):
    """Stored statistics of the dense model. bytes: of the file. phases: with their seconds."""

    fingerprint: str
    bytes: int
    phases: Rows


class EstimateSummary(TypedDict):
    """Estimated cost of a pruning: seconds by phase, and bytes."""

    fingerprint: str
    seconds: dict[str, float]
    total_seconds: float
    memory_bytes: int
    free_bytes: int
    disk_bytes: int
    sequences: int
    length: int
    device: str


class FootprintSummary(TypedDict):
    """footprint: a `pruning.footprint.Footprint`."""

    footprint: dict[str, Any]


class StatisticsPartSummary(TypedDict):
    """Part that extends stored statistics. bytes: of the file."""

    sequences: int
    bytes: int
    seconds: float
    fingerprint: str


class CalibrateSummary(StatisticsPartSummary):
    """Stored statistics. grouping: x² by token, or by bins of mass."""

    levels: int
    positions: int
    grouping: str
    notes: list[str]


class _Compared(TypedDict):
    """Scores, differences and their tests. restored: answers that were known before. end: the file's last line."""

    key: str
    models: list[str]
    tasks: Rows
    average: Rows
    average_differences: Rows
    over_seeds: Rows
    seed_floors: Rows
    bounds: dict[str, Any]
    tests: dict[str, Any]
    conditions: Rows
    without_counterpart: list[str]
    answers: int
    restored: int
    complete: bool
    problems: list[str]
    seed: int | None
    end: dict[str, Any] | None


class EvaluateSummary(_Compared):
    """Scores of models evaluated here. fingerprint: of the first. cache: its keys and values, as bytes_per_token of all
    layers with so many tokens.
    """

    fingerprint: str
    cache: list[dict[str, int]]


class ImportSummary(_Compared):
    """Scores of models evaluated elsewhere. sources: where each was loaded from, as far as the files say."""

    sources: list[str]


class EvaluatePartial(TypedDict, total=False):
    """restored: answers that were known before."""

    items_per_second: float | None
    seconds_left: float | None
    restored: int


class Judged(TypedDict):
    """Value of a setting of the discount. facts: further results, as its judge has them."""

    discount: dict[str, Any]
    value: float
    facts: dict[str, Any]
    seconds: float


class Trial(Judged):
    """A trial of a search. name: of the reference it is, otherwise empty. published: value of the published setting."""

    number: int
    name: str
    published: float


class StudySummary(TypedDict):
    """A study, or a run of the claims. children: job ids by purpose, as `watch MODEL`. made: the children that it asked
    for first itself.
    """

    children: dict[str, str]
    made: list[str]


class SweepSummary(StudySummary):
    """children: by purpose, as `prune DIGEST`; checkpoints of those it made may be dropped. done, failed: points."""

    done: int
    failed: int


MeasuredPrompts = dict[str, list[list[float] | None]]
"""[value, null] of every prompt, by measure; None for a prompt with nothing to measure."""


class HiddenAccuracy(TypedDict):
    """Correctness of each choice item, 0 or 1: untouched, with its sinks hidden, and with as many others hidden.
    clusters: named. chances: accuracy of a random choice.
    """

    keys: list[str]
    clusters: list[str]
    chances: list[float]
    untouched: list[float]
    hidden: list[float]
    others: list[float]


class ClaimMeasuresSummary(TypedDict):
    """Measurements inside a model. networks: of the model itself (`trained`) and, by null, of every model with other
    weights. steps: of each prompt's recording; looks: maximum number of them that was measured. accuracy: of the model
    itself, if requested.
    """

    networks: dict[str, list[MeasuredPrompts]]
    accuracy: NotRequired[HiddenAccuracy]
    prompts: int
    steps: list[int]
    looks: int
    seed: int
    notes: list[str]
    seconds: float
    architecture: str
    fingerprint: str
    environment: dict[str, Any]


class SearchFloor(TypedDict):
    """Value of no discount with another calibration seed. changed: share of mask bits that differ between the two
    seeds, None if they were not compared.
    """

    value: float
    changed: float | None
    seed: int


class Searched(TypedDict):
    """Results of a search's trials. searched: its parameters. comparison: on items that no trial has seen. floor: None
    until measured.
    """

    searched: list[str]
    importance: dict[str, float]
    notes: list[str]
    comparison: dict[str, Any] | None
    floor: SearchFloor | None


class SuggestSummary(Searched):
    """A search. best: the number of the best trial. maximise: True if more is better."""

    objective: str
    maximise: bool
    trials: list[Trial]
    planned: int
    best: int | None
    stopped: bool
    seed: int
    calibration_seed: int
    fingerprint: str
    seconds: float


class SuggestPartial(TypedDict, total=False):
    """doing: activity of the current trial."""

    doing: str
    trials: list[Trial]
    importance: dict[str, float]
    searched: list[str]
    floor: SearchFloor | None
