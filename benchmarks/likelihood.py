"""Precision with which the accuracies of two models are told apart, against the estimator of the published scripts.

`python -m benchmarks.likelihood [--items 64 --seeds 400 --draws 32]`

Answers are the last 8 tokens of bundled items, so a choice has 255 masked inputs. Every one is run once on the dense
model and on copies pruned by Wanda at 50 % and 70 %; after that any number of draws by any scheme is a look-up, and the
exact sum is known. Both schemes get as many draws for each answer and model. Items are fixed; only the seed varies.

- published: LLaDA's `get_loglikelihood`: the number masked runs evenly from a random start, is rounded (half to even)
  and wrapped to 1…L; positions at random; every model draws for itself.
- ours: systematic strata over 1…L, balanced positions, and the same draws for every model and every choice.

`--bias` prints instead, as Markdown, how far accuracy at 1 to 128 draws lies from its exact value: on the 8-token
answers, and on every item of all bundled choice tasks, whose short answers are soon exact.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch

from analysis.evaluation.likelihood import Budget, Part, Request, masks_seed, planned_forwards, run_forwards, seed_of
from analysis.evaluation.masked_sets import all_sets, drawn_sets, is_exact
from analysis.models.load import load
from analysis.models.loaded import LoadedModel
from analysis.specs import ModelSpec
from benchmarks.ratios import Ratio
from training.measure import calibration, pruned_copy, read_items, token_ids
from training.tasks import TASKS

LENGTH = 8
LONG_TASKS = ("arithmetic", "reference", "story")  # whose choices are single tokens in enough items
SPARSITIES = (0.5, 0.7)
DRAWS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Item:
    """One question: an answer a choice, and which is right."""

    task: str
    requests: tuple[Request, ...]
    right: int


# Of one model: by item and choice, the sum of log-probabilities of every masked set, by the bits of its positions.
Table = list[list[np.ndarray]]


def short_items(model: LoadedModel, task: str, limit: int | None = None) -> list[Item]:
    """The items of a bundled task as they are."""
    return [
        Item(task, tuple(Request(*_split(model, row["context"], c, None), task) for c in row["choices"]), row["answer"])
        for row in read_items(task, "test")[:limit]
    ]


def long_items(model: LoadedModel, count: int) -> list[Item]:
    """Items whose answer is the last `LENGTH` tokens of context and choice, from several tasks in turn."""
    columns = [_long(model, task) for task in LONG_TASKS]
    items: list[Item] = []
    while len(items) < count:
        items += [next(column) for column in columns]
    return items[:count]


def _long(model: LoadedModel, task: str) -> Iterator[Item]:
    for row in read_items(task, "test"):
        tokens = [_split(model, row["context"], choice, None) for choice in row["choices"]]
        if all(len(answer) == 1 for _, answer in tokens) and len(tokens[0][0]) > LENGTH:
            pairs = [_split(model, row["context"], choice, LENGTH) for choice in row["choices"]]
            yield Item(task, tuple(Request(*pair, task) for pair in pairs), row["answer"])


def _split(
    model: LoadedModel, context: str, choice: str, length: int | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    before = token_ids(model, context, True)
    whole = token_ids(model, f"{context} {choice}", True)
    at = len(before) if length is None else len(whole) - length
    return whole[:at], whole[at:]


def table(model: LoadedModel, items: list[Item]) -> Table:
    """Run every masked input of every answer once."""
    requests = [request for item in items for request in item.requests]
    plans = [all_sets(len(request.continuation)) for request in requests]
    sums = [np.zeros(2 ** len(request.continuation)) for request in requests]
    parts = [Part(index, request.context, request.continuation) for index, request in enumerate(requests)]
    forwards = planned_forwards(model, parts, plans)
    for reader, value, _ in run_forwards(model, forwards, 0.0, Budget.of(model), lambda: None):
        sums[reader.request][sum(1 << position for position in reader.positions)] = value
    rows = iter(sums)
    return [[next(rows) for _ in item.requests] for item in items]


# --- schemes ----------------------------------------------------------------------------------------------------

# (answer, draws, seeds, model number) -> masked sets by their bits, and their weights, both (seeds, draws)
Scheme = Callable[[Request, int, int, int], tuple[np.ndarray, np.ndarray]]


def exact(request: Request, draws: int, seeds: int, model: int) -> tuple[np.ndarray, np.ndarray]:
    """The whole sum, whatever the draws."""
    sets = all_sets(len(request.continuation))
    bits = np.array([[_bits(masked.positions) for masked in sets]])
    return bits, np.array([[masked.weight for masked in sets]])


def ours(request: Request, draws: int, seeds: int, model: int) -> tuple[np.ndarray, np.ndarray]:
    """Balanced strata, the same for every model and every choice of an item."""
    if is_exact(len(request.continuation), draws):
        return exact(request, draws, seeds, model)
    return _our_draws(request, draws, seeds)


@lru_cache(maxsize=4096)
def _our_draws(request: Request, draws: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    plans = [drawn_sets(len(request.continuation), draws, masks_seed(request, seed)) for seed in range(seeds)]
    bits = np.array([[_bits(masked.positions) for masked in plan] for plan in plans], np.int32)
    return bits, np.array([[masked.weight for masked in plan] for plan in plans])


def published(request: Request, draws: int, seeds: int, model: int) -> tuple[np.ndarray, np.ndarray]:
    """The rule of the published scripts, all draws in one batch; each model has a seed of its own."""
    length = len(request.continuation)
    rng = np.random.default_rng([seed_of(request, 0) % 2**32, model])
    start = rng.integers(1, length + 1, size=(seeds, 1))
    even = start + np.linspace(0, 1, draws) * (draws - 1) * (length / draws)
    counts = (np.round(even).astype(int) - 1) % length + 1
    places = rng.random((seeds, draws, length)).argsort(axis=2)
    masked = places < counts[..., None]
    return (masked << np.arange(length)).sum(axis=2), length / counts / draws


def _bits(positions: tuple[int, ...]) -> int:
    return sum(1 << position for position in positions)


def right_answers(sums: Table, items: list[Item], scheme: Scheme, draws: int, seeds: int, model: int) -> np.ndarray:
    """Flag the items that are right with each seed, (items, seeds); one column for a scheme without chance."""
    rows = []
    for item, choices in zip(items, sums, strict=True):
        values = []
        for request, sets in zip(item.requests, choices, strict=True):
            bits, weights = scheme(request, draws, seeds, model)
            values.append(np.broadcast_to((sets[bits] * weights).sum(axis=1), seeds))
        rows.append(np.argmax(values, axis=0) == item.right)
    return np.array(rows)


def difference(
    tables: list[Table], items: list[Item], scheme: Scheme, draws: int, seeds: int, pruned: int
) -> np.ndarray:
    """Accuracy of the dense model minus that of a pruned one with each seed, (seeds,)."""
    dense, other = (
        right_answers(tables[number], items, scheme, draws, seeds, number).mean(axis=0) for number in (0, pruned)
    )
    return dense - other


def spread(values: np.ndarray) -> tuple[float, float]:
    """Standard deviation over seeds, and its own relative error."""
    return float(values.std(ddof=1)), 1 / math.sqrt(2 * (len(values) - 1))


@cache
def dense_and_pruned() -> list[LoadedModel]:
    """The bundled model, and copies that Wanda has pruned to each of `SPARSITIES`."""
    dense = load(ModelSpec())
    texts = calibration(dense)
    return [dense, *(pruned_copy(dense, "wanda", sparsity, texts) for sparsity in SPARSITIES)]


def compare(tables: list[Table], items: list[Item], draws: int, seeds: int) -> list[Ratio]:
    """Print and return the ratio of standard errors."""
    print(f"\n{len(items)} items with answers of {LENGTH} tokens, {seeds} seeds, {draws} draws an answer and model")
    ratios = []
    for number, sparsity in enumerate(SPARSITIES, start=1):
        true = float(difference(tables, items, exact, draws, 1, number)[0])
        our_differences = difference(tables, items, ours, draws, seeds, number)
        their_differences = difference(tables, items, published, draws, seeds, number)
        (our_error, relative), (their_error, _) = spread(our_differences), spread(their_differences)
        ratio = our_error / their_error if their_error else float("nan")
        print(f"\nsparsity {sparsity:.0%}: exact difference {100 * true:+.2f} points")
        for name, values, deviation in (
            ("ours", our_differences, our_error),
            ("published", their_differences, their_error),
        ):
            shift, sure = values.mean() - true, values.std(ddof=1) / math.sqrt(seeds)
            print(
                f"  {name:<10} standard error {100 * deviation:.2f} points, bias {100 * shift:+.2f} ± {196 * sure:.2f}"
            )
        print(f"  ratio {ratio:.2f} (± {1.96 * ratio * relative * math.sqrt(2):.2f})")
        ratios.append(Ratio(f"standard error of dense − {sparsity:.0%}, {draws} draws", "ours / published", ratio))
    return ratios


def bias(name: str, tables: list[Table], items: list[Item], seeds: int) -> None:
    """Print accuracy and the dense–pruned differences at few and many draws, less their exact values, in points."""
    lengths = [len(request.continuation) for item in items for request in item.requests]
    true = [100 * right_answers(rows, items, exact, 1, 1, 0).mean() for rows in tables]
    titles = [f"dense ({true[0]:.1f})"]
    titles += [f"dense − {s:.0%} ({true[0] - level:+.1f})" for s, level in zip(SPARSITIES, true[1:], strict=False)]
    print(f"\n{name}: {len(items)} items, answers of {min(lengths)}–{max(lengths)} tokens, {seeds} seeds\n")
    print(f"| draws | {' | '.join(titles)} |\n{'| --- ' * (len(titles) + 1)}|")
    rows: dict[tuple[str, ...], list[int]] = {}
    for draws in DRAWS:
        rights = [
            100 * right_answers(rows, items, ours, draws, seeds, number).mean(axis=0)
            for number, rows in enumerate(tables)
        ]
        cells = [_cell(rights[0] - true[0])]
        cells += [
            _cell(rights[0] - other - (true[0] - level)) for other, level in zip(rights[1:], true[1:], strict=True)
        ]
        rows.setdefault(tuple(cells), []).append(draws)
        _our_draws.cache_clear()
    for row, alike in rows.items():
        print(f"| {', '.join(map(str, alike))} | {' | '.join(row)} |", flush=True)


def _cell(values: np.ndarray) -> str:
    if not values.any():
        return "0"
    return f"{values.mean():+.2f} ± {1.96 * values.std(ddof=1) / math.sqrt(len(values)):.2f}".replace("-", "−")


def main(words: list[str] | None = None) -> list[Ratio]:
    """Print the figures, and return the ratios of standard errors; none of biases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=64, help="items with long answers (default 64)")
    parser.add_argument("--seeds", type=int, default=400, help="seeds (default 400)")
    parser.add_argument("--draws", type=int, nargs="+", default=[16, 32], help="draws an answer (default 16 32)")
    parser.add_argument("--bias", action="store_true", help="measure the bias of accuracy instead")
    parser.add_argument("--limit", type=int, help="with --bias: items of each bundled task (default all)")
    options = parser.parse_args(words)
    began = time.perf_counter()
    models = dense_and_pruned()
    dense = models[0]
    print(json.dumps({"torch": torch.__version__, "model": dense.fingerprint[:16], "method": "wanda"}))
    items = long_items(dense, options.items)
    tables = [table(model, items) for model in models]
    if not options.bias:
        return [ratio for draws in options.draws for ratio in compare(tables, items, draws, options.seeds)]
    bias("8-token answers", tables, items, options.seeds)
    for task in TASKS:
        task_items = short_items(dense, task, options.limit)
        task_tables = [table(model, task_items) for model in models]
        bias(f"bundled_{task}", task_tables, task_items, min(options.seeds, 100))
    print(f"\nIn brackets the exact values. It took {time.perf_counter() - began:.0f} s.")
    return []


if __name__ == "__main__":
    main()
