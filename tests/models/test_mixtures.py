"""Mixtures of experts, against what the authors' code computes on the same checkpoints (tests/golden)."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from analysis.attention import MassObserver
from analysis.errors import UserError
from analysis.models.checkpoint import open_folder
from analysis.models.experts import RoutingObserver, SDARMoeConfig, SDARMoeForCausalLM, expert_layers
from analysis.models.layout import Layout
from analysis.models.load import load
from analysis.specs import ModelSpec
from tests.conftest import GOLDEN
from tests.helpers import edit_config, save_tiny

SIZES = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "head_dim": 8,
    "use_sliding_window": False,
    "mask_token_id": 1,
}


def opened(folder, **options):
    return load(ModelSpec(source=str(folder), device="cpu", **options))


@pytest.fixture(scope="module")
def llada_moe():
    return opened(GOLDEN / "lladamoe")


def test_logits_and_attention_mass_of_llada_moe_equal_the_authors(llada_moe):
    expected, observer = load_file(GOLDEN / "lladamoe" / "golden.safetensors"), MassObserver()
    assert (llada_moe.predict(expected["ids"], observer) - expected["logits_full"]).abs().max() < 1e-4
    assert (observer.take().mass - expected["attention_mass_full"]).abs().max() < 1e-4
    for row, real in enumerate(expected["attention_mask_padded"].bool()):
        text = expected["ids"][row : row + 1, real]
        logits = llada_moe.predict(text, observer)
        assert (logits[0] - expected["logits_padded"][row, real]).abs().max() < 1e-4


def test_llada_moe_is_told_from_the_dense_llada_by_its_class_alone(llada_moe):
    dense = opened(GOLDEN / "llada-gqa")
    assert llada_moe.checkpoint.config["model_type"] == dense.checkpoint.config["model_type"] == "llada"
    assert (llada_moe.architecture.name, dense.architecture.name) == ("LLaDA-MoE", "LLaDA")
    assert (llada_moe.geometry.experts, llada_moe.geometry.experts_per_token) == (8, 2)
    assert dense.geometry.experts == 0


@pytest.mark.parametrize(
    ("name", "model_type"), [("lladamoe", "llada"), ("llada21", "llada2_moe"), ("llada21", "llada21_moe")]
)
def test_saving_splits_experts_and_fused_matrices_under_the_published_names_again(name, model_type, tmp_path):
    source = shutil.copytree(GOLDEN / name, tmp_path / "source")
    edit_config(source, model_type=model_type)
    model = opened(source)
    model.network.save_pretrained(tmp_path)
    with (
        safe_open(source / "model.safetensors", "pt") as before,
        safe_open(tmp_path / "model.safetensors", "pt") as after,
    ):
        assert set(before.keys()) == set(after.keys())
        for key in before.keys():  # noqa: SIM118 - a safetensors handle is no mapping
            assert torch.equal(before.get_tensor(key), after.get_tensor(key)), key
    old, new = (json.loads((folder / "config.json").read_text()) for folder in (source, tmp_path))
    left_out = {"rope_scaling", "torch_dtype", "transformers_version"}
    assert {field: new.get(field) for field in old if field not in left_out} == {
        field: value for field, value in old.items() if field not in left_out
    }


@pytest.fixture(scope="module", params=[8, 6])
def sdar_moe(request, tmp_path_factory):
    """A random SDAR with experts, saved under the published names; of widths that grouped products take, and not."""
    from analysis.models.load import register

    register()
    folder = tmp_path_factory.mktemp("sdar") / "moe"
    return save_tiny(folder, SDARMoeForCausalLM, SDARMoeConfig, **SIZES | {"moe_intermediate_size": request.param})


def test_an_sdar_with_experts_loads_from_one_matrix_an_expert_and_saves_them_back(sdar_moe, tmp_path):
    with safe_open(sdar_moe / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "model.layers.0.mlp.experts.3.gate_proj.weight" in names
    config = json.loads((sdar_moe / "config.json").read_text())
    assert (config["num_experts"], config["model_type"]) == (4, "sdar_moe")
    model = opened(sdar_moe)
    assert (model.architecture.name, model.architecture.block_size) == ("SDAR with experts", 4)
    ids = torch.arange(5, 25)[None]
    later = ids.clone()
    later[0, 12:] = 40
    unseen = model.predict(later)[0, :12] - model.predict(ids)[0, :12]
    assert unseen.abs().max() < 1e-5
    model.network.save_pretrained(tmp_path)
    assert torch.equal(opened(tmp_path).predict(ids), model.predict(ids))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("lladamoe", {"shared_expert_intermediate_size": 24}),
        ("lladamoe", {"moe_router_enable_expert_bias": True}),
        ("lladamoe", {"partial_rotary_factor": 0.5}),
        ("lladamoe", {"qk_layernorm": False}),
        ("llada2", {"use_bias": True}),
        ("llada2", {"score_function": "softmax"}),
        ("llada2", {"moe_router_enable_expert_bias": False}),
        ("llada2", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
    ],
)
def test_variants_that_no_native_class_has_are_refused_with_the_field(tmp_path, name, changes):
    folder = shutil.copytree(GOLDEN / name, tmp_path / "odd")
    edit_config(folder, **changes)
    with pytest.raises(UserError) as caught:
        open_folder(folder)
    assert f"'{next(iter(changes))}'" in str(caught.value)


def test_a_list_of_layers_with_experts_that_is_too_short_is_refused(tmp_path):
    folder = shutil.copytree(GOLDEN / "lladamoe", tmp_path / "odd")
    edit_config(folder, moe_layer_freq=[1, 1])
    with pytest.raises(UserError, match="'moe_layer_freq' lists 2 layers of 3"):
        opened(folder)


@pytest.mark.parametrize(
    ("name", "key", "layout"), [("llada2", "b4", Layout(4)), ("llada21", "b8", Layout(8)), ("lladamoe", "full", None)]
)
def test_the_experts_of_every_token_and_their_weights_equal_the_authors(name, key, layout):
    model, expected = opened(GOLDEN / name), load_file(GOLDEN / name / "golden.safetensors")
    ids = expected["ids"]
    with RoutingObserver(model.blocks) as routes:
        model.predict(ids, layout=layout)
        routing = routes.take(len(ids), len(ids))
        model.predict(ids, layout=layout)
        first = routes.take(1, len(ids))
    assert (routing.weights[..., :-1] >= routing.weights[..., 1:]).all()
    order = routing.experts.argsort(dim=-1)
    assert torch.equal(routing.experts.gather(-1, order), expected[f"router_experts_{key}"].long())
    assert (routing.weights.gather(-1, order) - expected[f"router_weights_{key}"]).abs().max() < 1e-5
    assert torch.equal(first.experts, routing.experts[:1])
    model.predict(ids, layout=layout)
    assert not routes._chosen, "nothing is watched outside"


def test_a_model_without_experts_has_no_routes():
    dense = opened(GOLDEN / "llada-gqa")
    with RoutingObserver(dense.blocks) as routes:
        dense.predict(torch.arange(6)[None])
        assert routes.take(1, 1) is None
    assert expert_layers(dense.blocks) == ()
    assert expert_layers(opened(GOLDEN / "llada2").blocks) == (1, 2)
