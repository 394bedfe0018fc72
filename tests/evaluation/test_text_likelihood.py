"""The likelihood of whole texts: exact for an autoregressive model, the evaluation's bound for a diffusion model."""

import pytest
import torch

from analysis.errors import UserError
from analysis.evaluation.likelihood import Request, log_likelihoods, text_scores
from analysis.models.load import load
from analysis.recording.denoising import stop_tokens
from analysis.specs import TEXT_DRAWS, ModelSpec

CONTEXT = (5, 9, 14)
TEXT = (20, 21, 22, 23, 24)


@pytest.fixture(scope="module")
def twin():
    return load(ModelSpec(source="bundled-ar", device="cpu"))


def test_an_autoregressive_model_s_is_the_chain_rule_per_token(twin):
    logits = twin.predict(torch.tensor([[*CONTEXT, *TEXT]]))[0].float().log_softmax(dim=-1)
    first = len(CONTEXT) - 1
    expected = -sum(float(logits[first + at, token]) for at, token in enumerate(TEXT)) / len(TEXT)
    [score] = text_scores(twin, CONTEXT, [TEXT])
    assert (score.nll, score.tokens, score.repeated) == (pytest.approx(expected, rel=1e-5), len(TEXT), 0.0)


def test_a_diffusion_model_s_is_the_bound_that_answers_are_scored_by(bundled):
    [(found, *_)] = text_scores(bundled, CONTEXT, [TEXT], seed=3)
    [exact] = log_likelihoods(bundled, [Request(CONTEXT, TEXT)], TEXT_DRAWS)
    assert exact.exact and found == pytest.approx(-exact.value / len(TEXT), rel=1e-6), "few tokens: every masked set"
    long = TEXT * 4
    one, again, other = (text_scores(bundled, CONTEXT, [long], seed=seed)[0].nll for seed in (3, 3, 4))
    assert one == again != other, "of many tokens, the sets that the seed draws"
    beside = text_scores(bundled, CONTEXT, [long, TEXT, long[::-1]], seed=3)
    assert [score.nll for score in beside[:2]] == pytest.approx([one, found], rel=1e-5), "whatever is asked beside it"


def test_what_follows_the_end_of_a_text_does_not_count(twin, bundled):
    for model in (twin, bundled):
        end = min(stop_tokens(model))
        whole, cut = (*TEXT, end, 30, 31), (*TEXT, end)
        assert text_scores(model, CONTEXT, [whole]) == text_scores(model, CONTEXT, [cut])


def test_repetition_is_the_share_of_tokens_that_equal_the_one_before(bundled):
    [score] = text_scores(bundled, CONTEXT, [(20, 20, 20, 21, 20)])
    assert score.repeated == 2 / 5


def test_a_text_without_tokens_has_none(bundled):
    with pytest.raises(UserError, match="no tokens"):
        text_scores(bundled, CONTEXT, [()])
