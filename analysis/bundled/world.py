"""The little world the bundled models are taught: its words, and what is true in it.

Facts follow from classes wherever they can (every bird has feathers, whatever is made of iron sinks), so that a
combination held out of training can still be worked out from the ones that were seen.
"""

from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


def _rows(text: str) -> tuple[tuple[str, ...], ...]:
    """Split lines of cells, which a bar separates."""
    return tuple(tuple(cell.strip() for cell in line.split("|")) for line in _lines(text))


def _choices(cell: str) -> tuple[str, ...]:
    """Split a cell of several choices, which a slash separates."""
    return tuple(choice.strip() for choice in cell.split("/"))


def _spaced(text: str) -> tuple[str, ...]:
    """Split words, in which an underscore stands for a space."""
    return tuple(word.replace("_", " ") for word in text.split())


# --- people -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Person:
    """A character and its pronouns. He and His begin sentences."""

    name: str
    he: str
    him: str
    his: str
    He: str
    His: str
    child: str


_BOYS = _words("Tom Ben Sam Max Leo Jack Dan Tim Paul Nick Adam Oscar")
_GIRLS = _words("Ann Mia Lily Sue Kate Eva Jane Lucy Emma Nora Zoe Ella")
MEN = tuple(Person(name, "he", "him", "his", "He", "His", "boy") for name in _BOYS)
WOMEN = tuple(Person(name, "she", "her", "her", "She", "Her", "girl") for name in _GIRLS)
PEOPLE = MEN + WOMEN
JOBS = _words("farmer baker sailor painter driver hunter miller tailor pilot waiter gardener cook")
RELATIVES = _words("mother father sister brother uncle aunt cousin grandmother grandfather neighbor friend teacher")

# --- nouns and their plurals ------------------------------------------------------------------------------------

_IRREGULAR = {
    row[0]: row[1]
    for row in _rows("""
goose | geese
mouse | mice
deer | deer
sheep | sheep
wolf | wolves
knife | knives
leaf | leaves
calf | calves
child | children
man | men
woman | women
thief | thieves
loaf | loaves
shelf | shelves
scarf | scarves
potato | potatoes
tomato | tomatoes
policeman | policemen
fireman | firemen
fisherman | fishermen
""")
}

_SILENT_H = ("honest", "hour")


def plural(noun: str) -> str:
    """The plural of a regular noun of this world, or of one of its irregular ones."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def article(word: str) -> str:
    """'a' or 'an', by how the word after it begins."""
    return "an" if word[0] in "aeiou" or word in _SILENT_H else "a"


def a(noun: str) -> str:
    """The noun with its indefinite article, none for what is not counted."""
    return noun if noun in UNCOUNTED else f"{article(noun)} {noun}"


BEINGS = _words(
    "dog cat horse boy girl teacher farmer baker duck cow king doctor goat pig rabbit fox bear mouse wolf lion sailor "
    "nurse painter singer dancer driver hunter miller tailor queen prince soldier pilot waiter clown child woman man "
    "goose student artist cook judge guard knight monk gardener"
)
COUNTED = _words(
    "apple pear book ball cup coin egg shell stone flower pencil cookie button hat card plum stamp marble candle "
    "ribbon acorn bead nut cherry carrot feather balloon key ring spoon"
)
ACTS_ALONE = {
    f"{act}s": act
    for act in _words("sleep run sing play eat jump walk smile wait dance rest laugh hide work listen shout swim stand")
}
SEES = {"sees": "see", "likes": "like", "knows": "know", "helps": "help", "follows": "follow", "watches": "watch"}
STATES = _words(
    "tired hungry happy sad quiet strong young old brave calm angry proud busy lazy kind shy cheerful nervous clever "
    "gentle curious polite honest careful"
)
BESIDE = _spaced("near behind next_to with beside in_front_of opposite")

# --- places -----------------------------------------------------------------------------------------------------

_INSIDE = _words(
    "park garden kitchen forest barn shop library zoo school attic cellar museum theater bakery castle valley village "
    "town meadow orchard stable church cave desert hotel office"
)
_AT = _words("river beach market station lake farm harbor airport mill bridge pond fountain gate fair hospital stadium")
PLACES = _INSIDE + _AT
WHERE = {place: ("in the " if place in _INSIDE else "at the ") + place for place in PLACES}
TIMES = _lines("""
    One day
    One morning
    One evening
    One afternoon
    Last week
    Last summer
    Last winter
    Yesterday
    Early in the morning
    Late in the evening
    Before lunch
    After dinner
    On Monday
    On Tuesday
    On Wednesday
    On Thursday
    On Friday
    On Saturday
    On Sunday
    In spring
    In autumn
    In January
    In April
    In May
    In June
    In July
    In August
    In October
    In December
""")
WEATHER = _words("sunny rainy cloudy windy foggy snowy stormy warm chilly bright gray mild frosty humid")
DESCRIBED = _words(
    "little big old new pretty strange lovely famous simple plain huge tiny broken golden wooden round square heavy "
    "dusty shiny colorful ancient modern perfect ugly funny beautiful secret favorite special magic silver"
)
MANNER = _words(
    "slowly quickly quietly happily carefully suddenly gladly bravely softly loudly calmly politely eagerly proudly "
    "gently patiently silently secretly nervously cheerfully"
)

# --- categories -------------------------------------------------------------------------------------------------

_CATEGORIES = """
animal | cat dog cow horse pig goat lion tiger bear wolf fox deer rabbit mouse sheep camel monkey zebra
bird | robin owl hen duck crow eagle sparrow pigeon parrot swan goose falcon stork raven
fish | trout shark salmon cod tuna carp herring perch eel sardine
insect | ant bee fly beetle wasp moth cricket butterfly mosquito ladybug
fruit | apple pear plum peach grape cherry lemon orange banana mango melon apricot strawberry
vegetable | carrot onion potato cabbage pepper cucumber radish turnip pumpkin leek
tree | oak pine maple willow birch elm cedar poplar spruce chestnut
flower | rose tulip daisy lily violet orchid sunflower poppy daffodil
tool | hammer saw shovel drill rake axe wrench chisel pliers screwdriver
vehicle | car bus train truck tractor bicycle van taxi tram motorcycle wagon
drink | milk tea juice coffee lemonade water cocoa cider
dish | soup stew pie salad pizza omelet pancake sandwich pudding noodle
toy | doll kite puzzle yoyo teddy top rattle
instrument | piano violin drum flute guitar trumpet harp cello banjo organ
color | red blue green yellow purple pink brown black white
garment | coat shirt sock hat scarf glove dress skirt jacket sweater boot
metal | iron gold copper tin lead steel brass zinc
building | house tower palace cottage temple cabin hut
sport | tennis soccer hockey golf boxing skiing rowing
gem | ruby diamond emerald pearl opal sapphire
"""
CATEGORIES = {category: _words(members) for category, members in _rows(_CATEGORIES)}
UNCOUNTED = set(
    _words(
        "milk tea juice coffee lemonade water cocoa cider soup stew salad pudding iron gold copper tin lead steel "
        "brass zinc tennis soccer hockey golf boxing skiing rowing red blue green yellow purple pink brown black white "
        "pliers trout salmon cod tuna glue soap"
    )
)
MEMBERS = tuple((member, category) for category, members in CATEGORIES.items() for member in members)
# What every member of a category has, does, or is for. One category owns each property.
_PROPERTIES = """
animal | has fur / feeds its young with milk
bird | has feathers / builds a nest
fish | has fins / breathes under water
insect | has six legs / is a tiny creature
fruit | tastes sweet / has seeds inside
vegetable | grows in a field / is boiled with salt
tree | has branches / gives shade
flower | has petals / smells nice
tool | is used for work / hangs in a workshop
vehicle | has wheels / carries people
drink | is poured into a glass / goes with a straw
dish | is eaten at the table / comes on a plate
toy | is for playing / makes children smile
instrument | makes music / is played in a band
color | is mixed by painters / can be seen in a rainbow
garment | is worn on the body / hangs in a closet
metal | is melted in a furnace / is dug from a mine
building | has walls / stands on a street
sport | needs practice / is won by points
gem | sparkles in the light / is set in a necklace
"""
PROPERTIES = {category: _choices(properties) for category, properties in _rows(_PROPERTIES)}

# --- opposites --------------------------------------------------------------------------------------------------

_PAIRS = """
hot | cold | water soup tea room
big | small | house box ball hat
old | new | book hat house car
fast | slow | car train horse boat
wet | dry | towel floor coat grass
heavy | light | box bag stone chair
loud | quiet | dog room bell music
hard | soft | bed bread seat pillow
full | empty | cup box bag bucket
clean | dirty | floor shirt cup window
open | closed | door window box shop
long | short | road rope story river
high | low | wall hill tower bridge
strong | weak | horse rope wall wind
early | late | train bus boat guest
sweet | sour | pie plum juice apple
thick | thin | book wall rope soup
near | far | farm lake shop station
happy | sad | boy girl king dog
rich | poor | king farmer man baker
wide | narrow | road river bridge door
deep | shallow | lake river well pond
smooth | rough | stone wood road skin
sharp | blunt | knife axe pencil saw
young | aged | man woman horse dog
cheap | costly | hat car ring coat
safe | dangerous | road bridge game place
true | false | story answer name sign
easy | difficult | game puzzle lesson song
fresh | stale | bread cake fish milk
tight | loose | knot belt shoe rope
cheerful | gloomy | song room man child
bright | dim | lamp room star fire
straight | crooked | road line tree nail
raw | cooked | egg meat carrot fish
alive | dead | tree fish plant bee
calm | stormy | sea lake night wind
kind | cruel | king queen man giant
brave | timid | boy girl knight mouse
awake | asleep | baby dog cat guard
"""
OPPOSITES = {x: y for first, second, _ in _rows(_PAIRS) for x, y in ((first, second), (second, first))}
OPPOSITE_THINGS = {x: _words(things) for *pair, things in _rows(_PAIRS) for x in pair}

# --- tools, and what things are made of -------------------------------------------------------------------------

_TOOLS = """
knife | cut the bread / slice the ham
saw | cut the log / cut the plank
hammer | hit the nail / nail the board
spoon | eat the soup / stir the tea
shovel | dig a hole / move the sand
broom | sweep the floor / sweep the stairs
pen | write a letter / sign a name
towel | dry the hands / wipe the hair
net | catch a fish / catch a butterfly
brush | paint the wall / paint the fence
lamp | see in the dark / light the cellar
needle | sew a shirt / sew a button on
bucket | carry the water / fetch the milk
ladder | climb the roof / reach the attic
kettle | boil the tea / heat the water
clock | tell the time / know the hour
umbrella | stay dry in the rain / keep off the rain
boat | cross the lake / row to the island
rope | tie the bag / pull the cart
telescope | look at the stars / watch the moon
map | find the way / plan the journey
oven | bake a cake / roast the chicken
razor | shave the chin / trim the hair
soap | wash the face / clean the dishes
comb | tidy the beard / part the curls
camera | take a picture / film the wedding
thermometer | measure the heat / check the fever
scale | weigh the flour / weigh the parcel
ruler | measure the line / draw a straight line
match | light the fire / light the candle
iron | press the shirt / flatten the collar
phone | call a friend / ring the doctor
corkscrew | open the wine / pull out the cork
sponge | wipe the table / wash the car
tent | camp in the woods / sleep outdoors
magnet | pick up the pins / find the lost needle
glue | mend the vase / stick the pieces together
basket | gather the berries / carry the laundry
key | unlock the door / open the lock
rake | collect the leaves / clear the lawn
"""
TOOL_TASKS = tuple((action, tool) for tool, actions in _rows(_TOOLS) for action in _choices(actions))

_MADE_OF = """
iron | nail anvil hook chain bolt
stone | brick pebble rock statue
glass | bottle mirror vase jar bulb
wood | log plank stick crate oar
cork | stopper float
wool | blanket mitten cap shawl
cloth | napkin flag curtain pillow
clay | pot mug tile plate
paper | letter poster ticket map
"""
MATERIAL = {thing: material for material, things in _rows(_MADE_OF) for thing in _words(things)}
_SINKS, _FLOATS = ("iron", "stone", "clay"), ("wood", "cork")
_BREAKS, _LASTS = ("glass", "clay"), ("wool", "cloth", "iron", "wood")
_TEARS = ("paper", "cloth")
# (what is done to a thing, what then happens, what happens to the others, materials of each)
TESTS: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "water": ("sinks", "floats", _SINKS, _FLOATS),
    "fall": ("breaks", "stays whole", _BREAKS, _LASTS),
    "fire": ("burns", "does not burn", ("wood", "paper", "wool"), ("stone", "iron", "glass")),
    "pull": ("tears", "does not tear", _TEARS, ("iron", "stone", "wood")),
}


def made_of(materials: tuple[str, ...]) -> tuple[str, ...]:
    """Everything made of one of these materials."""
    return tuple(thing for thing, material in MATERIAL.items() if material in materials)


# --- troubles and what mends them -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """A state of a character, what mends it, how it is then, and why it may not be mended. Past tense."""

    state: str
    remedies: tuple[str, ...]
    after: str
    lack: tuple[str, ...]


_TROUBLES = """
hungry | ate some bread / ate a big pie / had a bowl of soup / ate a sandwich | full | There was no food / The fridge was empty
thirsty | drank some water / drank a glass of milk / drank cold lemonade | refreshed | The well was dry / There was nothing to drink
tired | slept in the bed / took a long nap / rested all night | rested | There was no bed / The noise went on all night
cold | put on a coat / sat by the fire / wrapped up in a blanket | warm | The fire was out / There was no coat
dirty | took a bath / washed with soap / had a long shower | clean | There was no soap / The tap did not work
wet | used a towel / stood in the sun / changed into new clothes | dry | The rain did not stop / There was no roof
sad | heard a funny joke / hugged a friend / saw a puppy | happy | Nobody came to visit / The bad news was true
lost | read a map / asked a man for help / followed the signs | home | The fog was thick / The road had no signs
sick | went to the doctor / took some medicine / stayed in bed for a week | healthy | The doctor was away / The medicine did not help
bored | played a game / read an exciting story / flew a kite | amused | All the games were gone / There was nothing to do
afraid | turned on the lamp / held a hand / called the dog | brave | The lamp was broken / The strange noise came closer
late | ran very fast / took a shortcut / called a taxi | punctual | The bus was stuck / The clock was wrong
poor | found a treasure / won a prize / sold a painting | rich | The chest held only sand / Nobody paid a cent
angry | counted to ten / took a deep breath / forgave the mistake | calm | The quarrel went on / Nobody said sorry
lonely | joined a club / met a new friend / visited a neighbor | welcome | The street was empty / Every door was shut
dizzy | sat down / closed both eyes / lay on the grass | steady | The ship kept rolling / The wheel kept turning
stuck | pulled the rope / pushed the door hard / got help from a farmer | free | The knot was too tight / The door was locked
worried | talked to a teacher / got a letter from home / found the missing ticket | relieved | No letter came / The ticket was still missing
puzzled | looked in a book / asked the teacher / thought it over | certain | The book had no answer / The teacher did not know
sleepy | drank strong coffee / opened the window / splashed water on the face | awake | The room was dark and warm / The speech was endless
"""  # noqa: E501
TROUBLES = tuple(
    Trouble(state, _choices(remedies), after, _choices(lack)) for state, remedies, after, lack in _rows(_TROUBLES)
)

# --- things that move about in stories --------------------------------------------------------------------------

CONTAINERS = _words("box bag basket drawer bucket chest cup pot jar sack crate cupboard suitcase barrel")
SMALL_THINGS = _words(
    "ball coin key ring pen doll egg button watch letter spoon marble whistle candle ribbon stamp diary photo compass "
    "wallet thimble dice brooch locket"
)
FITTED = _words("drum lamp clock kite statue guitar globe helmet vase teapot cake trophy painting robot")
# (what one did to the other, what is then said of the doer, of the other)
DEEDS_BY_DOER = _rows("""
    apologized to | had been rude
    paid | had bought a car
    ran away from | was a coward
    asked | needed help
    lied to | was not honest
    bowed to | was respectful
""")
DEEDS_BY_OTHER = _rows("""
    thanked | had been generous
    helped | was weak
    praised | had done well
    fed | was starving
    comforted | was in tears
    scolded | had broken the rule
""")
HOMES = _lines("""
    a small house
    a big house
    a red house
    an old barn
    a white cottage
    a tall tower
    a tiny cabin
    a quiet street
    a busy town
    a green valley
""")
PETS = _words("dog cat parrot rabbit pony hamster turtle puppy kitten goldfish lamb donkey")
WISHES = _lines("""
    become a pilot
    learn the violin
    see the ocean
    travel around the world
    grow the biggest pumpkin
    climb the highest mountain
    win the race
    build a raft
    sleep under the stars
    write a novel
    meet a dragon
    speak five languages
    bake the best cake
    invent a machine
    ride an elephant
    discover an island
    own a bookshop
    sail across the sea
""")
SIGHTS = _lines("""
    a rainbow over the hills
    a long parade with flags
    a juggler with seven balls
    two squirrels in a tree
    an old wizard with a gray beard
    a hot air balloon
    a family of ducks
    a giant snowman
    a circus tent
    a ship with white sails
    a shooting star
    a street musician
    a pirate costume in a window
    a hedgehog under a bush
    a waterfall behind the rocks
    a dinosaur made of bricks
    a sleeping kangaroo
    a shepherd with many lambs
    an empty nest
    a chimney full of smoke
    a scarecrow in a field
    a crowd around a wrestler
    a policeman on a motorcycle
    a fireman with a long hose
    a lighthouse on a cliff
    a tunnel through the mountain
    a statue without a nose
    an astronaut on a poster
    a penguin on the ice
    a crocodile in the mud
    a peacock with a splendid tail
    a witch on a broomstick
""")
NUMBER_WORDS = _words("one two three four five six seven eight nine ten eleven twelve")
