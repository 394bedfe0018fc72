"""What a model takes, said before it is loaded; and a model larger than its device, with the rest on the disk."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import DiffusionGemmaForBlockDiffusion, DynamicCache

from analysis import jobs
from analysis.engine.sweeps import _cache_bytes
from analysis.errors import NotEnoughMemory, UserError
from analysis.jobs.evaluation import _cache
from analysis.models import loaded
from analysis.models.before_loading import need_of
from analysis.models.checkpoint import open_folder
from analysis.models.load import load
from analysis.models.resident import release_resident
from analysis.specs import DiffusionGemmaSampling, EvaluateSpec, ModelSpec, RecordSpec
from cache.environment import gigabytes
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, save_tokenizer

FOLDER = GOLDEN / "diffusion-gemma"


def test_weights_experts_cache_and_logits_are_those_of_the_tensors_themselves():
    spec = ModelSpec(source=str(FOLDER), device="cpu")
    network = DiffusionGemmaForBlockDiffusion.from_pretrained(FOLDER).eval()
    weights = load_file(FOLDER / "model.safetensors")
    cache = DynamicCache(config=network.config.get_text_config())
    with torch.no_grad():
        network.model.encoder(input_ids=torch.arange(30)[None] + 3, cache=cache)
    held = sum(part.numel() * 4 for layer in cache.layers for part in (layer.keys, layer.values))
    need = need_of(open_folder(FOLDER), spec, 30)
    assert need.weights == sum(tensor.numel() * 4 for tensor in weights.values())
    assert need.experts == sum(tensor.numel() * 4 for name, tensor in weights.items() if ".experts." in name)
    assert need.cache == held
    assert need.logits == 16 * 96 * 4 * 6
    halved = need_of(open_folder(FOLDER), spec.model_copy(update={"dtype": "bfloat16"}), 30)
    assert (halved.weights, halved.cache) == (need.weights // 2, held // 2)
    assert [gigabytes(size) for size in (52e9, 1.5e8, 99e3, 2500)] == ["52.0 GB", "150.0 MB", "99.0 kB", "2.5 kB"]
    dense = need_of(open_folder(GOLDEN / "sdar"), spec, 30)
    assert (dense.experts, dense.beside) == (0, 0)


def test_an_evaluation_says_how_much_of_a_text_each_layer_caches():
    checkpoint, spec = open_folder(FOLDER), EvaluateSpec(model=ModelSpec(source=str(FOLDER), device="cpu"))
    parts = _cache(spec, checkpoint)
    assert [part["tokens"] for part in parts] == [9, 512], "what a window has room for, and the whole text"
    whole = _cache_bytes(1.0, parts)
    assert whole["kept"] == whole["all"] == need_of(checkpoint, spec.model, 512).cache
    assert _cache_bytes(0.3, parts)["kept"] == sum(
        part["bytes_per_token"] * {9: 3, 512: 154}[part["tokens"]] for part in parts
    )


def test_a_text_whose_cache_and_logits_do_not_fit_is_refused_before_it_is_written(tmp_path, monkeypatch):
    folder = shutil.copytree(FOLDER, tmp_path / "tiny")
    save_tokenizer(folder, size=90, mask=False)
    spec = RecordSpec(
        model=ModelSpec(source=str(folder), device="cpu"),
        prompt="w10 w11",
        sampling=DiffusionGemmaSampling(gen_length=16, steps_per_canvas=1),
    )
    release_resident()
    try:
        jobs.record(spec, QuietContext(tmp_path))
        monkeypatch.setattr(loaded, "free_bytes", lambda device: 30_000)
        monkeypatch.setattr("analysis.jobs.recordings.free_memory", lambda: 2**30)
        with pytest.raises(UserError, match="the cache of 18 tokens and the logits of a canvas take"):
            jobs.record(spec, QuietContext(tmp_path))
    finally:
        release_resident()


@pytest.mark.parametrize("name", ["diffusion-gemma", "llada2"])
def test_what_does_not_fit_lies_on_the_disk_and_gives_the_same_numbers(name, monkeypatch):
    whole = load(ModelSpec(source=str(GOLDEN / name), device="cpu"))
    size = whole.bytes
    monkeypatch.setattr(loaded, "free_bytes", lambda device: size // 3)
    with pytest.raises(NotEnoughMemory):
        load(ModelSpec(source=str(GOLDEN / name), device="cpu"))
    spread = load(ModelSpec(source=str(GOLDEN / name), device="cpu", offload="disk"))
    there = sum(weight.numel() * weight.element_size() for weight in spread.network.parameters() if not weight.is_meta)
    assert any(weight.is_meta for weight in spread.network.parameters()) and there <= size // 3
    assert spread.device == torch.device("cpu")
    tokens = torch.arange(3, 19)[None]
    with torch.no_grad():
        if name == "diffusion-gemma":
            given = {"input_ids": tokens[:, :8], "decoder_input_ids": tokens[:, 8:]}
            both = [model.network(**given).logits for model in (whole, spread)]
        else:
            both = [model.predict(tokens) for model in (whole, spread)]
    assert torch.equal(*both)
