"""Samplers: what every step must hold, and what each option does."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from analysis.errors import UserError
from analysis.models.load import load
from analysis.recording.denoising import denoise
from analysis.recording.steps import draw, gumbel_argmax
from analysis.specs import AutoregressiveSampling, DreamSampling, LLaDASampling, ModelSpec
from tests.conftest import GOLDEN
from tests.helpers import save_tiny


@pytest.fixture(scope="module")
def llada():
    return load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"))


@pytest.fixture(scope="module")
def dream():
    return load(ModelSpec(source=str(GOLDEN / "dream-gqa"), device="cpu"))


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    folder = save_tiny(tmp_path_factory.mktemp("causal"), LlamaForCausalLM, LlamaConfig)
    return load(ModelSpec(source=str(folder), device="cpu"))


PROMPT = torch.arange(10, 18)[None]


def run(model, sampling, seed=0, prompt=PROMPT):
    return list(denoise(model, prompt, sampling, seed))


@pytest.mark.parametrize(
    "sampling",
    [
        LLaDASampling(gen_length=12, steps=5),
        LLaDASampling(gen_length=12, steps=6, block_length=4, remasking="random"),
        LLaDASampling(gen_length=12, steps=4, temperature=0.7, cfg=1.0),
        DreamSampling(gen_length=12, steps=5),
        DreamSampling(gen_length=12, steps=5, alg="origin", temperature=0.5),
        DreamSampling(gen_length=12, steps=5, alg="maskgit_plus", alg_temp=0.5, temperature=1.0, top_p=0.9, top_k=20),
    ],
    ids=lambda sampling: f"{sampling.sampler}-{sampling.steps}",
)
def test_every_step_records_its_input_and_what_it_chose(llada, dream, sampling):
    model = dream if sampling.sampler == "dream" else llada
    steps = run(model, sampling)
    assert len(steps) == sampling.forwards()
    assert all(step.choice.chosen.any() for step in steps)
    tokens = torch.cat([PROMPT, torch.full((1, 12), model.mask_token)], dim=1)
    for step in steps:
        choice = step.choice
        assert torch.equal(choice.tokens, tokens)
        assert torch.equal(choice.undecided, tokens == model.mask_token)
        assert not (choice.chosen & ~choice.undecided).any()
        assert torch.equal(choice.chosen, choice.confidence.isfinite())
        assert ((choice.confidence[choice.chosen] > 0) & (choice.confidence[choice.chosen] <= 1)).all()
        assert torch.equal(choice.output[~choice.chosen], tokens[~choice.chosen])
        assert step.mass.shape == (1, model.geometry.layers, model.geometry.heads, 20)
        assert torch.allclose(step.mass.sum(-1), torch.tensor(20.0), atol=1e-3)
        tokens = choice.output
    # An untrained model may write the mask token itself, as in the authors' samplers; nothing else stays masked.
    rewritten = sum(int((step.choice.chosen & (step.choice.output == model.mask_token)).sum()) for step in steps)
    assert (tokens == model.mask_token).sum() <= rewritten


def test_blocks_are_filled_from_left_to_right(llada):
    steps = run(llada, LLaDASampling(gen_length=12, steps=6, block_length=4))
    for index, step in enumerate(steps):
        positions = step.choice.chosen[0].nonzero()[:, 0]
        start = 8 + 4 * (index // 2)
        assert ((positions >= start) & (positions < start + 4)).all()


def test_the_share_of_a_step_is_equal_with_early_steps_taking_the_rest(llada):
    counts = [int(step.choice.chosen.sum()) for step in run(llada, LLaDASampling(gen_length=11, steps=4))]
    assert counts == [3, 3, 3, 2]


def test_a_seed_fixes_every_random_choice_and_another_changes_it(llada, dream):
    for model, sampling in (
        (llada, LLaDASampling(gen_length=16, steps=8, temperature=1.0, remasking="random")),
        (dream, DreamSampling(gen_length=16, steps=8, temperature=1.0, alg="origin")),
        (dream, DreamSampling(gen_length=16, steps=8, alg="entropy", alg_temp=1.0)),
    ):
        first, again, other = (run(model, sampling, seed)[-1].choice.output for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_mask_tokens_in_the_prompt_are_filled(llada):
    prompt = PROMPT.clone()
    prompt[0, 3] = llada.mask_token
    final = run(llada, LLaDASampling(gen_length=8, steps=4, block_length=4), prompt=prompt)[-1].choice.output
    assert not (final == llada.mask_token).any()
    assert torch.equal(final[0, :3], PROMPT[0, :3])


def test_guidance_observes_the_conditional_half_only(llada):
    guided = run(llada, LLaDASampling(gen_length=8, steps=4, cfg=2.0))[0].mass
    plain = run(llada, LLaDASampling(gen_length=8, steps=4))[0].mass
    assert torch.allclose(guided, plain, atol=1e-4)


def test_several_sequences_are_denoised_as_each_alone(llada):
    prompts = torch.stack([PROMPT[0], PROMPT[0] + 30])
    together = run(llada, LLaDASampling(gen_length=8, steps=4), prompt=prompts)[-1].choice.output
    alone = [run(llada, LLaDASampling(gen_length=8, steps=4), prompt=row[None])[-1].choice.output for row in prompts]
    assert torch.equal(together, torch.cat(alone))


def test_autoregressive_decoding_is_greedy_generation(causal):
    steps = run(causal, AutoregressiveSampling(gen_length=10))
    expected = causal.network.generate(PROMPT, max_new_tokens=10, do_sample=False)
    assert torch.equal(steps[-1].choice.output, expected)
    assert [step.mass.shape[-1] for step in steps] == list(range(8, 8 + len(steps)))


def test_autoregressive_decoding_stops_at_the_end_of_text(causal):
    whole = run(causal, AutoregressiveSampling(gen_length=10))[-1].choice.output
    stop = int(whole[0, 8 + 3])
    length = 1 + whole[0, 8:].tolist().index(stop)
    before = causal.network.generation_config.eos_token_id
    causal.network.generation_config.eos_token_id = stop
    try:
        assert len(run(causal, AutoregressiveSampling(gen_length=10))) == length
    finally:
        causal.network.generation_config.eos_token_id = before


def test_top_k_and_top_p_keep_only_likely_tokens():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])).expand(1, 4000, 4).clone()
    generator = torch.Generator().manual_seed(0)
    assert set(draw(logits, 1.0, None, 2, generator)[0].unique().tolist()) == {0, 1}
    assert set(draw(logits, 1.0, 0.6, None, generator)[0].unique().tolist()) == {0, 1}
    assert set(draw(logits, 1.0, 0.4, None, generator)[0].unique().tolist()) == {0}
    tokens, probabilities = draw(logits, 1.0, None, None, generator)
    shares = torch.bincount(tokens[0], minlength=4) / 4000
    assert torch.allclose(shares, probabilities[0, 0], atol=0.04)


def test_gumbel_noise_samples_the_softmax_at_that_temperature():
    logits = torch.tensor([1.0, 0.0, -1.0]).expand(1, 20_000, 3)
    tokens = gumbel_argmax(logits, 0.5, torch.Generator().manual_seed(0))
    shares = torch.bincount(tokens[0], minlength=3) / 20_000
    assert torch.allclose(shares, (logits[0, 0] / 0.5).softmax(-1), atol=0.015)


def test_too_long_a_text_and_a_foreign_sampler_are_refused(llada, causal):
    with pytest.raises(UserError, match=r"257 tokens.*takes 256"):
        run(llada, LLaDASampling(gen_length=249, steps=3, block_length=249))
    with pytest.raises(UserError, match="not 'dream'"):
        run(llada, DreamSampling(gen_length=8, steps=4))
    with pytest.raises(UserError, match="at least one prompt token"):
        run(causal, AutoregressiveSampling(gen_length=2), prompt=torch.empty(1, 0, dtype=torch.long))


# --- steps that decide nothing ----------------------------------------------------------------------------------


def inputs_of(steps):
    return torch.cat([step.choice.tokens for step in steps])


@pytest.mark.parametrize("block", [None, 4])
def test_more_steps_than_tokens_are_as_many_as_tokens(llada, block):
    asked = LLaDASampling(gen_length=16, steps=64, block_length=block)
    enough = LLaDASampling(gen_length=16, steps=16, block_length=block)
    many, few = run(llada, asked), run(llada, enough)
    assert asked.forwards() == len(many) == len(few) == 16
    assert torch.equal(inputs_of(many), inputs_of(few))
    assert torch.equal(many[-1].choice.output, few[-1].choice.output)


def test_masks_of_the_prompt_are_counted_among_the_steps(llada):
    prompt = PROMPT.clone()
    prompt[0, 2:4] = llada.mask_token
    sampling = LLaDASampling(gen_length=8, steps=32, block_length=4)
    steps = run(llada, sampling, prompt=prompt)
    assert len(steps) == sampling.forwards(2) == 10


def whole_schedule(model, sampling):
    """Dream's sampler at temperature 0 with every forward of its schedule run: the inputs, and the finished text."""
    tokens = torch.cat([PROMPT, torch.full((1, sampling.gen_length), model.mask_token)], dim=1)
    levels = torch.linspace(1, sampling.eps, sampling.steps + 1)
    inputs = []
    for step in range(sampling.steps):
        open_ = (tokens[0] == model.mask_token).nonzero()[:, 0]
        if len(open_) == 0:
            break
        inputs.append(tokens)
        probabilities = model.predict(tokens)[0, open_].float().softmax(-1)
        entropy = (probabilities * torch.log(probabilities + 1e-10)).sum(-1)
        share = 1 - levels[step + 1] / levels[step]
        count = len(open_) if step == sampling.steps - 1 else int(len(open_) * share)
        best = entropy.topk(count).indices
        tokens = tokens.clone()
        tokens[0, open_[best]] = probabilities[best].argmax(-1)
    return inputs, tokens


@pytest.mark.parametrize("steps", [12, 40])
def test_dream_writes_what_its_whole_schedule_writes_without_the_repeats(dream, steps):
    sampling = DreamSampling(gen_length=12, steps=steps)
    inputs, final = whole_schedule(dream, sampling)
    distinct = [
        one for one, before in zip(inputs, [None, *inputs], strict=False) if before is None or (one != before).any()
    ]
    ran = run(dream, sampling)
    assert len(distinct) < len(inputs)
    assert torch.equal(inputs_of(ran), torch.cat(distinct))
    assert torch.equal(ran[-1].choice.output, final)


def test_random_order_leaves_out_steps_without_a_token_too(dream):
    steps = run(dream, DreamSampling(gen_length=6, steps=60, alg="origin"))
    assert 1 < len(steps) <= 6
    assert all(step.choice.chosen.any() for step in steps)
    assert not (steps[-1].choice.output == dream.mask_token).any()


@pytest.mark.parametrize("spoil", ["weight", "epsilon"])
def test_a_model_whose_numbers_are_not_finite_is_said_to_be_broken(spoil):
    model = load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"))
    with torch.no_grad():
        if spoil == "weight":
            model.network.get_input_embeddings().weight[12] = torch.nan
        else:
            model.network.model.norm.variance_epsilon = -1e6
    for temperature in (0, 0.7):
        with pytest.raises(UserError, match="not finite"):
            run(model, LLaDASampling(gen_length=4, steps=4, temperature=temperature))
