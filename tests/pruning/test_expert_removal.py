"""Cutting whole experts out of mixtures, against plain loops over tokens and a dense model whose router is narrowed."""

import json
import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from analysis.attention import LayerMassObserver
from analysis.errors import UserError
from analysis.models.blocks import skeleton
from analysis.models.experts import LLaDA2MoeConfig, LLaDA2MoeModelLM, packed_experts
from analysis.models.load import load, register
from analysis.pruned import compare, masks_file
from analysis.pruning.pipeline import prune
from analysis.sinks.discount import token_weights
from analysis.specs import METHODS, DenseStatisticsSpec, EstimateSpec, ModelSpec, PruneSpec
from tests.conftest import GOLDEN
from tests.helpers import fresh_context
from tests.pruning.test_expert_weights import NOISE, expert_loop, spec_of, text_of

UNIT_METHODS = [name for name, row in METHODS.items() if row.structured]


@pytest.fixture(scope="module", params=["lladamoe", "llada2"])
def mixture(request, tmp_path_factory):
    """A LLaDA-MoE of 8 experts, and a LLaDA2 of 16 in four groups; with a text that both know, and their folders."""
    golden = GOLDEN / request.param
    if request.param == "lladamoe":
        return load(spec_of(request.param)), golden
    folder = tmp_path_factory.mktemp("grouped")
    fields = json.loads((golden / "config.json").read_text(encoding="utf-8"))
    for name in ("architectures", "model_type", "dtype", "torch_dtype", "transformers_version"):
        fields.pop(name, None)
    register()
    torch.manual_seed(0)
    config = LLaDA2MoeConfig(**fields | {"num_experts": 16})
    network = LLaDA2MoeModelLM(config)
    for layer in network.model.layers:
        if packed_experts(layer) is not None:
            layer.mlp.gate.e_score_correction_bias.normal_(std=0.1)
    network.save_pretrained(folder)
    shutil.copy(golden / "generation_config.json", folder)  # names the mask token
    return load(ModelSpec(source=str(folder), device="cpu")), folder


def text_for(model, rows=4):
    return text_of("llada2" if model.architecture.by_blocks else "lladamoe", model, rows)


def cut(out, model, text=None, **changes):
    fields = {"model": model.spec, "pattern": "experts", "sparsity": 0.5, "calibration": NOISE, "out": str(out)}
    report = prune(model, PruneSpec(**{**fields, **changes}), fresh_context(out), text)
    return report, load(ModelSpec(source=str(out), device="cpu"))


def sent(model, tokens, beside_clean):
    """For one row of tokens (S,): per layer its states, experts and router weights as the packed experts got them; the
    mass (L, S) beside.
    """
    from analysis.calibration.runners import noised_layout

    given, handles = {}, []
    for layer, block in enumerate(model.blocks):
        module = packed_experts(block)
        if module is not None:
            handles.append(
                module.register_forward_pre_hook(
                    lambda module, arguments, layer=layer: given.__setitem__(layer, arguments[:3])
                )
            )
    observer = LayerMassObserver()
    with torch.no_grad():
        model.hidden(tokens[None], observer, noised_layout(model) if beside_clean else None)
    for handle in handles:
        handle.remove()
    return given, observer.take()[0].numpy()


def reap_by_loops(model, noised, discount):
    """Σ ω·g·‖f(x)‖ / Σ ω of every expert, token by token, and Σ ω; noised (N, T, S). By layer."""
    from analysis.calibration.runners import per_query

    added, tokens = {}, {}
    for sequence in noised:
        for row in sequence:
            given, mass = sent(model, torch.from_numpy(row), model.architecture.by_blocks)
            weights = token_weights(per_query(model, mass[None])[:, None], discount)[0, 0, 0]
            for layer, (states, chosen, router) in given.items():
                module = packed_experts(model.blocks[layer])
                count = len(module.down_proj)
                sums, seen = added.setdefault(layer, np.zeros(count)), tokens.setdefault(layer, np.zeros(count))
                places = {}

                def note(expert, token, state, inner, module=module, places=places):
                    places[token, expert] = float((module.down_proj[expert] @ inner).norm())

                expert_loop(module, states, chosen, router, note)
                for token, (experts, gates) in enumerate(zip(chosen.tolist(), router.tolist(), strict=True)):
                    for expert, gate in zip(experts, gates, strict=True):
                        sums[expert] += weights[token] * gate * places[token, expert]
                        seen[expert] += weights[token]
    return {
        layer: np.divide(sums, tokens[layer], out=np.zeros_like(sums), where=tokens[layer] > 0)
        for layer, sums in added.items()
    }, tokens


@torch.no_grad()
def test_experts_are_ranked_by_reap_with_sinks_discounted(mixture, tmp_path):
    model, _ = mixture
    text = text_for(model, rows=2)
    spec = PruneSpec(method="sink-wanda", out="x")
    expected, tokens = reap_by_loops(model, text.noised, spec.discount)
    report, _ = cut(tmp_path / "reap", model, text, method="sink-wanda", sparsity=0.25)
    facts = report["experts_cut"]
    for layer, worth in expected.items():
        np.testing.assert_allclose(facts["worth"][str(layer)], worth, rtol=2e-4, atol=1e-7)
    load_report, _ = cut(tmp_path / "load", model, text, method="sink-wanda", sparsity=0.25, expert_worth="load")
    for layer, count in tokens.items():
        np.testing.assert_allclose(load_report["experts_cut"]["worth"][str(layer)], count, rtol=2e-4)
    assert any((count != count.round()).any() for count in tokens.values()), "sinks count as less than a token"


@torch.no_grad()
def test_the_smaller_model_is_the_dense_one_with_a_narrower_router(mixture, tmp_path):
    """With the experts that went forbidden to the router, the dense model computes what the small one does."""
    model, folder = mixture
    report, small = cut(tmp_path / "cut", model, text_for(model), method="sink-wanda")
    kept = {int(layer): numbers for layer, numbers in report["experts_cut"]["kept"].items()}
    assert small.geometry.experts == model.geometry.experts // 2
    assert small.architecture.name == model.architecture.name
    narrowed = load(ModelSpec(source=str(folder), device="cpu"))
    for layer, numbers in kept.items():
        block = narrowed.blocks[layer]
        gone = [expert for expert in range(model.geometry.experts) if expert not in numbers]
        bias = getattr(block.mlp.gate, "e_score_correction_bias", None)
        if bias is not None:
            bias[gone] = -1e4  # its scores only choose
    tokens = torch.from_numpy(text_for(model).clean[:2])
    if bias is not None:
        torch.testing.assert_close(small.predict(tokens), narrowed.predict(tokens), rtol=1e-4, atol=1e-4)
    else:
        # A softmax over fewer experts is the dense one's, divided by what theirs sum to: compared by hand.
        _compare_softmax_router(model, small, kept, tokens)


def _compare_softmax_router(model, small, kept, tokens):
    given, _ = sent(small, tokens[0], False)
    dense, _ = sent(model, tokens[0], False)
    first = min(kept)
    states = dense[first][0]
    torch.testing.assert_close(given[first][0], states, rtol=1e-5, atol=1e-5)  # before the first experts
    logits = states @ model.blocks[first].mlp.gate.weight.T
    expected = logits[:, kept[first]].softmax(-1).topk(model.geometry.experts_per_token)
    torch.testing.assert_close(given[first][2].sort(-1).values, expected.values.sort(-1).values, rtol=1e-4, atol=1e-5)
    assert torch.equal(given[first][1].sort(-1).values, expected.indices.sort(-1).values)


def test_what_stays_is_written_as_it_was_under_new_numbers(mixture, tmp_path):
    model, folder = mixture
    report, _ = cut(tmp_path / "cut", model, text_for(model), method="wanda")
    dense, small = load_file(folder / "model.safetensors"), load_file(tmp_path / "cut" / "model.safetensors")
    expected = {}
    kept = report["experts_cut"]["kept"]
    for tensor, values in dense.items():
        layer = tensor.split(".")[2] if tensor.startswith("model.layers.") else ""
        if ".mlp.experts." in tensor:
            number = int(tensor.split(".mlp.experts.")[1].split(".")[0])
            if number in kept[layer]:
                new = tensor.replace(f"experts.{number}.", f"experts.{kept[layer].index(number)}.")
                expected[new] = values
        elif ".mlp.gate." in tensor:
            expected[tensor] = values[kept[layer]]
        else:
            expected[tensor] = values
    assert small.keys() == expected.keys()
    assert all(torch.equal(small[tensor], values) for tensor, values in expected.items())
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["num_experts"] == model.geometry.experts // 2


def test_groups_of_experts_stay_equal(mixture, tmp_path):
    model, _ = mixture
    groups = getattr(model.network.config, "n_group", None) or 1
    assert groups == (4 if model.architecture.by_blocks else 1)
    report, small = cut(tmp_path / "cut", model, text_for(model), method="sink-wanda")
    size = model.geometry.experts // groups
    for numbers in report["experts_cut"]["kept"].values():
        assert np.bincount(np.array(numbers) // size, minlength=groups).tolist() == [size // 2] * groups
    assert (getattr(small.network.config, "n_group", None) or 1) == groups


@pytest.mark.parametrize("mixture", ["llada2"], indirect=True)
def test_a_random_cut_is_of_its_seed_and_reads_no_text(mixture, tmp_path):
    model, _ = mixture
    kept = []
    for number, seed in enumerate((0, 0, 1)):
        calibration = NOISE.model_copy(update={"seed": seed})
        report, _ = cut(tmp_path / str(number), model, method="wanda", expert_worth="random", calibration=calibration)
        kept.append(report["experts_cut"]["kept"])
        assert "calibration" not in report
    assert kept[0] == kept[1] != kept[2]


def test_magnitude_keeps_the_experts_of_largest_weights(mixture, tmp_path):
    model, folder = mixture
    report, _ = cut(tmp_path / "cut", model, method="magnitude", sparsity=0.25)
    dense = load_file(folder / "model.safetensors")
    for layer, worth in report["experts_cut"]["worth"].items():
        norms = [
            sum(
                float(values.double().square().sum())
                for tensor, values in dense.items()
                if tensor.startswith(f"model.layers.{layer}.mlp.experts.{expert}.")
            )
            ** 0.5
            for expert in range(model.geometry.experts)
        ]
        np.testing.assert_allclose(worth, norms, rtol=1e-5)


@pytest.mark.parametrize("mixture", ["lladamoe"], indirect=True)
def test_masks_of_two_cuts_are_compared_under_the_old_numbers(mixture, tmp_path):
    model, folder = mixture
    text = text_for(model)
    reports = [
        cut(tmp_path / worth, model, text, method="wanda", expert_worth=worth)[0] for worth in ("reap", "random")
    ]
    first, second = (masks_file.open_masks(str(tmp_path / worth)) for worth in ("reap", "random"))
    assert first.geometry.experts == second.geometry.experts == model.geometry.experts
    for folder, report in zip((first, second), reports, strict=True):
        for layer, numbers in report["experts_cut"]["kept"].items():
            stays = [
                expert
                for expert in folder.experts(int(layer), "experts.up_proj")
                if not folder.pruned(int(layer), f"experts.{expert}.up_proj").any()
            ]
            assert stays == numbers
    assert masks_file.why_not_comparable(first, second) == ""
    geometry = first.geometry
    comparison = compare.compare(
        masks_file.pairs(first, second),
        geometry.layers,
        first.names,
        geometry.heads,
        geometry.kv_heads,
        geometry.experts,
    )
    assert 0 < compare.disagreement(comparison.projections.sum(axis=(0, 1))) < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparsity": 0.95}, "have to stay, which allows"),
        ({"sparsity": 0.01}, "Choose a higher one"),
        ({"method": "wanda", "sparsity": 0.95}, "each token is sent to"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_numbers(mixture, changes, message, tmp_path):
    model, _ = mixture
    with pytest.raises(UserError, match=message):
        cut(tmp_path / "cut", model, **changes)
    assert not (tmp_path / "cut").exists()


def test_models_without_experts_are_refused(tmp_path):
    model = load(spec_of("llada-mha"))
    with pytest.raises(UserError, match="no experts to cut out"):
        cut(tmp_path / "cut", model)


def test_block_by_block_from_the_files_the_same_experts_go(mixture, tmp_path):
    model, _ = mixture
    text = text_for(model)
    whole, _ = cut(tmp_path / "whole", model, text, method="sink-wanda")
    streamed, _ = cut(tmp_path / "files", skeleton(model.spec), text, method="sink-wanda")
    assert whole["experts_cut"] == streamed["experts_cut"]
    first, second = (load_file(tmp_path / folder / "model.safetensors") for folder in ("whole", "files"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "sparsegpt"}, "Structured pruning scores features"),
        ({"allocation": "owl"}, "the same number"),
        ({"skip_layers": (0,)}, "the same number"),
        ({"ranking": "layerwise"}, "ranked by the dense model"),
        ({"method": "magnitude", "expert_worth": "load"}, "have no load"),
    ],
)
def test_settings_that_do_not_go_together(fields, message):
    with pytest.raises(ValidationError, match=message):
        PruneSpec(pattern="experts", **fields)


@pytest.mark.parametrize("method", UNIT_METHODS)
def test_no_statistics_are_shared_and_an_estimate_keeps_what_matters(method):
    spec = PruneSpec(pattern="experts", method=method, expert_worth="random")
    assert DenseStatisticsSpec.of(spec) is None
    assert EstimateSpec.of(spec).expert_worth == "random"
    assert not spec.layerwise
