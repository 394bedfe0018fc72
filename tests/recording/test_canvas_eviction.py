"""DiffusionGemma with a part of its context: which positions stay in each layer, and what its canvases see of them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analysis.attention import AttentionInputs, BlockedKeys
from analysis.evaluation.canvas_likelihood import canvas_log_likelihoods
from analysis.evaluation.likelihood import Request
from analysis.models.canvas import CanvasCache, denoised, new_cache, read
from analysis.models.load import load
from analysis.recording.canvas_denoising import canvas_choices, text_length
from analysis.recording.denoising import denoise
from analysis.recording.evicting import Call, Evicting
from analysis.recording.eviction import EvictedForwards, caches, evicted
from analysis.recording.keeping import Keeper, count_kept, states_of
from analysis.specs import POLICIES, DiffusionGemmaSampling, Keeping, ModelSpec, SinkParams
from tests.conftest import GOLDEN

FOLDER = GOLDEN / "diffusion-gemma"
CANVAS, WINDOW = 16, 10
SAMPLING = DiffusionGemmaSampling(gen_length=2 * CANVAS, block_length=CANVAS, steps_per_canvas=2, entropy_bound=2.0)
ASKED = [name for name, row in POLICIES.items() if row.asked]


@pytest.fixture(scope="module")
def model():
    return load(ModelSpec(source=str(FOLDER), device="cpu"))


@pytest.fixture(scope="module")
def prompt() -> torch.Tensor:
    return load_file(FOLDER / "golden.safetensors")["prompt_ids"].long()


@dataclass(frozen=True)
class HiddenBefore:
    """An edit: no query attends to these positions of the text before `end`, (L, S); a layer holds the last ones."""

    hidden: np.ndarray
    end: int

    def __call__(self, layer: int, inputs: AttentionInputs) -> AttentionInputs:
        here = self.hidden[layer, : self.end][-inputs.key.shape[2] :]
        return BlockedKeys(torch.from_numpy(here))(layer, inputs)


def held_of(model, end: int) -> list[np.ndarray]:
    """The positions that each layer holds of a text of this length."""
    return [np.arange(max(0, end - WINDOW + 1) if window else 0, end) for window in model.windows]


def test_what_leaves_the_cache_is_as_if_it_was_hidden_from_the_canvas_and_from_what_is_read_next(model, prompt):
    rng, start = np.random.default_rng(0), prompt.shape[1]
    second = start + CANVAS
    text = torch.cat([prompt, torch.from_numpy(rng.integers(3, 90, (1, 2 * CANVAS)))], dim=1)
    hidden = np.zeros((6, text.shape[1]), bool)
    cache, whole = CanvasCache(model), new_cache(model.network)
    untouched = cache.predict(text[:, :second], start)
    assert [held.tolist() for held in cache.positions] == [held.tolist() for held in held_of(model, start)]
    kept = [np.sort(rng.permutation(len(held))[: len(held) // 2]) for held in cache.positions]
    for layer, (held, index) in enumerate(zip(cache.positions, kept, strict=True)):
        hidden[layer, np.setdiff1d(held, held[index])] = True
    cache.keep(kept)
    read(model.network, text[:, :start], whole, 0)
    got, first = cache.predict(text[:, :second], start), text[:, start:second]
    edit = HiddenBefore(hidden, second)
    expected = model.network(
        decoder_input_ids=first, cache=whole, decoder_position_ids=torch.arange(start, second)[None], attn_edit=edit
    ).logits
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)
    assert not torch.allclose(got, untouched, atol=1e-3)
    # The first canvas is read over what is left, then the second one is denoised.
    got = cache.predict(text, second)
    read(model.network, first, whole, start, edit=HiddenBefore(hidden, second))
    expected = model.network(
        decoder_input_ids=text[:, second:],
        cache=whole,
        decoder_position_ids=torch.arange(second, text.shape[1])[None],
        attn_edit=HiddenBefore(hidden, text.shape[1]),
    ).logits
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)
    left = [held[~hidden[layer, held]].tolist() for layer, held in enumerate(held_of(model, second))]
    assert [held.tolist() for held in cache.positions] == left and cache.whole == [9, 9, second, 9, 9, second]


def test_with_nothing_gone_a_cache_is_the_encoders_own(model, prompt):
    start = prompt.shape[1]
    text = torch.cat([prompt, torch.arange(5, 5 + 2 * CANVAS)[None]], dim=1)
    cache, whole = CanvasCache(model), new_cache(model.network)
    for first in (start, start + CANVAS):
        got = cache.predict(text[:, : first + CANVAS], first)
        cache.keep([np.arange(len(held)) for held in cache.positions])
        read(model.network, text[:, 0 if first == start else start : first], whole, 0 if first == start else start)
        assert torch.equal(got, denoised(model.network, text[:, first : first + CANVAS], whole, first, None))


def test_a_budget_of_one_writes_the_same_tokens_and_less_changes_predictions_and_bytes(model, prompt):
    sampling = caches(model, SAMPLING)
    assert sampling.keeps_keys
    kept = [Keeping("everything", 1.0), *(Keeping(name, 1.0) for name in ASKED)]
    less = [Keeping("sinks", 0.3), Keeping("sinks", 0.3, "random"), Keeping("recent", 0.3)]
    ids = prompt[0].tolist()
    found = evicted(model, ids, sampling, [*kept, *less], SinkParams(), 3, 0, lambda length: 1, lambda: None)
    *_, last = denoise(model, prompt, SAMPLING, 3)
    written = last.choice.output[0, len(ids) :]
    ends = torch.tensor([1])
    assert found.text.tolist() == written[: text_length(written, ends)].tolist()
    for text, told in zip(found.texts[: len(kept)], found.told[: len(kept)], strict=True):
        assert text.tolist() == found.text.tolist() and told["bytes"] == told["full_bytes"]
        assert told["divergence"] == pytest.approx(0, abs=1e-6) and told["share"] == 1
    # 8 bytes a number pair: sliding layers have 2 heads of 8, the full ones 1 of 16.
    each, most = 4 * 2 * 16, [np.array([[9] * 4 + [end] * 2]) for end in (14, 30)]
    assert found.told[0]["full_bytes"] == pytest.approx(each * np.mean([one.sum() for one in most]))
    shares = [np.vectorize(lambda held: count_kept(0.3, held))(one) for one in most]
    for told in found.told[len(kept) :]:
        assert told["divergence"] > 1e-4
        assert told["bytes"] == pytest.approx(each * np.mean([one.sum() for one in shares]))
        share = np.mean([(one / whole).mean() for one, whole in zip(shares, most, strict=True)])
        assert told["share"] == pytest.approx(share)
        assert told["milliseconds"] > 0


@pytest.mark.parametrize(("policy", "budget"), [(policy, (0.2, 0.5)[at % 2]) for at, policy in enumerate(ASKED)])
def test_every_layer_keeps_its_share_and_the_control_as_many_of_each_state(model, prompt, policy, budget):
    kept_before: dict = {}
    given = prompt.shape[1]
    run = [
        Evicting(model, given, SinkParams(), Keeper(Keeping(policy, budget, control), (0,), kept_before))
        for control in ("", "random")
    ]
    seen: list[list[tuple]] = [[], []]

    def predict(*asked, **named):
        call = Call(*asked, **named)
        for evicting, decided in zip(run, seen, strict=True):
            logits, _ = evicting.predict(call)
            state = call.states(model, given)[0]
            decided.append((call.first, [(held, state[held]) for held in evicting._cache.positions]))
        return logits

    generator = torch.Generator().manual_seed(0)
    steps = list(canvas_choices(model, predict, prompt, SAMPLING, generator))
    assert {step.block for step in steps} == {1, 2}
    differs = False
    for (first, own), (_, control) in zip(*seen, strict=True):
        for layer, ((positions, state), (drawn, other)) in enumerate(zip(own, control, strict=True)):
            whole = min(first, WINDOW - 1) if model.windows[layer] else first
            assert len(positions) == count_kept(budget, whole)
            assert states_of(state) == states_of(other)
            assert positions.min() >= first - whole and positions.max() < first
            differs = differs or positions.tolist() != drawn.tolist()
    assert differs


@pytest.mark.parametrize("by", ["reader", "denoiser"])
def test_likelihoods_go_by_what_is_kept(model, prompt, by):
    context = tuple(prompt[0].tolist())
    asked = [Request(context, (7,), "t", "one"), Request(context[3:], (9,), "t", "two")]
    whole = canvas_log_likelihoods(model, asked, by, 3, 0)
    for budget, same in ((1.0, True), (0.3, False)):
        kept = EvictedForwards(model, Keeping("sinks", budget))
        values = [one.value for one in canvas_log_likelihoods(model, asked, by, 3, 0, kept=kept)]
        assert (values == pytest.approx([one.value for one in whole], rel=1e-5)) == same
    drawn = [EvictedForwards(model, Keeping("sinks", 0.3, "random", draw)) for draw in (0, 0, 1)]
    first, again, other = (
        [one.value for one in canvas_log_likelihoods(model, asked, by, 3, 0, kept=it)] for it in drawn
    )
    assert first == again != other


def test_the_text_ends_with_its_end_token():
    tokens = torch.tensor([4, 5, 1, 0, 0])
    assert text_length(tokens, torch.tensor([1])) == 3 and text_length(tokens[:2], torch.tensor([1])) == 2
    assert replace(Call(tokens[None], 1), first=2).span == (2, 5)
