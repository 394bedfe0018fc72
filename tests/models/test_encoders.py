"""Masked language models as denoisers, against transformers' own classes and the dLLM project's sampler."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM
from transformers.models.bert import modeling_bert
from transformers.models.distilbert import modeling_distilbert
from transformers.models.modernbert import modeling_modernbert
from transformers.models.roberta import modeling_roberta

from analysis import jobs
from analysis.attention import MassObserver
from analysis.errors import UserError
from analysis.evaluation.likelihood import Request, log_likelihoods
from analysis.models.architectures import identify
from analysis.models.families import ARCHITECTURES
from analysis.models.load import load, random_like
from analysis.pruned.masks_file import open_masks
from analysis.recording.denoising import denoise
from analysis.recording.trajectory_file import open_trajectory
from analysis.recording.weight_nulls import logit_spread, matched_like
from analysis.specs import CalibrationParams, DLLMSampling, ModelSpec, PruneSpec, RecordSpec
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, edit_config, save_tokenizer, there

NAMES = ("modernbert-mdlm", "bert-mlm", "roberta-mlm")
SIZES: dict[str, Any] = {"vocab_size": 61, "pad_token_id": 0, "max_position_embeddings": 40}
BERT_SHAPE: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
}
# Other shapes than the golden ones: heads of 8, odd widths, biases, windows of 2, a head of its own.
MADE: dict[str, tuple[Any, Any]] = {
    "bert": (modeling_bert.BertForMaskedLM, modeling_bert.BertConfig(**SIZES, **BERT_SHAPE, hidden_act="relu")),
    "bert untied": (
        modeling_bert.BertForMaskedLM,
        modeling_bert.BertConfig(**SIZES, **BERT_SHAPE, tie_word_embeddings=False),
    ),
    "roberta": (
        modeling_roberta.RobertaForMaskedLM,
        modeling_roberta.RobertaConfig(**{**SIZES, "pad_token_id": 1}, **BERT_SHAPE, bos_token_id=0, eos_token_id=2),
    ),
    "distilbert": (
        modeling_distilbert.DistilBertForMaskedLM,
        modeling_distilbert.DistilBertConfig(**SIZES, dim=24, hidden_dim=36, n_layers=3, n_heads=2),
    ),
    "modernbert": (
        modeling_modernbert.ModernBertForMaskedLM,
        modeling_modernbert.ModernBertConfig(
            **{**SIZES, "pad_token_id": 3},
            **{**BERT_SHAPE, "num_hidden_layers": 5},
            local_attention=4,
            global_attn_every_n_layers=2,
            attention_bias=True,
            mlp_bias=True,
            norm_bias=True,
            bos_token_id=1,
            eos_token_id=2,
            cls_token_id=1,
            sep_token_id=2,
        ),
    ),
}


def opened(folder, **options):
    return load(ModelSpec(source=str(folder), device="cpu", **options))


@pytest.fixture(scope="module", params=NAMES)
def named(request):
    return request.param, opened(GOLDEN / request.param)


def test_logits_and_attention_mass_equal_transformers(named):
    name, model = named
    expected, observer = load_file(GOLDEN / name / "golden.safetensors"), MassObserver()
    logits = model.predict(expected["ids"], observer)
    assert (logits - expected["logits"]).abs().max() < 5e-5
    assert (observer.take().mass - expected["attention_mass"]).abs().max() < 1e-4
    with safe_open(GOLDEN / name / "golden.safetensors", "pt") as file:
        assert model.mask_token == int(file.metadata()["mask_id"])
    assert model.architecture.bidirectional
    assert ("near it" in model.architecture.attends) == bool(model.windows)
    assert (model.architecture.caveat == "") == (name == "modernbert-mdlm")


@pytest.mark.parametrize("kind", MADE)
def test_other_shapes_equal_transformers_as_well(kind, tmp_path):
    network, config = MADE[kind]
    torch.manual_seed(3)
    theirs = network(config).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.mul_(3).add_(0.02 * torch.randn_like(weight))
    theirs.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, size=61)
    model, ids = opened(tmp_path), torch.randint(4, 61, (3, 30), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    observer = MassObserver()
    assert (model.predict(ids, observer) - expected).abs().max() < 5e-5
    mass = observer.take().mass
    assert (mass.sum(dim=-1) - 30).abs().max() < 1e-3
    assert model.geometry.max_length == (38 if kind == "roberta" else 40)
    if kind == "modernbert":
        assert model.windows == (0, 3, 0, 3, 0)
    assert set(model.projection_names) >= {"self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"}


def settings() -> dict[str, dict]:
    with safe_open(GOLDEN / "modernbert-mdlm" / "generate.safetensors", "pt") as file:
        return json.loads(file.metadata()["settings"])


@pytest.mark.parametrize("run", settings())
def test_every_step_of_the_dllm_sampler_equals_the_authors(run):
    asked, golden = settings()[run], load_file(GOLDEN / "modernbert-mdlm" / "generate.safetensors")
    model = opened(GOLDEN / "modernbert-mdlm")
    sampling = DLLMSampling(
        gen_length=asked["max_new_tokens"],
        steps=asked["steps"],
        block_length=asked["block_size"],
        cfg=asked.get("cfg_scale", 0.0),
    )
    steps = list(denoise(model, golden[f"{run}|prompt_ids"], sampling, seed=0))
    assert len(steps) == sampling.forwards() == asked["steps_taken"]
    for number, step in enumerate(steps):
        choice, commit = step.choice, golden[f"{run}|commit"][number].bool()
        assert torch.equal(choice.tokens[0], golden[f"{run}|canvas"][number]), number
        assert torch.equal(choice.chosen[0], commit), number
        assert list(choice.open_block) == golden[f"{run}|open_block"][number].tolist()
        assert torch.allclose(choice.confidence[0][commit], golden[f"{run}|confidence"][number][commit], atol=1e-4)
    assert torch.equal(steps[-1].choice.output, golden[f"{run}|output"])


def test_masks_in_the_prompt_are_filled_with_the_first_block():
    model = opened(GOLDEN / "bert-mlm")
    prompt = torch.tensor([[2, 10, model.mask_token, 12, 3], [2, 10, 11, 12, 3]])
    sampling = DLLMSampling(gen_length=5, steps=4, block_length=3)
    steps = list(denoise(model, prompt, sampling, seed=0))
    assert len(steps) <= sampling.forwards(1)
    assert (steps[-1].choice.output != model.mask_token).all()
    assert torch.equal(steps[-1].choice.output[:, [0, 1, 3, 4]], prompt[:, [0, 1, 3, 4]])
    alone = list(denoise(model, prompt[1:], sampling, seed=0))
    assert torch.equal(alone[-1].choice.output[0], steps[-1].choice.output[1])


def test_a_random_reference_of_the_same_shape_is_another_model(named):
    _, model = named
    drawn, ids = random_like(model, 1), torch.arange(20)[None]
    assert not torch.allclose(drawn.predict(ids), model.predict(ids))
    assert drawn.network.get_output_embeddings().weight is drawn.network.get_input_embeddings().weight


def test_random_weights_attend_as_sharply_as_the_model(named):
    _, model = named

    def show(network, observer):
        network.predict(torch.arange(5, 25)[None], observer)

    drawn = matched_like(model, 1, show)
    assert torch.allclose(logit_spread(drawn, show), logit_spread(model, show), rtol=0.02)
    assert not torch.allclose(logit_spread(random_like(model, 1), show), logit_spread(model, show), rtol=0.02)


def test_bfloat16_keeps_rotary_frequencies_exact():
    model, exact = (opened(GOLDEN / "modernbert-mdlm", dtype=dtype) for dtype in ("bfloat16", "float32"))
    frequencies = dict(model.network.named_buffers())
    assert frequencies
    assert {buffer.dtype for buffer in frequencies.values()} == {torch.float32}
    ids = torch.arange(40)[None]
    expected = exact.predict(ids)
    assert (model.predict(ids).float() - expected).std() < 0.1 * expected.std()


TEXT = "\n".join(json.dumps({"input_ids": list(range(start, start + 24))}) for start in (5, 40))
PARTS = {
    "modernbert-mdlm": {"attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"},
    "bert-mlm": {
        *(f"attention.self.{part}" for part in ("query", "key", "value")),
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    },
}
PARTS["roberta-mlm"] = PARTS["bert-mlm"]


@pytest.mark.parametrize(
    ("name", "method"), [("bert-mlm", "sparsegpt"), ("roberta-mlm", "sink-wanda"), ("modernbert-mdlm", "sparsegpt")]
)
def test_a_pruned_copy_keeps_the_published_names_and_opens_in_transformers(name, method, tmp_path):
    (tmp_path / "text.jsonl").write_text(TEXT)
    calibration = CalibrationParams(
        data=str(tmp_path / "text.jsonl"), samples=2, seq_len=24, diffusion_steps=4, step_interval=2
    )
    model, ids, copies = ModelSpec(source=str(GOLDEN / name), device="cpu"), torch.arange(30)[None], {}
    for streaming in ("auto", "always"):
        out = tmp_path / streaming
        asked = {"method": method, "calibration": calibration, "streaming": streaming, "out": str(out)}
        jobs.prune(PruneSpec(model=model, sparsity=0.5, **asked), QuietContext(tmp_path))
        copies[streaming] = load_file(out / "model.safetensors")
    before, after = load_file(GOLDEN / name / "model.safetensors"), copies["auto"]
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], copies["always"][key]) for key in after), "streamed, it is the same"
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert {re.split(r"\.\d+\.", key)[1].removesuffix(".weight") for key in changed} == PARTS[name]
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "auto").eval()
    assert type(theirs).__module__.startswith("transformers.")
    pruned = opened(tmp_path / "auto")
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert (pruned.predict(ids) - expected).abs().max() < 5e-5
    assert pruned.architecture.paradigm == opened(GOLDEN / name).architecture.paradigm
    masks = open_masks(str(tmp_path / "auto"))
    gated = ("gate_proj",) if name == "modernbert-mdlm" else ()
    assert masks.names == ("q_proj", "k_proj", "v_proj", "o_proj", *gated, "up_proj", "down_proj")
    for layer, part in masks.weights:
        matrix = next(value for key, value in pruned.projections(pruned.blocks[layer]).items() if key.endswith(part))
        assert np.array_equal(masks.pruned(layer, part), (matrix.weight == 0).numpy()), (layer, part)
    # A copy from elsewhere has no mask file: its zeros, in the fused matrices too, are its masks.
    stored = {key: masks.pruned(*key) for key in masks.weights}
    (tmp_path / "auto" / "masks.safetensors").unlink()
    zeros = open_masks(str(tmp_path / "auto"))
    assert zeros.weights.keys() == stored.keys()
    assert all(np.array_equal(zeros.pruned(*key), pruned) for key, pruned in stored.items())


@pytest.mark.parametrize(
    ("name", "paradigm", "diffusion"),
    [
        ("answerdotai/ModernBERT-base", "auto", False),
        ("dllm-hub/ModernBERT-base-chat-v0.1", "auto", True),
        ("my-modernbert-mdlm", "auto", True),
        ("mine", "mdlm", True),
    ],
)
def test_what_a_modernbert_was_trained_as_is_read_from_its_name_or_asked_for(name, paradigm, diffusion):
    config = json.loads((GOLDEN / "modernbert-mdlm" / "config.json").read_text())
    family = identify(config, name, paradigm)
    assert family == ARCHITECTURES["modernbert-mdlm" if diffusion else "modernbert"]
    assert identify({**config, "dlm_paradigm": "mdlm"}, "mine").caveat == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architectures": ["BertModel"]}, "BertForMaskedLM alone"),
        ({"is_decoder": True}, "'is_decoder' = True"),
        ({"position_embedding_type": "relative_key"}, "'position_embedding_type'"),
    ],
)
def test_what_a_bert_is_refused_for_is_said(changes, said):
    config = json.loads((GOLDEN / "bert-mlm" / "config.json").read_text())
    with pytest.raises(UserError, match=said):
        identify({**config, **changes})


SEQUENCE = (  # the human germline IGHV3-23 up to its third loop
    "EVQLLESGGGLVQPGGSLRLSCAASGFTFSSYAMSWVRQAPGKGLEWVSAISGSGGSTYYADSVKGRFTISRDNSKNTLYLQMNSLRAEDTAVYYCAK"
)


@pytest.fixture(scope="module")
def antiberty(tmp_path_factory):
    """AntiBERTy (26 million parameters, antibody sequences), where its package is installed with its weights."""
    package = importlib.util.find_spec("antiberty")
    trained = Path(package.origin or "").parent / "trained_models" if package else Path("nowhere")
    weights = trained / "AntiBERTy_md_smooth"
    if not weights.is_dir():
        pytest.skip("antiberty 0.1.3, which ships with its weights, is not installed")
    folder = tmp_path_factory.mktemp("antiberty")
    state = torch.load(weights / "pytorch_model.bin", map_location="cpu", weights_only=True)
    kept = {name: tensor for name, tensor in state.items() if not re.match(r"cls\.(species|chain|graft)", name)}
    save_file({name: tensor.clone().contiguous() for name, tensor in kept.items()}, folder / "model.safetensors")
    shutil.copy(weights / "config.json", folder)
    edit_config(folder, architectures=["BertForMaskedLM"])
    shutil.copy(trained / "vocab.txt", folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": false}')
    return folder


def test_a_real_masked_language_model_is_recorded_pruned_and_scored(antiberty, tmp_path):
    model, spec = opened(antiberty), ModelSpec(source=str(antiberty), device="cpu")
    theirs, observer = (
        AutoModelForMaskedLM.from_pretrained(antiberty, attn_implementation="eager").eval(),
        MassObserver(),
    )
    hidden = range(7, len(SEQUENCE), 8)
    prompt = " ".join("[MASK]" if at in hidden else letter for at, letter in enumerate(SEQUENCE))
    ids = torch.tensor([model.encode(prompt, "off")[0]])
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), output_attentions=True)
    assert (model.predict(ids, observer) - expected.logits).abs().max() < 5e-5
    mass = observer.take().mass
    assert (mass - torch.stack([layer.sum(dim=2) for layer in expected.attentions], dim=1)).abs().max() < 1e-4
    sampling = DLLMSampling(gen_length=1, steps=len(hidden))
    asked = RecordSpec(model=spec, prompt=prompt, sampling=sampling)
    recording = open_trajectory(there(jobs.record(asked, QuietContext(tmp_path)).file))
    written = [recording.info.tokens[int(token)] for token in recording.final[1 : len(SEQUENCE) + 1]]
    right = sum(written[at] == SEQUENCE[at] for at in hidden)
    assert right / len(hidden) > 0.75, "by chance 1 of 20"
    assert "one mask ratio" in model.architecture.caveat
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": " ".join(SEQUENCE)}) + "\n")
    calibration = CalibrationParams(data=str(text), samples=1, seq_len=64, diffusion_steps=2, step_interval=1)
    pruned = str(tmp_path / "pruned")
    jobs.prune(
        PruneSpec(model=spec, method="sink-wanda", sparsity=0.3, calibration=calibration, out=pruned),
        QuietContext(tmp_path),
    )
    order = torch.randperm(len(SEQUENCE), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = " ".join(SEQUENCE[at] for at in order)
    start, end = ids[0, 0].item(), ids[0, -1].item()
    for folder in (str(antiberty), pruned):
        scored = opened(folder)
        answers = [scored.encode(words, "off")[0][1:-1] for words in (" ".join(SEQUENCE), shuffled)]
        requests = [Request((start,), (*answer, end), "") for answer in answers]
        values = [result.value for result in log_likelihoods(scored, requests, draws=4, seed=0)]
        assert values[0] > values[1] + 50, "an antibody is likelier than its amino acids in another order"
