"""Documents of the training text: seeded stories, lessons, scenes and sums of 32 to 256 tokens.

A document strings together units, the checkable pieces, and sentences that decide nothing checkable. Held-out
combinations never get into one.

Slots of the sentence patterns: {n} the character's name, {he} {him} {his} {He} {His} its pronouns, {c} boy or girl, {m}
another name, {place} and {place2} with their preposition, {thing} a counted noun, {things} its plural, {adj} {adj2}
descriptions, {state}, {how} a manner, {weather}, {time}, {home}, {pet}, {rel} a relative, {wish}, {sight}, {few} a
number word, {food}, {toy}, {color}, {wear}, {music}, {sport}, {flower}, {tree}, {bird}, {job}, {jobs}.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random

from analysis.bundled.heldout import held_out
from analysis.bundled.units import (
    LARGEST,
    UNITS,
    Cast,
    Scene,
    Unit,
    agreement,
    arithmetic,
    category,
    counted,
    given,
    gone,
    moved,
    numbers,
    numeral,
    opposite,
    physics,
    property_,
    reference,
    seen,
    tool,
    trouble,
)
from analysis.bundled.world import (
    CATEGORIES,
    COUNTED,
    DESCRIBED,
    HOMES,
    JOBS,
    MANNER,
    MEN,
    NUMBER_WORDS,
    PETS,
    RELATIVES,
    SIGHTS,
    STATES,
    TIMES,
    WEATHER,
    WHERE,
    WISHES,
    WOMEN,
    Person,
    article,
    plural,
)

_BLOCKS = {
    "opening": """
{time}, {n} was {place} with {his} {rel}.
{n} lived in {home} near the sea.
{n} was a {state} {c} who lived in {home}.
It was a {weather} day, and {n} was {place}.
{time}, a {state} {c} called {n} went out alone.
Once upon a time there was a {c} named {n}.
{n} had a {adj} {pet}. {He} loved it very much.
{time}, {n} woke up early and looked out of the window.
This is the story of {n} and a {adj} {thing}.
There once was a {job} whose child was called {n}.
{time}, the sky was {weather}, and {n} stayed {place}.
{n} and {m} were good friends. They often met {place}.
{n} dreamed of something: {he} hoped to {wish}.
In {home} lived a {state} {c} named {n}.
{time}, {n} got a letter from {his} {rel}.
Nobody {place} was as {state} as {n}.
{n} came from a family of {jobs}.
It was {n}'s birthday, and the weather was {weather}.
{time}, {n} decided to {wish}.
Long ago, {n} was the only {c} {place}.
""",
    "detail": """
{He} wore a {color} {wear}.
The {pet} followed {him} {how}.
{He} saw {sight}.
The air was {weather}, and the {tree} trees moved {how}.
A {bird} sang {how} above {him}.
{He} carried a {adj} {thing} in {his} hand.
There were {few} {things} on the table.
{His} {rel} waved {how}.
Not far away stood a {adj} {tree}.
{He} hummed a song and walked {how}.
The {adj} {thing} belonged to {his} {rel}.
{m} was there too and smiled {how}.
Somebody played the {music} {how}.
{He} counted {few} {things} and {few} more {things}.
The path was {adj} and lined with {flower} bushes.
{He} liked {sport} more than anything else.
Everything smelled of {food}.
{His} favorite color was {color}.
A {job} passed by and said hello.
{He} sat under a {tree} for an hour.
The people {place} were {state}.
{He} had never seen such a {adj} {thing} before.
On the wall hung a {adj} picture of a {bird}.
{He} bought some {food} for {his} {rel}.
The {job} told {him} about the {adj} {thing}.
{He} took {his} {toy} along.
The door was {color} and {adj}.
Behind the house there was a {adj} garden full of {things}.
{He} spoke {how} with the {job}.
A {adj} {bird} landed on the {tree}.
{His} {pet} slept {how} in the shade.
The clouds were {color} that day.
It was so {weather} that everyone stayed inside.
{He} looked {how} at the {adj} {thing}.
From there {he} could see {sight}.
{m} brought a {adj} {thing} as a present.
{He} was {state}, but {he} did not show it.
The {things} were {adj} and {adj2}.
The bell rang {few} times.
{He} whispered something to the {pet}.
{His} shoes were {adj} and {color}.
{n} knew every {tree} {place}.
Nobody else was {place} that day.
{He} remembered what {his} {rel} had said.
{n} dropped the {thing}, and it rolled away.
The {job} was {state} and worked {how}.
{He} waited for {few} minutes.
{He} found a {adj} {thing} on the ground.
The {pet} was more {state} than ever.
A {color} leaf fell from the {tree}.
{n} listened {how} to the {music}.
{He} drew a {bird} in the sand.
"Hello," said {m}, "what a {weather} day!"
"What is that?" asked {n} {how}.
"I would like to {wish}," said {n}.
"Be careful," said {his} {rel}.
"Come with me," said the {job} {how}.
"I am {state}," {he} said to {m}.
"Look," said {m}, "there is {sight}!"
"Have you seen my {thing}?" asked {m}.
""",
    "link": """
Then something happened.
A little later, {he} met {m}.
After a while, {he} went on.
Soon it was noon.
The next day was different.
At first nobody noticed.
Meanwhile, {m} was {place}.
Suddenly there was a loud noise.
{He} thought about it for a long time.
Then {his} {rel} came back.
An hour later, {he} was {place}.
But the day was not over yet.
{n} had an idea.
{He} went {place} and then {place2}.
{He} turned around {how}.
That evening, {n} was {place2}.
When the rain was over, {he} went outside.
Later that week, there was another surprise.
{n} did not know what to do next.
So {he} went back {how}.
{m} asked {him} to come along.
After lunch, {he} was ready again.
{He} crossed the road and walked on {how}.
The sun went down slowly.
What came next was strange.
""",
    "closing": """
At last {n} went home.
{n} never forgot that day.
It was a good day for {n}.
In the end everyone was {state}.
{He} told {his} {rel} all about it.
{n} and {m} stayed friends forever.
That night {he} slept {how}.
{He} wrote it all down in {his} diary.
And so the day ended {how}.
{n} gave the {thing} to {m} and said goodbye.
From then on, {he} was more {state} than before.
{His} {rel} was very proud of {him}.
The {pet} was waiting at the door.
{n} hoped to come back soon.
One day {he} would {wish}.
The end.
Everybody laughed and clapped.
{He} went to bed and dreamed of {sight}.
""",
    "lesson": """
Here is what {n} learned {place}.
{n} asked the teacher many questions.
The teacher showed the class some pictures.
In this lesson we learn about many things.
{n} has a book about the world.
{m} and {n} study together.
These are facts that everyone should know.
{n} made a list.
""",
    "scene": """
{n} describes a picture.
Look at what is going on {place}.
This is a {weather} day {place}.
{n} looked at an old photo.
The painting shows many things.
""",
    "sums": """
{n} practices sums.
Let us count together.
The class does sums today.
{m} helps {n} with the numbers.
Now it is time for some counting.
""",
    "game": """
{n} calls {m}, and {m} calls {n}.
{n} runs. {m} runs after {n}.
{n} sings, and {m} dances with {n}.
Where is {n}? {n} is behind {m}.
{m} waves at {n}. {n} waves back.
{n} hides, and {m} looks for {n}.
{n} is fast, but {m} is faster than {n}.
First {n} throws the ball to {m}. Then {m} throws it to {n}.
"{n}!" shouts {m}. "Yes, {m}," says {n}.
{n} follows {m}, and {m} follows {n}.
{n} has a turn. After {n} it is {m}.
{m} asks {n}, and {n} answers {m}.
{n} sits between {m} and the wall. {m} smiles at {n}.
"I am {n}," says {n}. "And I am {m}," says {m}.
{n} pulls {m}. Then {m} pulls {n}.
{m} likes {n}, and {n} likes {m}.
""",
}
ALL = {kind: tuple(filter(None, block.splitlines())) for kind, block in _BLOCKS.items()}


MIN_WORDS, MAX_WORDS = 30, 190  # a word and its punctuation are a little more than one token


@dataclass(frozen=True, slots=True)
class Document:
    """A text and the keys of every combination in it."""

    text: str
    keys: tuple[str, ...]


# --- sentences without a claim ----------------------------------------------------------------------------------

# The patterns write "a" before these.
_ADJECTIVES = tuple(word for word in DESCRIBED if word[0] not in "aeiou")
_CONSONANT_STATES = tuple(word for word in STATES if word[0] not in "aeioh")
_BIRDS = tuple(word for word in CATEGORIES["bird"] if word[0] not in "aeiou")
_PLACES = tuple(WHERE.values())
_SLOTS = {
    "place": _PLACES,
    "place2": _PLACES,
    "thing": COUNTED,
    "things": tuple(map(plural, COUNTED)),
    "adj": _ADJECTIVES,
    "adj2": _ADJECTIVES,
    "state": _CONSONANT_STATES,
    "how": MANNER,
    "weather": WEATHER,
    "time": TIMES,
    "home": HOMES,
    "pet": PETS,
    "rel": RELATIVES,
    "wish": WISHES,
    "sight": SIGHTS,
    "few": NUMBER_WORDS[1:],
    "food": CATEGORIES["dish"],
    "toy": CATEGORIES["toy"],
    "color": CATEGORIES["color"],
    "wear": CATEGORIES["garment"],
    "music": CATEGORIES["instrument"],
    "sport": CATEGORIES["sport"],
    "flower": CATEGORIES["flower"],
    "tree": CATEGORIES["tree"],
    "bird": _BIRDS,
    "job": JOBS,
    "jobs": tuple(map(plural, JOBS)),
}
_SLOT = re.compile(r"\{(\w+)\}")
_ENDS_IN_A = re.compile(r"\b[aA] $")
# Each pattern once cut into its fixed parts and the names of its slots.
_COMPILED = {
    kind: tuple((tuple(parts[0::2]), tuple(parts[1::2])) for parts in map(_SLOT.split, block))
    for kind, block in ALL.items()
}


def sentence(at: Scene, kind: str, who: Person) -> str:
    """A sentence of a kind of `patterns.ALL` about a character; others it names are of the scene's people."""
    fixed, slots = at.pick(_COMPILED[kind])
    text = fixed[0]
    for slot, following in zip(slots, fixed[1:], strict=True):
        if slot == "n":
            word = who.name
        elif slot == "c":
            word = who.child
        elif slot == "m":
            word = at.other(at.people, who).name
        elif slot in _SLOTS:
            word = at.pick(_SLOTS[slot])
        else:
            word = getattr(who, slot)
        if _ENDS_IN_A.search(text) and article(word) == "an":
            text = text[:-1] + "n "
        text += word + following
    return text


# --- sums and worked answers ------------------------------------------------------------------------------------

_AS_WORDS = {"+": "plus", "-": "minus"}


def equation(at: Scene) -> str:
    """A bare sum, in digits or in words. It names no object, so it is no combination."""
    frame = at.below(5)
    first, sign, second, result = numbers(at, 10 if frame >= 3 else LARGEST)
    left, right, total = (numeral(number, frame >= 3) for number in (first, second, result))
    word = _AS_WORDS[sign]
    return (
        f"{left} {sign} {right} = {total}.",
        f"{left} {word} {right} is {total}.",
        f"{total} is {left} {word} {right}.",
        f"{left.capitalize()} {word} {right} is {total}.",
        f"{left.capitalize()} {word} {right} makes {total}.",
    )[frame]


def problem(at: Scene) -> Unit:
    """A word problem of two steps with its worked answer, for the generative task."""
    who, noun = at.by_name(at.person()), at.pick(COUNTED)
    first, sign, second, between = numbers(at, LARGEST)
    while True:
        start, sign2, third, result = numbers(at, LARGEST)
        if start == between:
            break
    things = plural(noun)
    gain, lose = at.pick(("buys", "finds", "gets")), at.pick(("sells", "loses", "eats"))
    change, change2 = ((f"{gain if s == '+' else lose} {n}") for s, n in ((sign, second), (sign2, third)))
    context = (
        f"Question: {who.name} has {counted(first, noun)}. {who.He} {change} and then {change2}. "
        f"How many {things} does {who.he} have now? Answer:"
    )
    answer = f" {first} {sign} {second} = {between}. {between} {sign2} {third} = {result}. So {who.he} has {result}"
    key = f"problem {first} {sign} {second} {sign2} {third} {noun}"
    return Unit("problems", key, "problems", context, answer, None, f" {noun if result == 1 else things}.")


# --- documents --------------------------------------------------------------------------------------------------

_EVERYTHING = tuple(UNITS)
_SUMS = tuple(accumulate(UNITS.values()))
_EVENTS = (arithmetic, arithmetic, trouble, trouble, moved, gone, given, reference, reference, tool, physics, opposite)
_FACTS = (category, category, property_, property_, opposite, opposite, tool, tool, physics)


def cast(at: Scene) -> Cast:
    """The characters of one document, two men and two women: a name that occurs is likely to occur again."""
    man, woman = at.pick(MEN), at.pick(WOMEN)
    return (man, woman, at.other(MEN, man), at.other(WOMEN, woman))


def any_unit(at: Scene) -> Unit:
    """A unit of any kind, in the proportions of `UNITS`."""
    draw = at.random.random() * _SUMS[-1]
    return seen(at, next(maker for maker, limit in zip(_EVERYTHING, _SUMS, strict=True) if draw < limit))


_Pieces = Iterator[str | Unit]


def _story(at: Scene) -> _Pieces:
    who = at.pick(at.people)
    yield sentence(at, "opening", who)
    for _ in range(1 + at.below(5)):
        draw = at.random.random()
        if draw < 0.6:
            yield sentence(at, "detail" if draw < 0.45 else "link", who)
        yield seen(replace(at, who=who), at.pick(_EVENTS))
    yield sentence(at, "closing", who)


def _units_of(makers: tuple[Callable[[Scene], Unit], ...], opening: str | None) -> Callable[[Scene], _Pieces]:
    def write(at: Scene) -> _Pieces:
        about = replace(at, who=at.pick(at.people) if at.chance(0.3) else None)
        if opening and at.chance(0.3):
            yield sentence(at, opening, about.person())
        for _ in range(2 + at.below(6)):
            yield seen(about, at.pick(makers)) if makers else any_unit(about)

    return write


def _arithmetic(at: Scene) -> _Pieces:
    if at.chance(0.3):
        yield sentence(at, "sums", at.pick(at.people))
    about = replace(at, who=at.pick(at.people) if at.chance(0.5) else None)
    for _ in range(2 + at.below(6)):
        yield equation(at) if at.chance(0.55) else seen(about, arithmetic)


def _problems(at: Scene) -> _Pieces:
    for _ in range(1 + at.below(2)):
        yield seen(at, problem)


def _game(at: Scene) -> _Pieces:
    """Little but names: two or three characters at play."""
    players = replace(at, people=at.people[: 2 + at.below(2)])
    for _ in range(3 + at.below(4)):
        yield sentence(players, "game", at.pick(players.people))


# With the cumulative share of each.
_KINDS: tuple[tuple[float, Callable[[Scene], _Pieces]], ...] = (
    (0.30, _story),
    (0.66, _units_of((), None)),
    (0.78, _units_of(_FACTS, "lesson")),
    (0.83, _units_of((agreement,), "scene")),
    (0.90, _arithmetic),
    (0.96, _problems),
    (1.01, _game),
)


def document(random: Random, games: float = 0.0) -> Document:
    """One document. Short ones are lengthened by further units, so that none is under 32 tokens.

    games: the share of documents that are games whatever their share is otherwise.
    """
    draw = 1.0 if games and random.random() < games else random.random()
    write = next(write for limit, write in _KINDS if draw < limit)
    at = Scene(random, people=cast(Scene(random)))
    pieces = list(write(at))
    while len(_text(pieces).split(" ")) < MIN_WORDS:
        pieces.append(any_unit(at))
    keys = tuple(piece.key for piece in pieces if isinstance(piece, Unit))
    while len(_text(pieces).split(" ")) > MAX_WORDS:
        pieces.pop()
    return Document(_text(pieces), keys)


def _text(pieces: list[str | Unit]) -> str:
    return " ".join(piece.text if isinstance(piece, Unit) else piece for piece in pieces)


def question(random: Random, maker: Callable[[Scene], Unit], who: Person | None = None) -> Unit:
    """A unit whose combination is held out, for the benchmark tasks."""
    while True:
        unit = maker(Scene(random, who))
        if held_out(unit.key):
            return unit
