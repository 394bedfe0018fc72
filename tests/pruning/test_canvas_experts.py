"""Cutting whole experts out of DiffusionGemma, against loops and a narrowed router on transformers' own classes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import DiffusionGemmaForBlockDiffusion

from analysis.calibration.noise import noised_canvases
from analysis.models.blocks import skeleton
from analysis.models.load import load
from analysis.pruned import masks_file
from analysis.pruning.algorithm import Calibration
from analysis.pruning.pipeline import prune
from analysis.specs import ModelSpec, PruneSpec
from tests.helpers import fresh_context
from tests.pruning.test_canvas_pruning import EXPERTS, FOLDER, LAYERS, NOISE, PREFIX, SPEC, discounted, observed


@pytest.fixture(scope="module")
def model():
    return load(SPEC)


@pytest.fixture(scope="module")
def text() -> Calibration:
    """Two sequences, and the same with random tokens in their canvases at two steps."""
    clean = np.random.default_rng(0).integers(3, 90, (2, 30))
    return Calibration(clean, noised_canvases(clean, NOISE, 96, PREFIX))


def cut(out, model, text=None, **changes):
    fields = {"model": SPEC, "pattern": "experts", "sparsity": 0.25, "calibration": NOISE, "out": str(out)}
    report = prune(model, PruneSpec(**{**fields, **changes}), fresh_context(out), text)
    return report, {int(layer): numbers for layer, numbers in report["experts_cut"]["kept"].items()}


def native(folder):
    return DiffusionGemmaForBlockDiffusion.from_pretrained(folder, attn_implementation="eager").eval()


def both_layers(network):
    """The encoder's layer and the decoder's, by their number."""
    return list(zip(network.model.encoder.language_model.layers, network.model.decoder.layers, strict=True))


@torch.no_grad()
def logits(network, text):
    clean = torch.from_numpy(text.clean)
    return network(input_ids=clean[:, :PREFIX], decoder_input_ids=clean[:, PREFIX:]).logits


@torch.no_grad()
def routes(network, text):
    """By layer the states, experts and router weights of every token of one text (S,), prefix and canvas."""
    seen: dict[int, list] = {layer: [] for layer in range(LAYERS)}
    handles = [
        block.experts.register_forward_pre_hook(lambda _, given, layer=layer: seen[layer].append(given[:3]))
        for layer, blocks in enumerate(both_layers(network))
        for block in blocks
    ]
    network(input_ids=text[None, :PREFIX], decoder_input_ids=text[None, PREFIX:])
    for handle in handles:
        handle.remove()
    return [tuple(torch.cat(parts) for parts in zip(*seen[layer], strict=True)) for layer in range(LAYERS)]


@torch.no_grad()
def by_loops(texts, discount):
    """REAP's Σ ω·g·‖f(x)‖ / Σ ω and Σ ω of every expert, (L, E) each, token by token."""
    network = native(FOLDER)
    added, sent = np.zeros((LAYERS, EXPERTS)), np.zeros((LAYERS, EXPERTS))
    for text in texts:
        weights = discounted(observed(network, text)[1]) if discount else torch.ones(len(text))
        for layer, (states, chosen, gates) in enumerate(routes(network, text)):
            module = network.model.decoder.layers[layer].experts
            for token, weight in enumerate(weights.tolist()):
                for expert, gate in zip(chosen[token].tolist(), gates[token].tolist(), strict=True):
                    outer, up = (module.gate_up_proj[expert] @ states[token]).chunk(2)
                    output = module.down_proj[expert] @ (module.act_fn(outer) * up)
                    added[layer, expert] += weight * gate * float(output.norm())
                    sent[layer, expert] += weight
    return np.divide(added, sent, out=np.zeros_like(added), where=sent > 0), sent


def worth(report):
    return np.array([report["experts_cut"]["worth"][str(layer)] for layer in range(LAYERS)])


def test_experts_are_ranked_by_reap_over_the_tokens_of_prefix_and_canvas(model, text, tmp_path):
    texts = torch.from_numpy(text.noised).flatten(0, 1)
    expected, sent = by_loops(texts, True)
    report, _ = cut(tmp_path / "reap", model, text, method="sink-wanda")
    np.testing.assert_allclose(worth(report), expected, rtol=2e-4, atol=1e-7)
    assert any("the tokens of both" in note for note in report["notes"])
    by_load, _ = cut(tmp_path / "load", skeleton(SPEC), text, method="sink-wanda", expert_worth="load")
    np.testing.assert_allclose(worth(by_load), sent, rtol=2e-4)
    # Every token counts once in each of the two experts that it is sent to.
    total = 2 * texts.numel()
    assert (sent.sum(axis=1) < 0.99 * total).all(), "sinks count less"


def test_the_smaller_model_is_the_dense_one_with_those_experts_forbidden(text, tmp_path):
    report, kept = cut(tmp_path / "cut", skeleton(SPEC), text, method="sink-wanda")
    assert report["model"]["run"] == "block by block from the files"
    narrowed, dense = native(FOLDER), logits(native(FOLDER), text)
    for layer, blocks in enumerate(both_layers(narrowed)):
        gone = torch.tensor([expert for expert in range(EXPERTS) if expert not in kept[layer]])
        for block in blocks:
            block.router.proj.register_forward_hook(
                lambda _, given, scores, gone=gone: scores.index_fill(-1, gone, -torch.inf)
            )
    files = [folder / "model.safetensors" for folder in (FOLDER, tmp_path / "cut")]
    assert files[1].stat().st_size < files[0].stat().st_size
    small = native(tmp_path / "cut")
    assert small.config.text_config.num_experts == EXPERTS - 1 and small.config.text_config.top_k_experts == 2
    expected = logits(narrowed, text)
    torch.testing.assert_close(logits(small, text), expected, rtol=1e-4, atol=1e-4)
    assert (dense - expected).abs().max() > 0.01, "what was cut matters"
    again = load(ModelSpec(source=str(tmp_path / "cut"), device="cpu"))
    assert (again.geometry.experts, again.geometry.experts_per_token) == (EXPERTS - 1, 2)


def test_what_stays_is_written_as_it_was(model, text, tmp_path):
    _, kept = cut(tmp_path / "cut", model, text, method="wanda-noised")
    dense, small = load_file(FOLDER / "model.safetensors"), load_file(tmp_path / "cut" / "model.safetensors")
    assert small.keys() == dense.keys()
    by_expert = ("experts.gate_up_proj", "experts.down_proj", "router.proj.weight", "router.per_expert_scale")
    rows = 0
    for name, tensor in dense.items():
        if name.endswith(by_expert):
            tensor, rows = tensor[kept[int(name.split(".layers.")[1].split(".")[0])]], rows + 1
        assert torch.equal(small[name], tensor), name
    assert rows == len(by_expert) * LAYERS
    configs = [json.loads((folder / "config.json").read_text()) for folder in (FOLDER, tmp_path / "cut")]
    configs[0]["text_config"]["num_experts"] = EXPERTS - 1
    assert configs[0] == configs[1]
    masks = masks_file.open_masks(str(tmp_path / "cut"))
    for layer, numbers in kept.items():
        stays = [n for n in range(EXPERTS) if not masks.pruned(layer, f"experts.{n}.up_proj").any()]
        assert stays == numbers, "under the old numbers"


def test_experts_of_small_weights_go_by_magnitude(model, tmp_path):
    report, kept = cut(tmp_path / "magnitude", model, method="magnitude")
    experts = [block.experts for _, block in both_layers(native(FOLDER))]
    norms = np.array(
        [
            [
                float((one.gate_up_proj[n].square().sum() + one.down_proj[n].square().sum()).sqrt().detach())
                for n in range(EXPERTS)
            ]
            for one in experts
        ]
    )
    np.testing.assert_allclose(worth(report), norms, rtol=1e-5)
    assert [sorted(set(range(EXPERTS)) - set(kept[layer])) for layer in range(LAYERS)] == norms.argmin(1)[
        :, None
    ].tolist()
