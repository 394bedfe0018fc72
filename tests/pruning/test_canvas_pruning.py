"""Pruning DiffusionGemma, against its golden folder and against hooks and loops on transformers' own classes."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import DiffusionGemmaForBlockDiffusion

from analysis import jobs
from analysis.__main__ import main
from analysis.calibration.noise import noised_canvases, shared_levels, with_own_noise
from analysis.errors import UserError
from analysis.models.blocks import skeleton
from analysis.models.canvas import reader_of
from analysis.models.load import load
from analysis.pruned import compare, masks_file
from analysis.pruning.algorithm import Calibration
from analysis.pruning.pipeline import prune
from analysis.specs import CalibrationParams, EstimateSpec, ModelSpec, PruneSpec
from tests.conftest import GOLDEN
from tests.helpers import QuietContext, fresh_context

FOLDER = GOLDEN / "diffusion-gemma"
PREFIX, CANVAS, EXPERTS, LAYERS = 14, 16, 4, 6
NOISE = CalibrationParams(samples=3, seq_len=30, diffusion_steps=4, step_interval=2, noise="random-tokens")
SPEC = ModelSpec(source=str(FOLDER), device="cpu")


@pytest.fixture(scope="module")
def model():
    return load(SPEC)


@pytest.fixture(scope="module")
def extra() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "extra.safetensors")


@pytest.fixture(scope="module")
def texts(extra) -> Calibration:
    """Three sequences, and the same with random tokens in their canvases at two steps."""
    clean = torch.cat([extra["prefix"], extra["canvas_clean"]], dim=1).long().numpy()
    return Calibration(clean, noised_canvases(clean, NOISE, 96, PREFIX))


def pruned(out, model, text, **changes):
    spec = PruneSpec(**{"model": SPEC, "sparsity": 0.5, "calibration": NOISE, "out": str(out), **changes})
    report = prune(model, spec, fresh_context(out), text)
    return report, load_file(out / "model.safetensors")


def stored(tensors, layer, name):
    return tensors[f"model.decoder.layers.{layer}.{name}{'' if name.startswith('experts') else '.weight'}"]


def lowest_half(score):
    """True at the lower half of each row, along the last axis."""
    return score.argsort(dim=-1, stable=True).argsort(dim=-1) < score.shape[-1] // 2


def test_wanda_gives_the_golden_masks_and_a_model_that_reloads_with_the_golden_logits(extra, tmp_path):
    text = Calibration(torch.cat([extra["prefix"], extra["canvas"]], dim=1).long().numpy())
    report, tensors = pruned(tmp_path / "p", skeleton(SPEC), text, method="wanda")
    assert report["model"]["run"] == "block by block from the files"
    dense = load_file(FOLDER / "model.safetensors")
    assert tensors.keys() == dense.keys()
    flags = {
        tuple(key.removesuffix("|kept").split("|", 1)): kept for key, kept in extra.items() if key.endswith("|kept")
    }
    agreed = [(stored(tensors, layer, name) != 0) == kept for (layer, name), kept in flags.items()]
    assert float(torch.cat([bits.flatten() for bits in agreed]).float().mean()) > 0.9999
    touched = {f"model.decoder.layers.{layer}.{name}" for layer, name in flags}
    for name, tensor in dense.items():
        gone = (tensors[name] == 0) if name.removesuffix(".weight") in touched else torch.zeros_like(tensor).bool()
        assert torch.equal(tensors[name], tensor.masked_fill(gone, 0)), "what stays is written as it was"
    again = load(ModelSpec(source=str(tmp_path / "p"), device="cpu"))
    with torch.no_grad():
        logits = again.network(input_ids=extra["prefix"].long(), decoder_input_ids=extra["canvas"].long()).logits
    assert (logits - extra["pruned_logits"]).abs().max() < 2e-4
    readers = [reader_of(block) for block in again.blocks]
    assert all(one.experts.down_proj is two.experts.down_proj for one, two in zip(readers, again.blocks, strict=True))
    scalars = [float(one.layer_scalar - two.layer_scalar) for one, two in zip(readers, again.blocks, strict=True)]
    assert any(scalars), "the encoder's scalars stay its own"


def observed(network, text):
    """One forward of transformers' own classes on one text (S,): what each projection read in the encoder and in the
    decoder, by layer and name, (S, F) with zeros for tokens that an expert was not sent; and the decoder's attention
    mass by layer (L, S), NaN where a layer holds no key.
    """
    inputs, masses, handles = {}, {}, []

    def reads(layer, name, given):
        inputs.setdefault((layer, name), []).append(given)

    def watch(layer, block):
        for name, module in block.named_modules():
            if isinstance(module, torch.nn.Linear) and name != "router.proj":
                handles.append(
                    module.register_forward_pre_hook(
                        lambda _, given, name=name: reads(layer, name, given[0].flatten(0, -2))
                    )
                )

        def sent(module, given):
            states, chosen, _ = given
            for expert in range(EXPERTS):
                mine = (chosen == expert).any(dim=-1, keepdim=True)
                gate, up = (states @ module.gate_up_proj[expert].T).chunk(2, dim=-1)
                reads(layer, f"experts.gate_up_proj {expert}", states * mine)
                reads(layer, f"experts.down_proj {expert}", module.act_fn(gate) * up * mine)

        handles.append(block.experts.register_forward_pre_hook(sent))

    for layer, block in enumerate(network.model.encoder.language_model.layers):
        watch(layer, block)
    for layer, block in enumerate(network.model.decoder.layers):
        watch(layer, block)

        def attends(module, given, output, layer=layer):
            paid = output[1].sum(dim=(0, 1, 2))
            masses[layer] = torch.cat([torch.full((len(text) - len(paid),), torch.nan), paid])

        handles.append(block.self_attn.register_forward_hook(attends))
    with torch.no_grad():
        network(input_ids=text[None, :PREFIX], decoder_input_ids=text[None, PREFIX:])
    for handle in handles:
        handle.remove()
    joined = {key: torch.cat(parts) for key, parts in inputs.items()}
    return joined, torch.stack([masses[layer] for layer in range(LAYERS)])


def discounted(mass):
    """ω (S,) of the decoder's mass (L, S) of one text, with the settings of a pruning that names none."""
    # As if every layer held every key, and every token asked: 16 of 30 do.
    known = torch.where(mass.isnan(), mass.nanmean(dim=0), mass).sum(dim=0) * (mass.shape[1] / CANVAS)
    return 1 - torch.sigmoid(5 * (known - known.mean() - 2 * known.std(correction=0)))


def test_norms_of_prefix_and_canvas_are_summed_with_the_decoders_sinks_discounted(model, texts, tmp_path):
    network = DiffusionGemmaForBlockDiffusion.from_pretrained(FOLDER, attn_implementation="eager").eval()
    norms, discounts = {}, []
    for text in torch.from_numpy(texts.noised).flatten(0, 1):
        inputs, mass = observed(network, text)
        weight = discounted(mass)
        discounts.append(weight)
        for key, read in inputs.items():
            norms[key] = norms.get(key, 0) + (read.double() * weight[:, None]).square().sum(dim=0).sqrt()
    assert torch.stack(discounts).min() < 0.1, "some token is a sink"
    report, tensors = pruned(tmp_path / "p", model, texts, method="sink-wanda")
    assert report["dense_model"]["forwards"] == 4
    agreed, dense = [], load_file(FOLDER / "model.safetensors")
    for (layer, name), norm in norms.items():
        name, _, expert = name.partition(" ")
        weight, left = (stored(source, layer, name) for source in (dense, tensors))
        weight, left = (weight, left) if not expert else (weight[int(expert)], left[int(expert)])
        if norm.any():
            agreed.append(((left == 0) == lowest_half(weight.abs() * norm.float())).flatten())
    assert float(torch.cat(agreed).float().mean()) > 0.9999


def test_sparsegpt_gathers_from_pairs_as_well_and_the_files_alone_give_the_same_bits(model, texts, tmp_path):
    settings = {"method": "sink-sparsegpt", "pattern": "2:4"}
    report, whole = pruned(tmp_path / "whole", model, texts, **settings)
    _, streamed = pruned(tmp_path / "files", skeleton(SPEC), texts, **settings)
    assert all(torch.equal(whole[name], streamed[name]) for name in whole)
    assert report["sparsity"]["overall"] == 0.5
    dense, left = (stored(source, 0, "self_attn.q_proj") for source in (load_file(FOLDER / "model.safetensors"), whole))
    assert not torch.equal(left[left != 0], dense[left != 0]), "the weights that stay make up for the others"


def test_masks_are_stored_by_expert_read_again_from_the_zeros_and_compared(model, texts, tmp_path):
    report, tensors = pruned(tmp_path / "a", model, texts, method="wanda-noised", pattern="2:4")
    pruned(tmp_path / "b", model, texts, method="magnitude", pattern="2:4")
    first, second = (masks_file.open_masks(str(tmp_path / folder)) for folder in "ab")
    plain = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert first.names == (*plain, *(f"experts.{part}_proj" for part in ("gate", "up", "down")))
    packed = stored(tensors, 2, "experts.gate_up_proj")
    assert np.array_equal(first.pruned(2, "experts.3.up_proj"), (packed[3, 16:] == 0).numpy())
    assert [first.kv_heads(layer) for layer in range(LAYERS)] == [2, 2, 1, 2, 2, 1]
    bare = shutil.copytree(tmp_path / "a", tmp_path / "bare")
    (bare / "masks.safetensors").unlink()
    zeros = masks_file.open_masks(str(bare))
    assert (first.stored, zeros.stored) == (True, False) and first.weights.keys() == zeros.weights.keys()
    assert all(np.array_equal(first.pruned(*key), zeros.pruned(*key)) for key in first.weights)
    of_layers = {layer: first.kv_heads(layer) for layer in range(LAYERS)}
    compared = compare.compare(masks_file.pairs(first, second), LAYERS, first.names, 4, 2, EXPERTS, of_layers)
    assert compared.experts["experts.up_proj"].shape == (LAYERS, EXPERTS, 4)
    keys = compared.heads["k_proj"]
    assert (keys[2] == keys[2, 0]).all(), "all four query heads of a full layer share its one key head"
    assert not compared.heads["v_proj"][2].any(), "a full layer has no values of its own"
    assert [len(layer) for layer in report["sparsity"]["by_head"]["k_proj"]] == [2, 2, 1, 2, 2, 1]
    assert set(np.ravel(report["sparsity"]["by_expert"]["experts.down_proj"])) == {0.5}


def test_the_noise_replaces_tokens_of_the_canvas_at_the_rate_of_the_step():
    tokens = np.random.default_rng(0).integers(0, 1000, (40, 300))
    params = CalibrationParams(diffusion_steps=10, step_interval=5, noise="random-tokens", noise_eps=0.0)
    noised = noised_canvases(tokens, params, 1000, 100)
    assert noised.shape == (40, 2, 300)
    assert (noised[:, :, :100] == tokens[:, None, :100]).all()
    differ = (noised[:, :, 100:] != tokens[:, None, 100:]).mean(axis=(0, 2))
    # Half and all, but for one in a thousand that is drawn again; 8,000 draws.
    assert abs(differ[0] - 0.5 * 0.999) < 4 * 0.5 / 8000**0.5 and abs(differ[1] - 0.999) < 0.002
    assert len(np.unique(noised[:, 1, 100:])) > 990 and noised.max() < 1000
    assert np.array_equal(noised_canvases(tokens[:3], params, 1000, 100), noised[:3])
    other = params.model_copy(update={"seed": 1})
    assert not np.array_equal(noised_canvases(tokens[:3], other, 1000, 100), noised[:3])
    assert shared_levels(params) == 0, "no two sequences share a canvas of random tokens"


def test_it_is_pruned_and_estimated_as_a_job_and_says_what_the_canvas_was(tmp_path):
    lines = np.random.default_rng(1).integers(3, 90, (5, 30)).tolist()
    data = tmp_path / "ids.jsonl"
    data.write_text("".join(json.dumps({"input_ids": line}) + "\n" for line in lines))
    calibration = NOISE.model_copy(update={"data": str(data)})
    asked = {"model": SPEC, "method": "sink-wanda", "calibration": calibration, "ranking": "layerwise"}
    outcome = jobs.prune(PruneSpec(**asked, out=str(tmp_path / "out")), QuietContext(tmp_path))
    facts = outcome.summary["report"]["calibration"]
    assert (facts["canvas_start"], facts["noise"], facts["beside_clean"]) == (14, "random-tokens", False)
    assert 0.2 < facts["replaced"][0] < 0.8 and facts["replaced"][1] > 0.9
    assert not any("authors' script" in note for note in outcome.summary["report"]["notes"])
    estimated = jobs.estimate(EstimateSpec.of(PruneSpec(**asked)), QuietContext(tmp_path)).summary
    assert estimated["total_seconds"] > 0 and set(estimated["seconds"]) == {"activations of the dense model", "pruning"}
    with pytest.raises(UserError, match="no tokenizer, so the text of 'bundled' cannot be read"):
        jobs.prune(PruneSpec(**{**asked, "calibration": NOISE}, out=str(tmp_path / "none")), QuietContext(tmp_path))


def test_the_command_line_takes_the_models_own_noise_where_none_is_named(tmp_path, capsys):
    data = tmp_path / "ids.jsonl"
    data.write_text(json.dumps({"input_ids": np.random.default_rng(1).integers(3, 90, 60).tolist()}) + "\n")
    sizes = ["--samples", "2", "--seq-len", "30", "--diffusion-steps", "2", "--step-interval", "1", "--device", "cpu"]
    asked = ["prune", "--model", str(FOLDER), "--calibration", str(data), *sizes, "--out", str(tmp_path / "out")]
    assert main([*asked, "--noise", "steps"]) == 2 and "Choose the noise random-tokens" in capsys.readouterr().err
    assert main([*asked, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["parameters"]["calibration"]["noise"] == report["calibration"]["noise"] == "random-tokens"
    assert "The canvas was noised with random tokens, DiffusionGemma's own noise." in report["notes"]
    assert "--noise random-tokens" in report["command"]


def test_where_no_text_is_noised_with_random_tokens_the_noise_stays_as_it_was():
    assert with_own_noise(NOISE, ModelSpec(source=str(GOLDEN / "llada-mha"))) is NOISE


def test_a_sweep_from_the_command_line_takes_the_models_own_noise_where_none_is_named(tmp_path, monkeypatch):
    swept = []

    def asked_of(engine, spec):
        swept.append(spec.pruning.calibration.noise)
        raise UserError("seen")

    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path))
    monkeypatch.setattr("analysis.command_line.sweep.foreseen", asked_of)
    for named in ([], ["--noise", "steps"]):
        assert main(["sweep", "--model", str(FOLDER), "--estimate", *named]) == 2
    assert swept == ["random-tokens", "steps"]


def test_what_cannot_be_pruned_is_refused_with_what_can(model, tmp_path):
    def refused(held=model, **changes):
        spec = PruneSpec(**{"model": SPEC, "calibration": NOISE, "out": str(tmp_path / "out"), **changes})
        with pytest.raises(UserError) as error:
            prune(held, spec, QuietContext(tmp_path))
        return str(error.value)

    assert "Choose the noise random-tokens" in refused(calibration=NOISE.model_copy(update={"noise": "steps"}))
    assert "are the canvas" in refused(calibration=NOISE.model_copy(update={"seq_len": 16}))
    for held in (model, skeleton(SPEC)):
        assert "leaves 1 of 4 experts a layer, and each token is sent to 2" in refused(
            held, pattern="experts", sparsity=0.75
        )
    assert "cuts channels" in refused(pattern="structured")
    masked = ModelSpec(source=str(GOLDEN / "llada-mha"), device="cpu")
    assert "Choose the noise steps, uniform or none" in refused(load(masked), model=masked)
