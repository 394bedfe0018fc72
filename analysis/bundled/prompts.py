"""Prompts for the bundled pair: beginnings of stories that lead up to a combination never trained on."""

from functools import partial
from random import Random

from analysis.bundled.grammar import question, sentence
from analysis.bundled.units import arithmetic, given, moved, reference, trouble
from analysis.bundled.world import PEOPLE

_UNITS = (arithmetic, trouble, moved, given, reference)


def prompts(count: int, seed: int = 0) -> list[str]:
    """As many as wanted; more of them begin with the same ones."""
    random = Random(f"sink prompts {seed}")
    texts = []
    for number in range(count):
        who = PEOPLE[number % len(PEOPLE)]
        unit = question(random, partial(_UNITS[number % len(_UNITS)], who=who))
        texts.append(f"{sentence(random, 'opening', who)} {unit.context}")
    return texts
