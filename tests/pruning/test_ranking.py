"""Whether weights are ranked by the dense model or layer by layer, for every method that reads text."""

import pytest
import torch
from safetensors.torch import load_file

from analysis.calibration.runners import Resident
from analysis.models.blocks import skeleton
from analysis.models.files import stored_tensors
from analysis.models.load import load
from analysis.pruning import pipeline
from analysis.pruning.algorithm import Calibration
from analysis.pruning.selection import pruned_mask
from analysis.pruning.wanda import wanda_score
from analysis.sinks.discount import token_weights
from analysis.specs import METHODS, CalibrationParams, DiscountParams, ModelSpec, PruneSpec
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, fresh_context
from tests.pruning.test_pruning import published_text, written

TEXT = CalibrationParams(samples=4, seq_len=48, step_interval=10)  # as many levels as the golden text has
CALIBRATED = ("wanda", "sink-wanda", "sparsegpt")  # of each order and each way of pruning


@pytest.fixture(scope="module")
def model():
    return load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"))


@pytest.fixture(scope="module")
def text():
    return published_text(load_file(GOLDEN / "llada-gqa" / "golden.safetensors"))


def pruned(model, text, out, method, **changes) -> dict[str, torch.Tensor]:
    spec = PruneSpec(model=model.spec, method=method, calibration=TEXT, out=str(out), **changes)
    pipeline.prune(model, spec, fresh_context(out), text)
    return written(out, model)


def equal(first, second) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", CALIBRATED)
def test_the_published_order_is_the_one_of_the_methods_row(model, text, tmp_path, method):
    found = {
        name: pruned(model, text, tmp_path / name, method, ranking=name) for name in ("published", "dense", "layerwise")
    }
    own = METHODS[method].ranking
    assert own == ("dense" if METHODS[method].weighs_steps else "layerwise")
    for ranking in ("dense", "layerwise"):
        assert equal(found["published"], found[ranking]) == (ranking == own)
    first = {name for name in found["dense"] if ".layers.0." in name}
    assert all(torch.equal(found["dense"][name], found["layerwise"][name]) for name in first), "nothing lies before it"


@pytest.mark.parametrize("method", CALIBRATED)
def test_a_model_read_block_by_block_gives_the_same_bits(model, text, tmp_path, method):
    """In the order that is not the method's own; `test_pruning` reads a model so in its own."""
    ranking = "layerwise" if METHODS[method].ranking == "dense" else "dense"
    whole = pruned(model, text, tmp_path / "whole", method, ranking=ranking)
    assert equal(whole, pruned(skeleton(model.spec), text, tmp_path / "streamed", method, ranking=ranking))


def test_wanda_ranked_by_the_dense_model_takes_its_norms(model, text, tmp_path):
    tensors = pruned(model, text, tmp_path / "p", "wanda", ranking="dense", sparsity=0.6)
    for layer, block in enumerate(model.blocks):
        for name, module in model.projections(block).items():
            seen = []
            handle = module.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0]))
            model.predict(torch.from_numpy(text.clean))
            handle.remove()
            norms = seen[0].square().sum(dim=(0, 1)).div(len(text.clean)).sqrt()
            expected = pruned_mask(wanda_score(module.weight, norms), 0.6, "unstructured")
            same = (tensors[f"model.layers.{layer}.{name}.weight"] == 0) == expected
            assert same.float().mean() > 0.9999, (layer, name)


@pytest.mark.parametrize("scope", ["model", "layer"])
def test_layer_by_layer_sink_wanda_scores_what_the_pruned_layers_pass_on(model, text, tmp_path, scope):
    """Against the plain procedure: the dense model's token weights, on inputs of the model pruned so far."""
    discount = DiscountParams(sink_std=1, sink_scope=scope)
    tensors = pruned(model, text, tmp_path / "p", "sink-wanda", ranking="layerwise", sparsity=0.6, discount=discount)
    masses = Resident(model).masses([torch.from_numpy(level) for level in text.noised.transpose(1, 0, 2)], lambda: None)
    omega = [token_weights(mass[:, None], discount)[:, 0] for mass in masses]
    after = load(ModelSpec(source=str(tmp_path / "p"), device="cpu"))
    for layer, block in enumerate(after.blocks):
        for name, module in after.projections(block).items():
            if name.split(".")[-1] not in ("q_proj", "k_proj", "v_proj"):
                continue  # what the others read comes from this block, which is scored before it is pruned
            total = torch.zeros(module.in_features, dtype=torch.float64)
            for level, weights in zip(text.noised.transpose(1, 0, 2), omega, strict=True):
                seen = []
                handle = module.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0]))
                after.predict(torch.from_numpy(level))
                handle.remove()
                own = torch.from_numpy(weights[:, layer if scope == "layer" else 0])[..., None]
                total += (own * seen[0]).double().square().sum(dim=1).sqrt().sum(dim=0)
            dense = stored_tensors(model)[f"model.layers.{layer}.{name}.weight"].read()
            expected = pruned_mask(wanda_score(dense, total), 0.6, "unstructured")
            assert ((tensors[f"model.layers.{layer}.{name}.weight"] == 0) == expected).float().mean() > 0.999


def test_the_control_follows_in_either_order(model, text, tmp_path):
    """With λ = 0 Sink-Wanda writes the control's bits layer by layer as well."""
    changes = {"ranking": "layerwise", "sparsity": 0.6}
    control = pruned(model, text, tmp_path / "control", "wanda-noised", **changes)
    without = DiscountParams(discount_strength=0)
    assert equal(control, pruned(model, text, tmp_path / "zero", "sink-wanda", discount=without, **changes))
    assert not equal(control, pruned(model, text, tmp_path / "sink", "sink-wanda", **changes))


def test_scores_of_noised_text_are_summed_alike_in_either_order(model, text, tmp_path):
    """In the first layer, which nothing precedes, with steps that count by their noise."""
    from analysis.specs import StepParams

    steps = StepParams(step_weighting="noisy", last_step=30)
    found = {
        name: pruned(model, text, tmp_path / name, "sink-wanda", ranking=name, steps=steps)
        for name in ("dense", "layerwise")
    }
    names = [name for name in found["dense"] if ".layers.0." in name]
    assert names and all(torch.equal(found["dense"][name], found["layerwise"][name]) for name in names)


def test_a_cut_off_run_finds_what_the_dense_model_told_of_its_own_order(model, text, tmp_path):
    context = QuietContext(tmp_path)
    for ranking in ("dense", "layerwise"):
        spec = PruneSpec(
            model=model.spec, method="sink-wanda", ranking=ranking, calibration=TEXT, out=str(tmp_path / ranking)
        )
        report = pipeline.prune(model, spec, context, text)
        assert not any("cut off" in note for note in report["notes"])
    again = PruneSpec(**spec.model_dump() | {"out": str(tmp_path / "again")})
    report = pipeline.prune(model, again, context, text)
    assert any("cut off" in note for note in report["notes"])
    assert equal(written(tmp_path / "layerwise", model), written(tmp_path / "again", model))


def test_clean_text_of_several_lengths_serves_both_orders(model, text, tmp_path):
    several = Calibration(text.clean, other_lengths=(text.clean[:2, :20],))
    dense = pruned(model, several, tmp_path / "dense", "wanda", ranking="dense")
    assert not equal(dense, pruned(model, text, tmp_path / "one", "wanda", ranking="dense"))
