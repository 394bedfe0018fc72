"""Settings of each benchmark: shots, guidance and draws of the authors' scripts, and the suites made of them.

A benchmark is one row of `PRESETS`. Guidance is on LLaDA's scale. The scripts for Dream use none, and where the first
model is one of Dream's, none is used.
"""

from dataclasses import dataclass
from functools import partial

from analysis.errors import first_line, named_line, shorten

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
