"""Benchmarks before any item is read: their settings, the suites made of them, their sizes, and the cost of scoring
them. Imports neither lm-eval nor torch.

A benchmark is one row of `PRESETS`, with the shots, guidance and draws of the authors' scripts. Guidance is on LLaDA's
scale. The scripts for Dream use none, so if the first model is one of Dream's, none is used.

An item of choices takes at most choices × min(draws, 2^L − 1) forwards for answers of L tokens, as fewer masked sets
than draws are all run once (`likelihood.py`); guidance doubles them. A written answer takes one forward per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

from analysis.errors import first_line, named_line, shorten
from analysis.evaluation.bundled.data import cluster_sizes
from analysis.evaluation.planning import TaskItems
from analysis.machine.speed import SUSTAINED, Card

BUNDLED_PREFIX = "bundled_"


@dataclass(frozen=True)
class Preset:
    """Settings of one benchmark.

    task: lm-eval's name of it, a task or a group. shots: examples before each item; None is lm-eval's own number.
    metric: of lm-eval's metrics the one shown. gen_length: tokens written where answers are text, None for the task's.
    source: whose settings these are. alternative: the bundled task that asks something alike without a network.
    dataset: on the hub, '' where none is needed or it is not known. items, clusters: how many it has, for planning
    alone; 0 where it is not known, or, of clusters, where each item is its own.
    """

    title: str
    task: str
    shots: int | None = 0
    guidance: float = 0.0
    draws: int = 32
    metric: str = "acc"
    gen_length: int | None = None
    source: str = "ours"
    alternative: str = "bundled"
    dataset: str = ""
    items: int = 0
    clusters: int = 0

    @property
    def counts_right(self) -> bool:
        """True if it counts right answers, False if it takes the likelihood of a text."""
        return not self.metric.endswith("perplexity")


_SCRIPTS = "LLaDA's evaluation scripts"
_LIKE_ARC = "ours, as ARC-C in LLaDA's scripts"


_scripted = partial(Preset, source=_SCRIPTS)


def _bundled(title: str, name: str) -> Preset:
    return Preset(title, BUNDLED_PREFIX + name)


PRESETS: dict[str, Preset] = {
    "mmlu": _scripted(
        "MMLU",
        "mmlu",
        shots=5,
        draws=1,
        alternative="bundled_knowledge",
        dataset="cais/mmlu",
        items=14_042,
        clusters=57,
    ),
    "arc_challenge": _scripted(
        "ARC-C",
        "arc_challenge",
        guidance=0.5,
        draws=128,
        alternative="bundled_knowledge",
        dataset="allenai/ai2_arc",
        items=1_172,
    ),
    "piqa": _scripted(
        "PIQA", "piqa", guidance=0.5, draws=128, alternative="bundled_physical", dataset="baber/piqa", items=1_838
    ),
    "winogrande": _scripted(
        "WinoGrande",
        "winogrande",
        shots=5,
        draws=128,
        alternative="bundled_reference",
        dataset="allenai/winogrande",
        items=1_267,
    ),
    "gsm8k": _scripted(
        "GSM8K",
        "gsm8k",
        shots=None,
        metric="exact_match",
        gen_length=1024,
        alternative="bundled_problems",
        dataset="openai/gsm8k",
        items=1_319,
    ),
    "hellaswag": _scripted(
        "HellaSwag",
        "hellaswag",
        guidance=0.5,
        draws=128,
        alternative="bundled_story",
        dataset="Rowan/hellaswag",
        items=10_042,
    ),
    "gpqa": _scripted(
        "GPQA-main",
        "gpqa_main_n_shot",
        shots=5,
        guidance=0.5,
        draws=128,
        alternative="bundled_knowledge",
        dataset="Idavidrein/gpqa",
        items=448,
    ),
    "race": Preset(
        "RACE",
        "race",
        guidance=0.5,
        draws=128,
        source="in the paper but not in its scripts; " + _LIKE_ARC,
        alternative="bundled_story",
        dataset="EleutherAI/race",
        items=1_045,
    ),
    "arc_easy": Preset(
        "ARC-E",
        "arc_easy",
        guidance=0.5,
        draws=128,
        source=_LIKE_ARC,
        alternative="bundled_knowledge",
        dataset="allenai/ai2_arc",
        items=2_376,
    ),
    "wikitext": Preset(
        "WikiText-2",
        "wikitext",
        metric="word_perplexity",
        alternative="bundled_text",
        dataset="EleutherAI/wikitext_document_level",
    ),
    "bundled_agreement": _bundled("Agreement", "agreement"),
    "bundled_arithmetic": _bundled("Arithmetic", "arithmetic"),
    "bundled_knowledge": _bundled("Knowledge", "knowledge"),
    "bundled_physical": _bundled("Physical", "physical"),
    "bundled_story": _bundled("Story", "story"),
    "bundled_reference": _bundled("Reference", "reference"),
    "bundled_problems": Preset("Word problems", "bundled_problems", metric="exact_match", gen_length=24),
    "bundled_text": Preset("Bundled text", "bundled_text", metric="word_perplexity"),
}

SUITES: dict[str, tuple[str, ...]] = {
    "bundled": (
        "bundled_agreement",
        "bundled_arithmetic",
        "bundled_knowledge",
        "bundled_physical",
        "bundled_story",
        "bundled_reference",
    ),
    "paper": ("mmlu", "arc_challenge", "piqa", "winogrande", "gsm8k", "hellaswag", "gpqa", "race"),
}


def expand(names: tuple[str, ...]) -> tuple[str, ...]:
    """Replace suites by their benchmarks, each name once, in order."""
    return tuple(dict.fromkeys(task for name in names for task in SUITES.get(name, (name,))))


def preset(name: str) -> Preset:
    """The row of this name, or one with lm-eval's own shots for a task that has none."""
    return PRESETS.get(name) or Preset(name, name, shots=None, metric="")


def why_left_out(row: Preset, error: Exception) -> str:
    """Say why a benchmark cannot be run, and what to do."""
    text = first_line(error)
    name = type(error).__name__.lower()
    words = ("connect", "offline", "reach", "resolve host", "timed out", "localentrynotfound")
    if any(word in f"{name} {text}".lower() for word in words):
        return (
            f"{row.title} was left out: its items come from the Hugging Face hub, which cannot be reached, and they "
            f"are not on this disk. {row.alternative} ships with SinkScope and needs no network."
        )
    if "gated" in text.lower() or "authenticated" in text.lower():
        return (
            f"{row.title} was left out: its authors ask you to accept their terms on the Hugging Face hub first, and "
            f"to log in with `hf auth login`. {row.alternative} needs neither."
        )
    return (
        f"{row.title} was left out: lm-eval cannot make its items ({shorten(named_line(error), 240)}). Check the "
        "fields of its YAML file, and its data."
    )


def known_sizes(names: Sequence[str]) -> tuple[list[TaskItems], list[str]]:
    """Of tasks and suites of right answers: those whose sizes are known, and the names of the others.

    Where the hub's clusters are known by their number alone, they are taken as equally large.
    """
    known, unknown = [], []
    for name in expand(tuple(names)):
        row = PRESETS.get(name)
        if row is None or (row.counts_right and not _is_known(row)):
            unknown.append(name)
        elif row.counts_right:
            known.append(_items_of(name))
    return known, unknown


@cache
def _items_of(name: str) -> TaskItems:
    row = PRESETS[name]
    return TaskItems(row.title, _sizes(row), subjects=row.clusters > 0)


def _is_known(row: Preset) -> bool:
    return row.task.startswith(BUNDLED_PREFIX) or row.items > 0


def _sizes(row: Preset) -> tuple[int, ...]:
    if row.task.startswith(BUNDLED_PREFIX):
        return cluster_sizes(row.task.removeprefix(BUNDLED_PREFIX))
    clusters = row.clusters or row.items
    least, more = divmod(row.items, clusters)
    return tuple(least + (number < more) for number in range(clusters))


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
