"""The likelihood of answers under models that write block by block: the chain rule over blocks."""

import math

import pytest
import torch

from analysis.errors import UserError
from analysis.evaluation.likelihood import Request, answer_parts, greedy_match, log_likelihoods
from analysis.evaluation.masked_sets import all_sets
from analysis.models.layout import Layout
from analysis.models.load import load
from analysis.recording.denoising import denoise
from analysis.specs import BD3LMSampling, LLaDA2Sampling, ModelSpec, SDARSampling
from tests.conftest import GOLDEN
from tests.helpers import edit_config

NAMES = ("sdar", "a2d-qwen3", "fast-dllm-v2", "nemotron", "llada2")
BLOCK = {"sdar": 4, "a2d-qwen3": 4, "fast-dllm-v2": 8, "nemotron": 8, "llada2": 4}


@pytest.fixture(scope="module", params=NAMES)
def model(request, tmp_path_factory):
    """A model of blocks of four or eight, whatever its family's usual size."""
    import shutil

    folder = shutil.copytree(GOLDEN / request.param, tmp_path_factory.mktemp("model") / "it")
    if request.param in ("a2d-qwen3", "llada2"):
        edit_config(folder, block_size=4)
    model = load(ModelSpec(source=str(folder), device="cpu"))
    assert model.architecture.block_size == BLOCK[request.param]
    return model


def bound(model, context: list[int], tokens: list[int], layout: Layout) -> float:
    """LLaDA's bound of tokens after a context by every masked set."""
    sets = list(all_sets(len(tokens)))
    shown = [[model.mask_token if i in one.positions else token for i, token in enumerate(tokens)] for one in sets]
    logs = model.predict(torch.tensor([context + row for row in shown]), layout=layout).double().log_softmax(-1)
    rows = zip(sets, logs, strict=True)
    return sum(one.weight * sum(float(log[len(context) + i, tokens[i]]) for i in one.positions) for one, log in rows)


def slow(model, context: list[int], answer: list[int]) -> float:
    """The definition, written out: blocks from left to right, each given the clean text before it."""
    family, size = model.architecture, model.architecture.block_size
    border = {"start": 0, "padded-prompt": len(context) % size, "prompt-end": len(context)}[family.anchor]
    text, at, total = context + answer, len(context), 0.0
    while at < len(text):
        start = max(0, border + (at - border) // size * size)
        end = min(border + ((at - border) // size + 1) * size, len(text))
        if family.opened and at == start:
            raw = model.predict(torch.tensor([text[:at]]), layout=Layout(size, border), aligned=False)
            total += float(raw[0, -1].double().log_softmax(-1)[text[at]])
            at += 1
        if at < end:
            total += bound(model, text[:at], text[at:end], Layout(size, border, open_from=start))
        at = end
    return total


@pytest.mark.parametrize(("given", "length"), [(6, 1), (6, 3), (8, 5), (5, 9), (9, 4)])
def test_an_answer_is_the_sum_over_its_blocks_given_the_clean_text_before(model, given, length):
    generator = torch.Generator().manual_seed(given * 31 + length)
    text = torch.randint(0, 90, (given + length,), generator=generator).tolist()
    request = Request(tuple(text[:given]), tuple(text[given:]))
    (result,) = log_likelihoods(model, [request], draws=2**8)
    assert result.exact
    assert result.value == pytest.approx(slow(model, text[:given], text[given:]), rel=1e-4)
    parts = answer_parts(model, 0, request)
    assert sum((part.tokens for part in parts), ()) == request.continuation
    assert result.draws == sum(1 if part.opening else 2 ** len(part.tokens) - 1 for part in parts)


def test_what_comes_after_a_block_does_not_change_it(model):
    context = (3, 14, 15, 9)
    first = tuple(range(20, 20 + model.architecture.block_size - 1 + (4 % model.architecture.block_size == 0)))
    one, both = (
        answer_parts(model, 0, Request(context, first)),
        answer_parts(model, 0, Request(context, (*first, 7, 8))),
    )
    assert both[: len(one) - 1] == one[:-1]


def test_draws_are_unbiased_for_each_block(model):
    text = torch.randint(0, 90, (16,), generator=torch.Generator().manual_seed(2)).tolist()
    request = Request(tuple(text[:8]), tuple(text[8:]))
    (exact,) = log_likelihoods(model, [request], draws=2**8)
    drawn = [log_likelihoods(model, [request], draws=3, seed=seed)[0] for seed in range(30)]
    assert not any(one.exact for one in drawn)
    values = torch.tensor([one.value for one in drawn], dtype=torch.float64)
    assert abs(float(values.mean()) - exact.value) < 4 * float(values.std()) / math.sqrt(30)


def test_the_order_and_company_of_answers_change_nothing(model):
    requests = [Request((3, 5, 7, 11, 13)[:n], tuple(range(30, 30 + n * 2))) for n in (2, 3, 5)]
    together = log_likelihoods(model, requests, draws=8)
    for request, expected in zip(requests, together, strict=True):
        (alone,) = log_likelihoods(model, [request], draws=8)
        assert alone.value == pytest.approx(expected.value, rel=1e-5)


def test_greedy_match_is_what_a_sampler_of_one_token_a_step_writes(model):
    if model.architecture.opened:
        pytest.skip("their samplers write all that is sure at once")
    prompt = torch.arange(4)[None]
    params = {
        "sdar": SDARSampling(gen_length=8, strategy="low-confidence-static"),
        "bd3lm": BD3LMSampling(gen_length=8),
        "llada2": LLaDA2Sampling(gen_length=8, threshold=1),
    }[model.architecture.sampler]
    text = list(denoise(model, prompt, params, 0))[-1].choice.output[0].tolist()
    assert greedy_match(model, Request(tuple(text[:4]), tuple(text[4:])))
    text[7] = (text[7] + 1) % 90
    assert not greedy_match(model, Request(tuple(text[:4]), tuple(text[4:])))


def test_guidance_is_refused(model):
    with pytest.raises(UserError, match="without guidance"):
        log_likelihoods(model, [Request((2,), (3,))], guidance=0.5)


def test_a_family_that_opens_blocks_needs_a_context(model):
    if model.architecture.opened:
        with pytest.raises(UserError, match="at least one context token"):
            log_likelihoods(model, [Request((), (3,))])
    else:
        assert log_likelihoods(model, [Request((), (3,))])[0].exact
