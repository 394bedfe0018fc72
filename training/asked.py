"""Units in sentences that no document has: questions for the benchmark tasks, in the world's words put together anew.

A task needs many combinations, and the documents may hold six of seven. Every combination here is held out.
"""

from analysis.bundled.heldout import ASKED_ONLY
from analysis.bundled.units import Scene, Unit
from analysis.bundled.world import MEMBERS, OPPOSITE_THINGS, OPPOSITES, PLACES, PROPERTIES, STATES, TOOL_TASKS, WHERE, a

_ASKED_CATEGORY_FRAMES = (
    "{who} knows that {a} is",
    "The teacher asked {who} what {a} is. It is",
    "{who} can see {a}. It is",
    "It is true that {a} is",
    "Look at {a}. That is",
    "{who} has a book about {a}. It is",
    "In a story there was {a}. It is",
    "{who} says that {a} is",
)


def category_asked_anew(at: Scene) -> Unit:
    """Ask for the category of a thing, in sentences that no document has."""
    member, group = at.pick(MEMBERS)
    frame = at.below(len(_ASKED_CATEGORY_FRAMES))
    context = _ASKED_CATEGORY_FRAMES[frame].format(a=a(member), who=at.person().name)
    pool = f"category {a(group).split()[0]}"
    return Unit("knowledge", f"{ASKED_ONLY} category {member} {frame}", pool, context, f" {a(group)}")


_ASKED_PROPERTY_FRAMES = (
    "Everyone knows that {a}",
    "{who} says that {a}",
    "Look at {a}. It",
    "{who} asked what {a} is. It",
    "In the book it is true that {a}",
    "{who} saw {a}. It",
)


def property_asked_anew(at: Scene) -> Unit:
    """Ask for a property that a thing has by its category, in sentences that no document has."""
    member, group = at.pick(MEMBERS)
    which, frame = at.below(2), at.below(len(_ASKED_PROPERTY_FRAMES))
    verb, rest = PROPERTIES[group][which].split(" ", 1)
    context = _ASKED_PROPERTY_FRAMES[frame].format(a=a(member), who=at.person().name)
    key = f"{ASKED_ONLY} property {member} {which} {frame}"
    return Unit("knowledge", key, f"property {verb}", f"{context} {verb}", f" {rest}")


_ASKED_OPPOSITE_FRAMES = (
    "{who} knows that the opposite of {x} is",
    "{who} says the {thing} is not {x}. It is",
    "{who} says the {thing} is {x}, but it is",
    "{friend} says the {thing} is {x}. {who} says no, it is",
    "First the {thing} was {x}. Now it is",
    "The {thing} was {x}, but later it was",
    "Everyone knows that what is not {x} is",
    "{who} saw that the {thing} is not {x}. It is",
)


def opposite_asked_anew(at: Scene) -> Unit:
    """Ask for an opposite ('Tom says the soup is not hot. It is cold'), in sentences that no document has."""
    word = at.pick(tuple(OPPOSITES))
    frame = at.below(len(_ASKED_OPPOSITE_FRAMES))
    thing = at.pick(OPPOSITE_THINGS[word])
    who = at.person()
    friend = at.other(at.people, who)
    context = _ASKED_OPPOSITE_FRAMES[frame].format(x=word, thing=thing, who=who.name, friend=friend.name)
    key = f"{ASKED_ONLY} opposite {word} {frame}"
    return Unit("knowledge", key, "opposite", context, f" {OPPOSITES[word]}", f" {word}")


_ASKED_TOOL_FRAMES = (
    "To {act}, {who} needs",
    "{who} can {act} with",
    "It is hard to {act}, so {who} needs",
    "{who} wants to {act}, so {he} needs",
    "{who} wanted to {act}. {He} looked for",
    "{who} is able to {act} with",
    "{who} wants to {act} and looks for",
    "{who} was not able to {act} without",
    "{who} needed to {act}, so {he} used",
    "When {who} wanted to {act}, {he} looked for",
    "It is hard for {who} to {act} without",
    "You can not {act} without",
)


def tool_asked_anew(at: Scene) -> Unit:
    """Ask for the tool that does something, in sentences that no document has."""
    act, name = at.pick(TOOL_TASKS)
    who = at.by_name(at.person())
    frame = at.below(len(_ASKED_TOOL_FRAMES))
    context = _ASKED_TOOL_FRAMES[frame].format(act=act, who=who.name, he=who.he, He=who.He)
    return Unit("physical", f"{ASKED_ONLY} tool {act} {frame}", f"tool {a(name).split()[0]}", context, f" {a(name)}")


_ASKED_PRONOUN_FRAMES = (
    "{first} and {second} met {place} when {he} was {state}. The {state} one was",
    "{first} was {place} with {second}. {He} was {state}. The {state} one was",
    "{first} saw {second} {place}, but {he} was {state}. The {state} one was",
    "{first} told {second} a story {place}. {He} was too {state}. Too {state} was",
    "{first} and {second} walked to the {ground}. Then {he} was {state}. The {state} one was",
)


def reference_asked_anew(at: Scene) -> Unit:
    """Ask which of a man and a woman a pronoun meant, in sentences that no document has."""
    men, women = (tuple(person for person in at.people if person.he == he) for he in ("he", "she"))
    pair = (at.pick(men), at.pick(women))
    first, second = at.shuffled(pair)
    meant, lure = at.shuffled(pair)
    frame = at.below(len(_ASKED_PRONOUN_FRAMES))
    ground = at.pick(PLACES)
    context = _ASKED_PRONOUN_FRAMES[frame].format(
        first=first.name,
        second=second.name,
        place=WHERE[ground],
        ground=ground,
        he=meant.he,
        He=meant.He,
        state=at.pick(STATES),
    )
    key = f"{ASKED_ONLY} pronoun {frame} {first.name} {second.name}"
    pool = f"reference {' '.join(sorted((meant.name, lure.name)))}"
    return Unit("reference", key, pool, context, f" {meant.name}", f" {lure.name}")
