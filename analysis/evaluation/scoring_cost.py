"""Forwards and tokens that scoring a benchmark takes, computed before any item is read.

An item of choices takes at most choices × min(draws, 2^L − 1) forwards for answers of L tokens, as fewer masked sets
than draws are all run once (`likelihood.py`); guidance doubles them. A written answer takes one forward per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.evaluation.presets import PRESETS, Preset, expand
from analysis.evaluation.task_sizes import known_sizes
from analysis.machine.cards import SUSTAINED, Card


@dataclass(frozen=True)
class ItemShape:
    """An item as a model reads it, on average. prompt: tokens before the answer, with the examples. answer: tokens of a
    choice; 0 where answers are written.
    """

    choices: int
    prompt: float
    answer: float


SHAPES: dict[str, ItemShape] = {
    "mmlu": ItemShape(4, 700, 1),
    "arc_challenge": ItemShape(4, 35, 6),
    "arc_easy": ItemShape(4, 30, 5),
    "piqa": ItemShape(2, 20, 25),
    "winogrande": ItemShape(2, 150, 8),
    "gsm8k": ItemShape(1, 900, 0),
    "hellaswag": ItemShape(4, 65, 28),
    "gpqa": ItemShape(4, 1400, 3),
    "race": ItemShape(4, 420, 8),
    "bundled_agreement": ItemShape(2, 5.5, 1),
    "bundled_arithmetic": ItemShape(4, 15, 1),
    "bundled_knowledge": ItemShape(4, 7.9, 1.7),
    "bundled_physical": ItemShape(2, 8.8, 2.1),
    "bundled_reference": ItemShape(2, 15.8, 1),
    "bundled_story": ItemShape(4, 17.9, 1.25),
    "bundled_problems": ItemShape(1, 25, 0),
}
"""Mean lengths. Those of the bundled tasks are measured; the others are typical of the benchmark's English items and
its number of examples, and assumed, as their items are not read here."""


@dataclass(frozen=True)
class Scoring:
    """Cost of scoring one model on a benchmark. forwards: of one sequence each, at most. length: tokens per forward."""

    name: str
    title: str
    items: int
    forwards: float
    length: float

    @property
    def tokens(self) -> float:
        """Tokens of all forwards."""
        return self.forwards * self.length

    def seconds(self, weights: float, card: Card) -> float:
        """Time on a card at `SUSTAINED` of its operations: 2 · weights · tokens of them."""
        return 2 * weights * self.tokens / (card.operations * 1e12 * SUSTAINED)


def scorings(tasks: Sequence[str], limit: int | None, draws: int | None) -> tuple[list[Scoring], list[str]]:
    """Return the cost of each benchmark of a study, and the names of those whose items are not known. draws: None for
    the benchmark's own.
    """
    found, unknown = [], []
    for name in expand(tuple(tasks)):
        shape, row = SHAPES.get(name), PRESETS.get(name)
        sizes, _ = known_sizes((name,))
        if shape is None or row is None or not sizes:
            unknown.append(name)
            continue
        items = min(sizes[0].items, limit or sizes[0].items)
        found.append(_scoring(name, row, shape, items, draws or row.draws))
    return found, unknown


def _scoring(name: str, row: Preset, shape: ItemShape, items: int, draws: int) -> Scoring:
    guided = 2 if row.guidance else 1
    if not shape.answer:
        written = row.gen_length or 0
        return Scoring(name, row.title, items, guided * items * written, shape.prompt + written)
    each = shape.choices * min(draws, 2**shape.answer - 1)
    return Scoring(name, row.title, items, guided * items * each, shape.prompt + shape.answer)
