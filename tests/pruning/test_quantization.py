"""Quantization: GPTQ against its procedure in float64, grids, zeros that stay, the Hessian's tokens, and bytes."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from analysis.__main__ import main
from analysis.calibration.activations import level_rows
from analysis.evaluation.conditions import conditions, counterpart, differing
from analysis.models.blocks import skeleton
from analysis.models.load import load
from analysis.pruned.report_file import packed_bytes, read_report, run_name
from analysis.pruning import layer_by_layer, pipeline
from analysis.pruning.algorithm import Calibration, Prepared
from analysis.pruning.quantization import gptq, grid_of, round_to_nearest
from analysis.pruning.sparsegpt import Hessian, factorize
from analysis.specs import (
    CalibrationParams,
    DiscountParams,
    ModelSpec,
    PruneSpec,
    QuantizationParams,
    SweepSpec,
    against,
    grid,
    setting_name,
)
from tests.conftest import GOLDEN
from tests.helpers import fresh_context, pruned_run
from tests.pruning.test_pruning import published_text, written

TEXT = CalibrationParams(samples=4, seq_len=48, step_interval=10)  # as many levels as the golden text has


@dataclass
class Reference:
    """GPTQ as published, in float64, one column at a time and no blocks but for the groups' ranges."""

    bits: int
    group: int
    symmetric: bool

    def ranges(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        largest = 2**self.bits - 1
        low, high = np.minimum(weight.min(axis=1), 0), np.maximum(weight.max(axis=1), 0)
        if self.symmetric:
            high = np.maximum(np.abs(low), high)
            low = np.where(low < 0, -high, low)
        scale = (high - low) / largest
        return scale, np.full(len(weight), (largest + 1) / 2) if self.symmetric else np.round(-low / scale)

    def codes(self, weight: np.ndarray, hessian: np.ndarray) -> np.ndarray:
        work, largest, columns = weight.astype(np.float64).copy(), 2**self.bits - 1, weight.shape[1]
        zeros = work == 0
        damped = hessian.astype(np.float64) + 0.01 * np.diag(hessian).mean() * np.eye(columns)
        upper = np.linalg.cholesky(np.linalg.inv(damped)).T
        codes = np.empty_like(work)
        scale, zero = self.ranges(work)
        for start in range(0, columns, 128):
            found = work.copy()  # what the groups of a block of 128 columns take their ranges from
            for column in range(start, min(start + 128, columns)):
                if self.group and column % self.group == 0:
                    scale, zero = self.ranges(found[:, column : column + self.group])
                codes[:, column] = np.clip(np.round(work[:, column] / scale) + zero, 0, largest)
                codes[zeros[:, column], column] = zero[zeros[:, column]]
                error = (work[:, column] - scale * (codes[:, column] - zero)) / upper[column, column]
                work[:, column:] -= np.outer(error, upper[column, column:])
        return codes


def made_layer(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (out, in), some of them zero, and inputs (n, S, in) whose features vary together, as a network's do."""
    generator = torch.Generator().manual_seed(number)
    out, features = ((48, 192), (32, 160), (40, 256), (24, 96))[number]
    mixing = torch.randn(features, features, generator=generator) * torch.logspace(0, -1.5, features)[:, None]
    weight = 0.05 * torch.randn(out, features, generator=generator)
    weight[torch.rand(weight.shape, generator=generator) < 0.2] = 0
    return weight, torch.randn(6, 128, features, generator=generator) @ mixing


def hessian_of(inputs: torch.Tensor) -> torch.Tensor:
    flat = inputs.double().flatten(0, 1)
    return 2 / len(inputs) * flat.T @ flat


@pytest.mark.parametrize(
    ("layer", "bits", "group", "symmetric"),
    [
        (0, 4, 0, False),
        (1, 4, 0, False),
        (1, 3, 32, False),
        (2, 3, 32, False),
        (2, 4, 64, True),
        (3, 4, 64, True),
        (3, 4, 128, False),
        (0, 8, 64, False),
    ],
)
def test_gptq_gives_the_codes_of_its_procedure_in_float64(layer, bits, group, symmetric):
    weight, inputs = made_layer(layer)
    hessian = hessian_of(inputs)
    params = QuantizationParams(bits=bits, group=group, quantizer="gptq", symmetric=symmetric)
    done = gptq(weight, factorize(hessian.float()), params)
    expected = Reference(bits, group, symmetric).codes(weight.numpy(), hessian.numpy())
    assert (done.codes.numpy() == expected).all(), (done.codes.numpy() != expected).sum()
    assert (done.weight[weight == 0] == 0).all(), "what is pruned stays zero"
    assert len(torch.unique(done.codes)) <= 2**bits


def test_gptq_makes_up_for_what_rounding_loses():
    for layer in range(4):
        weight, inputs = made_layer(layer)
        flat = inputs.flatten(0, 1)
        params = QuantizationParams(bits=3, quantizer="gptq")
        lost = [
            float(((weight - found.weight) @ flat.T).square().sum())
            for found in (
                gptq(weight, factorize(hessian_of(inputs).float()), params),
                round_to_nearest(weight, None, params),
            )
        ]
        assert lost[0] < 0.6 * lost[1], lost


@pytest.mark.parametrize("bits", [8, 4, 3])
@pytest.mark.parametrize("group", [0, 32, 64])
@pytest.mark.parametrize("symmetric", [False, True])
def test_rounding_goes_to_the_nearest_of_the_levels(bits, group, symmetric):
    weight = torch.randn(6, 80, generator=torch.Generator().manual_seed(bits))
    weight[0, :40], weight[1] = 0, 0
    weight[2] = weight[2].abs()
    params = QuantizationParams(bits=bits, group=group, symmetric=symmetric)
    done = round_to_nearest(weight, None, params)
    assert (done.weight[weight == 0] == 0).all()
    for start in range(0, 80, group or 80):
        part = slice(start, start + (group or 80))
        scale, zero, largest = grid_of(weight[:, part].t(), params)
        levels = scale[:, None] * (torch.arange(largest + 1.0) - zero[:, None])  # (rows, levels)
        nearest = (weight[:, part, None] - levels[:, None]).abs().amin(dim=-1)
        torch.testing.assert_close((weight[:, part] - done.weight[:, part]).abs(), nearest, atol=1e-6, rtol=0)
        assert (levels == 0).any(dim=1).all()
        if not symmetric:  # the ends of the range are levels, up to rounding the zero point
            ends = torch.stack([weight[:, part].amin(1).clamp(max=0), weight[:, part].amax(1).clamp(min=0)])
            used = (weight[:, part] != 0).any(dim=1)
            assert ((levels[:, 0] - ends[0]).abs() <= 0.51 * scale)[used].all()
            assert ((levels[:, -1] - ends[1]).abs() <= 0.51 * scale)[used].all()


def test_a_dead_feature_takes_no_weight_and_an_expert_without_tokens_is_rounded():
    weight, inputs = made_layer(3)
    inputs[..., 5] = 0
    params = QuantizationParams(bits=4, quantizer="gptq")
    done = gptq(weight, factorize(hessian_of(inputs).float()), params)
    assert (done.weight[:, 5] == 0).all()
    nothing = gptq(weight, factorize(torch.zeros(96, 96)), params)
    assert torch.equal(nothing.weight, round_to_nearest(weight, None, params).weight)


@pytest.mark.parametrize(
    ("count", "kept", "bits", "grids", "symmetric", "expected"),
    [
        (1024, 1024, 4, 16, False, 512 + 16 * 2 + 16 // 2),
        (1024, 1024, 3, 8, True, 384 + 16),
        (1024, 512, 4, 8, False, 128 + 256 + 16 + 4),
        (1024, 1000, 8, 0, False, 1024),
    ],
)
def test_bytes_are_codes_scales_and_zero_points(count, kept, bits, grids, symmetric, expected):
    assert packed_bytes(count, kept, bits, grids, symmetric) == expected


# --- on models --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    return load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"))


@pytest.fixture(scope="module")
def text():
    return published_text(load_file(GOLDEN / "llada-gqa" / "golden.safetensors"))


def quantized(model, text, out, method="none", quantizer="rtn", bits=4, group=32, **changes):
    params = QuantizationParams(bits=bits, group=group, quantizer=quantizer)
    spec = PruneSpec(model=model.spec, method=method, calibration=TEXT, quantization=params, out=str(out), **changes)
    report = pipeline.prune(model, spec, fresh_context(out), text)
    return written(out, model), report


def equal(first, second) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_sixteen_bits_change_nothing(model, text, tmp_path):
    dense = written(GOLDEN / "llada-gqa", model)
    same, report = quantized(model, text, tmp_path / "same", quantizer="sink-gptq", bits=16)
    assert equal(same, dense)
    assert report["size"]["quantized"] == 0 and report["size"]["dense_bytes"] == report["size"]["packed_bytes"]
    pruned, _ = quantized(model, text, tmp_path / "p", "wanda", bits=16, sparsity=0.5)
    spec = PruneSpec(model=model.spec, method="wanda", calibration=TEXT, sparsity=0.5, out=str(tmp_path / "q"))
    pipeline.prune(model, spec, fresh_context(tmp_path / "q"), text)
    assert equal(pruned, written(tmp_path / "q", model))


@pytest.mark.parametrize(("quantizer", "method"), [("rtn", "sparsegpt"), ("gptq", "wanda"), ("sink-gptq", "sparsegpt")])
def test_pruned_weights_stay_zero_and_those_that_stay_are_levels(model, text, tmp_path, method, quantizer):
    tensors, report = quantized(model, text, tmp_path / "q", method, quantizer, sparsity=0.5)
    pruned, _ = quantized(model, text, tmp_path / "p", method, bits=16, sparsity=0.5)
    for name in tensors:
        if name.endswith("_proj.weight"):
            assert not tensors[name][pruned[name] == 0].any() if ".layers.0." in name else True, name
            groups = tensors[name].unflatten(1, (-1, 32)).flatten(0, 1)
            assert max(len(row.unique()) for row in groups) <= 16, name
            assert (tensors[name] == 0).float().mean() >= 0.49
        else:
            assert torch.equal(tensors[name], pruned[name]), name
    assert report["size"]["quantized"] == report["sparsity"]["weights"]
    expected = 0
    for name, tensor in pruned.items():
        count, kept = tensor.numel(), int(tensor.count_nonzero())
        grids = tensor.numel() // tensor.shape[-1] * -(-tensor.shape[-1] // 32)
        expected += (
            packed_bytes(count, kept, 4, grids) if name.endswith("_proj.weight") else packed_bytes(count, kept, 32)
        )
    if method != "sparsegpt":  # whose masks depend on what the blocks before pass on
        assert report["size"]["packed_bytes"] == expected
    assert any("fake quantization" in note for note in report["notes"])


def test_the_control_differs_in_the_discount_alone(model, text, tmp_path):
    """With λ = 0 Sink-GPTQ writes the bits of GPTQ on noised text; a discount changes them, and so does the noise."""
    control, _ = quantized(model, text, tmp_path / "control", quantizer="gptq-noised")
    without, _ = quantized(
        model, text, tmp_path / "zero", quantizer="sink-gptq", discount=DiscountParams(discount_strength=0)
    )
    assert equal(control, without)
    strong = DiscountParams(sink_std=0.5)
    assert not equal(control, quantized(model, text, tmp_path / "sink", quantizer="sink-gptq", discount=strong)[0])
    assert not equal(control, quantized(model, text, tmp_path / "clean", quantizer="gptq")[0])


@pytest.mark.parametrize("quantizer", ["rtn", "sink-gptq"])
def test_a_model_read_block_by_block_is_quantized_to_the_same_bits(model, text, tmp_path, quantizer):
    whole, _ = quantized(model, text, tmp_path / "whole", "wanda", quantizer, sparsity=0.5)
    assert equal(
        whole, quantized(skeleton(model.spec), text, tmp_path / "streamed", "wanda", quantizer, sparsity=0.5)[0]
    )


def test_rows_that_sequences_share_weigh_as_each_of_them_does(model, text, tmp_path):
    """The Hessian of distinct rows against a plain sum over every sequence and step, of the first block's input."""
    params = QuantizationParams(bits=4, quantizer="sink-gptq")
    spec = PruneSpec(model=model.spec, method="none", calibration=TEXT, quantization=params, out=str(tmp_path / "p"))
    noised = np.concatenate([text.noised, np.full_like(text.noised[:, :1], model.mask_token)], axis=1)
    run = pipeline.start(model, spec, fresh_context(tmp_path / "p"))
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.2, 1, (*noised.shape[:2], 1, noised.shape[2])).astype(np.float32)
    assert len(level_rows(noised)[-1].tokens) < len(noised), "the level of masks alone is one row"
    _, of_quantizer = layer_by_layer.gatherings(
        run, Calibration(text.clean, noised), Prepared(quantizer_weights=weights)
    )
    ours, plain = Hessian(), torch.zeros(model.geometry.hidden, model.geometry.hidden, dtype=torch.float64)
    embed = model.network.get_input_embeddings()
    for batch in of_quantizer.batches:
        ours.add(embed(batch.tokens).detach(), batch.weights(0))
    for sequence in range(len(noised)):
        for level in range(noised.shape[1]):
            rows = embed(torch.from_numpy(noised[sequence, level])).detach().double()
            rows = rows * torch.from_numpy(weights[sequence, level, 0]).double()[:, None]
            plain += rows.T @ rows
    summed = ours.sum.detach().triu().double()
    torch.testing.assert_close(summed, plain.triu(), rtol=1e-4, atol=1e-4 * float(plain.abs().max()))


def test_sparsegpt_and_gptq_share_a_hessian(model, text, tmp_path):
    for method, quantizer, shared in (("sparsegpt", "gptq", True), ("sink-sparsegpt", "gptq", False)):
        params = QuantizationParams(bits=4, quantizer=quantizer)
        spec = PruneSpec(model=model.spec, method=method, quantization=params, out=str(tmp_path / method))
        run = pipeline.start(model, spec, fresh_context(tmp_path / method))
        weights = None if shared else np.ones((len(text.clean), 1, text.clean.shape[1]), np.float32)
        of_method, of_quantizer = layer_by_layer.gatherings(run, text, Prepared(token_weights=weights))
        assert (of_method is of_quantizer) == shared
        assert of_method.stream == of_quantizer.stream, "the same rows pass through the blocks once"


def test_one_command_prunes_and_quantizes(tmp_path, capsys):
    out = tmp_path / "p"
    words = ["prune", "--model", str(GOLDEN / "llada-gqa"), "--method", "magnitude", "--sparsity", "0.5"]
    assert main([*words, "--bits", "4", "--group", "64", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "50.0 %" in told and "4-bit RTN g64" in told and "by arithmetic" in told and "fake quantization" in told
    report = json.loads((out / "report.json").read_text())
    assert "--bits 4 --group 64" in report["command"]
    card = (out / "README.md").read_text()
    assert "4-bit RTN g64" in card and "fake quantization" in card and "| Bits | 4 |" in card
    run = read_report(out)
    assert run.title == "Magnitude · 50 % · 4-bit RTN g64"
    assert conditions(run)["quantization.bits"] == 4


def test_what_cannot_be_is_refused():
    for changes, said in (
        ({"method": "none", "sparsity": 0.5}, "removes no weights"),
        ({"method": "none", "pattern": "2:4"}, "removes no weights"),
        ({"method": "magnitude", "pattern": "structured", "quantization": {"bits": 4}}, "prune first, then quantize"),
        ({"quantization": {"bits": 5}}, "16, 8, 4 or 3"),
    ):
        with pytest.raises(ValidationError, match=said):
            PruneSpec.model_validate(changes)
    assert PruneSpec(method="none").sparsity == 0


def test_a_quantizer_is_held_against_its_control():
    runs = [
        conditions(pruned_run(method=method, sparsity=sparsity, quantization={"bits": 4, "quantizer": quantizer}))
        for method, sparsity in (("none", 0.0), ("sink-wanda", 0.5), ("wanda-noised", 0.5), ("wanda", 0.5))
        for quantizer in ("sink-gptq", "gptq-noised", "gptq", "rtn")
    ]
    assert counterpart(runs, 0, "control") == 1 and counterpart(runs, 0, "published") == 2
    assert counterpart(runs, 4, "control") == 9, "both discounts go"
    assert counterpart(runs, 4, "published") == 14
    assert counterpart(runs, 7, "control") == 11, "RTN has nothing to discount"
    assert counterpart(runs, 3, "control") is None and counterpart(runs, 0, "sham") is None
    fewer = conditions(pruned_run(method="none", sparsity=0.0, quantization={"bits": 3, "quantizer": "gptq-noised"}))
    assert differing(runs[0], fewer) == ["quantization.bits"]
    point = PruneSpec(method="sink-wanda", quantization={"bits": 4, "quantizer": "sink-gptq"})
    assert against(point, "control") == PruneSpec(
        method="wanda-noised", quantization={"bits": 4, "quantizer": "gptq-noised"}
    )
    assert against(PruneSpec(method="none", quantization={"bits": 4}), "control") is None


def test_a_run_is_named_by_its_bits():
    assert run_name({"method": "none", "quantization": {"bits": 3, "quantizer": "gptq"}}) == "3-bit GPTQ seed 0"
    named = run_name({"method": "sink-wanda", "sparsity": 0.5, "quantization": {"bits": 8, "symmetric": True}})
    assert named == "Sink-Wanda k2 α5 λ1 seed 0 · 50 % · 8-bit RTN symmetric"


def test_a_sweep_crosses_methods_sparsities_and_bits():
    spec = SweepSpec(methods=("none", "magnitude"), sparsities=(0.25, 0.5), bits=("16", 4), quantizers=("rtn", "gptq"))
    found = grid(spec)
    names = [setting_name(point) for point in found.prunings]
    assert names == [
        *("none 0 4-bit RTN", "none 0 4-bit GPTQ"),
        *("magnitude 0.25", "magnitude 0.25 4-bit RTN", "magnitude 0.25 4-bit GPTQ"),
        *("magnitude 0.5", "magnitude 0.5 4-bit RTN", "magnitude 0.5 4-bit GPTQ"),
    ]
    assert found.left_out == ("No pruning at 16 bits is the dense model, so it is left out.",)
    with pytest.raises(ValidationError, match="dense model"):
        SweepSpec(methods=("none",))
