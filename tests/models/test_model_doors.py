"""Broken, hostile and overgrown checkpoints: one sentence each, said before memory or minutes are spent."""

import json
import shutil
import struct
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from analysis import jobs
from analysis.attention import MassObserver
from analysis.calibration.activations import feature_scores
from analysis.calibration.runners import Resident
from analysis.errors import UserError
from analysis.evaluation.likelihood import Request, log_likelihoods
from analysis.jobs import recordings
from analysis.models import checkpoint as checkpoints
from analysis.models import load as loading
from analysis.models.blocks import private_block, skeleton
from analysis.models.checks import is_finite
from analysis.models.files import stored_tensors
from analysis.models.load import load, random_like
from analysis.models.tokenizer import chat_text, encode_prompt, load_tokenizer
from analysis.models.weight_files import HEADER_LIMIT, Entry, count_blocks, header
from analysis.pruning.saving import copy_companions
from analysis.recording.denoising import denoise
from analysis.specs import (
    AblateSetSpec,
    AutoregressiveSampling,
    CalibrationParams,
    DiscountParams,
    EvaluateSpec,
    LLaDASampling,
    ModelSpec,
    PruneSpec,
    RecordSetSpec,
    RecordSpec,
)
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, edit_config, save_tiny, save_tokenizer

WEIGHTS = "model.safetensors"


def cpu(folder, **options) -> ModelSpec:
    return ModelSpec(source=str(folder), device="cpu", **options)


def refusal(action) -> str:
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert len(message) < 700
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_tiny(tmp_path / "model", LlamaForCausalLM, LlamaConfig)


@pytest.fixture
def diffusion(tmp_path) -> Path:
    target = save_tiny(tmp_path / "model", Qwen3ForCausalLM, Qwen3Config)
    edit_config(target, is_causal=False, mask_token_id=1)
    return target


def change(folder: Path, name: str, edit) -> None:
    """Rewrites one tensor of a checkpoint."""
    weights = load_file(folder / WEIGHTS)
    weights[name] = edit(weights[name])
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def poke(value: float, place=(3, 2)):
    def edit(weight: torch.Tensor) -> torch.Tensor:
        weight[place] = value
        return weight

    return edit


# --- numbers that are none --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_weight_that_is_not_finite_is_found_at_load_and_named(folder, value, dtype):
    name = "model.layers.1.mlp.up_proj.weight"
    change(folder, name, poke(value))
    message = refusal(lambda: load(cpu(folder, dtype=dtype)))
    assert name in message
    assert "not finite" in message


def test_streaming_finds_it_too_in_the_block_and_outside(folder):
    change(folder, "model.layers.1.mlp.up_proj.weight", poke(float("nan")))
    model = skeleton(cpu(folder))
    stored = stored_tensors(model)
    private_block(model, 0, stored)
    assert "layers.1.mlp.up_proj" in refusal(lambda: private_block(model, 1, stored))
    change(folder, "model.embed_tokens.weight", poke(float("inf")))
    assert "embed_tokens" in refusal(lambda: skeleton(cpu(folder)))


def test_large_finite_weights_are_finite():
    assert is_finite(torch.full((1000,), 3e38))  # their sum overflows
    assert is_finite(torch.full((1000,), 3e38, dtype=torch.bfloat16))
    assert not is_finite(torch.tensor([1.0, float("nan"), 2.0]))
    assert not is_finite(torch.tensor([float("inf"), -float("inf")]))


def broken_head(model):
    """The model with one NaN in its head, as if memory had failed after loading."""
    head = model.network.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    with torch.no_grad():
        head.weight[7, 0] = float("nan")
    return model


def test_predictions_that_are_not_finite_are_no_text_and_no_likelihood(folder, diffusion):
    prompt = torch.arange(10, 18)[None]
    model = broken_head(load(cpu(diffusion)))
    assert "not finite" in refusal(lambda: list(denoise(model, prompt, LLaDASampling(gen_length=4, steps=4), 0)))
    assert "not finite" in refusal(lambda: log_likelihoods(model, [Request((5, 6), (7, 8))]))
    edit_config(diffusion, is_causal=None, mask_token_id=None)
    causal = broken_head(load(cpu(diffusion)))
    assert "not finite" in refusal(lambda: list(denoise(causal, prompt, AutoregressiveSampling(gen_length=2), 0)))
    assert "not finite" in refusal(lambda: log_likelihoods(causal, [Request((5, 6), (7, 8))]))


def test_a_token_the_model_rules_out_has_no_finite_likelihood(diffusion):
    model = load(cpu(diffusion))
    forward = model.network.forward

    def without_token_7(**options):
        output = forward(**options)
        output.logits[..., 7] = -float("inf")
        return output

    model.network.forward = without_token_7
    assert log_likelihoods(model, [Request((5, 6), (8, 9))])[0].value < 0
    assert "likelihood" in refusal(lambda: log_likelihoods(model, [Request((5, 6), (7, 8))]))


def test_attention_that_is_not_finite_is_no_recording_and_no_statistics(diffusion, monkeypatch, tmp_path):
    model = load(cpu(diffusion))
    with torch.no_grad():
        model.network.model.layers[1].self_attn.v_proj.weight.fill_(1e25)  # its norm overflows, the logits do not
    observer = MassObserver()
    assert model.predict(torch.arange(4)[None], observer).isfinite().all()
    assert "layer 1" in refusal(observer.take)
    model = load(cpu(diffusion))
    with torch.no_grad():
        model.network.model.layers[1].self_attn.q_norm.weight.fill_(float("nan"))  # fused attention gives zeros for it
    model.predict(torch.arange(4)[None], observer)
    assert "layer 1" in refusal(observer.take)
    monkeypatch.setattr(recordings, "resident_model", lambda *_: model)
    spec = RecordSpec(
        model=cpu(diffusion), prompt="w7 w8", chat_template="off", sampling=LLaDASampling(gen_length=4, steps=4)
    )
    assert "not finite" in refusal(lambda: recordings.record(spec, QuietContext(tmp_path)))
    assert list(tmp_path.glob("*.safetensors")) == []
    tokens = torch.arange(8).reshape(1, 1, 8).numpy()
    assert "not finite" in refusal(lambda: feature_scores(Resident(model), tokens, DiscountParams(), 2**30))


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_parameters": {"rope_type": "default", "rope_theta": 0}},
        {"rms_norm_eps": -1e-6},
        {"eos_token_id": "3"},
        {"pad_token_id": [0, None]},
    ],
)
def test_numbers_of_a_config_that_cannot_be_meant_are_refused_before_the_weights(folder, changes):
    (folder / WEIGHTS).unlink()
    edit_config(folder, **changes)
    assert next(iter(changes)) in refusal(lambda: load(cpu(folder)))


@pytest.mark.parametrize("token", ["<|mask|>", 1.5, True, [1], {"id": 1}])
def test_a_mask_token_that_is_no_token_is_refused(diffusion, token):
    edit_config(diffusion, mask_token_id=token)
    assert "mask_token_id" in refusal(lambda: load(cpu(diffusion)))


def test_quantized_weights_are_refused_not_cast(folder):
    whole = (folder / WEIGHTS).read_bytes()
    name = "model.layers.0.mlp.up_proj.weight"
    change(folder, name, lambda weight: (weight * 100).to(torch.int8))
    message = refusal(lambda: load(cpu(folder)))
    assert name in message
    assert "I8" in message
    (folder / WEIGHTS).write_bytes(whole)
    weights = load_file(folder / WEIGHTS)
    weights["model.layers.0.self_attn.rotary_emb.inv_freq_ids"] = torch.arange(4)  # no weight, so no refusal as one
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    checkpoints.open_folder(folder)
    edit_config(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    assert "bitsandbytes" in refusal(lambda: load(cpu(folder)))


# --- a config that says another model than its class computes ---------------------------------------------------


@pytest.mark.parametrize("name", ["llada-gqa", "dream-gqa", "lladamoe", "a2d-qwen3", "llada2"])
@pytest.mark.parametrize(
    "changes",
    [
        {"is_causal": True},
        {"is_causal": "y"},
        {"is_causal": float("nan")},
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
        {"layer_types": ["sliding_attention"] * 3, "sliding_window": 4},
    ],
)
def test_causality_and_windows_that_the_class_does_not_have_are_refused_by_their_field(tmp_path, name, changes):
    folder = shutil.copytree(GOLDEN / name, tmp_path / "mdlm")
    edit_config(folder, **changes)
    if name == "llada-gqa" and "is_causal" not in changes:
        assert load(cpu(folder)).windows == (), "its own class reads no such field"
        return
    message = refusal(lambda: load(cpu(folder)))
    assert any(f"'{field}'" in message for field in changes), message


@pytest.mark.parametrize(
    ("name", "field"),
    [("llada-gqa", "weight_tying"), ("dream-gqa", "tie_word_embeddings"), ("lladamoe", "tie_word_embeddings")],
)
def test_one_tensor_by_the_config_and_two_in_the_files_is_refused_by_its_field(tmp_path, name, field):
    folder = shutil.copytree(GOLDEN / name, tmp_path / "tied")
    edit_config(folder, **{field: True})
    message = refusal(lambda: load(cpu(folder)))
    assert f"'{field}' = true" in message
    embedding, head = (
        ("model.transformer.wte.weight", "model.transformer.ff_out.weight")
        if name == "llada-gqa"
        else ("model.embed_tokens.weight", "lm_head.weight")
    )
    assert f"'{embedding}' and '{head}' differ" in message
    weights = load_file(folder / WEIGHTS)
    weights[head] = weights[embedding].clone()
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    load(cpu(folder))  # written twice, and the same


@pytest.mark.parametrize(
    ("name", "field", "value", "expected"),
    [
        ("llada-gqa", "weight_tying", "y", "true or false"),
        ("llada-gqa", "rms_norm_eps", "small", "a number from 0 to 1"),
        ("llada-gqa", "attention_dropout", float("nan"), "a number"),
        ("llada2", "norm_topk_prob", 1, "true or false"),
        ("llada2", "routed_scaling_factor", float("inf"), "a number"),
        ("lladamoe", "moe_layer_freq", "all", "a whole number or a list"),
        ("dream-gqa", "hidden_act", 3, "text"),
        ("dream-gqa", "tie_word_embeddings", 0, "true or false"),
    ],
)
def test_a_field_of_another_type_than_its_class_reads_is_refused_by_its_name(tmp_path, name, field, value, expected):
    folder = shutil.copytree(GOLDEN / name, tmp_path / "odd", ignore=shutil.ignore_patterns("model.safetensors.*"))
    edit_config(folder, **{field: value})
    message = refusal(lambda: load(cpu(folder)))
    assert f"'{field}' of the config is" in message
    assert f"{expected} was expected" in message


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        (
            "lladamoe",
            {"num_experts_per_tok": 9},
            "'num_experts_per_tok' of the config is 9; it must be at most 'num_experts', which is 8",
        ),
        (
            "dream-gqa",
            {"num_key_value_heads": 3},
            "'num_key_value_heads' of the config is 3; it must divide 'num_attention_heads', which is 4",
        ),
        ("dream-gqa", {"intermediate_size": 64}, "by the config ('intermediate_size' = 64)"),
        (
            "llada-gqa",
            {"vocab_size": 300, "embedding_size": 300},
            "ff_out.weight' is 256 × 64 in its file, and 300 × 64 by the config ('vocab_size' = 300)",
        ),
        ("llada-gqa", {"n_kv_heads": 4}, "('n_kv_heads' = 4)"),
        ("lladamoe", {"expert_intermediate_size": 16}, "('expert_intermediate_size' = 16)"),
        ("llada2", {"num_key_value_heads": 4}, "query_key_value.weight' is"),
        ("dream-gqa", {"hidden_act": "nothing"}, "'hidden_act' of the config is 'nothing'"),
    ],
)
def test_sizes_that_do_not_go_together_name_field_tensor_and_both_values(tmp_path, name, changes, said):
    folder = shutil.copytree(GOLDEN / name, tmp_path / "odd")
    edit_config(folder, **changes)
    assert said in refusal(lambda: load(cpu(folder)))


def test_a_tokenizer_larger_than_the_vocabulary_is_refused_with_both_sizes_before_weights(folder, monkeypatch):
    save_tokenizer(folder, size=70)
    monkeypatch.setattr(loading, "_network", lambda *_: pytest.fail("weights were read"))
    for action in (lambda: load(cpu(folder)), lambda: skeleton(cpu(folder)), lambda: loading.require_opens(folder)):
        message = refusal(action)
        assert "has 70 entries and the model's vocabulary 64 ('vocab_size')" in message


def test_what_a_job_needs_of_the_model_is_asked_for_before_weights_are_read(diffusion, monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "_network", lambda *_: pytest.fail("weights were read"))
    small = {"model": cpu(diffusion), "sampling": LLaDASampling(gen_length=4, steps=4)}
    long = RecordSpec(prompt="w7 " * 70, **small)
    assert "this model takes 64" in refusal(lambda: jobs.record(long, QuietContext(tmp_path)))
    (diffusion / "tokenizer.json").unlink()
    text = tmp_path / "text.txt"
    text.write_text("w7")
    calibration = CalibrationParams(data=str(text), samples=1, seq_len=8)
    asked = {
        "record": RecordSpec(prompt="w7 w8", **small),
        "record_set": RecordSetSpec(prompts="own", own_prompts=("w7", "w8"), **small),
        "ablate_set": AblateSetSpec(prompts=("w7", "w8"), **small),
        "prune": PruneSpec(model=cpu(diffusion), calibration=calibration, out=str(tmp_path / "out")),
        "evaluate": EvaluateSpec(model=cpu(diffusion), tasks=("bundled_agreement",), limit=1),
    }
    for name, spec in asked.items():
        assert "no tokenizer" in refusal(
            lambda name=name, spec=spec: getattr(jobs, name)(spec, QuietContext(tmp_path))
        ), name


# --- config and files that do not belong together ---------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 1_000_000},
        {"vocab_size": 10**9},
        {"intermediate_size": 10**9},
        {"hidden_size": 2**40, "head_dim": 8},
        {"num_attention_heads": 10**8, "num_key_value_heads": 1, "head_dim": 8},
        {"num_hidden_layers": True},
        {"vocab_size": 64.0},
        {"num_key_value_heads": -1},
    ],
)
def test_a_config_larger_than_its_files_is_refused_at_once(folder, changes):
    edit_config(folder, **changes)
    began = time.monotonic()
    refusal(lambda: load(cpu(folder)))
    assert time.monotonic() - began < 60  # a million layers took eight minutes


@pytest.mark.parametrize("name", ["llada-gqa", "dream-gqa"])
def test_two_numbers_of_layers_in_one_config_are_refused(tmp_path, name):
    for file in ("config.json", WEIGHTS):
        (tmp_path / file).write_bytes((GOLDEN / name / file).read_bytes())
    edit_config(tmp_path, num_hidden_layers=1_000_000, **({"n_layers": 3} if name == "llada-gqa" else {}))
    began = time.monotonic()
    assert "layers" in refusal(lambda: load(cpu(tmp_path)))
    assert time.monotonic() - began < 60


def test_a_class_name_the_model_type_does_not_run_as_is_refused(folder):
    edit_config(folder, architectures=["MistralForCausalLM"])
    message = refusal(lambda: load(cpu(folder)))
    assert "MistralForCausalLM" in message
    assert "LlamaForCausalLM" in message


def test_a_converted_model_is_run_as_it_was_trained(tmp_path):
    from analysis.models import native_code
    from analysis.models.load import register

    register()
    save_tiny(tmp_path / "Qwen3-bd3lm-v0.1", native_code.A2DQwen3LMHeadModel, native_code.A2DQwen3Config)
    assert load(cpu(tmp_path / "Qwen3-bd3lm-v0.1")).architecture.attention == "block-causal"
    hub = tmp_path / "models--dllm-hub--Qwen3-bd3lm" / "snapshots" / "abc"
    save_tiny(hub, native_code.A2DQwen3LMHeadModel, native_code.A2DQwen3Config)
    assert load(cpu(hub)).architecture.attention == "block-causal"
    save_tiny(tmp_path / "Qwen3-mdlm", native_code.A2DQwen3LMHeadModel, native_code.A2DQwen3Config)
    assert load(cpu(tmp_path / "Qwen3-mdlm")).architecture.paradigm == "mdlm"
    save_tiny(tmp_path / "plain", native_code.A2DQwen3LMHeadModel, native_code.A2DQwen3Config)
    assert "--paradigm" in refusal(lambda: load(cpu(tmp_path / "plain")))
    asked = load(ModelSpec(source=str(tmp_path / "plain"), device="cpu", paradigm="mdlm"))
    assert "MDLM" in asked.architecture.name
    (tmp_path / "copy").mkdir()
    copy_companions(asked.checkpoint, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").symlink_to(tmp_path / "plain" / "model.safetensors")
    assert load(cpu(tmp_path / "copy")).architecture == asked.architecture


@pytest.mark.parametrize(
    ("names", "blocks"),
    [
        (["model.layers.0.mlp.experts.7.weight", "model.layers.1.x", "model.layers.1.y"], 2),
        (["model.transformer.blocks.0.q", "model.transformer.blocks.2.q"], 2),
        (["h.0.attn", "h.1.attn", "wte.weight"], 2),
        (["wte.weight"], 0),
        ([], 0),
        ([f"a.{10**40}.x"], 0),
    ],
)
def test_blocks_are_counted_by_their_names(names, blocks):
    assert count_blocks(names) == blocks


# --- files ------------------------------------------------------------------------------------------------------


def with_header(path: Path, text: bytes, size: int | None = None) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if size is not None:
            file.truncate(size)


def test_a_header_of_gigabytes_is_not_read(folder):
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", 3 * 2**30))
        file.truncate(3 * 2**30 + 100)  # sparse: takes no disk
    began = time.monotonic()
    message = refusal(lambda: checkpoints.find(str(folder)))
    assert f"{HEADER_LIMIT / 1e6:.0f} MB" in message
    assert time.monotonic() - began < 10


ENTRY = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "entry",
    [
        {**ENTRY, "dtype": "F33"},
        {**ENTRY, "dtype": None},
        {**ENTRY, "dtype": ["F32"]},
        {**ENTRY, "shape": [2, -2]},
        {**ENTRY, "shape": [2, 3]},
        {**ENTRY, "shape": "22"},
        {**ENTRY, "shape": [2.0, 2.0]},
        {**ENTRY, "shape": None},
        {**ENTRY, "data_offsets": [16, 0]},
        {**ENTRY, "data_offsets": [-16, 0]},
        {**ENTRY, "data_offsets": [0]},
        {**ENTRY, "shape": [10**400] * 16},
        {**ENTRY, "shape": [1] * 100},
        {},
        [],
        None,
        5,
        "x",
    ],
)
def test_entries_that_are_no_tensors_are_refused(tmp_path, entry):
    path = tmp_path / WEIGHTS
    whole = json.dumps({"a": ENTRY, "__metadata__": {"b": "c"}}).encode()
    with_header(path, whole, 8 + len(whole) + 16)
    assert header(path) == ({"a": Entry("F32", (2, 2), 8 + len(whole))}, {"b": "c"})
    for size in (8 + len(whole) + 15, 8 + len(whole) + 17):
        with_header(path, whole, size)
        assert "truncated, or holds more than its header says" in refusal(lambda: header(path))
    text = json.dumps({"a" * 500: entry}).encode()
    with_header(path, text, 8 + len(text) + 16)
    assert "header cannot be read" in refusal(lambda: header(path))


def test_entries_begin_where_the_bytes_of_their_tensors_lie(tmp_path):
    numbers = torch.arange(60, dtype=torch.float32)
    kinds = {"z": torch.bfloat16, "a": torch.float32, "m": torch.uint8, "b": torch.float16, "scalar": torch.float64}
    tensors = {name: numbers.to(kind).reshape(3, 20) for name, kind in kinds.items() if name != "scalar"}
    tensors["scalar"] = torch.tensor(2.5, dtype=kinds["scalar"])
    save_file(tensors, tmp_path / WEIGHTS, {"format": "pt"})
    entries, metadata = header(tmp_path / WEIGHTS)
    content = (tmp_path / WEIGHTS).read_bytes()
    assert metadata == {"format": "pt"} and set(entries) == set(tensors)
    for name, entry in entries.items():
        assert entry.shape == tuple(tensors[name].shape)
        raw = bytearray(content[entry.start : entry.start + entry.bytes])
        assert torch.equal(torch.frombuffer(raw, dtype=kinds[name]).reshape(entry.shape), tensors[name])


@pytest.mark.parametrize("text", [b"[" * 100_000, b"[]", b"7", b'{"__metadata__": 3}', b"\xff\xfe", b'{"a": NaN}', b""])
def test_headers_that_are_no_headers_are_refused(tmp_path, text):
    with_header(tmp_path / WEIGHTS, text, 200_000)
    assert "header cannot be read" in refusal(lambda: header(tmp_path / WEIGHTS))


def test_deep_and_overgrown_json_is_refused_wherever_a_checkpoint_holds_any(folder):
    deep = "[" * 100_000
    for name in ("tokenizer_config.json", "model.safetensors.index.json", "config.json"):
        kept = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).write_text(deep)
        assert name in refusal(lambda: load(cpu(folder)))
        (folder / name).write_text("{" + " " * 20_000_000 + "}")
        assert "MB" in refusal(lambda: load(cpu(folder)))
        (folder / name).unlink() if kept is None else (folder / name).write_bytes(kept)
    load(cpu(folder))


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_may_not_be_read_is_one_sentence(folder, monkeypatch, name):
    real = Path.open

    def refusing(self, *arguments, **options):
        if self.name == name:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refusing)
    message = refusal(lambda: load(cpu(folder)))
    assert name in message
    assert "Permission denied" in message


@pytest.mark.parametrize("name", ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"])
def test_a_folder_in_the_place_of_a_file_is_no_traceback(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    try:
        load(cpu(folder))
    except UserError as error:
        assert "\n" not in str(error)


def test_names_with_half_characters_are_one_printable_sentence(folder):
    edit_config(folder, model_type="\ud800", architectures=["\ud800ForCausalLM"])
    refusal(lambda: load(cpu(folder))).encode()
    edit_config(folder, model_type="llama", architectures=["LlamaForCausalLM"], block_size="\udfff")
    refusal(lambda: load(cpu(folder))).encode()
    refusal(lambda: checkpoints.find("\ud800/x")).encode()
    refusal(lambda: checkpoints.find("owner/\udfff")).encode()


# --- text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ raise_exception('no') }}",
        "{{ 1 / 0 }}",
        "{% for x in %}",
        "{{ missing.part }}",
        "{% for i in range(10000000) %}x{% endfor %}",
        "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ 10 ** (10 ** 9) }}",
        "{{ messages[7]['content'] }}",
        "{{ messages | nothing }}",
    ],
)
def test_a_chat_template_that_fails_is_one_sentence(folder, template):
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = template
    assert "chat template" in refusal(lambda: encode_prompt(tokenizer, "w7", True))
    assert "chat template" in refusal(lambda: chat_text(tokenizer, [{"role": "user", "content": "w7"}]))
    assert encode_prompt(tokenizer, "w7 w8", False) == [7, 8]


def test_a_system_turn_is_dropped_where_the_template_has_none(folder):
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = (
        "{% for turn in messages %}{% if turn['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}"
        "{{ turn['content'] }}{% endfor %}"
    )
    turns = [{"role": "system", "content": "w5"}, {"role": "user", "content": "w7"}]
    assert chat_text(tokenizer, turns) == "w7"


def test_half_a_character_in_a_prompt_is_named(folder):
    tokenizer = load_tokenizer(folder)
    assert "U+D83D" in refusal(lambda: encode_prompt(tokenizer, "w7 \ud83d", False))
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    assert "U+D83D" in refusal(lambda: encode_prompt(tokenizer, "w7 \ud83d", True))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"model": {"type": "WordLevel"}}', '{"version": "1.0"}', '{"model": null}', "\x00" * 100]
)
def test_a_broken_tokenizer_is_one_sentence(folder, text):
    (folder / "tokenizer.json").write_text(text)
    message = refusal(lambda: load(cpu(folder)))
    assert "tokenizer" in message


@pytest.mark.parametrize("text", ["[]", "7", '"x"', '{"tokenizer_class": 5}', "{"])
def test_a_broken_tokenizer_config_is_one_sentence(folder, text):
    (folder / "tokenizer_config.json").write_text(text)
    try:
        load(cpu(folder))
    except UserError as error:
        assert "\n" not in str(error)


# --- LLaDA with more rows than tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [False, True])
def test_an_embedding_larger_than_the_vocabulary_loads_and_is_saved_back(tmp_path, tied):
    weights = load_file(GOLDEN / "llada-gqa" / WEIGHTS)
    embedding, head = "model.transformer.wte.weight", "model.transformer.ff_out.weight"
    torch.manual_seed(0)
    more = 0.02 * torch.randn(16, weights[embedding].shape[1])
    weights[embedding] = torch.cat([weights[embedding], more])
    weights[head] = torch.cat([weights[head], more])
    if tied:
        del weights[head]
    folder = tmp_path / "larger"
    folder.mkdir()
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    (folder / "config.json").write_text((GOLDEN / "llada-gqa" / "config.json").read_text())
    edit_config(folder, embedding_size=272, weight_tying=tied, pad_token_id=270, mask_token_id=256)

    model = load(cpu(folder))
    ids = torch.tensor([[1, 256, 3, 255, 271]])
    logits = model.predict(ids)
    assert logits.shape == (1, 5, 272)
    assert (model.geometry.vocabulary, model.mask_token) == (272, 256)
    if not tied:  # the tokens of the vocabulary fare as they did without the rows
        known = torch.tensor([[1, 2, 255]])
        assert torch.equal(model.predict(known)[..., :256], load(cpu(GOLDEN / "llada-gqa")).predict(known))

    model.network.save_pretrained(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / WEIGHTS)
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[name], weights[name]) for name in weights)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert [config[name] for name in ("vocab_size", "embedding_size", "pad_token_id")] == [256, 272, 270]
    assert torch.equal(load(cpu(tmp_path / "saved")).predict(ids), logits)
    assert random_like(model, 0).predict(ids).shape == logits.shape
    assert skeleton(cpu(folder)).network.get_input_embeddings().weight.shape[0] == 272
