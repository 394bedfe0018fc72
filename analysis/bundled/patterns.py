"""Sentence patterns that carry a story along without deciding anything checkable.

Slots: {n} the character's name, {he} {him} {his} {He} {His} its pronouns, {c} boy or girl, {m} another name, {place}
and {place2} with their preposition, {thing} a counted noun, {things} its plural, {adj} {adj2} descriptions, {state},
{how} a manner, {weather}, {time}, {home}, {pet}, {rel} a relative, {wish}, {sight}, {few} a number word, {food},
{toy}, {color}, {wear}, {music}, {sport}, {flower}, {tree}, {bird}, {job}, {jobs}.
"""

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
