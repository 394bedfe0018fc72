"""MDLM: folded weights, samplers and pruned copies, against what the authors' code computes (tests/golden)."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from analysis import jobs
from analysis.attention import MassObserver
from analysis.errors import UserError
from analysis.models.blocks import private_block, skeleton
from analysis.models.files import stored_tensors
from analysis.models.load import load, random_like
from analysis.pruned.masks_file import open_masks
from analysis.recording import mdlm_denoising
from analysis.recording.denoising import denoise
from analysis.specs import CalibrationParams, MDLMSampling, ModelSpec, PruneSpec
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, edit_config, save_tokenizer

FOLDER = GOLDEN / "mdlm"
WEIGHTS = "model.safetensors"


def opened(folder=FOLDER, **options):
    return load(ModelSpec(source=str(folder), device="cpu", **options))


@pytest.fixture(scope="module")
def mdlm():
    return opened()


@pytest.mark.parametrize("key", ["", "_short"])
def test_logits_and_attention_mass_equal_the_authors(mdlm, key):
    expected, observer = load_file(FOLDER / "golden.safetensors"), MassObserver()
    ids = expected[f"ids{key}"]
    logits = mdlm.predict(ids, observer)
    assert (observer.take().mass - expected[f"attention_mass{key}"]).abs().max() < 1e-4
    there = torch.arange(logits.shape[-1]) != mdlm.mask_token
    assert (logits[..., there] - expected[f"logits{key}"][..., there]).abs().max() < 5e-5
    assert mdlm.mask_token == 96
    assert (logits.softmax(dim=-1)[..., mdlm.mask_token] == 0).all(), "[MASK] is never predicted (SUBS)"
    if not key:
        masked = ids == mdlm.mask_token
        exact = expected["log_probs"].exp()[masked]
        assert (logits.softmax(dim=-1)[masked] - exact).abs().max() < 1e-5


def settings() -> dict[str, dict]:
    with safe_open(FOLDER / "generate.safetensors", "pt") as file:
        return json.loads(file.metadata()["settings"])


@pytest.mark.parametrize("run", settings())
def test_every_run_equals_the_authors_with_their_draws_and_takes_as_few_forwards_as_there_are_texts(
    mdlm, run, monkeypatch
):
    asked, golden = settings()[run], load_file(FOLDER / "generate.safetensors")
    uniform = iter(golden[f"{run}|uniform"])
    monkeypatch.setattr(mdlm_denoising, "draws", lambda shape, generator, dtype: next(uniform)[None])
    sampling = MDLMSampling(
        gen_length=asked["length"], steps=asked["steps"], eps=asked["eps"], updates=asked["sampler"].replace("_", "-")
    )
    steps = list(denoise(mdlm, torch.empty(1, 0, dtype=torch.long), sampling, seed=0))
    canvas, sampled = golden[f"{run}|canvas"], golden[f"{run}|sampled"]
    texts = [canvas[0]]
    left = torch.where(canvas[-1] == mdlm.mask_token, sampled[len(canvas) - 1], canvas[-1])  # for noise removal
    for text in (*canvas[1:], left, *golden[f"{run}|output"]):
        if not torch.equal(text, texts[-1]):
            texts.append(text)
    assert [step.choice.tokens[0].tolist() for step in steps] == [text.tolist() for text in texts[:-1]]
    assert steps[-1].choice.output[0].tolist() == texts[-1].tolist()
    assert len(steps) <= sampling.forwards()
    for step in steps:
        chosen = step.choice.chosen
        assert (chosen == (step.choice.tokens != step.choice.output)).all()
        assert chosen.any()
        assert torch.isfinite(step.choice.confidence[chosen]).all()


def test_a_prompt_stays_and_its_masks_are_filled(mdlm):
    prompt = torch.tensor([[5, 96, 7, 8]])
    last = list(denoise(mdlm, prompt, MDLMSampling(gen_length=8, steps=8), seed=1))[-1].choice.output[0]
    assert [last[index].item() for index in (0, 2, 3)] == [5, 7, 8]
    assert (last != 96).all()
    again = list(denoise(mdlm, prompt, MDLMSampling(gen_length=8, steps=8), seed=1))[-1].choice.output[0]
    assert torch.equal(last, again)


@pytest.fixture
def folder(tmp_path):
    target = shutil.copytree(FOLDER, tmp_path / "mdlm", ignore=shutil.ignore_patterns("g*e*.safetensors"))
    save_tokenizer(target, size=96, mask=False)
    return target


@pytest.mark.parametrize("method", ["sink-wanda", "sparsegpt"])
def test_a_pruned_copy_keeps_the_published_names_and_folds_anew_to_the_same_logits(folder, tmp_path, method):
    text = tmp_path / "text.jsonl"
    text.write_text(f'{{"input_ids": {list(range(5, 29))}}}\n{{"input_ids": {list(range(40, 64))}}}\n')
    calibration = CalibrationParams(data=str(text), samples=2, seq_len=24, diffusion_steps=4, step_interval=2)
    model, ids = ModelSpec(source=str(folder), device="cpu"), torch.arange(30)[None]
    copies = {}
    for streaming in ("auto", "always"):
        out = tmp_path / streaming
        spec = PruneSpec(
            model=model, method=method, sparsity=0.5, calibration=calibration, out=str(out), streaming=streaming
        )
        jobs.prune(spec, QuietContext(tmp_path))
        copies[streaming] = load_file(out / WEIGHTS)
    before, after = load_file(folder / WEIGHTS), copies["auto"]
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".", 3)[3] for name in changed} == {
        f"{part}.weight" for part in ("attn_qkv", "attn_out", "mlp.0", "mlp.2")
    }
    assert all(torch.equal(after[name], copies["always"][name]) for name in after)
    zeros = (after["backbone.blocks.1.attn_out.weight"] == 0).float().mean()
    assert zeros == pytest.approx(0.5, abs=0.02)
    small, big = opened(tmp_path / "auto"), opened(folder)
    assert not torch.equal(small.predict(ids), big.predict(ids))
    if method != "sparsegpt":  # what is left is as it was: pruning the running weights gives the same model
        masks = open_masks(str(tmp_path / "auto"))
        assert masks.names == ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
        with torch.no_grad():
            for layer, block in enumerate(big.blocks):
                for name, module in big.projections(block).items():
                    module.weight.masked_fill_(torch.from_numpy(masks.pruned(layer, name.split(".")[-1])), 0)
        assert torch.allclose(big.predict(ids), small.predict(ids), atol=1e-5)


def test_masks_do_not_depend_on_the_fold(mdlm):
    """A gate scales whole rows, so the order within a row is that of the published weights."""
    stored = stored_tensors(mdlm)
    name = "model.layers.1.self_attn.o_proj.weight"
    published, running = stored[name].read().abs(), stored[name].native().abs()
    assert not torch.allclose(published, running)
    assert torch.equal(published.argsort(dim=1), running.argsort(dim=1))
    restored = stored[name].as_stored(stored[name].native())
    assert torch.allclose(restored, stored[name].read(), atol=1e-6)


def test_masks_are_read_from_a_copy_without_a_mask_file_too(folder):
    assert open_masks(str(folder)).names == ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")


def test_streaming_reads_what_a_load_folds(mdlm):
    model = skeleton(ModelSpec(source=str(FOLDER), device="cpu"))
    block = private_block(model, 1, stored_tensors(model))
    for name, weight in block.named_parameters():
        assert torch.equal(weight, mdlm.blocks[1].get_parameter(name)), name


def test_half_precision_keeps_rotary_frequencies_and_stays_close(mdlm):
    rough, ids = opened(dtype="bfloat16"), torch.arange(24)[None]
    assert rough.dtype == "bfloat16"
    assert rough.network.model.rotary_emb.inv_freq.dtype == torch.float32
    there = torch.arange(97) != mdlm.mask_token
    expected = mdlm.predict(ids)[..., there]
    assert (rough.predict(ids)[..., there].float() - expected).std() < 0.1 * expected.std()
    assert random_like(mdlm, 0).predict(ids).shape == (1, 24, 97)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"time_conditioning": True}, "'time_conditioning' = True"),
        ({"hidden_dim": 32}, "'hidden_dim' = 32"),
        ({"architectures": ["Other"]}, "MDLM"),
        ({"is_causal": True}, "'is_causal' = True"),
    ],
)
def test_what_cannot_be_folded_is_refused_by_its_field(folder, changes, said):
    edit_config(folder, **changes)
    with pytest.raises(UserError) as caught:
        opened(folder)
    assert said in str(caught.value)


def test_a_missing_tensor_is_named(folder):
    weights = load_file(folder / WEIGHTS)
    del weights["backbone.blocks.1.mlp.0.bias"]
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.up_proj\.bias"):
        opened(folder)


def test_without_a_tokenizer_it_names_that_which_it_reads_with_and_gives_it_a_mask(tmp_path):
    model = opened()
    assert model.tokenizer is None
    with pytest.raises(UserError, match="openai-community/gpt2"):
        model.encode("a", "off")
    shutil.copytree(FOLDER, tmp_path / "mdlm")
    save_tokenizer(tmp_path / "mdlm", size=96, mask=False)
    words = tmp_path / "mdlm" / "tokenizer.json"
    words.write_text(words.read_text().replace("[MASK]", "w1"))
    model = opened(tmp_path / "mdlm")
    assert model.tokenizer.mask_token_id == model.mask_token == 96
    assert model.encode("w7 [MASK] w8", "off")[0] == [7, 96, 8]
