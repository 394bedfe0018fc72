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


@dataclass(frozen=True, slots=True)
class Scene:
    """Random choices for a text about `who`, if it is about one character, and others of `people`."""

    random: Random
    who: Person | None = None
    people: Cast = PEOPLE

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return self.random.random() < share

    def below(self, count: int) -> int:
        """A number from 0 to `count` − 1; `random.randrange` without its overhead."""
        return int(self.random.random() * count)

    def pick(self, options: tuple[_T, ...]) -> _T:
        """One of the options."""
        return options[self.below(len(options))]

    def other(self, options: tuple[_T, ...], than: _T) -> _T:
        """Another one of the options."""
        while True:
            drawn = self.pick(options)
            if drawn != than:
                return drawn

    def shuffled(self, pair: tuple[_T, _T]) -> tuple[_T, _T]:
        """Both of a pair, in either order."""
        return pair if self.chance(0.5) else pair[::-1]

    def person(self) -> Person:
        """The character that the text is about, or any."""
        return self.who or self.pick(self.people)

    def by_name(self, who: Person) -> Person:
        """The character, half of the time called by name where a pronoun would be its subject.

        A name that occurs again within a sentence or two is what a model learns to copy names from.
        """
        return replace(who, he=who.name, He=who.name) if self.chance(0.5) else who


def upper(text: str) -> str:
    """The text with its first letter as a capital."""
    return text[0].upper() + text[1:]


# --- agreement: the verb follows its subject, not the nearer noun -----------------------------------------------

_BES = ("is", "are")
_HAVES = ("has", "have")
_WERES = ("was", "were")


def agreement(at: Scene) -> Unit:
    """A subject, a second noun between it and the verb, and the verb in the subject's number."""
    subject, second = at.pick(BEINGS), at.pick(BEINGS + COUNTED)
    many, many_second = at.chance(0.5), at.chance(0.5)
    noun = plural(subject) if many else subject
    near = plural(second) if many_second else second
    frame = at.below(7)
    if frame == 2:
        start = f"The {noun} that {at.pick(tuple(SEES.items()))[many]} the {near}"
    elif frame == 4:
        start = f"The {noun} with the {near}"
    elif frame == 5:
        start = f"The {noun} that the {near} {at.pick(('saw', 'met', 'called'))}"
    else:
        start = f"The {noun} {at.pick(BESIDE)} the {near}"
    if frame in (4, 6):
        verbs, state = at.pick(tuple(ACTS_ALONE.items())), at.pick(tuple(WHERE.values()))
    elif frame == 3:
        verbs, state = _HAVES, f"{at.pick(NUMBER_WORDS[1:])} {plural(at.pick(COUNTED))}"
    else:
        verbs, state = _BES if frame in (0, 2) else _WERES, at.pick(STATES)
    right, wrong = verbs[many], verbs[not many]
    key = f"agreement {frame} {noun} {near}"
    return Unit("agreement", key, f"{frame}", start, f" {right}", f" {wrong}", f" {state}.", f"agreement {frame}")


# --- arithmetic -------------------------------------------------------------------------------------------------


def numbers(at: Scene, largest: int) -> tuple[int, str, int, int]:
    """a, +/−, b and the result; everything from 1 to `largest`."""
    if at.chance(0.5):
        result = 2 + at.below(largest - 1)
        first = 1 + at.below(result - 1)
        return first, "+", result - first, result
    first = 2 + at.below(largest - 1)
    second = 1 + at.below(first - 1)
    return first, "-", second, first - second


def numeral(number: int, words: bool) -> str:
    """'3', or 'three' in words."""
    return NUMBER_WORDS[number - 1] if words else str(number)


def counted(number: int, noun: str, words: bool = False) -> str:
    """'3 apples', 'three apples', '1 apple'."""
    return f"{numeral(number, words)} {noun if number == 1 else plural(noun)}"


_GAINS = ("got {} more", "found {} more", "bought {} more", "took {} more", "won {} more", "picked up {} more")
_LOSSES = ("lost {}", "sold {}", "gave {} away", "dropped {}", "broke {}", "threw {} away")


def arithmetic(at: Scene) -> Unit:
    """A sum about counted things, in digits or in words."""
    words = at.chance(0.25)
    first, sign, second, result = numbers(at, 10 if words else LARGEST)
    noun, who = at.pick(COUNTED), at.by_name(at.person())
    few = numeral(second, words)
    change = at.pick(_GAINS if sign == "+" else _LOSSES).format(few)
    answer = f" {numeral(result, words)}"
    had = counted(first, noun, words)
    end = f" {noun if result == 1 else plural(noun)}."
    frame = at.below(4)
    if frame == 0:
        context = f"{who.name} had {had}. {who.He} {change}. Now {who.he} had"
    elif frame == 1:
        context = f"{who.name} had {had}. Then {who.he} {change}. In the end {who.he} had"
    elif frame == 2:
        verb = "were" if first > 1 else "was"
        more = f"put {few} more there" if sign == "+" else f"took {few} away"
        context = f"There {verb} {had} {WHERE[at.pick(PLACES)]}. {who.name} {more}. Now there were"
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


def category(at: Scene) -> Unit:
    """The kind of a thing: 'A robin is a bird'."""
    member, group = at.pick(MEMBERS)
    name = at.person().name
    if at.chance(0.25) and a(member) != member and group != "drink":
        frame = at.below(len(_PLURAL_FRAMES))
        context = _PLURAL_FRAMES[frame].format(s=plural(member), who=name)
        key, template = f"category {member} plural {frame}", f"category plural {frame}"
        return Unit("knowledge", key, "categories", context, f" {plural(group)}", template=template)
    frame = at.below(len(_CATEGORY_FRAMES))
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


def property_(at: Scene) -> Unit:
    """A property of a thing that follows from its kind: 'A robin has feathers'."""
    member, group = at.pick(MEMBERS)
    which = at.below(2)
    frame = at.below(len(_PROPERTY_FRAMES))
    verb, rest = PROPERTIES[group][which].split(" ", 1)
    thing = a(member)
    context = _PROPERTY_FRAMES[frame].format(A=upper(thing), a=thing, who=at.person().name, group=a(group))
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


def opposite(at: Scene) -> Unit:
    """'The soup is not hot. It is cold'."""
    word = at.pick(tuple(OPPOSITES))
    frame = at.below(len(_OPPOSITE_FRAMES))
    thing = at.pick(OPPOSITE_THINGS[word])
    who = at.person()
    friend = at.other(at.people, who)
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


def tool(at: Scene) -> Unit:
    """A tool and its use."""
    act, name = at.pick(TOOL_TASKS)
    who = at.by_name(at.person())
    if at.chance(0.2):
        frame = at.below(3)
        context = (f"{who.name} used {a(name)} to", f"{upper(a(name))} helps you to", f"With {a(name)} you can")[frame]
        return Unit("physical", f"tool {act} back {frame}", "act", context, f" {act}", template=f"tool back {frame}")
    frame = at.below(len(_TOOL_FRAMES))
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


def physics(at: Scene) -> Unit:
    """An event that follows from what a thing is made of."""
    test = at.pick(tuple(TESTS))
    yes, no, does, does_not = TESTS[test]
    happens = at.chance(0.5)
    thing = at.pick(made_of(does if happens else does_not))
    frame = at.below(3)
    right, wrong = (yes, no) if happens else (no, yes)
    if frame == 0:
        right, wrong = _PAST[right], _PAST[wrong]
    water = at.pick(("river", "lake", "sea", "pond"))
    name = at.person().name
    context = _TEST_FRAMES[test][frame].format(who=name, x=thing, a=a(thing), w=water)
    key, pool = f"physics {test} {thing} {frame}", f"physics {test} {frame}"
    return Unit("physical", key, pool, context, f" {right}", f" {wrong}", template=pool)


# --- what follows in a story ------------------------------------------------------------------------------------


def trouble(at: Scene) -> Unit:
    """A character in trouble, what mends it or why nothing does, and how it ends."""
    who = at.by_name(at.person())
    hardship = at.pick(TROUBLES)
    place = WHERE[at.pick(PLACES)]
    frame = at.below(3)
    start = (
        f"{who.name} was {hardship.state} {place}.",
        f"{upper(place)}, {who.name} became {hardship.state}.",
        f"All day {who.name} was {hardship.state}.",
    )[frame]
    mended, still = f" {hardship.after}", f" still {hardship.state}"
    if at.chance(0.6):
        which = at.below(len(hardship.remedies))
        key = f"trouble {hardship.state} {which} {who.name}"
        context = f"{start} So {who.he} {hardship.remedies[which]}. After that {who.he} was"
        return Unit("story", key, f"trouble {who.child}", context, mended, still, template=f"trouble mended {frame}")
    which = at.below(len(hardship.lack))
    key = f"trouble {hardship.state} not {which} {who.name}"
    context = f"{start} {hardship.lack[which]}. After that {who.he} was"
    return Unit("story", key, f"trouble {who.child}", context, still, mended, template=f"trouble lasting {frame}")


def moved(at: Scene) -> Unit:
    """The place of a thing after it was moved."""
    who = at.person()
    friend = at.other(at.people, who)
    thing, first = at.pick(SMALL_THINGS), at.pick(CONTAINERS)
    last = at.other(CONTAINERS, first)
    frame = at.below(3)
    context = (
        f"{who.name} put the {thing} in the {first}. {friend.name} moved it to the {last}. Now the {thing} is in the",
        f"The {thing} was in the {first}. Then {who.name} took it out and put it in the {last}. Look for it in the",
        f"{who.name} hid the {thing} in the {first}, but {friend.name} carried it to the {last}. It is in the",
    )[frame]
    key = f"moved {thing} {first} {last}"
    return Unit("story", key, "moved", context, f" {last}", f" {first}", template=f"moved {frame}")


def gone(at: Scene) -> Unit:
    """The place of a character after going somewhere."""
    who = at.person()
    friend, who = at.other(at.people, who), at.by_name(who)
    here = at.pick(PLACES)
    there = at.other(PLACES, here)
    frame = at.below(3)
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


def given(at: Scene) -> Unit:
    """The owner of a thing after it was given away."""
    who = at.person()
    friend, who = at.other(at.people, who), at.by_name(who)
    thing, frame = at.pick(SMALL_THINGS), at.below(2)
    context = (
        f"{who.name} had {a(thing)}. {who.He} gave it to {friend.name}. Now the {thing} belongs to",
        f"{friend.name} asked {who.name} for the {thing} and got it. Now the {thing} belongs to",
    )[frame]
    key = f"given {who.name} {friend.name} {thing}"
    return Unit("story", key, "given", context, f" {friend.name}", f" {who.name}", template=f"given {frame}")


# --- reference: whom a pronoun means ----------------------------------------------------------------------------


_MEETS = ("met", "saw", "visited", "found")


def reference(at: Scene) -> Unit:
    """Two characters or things, and which of them the pronoun meant."""
    frame = at.below(5)
    men, women = (tuple(person for person in at.people if person.he == he) for he in ("he", "she"))
    if frame == 0:
        thing, holder = at.pick(FITTED), at.pick(CONTAINERS)
        size, cause, rest = ("big", thing, holder) if at.chance(0.5) else ("small", holder, thing)
        context = f"The {thing} did not fit in the {holder} because it was too {size}. Too {size} was the"
        key = f"fit {thing} {holder}"
        return Unit("reference", key, key, context, f" {cause}", f" {rest}", template=f"fit {size}")
    if frame == 1:
        group = at.pick((men, women))
        first = at.who if at.who in group else at.pick(group)
        second = at.other(group, first)
        by_doer = at.chance(0.5)
        deed, why = at.pick(DEEDS_BY_DOER if by_doer else DEEDS_BY_OTHER)
        meant, lure = (first, second) if by_doer else (second, first)
        context = f"{first.name} {deed} {second.name} because {first.he} {why}. The one who {why} was"
        key, template = f"deed {deed} {first.name} {second.name}", f"deed {'doer' if by_doer else 'other'}"
    else:
        first, second = at.shuffled((at.pick(men), at.pick(women)))
        meant, lure = at.shuffled((first, second))
        state, place = at.pick(STATES), WHERE[at.pick(PLACES)]
        context = (
            f"{first.name} and {second.name} were {place}. {meant.He} was {state}. The {state} one was",
            f"{first.name} {at.pick(_MEETS)} {second.name} {place} when {meant.he} was {state}. The {state} one was",
            f"{first.name} told {second.name} a story, but {meant.he} was too {state}. Too {state} was",
        )[frame - 2]
        key, template = f"pronoun {frame} {first.name} {second.name}", f"pronoun {frame}"
    pool = f"reference {' '.join(sorted((meant.name, lure.name)))}"
    return Unit("reference", key, pool, context, f" {meant.name}", f" {lure.name}", template=template)


# --- all of them ------------------------------------------------------------------------------------------------

UNITS: dict[Callable[[Scene], Unit], float] = {
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


def seen(at: Scene, maker: Callable[[Scene], Unit]) -> Unit:
    """A unit whose combination may be trained on."""
    while True:
        unit = maker(at)
        if not held_out(unit.key):
            return unit
