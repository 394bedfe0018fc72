"""The smallest pieces of text that say something checkable: a context and the answer that follows from it.

Training text is context + answer; a benchmark item is the same with wrong answers beside it. Each function of `UNITS`
draws one unit from a random generator, about `who` where it needs a character and about others of `people` where it
needs more.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from analysis.bundled.heldout import held_out
from analysis.bundled.world import (
    ACTS_ALONE,
    BEINGS,
    BESIDE,
    CONTAINERS,
    COUNTED,
    DEEDS_BY_DOER,
    DEEDS_BY_OTHER,
    FITTED,
    MEMBERS,
    NUMBER_WORDS,
    OPPOSITE_THINGS,
    OPPOSITES,
    PEOPLE,
    PLACES,
    PROPERTIES,
    SEES,
    SMALL_THINGS,
    STATES,
    TESTS,
    TOOL_TASKS,
    TROUBLES,
    WHERE,
    Person,
    a,
    made_of,
    plural,
)

LARGEST = 15  # of the numbers in sums
Cast = tuple[Person, ...]  # the characters a text is about
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Unit:
    """context + answer is the text; the answer begins with a space.

    task: the benchmark task it belongs to. key: the combination that decides whether it is held out. pool: units of
    one pool have answers of one kind and length, so they can be one another's wrong answers. lure: the wrong answer a
    shallow reader would give, where there is one. template: the wording of the context, whatever fills it.
    """

    task: str
    key: str
    pool: str
    context: str
    answer: str
    lure: str | None = None
    end: str = "."
    template: str = ""

    @property
    def text(self) -> str:
        return self.context + self.answer + self.end


def pick(random: Random, options: tuple[_T, ...]) -> _T:
    """One of the options; `random.choice` without its overhead."""
    return options[int(random.random() * len(options))]


def below(random: Random, count: int) -> int:
    """A number from 0 to `count` − 1; `random.randrange` without its overhead."""
    return int(random.random() * count)


def shuffled(random: Random, pair: tuple[_T, _T]) -> tuple[_T, _T]:
    """Both of a pair, in either order."""
    return pair if random.random() < 0.5 else pair[::-1]


def other(random: Random, options: tuple[_T, ...], *than: _T) -> _T:
    """One of the options that is none of `than`."""
    while True:
        drawn = pick(random, options)
        if drawn not in than:
            return drawn


def by_name(random: Random, who: Person) -> Person:
    """The character, half of the time called by name where a pronoun would be its subject.

    A name that occurs again within a sentence or two is what a model learns to copy names from.
    """
    return replace(who, he=who.name, He=who.name) if random.random() < 0.5 else who


def upper(text: str) -> str:
    """The text with its first letter as a capital."""
    return text[0].upper() + text[1:]


# --- agreement: the verb follows its subject, not the nearer noun -----------------------------------------------

_BES = ("is", "are")
_HAVES = ("has", "have")
_WERES = ("was", "were")


def agreement(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """A subject, a second noun between it and the verb, and the verb in the subject's number."""
    subject, second = pick(random, BEINGS), pick(random, BEINGS + COUNTED)
    many, many_second = random.random() < 0.5, random.random() < 0.5
    noun = plural(subject) if many else subject
    near = plural(second) if many_second else second
    frame = below(random, 7)
    if frame == 2:
        start = f"The {noun} that {pick(random, tuple(SEES.items()))[many]} the {near}"
    elif frame == 4:
        start = f"The {noun} with the {near}"
    elif frame == 5:
        start = f"The {noun} that the {near} {pick(random, ('saw', 'met', 'called'))}"
    else:
        start = f"The {noun} {pick(random, BESIDE)} the {near}"
    if frame in (4, 6):
        verbs, state = pick(random, tuple(ACTS_ALONE.items())), pick(random, tuple(WHERE.values()))
    elif frame == 3:
        verbs, state = _HAVES, f"{pick(random, NUMBER_WORDS[1:])} {plural(pick(random, COUNTED))}"
    else:
        verbs, state = _BES if frame in (0, 2) else _WERES, pick(random, STATES)
    right, wrong = verbs[many], verbs[not many]
    key = f"agreement {frame} {noun} {near}"
    return Unit("agreement", key, f"{frame}", start, f" {right}", f" {wrong}", f" {state}.", f"agreement {frame}")


# --- arithmetic -------------------------------------------------------------------------------------------------


def numbers(random: Random, largest: int) -> tuple[int, str, int, int]:
    """a, +/−, b and the result; everything from 1 to `largest`."""
    if random.random() < 0.5:
        result = 2 + below(random, largest - 1)
        first = 1 + below(random, result - 1)
        return first, "+", result - first, result
    first = 2 + below(random, largest - 1)
    second = 1 + below(random, first - 1)
    return first, "-", second, first - second


def numeral(number: int, words: bool) -> str:
    """'3', or 'three' in words."""
    return NUMBER_WORDS[number - 1] if words else str(number)


def counted(number: int, noun: str, words: bool = False) -> str:
    """'3 apples', 'three apples', '1 apple'."""
    return f"{numeral(number, words)} {noun if number == 1 else plural(noun)}"


_GAINS = ("got {} more", "found {} more", "bought {} more", "took {} more", "won {} more", "picked up {} more")
_LOSSES = ("lost {}", "sold {}", "gave {} away", "dropped {}", "broke {}", "threw {} away")


def arithmetic(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """A sum about counted things, in digits or in words."""
    words = random.random() < 0.25
    first, sign, second, result = numbers(random, 10 if words else LARGEST)
    noun, who = pick(random, COUNTED), by_name(random, who or pick(random, people))
    few = numeral(second, words)
    change = pick(random, _GAINS if sign == "+" else _LOSSES).format(few)
    answer = f" {numeral(result, words)}"
    had = counted(first, noun, words)
    end = f" {noun if result == 1 else plural(noun)}."
    frame = below(random, 4)
    if frame == 0:
        context = f"{who.name} had {had}. {who.He} {change}. Now {who.he} had"
    elif frame == 1:
        context = f"{who.name} had {had}. Then {who.he} {change}. In the end {who.he} had"
    elif frame == 2:
        verb = "were" if first > 1 else "was"
        more = f"put {few} more there" if sign == "+" else f"took {few} away"
        context = f"There {verb} {had} {WHERE[pick(random, PLACES)]}. {who.name} {more}. Now there were"
        if result == 1:
            context = context.removesuffix("were") + "was"
    else:
        context = f"With {had} at first, {who.name} {change}. That left {who.him} with"
    # "Now there was" gives the answer 1 away, so those units are in a pool of their own.
    pool = f"arithmetic {frame} {words} {context.endswith('there was')}"
    key = f"arithmetic {first} {sign} {second} {noun}"
    return Unit("arithmetic", key, pool, context, answer, None, end, f"arithmetic {frame}")


# --- knowledge: categories, properties, opposites ---------------------------------------------------------------

_CATEGORY_FRAMES = (
    "{A} is",
    "{who} saw {a}. It is",
    "{who} asked what {a} is. It is",
    "Everyone knows that {a} is",
    "Look, {a}! That is",
    "In the book there is {a}. The word means",
)
_PLURAL_FRAMES = ("All {s} are", "{who} likes {s}, because they are", "{who} drew some {s}. They are")


def category(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """The kind of a thing: 'A robin is a bird'."""
    member, group = pick(random, MEMBERS)
    name = (who or pick(random, people)).name
    if random.random() < 0.25 and a(member) != member and group != "drink":
        frame = below(random, len(_PLURAL_FRAMES))
        context = _PLURAL_FRAMES[frame].format(s=plural(member), who=name)
        key, template = f"category {member} plural {frame}", f"category plural {frame}"
        return Unit("knowledge", key, "categories", context, f" {plural(group)}", template=template)
    frame = below(random, len(_CATEGORY_FRAMES))
    thing = a(member)
    context = _CATEGORY_FRAMES[frame].format(A=upper(thing), a=thing, who=name)
    # "an" would give the answer away among answers with "a", so a pool holds one article only.
    article = a(group).split()[0]
    key, template = f"category {member} {frame}", f"category {frame}"
    return Unit("knowledge", key, f"category {article}", context, f" {a(group)}", template=template)


_PROPERTY_FRAMES = (
    "{A}",
    "{who} knows that {a}",
    "The teacher says that {a}",
    "It is true that {a}",
    "As {group}, {a}",
)


def property_(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """A property of a thing that follows from its kind: 'A robin has feathers'."""
    member, group = pick(random, MEMBERS)
    which = below(random, 2)
    frame = below(random, len(_PROPERTY_FRAMES))
    verb, rest = PROPERTIES[group][which].split(" ", 1)
    thing = a(member)
    context = _PROPERTY_FRAMES[frame].format(
        A=upper(thing), a=thing, who=(who or pick(random, people)).name, group=a(group)
    )
    key, template = f"property {member} {which} {frame}", f"property {frame}"
    return Unit("knowledge", key, f"property {verb}", f"{context} {verb}", f" {rest}", template=template)


_OPPOSITE_FRAMES = (
    "The opposite of {x} is",
    "The {thing} is not {x}. It is",
    "{who} says the {thing} is {x}. {friend} says no, it is",
    "The {thing} was {x}, but {who} changed it. Now it is",
    "What is not {x} is",
    "First the {thing} was {x}. Later it was",
)


def opposite(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """'The soup is not hot. It is cold'."""
    word = pick(random, tuple(OPPOSITES))
    frame = below(random, len(_OPPOSITE_FRAMES))
    thing = pick(random, OPPOSITE_THINGS[word])
    who = who or pick(random, people)
    friend = other(random, people, who)
    context = _OPPOSITE_FRAMES[frame].format(x=word, thing=thing, who=who.name, friend=friend.name)
    key = f"opposite {word} {frame} {'' if frame in (0, 4) else thing}"
    template = f"opposite {frame}"
    return Unit("knowledge", key, "opposite", context, f" {OPPOSITES[word]}", f" {word}", template=template)


# --- physical use -----------------------------------------------------------------------------------------------

_TOOL_FRAMES = (
    "To {act}, use",
    "{who} wants to {act}. {He} needs",
    "{who} wanted to {act}, so {he} looked for",
    "{who} could not {act} without",
    "It is hard to {act} without",
    "You can {act} with",
    "{who} was able to {act} because {he} had",
)


def tool(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """A tool and its use."""
    act, name = pick(random, TOOL_TASKS)
    who = by_name(random, who or pick(random, people))
    if random.random() < 0.2:
        frame = below(random, 3)
        context = (f"{who.name} used {a(name)} to", f"{upper(a(name))} helps you to", f"With {a(name)} you can")[frame]
        return Unit("physical", f"tool {act} back {frame}", "act", context, f" {act}", template=f"tool back {frame}")
    frame = below(random, len(_TOOL_FRAMES))
    context = _TOOL_FRAMES[frame].format(act=act, who=who.name, he=who.he, He=who.He)
    key, pool = f"tool {act} {frame}", f"tool {a(name).split()[0]}"
    return Unit("physical", key, pool, context, f" {a(name)}", template=f"tool {frame}")


_TEST_FRAMES = {
    "water": ("{who} dropped the {x} into the {w}. It", "When you put {a} into water, it", "In the {w}, {a}"),
    "fall": ("{who} dropped the {x} on the floor. It", "When {a} falls on stone, it", "After a hard fall, {a}"),
    "fire": ("{who} threw the {x} into the fire. It", "When {a} comes near a fire, it", "In a hot fire, {a}"),
    "pull": ("{who} pulled hard at the {x}. It", "When two people pull at {a}, it", "If you pull it hard, {a}"),
}
_PAST = {
    "sinks": "sank",
    "floats": "floated",
    "breaks": "broke",
    "stays whole": "stayed whole",
    "burns": "burned",
    "does not burn": "did not burn",
    "tears": "tore",
    "does not tear": "did not tear",
}


def physics(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """An event that follows from what a thing is made of."""
    test = pick(random, tuple(TESTS))
    yes, no, does, does_not = TESTS[test]
    happens = random.random() < 0.5
    thing = pick(random, made_of(does if happens else does_not))
    frame = below(random, 3)
    right, wrong = (yes, no) if happens else (no, yes)
    if frame == 0:
        right, wrong = _PAST[right], _PAST[wrong]
    water = pick(random, ("river", "lake", "sea", "pond"))
    name = (who or pick(random, people)).name
    context = _TEST_FRAMES[test][frame].format(who=name, x=thing, a=a(thing), w=water)
    key, pool = f"physics {test} {thing} {frame}", f"physics {test} {frame}"
    return Unit("physical", key, pool, context, f" {right}", f" {wrong}", template=pool)


# --- what follows in a story ------------------------------------------------------------------------------------


def trouble(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """A character in trouble, what mends it or why nothing does, and how it ends."""
    who = by_name(random, who or pick(random, people))
    hardship = pick(random, TROUBLES)
    place = WHERE[pick(random, PLACES)]
    frame = below(random, 3)
    start = (
        f"{who.name} was {hardship.state} {place}.",
        f"{upper(place)}, {who.name} became {hardship.state}.",
        f"All day {who.name} was {hardship.state}.",
    )[frame]
    mended, still = f" {hardship.after}", f" still {hardship.state}"
    if random.random() < 0.6:
        which = below(random, len(hardship.remedies))
        key = f"trouble {hardship.state} {which} {who.name}"
        context = f"{start} So {who.he} {hardship.remedies[which]}. After that {who.he} was"
        return Unit("story", key, f"trouble {who.child}", context, mended, still, template=f"trouble mended {frame}")
    which = below(random, len(hardship.lack))
    key = f"trouble {hardship.state} not {which} {who.name}"
    context = f"{start} {hardship.lack[which]}. After that {who.he} was"
    return Unit("story", key, f"trouble {who.child}", context, still, mended, template=f"trouble lasting {frame}")


def moved(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """The place of a thing after it was moved."""
    who = who or pick(random, people)
    friend = other(random, people, who)
    thing, first = pick(random, SMALL_THINGS), pick(random, CONTAINERS)
    last = other(random, CONTAINERS, first)
    frame = below(random, 3)
    context = (
        f"{who.name} put the {thing} in the {first}. {friend.name} moved it to the {last}. Now the {thing} is in the",
        f"The {thing} was in the {first}. Then {who.name} took it out and put it in the {last}. Look for it in the",
        f"{who.name} hid the {thing} in the {first}, but {friend.name} carried it to the {last}. It is in the",
    )[frame]
    key = f"moved {thing} {first} {last}"
    return Unit("story", key, "moved", context, f" {last}", f" {first}", template=f"moved {frame}")


def gone(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """The place of a character after going somewhere."""
    who = who or pick(random, people)
    friend, who = other(random, people, who), by_name(random, who)
    here = pick(random, PLACES)
    there = other(random, PLACES, here)
    frame = below(random, 3)
    preposition = WHERE[there][:6]
    context = (
        f"{who.name} was {WHERE[here]}. {who.He} went to the {there}. {friend.name} can find {who.him} {preposition}",
        f"{who.name} left the {here} and walked to the {there}. Now {who.he} is {preposition}",
        f"{friend.name} was {WHERE[here]} with {who.name}. Then {who.name} went to the {there}. "
        f"Now {who.he} is {preposition}",
    )[frame]
    pool = f"gone {WHERE[there][:2]}"
    key = f"gone {who.name} {here} {there}"
    return Unit("story", key, pool, context, f" {there}", f" {here}", template=f"gone {frame}")


def given(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """The owner of a thing after it was given away."""
    who = who or pick(random, people)
    friend, who = other(random, people, who), by_name(random, who)
    thing, frame = pick(random, SMALL_THINGS), below(random, 2)
    context = (
        f"{who.name} had {a(thing)}. {who.He} gave it to {friend.name}. Now the {thing} belongs to",
        f"{friend.name} asked {who.name} for the {thing} and got it. Now the {thing} belongs to",
    )[frame]
    key = f"given {who.name} {friend.name} {thing}"
    return Unit("story", key, "given", context, f" {friend.name}", f" {who.name}", template=f"given {frame}")


# --- reference: whom a pronoun means ----------------------------------------------------------------------------


_MEETS = ("met", "saw", "visited", "found")


def reference(random: Random, who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """Two characters or things, and which of them the pronoun meant."""
    frame = below(random, 5)
    men, women = (tuple(person for person in people if person.he == he) for he in ("he", "she"))
    if frame == 0:
        thing, holder = pick(random, FITTED), pick(random, CONTAINERS)
        size, cause, rest = ("big", thing, holder) if random.random() < 0.5 else ("small", holder, thing)
        context = f"The {thing} did not fit in the {holder} because it was too {size}. Too {size} was the"
        key = f"fit {thing} {holder}"
        return Unit("reference", key, key, context, f" {cause}", f" {rest}", template=f"fit {size}")
    if frame == 1:
        group = pick(random, (men, women))
        first = who if who in group else pick(random, group)
        second = other(random, group, first)
        by_doer = random.random() < 0.5
        deed, why = pick(random, DEEDS_BY_DOER if by_doer else DEEDS_BY_OTHER)
        meant, lure = (first, second) if by_doer else (second, first)
        context = f"{first.name} {deed} {second.name} because {first.he} {why}. The one who {why} was"
        key, template = f"deed {deed} {first.name} {second.name}", f"deed {'doer' if by_doer else 'other'}"
    else:
        first, second = shuffled(random, (pick(random, men), pick(random, women)))
        meant, lure = shuffled(random, (first, second))
        state, place = pick(random, STATES), WHERE[pick(random, PLACES)]
        context = (
            f"{first.name} and {second.name} were {place}. {meant.He} was {state}. The {state} one was",
            f"{first.name} {pick(random, _MEETS)} {second.name} {place} when {meant.he} was {state}. "
            f"The {state} one was",
            f"{first.name} told {second.name} a story, but {meant.he} was too {state}. Too {state} was",
        )[frame - 2]
        key, template = f"pronoun {frame} {first.name} {second.name}", f"pronoun {frame}"
    pool = f"reference {' '.join(sorted((meant.name, lure.name)))}"
    return Unit("reference", key, pool, context, f" {meant.name}", f" {lure.name}", template=template)


# --- all of them ------------------------------------------------------------------------------------------------

UNITS: dict[Callable[..., Unit], float] = {
    agreement: 0.10,
    arithmetic: 0.20,
    category: 0.09,
    property_: 0.07,
    opposite: 0.09,
    tool: 0.08,
    physics: 0.05,
    trouble: 0.10,
    moved: 0.05,
    gone: 0.04,
    given: 0.03,
    reference: 0.10,
}


def seen(random: Random, maker: Callable[..., Unit], who: Person | None = None, people: Cast = PEOPLE) -> Unit:
    """A unit whose combination may be trained on."""
    while True:
        unit = maker(random, who, people)
        if not held_out(unit.key):
            return unit
