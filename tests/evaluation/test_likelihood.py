"""Log-likelihoods: exact sums against brute force, and Monte Carlo estimates against exact sums."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis.attention import MassObserver
from analysis.errors import UserError
from analysis.evaluation.bundled.data import FOLDER
from analysis.evaluation.likelihood import Budget, Request, greedy_match, log_likelihoods, masks_seed, seed_of
from analysis.evaluation.masked_sets import all_sets, drawn_sets, is_exact
from analysis.models.family import Architecture

VOCABULARY, MASK = 12, 1


class Tiny:
    """A model whose logits depend on every token it sees: a random table over (position, what stands where)."""

    def __init__(self, causal: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        self.mask_token = None if causal else MASK
        self.device = torch.device("cpu")
        self.architecture = (
            Architecture("Tiny, causal", "autoregressive", attention="causal", noise=None)
            if causal
            else Architecture("Tiny", "llada")
        )
        self.geometry = SimpleNamespace(max_length=64, vocabulary=VOCABULARY)
        self.embed = torch.randn(VOCABULARY, 16, generator=generator)
        self.mix = torch.randn(64, 64, 16, VOCABULARY, generator=generator) / 4
        self.causal = causal
        self.forwards = 0

    def predict(
        self,
        tokens: torch.Tensor,
        keep: int | None = None,
        layout: None = None,
        aligned: bool = True,
        edit: None = None,
    ) -> torch.Tensor:
        self.forwards += len(tokens)
        length = tokens.shape[1]
        mix = self.mix[:length, :length]
        if self.causal:
            mix = mix * torch.ones(length, length).tril()[:, :, None, None]
        return torch.einsum("bke,qkev->bqv", self.embed[tokens], mix)[:, -keep if keep else 0 :]


@pytest.fixture
def diffusion() -> Tiny:
    return Tiny(causal=False)


@pytest.fixture
def causal() -> Tiny:
    return Tiny(causal=True)


def brute_force(model: Tiny, context: list[int], answer: list[int]) -> float:
    """E over k ~ U{1..L} and uniform sets of k of L/k · Σ log p, written out."""
    length, total = len(answer), 0.0
    for count in range(1, length + 1):
        sets = list(itertools.combinations(range(length), count))
        for masked in sets:
            tokens = context + [MASK if i in masked else token for i, token in enumerate(answer)]
            logs = model.predict(torch.tensor([tokens]))[0].log_softmax(-1)
            value = sum(float(logs[len(context) + i, answer[i]]) for i in masked)
            total += length / count * value / len(sets) / length
    return total


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_the_enumerated_sum_is_exact(diffusion, length):
    context, answer = [2, 5, 7], [4, 9, 6, 3][:length]
    (result,) = log_likelihoods(diffusion, [Request(tuple(context), tuple(answer))], draws=2**length - 1)
    assert result.exact
    assert result.draws == 2**length - 1
    assert result.value == pytest.approx(brute_force(diffusion, context, answer), rel=1e-5)


def test_one_token_is_its_log_probability(diffusion):
    (result,) = log_likelihoods(diffusion, [Request((2, 5), (8,))], draws=1)
    logs = diffusion.predict(torch.tensor([[2, 5, MASK]]))[0, 2].log_softmax(-1)
    assert result.value == pytest.approx(float(logs[8]), rel=1e-6)


@pytest.mark.parametrize("draws", [1, 4, 7, 16])
def test_monte_carlo_is_unbiased(diffusion, draws):
    """The mean over many seeds meets the exact sum within four standard errors."""
    request = Request((2, 5, 7), (4, 9, 6, 3, 8, 10))
    (exact,) = log_likelihoods(diffusion, [request], draws=63)
    assert exact.exact
    assert not is_exact(6, draws)
    values = [log_likelihoods(diffusion, [request], draws, seed)[0].value for seed in range(400)]
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert error > 0
    assert abs(np.mean(values) - exact.value) < 4 * error


def test_more_draws_estimate_better(diffusion):
    request = Request((2, 5, 7), (4, 9, 6, 3, 8, 10))
    spread = [
        np.std([log_likelihoods(diffusion, [request], draws, seed)[0].value for seed in range(100)])
        for draws in (4, 32)
    ]
    assert spread[1] < spread[0] / 2


def test_choices_are_told_apart_better_for_sharing_their_masks(diffusion):
    choices = [Request((2, 5, 7), (4, 9, 6, 3, 8, last)) for last in (10, 11)]
    one, two = np.array([[r.value for r in log_likelihoods(diffusion, choices, 8, seed)] for seed in range(200)]).T
    assert np.std(one - two) < 0.7 * np.std(one - np.roll(two, 1))


def test_choices_of_unequal_length_are_told_apart_better_for_sharing_as_far_as_the_shorter_goes(diffusion):
    choices = [Request((2, 5, 7), answer) for answer in ((4, 9, 6, 3, 8, 10), (4, 9, 6, 3, 8, 10, 11))]
    one, two = np.array([[r.value for r in log_likelihoods(diffusion, choices, 8, seed)] for seed in range(200)]).T
    assert np.std(one - two) < 0.9 * np.std(one - np.roll(two, 1))


def test_a_longer_answer_is_masked_in_the_order_of_the_shorter():
    for seed in range(50):
        (short,), (long,) = (drawn_sets(length, 1, seed) for length in (6, 9))
        first, common = set(short.positions), {position for position in long.positions if position < 6}
        assert first <= common or common <= first


def test_every_set_of_a_size_is_equally_likely():
    """Also after the first deck has run out: the third of three draws of 2 positions from 3."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(6000):
        last = [masked for masked in drawn_sets(3, 9, seed) if len(masked.positions) == 2][-1]
        counts[last.positions] = counts.get(last.positions, 0) + 1
    assert set(counts) == {(0, 1), (0, 2), (1, 2)}
    assert all(abs(count - 2000) < 4 * math.sqrt(6000 * 2 / 9) for count in counts.values())


@pytest.mark.parametrize(("length", "draws"), [(6, 32), (10, 32), (3, 2), (40, 8)])
def test_draws_are_stratified_and_balanced(length, draws):
    sets = drawn_sets(length, draws, 5)
    sizes = [len(masked.positions) for masked in sets]
    each = [sizes.count(count) for count in range(1, length + 1)]
    assert max(each) - min(each) <= 1
    for masked in sets:
        assert len(set(masked.positions)) == len(masked.positions)
        assert masked.weight == pytest.approx(length / len(masked.positions) / draws)
    for count in set(sizes):
        uses = [sum(i in masked.positions for masked in sets if len(masked.positions) == count) for i in range(length)]
        assert max(uses) - min(uses) <= 2


def test_weights_of_all_sets():
    """Each size has the same total weight on token log-probabilities: the weights of Σ over i sum to L."""
    for length in range(1, 6):
        sets = all_sets(length)
        assert len(sets) == 2**length - 1
        assert sum(masked.weight * len(masked.positions) for masked in sets) == pytest.approx(length)


def test_the_twin_is_scored_by_the_chain_rule(causal):
    context, answer = [2, 5, 7], [4, 9, 6]
    (result,) = log_likelihoods(causal, [Request(tuple(context), tuple(answer))], draws=1)
    expected = 0.0
    for i, token in enumerate(answer):
        logs = causal.predict(torch.tensor([context + answer[:i]]))[0, -1].log_softmax(-1)
        expected += float(logs[token])
    assert result.exact
    assert result.value == pytest.approx(expected, rel=1e-5)


def test_the_order_of_asking_changes_nothing(diffusion):
    requests = [Request((2, 5, 7), tuple(range(2, 2 + n))) for n in (7, 2, 6, 1, 8)]
    forwards = log_likelihoods(diffusion, requests, draws=8)
    backwards = log_likelihoods(diffusion, requests[::-1], draws=8)[::-1]
    for one, two in zip(forwards, backwards, strict=True):
        assert one.value == pytest.approx(two.value, rel=1e-6)


def test_seeds_depend_on_what_is_asked():
    request = Request((2, 3), (4,), "task")
    assert seed_of(request, 0) == seed_of(Request((2, 3), (4,), "task"), 0)
    others = [
        Request((2, 3), (5,), "task"),
        Request((2, 4), (4,), "task"),
        Request((2, 3), (4,), "other"),
        Request((2,), (3, 4), "task"),
    ]
    assert len({seed_of(one, 0) for one in [request, *others]} | {seed_of(request, 1)}) == 6
    # Masks are those of the question, whatever the choice.
    assert masks_seed(request, 0) == masks_seed(others[0], 0)
    assert len({masks_seed(one, 0) for one in [request, *others[1:]]} | {masks_seed(request, 1)}) == 5


def test_results_are_reported_as_they_come(diffusion):
    requests = [Request((2, 5, 7), tuple(range(2, 2 + n))) for n in (7, 2, 6, 1)]
    told: dict[int, float] = {}
    results = log_likelihoods(diffusion, requests, draws=8, on_result=lambda i, result: told.update({i: result.value}))
    assert told == {index: result.value for index, result in enumerate(results)}


def test_batches_stay_within_their_budget(diffusion):
    requests = [Request((2, 5, 7), tuple(range(2, 8)))] * 3
    whole = log_likelihoods(diffusion, requests, draws=16)
    sizes: list[int] = []
    predict = diffusion.predict
    diffusion.predict = lambda tokens, keep, **placing: sizes.append(tokens.numel()) or predict(tokens, keep)
    parts = log_likelihoods(diffusion, requests, draws=16, budget=Budget(tokens=20))
    assert max(sizes) <= 20
    assert [p.value for p in parts] == pytest.approx([w.value for w in whole], rel=1e-5)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory"), MemoryError()]
)
def test_batches_shrink_when_memory_runs_out(diffusion, error):
    requests = [Request((2, 5, 7), tuple(range(2, 2 + n))) for n in (6, 5, 6)]
    whole = log_likelihoods(diffusion, requests, draws=16)
    predict, budget = diffusion.predict, Budget()

    def small_memory(tokens, keep, **placing):
        if tokens.numel() > 30:
            raise error
        return predict(tokens, keep)

    diffusion.predict = small_memory
    parts = log_likelihoods(diffusion, requests, draws=16, budget=budget)
    assert budget.tokens <= 30
    assert [p.value for p in parts] == pytest.approx([w.value for w in whole], rel=1e-5)
    with pytest.raises(MemoryError, match="40 tokens"):
        log_likelihoods(diffusion, [Request((2,) * 39, (4,))], budget=budget)


def test_other_errors_are_not_taken_for_lack_of_memory(diffusion):
    def broken(tokens, keep, **placing):
        raise RuntimeError("shape mismatch")

    diffusion.predict = broken
    with pytest.raises(RuntimeError, match="shape"):
        log_likelihoods(diffusion, [Request((2,), (4,))])


@pytest.mark.parametrize("causal_", [False, True])
def test_one_token_choices_take_one_forward(causal_):
    model = Tiny(causal_)
    choices = [Request((2, 5, 7), (token,)) for token in (4, 6, 9, 3)]
    results = log_likelihoods(model, choices, draws=32)
    assert model.forwards == 1
    alone = [log_likelihoods(model, [choice])[0].value for choice in choices]
    assert [result.value for result in results] == pytest.approx(alone, rel=1e-6)


def test_equal_masked_inputs_share_a_forward(diffusion):
    """Of two answers that differ in the first token, the sets that mask it: 7 + 7 − 4 of 3-token answers."""
    log_likelihoods(diffusion, [Request((2,), (4, 6, 8)), Request((2,), (5, 6, 8))], draws=7)
    assert diffusion.forwards == 10


@pytest.mark.parametrize(("sampler", "factor"), [("llada", 1.5), ("dream", 0.5)])
def test_guidance(diffusion, sampler, factor):
    diffusion.architecture = replace(diffusion.architecture, sampler=sampler)
    (result,) = log_likelihoods(diffusion, [Request((2, 5), (8,))], guidance=0.5)
    with_context = diffusion.predict(torch.tensor([[2, 5, MASK]]))[0, 2]
    without = diffusion.predict(torch.tensor([[MASK, MASK, MASK]]))[0, 2]
    logs = (without + factor * (with_context - without)).log_softmax(-1)
    assert result.value == pytest.approx(float(logs[8]), rel=1e-5)


def test_guidance_needs_a_mask(causal):
    with pytest.raises(UserError, match="mask token"):
        log_likelihoods(causal, [Request((2,), (3,))], guidance=0.5)


def test_greedy(causal, diffusion):
    first = int(causal.predict(torch.tensor([[2, 5]]))[0, -1].argmax())
    second = int(causal.predict(torch.tensor([[2, 5, first]]))[0, -1].argmax())
    other = (second + 1) % VOCABULARY
    right, wrong = log_likelihoods(causal, [Request((2, 5), (first, second)), Request((2, 5), (first, other))])
    assert right.greedy
    assert not wrong.greedy
    shown = [MASK, MASK]
    for _ in range(2):
        probabilities, tokens = diffusion.predict(torch.tensor([[2, 5, *shown]]))[0, 2:].softmax(-1).max(-1)
        at = max((i for i in range(2) if shown[i] == MASK), key=lambda i: float(probabilities[i]))
        shown[at] = int(tokens[at])
    assert greedy_match(diffusion, Request((2, 5), tuple(shown)))
    assert not greedy_match(diffusion, Request((2, 5), (shown[0], (shown[1] + 1) % VOCABULARY)))


def test_unbiased_on_real_items(bundled):
    """Pooled over 40 items of the bundled tasks, the estimate meets the exact sum within three standard errors.

    The answer is an item's last four tokens; one an item, as choices share their masks, and so their errors.
    """
    requests = []
    for task in ("knowledge", "physical"):
        for line in (FOLDER / f"{task}_test.jsonl").read_text(encoding="utf-8").splitlines()[:20]:
            item = json.loads(line)
            tokens = bundled.tokenizer(f"{item['context']} {item['choices'][item['answer']]}")["input_ids"]
            requests.append(Request(tuple(tokens[:-4]), tuple(tokens[-4:]), task))
    assert len(requests) == 40
    assert not is_exact(4, 5)
    exact = np.array([result.value for result in log_likelihoods(bundled, requests, draws=31)])
    drawn = np.array([[r.value for r in log_likelihoods(bundled, requests, 5, seed)] for seed in range(2)])
    errors = drawn.var(axis=0, ddof=1) / len(drawn)
    assert errors.sum() > 0
    z = (drawn.mean(axis=0) - exact).sum() / math.sqrt(errors.sum())
    assert abs(z) < 3


def test_kept_logits_are_those_of_the_whole(golden):
    model, *_ = golden
    tokens = torch.arange(5, 13)[None]
    whole = model.predict(tokens)
    for keep in (1, 3, 7, 8, 20):
        assert torch.allclose(model.predict(tokens, keep=keep), whole[:, -keep:], atol=1e-5)


def test_the_last_block_computes_only_what_is_read(bundled):
    """Its keys and values are those of all positions, its queries only where nobody observes attention."""
    attention, lengths = bundled.blocks[-1].self_attn, {}
    watched = {"q": attention.q_proj, "k": attention.k_proj, "o": attention.o_proj, "mlp": bundled.blocks[-1].mlp}
    handles = [
        module.register_forward_hook(lambda m, inputs, output, name=name: lengths.update({name: inputs[0].shape[1]}))
        for name, module in watched.items()
    ]
    tokens = torch.arange(5, 15)[None]
    try:
        bundled.predict(tokens, keep=3)
        assert lengths == {"q": 3, "k": 10, "o": 3, "mlp": 3}
        observed, whole = MassObserver(), MassObserver()
        bundled.predict(tokens, observed, keep=3)
        assert lengths == {"q": 10, "k": 10, "o": 3, "mlp": 3}
        bundled.predict(tokens, whole)
        assert lengths == {"q": 10, "k": 10, "o": 10, "mlp": 10}
        assert torch.equal(observed.take().mass, whole.take().mass)
    finally:
        for handle in handles:
            handle.remove()


def test_exact_likelihoods_are_asked_once(bundled):
    """What a model said of an answer before is taken from there; draws are always made, and so is another guidance."""
    context = tuple(bundled.tokenizer("mia has a")["input_ids"])
    short, long = Request(context, (5, 6), item="a"), Request(context, tuple(range(5, 12)), item="b")
    known, forwards, told = {}, [], {}
    first = log_likelihoods(bundled, [short, long], draws=8, known=known, on_forward=lambda: forwards.append(1))
    assert list(known.values()) == first[:1] and len(forwards) == 2
    again = log_likelihoods(
        bundled,
        [replace(long, item="c"), replace(short, item="c")],
        draws=8,
        on_result=lambda index, result: told.update({index: result}),
        known=known,
        on_forward=lambda: forwards.append(1),
    )
    assert again[1] is first[0] and again == [told[0], told[1]]
    assert again[0].value != first[1].value and len(forwards) == 3
    guided = log_likelihoods(bundled, [short], guidance=1.0, known=known)
    assert guided[0].value != first[0].value and len(known) == 2


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request((2,), ()), "no tokens"),
        (Request((), (3,)), "at least one context token"),
        (Request((2,) * 60, (3,) * 5), "65 tokens; this model takes 64"),
    ],
)
def test_bad_requests_are_refused(causal, request_, message):
    with pytest.raises(UserError, match=message):
        log_likelihoods(causal, [request_])


def test_bundled_model_scores_text(bundled):
    """On a real checkpoint: the value is that of its own logits."""
    context = tuple(bundled.tokenizer("The dog")["input_ids"])
    (result,) = log_likelihoods(bundled, [Request(context, (5,))])
    logits = bundled.predict(torch.tensor([[*context, bundled.mask_token]]))[0, -1].float().log_softmax(-1)
    assert result.value == pytest.approx(float(logits[5]), rel=1e-4)
