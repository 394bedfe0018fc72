"""Sweeps: the prunings of a grid of methods, sparsities, patterns, bits, discounts, noise steps, seeds and models, and
the parts of Sink-Wanda's recipe that a sweep takes apart.

A method that does not read an axis gets no copies along it; its row in `METHODS` says what it reads.

The recipe's parts (noise, order and norm) are switches of `wanda-noised` and `sink-wanda` (`calibration.noise`,
`ranking` and `norm` of a `PruneSpec`), on as published. With all of them off, the control is Wanda.
"""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import ValidationError, field_validator, model_validator

from analysis.errors import shorten
from analysis.registry import Choice, Registry
from analysis.specs.base import JobSpec, ModelSpec, OneOf, Spec, either, parameter
from analysis.specs.evaluation import EvaluateSpec
from analysis.specs.eviction import EVERYTHING, POLICIES, EvictionPoint, EvictSpec, eviction_points, require_budgets
from analysis.specs.messages import sentence
from analysis.specs.pruning import PruneSpec, held_against, only_read, readers
from analysis.specs.pruning_choices import ALLOCATIONS, METHODS, NOISES, PATTERNS, PUBLISHED, QUANTIZERS, Reader
from analysis.specs.pruning_params import (
    AS_STORED,
    Bits,
    CalibrationParams,
    DiscountParams,
    QuantizationParams,
    StepParams,
)

MOST_POINTS = 2000
MOST_COMBINATIONS = 50_000  # before combinations that are equal for a method are merged
_RANGE = re.compile(r"(\d{1,4})-(\d{1,4})")
_SHARD = re.compile(r"[1-9]\d{0,3}/[1-9]\d{0,3}")
_SPAN = re.compile(r"\s*(-?\d{1,12})(?:\s*[-–]\s*(\d{1,12}))?\s*")
_MOST_SEEDS = 256
EVERY_STEP = "0-1000"

RECIPE: Registry[Choice] = Registry(
    Choice("noise", "noise", "noised calibration text in place of clean text"),
    Choice("order", "order", "statistics of the dense model, where Wanda feeds each layer by the pruned ones before"),
    Choice("norm", "norm", "norms of single sequences added up in place of one norm over all tokens"),
    Choice("discount", "discount", "tokens that are sinks count less"),
)
"""The parts of the recipe. help: a part's change to Wanda."""


def decomposable(method: str) -> bool:
    """Return True if the gain of a method over its published baseline can be decomposed."""
    row = METHODS[method]
    return row.weighs_steps and row.control is not None and row.published not in (None, row.control)


def changes_alone(method: str, part: str, noise: str) -> dict[str, object]:
    """Return the settings of a pruning with one part of the recipe. method: `decomposable`. noise: the recipe's."""
    switches: dict[str, object] = {
        "calibration": {"noise": noise if part == "noise" else next(name for name, row in NOISES.items() if row.clean)},
        "ranking": PUBLISHED if part == "order" else "layerwise",
        "norm": PUBLISHED if part == "norm" else "pooled",
    }
    return {"method": method if part == "discount" else METHODS[method].control, **switches}


def part_alone(point: PruneSpec) -> str:
    """Return the one part of `RECIPE` that a pruning has; '' if it has none or several."""
    method = METHODS[point.method]
    if not method.weighs_steps:
        return ""
    there = {
        "noise": not NOISES[point.calibration.noise].clean,
        "order": not point.layerwise,
        "norm": not point.pooled,
        "discount": method.discounted,
    }
    parts = [name for name, has in there.items() if has]
    return parts[0] if len(parts) == 1 else ""


def baseline_of(method: str) -> str | None:
    """Return the published baseline of the recipe that a method or control belongs to."""
    return next(
        (row.published for row in METHODS.values() if decomposable(row.name) and method in (row.name, row.control)),
        None,
    )


def called(method: str, part: str = "") -> str:
    """Return the title of a method, or of its baseline with the one part of the recipe that it has."""
    baseline = baseline_of(method) if part else None
    return METHODS[method].title if baseline is None else f"{METHODS[baseline].title} + {RECIPE[part].title}"


def why_not_decomposed(methods: Collection[str], pruning: PruneSpec) -> str:
    """Return why a sweep of these methods cannot decompose the recipe, as a sentence; '' if it can."""
    apart = [name for name in methods if decomposable(name) and METHODS[name].published in methods]
    if not apart:
        known = [name for name in METHODS if decomposable(name)]
        pairs = either(f"{name} with {METHODS[name].published}" for name in known)
        return f"To take the recipe apart, sweep {pairs}."
    if (pruning.ranking, pruning.norm) != (PUBLISHED, PUBLISHED) or NOISES[pruning.calibration.noise].clean:
        return "The recipe is taken apart as published: leave order and norm as published, and the text noised."
    return ""


def written_out(seeds: Any) -> Any:
    """Expand spans of seeds such as 0-7; return anything but a list unchanged. Raises ValueError for other text."""
    if not isinstance(seeds, list | tuple):
        return seeds
    written: list[Any] = []
    for seed in seeds:
        written += _spanned(seed) if isinstance(seed, str) else [seed]
    return tuple(dict.fromkeys(written))


def _spanned(text: str) -> range:
    span = _SPAN.fullmatch(text)
    if span is None:
        raise ValueError(f"'{shorten(text)}' is no calibration seed. Give whole numbers, or a range such as 0-7.")
    first, last = int(span[1]), int(span[2] or span[1])
    if last < first:
        raise ValueError(f"The range of calibration seeds '{text}' ends before it begins. Write {last}-{first}.")
    if (count := last - first + 1) > _MOST_SEEDS:
        raise ValueError(f"'{text}' is {count:,} calibration seeds. A sweep takes at most {_MOST_SEEDS}.")
    return range(first, last + 1)


class SweepSpec(JobSpec):
    """Prune with every combination of the axes and evaluate each pruned model and its dense one."""

    other_models: tuple[ModelSpec, ...] = parameter(
        (), "More models", "Each is pruned and evaluated as the first is.", max_length=16
    )
    methods: tuple[Annotated[str, OneOf(METHODS)], ...] = parameter(
        ("sink-wanda", "wanda-noised", "wanda"), "Methods", "Each method is one curve.", min_length=1
    )
    sparsities: tuple[float, ...] = parameter(
        (0.25, 0.5, 0.75), "Sparsities", "Shares of the weights that are removed.", min_length=1, max_length=64
    )
    patterns: tuple[Annotated[str, OneOf(PATTERNS)], ...] = parameter(
        ("unstructured",), "Patterns", "Which weights may go. A pattern may fix the sparsity.", min_length=1
    )
    bits: tuple[Bits, ...] = parameter(
        (AS_STORED,), "Bits", "Bits per weight that stays; 16 leaves them as stored.", min_length=1
    )
    quantizers: tuple[Annotated[str, OneOf(QUANTIZERS)], ...] = parameter(
        ("rtn",), "Quantizers", "For points with fewer than 16 bits.", min_length=1
    )
    policies: tuple[Annotated[str, OneOf(POLICIES)], ...] = parameter(
        (),
        "Eviction policies",
        "Also score the dense model with a share of its keys and values, chosen by these policies and their controls.",
    )
    budgets: tuple[float, ...] = parameter(
        EvictSpec.model_fields["budgets"].default,
        "Budgets",
        "For the policies: shares of the positions whose keys and values stay in each layer.",
        min_length=1,
        max_length=20,
    )
    strengths: tuple[float, ...] = parameter(
        (1.0,), "Discount strengths λ", "For methods that discount sinks.", min_length=1, max_length=64
    )
    stds: tuple[float, ...] = parameter(
        (2.0,),
        "Thresholds k",
        "Thresholds k in standard deviations, for methods that discount sinks.",
        min_length=1,
        max_length=64,
    )
    step_ranges: tuple[str, ...] = parameter(
        (EVERY_STEP,),
        "Noise steps",
        "Ranges of noise steps that count, such as 0-25, for methods that weight them.",
        min_length=1,
        max_length=64,
    )
    seeds: tuple[int, ...] = parameter(
        (0,),
        "Calibration seeds",
        "Calibration seeds; 0-7 means all from 0 to 7. One seed is one draw of a method: with two or more, "
        "intervals cover the noise of seeds.",
        min_length=1,
        max_length=_MOST_SEEDS,
    )
    pruning: PruneSpec = PruneSpec(out="")
    evaluation: EvaluateSpec = EvaluateSpec()
    keep: Literal["masks", "checkpoints"] = parameter(
        "masks",
        "Keep",
        "masks: drop each checkpoint once it is scored; masks, report and answers stay. checkpoints: keep all.",
    )
    decompose: bool = parameter(
        False,
        "Take the recipe apart",
        "Also prune with each part of Sink-Wanda alone (noise, order, norm, discount) to see where a gain comes "
        "from: four more prunings per sparsity and seed.",
    )
    footprints: bool = parameter(
        False, "Measure size and speed", "Measure bytes and forward time of every pruned model and the dense one."
    )

    shard: str = parameter(
        "", "Shard", "Run one part of the points: 3/8 is the third of eight. `merge` joins the folders of all parts."
    )

    _spans = field_validator("seeds", mode="before")(written_out)

    @field_validator(
        *("methods", "sparsities", "patterns", "bits", "quantizers", "policies", "budgets", "strengths", "stds"),
        *("step_ranges", "seeds"),
    )
    @classmethod
    def _each_once(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(dict.fromkeys(values))

    @field_validator("step_ranges")
    @classmethod
    def _are_ranges(cls, ranges: tuple[str, ...]) -> tuple[str, ...]:
        for text in ranges:
            if not _RANGE.fullmatch(text):
                raise ValueError(f"'{text}' is no range of noise steps. Give the first and the last, such as 0-25.")
        return ranges

    _are_shares = field_validator("budgets")(require_budgets)

    @field_validator("policies")
    @classmethod
    def _are_asked(cls, policies: tuple[str, ...]) -> tuple[str, ...]:
        for name in policies:
            if not POLICIES[name].asked:
                asked = either(name for name, row in POLICIES.items() if row.asked)
                raise ValueError(f"The policy {name} comes by itself with those that are compared with it: {asked}.")
        return policies

    @field_validator("shard")
    @classmethod
    def _is_shard(cls, shard: str) -> str:
        if shard and not _SHARD.fullmatch(shard):
            raise ValueError(f"'{shard[:40]}' is no shard. Give its number and how many there are, such as 3/8.")
        return shard

    @model_validator(mode="after")
    def _grid_exists(self) -> "SweepSpec":
        noise = NOISES[self.pruning.calibration.noise]
        rows: list[Reader] = [METHODS[name] for name in self.methods]
        if min(self.bits) < AS_STORED:
            rows += [QUANTIZERS[name] for name in self.quantizers]
        weighed = [row for row in rows if row.weighs_steps]
        if weighed and not noise.by_step and self.step_ranges != (EVERY_STEP,):
            raise ValueError(
                f"Text noised {noise.title} has no steps to tell apart. Choose the noise steps {EVERY_STEP}."
            )
        if self.evaluation.early_draws:
            raise ValueError("Drawing cannot stop early in a sweep: its models need equal draws to be compared.")
        if self.decompose:
            problem = why_not_decomposed(self.methods, self.pruning)
            if problem:
                raise ValueError(problem)
        if len(self.models) != len({model.source for model in self.models}):
            raise ValueError("A model is named twice. Name each once.")
        axes = (
            *(self.models, self.methods, self.sparsities, self.patterns, self.bits, self.quantizers),
            *(self.strengths, self.stds, self.step_ranges, self.seeds),
        )
        if math.prod(map(len, axes)) > MOST_COMBINATIONS:
            raise ValueError(f"These axes have more than {MOST_COMBINATIONS:,} combinations. Shorten one.")
        try:
            count = len(_all_points(self).prunings)
        except ValidationError as error:
            raise ValueError(sentence(error)) from error
        if not count:
            raise ValueError(f"Nothing is left to prune. {' '.join(_all_points(self).left_out)}")
        if count > MOST_POINTS:
            raise ValueError(f"This is {count:,} prunings, and a sweep takes {MOST_POINTS:,}. Shorten an axis.")
        number, shards = shard_of(self.shard)
        if number > shards:
            raise ValueError(f"There is no shard {self.shard}: the first is 1/{shards} and the last {shards}/{shards}.")
        if shards > count:
            raise ValueError(f"This sweep has {count:,} points, too few for {shards:,} shards. Take {count:,} at most.")
        return self

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """All dense models."""
        return (self.model, *self.other_models)

    def evaluation_of(self, dense: ModelSpec, folder: str = "", name: str = "", kept: str = "") -> EvaluateSpec:
        """Return the evaluation of a dense model, or of it and the pruned checkpoint in `folder`, or itself with a part
        of its keys and values kept, under this name in the results.
        """
        if kept:
            both = {"compare": (dense,), "names": ("dense", name), "kept": (EVERYTHING, kept)}
            return self.evaluation.model_copy(update={"model": dense, **both})
        pruned = (dense.model_copy(update={"source": folder}),) if folder else ()
        names = ("dense", name) if folder else ("dense",)
        return self.evaluation.model_copy(update={"model": dense, "compare": pruned, "names": names})


@dataclass(frozen=True)
class Grid:
    """prunings: the points, grouped by model and seed. left_out: sentences on impossible combinations."""

    prunings: tuple[PruneSpec, ...]
    left_out: tuple[str, ...]


def shard_of(text: str) -> tuple[int, int]:
    """Parse a shard as (number from 1, number of shards); (1, 1) for no text."""
    number, shards = (text or "1/1").split("/")
    return int(number), int(shards)


def grid(spec: SweepSpec) -> Grid:
    """Return every pruning of a sweep once; for a shard only its own.

    Shards are consecutive points: those of one model and seed read the same statistics.
    """
    whole = _all_points(spec)
    number, shards = shard_of(spec.shard)
    count = len(whole.prunings)
    return Grid(whole.prunings[count * (number - 1) // shards : count * number // shards], whole.left_out)


@lru_cache(maxsize=16)  # asked for as a spec is checked, and again as its points are run or looked at
def _all_points(spec: SweepSpec) -> Grid:
    prunings: dict[str, PruneSpec] = {}
    left_out: list[str] = []
    for model, seed, name, pattern in product(spec.models, spec.seeds, spec.methods, spec.patterns):
        method = METHODS[name]
        if PATTERNS[pattern].cuts_units and not method.structured:
            left_out.append(f"{method.title} scores no whole units, so it is left out of {pattern} pruning.")
            continue
        if not method.removes and pattern != spec.patterns[0]:
            continue
        if not method.removes and AS_STORED in spec.bits and not spec.policies:
            left_out.append(f"{method.title} at {AS_STORED} bits is the dense model, so it is left out.")
        apart = RECIPE if spec.decompose and decomposable(name) else ()
        noise = spec.pruning.calibration.noise
        for changes in _settings(spec, pattern, method.removes):
            of_method: dict[str, object] = {"model": model, "method": name, "pattern": pattern}
            alone = [changes_alone(name, part, noise) for part in apart]
            for more in ({}, *alone):
                point = normalised(spec.pruning, of_method | changes | more, seed)
                prunings.setdefault(point.model_dump_json(), point)
    for model, seed in product(spec.models, spec.seeds):
        for kept in eviction_points(model, spec.policies, spec.budgets, seed):
            prunings.setdefault(kept.model_dump_json(), kept)
    return Grid(tuple(prunings.values()), tuple(dict.fromkeys(left_out)))


def _settings(spec: SweepSpec, pattern: str, removes: bool) -> Iterator[dict[str, object]]:
    fixed = PATTERNS[pattern].sparsity if removes else 0.0
    sparsities = spec.sparsities if fixed is None else (fixed,)
    bits = [width for width in spec.bits if removes or width < AS_STORED]
    axes = (sparsities, bits, spec.quantizers, spec.strengths, spec.stds, spec.step_ranges)
    for sparsity, width, quantizer, strength, std, steps in product(*axes):
        first, last = (int(end) for end in steps.split("-"))
        yield {
            "sparsity": sparsity,
            "quantization": {"bits": width, "quantizer": quantizer},
            "discount": {"discount_strength": strength, "sink_std": std},
            "steps": {"first_step": first, "last_step": last},
        }


def normalised(base: PruneSpec, changes: dict[str, object], seed: int) -> PruneSpec:
    """Return a pruning with defaults for everything its method does not read, so that equal prunings are equal specs.

    changes: fields of `PruneSpec`; of nested ones, the fields that change. An eviction keeps its seed, which draws its
    control. Raises pydantic's ValidationError.
    """
    values = base.model_dump() | {"out": "", "overwrite": False}
    for name, value in changes.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    values["calibration"] = values["calibration"] | {"seed": seed}
    for name, default in _unread(values).items():
        values[name] = default
    if isinstance(base, EvictionPoint):
        values["calibration"] = CalibrationParams(seed=seed)
    return type(base).model_validate(values)


def _unread(values: Mapping[str, Any]) -> dict[str, Spec | str]:
    rows, method = readers(values), METHODS[str(values["method"])]
    unread: dict[str, Spec | str] = {}
    if not method.removes:
        unread |= {name: PruneSpec.model_fields[name].default for name in ("pattern", "allocation", "quota_scope")}
    if not any(row.discounted for row in rows):
        unread["discount"] = DiscountParams()
    if not any(row.weighs_steps for row in rows):
        unread["steps"] = StepParams()
    if len(rows) == 1:
        unread["quantization"] = QuantizationParams()
    if method.norm is None:
        unread["norm"] = PUBLISHED
    allocation = ALLOCATIONS[str(unread.get("allocation", values["allocation"]))]
    if not any(row.calibrated for row in rows) and not allocation.needs_outliers:
        unread["calibration"] = CalibrationParams()
    return unread


def against(point: PruneSpec, relation: str) -> PruneSpec | None:
    """Return the pruning that this one is compared with: `control` or `published`, as named by the rows of its method
    and its quantizer, all else being equal. None if a row that discounts names none, and if none discounts.
    """
    if isinstance(point, EvictionPoint):
        other = point.held_against(relation)
        return None if other is None else normalised(point, dict(other), point.calibration.seed)
    if part_alone(point):  # its baseline is that of the whole recipe
        baseline = baseline_of(point.method) if relation == "published" else None
        changes: dict[str, object] = {"method": baseline, "ranking": PUBLISHED}
        return None if baseline is None else normalised(point, changes, point.calibration.seed)
    others = held_against(point.readers, relation)
    if others is None:
        return None
    changes = {"method": others[0]} | ({"quantization": {"quantizer": others[1]}} if len(others) > 1 else {})
    return normalised(point, changes, point.calibration.seed)


def titles_apart(point: PruneSpec, other: PruneSpec) -> tuple[str, str]:
    """Return the titles of the rows of method and quantizer that two prunings do not share; of their methods, if none.
    For two evictions, what they keep.
    """
    if isinstance(point, EvictionPoint) and isinstance(other, EvictionPoint):
        return point.keeping.title, other.keeping.title
    pairs = [pair for pair in zip(point.readers, other.readers, strict=False) if pair[0] != pair[1]]
    first, second = zip(*(pairs or [(point.readers[0], other.readers[0])]), strict=True)
    return " + ".join(row.title for row in first), " + ".join(row.title for row in second)


def scored_as(point: PruneSpec) -> PruneSpec:
    """Return the point whose evaluation a point shares: itself, or for an eviction without a draw that of all seeds."""
    return without_seed(point) if isinstance(point, EvictionPoint) and not point.control else point


def where(point: PruneSpec) -> str:
    """Return the share that a point removes or keeps, as in 'better at 70 %'; '' where it only quantizes."""
    if isinstance(point, EvictionPoint):
        return f"{100 * point.budget:g} % of the cache"
    return f"{100 * point.sparsity:g} %" if METHODS[point.method].removes else ""


def detail(point: PruneSpec) -> str:
    """Return the non-default settings of the axes besides method and sparsity, or policy and budget; '' if there are
    none.
    """
    if isinstance(point, EvictionPoint):
        return ""
    return " ".join(setting_name(point).removeprefix(f"{point.method} {point.sparsity:.3g}").split())


def without_seed(point: PruneSpec) -> PruneSpec:
    """Return a pruning's setting: points of one setting differ only in their calibration seed."""
    return normalised(point, {}, 0)


@lru_cache(maxsize=4096)
def setting_key(point: PruneSpec) -> str:
    """Return the key of a pruning's setting: every parameter it reads, except the seed."""
    return json.dumps(only_read(without_seed(point).model_dump(mode="json", exclude={"out", "overwrite"})))


def setting_name(point: PruneSpec) -> str:
    """Name a point without its seed: the method, the sparsity, and the axes that differ from their defaults."""
    if isinstance(point, EvictionPoint):
        return point.keeping.name
    words = [point.method, f"{point.sparsity:.3g}"]
    if point.pattern != PruneSpec.model_fields["pattern"].default:
        words.append(point.pattern)
    if point.quantization.active:
        words.append(point.quantization.title)
    default = DiscountParams()
    if point.discount.discount_strength != default.discount_strength:
        words.append(f"λ {point.discount.discount_strength:g}")
    if point.discount.sink_std != default.sink_std:
        words.append(f"k {point.discount.sink_std:g}")
    if part_alone(point):
        words.append(f"{part_alone(point)} alone")
    if step_range(point) != EVERY_STEP:
        words.append(f"steps {step_range(point)}")
    return " ".join(words)


def point_name(point: PruneSpec) -> str:
    """Name a pruned model in the results of its evaluation. The seed is left out if nothing is drawn."""
    if isinstance(point, EvictionPoint) and not point.control:
        return setting_name(point)
    return f"{setting_name(point)} seed {point.calibration.seed}"


def step_range(point: PruneSpec) -> str:
    """Return the noise steps that count, as in `SweepSpec.step_ranges`."""
    return f"{point.steps.first_step}-{point.steps.last_step}"
