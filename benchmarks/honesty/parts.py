"""Parts of the benchmark, the rows they give, and sets that are written down as they are done."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from scipy import stats

from analysis.words import percent
from cache.keys import code_version

FALSE_POSITIVES, COVERAGE, POWER_GAP, POWER, REAL_NULLS = 0.07, 0.93, 0.05, 0.80, (20, 3)
"""Bars: the most false positives, the least coverage, the widest gap to the planned power, the least power; and of real
nulls, the fewest there may be and the most that may be called different."""

Outcome = Mapping[str, float]
"""Result of one set, by what was counted: 1 where it happened, else 0."""


@dataclass(frozen=True)
class Row:
    """A line of the table. value: as it is printed. holds: whether it keeps its bar."""

    what: str
    value: str
    bar: str
    holds: bool
    sets: int


@dataclass(frozen=True)
class Part:
    """A part that can be run alone. target: `module:function`, from `Sets` to rows. judges: the modules whose code it
    judges, besides its own. minutes: on two idle cores.
    """

    name: str
    title: str
    target: str
    judges: tuple[str, ...]
    minutes: float

    def run(self, folder: Path, sets: int | None) -> list[Row]:
        """Run the sets that are not written down yet. sets: at most so many of each kind, for a look; None for all."""
        module, _, function = self.target.partition(":")
        run: Callable[[Sets], list[Row]] = getattr(import_module(module), function)
        source = Path(str(import_module(module).__file__)).read_bytes()
        version = hashlib.sha256(source + code_version(*self.judges).encode()).hexdigest()[:12]
        return run(Sets(folder / f"{self.name}-{version}", sets))


_DIFFERENCES = ("analysis.statistics.decisions", "analysis.statistics.crossed", "analysis.evaluation.plan_noise")

PARTS = {
    part.name: part
    for part in (
        Part("simulated", "Pruning: studies without an effect, simulated", "benchmarks.honesty.pruning:simulated",
             _DIFFERENCES, 3),
        Part("resampled", "Pruning: stored items and seeds, resampled", "benchmarks.honesty.pruning:resampled",
             _DIFFERENCES, 6),
        Part("power", "Pruning: power beside the plan's", "benchmarks.honesty.pruning:power", _DIFFERENCES, 11),
        Part("halves", "Pruning: two halves of one method's seeds", "benchmarks.honesty.pruning:halves",
             _DIFFERENCES, 0.2),
        Part("nulls", "Real nulls: random and permuted weights, sham discounts", "benchmarks.honesty.nulls:nulls",
             ("analysis.jobs.prompt_by_prompt", "analysis.jobs.pruning", "analysis.jobs.evaluation", *_DIFFERENCES),
             16),
        Part("weights", "Pruning: a copy of the control with extra weights removed", "benchmarks.honesty.planted:found",
             _DIFFERENCES, 1),
        Part("movement", "Movement: sets of prompts without an effect", "benchmarks.honesty.movement:sentences",
             ("analysis.findings.sets", "analysis.sinks.intervals"), 9),
        Part("claims", "Claims: random weights in place of the model", "benchmarks.honesty.claims:held",
             ("analysis.claims.verdicts", "analysis.jobs.claim_measures", "analysis.jobs.recording_sets",
              "analysis.statistics.decisions"), 10),
    )
}  # fmt: skip
"""Parts by name, one row each."""


class Sets:
    """Sets of a part, written down one by one in a folder of its own. most: of each kind, None for all asked for."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        self.folder, self.most = folder, most

    def run(self, name: str, count: int, one: Callable[[int], Outcome]) -> list[dict[str, float]]:
        """Return the outcomes of `count` sets, reading those that are written down. one: draws and judges a set by its
        number, which seeds it.
        """
        count = count if self.most is None else min(count, self.most)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{name}.jsonl"
        done = {row["set"]: row for row in _lines(file)}
        told = time.monotonic()
        with file.open("a", encoding="utf-8") as lines:
            for number in range(count):
                if number in done:
                    continue
                done[number] = {"set": number, **one(number)}
                lines.write(json.dumps(done[number]) + "\n")
                if time.monotonic() - told > 10:
                    told = time.monotonic()
                    lines.flush()
                    print(f"  {name}: {number + 1:,} of {count:,}", file=sys.stderr, flush=True)
        return [done[number] for number in range(count)]


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a file, and drop a last one that was cut off."""
    if not file.is_file():
        return
    text = file.read_text(encoding="utf-8")
    whole, _, cut = text.rpartition("\n")
    if cut:
        file.write_text(whole + "\n" if whole else "", encoding="utf-8")
    yield from map(json.loads, whole.splitlines())


# --- rows -------------------------------------------------------------------------------------------------------


def share(outcomes: Sequence[Outcome], name: str) -> float:
    """Return how often something happened, as a share."""
    return sum(outcome[name] for outcome in outcomes) / len(outcomes)


def at_most(what: str, outcomes: Sequence[Outcome], name: str, most: float = FALSE_POSITIVES) -> Row:
    """Return the row of something that may happen in at most this share of the sets."""
    value = share(outcomes, name)
    return Row(what, _percent(value, len(outcomes)), f"≤ {percent(most, 0)}", value <= most, len(outcomes))


def at_least(what: str, outcomes: Sequence[Outcome], name: str, least: float) -> Row:
    """Return the row of something that must happen in at least this share of the sets."""
    value = share(outcomes, name)
    return Row(what, _percent(value, len(outcomes)), f"≥ {percent(least, 0)}", value >= least, len(outcomes))


def as_said(what: str, outcomes: Sequence[Outcome], name: str, said: float) -> Row:
    """Return the row of what happened beside the probability that the plan gave."""
    value = share(outcomes, name)
    told = f"{_percent(value, len(outcomes))}, plan {percent(said, 1)}"
    return Row(what, told, f"± {100 * POWER_GAP:.0f} points", abs(value - said) <= POWER_GAP, len(outcomes))


def few_of(what: str, outcomes: Sequence[Outcome], name: str) -> Row:
    """Return the row of real nulls, of which few may be called different."""
    least, most = REAL_NULLS
    false = round(sum(outcome[name] for outcome in outcomes))
    holds = false <= most and len(outcomes) >= least
    return Row(what, f"{false} of {len(outcomes)}", f"≤ {most} of ≥ {least}", holds, len(outcomes))


def _percent(value: float, sets: int) -> str:
    """Return a share with Wilson's interval for so many sets."""
    interval = stats.binomtest(round(value * sets), sets).proportion_ci(0.95, "wilson")
    return f"{percent(value, 1)} [{percent(interval.low, 1)}, {percent(interval.high, 1)}]"
