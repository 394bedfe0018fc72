"""The training text: seeded, rich enough, within its lengths, and free of held-out combinations."""

import re
from collections import Counter
from random import Random

import pytest
import torch

from analysis.bundled import grammar, world
from analysis.bundled.grammar import document, problem, question, sentence
from analysis.bundled.heldout import ONE_IN, held_out
from analysis.bundled.prompts import keyed_prompts, prompts
from analysis.bundled.units import UNITS, Scene
from analysis.bundled.world import CATEGORIES, OPPOSITES, PEOPLE, PROPERTIES, TROUBLES, a, plural
from analysis.models.tokenizer import load_tokenizer
from tests.evaluation.test_bundled_tasks import ALL, read
from tests.helpers import there
from training import asked, stream
from training.report import FOLDERS
from training.tasks import SPLITS
from training.tokenizer import BOS, EOS, MASK, PAD

ASKED = [maker for name, maker in vars(asked).items() if name.endswith("_asked_anew")]


@pytest.fixture(scope="module")
def tokenizer():
    """The one that ships, which is the one that the script builds: `test_bundled_models`."""
    return there(load_tokenizer(FOLDERS["diffusion"]))


@pytest.fixture(scope="module")
def documents():
    random = Random("tests")
    return [document(random) for _ in range(6_000)]


def test_a_seed_fixes_the_text():
    assert document(Random(7)) == document(Random(7))
    assert document(Random(7)) != document(Random(8))


def test_at_least_1500_words_are_in_use(documents):
    words = {word.lower() for one in documents for word in re.findall(r"[A-Za-z]+", one.text)}
    assert len(words) >= 1500


def test_there_are_hundreds_of_sentence_patterns(documents):
    """Distinct sentences of the text once every word of the world's tables and every number is replaced by a blank."""
    lexicon = set(_words_in([getattr(world, name) for name in dir(world) if name.isupper()]))
    lexicon |= {plural(word) for word in lexicon} | {word.capitalize() for word in lexicon}
    shapes = Counter(
        re.sub(r"(_ )+", "_ ", " ".join("_" if word in lexicon or word.isdigit() else word for word in part.split()))
        for one in documents
        for part in re.split(r"[^\w\s']+", one.text)
    )
    assert sum(count >= 5 for count in shapes.values()) >= 300


def _words_in(value) -> list[str]:
    if isinstance(value, str):
        return value.split()
    if isinstance(value, dict):
        return _words_in(list(value)) + _words_in(list(value.values()))
    if isinstance(value, world.Person):
        return [value.name, value.child]
    if isinstance(value, world.Trouble):
        return _words_in([value.state, value.remedies, value.after, value.lack])
    return [word for item in value for word in _words_in(item)] if isinstance(value, tuple | list | set) else []


def test_documents_have_32_to_256_tokens(documents, tokenizer):
    lengths = [
        len(encoding.ids) + 1  # and [EOS]
        for encoding in tokenizer.backend_tokenizer.encode_batch([one.text for one in documents])
    ]
    assert min(lengths) >= 32
    assert max(lengths) <= 256


def test_a_document_names_no_more_than_its_cast(documents):
    names = {person.name for person in PEOPLE}
    found = [names & set(re.findall(r"[A-Z][a-z]+", one.text)) for one in documents]
    assert max(map(len, found)) == 4
    assert len(set().union(*found)) == len(names)


def test_no_held_out_combination_is_generated(documents):
    keys = {key for one in documents for key in one.keys}
    assert len(keys) > 7_500
    assert not any(held_out(key) for key in keys)


def test_no_item_of_the_benchmark_occurs_in_the_training_text(documents):
    """By key over all of it, and by text over a part."""
    items = [item for task in ALL for split in SPLITS for item in read(task, split)]
    keys = {item["key"] for item in items}
    assert all(map(held_out, keys))
    seen = {key for one in documents for key in one.keys}
    assert len(seen) > 7_500
    assert seen.isdisjoint(keys)
    whole = "\n".join(one.text for one in documents[:3_000])
    for item in items:
        answer = item["worked"] if "worked" in item else item["choices"][item["answer"]]
        assert f"{item['context']} {answer}" not in whole


def test_a_leak_would_be_noticed(documents):
    """The same search finds combinations that are trained on."""
    random = Random("drawn")
    seen = {key for one in documents for key in one.keys}
    drawn = (maker(Scene(random)).key for maker in (*UNITS, problem) for _ in range(400))
    trained = [key for key in drawn if not held_out(key)]
    assert sum(key in seen for key in trained) > len(trained) / 4


def test_about_one_combination_in_seven_is_held_out():
    random = Random(1)
    for maker in UNITS:
        keys = {maker(Scene(random)).key for _ in range(3000)}
        share = sum(map(held_out, keys)) / len(keys)
        assert abs(share - 1 / ONE_IN) < 0.1, maker.__name__


def test_questions_are_held_out():
    random = Random(2)
    assert all(held_out(question(random, maker).key) for maker in UNITS for _ in range(50))


def test_sentences_that_are_only_asked_are_of_words_the_models_know(tokenizer):
    random = Random(4)
    units = [maker(Scene(random)) for maker in ASKED for _ in range(400)]
    assert all(held_out(unit.key) for unit in units)
    for unit in units:
        words = re.findall(r"[A-Za-z]+|[.,]", unit.context)
        assert len(tokenizer(unit.context, add_special_tokens=False)["input_ids"]) == len(words), unit.context


def test_sentences_leave_no_slot_open():
    random = Random(3)
    for kind, block in grammar.ALL.items():
        for _ in range(20 * len(block)):
            text = sentence(Scene(random), kind, PEOPLE[0])
            assert "{" not in text


def test_articles_fit_the_next_word(documents):
    """In documents and in questions: 'an' before vowels and a silent h, 'a' before everything else."""
    random = Random(4)
    questions = [question(random, maker) for maker in (*UNITS, *ASKED, problem) for _ in range(500)]
    found = Counter(
        (article.lower(), word.lower())
        for one in (*documents, *questions)
        for article, word in re.findall(r"\b([Aa]n?) (\w+)", one.text)
    )
    assert sum(article == "an" for article, _ in found) > 30
    assert {("an", "oak"), ("an", "elm"), ("an", "hour")} <= set(found)
    wrong = {
        (article, word)
        for article, word in found
        if (article == "an") != (word[0] in "aeiou" or word.startswith(("hour", "honest")))
    }
    assert not wrong


def test_the_world_contradicts_itself_nowhere():
    members = [member for group in CATEGORIES.values() for member in group]
    shared = {member for member in members if members.count(member) > 1}
    assert not shared
    assert set(PROPERTIES) == set(CATEGORIES)
    properties = [text for both in PROPERTIES.values() for text in both]
    assert len(properties) == len(set(properties))
    assert all(OPPOSITES[OPPOSITES[word]] == word for word in OPPOSITES)
    assert len({trouble.state for trouble in TROUBLES}) == len({trouble.after for trouble in TROUBLES}) == len(TROUBLES)


@pytest.mark.parametrize(
    ("noun", "many"), [("dog", "dogs"), ("fox", "foxes"), ("cherry", "cherries"), ("boy", "boys"), ("wolf", "wolves")]
)
def test_plurals(noun, many):
    assert plural(noun) == many


def test_articles():
    assert (a("apple"), a("dog"), a("milk")) == ("an apple", "a dog", "milk")
    assert [world.article(word) for word in ("honest", "hour", "hot", "elm")] == ["an", "an", "a", "an"]


# --- tokenizer --------------------------------------------------------------------------------------------------


def test_every_word_of_the_text_is_one_token(documents, tokenizer):
    for one in documents[:500]:
        words = re.findall(r"[A-Za-z]+|\d+|[^\w\s]", one.text)
        ids = tokenizer(one.text, add_special_tokens=False)["input_ids"]
        possessives = one.text.count("'")
        assert abs(len(ids) - len(words)) <= possessives
        assert tokenizer.decode(ids) == one.text


_STRANGE = ["Quantum chromodynamics isn't easy!", "Zoë naïvely ate 3½ 寿司 🍣.", "a\tb\nc  d", "🙂"]


@pytest.mark.parametrize("text", _STRANGE)
def test_a_strangers_text_survives(text, tokenizer):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token is None
    assert tokenizer.convert_tokens_to_ids(PAD) not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_special_tokens(tokenizer):
    ids = tokenizer("Tom has [MASK] apples.")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids)[0] == BOS
    assert ids.count(tokenizer.mask_token_id) == 1
    assert tokenizer.convert_ids_to_tokens(ids)[3:5] == [MASK, "▁apples"]
    assert tokenizer.eos_token == EOS


# --- batches ----------------------------------------------------------------------------------------------------


def test_a_batch_is_made_again_from_its_number(tokenizer):
    assert torch.equal(stream.batch(0, 5, tokenizer), stream.batch(0, 5, tokenizer))
    one, two = (stream.batch(seed, 5, tokenizer)[0, :32] for seed in (0, 1))
    assert not torch.equal(one, two)


def test_batches_mix_lengths_and_hold_several_documents(tokenizer):
    batches = [stream.batch(0, number, tokenizer) for number in range(40)]
    assert {tokens.shape[1] for tokens in batches} == set(stream.LENGTHS)
    assert all(tokens.numel() == stream.TOKENS for tokens in batches)
    assert all((tokens[:, 0] == tokenizer.bos_token_id).all() for tokens in batches)
    longest = next(tokens for tokens in batches if tokens.shape[1] == 256)
    assert (longest == tokenizer.bos_token_id).sum(dim=1).float().mean() > 2


def test_games_are_dense_with_names_and_come_first(tokenizer):
    names = torch.tensor(tokenizer.convert_tokens_to_ids(["▁" + person.name for person in PEOPLE]))
    dense, usual = (
        [torch.isin(stream.batch(0, number, tokenizer, games=games), names).float().mean() for number in range(5)]
        for games in (1.0, 0.0)
    )
    assert min(dense) > 0.2 > 0.1 > max(usual) > 0
    shares = [stream.games_at(number) for number in range(stream.GAMES_UNTIL + 10)]
    assert shares[stream.GAMES_ALONE] == 1 and shares[stream.GAMES_UNTIL] == 0
    assert shares == sorted(shares, reverse=True)


def test_the_bundled_prompts_come_from_every_wording_of_the_world_in_turn(documents):
    random = Random("wordings")
    wordings = {question(random, maker).template for maker in UNITS for _ in range(600)}
    assert {prompt.template for prompt in keyed_prompts(len(wordings))} == wordings
    made = keyed_prompts(60)
    assert len({prompt.template for prompt in made}) >= 40
    assert made[0].text.endswith("to meet a dragon. Tom had 9 apples. Tom found 6 more. Now Tom had")
    assert len({prompt.template.split()[0] for prompt in made[:12]}) == 12, "the first ones are as mixed as all"
    assert [prompt.text for prompt in made] == prompts(60)
    known, used = (
        {word for one in texts for word in re.findall(r"[A-Za-z]+", one.text)} for texts in (documents, made)
    )
    assert used <= known, "the world's own words"
