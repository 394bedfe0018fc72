"""Samplers that write block by block: every step and text as the authors' code writes it, and batches."""

import json
import shutil
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from analysis.attention import MassObserver
from analysis.errors import UserError
from analysis.models.layout import Layout, visible
from analysis.models.load import load
from analysis.recording.block_denoising import sdar_choice, sdar_draw
from analysis.recording.denoising import choices, denoise, own_sampling
from analysis.sinks.step_inputs import TokenState
from analysis.specs import (
    BD3LMSampling,
    FastDLLMSampling,
    LLaDA2Sampling,
    LLaDASampling,
    ModelSpec,
    NemotronSampling,
    SDARSampling,
    linear_shares,
)
from tests.conftest import GOLDEN, golden_model
from tests.helpers import edit_config

NAMES = ("sdar", "a2d-qwen3", "fast-dllm-v2", "nemotron", "llada2", "llada21")
# Runs of ways of writing that are not offered: another context, keys reused inside a block.
NOT_OFFERED = {"b4_bidirectional_context", "b8_small4_block_cache"}
SHIFTED = "bd3lm_b4_shift"  # by a model whose config says that its logits are
DRAWN = {"sampled_k50_p0.95_b4"}
# Runs by whose settings no more is decided than by those of others of their sampler.
ALIKE = {"bd3lm_b8", "b8_t0.7_e0.5", "one_block"}


def runs(name: str) -> dict[str, dict]:
    with safe_open(GOLDEN / name / "generate.safetensors", "pt") as file:
        return json.loads(file.metadata()["settings"])


def sampling(name: str, asked: dict):
    """The authors' settings of a run as ours."""
    length = asked.get("gen_length") or asked["max_new_tokens"]
    block = asked.get("block_length") or asked["block_size"]
    if name == "sdar":
        return SDARSampling(
            gen_length=length,
            block_length=block,
            steps_per_block=asked["denoising_steps"],
            strategy=asked["remasking_strategy"].replace("_", "-"),
            threshold=asked.get("confidence_threshold", 0.85),
            top_k=asked["top_k"] or None,
            top_p=asked["top_p"],
        )
    if name.startswith("llada2"):
        generate, edits = asked["who"] == "generate", asked.get("editing_threshold")
        at_once = asked.get("eos_early_stop", False)
        stop: Literal["after-block", "never"] = (
            "never" if not generate or (edits is not None and not at_once) else "after-block"
        )
        steps = min(asked.get("steps") or asked.get("steps_per_block") or block, length // asked.get("minimal_topk", 1))
        if edits is not None:
            steps = block // asked.get("num_to_transfer", 1)
        return LLaDA2Sampling(
            gen_length=length,
            block_length=block,
            steps_per_block=steps,
            threshold=asked["threshold"],
            editing_threshold=edits,
            editing_steps=asked.get("max_post_steps", 16),
            stop="at-once" if at_once and edits is None else stop,
        )
    if name == "a2d-qwen3":
        blocks = -(-length // block)
        steps = asked.get("steps_per_block") or -(-asked["steps"] // blocks)
        return BD3LMSampling(
            gen_length=length, block_length=block, steps_per_block=steps, cfg=asked.get("cfg_scale", 0.0)
        )
    if name == "fast-dllm-v2":
        return FastDLLMSampling(
            gen_length=length,
            block_length=block,
            small_block_length=asked["small_block_size"],
            threshold=asked["threshold"],
        )
    return NemotronSampling(gen_length=length, block_length=block, threshold=asked.get("threshold"))


def model_of(name: str, run: str, folder, paradigm="bd3lm"):
    """The golden checkpoint that a run was written with."""
    if run != SHIFTED:
        return golden_model(name, paradigm)
    source = shutil.copytree(GOLDEN / name, folder / name)
    edit_config(source, right_shift_logits=True)
    return load(ModelSpec(source=str(source), device="cpu", paradigm=paradigm))


def ends(asked: dict) -> torch.Tensor:
    stops = asked.get("stopping_criteria_idx") or [asked.get("eos_id", asked.get("stop_token", -9))]
    return torch.tensor(stops)


def cut(text: torch.Tensor, given: int, stops: torch.Tensor) -> torch.Tensor:
    """A text up to its first end, as the authors return it where their sampler cuts."""
    hits = torch.isin(text[given:], stops).nonzero()
    return text if not len(hits) else text[: given + int(hits[0]) + 1]


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return golden_model(request.param, "bd3lm")


def written(model, prompt: torch.Tensor, params, stops: torch.Tensor):
    params = own_sampling(model, params, prompt.tolist())

    def predict(tokens, observed, layout=None, first=0, aligned=True):
        return model.predict(tokens, layout=layout, aligned=aligned)

    return list(choices(model, predict, prompt, params, 0, stops))


@pytest.mark.parametrize(
    ("name", "run"),
    [(name, run) for name in (*NAMES, "lladamoe") for run in runs(name) if run not in NOT_OFFERED | DRAWN | ALIKE],
)
def test_every_step_and_text_equals_the_authors(name, run, tmp_path):
    asked = runs(name)[run]
    mdlm = asked.get("sampler") == "mdlm"
    model = model_of(name, run, tmp_path, "mdlm" if mdlm else "bd3lm")
    stored = load_file(GOLDEN / name / "generate.safetensors")
    golden = {
        key: stored[f"{run}|{key}"] for key in ("prompt_ids", "canvas", "block", "commit", "confidence", "output")
    }
    prompt, given = golden["prompt_ids"], golden["prompt_ids"].shape[1]
    if mdlm:
        params = LLaDASampling(
            gen_length=asked["max_new_tokens"],
            steps=asked["steps"],
            block_length=asked["block_size"],
            cfg=asked.get("cfg_scale", 0.0),
        )
    else:
        params = sampling(name, asked)
    every = written(model, prompt, params, ends(asked))
    steps = [step for step in every if step.output.shape == step.tokens.shape]
    padding = 0 if mdlm or name != "a2d-qwen3" else -given % asked["block_size"]
    assert len(steps) == len(golden["canvas"])
    for number, step in enumerate(steps):
        length = step.tokens.shape[1]
        canvas = golden["canvas"][number][padding:]
        assert torch.equal(step.tokens[0], canvas[:length]), number
        assert torch.isin(canvas[length:], torch.tensor([-1, model.mask_token])).all()
        start, end = (golden["block"][number] - padding).tolist()
        count = end - start
        assert step.chosen[0].nonzero().flatten().tolist() == [
            start + at for at in golden["commit"][number, :count].nonzero().flatten().tolist()
        ], number
        mine = step.confidence[0, start:end][golden["commit"][number, :count]]
        theirs = golden["confidence"][number, :count][golden["commit"][number, :count]]
        if getattr(params, "top_k", None) is None:  # theirs is among the top-k, ours among all
            assert torch.allclose(mine, theirs, atol=1e-4)
    text, output = every[-1].output[0], golden["output"][0][padding:]
    if name.startswith("llada2"):
        text = text if asked["prompt_is_in_output"] else text[given : given + params.gen_length]
        text = cut(text, 0, ends(asked)) if asked["who"] == "generate" else text
    if name in ("fast-dllm-v2", "nemotron"):
        text = cut(text, given, ends(asked))
    longest = max(len(text), len(output))  # what was not begun is [MASK] in the one and absent in the other
    filled = [torch.nn.functional.pad(row, (0, longest - len(row)), value=model.mask_token) for row in (text, output)]
    assert torch.equal(*filled)
    openings = [
        [step.tokens.shape[1], int(step.output[0, -1])] for step in every if step.output.shape != step.tokens.shape
    ]
    key = {"fast-dllm-v2": "next_block_first_token", "nemotron": "seed_tokens"}.get(name)
    seeds = [] if key is None else stored[f"{run}|{key}"].tolist()
    assert openings == [seed for seed in seeds if seed[0] >= given]


@pytest.mark.parametrize("run", sorted(DRAWN))
def test_what_sdar_draws_from_and_writes_equals_the_authors(run):
    asked, stored = runs("sdar")[run], load_file(GOLDEN / "sdar" / "generate.safetensors")
    model = golden_model("sdar", "bd3lm")
    params = sampling("sdar", asked).model_copy(update={"temperature": 1.0})
    for number, canvas in enumerate(stored[f"{run}|canvas"]):
        tokens = canvas[canvas >= 0][None]
        start, end = stored[f"{run}|block"][number].tolist()
        logits = model.predict(tokens, layout=Layout(asked["block_length"]))[:, start:end]
        drawn = stored[f"{run}|choice"][number][None, : end - start]
        # With all the mass on what was drawn, the same filters give the probability it was drawn with.
        certainty = torch.empty(drawn.shape)
        for at in range(end - start):
            for seed in range(400):
                generator = torch.Generator().manual_seed(seed)
                predicted, sure = sdar_draw(
                    logits[:, at : at + 1], params.model_copy(update={"temperature": 1.0}), generator
                )
                if predicted[0, 0] == drawn[0, at]:
                    certainty[0, at] = sure[0, 0]
                    break
        theirs = stored[f"{run}|confidence"][number][None, : end - start]
        assert (certainty - theirs).abs().max() < 1e-4
        open_ = tokens[:, start:end] == model.mask_token
        chosen = sdar_choice(open_, theirs, 1, params)
        assert torch.equal(chosen, stored[f"{run}|commit"][number][None, : end - start])


def params_for(model, **more):
    kind = {
        "sdar": SDARSampling,
        "bd3lm": BD3LMSampling,
        "fast-dllm-v2": FastDLLMSampling,
        "nemotron": NemotronSampling,
        "llada2": LLaDA2Sampling,
    }
    if model.checkpoint.folder.name == "llada21":
        more = {"threshold": 0.7, "editing_threshold": 0.5} | more
    more = more | ({"small_block_length": 4} if model.architecture.sampler == "fast-dllm-v2" else {})
    return kind[model.architecture.sampler](**more)


@pytest.mark.parametrize("given", [7, 8])
def test_a_batch_writes_what_each_of_its_texts_does_alone(model, given):
    prompts = torch.randint(0, 90, (2, given), generator=torch.Generator().manual_seed(3))
    params, nothing = params_for(model, gen_length=9, block_length=8), torch.tensor([], dtype=torch.long)
    together = written(model, prompts, params, nothing)[-1].output
    for row, prompt in enumerate(prompts):
        assert torch.equal(written(model, prompt[None], params, nothing)[-1].output[0], together[row])
    assert together.shape[1] == own_sampling(model, params).length(given)


def test_steps_say_what_every_token_is_and_mass_is_of_the_mask_they_ran_under(model):
    prompt = torch.arange(6)[None]
    params = params_for(model, gen_length=8, block_length=4)
    steps = list(denoise(model, prompt, params, seed=0))
    assert len(steps) >= 2
    for step in steps:
        choice = step.choice
        state, length = choice.state[0], choice.tokens.shape[1]
        assert (state[:6] == TokenState.GIVEN).all()
        assert torch.equal(state == TokenState.UNDECIDED, choice.tokens[0] == model.mask_token)
        if model.checkpoint.folder.name != "llada21":  # which edits what it has written
            assert torch.equal(choice.undecided[0, :length] & choice.chosen[0, :length], choice.chosen[0, :length])
        start, end = choice.open_block
        outside = torch.ones(choice.output.shape[1], dtype=torch.bool)
        outside[start:end] = False
        assert not choice.chosen[0][outside].any()
        assert 1 <= choice.block <= choice.blocks
        total = step.mass.sum(dim=-1)
        assert torch.allclose(total, torch.full_like(total, length), atol=1e-3)


def test_the_seed_alone_decides_what_is_drawn(model):
    if "temperature" not in type(params_for(model)).model_fields:
        return
    prompt = torch.arange(5)[None]
    params = params_for(model, gen_length=8, block_length=4, temperature=1.0)
    texts = [list(denoise(model, prompt, params, seed))[-1].choice.output.tolist() for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_blocks_not_chosen_are_those_the_model_was_trained_on(model):
    sampled = own_sampling(model, params_for(model, gen_length=8))
    assert sampled.block_length == model.architecture.block_size
    assert own_sampling(model, params_for(model, gen_length=8, block_length=4)).block_length == 4


def test_what_cannot_be_gone_on_from_is_refused(model):
    params = params_for(model, gen_length=8, block_length=4)
    with pytest.raises(UserError, match=r"\[MASK\]"):
        list(denoise(model, torch.tensor([[5, model.mask_token]]), params, 0))
    with pytest.raises(UserError, match="Shorten"):
        list(denoise(model, torch.zeros(1, model.geometry.max_length - 4, dtype=torch.long), params, 0))
    empty = torch.zeros(1, 0, dtype=torch.long)
    if model.architecture.opens_causally:
        with pytest.raises(UserError, match="at least one prompt token"):
            list(denoise(model, empty, params, 0))
    else:
        assert list(denoise(model, empty, params, 0))[-1].choice.output.shape == (1, 8)
    with pytest.raises(UserError, match="is sampled with"):
        list(denoise(model, torch.arange(4)[None], LLaDASampling(gen_length=4, steps=4), 0))


def test_small_blocks_that_do_not_fit_the_models_own_are_refused():
    model = golden_model("fast-dllm-v2", "bd3lm")
    with pytest.raises(UserError, match="multiple of the small block length"):
        own_sampling(model, FastDLLMSampling(gen_length=8, small_block_length=3))


def test_the_linear_schedule_shares_every_token_out():
    assert linear_shares(8, 8) == [1] * 8
    assert linear_shares(2, 4) == [1, 1]
    assert linear_shares(5, 2) == [2, 3]  # round(2.5) to even
    for count in range(1, 20):
        for steps in range(1, 24):
            assert sum(linear_shares(count, steps)) == count


def test_finished_blocks_never_see_later_ones_so_their_masses_grow_only_by_later_queries():
    model = golden_model("sdar", "bd3lm")
    steps = list(denoise(model, torch.arange(8)[None], SDARSampling(gen_length=8, block_length=4), seed=0))
    assert model.architecture.attention == "block-causal"
    first, last = steps[0].choice.tokens, steps[-1].choice.tokens
    assert first.shape[1] < last.shape[1]
    observer = MassObserver()
    model.predict(last[:, : first.shape[1]], observer, layout=Layout(4))
    before = observer.take().mass
    model.predict(last, observer, layout=Layout(4))
    after = observer.take().mass[..., : first.shape[1]]
    assert (after >= before - 1e-5).all()
    assert visible(model.architecture, 8, Layout(4))[0].tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize("folder", ["sdar", "nemotron"])
def test_an_ablation_judges_sinks_by_the_queries_that_see_each_key(folder, monkeypatch):
    from analysis.models import layout as layouts
    from analysis.recording import ablation
    from analysis.sinks.definitions import find_sinks
    from analysis.specs import SAMPLINGS, SinkParams

    model = golden_model(folder, "bd3lm")
    expected, given = [], []
    predict = type(model).predict

    def predicted(self, tokens, *arguments, layout=None, **options):
        if "edit" not in options:
            expected.append(layouts.seeing_queries(model.architecture, tokens.shape[1], layout).numpy())
        return predict(self, tokens, *arguments, layout=layout, **options)

    def judged(mass, params, visible=None, known=None):
        given.append(visible)
        return find_sinks(mass, params, visible, known)

    monkeypatch.setattr(type(model), "predict", predicted)
    monkeypatch.setattr(ablation.sink_analysis, "find_sinks", judged)
    sampling = SAMPLINGS[model.architecture.sampler](gen_length=8)
    prompt = torch.arange(5, 11)[None]
    blocking = ablation.Ablation(model, 6, [ablation.Condition("sinks")], 1, SinkParams(), 0)
    list(denoise(model, prompt, sampling, 0, blocking))
    assert len(given) == len(expected) > 2
    for counted, seeing in zip(given, expected, strict=True):
        np.testing.assert_array_equal(counted, seeing)
