"""Against what the authors' published code computes on the same checkpoints (tests/golden)."""

import json

import pytest
import torch
from safetensors import safe_open

from analysis.attention import MassObserver
from analysis.models.load import load
from analysis.recording.denoising import denoise
from analysis.sinks.discount import sink_scores
from analysis.specs import DiscountParams, DreamSampling, LLaDASampling, ModelSpec
from tests.conftest import GOLDEN


def test_logits_equal_the_authors(golden):
    model, expected, _ = golden
    logits = model.network(input_ids=expected["clean_ids"], use_cache=False).logits
    assert (logits - expected["logits_clean"]).abs().max() < 1e-4


def test_dream_logits_are_shifted_to_the_token_they_predict(golden):
    model, expected, _ = golden
    aligned = model.predict(expected["clean_ids"])
    if model.architecture.shift:
        assert torch.equal(aligned[:, 1:], model.network(input_ids=expected["clean_ids"]).logits[:, :-1])
    else:
        assert torch.equal(aligned, model.network(input_ids=expected["clean_ids"]).logits)


def test_attention_mass_and_soft_sink_scores_equal_the_authors(golden):
    model, expected, _ = golden
    noisy = expected["noisy_ids"]
    observer = MassObserver()
    model.predict(noisy.flatten(0, 1), observer)
    mass = observer.take().mass.sum(dim=2).view(expected["attention_mass"].shape)
    assert (mass - expected["attention_mass"]).abs().max() < 1e-4
    score = sink_scores(mass.sum(dim=2).numpy(), DiscountParams())
    assert abs(score - expected["soft_sink_score"].numpy()).max() < 1e-4


LLADA = {
    "low_confidence_32steps": LLaDASampling(gen_length=32, steps=32),
    "low_confidence_16steps_2blocks": LLaDASampling(gen_length=32, steps=16, block_length=16),
    "low_confidence_16steps_cfg1.5": LLaDASampling(gen_length=32, steps=16, cfg=1.5),
}
DREAM = {
    f"{alg}_{steps}steps": DreamSampling(gen_length=32, steps=steps, alg=alg)
    for alg in ("maskgit_plus", "topk_margin", "entropy")
    for steps in (32, 16)
}


def test_every_generation_equals_the_authors_token_for_token(golden):
    model, _, generated = golden
    runs = DREAM if model.architecture.sampler == "dream" else LLADA
    assert set(runs) == set(generated) - {"prompt_ids"}
    for name, sampling in runs.items():
        *_, last = denoise(model, generated["prompt_ids"], sampling, seed=0)
        assert torch.equal(last.choice.output, generated[name]), name


def test_saving_writes_the_authors_names_and_config_back(golden, tmp_path):
    model, _, _ = golden
    source = model.checkpoint.folder
    model.network.save_pretrained(tmp_path)
    with (
        safe_open(source / "model.safetensors", "pt") as before,
        safe_open(tmp_path / "model.safetensors", "pt") as after,
    ):
        assert set(before.keys()) == set(after.keys())
        for name in before.keys():  # noqa: SIM118 - a safetensors handle is no mapping
            assert torch.equal(before.get_tensor(name), after.get_tensor(name)), name
    old = json.loads((source / "config.json").read_text())
    new = json.loads((tmp_path / "config.json").read_text())
    for field in ("model_type", "architectures", "rope_theta", "mask_token_id", "vocab_size"):
        assert new[field] == old[field], field
    again = load(ModelSpec(source=str(tmp_path), device="cpu"))
    ids = torch.arange(20)[None]
    assert torch.equal(again.predict(ids), model.predict(ids))


@pytest.mark.parametrize("name", ["llada-gqa", "dream-gqa"])
def test_bfloat16_stays_close_and_keeps_rotary_frequencies_exact(name):
    model = load(ModelSpec(source=str(GOLDEN / name), device="cpu", dtype="bfloat16"))
    exact = load(ModelSpec(source=str(GOLDEN / name), device="cpu", dtype="float32"))
    ids = torch.arange(40)[None]
    assert model.dtype == "bfloat16"
    assert model.network.model.rotary_emb.inv_freq.dtype == torch.float32
    expected = exact.predict(ids)
    assert (model.predict(ids).float() - expected).std() < 0.1 * expected.std()
