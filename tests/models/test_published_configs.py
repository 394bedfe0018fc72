"""What the configs of real checkpoints become: told by class name and fields, refused with a sentence where unknown.

`published_configs.jsonl` holds a config a line. origin: `seen` (in a public file), `from memory`, or `made up`.
"""

import json
from pathlib import Path

import pytest
import transformers

from analysis.errors import UserError
from analysis.models.architectures import FOREIGN, identify
from analysis.models.before_loading import SIZES
from analysis.models.checkpoint import check_config
from analysis.models.families import ARCHITECTURES, NATIVE_BIDIRECTIONAL
from analysis.models.registry import MODELS
from analysis.specs import SAMPLINGS

ROWS = [
    json.loads(line) for line in (Path(__file__).parent / "published_configs.jsonl").read_text("utf-8").splitlines()
]
CAUSAL = next(row["config"] for row in ROWS if row["checkpoint"] == "Qwen/Qwen3-0.6B")


def refusal(config, name="", paradigm="auto") -> str:
    with pytest.raises(UserError) as caught:
        identify(config, name, paradigm)
    message = str(caught.value)
    assert len(message) < 600
    assert "\n" not in message
    return message


@pytest.mark.parametrize("row", ROWS, ids=[row["checkpoint"].split("/")[-1] for row in ROWS])
def test_a_real_config_becomes_what_it_is(row):
    config, name, paradigm = row["config"], row["checkpoint"], row.get("paradigm", "auto")
    if "refused_with" in row:
        message = refusal(config, name, paradigm)
        assert [word for word in row["refused_with"] if word not in message] == []
        assert any(way in message for way in ("Supported: LLaDA", "--paradigm", "Correct its config.json"))
        return
    check_config(config)
    architecture = identify(config, name, paradigm)
    geometry = architecture.geometry(config)
    assert architecture.sampler in SAMPLINGS
    expected = row["becomes"]
    facts = {**vars(architecture), **vars(geometry)}
    assert {field: facts[field] for field in expected} == expected


@pytest.mark.parametrize(
    ("checkpoint", "field", "value"),
    [
        ("nvidia/Nemotron-Labs-Diffusion-8B", "causal_context", False),
        ("Efficient-Large-Model/Fast_dLLM_v2_7B", "use_block_cache", True),
        ("dllm-hub/Qwen3-0.6B-diffusion-bd3lm-v0.1", "right_shift_logits", "yes"),
    ],
)
def test_a_way_of_attending_that_is_not_offered_is_refused_with_its_field(checkpoint, field, value):
    config = next(row["config"] for row in ROWS if row["checkpoint"] == checkpoint)
    assert f"'{field}'" in refusal({**config, field: value}, checkpoint)
    identify({**config, field: not value if isinstance(value, bool) else False}, checkpoint)


@pytest.mark.parametrize("training", ["mdlm", "bd3lm"])
def test_a_converted_model_whose_config_says_so_has_shifted_logits(training):
    name = f"dllm-hub/Qwen3-0.6B-diffusion-{training}-v0.1"
    config = next(row["config"] for row in ROWS if row["checkpoint"] == name)
    plain, shifted = (identify({**config, "right_shift_logits": value}, name) for value in (False, True))
    assert (plain.shift, shifted.shift) == (0, 1)
    assert "shifted" in shifted.name


def test_every_model_offered_by_name_becomes_a_family_that_samples():
    configs = {row["checkpoint"]: row for row in ROWS if "becomes" in row and row["origin"] != "made up"}
    for name, model in MODELS.items():
        if name.startswith("bundled"):
            continue
        if not SIZES[model.source].counted:  # its config was not to be had, and its size is that of its name
            assert name in ("nemotron-diffusion-3b", "diffusiongemma-26b")
            continue
        row = configs[model.source]  # none other is offered whose config was not looked at
        architecture = identify(row["config"], model.source)
        assert architecture.noise == "mask", name
        assert (architecture.mixture, bool(architecture.caveat)) == (model.sparse, model.masked_lm), name
        if "bd3lm" in name or name.startswith(("sdar", "trado", "fast", "nemotron", "llada2")):
            assert architecture.by_blocks, name
        else:
            assert architecture.bidirectional, name


def test_the_table_is_large_and_knows_both_outcomes():
    assert len(ROWS) >= 40
    assert sum("becomes" in row for row in ROWS) >= 20
    assert sum("refused_with" in row for row in ROWS) >= 20


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mask_token_id", 7),
        ("mask_token", "<|mask|>"),
        ("block_size", 4),
        ("bd_size", 32),
        ("canvas_length", 256),
        ("dlm_paradigm", "bidirectional"),
        ("auto_map", {"AutoModel": "modeling_x.Y"}),
        ("diffusion_steps", 50),
    ],
)
def test_a_causal_class_with_a_field_no_reference_has_is_refused_with_class_and_field(field, value):
    assert identify(CAUSAL).sampler == "autoregressive"
    message = refusal({**CAUSAL, field: value})
    assert f"'{field}'" in message
    assert "Qwen3ForCausalLM" in message
    # Written out as absent, the field says nothing.
    assert identify({**CAUSAL, field: None}).sampler == "autoregressive"


@pytest.mark.parametrize("value", [{"block_size": 4}, {"bd_size": 8}, {"canvas_length": 16}, {"dlm_paradigm": "x"}])
@pytest.mark.parametrize("name", ["LLaDA-8B-Base", "Dream-v0-Base-7B", "Qwen3-0.6B-diffusion-mdlm-v0.1"])
def test_a_family_of_ours_that_was_trained_by_blocks_is_not_run_bidirectionally(name, value):
    config = next(row["config"] for row in ROWS if row["checkpoint"].endswith(name))
    assert identify(config, name).bidirectional
    assert f"'{next(iter(value))}'" in refusal({**config, **value}, name)


A2D = next(row["config"] for row in ROWS if row["checkpoint"] == "my-finetune")


@pytest.mark.parametrize(
    ("field", "name", "asked"),
    [
        ({}, "Qwen3-diffusion-mdlm", "auto"),
        ({}, "my-finetune", "mdlm"),
        ({"dlm_paradigm": "mdlm"}, "my-finetune", "auto"),
        ({"dlm_paradigm": "mdlm"}, "better-than-bd3lm", "auto"),
        ({"_name_or_path": "runs/mdlm-7"}, "my-finetune", "auto"),
    ],
)
def test_how_a_converted_model_was_trained_is_read_from_config_then_name_then_asked_for(field, name, asked):
    family = identify({**A2D, **field}, name, asked)
    assert (family.paradigm, family.attention, "MDLM" in family.name) == ("mdlm", "bidirectional", True)


@pytest.mark.parametrize(
    ("field", "name", "asked", "size"),
    [
        ({}, "Qwen3-diffusion-bd3lm", "auto", 32),
        ({}, "my-finetune", "bd3lm", 32),
        ({"dlm_paradigm": "bd3lm", "block_size": 16}, "my-finetune", "auto", 16),
        ({"bd_size": 8}, "my-finetune", "auto", 8),
    ],
)
def test_a_converted_model_trained_by_blocks_attends_by_them(field, name, asked, size):
    family = identify({**A2D, **field}, name, asked)
    assert (family.paradigm, family.attention, family.block_size) == ("bd3lm", "block-causal", size)
    assert "BD3LM" in family.name


def test_a_converted_model_of_which_nothing_says_the_training_is_asked_about_not_guessed():
    message = refusal(A2D, "my-finetune")
    assert "--paradigm mdlm" in message
    assert "block by block" in message


def test_what_is_asked_for_or_named_against_the_config_is_refused():
    assert "was trained as MDLM" in refusal({**A2D, "dlm_paradigm": "mdlm"}, "x", "bd3lm")
    assert "'block_size' = 32" in refusal({**A2D, "block_size": 32}, "Qwen3-diffusion-mdlm")
    assert "'dlm_paradigm' says MDLM" in refusal({**A2D, "block_size": 32, "dlm_paradigm": "mdlm"}, "x")


def test_families_of_one_training_ignore_what_is_asked_of_others():
    config = next(row["config"] for row in ROWS if row["checkpoint"] == "GSAI-ML/LLaDA-8B-Base")
    assert identify(config, "x", "bd3lm") == identify(config, "x")
    assert identify(CAUSAL, "x", "mdlm") == identify(CAUSAL, "x")


def test_every_row_says_how_it_is_run():
    for row in (*ARCHITECTURES.values(), *NATIVE_BIDIRECTIONAL.values()):
        assert row.model_type
        assert row.classes
        assert hasattr(transformers, row.native)
        assert (row.block_size is None) == (row.anchor is None) == (row.attention in ("bidirectional", "causal"))
    pairs = [(row.model_type, kind, row.paradigm or "") for row in ARCHITECTURES.values() for kind in row.classes]
    assert len(set(pairs)) == len(pairs)


def test_class_and_model_type_that_contradict_each_other_are_refused():
    config = next(row["config"] for row in ROWS if row["checkpoint"] == "GSAI-ML/LLaDA-8B-Base")
    assert "do not belong together" in refusal({**config, "model_type": "llama"})
    assert "do not belong together" in refusal({**config, "architectures": ["SomethingElse"]})
    assert identify({**config, "architectures": None}).name == "LLaDA"


@pytest.mark.parametrize("classes", ["LlamaForCausalLM", [7], {"a": 1}])
def test_class_names_that_are_no_list_of_names_are_refused(classes):
    assert "'architectures'" in refusal({**CAUSAL, "architectures": classes})


def test_no_supported_name_matches_a_foreign_row():
    import re

    own = {row.model_type for row in ARCHITECTURES.values()}
    supported = [row for row in ROWS if "becomes" in row and row["config"]["model_type"] not in own]
    names = {row["checkpoint"] for row in supported} | {
        one for row in supported for one in row["config"]["architectures"]
    }
    found = [(row.name, name) for row in FOREIGN for name in names if re.search(row.pattern, name, re.IGNORECASE)]
    assert found == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rope_theta": 0}, "rope_theta"),
        ({"rope_theta": -1.0}, "rope_theta"),
        ({"rope_theta": "x"}, "rope_theta"),
        ({"rope_theta": float("nan")}, "rope_theta"),
        ({"rope_theta": True}, "rope_theta"),
        ({"rope_parameters": {"rope_theta": 0.0}}, "rope_parameters.rope_theta"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 0}}}, "rope_parameters.rope_theta"),
        ({"rope_scaling": {"factor": float("inf")}}, "rope_scaling.factor"),
        ({"rms_norm_eps": -1e-6}, "rms_norm_eps"),
        ({"layer_norm_epsilon": float("inf")}, "layer_norm_epsilon"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
        ({"mask_token_id": "<|mask|>"}, "mask_token_id"),
        ({"mask_token_id": True}, "mask_token_id"),
        ({"eos_token_id": [1, "2"]}, "eos_token_id"),
        ({"pad_token_id": 1.5}, "pad_token_id"),
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused_by_name(changes, said):
    check_config(CAUSAL)
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        check_config({**CAUSAL, **changes})
