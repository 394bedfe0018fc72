"""Write the bundled benchmark: six multiple-choice tasks and one generative task, from held-out combinations only.

    python -m training.tasks --out analysis/evaluation/bundled

Items come in groups that share their choices, each choice being right exactly once in a group. So nothing about the
choices themselves, neither their words nor their length, says which is right. Items for choosing the recipe (dev) and
items that are reported (test) share no combination. Items of one combination are one question with other names, so no
combination has more of them than it takes to make the items.
"""

import argparse
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from analysis.bundled.grammar import problem, question
from analysis.bundled.units import (
    Unit,
    agreement,
    arithmetic,
    category,
    given,
    gone,
    moved,
    opposite,
    physics,
    property_,
    reference,
    tool,
    trouble,
)
from analysis.bundled.world import NUMBER_WORDS
from training.asked import (
    category_asked_anew,
    opposite_asked_anew,
    property_asked_anew,
    reference_asked_anew,
    tool_asked_anew,
)

SPLITS = ("dev", "test")
SIZES = {"dev": 200, "test": 504}
_POOL = 8000  # held-out units drawn per maker
_DEV_ONE_IN = 4
_MOST_GROUPS = 100_000  # drawn before a maker is said to be exhausted
_PATIENCE = 1_000  # groups in a row that have no room before every combination may have one item more
_NEAR = 6  # numbers offered together lie within this range


@dataclass(frozen=True)
class Task:
    """A multiple-choice task: how many choices, where its units come from and with which share."""

    choices: int
    makers: tuple[tuple[Callable[..., Unit], float], ...]


TASKS: dict[str, Task] = {
    "agreement": Task(2, ((agreement, 1.0),)),
    "arithmetic": Task(4, ((arithmetic, 1.0),)),
    "knowledge": Task(
        4,
        (
            (category, 0.2),
            (category_asked_anew, 0.2),
            (property_, 0.15),
            (property_asked_anew, 0.15),
            (opposite, 0.15),
            (opposite_asked_anew, 0.15),
        ),
    ),
    "physical": Task(2, ((tool, 0.2), (tool_asked_anew, 0.72), (physics, 0.08))),
    "story": Task(4, ((trouble, 0.5), (moved, 0.2), (gone, 0.15), (given, 0.15))),
    "reference": Task(2, ((reference, 0.5), (reference_asked_anew, 0.5))),
}
GENERATIVE = "problems"


def split_of(key: str) -> str:
    """dev or test, by a hash of the combination."""
    return "dev" if zlib.crc32(f"split {key}".encode()) % _DEV_ONE_IN == 0 else "test"


def effective_clusters(keys: Iterable[str]) -> float:
    """Kish's effective number of clusters, (Σ n_k)² / Σ n_k² over the items of each key."""
    counts = Counter(keys).values()
    return sum(counts) ** 2 / sum(count**2 for count in counts)


def items(name: str, split: str, seed: int = 0) -> list[dict[str, Any]]:
    """The items of a task: id, context, choices, answer (index) and key (the held-out combination)."""
    task, size = TASKS[name], SIZES[split]
    random = Random(f"{name}-{split}-{seed}")
    chosen: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for number, (maker, share) in enumerate(task.makers):
        last = number == len(task.makers) - 1
        # Whole groups only, so that shares round to multiples of the number of choices.
        wanted = size - len(chosen) if last else round(size * share / task.choices) * task.choices
        groups = _groups(_pool(random, maker, split), task.choices, random)
        until = len(chosen) + wanted
        used: Counter[str] = Counter()
        most, misses = 1, 0
        for group in islice(groups, _MOST_GROUPS):
            if len(chosen) >= until:
                break
            texts = [(unit.context, *sorted(other.answer for other in group)) for unit in group]
            if seen.isdisjoint(texts) and all(used[unit.key] < most for unit in group):
                seen.update(texts)
                used.update(unit.key for unit in group)
                chosen += [_item(unit, group, random) for unit in group]
                misses = 0
            else:
                misses += 1
            if misses >= _PATIENCE:
                most, misses = most + 1, 0
        if len(chosen) < until:
            raise ValueError(f"{name}, {split}: {maker.__name__} has too few held-out units for {wanted} items")
    return [{"id": f"{name}-{split}-{index}", **item} for index, item in enumerate(chosen)]


def problems(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """Items of the generative task: id, context, worked answer, result (a number) and key."""
    random = Random(f"{GENERATIVE}-{split}-{seed}")
    chosen: dict[str, Unit] = {}
    while len(chosen) < SIZES[split]:
        unit = question(random, problem)
        if split_of(unit.key) == split:
            chosen.setdefault(unit.context, unit)
    return [
        {
            "id": f"{GENERATIVE}-{split}-{index}",
            "context": unit.context,
            "worked": (unit.answer + unit.end).strip(),
            "result": unit.answer.split()[-1],
            "key": unit.key,
        }
        for index, unit in enumerate(chosen.values())
    ]


def _pool(random: Random, maker: Callable[..., Unit], split: str) -> list[Unit]:
    units = (question(random, maker) for _ in range(_POOL))
    return list({unit.context + unit.answer: unit for unit in units if split_of(unit.key) == split}.values())


def _item(unit: Unit, group: list[Unit], random: Random) -> dict[str, Any]:
    choices = [member.answer.strip() for member in group]
    random.shuffle(choices)
    return {"context": unit.context, "choices": choices, "answer": choices.index(unit.answer.strip()), "key": unit.key}


def _groups(units: list[Unit], size: int, random: Random) -> Iterator[list[Unit]]:
    """Endless groups of `size` units of one pool, whose answers are each other's wrong answers.

    Where units have lures, a group is made of pairs in which each answer is the other's lure.
    """
    if units[0].lure is None:
        yield from _free_groups(units, size, random)
        return
    pairs: dict[tuple[str, frozenset[str]], dict[str, list[Unit]]] = defaultdict(lambda: defaultdict(list))
    for unit in units:
        pairs[unit.pool, frozenset((unit.answer, unit.lure or ""))][unit.answer].append(unit)
    whole = {key: by_answer for key, by_answer in pairs.items() if len(by_answer) == 2}
    by_pool: dict[str, list[dict[str, list[Unit]]]] = defaultdict(list)
    for (pool, _), by_answer in whole.items():
        by_pool[pool].append(by_answer)
    pools = [pool for pool, lure_pairs in by_pool.items() if len(lure_pairs) >= size // 2]
    while True:
        drawn = random.sample(by_pool[random.choice(pools)], size // 2)
        group = [random.choice(options) for by_answer in drawn for options in by_answer.values()]
        if len({unit.answer for unit in group}) == size:
            yield group


def _free_groups(units: list[Unit], size: int, random: Random) -> Iterator[list[Unit]]:
    pools: dict[str, dict[str, list[Unit]]] = defaultdict(lambda: defaultdict(list))
    for unit in units:
        pools[unit.pool][unit.answer].append(unit)
    large = [by_answer for by_answer in pools.values() if len(by_answer) >= size]
    weights = [sum(map(len, by_answer.values())) for by_answer in large]
    while True:
        (by_answer,) = random.choices(large, weights)
        first = random.choice(sorted(by_answer))
        near = [answer for answer in sorted(by_answer) if answer != first and _comparable(first, answer)]
        if len(near) >= size - 1:
            answers = [first, *random.sample(near, size - 1)]
            # Two actions that begin alike might both be done with one tool.
            if len({answer.split()[0] for answer in answers}) == size or answers[0].split()[0] in ("a", "an"):
                yield [random.choice(by_answer[answer]) for answer in answers]


_NUMBERS = {word: n for n, word in enumerate(NUMBER_WORDS, start=1)}


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else _NUMBERS.get(text)


def _comparable(first: str, second: str) -> bool:
    """Return True if both are near numbers, or one is no number: then anything goes with anything of its pool."""
    left, right = _number(first.strip()), _number(second.strip())
    return left is None or right is None or abs(left - right) <= _NEAR // 2


def write(out: Path, seed: int = 0) -> None:
    """Write every task's JSONL files."""
    out.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        for name in TASKS:
            _write_lines(out / f"{name}_{split}.jsonl", items(name, split, seed))
        _write_lines(out / f"{GENERATIVE}_{split}.jsonl", problems(split, seed))


def _write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
