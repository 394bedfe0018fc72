"""Loading: every architecture, every precision, every kind of bad input."""

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    ElectraConfig,
    ElectraForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from analysis.errors import UserError
from analysis.models import checkpoint as checkpoints
from analysis.models import load as loading
from analysis.models import loaded, native_code
from analysis.models.architectures import identify
from analysis.models.load import load
from analysis.models.registry import MODELS, entry
from analysis.models.weight_files import header
from analysis.specs import ModelSpec
from tests.helpers import edit_config, save_tiny, save_tokenizer


def cpu(folder, **options) -> ModelSpec:
    return ModelSpec(source=str(folder), device="cpu", **options)


def sees_the_future(model) -> bool:
    """Whether the first position's logits depend on the last token."""
    ids = torch.arange(5, 15)[None]
    changed = ids.clone()
    changed[0, -1] = 30
    return not torch.equal(model.predict(ids)[0, 0], model.predict(changed)[0, 0])


def refusal(folder, **options) -> str:
    with pytest.raises(UserError) as caught:
        load(cpu(folder, **options))
    message = str(caught.value)
    assert len(message) < 600
    assert "\n" not in message
    return message


# --- what loads -------------------------------------------------------------------------------------------------


def test_the_bundled_model_knows_itself(bundled):
    assert bundled.mask_token is not None
    assert bundled.architecture.sampler == "llada"
    assert len(bundled.blocks) == bundled.geometry.layers
    names = list(bundled.projections(bundled.blocks[0]))
    assert len(names) == 7
    assert {name.split(".")[-1] for name in names} >= {"q_proj", "k_proj", "v_proj"}
    assert sees_the_future(bundled)
    assert bundled.bytes > 0


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (native_code.A2DLlamaConfig, native_code.A2DLlamaLMHeadModel),
        (native_code.A2DQwen2Config, native_code.A2DQwen2LMHeadModel),
        (native_code.A2DQwen3Config, native_code.A2DQwen3LMHeadModel),
    ],
)
def test_converted_models_are_bidirectional_and_take_their_mask_from_the_tokenizer(tmp_path, config, kind):
    loading.register()
    model = load(cpu(save_tiny(tmp_path, kind, config), paradigm="mdlm"))
    assert (model.mask_token, model.architecture.sampler, model.architecture.shift) == (1, "llada", 0)
    assert sees_the_future(model)


@pytest.mark.parametrize(
    ("config", "kind"),
    [(LlamaConfig, LlamaForCausalLM), (Qwen2Config, Qwen2ForCausalLM), (Qwen3Config, Qwen3ForCausalLM)],
)
def test_native_checkpoints_with_is_causal_false_are_diffusion_models(tmp_path, config, kind):
    save_tiny(tmp_path, kind, config)
    causal = load(cpu(tmp_path))
    assert causal.architecture.sampler == "autoregressive"
    assert causal.mask_token is None
    assert not sees_the_future(causal)
    edit_config(tmp_path, is_causal=False, mask_token_id=1)
    model = load(cpu(tmp_path))
    assert model.architecture.sampler == "llada"
    assert sees_the_future(model)
    block = model.blocks[0]
    assert all(module.is_causal is False for module in block.modules() if hasattr(module, "is_causal"))


def test_any_causal_language_model_serves_as_reference(tmp_path):
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4)).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    model = load(cpu(tmp_path))
    assert (model.geometry.layers, model.geometry.heads, model.geometry.max_length) == (2, 4, 32)
    assert not sees_the_future(model)
    assert set(model.projections(model.blocks[0])) == {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}


def test_sharded_checkpoints_load_and_a_missing_shard_is_named(tmp_path):
    torch.manual_seed(0)
    config = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    network = LlamaForCausalLM(LlamaConfig(**config, num_attention_heads=4))
    network.save_pretrained(tmp_path, max_shard_size="20KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    model = load(cpu(tmp_path))
    assert torch.equal(model.network.lm_head.weight, network.lm_head.weight)
    shards[1].unlink()
    assert shards[1].name in refusal(tmp_path)


def test_dream_tokenizer_loads_without_its_code(tmp_path):
    from analysis.models.tokenizer import load_tokenizer

    letters = {letter: index for index, letter in enumerate("abcĠ")}
    vocabulary = {**letters, "ab": 4, "Ġc": 5, "<|endoftext|>": 6, "<|mask|>": 7}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\nĠ c\n")
    added = {"6": {"content": "<|endoftext|>", "special": True}, "7": {"content": "<|mask|>", "special": True}}
    config = {
        "tokenizer_class": "DreamTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]},
        "added_tokens_decoder": added,
        "mask_token": "<|mask|>",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer("ab c<|mask|>")["input_ids"] == [4, 5, 7]
    assert tokenizer.mask_token_id == 7


def test_fingerprint_follows_content_not_place(tmp_path):
    first = save_tiny(tmp_path / "a", LlamaForCausalLM, LlamaConfig)
    same = save_tiny(tmp_path / "b", LlamaForCausalLM, LlamaConfig)
    other = save_tiny(tmp_path / "c", LlamaForCausalLM, LlamaConfig, seed=1)
    prints = [checkpoints.fingerprint(checkpoints.open_folder(folder)) for folder in (first, same, other)]
    assert prints[0] == prints[1] != prints[2]


def test_weight_bytes_are_known_before_loading(tmp_path):
    found = checkpoints.open_folder(save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig))
    model = load(cpu(tmp_path, dtype="bfloat16"))
    assert checkpoints.weight_bytes(found, 2) == sum(weight.numel() * 2 for weight in model.network.parameters())
    assert checkpoints.weight_bytes(found, None) == checkpoints.weight_bytes(found, 4)


def test_registry_names_and_sources_both_resolve():
    assert entry("llada-1.5") is entry("GSAI-ML/LLaDA-1.5")
    assert entry("someone/else") is None
    assert [name for name in MODELS if checkpoints.find(name) is not None] == ["bundled", "bundled-ar"]


# --- what is refused --------------------------------------------------------------------------------------------


def test_a_folder_without_config_is_refused(tmp_path):
    assert "no config.json" in refusal(tmp_path)


def test_a_lora_adapter_is_told_from_a_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    message = refusal(tmp_path)
    assert "LoRA adapter" in message
    assert "merge" in message.lower()


def test_a_source_that_is_nothing_is_refused():
    assert "not a name of the registry" in refusal("no such thing")


def test_a_file_is_refused(tmp_path):
    (tmp_path / "weights").write_text("x")
    assert "is a file" in refusal(tmp_path / "weights")


def test_an_unsupported_architecture_is_named_with_what_is_supported(tmp_path):
    torch.manual_seed(0)
    small = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ElectraForMaskedLM(ElectraConfig(**small, intermediate_size=32)).save_pretrained(tmp_path)
    message = refusal(tmp_path)
    assert "'electra'" in message
    assert "LLaDA" in message


def test_a_model_without_softmax_attention_is_refused(tmp_path):
    torch.manual_seed(0)
    MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2)).save_pretrained(tmp_path)
    edit_config(tmp_path, num_attention_heads=4, max_position_embeddings=64)
    assert "mamba" in refusal(tmp_path)


def test_truncated_weights_are_refused_before_loading(tmp_path):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refusal(tmp_path)
    path.write_bytes(whole[:100])
    assert "cut off" in refusal(tmp_path)
    path.write_bytes(struct.pack("<Q", 5) + b"hello" + b"x" * 50)
    assert "header cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("source", ["x" * 300, "~nosuchuser/x", "a..b/c", "owner/x.git", "../x", "-a/b--c", "a\0b"])
def test_odd_sources_are_one_sentence(source):
    with pytest.raises(UserError):
        checkpoints.find(source)


def test_a_header_is_read_again_once_its_file_is_another(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"one": torch.zeros(2, 3)}, path)
    assert header(path)[0]["one"].shape == (2, 3)
    save_file({"other": torch.zeros(4)}, path)
    assert list(header(path)[0]) == ["other"]
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        header(path)


def test_a_folder_is_read_once_and_again_once_it_is_another(tmp_path, monkeypatch):
    folder = save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    first = checkpoints.find(str(folder))
    first.config["vocab_size"] = 0  # as transformers does with what it is given
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "read_json", lambda path: pytest.fail(f"{path} was read again"))
        assert checkpoints.find(str(folder)).config["vocab_size"] > 0

    config, replaced = folder / "config.json", folder / "replaced.json"
    replaced.write_text(config.read_text().replace('"max_position_embeddings": ', '"max_position_embeddings": 1'))
    replaced.rename(config)
    assert checkpoints.find(str(folder)).geometry.max_length > first.geometry.max_length

    (weights,) = first.weight_files
    whole = weights.read_bytes()
    weights.unlink()
    with pytest.raises(UserError, match="no safetensors weights"):
        checkpoints.find(str(folder))
    weights.write_bytes(whole[:100])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        checkpoints.find(str(folder))
    weights.write_bytes(whole)
    assert checkpoints.find(str(folder)) is not None


def test_hostile_configs_and_headers_are_one_sentence(tmp_path):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert "not readable JSON" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(config)
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "x"]}}'
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "header cannot be read" in refusal(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    assert "not a readable weight index" in refusal(tmp_path)


def test_weights_the_config_does_not_name_are_refused(tmp_path):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    edit_config(tmp_path, num_hidden_layers=1)
    assert "hold 'model.layers.1.input_layernorm.weight', for which its config has no place" in refusal(tmp_path)


def test_other_safetensors_in_the_folder_are_not_weights(tmp_path):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    found = checkpoints.open_folder(tmp_path)
    before = checkpoints.weight_bytes(found, 4), checkpoints.fingerprint(found)
    shutil.copy(tmp_path / "model.safetensors", tmp_path / "consolidated.safetensors")
    assert (checkpoints.weight_bytes(found, 4), checkpoints.fingerprint(found)) == before


def test_another_tokenizer_is_another_model(tmp_path):
    found = checkpoints.open_folder(save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig))
    before = checkpoints.fingerprint(found)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("w63", "other"))
    assert checkpoints.fingerprint(found) != before


def test_large_files_are_fingerprinted_by_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_SAMPLED_ABOVE", 100)
    path = tmp_path / "weights"
    path.write_bytes(bytes(3 * 2**20))
    first = checkpoints._file_digest(path, path.stat().st_size, 1)
    content = bytearray(path.read_bytes())
    content[2**20 + 5] = 1
    path.write_bytes(content)
    assert checkpoints._file_digest.__wrapped__(path, path.stat().st_size, 1) != first


def test_attention_that_is_not_plain_softmax_is_refused(tmp_path):
    from transformers import GptOssConfig, GptOssForCausalLM

    torch.manual_seed(0)
    config = GptOssConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
    )
    GptOssForCausalLM(config).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    message = refusal(tmp_path)
    assert "softmax attention" in message or "not plain" in message


def test_pickled_weights_are_refused(tmp_path):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    assert "pickled" in refusal(tmp_path)


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    edit_config(tmp_path, num_hidden_layers=3)
    assert "says 3 layers and its weight files hold 2" in refusal(tmp_path)
    edit_config(tmp_path, num_hidden_layers=2, intermediate_size=64)
    assert "do not fit its config" in refusal(tmp_path)
    edit_config(tmp_path, intermediate_size=48)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert "without 'model.layers.1.mlp.up_proj.weight'" in refusal(tmp_path)


def test_a_bidirectional_model_without_mask_token_is_refused(tmp_path):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig, tokenizer=False)
    edit_config(tmp_path, is_causal=False)
    assert "mask token" in refusal(tmp_path)
    edit_config(tmp_path, is_causal=False, mask_token_id=64)
    assert "outside the vocabulary" in refusal(tmp_path)


@pytest.mark.parametrize("model_type", ["llada", "mmada"])
def test_a_llada_that_is_not_llama_shaped_is_refused_with_the_reason(tmp_path, model_type):
    weights = Path(entry("bundled").source) / "model.safetensors"
    shutil.copy(weights, tmp_path / "model.safetensors")
    config = {"model_type": model_type, "d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 256}
    (tmp_path / "config.json").write_text(json.dumps({**config, "max_sequence_length": 64, "block_type": "sequential"}))
    assert "block_type = 'sequential'" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "max_sequence_length": 64, "embedding_size": 128}))
    assert "embedding_size = 128" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": 256}))
    assert "n_layers" in refusal(tmp_path) or "n_heads" in refusal(tmp_path)


def test_too_little_memory_is_said_before_loading_with_both_figures(tmp_path, monkeypatch):
    save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig)
    monkeypatch.setattr(loaded, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(loading, "_network", lambda *_: pytest.fail("weights were read"))
    message = refusal(tmp_path)
    assert "Not enough memory" in message
    assert message.count(" kB") == 2


def test_half_precision_is_proposed_where_it_would_fit(tmp_path, monkeypatch):
    found = checkpoints.open_folder(save_tiny(tmp_path, LlamaForCausalLM, LlamaConfig))
    monkeypatch.setattr(loaded, "free_bytes", lambda device: int(checkpoints.weight_bytes(found, 4) * 0.8))
    assert "bfloat16" in refusal(tmp_path)


def test_a_device_this_machine_lacks_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match="no cuda device"):
        load(ModelSpec(device="cuda"))


def test_without_network_a_hub_id_is_refused_in_one_sentence(monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise ConnectionError("name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    assert "cannot be reached" in refusal("someone/some-model-that-is-not-here")


def test_an_unknown_hub_id_is_told_from_a_missing_network(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    def missing(*_, **__):
        # Made without its constructor, whose arguments are responses of whichever HTTP library the hub's client uses.
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", missing)
    assert "no public model" in refusal("someone/some-model-that-is-not-here")


def test_identify_needs_a_model_type():
    with pytest.raises(UserError, match="model_type"):
        identify({})


def test_no_model_runs_compiled_code_of_the_hub(monkeypatch) -> None:
    """From transformers 5.25 on that is the default, where the package `kernels` is there."""
    asked = []
    read = loading.AutoModelForCausalLM.from_pretrained

    def noting(*args, **options):
        asked.append(options)
        return read(*args, **options)

    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", noting)
    assert not load(cpu("bundled")).network.use_kernels
    assert [options["use_kernels"] for options in asked] == [False]
