"""Pruning the weights of experts, against plain loops over experts and tokens."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analysis.attention import LayerMassObserver
from analysis.calibration.noise import noised_sequences
from analysis.errors import UserError
from analysis.models.blocks import first_input, run_block, skeleton
from analysis.models.experts import RoutingObserver, packed_experts
from analysis.models.load import load
from analysis.pruned import compare, masks_file
from analysis.pruning.algorithm import Calibration
from analysis.pruning.pipeline import prune
from analysis.sinks.discount import token_weights
from analysis.specs import CalibrationParams, ModelSpec, PruneSpec
from tests.conftest import GOLDEN
from tests.helpers import fresh_context

NOISE = CalibrationParams(diffusion_steps=10, step_interval=5)
PARTS = ("gate_proj", "up_proj", "down_proj")


def spec_of(name):
    return ModelSpec(source=str(GOLDEN / name), device="cpu")


@pytest.fixture(scope="module", params=["lladamoe", "llada2"])
def mixture(request):
    return request.param, load(spec_of(request.param))


@pytest.fixture(scope="module")
def llada_moe():
    return load(spec_of("lladamoe"))


def text_of(name, model, rows=4):
    ids = load_file(GOLDEN / name / "golden.safetensors")["ids"].numpy()[:rows]
    beside_clean = model.architecture.by_blocks
    return Calibration(ids, noised_sequences(ids, NOISE, model.mask_token, beside_clean=beside_clean))


def pruned(out, model, text, **changes):
    spec = PruneSpec(**{"model": model.spec, "sparsity": 0.5, "calibration": NOISE, "out": str(out), **changes})
    report = prune(model, spec, fresh_context(out), text)
    return report, load_file(out / "model.safetensors")


def expert_loop(module, states, chosen, weights, seen):
    """What the experts give for tokens (N, H), token by token; `seen(expert, token, read, inner)` is told each."""
    out = torch.zeros_like(states)
    for token, (state, experts) in enumerate(zip(states, chosen, strict=True)):
        for place, expert in enumerate(experts.tolist()):
            half = len(module.gate_up_proj[expert]) // 2
            gate, up = module.gate_up_proj[expert][:half] @ state, module.gate_up_proj[expert][half:] @ state
            inner = module.act_fn(gate) * up
            seen(expert, token, state, inner)
            out[token] += weights[token, place] * (module.down_proj[expert] @ inner)
    return out


def published_experts(tensors, layer, expert):
    """The three matrices of an expert under the names of the files."""
    return [tensors[f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight"] for part in PARTS]


def lowest_half_of_rows(score):
    """True at the lowest ⌊in / 2⌋ of each row, one row at a time."""
    gone = torch.zeros(score.shape, dtype=torch.bool)
    for row, values in zip(gone, score, strict=True):
        row[sorted(range(len(values)), key=lambda index: (float(values[index]), index))[: len(values) // 2]] = True
    return gone


def test_wanda_goes_by_the_norms_of_the_tokens_that_each_expert_was_sent(llada_moe, tmp_path):
    model, text = llada_moe, text_of("lladamoe", llada_moe)
    dense = load_file(GOLDEN / "lladamoe" / "model.safetensors")
    _, tensors = pruned(tmp_path / "p", model, text, method="wanda")
    agreed = compared = 0
    given = first_input(model, torch.from_numpy(text.clean))
    for layer in range(model.geometry.layers):
        block = copy.deepcopy(model.blocks[layer])
        experts = packed_experts(block)
        outer, inner = {}, {}

        def seen(expert, token, read, made, outer=outer, inner=inner):
            outer[expert] = outer.get(expert, 0) + read.square()
            inner[expert] = inner.get(expert, 0) + made.square()

        experts.forward = lambda states, chosen, weights, experts=experts, seen=seen: expert_loop(
            experts, states, chosen, weights, seen
        )
        with torch.no_grad():
            run_block(block, given)
        for expert in range(model.geometry.experts):
            for part, matrix in zip(PARTS, published_experts(tensors, layer, expert), strict=True):
                whole = dense[f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight"]
                squares = (inner if part == "down_proj" else outer).get(expert)
                score = whole.abs() if squares is None else whole.abs() * squares.sqrt()
                gone = lowest_half_of_rows(score)
                agreed += int(((matrix == 0) == gone).sum())
                compared += gone.numel()
                assert torch.equal(matrix, torch.where(matrix == 0, 0, whole)), "what stays is written as it was"
        del experts.forward
        half = len(experts.gate_up_proj[0]) // 2
        with torch.no_grad():
            for expert in range(model.geometry.experts):
                gate, up, down = published_experts(tensors, layer, expert)
                experts.gate_up_proj[expert][:half], experts.gate_up_proj[expert][half:] = gate, up
                experts.down_proj[expert] = down
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                stored = tensors[f"model.layers.{layer}.self_attn.{name}.weight"]
                block.get_submodule(f"self_attn.{name}").weight.copy_(stored)
        given.states = run_block(block, given)
    assert agreed / compared > 0.9999


def test_sink_wanda_sums_the_discounted_norms_of_each_experts_tokens_sequence_by_sequence(llada_moe, tmp_path):
    model, text = llada_moe, text_of("lladamoe", llada_moe)
    dense = load_file(GOLDEN / "lladamoe" / "model.safetensors")
    report, tensors = pruned(tmp_path / "p", model, text, method="sink-wanda")
    spec = PruneSpec(method="sink-wanda", calibration=NOISE, out="unwritten")
    norms = {}
    for sequence in text.noised:
        for row in sequence:
            squares, observer, runs = {}, LayerMassObserver(), []
            handles = [
                packed_experts(block).register_forward_pre_hook(
                    lambda module, given, layer=layer, runs=runs: runs.append((layer, module, given))
                )
                for layer, block in enumerate(model.blocks)
            ]
            model.hidden(torch.from_numpy(row)[None], observer)
            for handle in handles:
                handle.remove()
            weights = token_weights(observer.take().numpy()[:, None], spec.discount)[0, 0, 0]
            for layer, module, (states, chosen, route) in runs:

                def seen(expert, token, read, made, layer=layer, weights=weights, squares=squares):
                    for part, value in (("outer", read), ("inner", made)):
                        key = (layer, expert, part)
                        squares[key] = squares.get(key, 0) + float(weights[token]) ** 2 * value.double().square()

                with torch.no_grad():
                    expert_loop(module, states, chosen, route, seen)
            for key, square in squares.items():
                norms[key] = norms.get(key, 0) + square.sqrt()
    agreed = compared = 0
    for layer in range(model.geometry.layers):
        for expert in range(model.geometry.experts):
            for part, matrix in zip(PARTS, published_experts(tensors, layer, expert), strict=True):
                whole = dense[f"model.layers.{layer}.mlp.experts.{expert}.{part}.weight"]
                norm = norms.get((layer, expert, "inner" if part == "down_proj" else "outer"))
                score = whole.abs() if norm is None else whole.abs() * norm.float()
                gone = lowest_half_of_rows(score)
                agreed += int(((matrix == 0) == gone).sum())
                compared += gone.numel()
    assert agreed / compared > 0.9999
    missed = {
        str(layer): experts
        for layer in range(model.geometry.layers)
        if (experts := [e for e in range(model.geometry.experts) if (layer, e, "outer") not in norms])
    }
    assert missed and report["unreached_experts"] == missed


@pytest.mark.parametrize(("name", "method"), [("llada2", "sink-wanda"), ("lladamoe", "sink-sparsegpt")])
def test_one_forward_two_passes_and_the_files_alone_give_the_same_bits(name, method, tmp_path):
    model = load(spec_of(name))
    text = text_of(name, model)
    _, whole = pruned(tmp_path / "whole", model, text, method=method)
    if method == "sink-wanda":
        report, twice = pruned(tmp_path / "twice", model, text, method=method, byte_budget=0)
        assert report["dense_model"]["mode"] == "two passes"
        assert all(torch.equal(whole[key], twice[key]) for key in whole)
    report, streamed = pruned(tmp_path / "files", skeleton(spec_of(name)), text, method=method)
    assert "files" in report["model"]["run"]
    assert whole.keys() == streamed.keys() == load_file(GOLDEN / name / "model.safetensors").keys()
    assert all(torch.equal(whole[key], streamed[key]) for key in whole)


def test_experts_that_no_token_reaches_are_named_and_ranked_by_magnitude(llada_moe, tmp_path):
    model = llada_moe
    text = Calibration(load_file(GOLDEN / "lladamoe" / "golden.safetensors")["ids"].numpy()[:1, :3])
    with RoutingObserver(model.blocks) as routes:
        model.predict(torch.from_numpy(text.clean))
        reached = routes.take(1, 1).experts[0]
    missed = sorted(set(range(8)) - set(reached[0].flatten().tolist()))
    for method in ("wanda", "sparsegpt"):
        report, tensors = pruned(tmp_path / method, model, text, method=method, quota_scope="row")
        assert missed and report["unreached_experts"]["0"] == missed
        note = next(note for note in report["notes"] if "ranked by magnitude" in note)
        assert f"layer 0: {', '.join(map(str, missed))}" in note
        dense = load_file(GOLDEN / "lladamoe" / "model.safetensors")
        for whole, matrix in zip(
            published_experts(dense, 0, missed[0]), published_experts(tensors, 0, missed[0]), strict=True
        ):
            assert torch.equal(matrix == 0, lowest_half_of_rows(whole.abs()))


def test_n_of_m_keeps_its_share_of_every_expert_and_masks_are_stored_by_expert(mixture, tmp_path):
    name, model = mixture
    text = text_of(name, model)
    report, tensors = pruned(tmp_path / "a", model, text, method="wanda", pattern="2:4")
    pruned(tmp_path / "b", model, text, method="magnitude", pattern="2:4")
    first, second = (masks_file.open_masks(str(tmp_path / folder)) for folder in "ab")
    layers, experts = model.geometry.layers, model.geometry.experts
    mixed = [layer for layer, block in enumerate(model.blocks) if packed_experts(block) is not None]
    assert masks_file.why_not_comparable(first, second) == ""
    counts = np.zeros((3, layers, experts, 4), np.int64)
    for layer in mixed:
        assert first.experts(layer, "experts.up_proj") == tuple(range(experts))
        for expert in range(experts):
            for place, matrix in enumerate(published_experts(tensors, layer, expert)):
                masks = [folder.pruned(layer, f"experts.{expert}.{PARTS[place]}") for folder in (first, second)]
                assert np.array_equal(masks[0], (matrix == 0).numpy())
                assert (masks[0].reshape(-1, 4).sum(axis=1) == 2).all()
                counts[place, layer, expert] = [
                    masks[0].size,
                    *(mask.sum() for mask in masks),
                    (masks[0] & masks[1]).sum(),
                ]
    geometry = first.geometry
    compared = compare.compare(
        masks_file.pairs(first, second), layers, first.names, geometry.heads, geometry.kv_heads, experts
    )
    assert not any(name == "gate" or name.startswith("experts.0") for name in first.names)
    for place, part in enumerate(PARTS):
        assert np.array_equal(compared.experts[f"experts.{part}"], counts[place])
        assert np.array_equal(compared.projections[:, first.names.index(f"experts.{part}")], counts[place].sum(axis=1))
    assert set(compared.heads) == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert next(iter(compared.depth())) == "all projections" and "experts" in compared.depth()
    by_expert = report["sparsity"]["by_expert"]["experts.up_proj"]
    assert [len(layer) for layer in by_expert] == [experts if layer in mixed else 0 for layer in range(layers)]
    assert set(np.ravel([by_expert[layer] for layer in mixed])) == {0.5}
    for stored in (tmp_path / "a").glob("model*.safetensors"):
        stored.unlink()
    alone = masks_file.open_masks(str(tmp_path / "a"))
    assert alone.names == first.names and np.array_equal(
        alone.pruned(mixed[0], "experts.1.down_proj"), first.pruned(mixed[0], "experts.1.down_proj")
    )


def test_a_model_pruned_by_expert_loads_natively_with_its_zeros(mixture, tmp_path):
    name, model = mixture
    text = text_of(name, model)
    report, tensors = pruned(tmp_path / "p", model, text, method="wanda-noised", quota_scope="layer")
    again = load(ModelSpec(source=str(tmp_path / "p"), device="cpu"))
    layer = max(index for index, block in enumerate(again.blocks) if packed_experts(block) is not None)
    packed = packed_experts(again.blocks[layer])
    gate, up, down = published_experts(tensors, layer, 1)
    assert torch.equal(packed.gate_up_proj[1], torch.cat([gate, up])) and torch.equal(packed.down_proj[1], down)
    assert abs(report["sparsity"]["overall"] - 0.5) < 1e-4
    assert torch.isfinite(again.predict(torch.from_numpy(text.clean))).all()


def test_experts_are_left_dense_by_their_name_and_share_a_sparsity_by_projection(mixture, tmp_path):
    name, model = mixture
    text = text_of(name, model)
    dense = load_file(GOLDEN / name / "model.safetensors")
    _, tensors = pruned(tmp_path / "p", model, text, method="wanda", skip_projections=("experts",))
    assert all(torch.equal(dense[key], tensors[key]) for key in dense if ".experts." in key)
    assert any(not torch.equal(dense[key], tensors[key]) for key in dense)
    report, _ = pruned(tmp_path / "o", model, text, method="wanda", allocation="owl-projection")
    assert abs(report["sparsity"]["overall"] - 0.5) < 1e-4


def test_what_is_not_served_is_refused_before_any_work(llada_moe, tmp_path):
    with pytest.raises(UserError, match="mixtures of experts, and the pattern structured"):
        pruned(tmp_path / "p", llada_moe, None, method="wanda", pattern="structured")
    with pytest.raises(UserError, match=r"experts, experts\.down_proj"):
        pruned(tmp_path / "q", llada_moe, None, method="wanda", skip_projections=("expert",))
