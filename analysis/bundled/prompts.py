"""Prompts for the bundled pair: beginnings of texts that lead up to a combination never trained on.

A prompt's template is the wording of its last sentences. Prompts of one template are alike in what they show, so
whoever draws prompts at random draws whole templates (`sinks.intervals`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from random import Random

from analysis.bundled import units
from analysis.bundled.grammar import question, sentence
from analysis.bundled.world import PEOPLE, TESTS


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and its template."""

    text: str
    template: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """Units of one kind. templates: their `Unit.template`. leads: kinds of `patterns.ALL` for the sentence before."""

    maker: Callable[[units.Scene], units.Unit]
    templates: tuple[str, ...]
    leads: tuple[str, ...] = ("opening",)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name} {number}" for number in range(count))


_KINDS = (
    _Kind(units.arithmetic, _numbered("arithmetic", 4), ("opening", "sums")),
    _Kind(units.trouble, _numbered("trouble mended", 3) + _numbered("trouble lasting", 3)),
    _Kind(units.moved, _numbered("moved", 3)),
    _Kind(units.given, _numbered("given", 2)),
    _Kind(units.reference, ("fit big", "fit small", "deed doer", "deed other", "pronoun 2", "pronoun 3", "pronoun 4")),
    _Kind(units.gone, _numbered("gone", 3)),
    _Kind(units.opposite, _numbered("opposite", 6), ("opening", "lesson")),
    _Kind(units.tool, _numbered("tool", 7) + _numbered("tool back", 3)),
    _Kind(units.category, _numbered("category", 6) + _numbered("category plural", 3), ("lesson", "opening")),
    _Kind(units.property_, _numbered("property", 5), ("lesson", "opening")),
    _Kind(units.physics, tuple(f"physics {test} {frame}" for frame in range(3) for test in TESTS)),
    _Kind(units.agreement, _numbered("agreement", 7), ("scene", "opening")),
)


def _templates() -> Iterator[tuple[_Kind, str, str]]:
    """Every kind, template and lead once: the first template of each kind, then the second, and so on."""
    for place in range(max(len(kind.templates) for kind in _KINDS)):
        for kind in _KINDS:
            if place < len(kind.templates):
                yield kind, kind.templates[place], kind.leads[place % len(kind.leads)]


def keyed_prompts(count: int, seed: int = 0) -> list[Prompt]:
    """Return `count` different prompts with their templates, which take turns; more begin with the same ones."""
    return list(_made(count, seed))


@lru_cache(maxsize=16)  # pages ask for the same ones at every run
def _made(count: int, seed: int) -> tuple[Prompt, ...]:
    random = Random(f"sink prompts {seed}")
    made: dict[str, Prompt] = {}
    for number, (kind, template, lead) in enumerate(islice(cycle(_templates()), count)):
        who = PEOPLE[number % len(PEOPLE)]
        while len(made) == number:
            unit = question(random, kind.maker, who)
            if unit.template == template:
                text = f"{sentence(units.Scene(random), lead, who)} {unit.context}"
                made.setdefault(text, Prompt(text, template))
    return tuple(made.values())


def prompts(count: int, seed: int = 0) -> list[str]:
    """Return the texts of `keyed_prompts`."""
    return [prompt.text for prompt in keyed_prompts(count, seed)]
