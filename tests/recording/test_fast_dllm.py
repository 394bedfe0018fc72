"""Confidence threshold, factor, prefix and dual cache: every step and text as Fast-dLLM's code writes them."""

import json
import shutil
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file

from analysis import jobs
from analysis.errors import UserError
from analysis.models.families import ARCHITECTURES
from analysis.models.load import load
from analysis.recording.batches import recorded as recorded_prompts
from analysis.recording.batches import replayed
from analysis.recording.denoising import denoise, dllm_steps, llada_steps, own_sampling
from analysis.recording.inside_specs import lens_spec
from analysis.recording.steps import sure_enough, surest_by_factor
from analysis.recording.trajectory_file import open_trajectory
from analysis.specs import (
    AblateSpec,
    AlternativesSpec,
    AttentionMapSpec,
    DLLMSampling,
    DreamSampling,
    LLaDASampling,
    ModelSpec,
    RecordSpec,
    ReferenceSpec,
)
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, save_tokenizer

NAMES = ("llada-gqa", "llada-mha", "dream-gqa")


def settings(name: str) -> dict[str, dict]:
    with safe_open(GOLDEN / "fast-dllm" / f"{name}.safetensors", "pt") as file:
        return json.loads(file.metadata()["settings"])


# One of the two prompts of each setting.
RUNS = [(name, run) for name in NAMES for run in settings(name) if run.endswith("_p1") == (name == "llada-mha")]


@cache
def sharpened(name: str):
    """The checkpoint that the runs were written with: the golden one's head × 11 but for [MASK], queries and keys × 3,
    since the golden ones are never sure of anything.
    """
    model = load(ModelSpec(source=str(GOLDEN / name), device="cpu"))
    with torch.no_grad():
        head = model.network.get_output_embeddings().weight
        head.mul_(11)
        head[model.mask_token] = 0
        for parameter, weight in model.network.named_parameters():
            if parameter.endswith(("q_proj.weight", "k_proj.weight")):
                weight.mul_(3)
    return model


def sampling(name: str, asked: dict):
    """The authors' settings of a run as ours."""
    named = {key: asked[key] for key in ("gen_length", "steps", "threshold", "factor", "block_length") if key in asked}
    named["cache"] = asked["cache"] or "none"
    if name == "dream-gqa":
        return DreamSampling(**named, eps=asked["eps"])
    return LLaDASampling(**named)


def golden(name: str, run: str) -> dict[str, torch.Tensor]:
    stored = load_file(GOLDEN / "fast-dllm" / f"{name}.safetensors")
    return {key.split("|")[1]: values for key, values in stored.items() if key.split("|")[0] == run}


@pytest.mark.parametrize(("name", "run"), RUNS)
def test_every_step_and_text_equals_the_authors(name, run):
    asked, expected = settings(name)[run], golden(name, run)
    params = sampling(name, asked)
    steps = list(denoise(sharpened(name), expected["prompt_ids"].long(), params, seed=0))
    assert len(steps) == len(expected["canvas"]) <= params.forwards()
    for number, step in enumerate(steps):
        choice = step.choice
        assert torch.equal(choice.tokens[0], expected["canvas"][number].long())
        assert torch.equal(choice.chosen[0], expected["commit"][number].bool())
        assert list(choice.query_range) == expected["span"][number].tolist()
        assert list(choice.open_block) == expected["block"][number].tolist()
        if "confidence" in expected:
            mine, theirs = choice.confidence[0], expected["confidence"][number]
            assert torch.allclose(mine[choice.chosen[0]], theirs.float()[choice.chosen[0]], atol=1e-4)
        if "mass" in expected:
            assert torch.allclose(step.mass[0], expected["mass"][number], atol=2e-4)
        first, end = choice.query_range
        assert torch.allclose(step.mass.sum(-1), torch.tensor(float(end - first)), atol=1e-3)
    assert torch.equal(steps[-1].choice.output, expected["output"].long())


FIRST_CACHED = {(name, cached): run for name, run in reversed(RUNS) if (cached := settings(name)[run]["cache"])}


@pytest.mark.parametrize(("name", "run"), [(name, run) for (name, _), run in FIRST_CACHED.items()])
def test_whole_forwards_write_another_text_where_the_authors_caches_do(name, run):
    """14 to 28 of 32 tokens differ by the authors' code, so keys that are kept are not what is computed anew."""
    asked, expected = settings(name)[run], golden(name, run)
    params = sampling(name, asked).model_copy(update={"cache": "none"})
    whole = list(denoise(sharpened(name), expected["prompt_ids"].long(), params, seed=0))[-1].choice.output
    given = expected["prompt_ids"].shape[1]
    assert 14 <= int((whole != expected["output"].long())[0, given:].sum()) <= 32


def test_a_block_written_in_one_forward_needs_no_cache():
    """Where only whole forwards run, keys are kept and never read: the same text."""
    model, prompt = sharpened("llada-gqa"), torch.arange(10, 18)[None]
    texts = [
        list(denoise(model, prompt, LLaDASampling(gen_length=8, block_length=4, steps=2, cache=cache), seed=0))
        for cache in ("none", "prefix", "dual")
    ]
    assert all(len(steps) == 2 for steps in texts)
    assert all(torch.equal(steps[-1].choice.output, texts[0][-1].choice.output) for steps in texts)
    assert all(step.choice.query_range == (0, 16) for steps in texts for step in steps)


def test_the_rules_of_what_is_sure_enough():
    certainty = torch.tensor([[0.2, 0.95, 0.9, 0.1], [0.3, 0.2, 0.4, 0.99]], dtype=torch.float64)
    open_ = torch.tensor([[True, True, True, True], [True, True, True, False]])
    assert sure_enough(open_, certainty, 0.9).tolist() == [[False, True, True, False], [False, False, True, False]]
    assert not sure_enough(torch.zeros_like(open_), certainty, 0.0).any()
    # Ranks 2 and 3 need 1 − 0.5/3 and 1 − 0.5/4; the last of a row that is reached is never refused.
    assert surest_by_factor(open_, certainty, 0.5).sum(dim=1).tolist() == [2, 1]
    two = torch.tensor([[True, True, False, False]])
    assert surest_by_factor(two, torch.zeros(1, 4), 0.1).tolist() == [[True, True, False, False]]
    assert not surest_by_factor(torch.zeros_like(two), torch.zeros(1, 4), 0.1).any()


@pytest.mark.parametrize("cached", ["none", "prefix", "dual"])
@pytest.mark.parametrize("name", ["llada-gqa", "dream-gqa"])
def test_rows_of_a_batch_are_written_as_alone(name, cached):
    model = sharpened(name)
    kind = DreamSampling if name == "dream-gqa" else LLaDASampling
    params = kind(gen_length=16, block_length=8, steps=16, threshold=0.5, cache=cached)
    prompts = torch.stack([torch.arange(10, 18), torch.arange(40, 48)])
    together = list(denoise(model, prompts, params, seed=0))[-1].choice.output
    alone = [list(denoise(model, row[None], params, seed=0))[-1].choice.output for row in prompts]
    assert torch.equal(together, torch.cat(alone))
    assert not params.same_alone, "they take forwards of their own number"


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_the_sampler_of_encoders_has_the_same_threshold(threshold):
    """By a threshold both samplers write block by block what is sure enough, so on one network they write alike."""
    model, prompt = sharpened("llada-gqa"), torch.arange(10, 18)[None]
    generator = torch.Generator().manual_seed(0)

    def predict(tokens, observed):
        return model.predict(tokens)

    asked = {"gen_length": 16, "block_length": 8, "threshold": threshold}
    ours = list(dllm_steps(predict, prompt, DLLMSampling(**asked), model.mask_token, generator))
    theirs = list(llada_steps(predict, prompt, LLaDASampling(**asked), model.mask_token, generator))
    assert len(ours) == len(theirs) < 16
    for step, other in zip(ours, theirs, strict=True):
        assert torch.equal(step.output, other.output) and torch.equal(step.chosen, other.chosen)
        assert step.open_block == other.open_block


def test_dream_leaves_no_mask_behind_whatever_the_number_of_steps():
    model, prompt = sharpened("dream-gqa"), torch.arange(10, 18)[None]
    for steps in (5, 64):  # shares that do not divide the text, and no share at all
        params = DreamSampling(gen_length=12, steps=steps, threshold=0.9)
        written = list(denoise(model, prompt, params, seed=0))
        assert all(step.choice.chosen.any() for step in written) and len(written) <= params.forwards()
        assert not (written[-1].choice.output == model.mask_token).any()


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (LLaDASampling, {"threshold": 0.9, "factor": 1.0}, "Leave one of them empty"),
        (LLaDASampling, {"threshold": 0.9, "remasking": "random"}, "low-confidence"),
        (LLaDASampling, {"cache": "dual", "gen_length": 10, "block_length": 4}, "multiple of the block length"),
        (DreamSampling, {"cache": "dual", "alg": "origin"}, "ranks by entropy"),
        (DreamSampling, {"cache": "prefix", "gen_length": 10, "block_length": 4}, "multiple of the block length"),
        (DreamSampling, {"cache": "prefix", "gen_length": 8, "block_length": 4, "steps": 2}, "at least 2 steps"),
    ],
)
def test_what_does_not_fit_together_is_said(kind, wrong, message):
    with pytest.raises(ValidationError, match=message):
        kind(**wrong)


def test_masks_in_the_prompt_and_experts_take_whole_forwards():
    model, prompt = sharpened("llada-gqa"), torch.arange(10, 18)[None].clone()
    prompt[0, 2] = model.mask_token
    with pytest.raises(UserError, match="no step behind a cache fills"):
        next(denoise(model, prompt, LLaDASampling(gen_length=8, steps=4, cache="prefix"), seed=0))
    filled = list(denoise(model, prompt, LLaDASampling(gen_length=8, block_length=4, threshold=0.5), seed=0))
    assert not (filled[-1].choice.output == model.mask_token).any()

    class Mixture:
        architecture = ARCHITECTURES["llada-moe"]

    with pytest.raises(UserError, match="Leave caching off"):
        own_sampling(Mixture(), LLaDASampling(cache="dual"))


def test_guidance_goes_on_from_kept_keys_of_both_halves():
    model, prompt = sharpened("llada-gqa"), torch.arange(10, 18)[None]
    params = LLaDASampling(gen_length=8, block_length=4, threshold=1.0, cache="dual", cfg=1.0)
    steps = list(denoise(model, prompt, params, seed=0))
    assert {step.mass.shape for step in steps} == {(1, model.geometry.layers, model.geometry.heads, 16)}
    assert not (steps[-1].choice.output == model.mask_token).any()
    assert np.ptp([step.choice.query_range[0] for step in steps]) > 0


# --- recordings -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[("llada-gqa", "prefix"), ("llada-gqa", "dual"), ("dream-gqa", "dual")])
def recorded(request, tmp_path_factory):
    """A model's spec and its recording under a cache, in blocks of four."""
    name, kept = request.param
    folder = tmp_path_factory.mktemp("model") / name
    shutil.copytree(GOLDEN / name, folder)
    save_tokenizer(folder, size=100, mask=False)
    spec = ModelSpec(source=str(folder), device="cpu")
    kind = DreamSampling if name == "dream-gqa" else LLaDASampling
    params = kind(gen_length=8, block_length=4, steps=8, cache=kept)
    asked = RecordSpec(model=spec, prompt="w54 w58 w10 w38 w70 w67", sampling=params)
    outcome = jobs.record(asked, QuietContext(folder.parent))
    return spec, open_trajectory(outcome.file), outcome.summary


def test_a_recording_says_which_tokens_were_queries(recorded):
    _, trajectory, _ = recorded
    assert trajectory.goes_stale
    assert trajectory.ends_early == (trajectory.info.sampling.cache == "dual")
    counts = np.diff(trajectory.queries, axis=1)[:, 0]
    assert set(counts.tolist()) == ({14, 4} if trajectory.ends_early else {14, 8, 4})
    assert np.allclose(trajectory.mass.sum(-1), counts[:, None, None], rtol=1e-3)
    assert np.allclose(trajectory.relative_mass().mean(-1), 1, atol=1e-3)
    assert np.allclose(trajectory.pattern.uniform_mass, 1) and trajectory.pattern.is_even


def test_random_weights_go_on_from_kept_keys_at_the_same_queries(recorded, tmp_path):
    """With the recorded model in the place of random weights the replay is the recording itself."""
    spec, trajectory, _ = recorded
    asked = ReferenceSpec(
        model=spec,
        inputs=tuple(trajectory.input_tokens(step) for step in range(trajectory.steps)),
        first_queries=tuple(trajectory.queries[:, 0].tolist()),
        query_ends=tuple(trajectory.queries[:, 1].tolist()),
        prompt_length=6,
    )
    with patch("analysis.recording.weight_nulls.random_like", lambda model, seed: model):
        same = open_trajectory(jobs.reference(asked, QuietContext(tmp_path)).file)
    assert np.array_equal(same.queries, trajectory.queries)
    assert np.allclose(same.mass, trajectory.mass, atol=1e-5)
    drawn = open_trajectory(jobs.reference(asked, QuietContext(tmp_path)).file)
    assert np.array_equal(drawn.queries, trajectory.queries) and not np.allclose(drawn.mass, trajectory.mass, atol=1e-2)


def test_recordings_of_a_set_are_replayed_at_the_same_queries(recorded):
    spec, trajectory, _ = recorded
    model = load(spec)
    prompt = trajectory.tokens[0][:6].tolist()
    [run] = recorded_prompts(model, [prompt], trajectory.info.sampling, 0, 4, lambda count: None)
    again = replayed(model, run, 4, lambda count: None)
    assert np.allclose(again.run.mass, run.run.mass, atol=1e-4)
    assert np.array_equal(again.run.pattern.queries, trajectory.queries)


def test_a_step_is_looked_into_over_the_keys_it_read(recorded, tmp_path):
    spec, trajectory, _ = recorded
    step = int(np.flatnonzero(np.diff(trajectory.queries, axis=1)[:, 0] == 4)[0])
    first, end = trajectory.queries[step].tolist()
    kept = trajectory.kept_forward(step)
    assert kept is not None and trajectory.kept_forward(0) is None
    inputs = trajectory.input_tokens(step)
    look = AttentionMapSpec(model=spec, tokens=inputs, layer=1, head=1, kept=kept)
    values = load_arrays(jobs.attention_map(look, QuietContext(tmp_path)).file)["map"]
    assert np.isnan(values[:first]).all() and np.isnan(values[end:]).all()
    assert np.allclose(values[first:end].sum(axis=0), trajectory.mass[step, 1, 1], atol=1e-4)
    position = int(np.flatnonzero(~np.isnan(trajectory.confidence[step]))[0])
    asked = AlternativesSpec(model=spec, tokens=inputs, position=position, kept=kept)
    told = jobs.alternatives(asked, QuietContext(tmp_path)).summary["alternatives"]
    token = int((trajectory.tokens[step + 1] if step + 1 < trajectory.steps else trajectory.final)[position])
    chosen = {row["token"]: row["probability"] for row in told}[token]
    assert chosen == pytest.approx(float(trajectory.confidence[step, position]), abs=1e-5)
    with pytest.raises(ValidationError, match="was not run in this step"):
        AlternativesSpec(model=spec, tokens=inputs, position=0, kept=kept)
    with pytest.raises(UserError, match="cache set to none"):
        lens_spec(trajectory, spec, step)


def test_hiding_nothing_under_a_cache_writes_the_recorded_text(recorded):
    """An ablation keeps the cache, as another text would be written without."""
    spec, trajectory, _ = recorded
    model = load(spec)
    prompt = torch.tensor([trajectory.tokens[0][:6].tolist()])
    seen = []

    def rerun(forward, again):
        seen.append(forward.queries)
        return again(None)

    steps = list(denoise(model, prompt, trajectory.info.sampling, 0, rerun))
    assert torch.equal(steps[-1].choice.output[0], torch.from_numpy(trajectory.final).long())
    assert seen == [tuple(row) for row in trajectory.queries.tolist()]
    spec = AblateSpec(model=spec, prompt=tuple(prompt[0].tolist()), sampling=trajectory.info.sampling, count=2)
    rows = jobs.ablate(spec, QuietContext(Path(model.spec.source).parent)).summary["rows"]
    assert all(0 < row["blocked_share"] < 1 for row in rows[1:])
