"""BD3LM of OpenWebText: its blocks and its sampler against what the authors' code computes (tests/golden)."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from analysis.attention import MassObserver
from analysis.models.layout import Layout, visible
from analysis.models.load import load
from analysis.recording import mdlm_denoising
from analysis.recording.denoising import denoise
from analysis.specs import FirstHittingSampling, ModelSpec
from tests.conftest import GOLDEN

FOLDER = GOLDEN / "bd3lm-owt"
BOS = 96


@pytest.fixture(scope="module")
def model():
    return load(ModelSpec(source=str(FOLDER), device="cpu"))


@pytest.mark.parametrize("block", [4, 8, 16])
def test_mask_logits_and_attention_mass_equal_the_authors(model, block):
    expected, observer, key = load_file(FOLDER / "golden.safetensors"), MassObserver(), f"_b{block}"
    ids = expected["ids"]
    assert torch.equal(visible(model.architecture, ids.shape[1], Layout(block)), expected[f"mask{key}"])
    logits = model.predict(ids, observer, layout=Layout(block))
    there = torch.arange(logits.shape[-1]) != model.mask_token
    assert (logits[..., there] - expected[f"logits{key}"][..., there]).abs().max() < 5e-5
    assert (observer.take().mass - expected[f"attention_mass{key}"]).abs().max() < 1e-4


def settings() -> dict[str, dict]:
    with safe_open(FOLDER / "generate.safetensors", "pt") as file:
        asked = json.loads(file.metadata()["settings"])
    return {run: asked[run] for run in asked if asked[run]["length"] <= asked[run]["context"]}


@pytest.mark.parametrize("run", settings())
def test_every_run_that_fits_equals_the_authors_step_by_step_cache_included(model, run, monkeypatch):
    asked, golden = settings()[run], load_file(FOLDER / "generate.safetensors")
    told = {name.split("|")[1]: values for name, values in golden.items() if name.startswith(f"{run}|")}
    uniform = iter(told["uniform"])
    monkeypatch.setattr(mdlm_denoising, "draws", lambda shape, generator, dtype: next(uniform)[None])
    if asked["first_hitting"]:
        picks = iter(told["pick"].tolist())
        monkeypatch.setattr(mdlm_denoising, "place", lambda count, generator: next(picks))
    sampling = FirstHittingSampling(
        gen_length=asked["length"] - 1,
        block_length=asked["block_size"],
        first_hitting=asked["first_hitting"],
        steps_per_block=asked["steps"],
        top_p=asked["nucleus_p"],
        cached=asked["kv_cache"],
    )
    steps = list(denoise(model, torch.tensor([[BOS]]), sampling, seed=0))
    assert steps[-1].choice.output.tolist() == told["output"].tolist()
    wrote = [step for step, ran in enumerate(told["network"].tolist()) if ran]
    assert len(steps) == len(wrote) == asked["nfe"]
    for step, at in zip(steps, wrote, strict=True):
        start, end = told["block"][at].tolist()
        assert step.choice.open_block == (start, end)
        assert step.choice.tokens[0].tolist() == told["canvas"][at, :end].tolist()
        first = start if asked["kv_cache"] else 0
        mass = step.mass[0]
        assert step.choice.query_range == (first, end)
        if first:
            assert (mass - told["mass"][at, :, :, :end]).abs().max() < 1e-4
    if asked["first_hitting"]:
        assert all(step.choice.chosen.sum() == 1 for step in steps)
        assert len(steps) == sampling.forwards() - 1  # [BOS] is there already


def test_what_is_left_at_the_end_of_time_is_the_likeliest_token_and_no_token_zero(model):
    sampling = FirstHittingSampling(gen_length=16, block_length=8, first_hitting=False, steps_per_block=2)
    last = list(denoise(model, torch.tensor([[BOS, 5]]), sampling, seed=0))[-1].choice.output
    assert (last != model.mask_token).all()


def test_the_nucleus_leaves_out_the_token_that_crosses_it_but_never_all():
    kept = mdlm_denoising.nucleus(torch.tensor([[[0.5, 0.3, 0.2]], [[0.9, 0.06, 0.04]]]), 0.79)
    assert kept[0, 0].tolist() == [1, 0, 0]
    assert kept[1, 0].tolist() == [1, 0, 0]
    assert mdlm_denoising.nucleus(torch.tensor([[[0.5, 0.3, 0.2]]]), 0.8)[0, 0].tolist() == pytest.approx(
        [0.625, 0.375, 0]
    )
