"""Calibration of models trained block by block: noised blocks over a clean prefix, and pruning with it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analysis.calibration.activations import feature_scores, mean_token_weights
from analysis.calibration.noise import noised_sequences
from analysis.calibration.runners import Resident, Streamed, noised_layout, per_query
from analysis.models.layout import Layout, layout_of, seeing_queries, visible
from analysis.models.load import load
from analysis.pruning import pipeline
from analysis.pruning.algorithm import Calibration
from analysis.pruning.estimate import estimate
from analysis.sinks.discount import token_weights
from analysis.specs import CalibrationParams, DiscountParams, ModelSpec, PruneSpec
from tests.conftest import GOLDEN
from tests.helpers import QuietContext

NAMES = ("sdar", "a2d-qwen3", "fast-dllm-v2", "nemotron")
PARAMS = CalibrationParams(samples=2, seq_len=16, diffusion_steps=4, step_interval=2)


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return load(ModelSpec(source=str(GOLDEN / request.param), device="cpu", paradigm="bd3lm"))


@pytest.fixture
def text() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 90, (2, 16))


def noised(model, text, params=PARAMS) -> np.ndarray:
    return noised_sequences(text, params, model.mask_token, beside_clean=True)


def test_the_noised_half_is_that_of_other_families_and_the_other_half_is_clean(model, text):
    both = noised(model, text)
    assert np.array_equal(both[..., :16], noised_sequences(text, PARAMS, model.mask_token))
    assert (both[..., 16:] == text[:, None]).all()
    assert (both[:, -1, :16] == model.mask_token).all()


def test_every_noised_block_is_open_over_a_clean_prefix(model, text):
    """One forward gives each block the states it has where it alone is noised and nothing comes after it."""
    block = 4
    rows = torch.from_numpy(noised(model, text)[:, 0])
    layout = Layout(block, beside_clean=True)
    together = model.hidden(rows, layout=layout)
    for start in range(0, 16, block):
        alone = torch.cat([rows[:, 16 : 16 + start], rows[:, start : start + block]], dim=1)
        expected = model.hidden(alone, layout=Layout(block, open_from=start))[:, start:]
        assert torch.allclose(together[:, start : start + block], expected, atol=1e-4)
    clean = model.hidden(rows[:, 16:], layout=Layout(block))
    assert torch.allclose(together[:, 16:], clean, atol=1e-4)


def test_mass_is_the_mean_over_the_queries_that_see_a_token(model):
    layout, length = noised_layout(model), 32
    seen = visible(model.architecture, length, layout)
    assert torch.equal(seeing_queries(model.architecture, length, layout), seen.sum(0).float())
    assert not seen[16:, :16].any()  # no clean token sees a noised one
    attention = torch.rand(length, length).masked_fill(~seen, 0)
    attention /= attention.sum(1, keepdim=True)
    mass = attention.sum(0).numpy()[None, None]
    mean = [attention[seen[:, key], key].mean() * length for key in range(length)]
    assert np.allclose(per_query(model, mass)[0, 0], mean, atol=1e-4)


def test_scores_equal_a_slow_loop_and_every_way_gives_the_same(model, text):
    rows, discount = noised(model, text), DiscountParams(sink_std=0.5)
    fast = feature_scores(Resident(model), rows, discount, 2**31)
    twice = feature_scores(Resident(model), rows, discount, 0)
    streamed = feature_scores(Streamed(model, 2**31), rows, discount, 0)
    assert (fast.facts["mode"], twice.facts["mode"]) == ("one forward", "two passes")
    layout, name = noised_layout(model), "self_attn.q_proj"
    total = 0
    for n in range(2):
        for t in range(rows.shape[1]):
            caught = {}
            handle = model.blocks[1].self_attn.q_proj.register_forward_pre_hook(
                lambda module, inputs, caught=caught: caught.update(x=inputs[0][0])
            )
            from analysis.attention import LayerMassObserver

            observer = LayerMassObserver()
            model.hidden(torch.from_numpy(rows[n, t])[None], observer, layout)
            handle.remove()
            mass = per_query(model, observer.take().numpy())
            weight = torch.from_numpy(token_weights(mass[:, None], discount)[0, 0, 0])
            total = total + (weight[:, None] * caught["x"]).double().square().sum(0).sqrt()
    assert torch.allclose(fast.scores[1][name], total, rtol=1e-4)
    for other in (twice, streamed):
        for layer in range(model.geometry.layers):
            for key, score in fast.scores[layer].items():
                assert torch.allclose(other.scores[layer][key], score, rtol=1e-6), key


def test_clean_tokens_take_the_weight_of_their_clean_copies(model, text):
    weights = mean_token_weights(Resident(model), noised(model, text), DiscountParams(sink_std=0.5), lambda *_: None)
    assert weights.shape == (2, 1, 16)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        *(("sdar", method) for method in ("magnitude", "wanda", "wanda-noised", "sparsegpt")),
        *((name, method) for name in NAMES for method in ("sink-wanda", "sink-sparsegpt")),
    ],
    indirect=["model"],
)
def test_every_method_prunes_and_the_copy_loads_as_the_same_family(model, text, method, tmp_path):
    out = tmp_path / "pruned"
    spec = PruneSpec(model=model.spec, method=method, sparsity=0.5, calibration=PARAMS, out=str(out))
    report = pipeline.prune(model, spec, QuietContext(tmp_path), Calibration(text, noised(model, text)))
    assert report["method"] == method
    again = load(ModelSpec(source=str(out), device="cpu"))  # the copy itself says how it was trained
    assert again.architecture == model.architecture
    assert set(load_file(next(out.glob("model*.safetensors")))) == set(
        load_file(model.checkpoint.folder / "model.safetensors")
    )
    for dense, pruned in zip(model.blocks, again.blocks, strict=True):
        for name, module in again.projections(pruned).items():
            share = float((module.weight == 0).float().mean())
            assert abs(share - 0.5) < 0.02, name
            if method != "magnitude" and "gpt" not in method:
                kept = module.weight != 0
                assert torch.equal(module.weight[kept], model.projections(dense)[name].weight[kept])


def test_the_calibration_text_is_noised_beside_its_clean_copy_by_the_pipeline(model, tmp_path):
    path = tmp_path / "text.jsonl"
    rng = np.random.default_rng(0)
    path.write_text("".join(f'{{"input_ids": {rng.integers(0, 90, 16).tolist()}}}\n' for _ in range(3)))
    params = PARAMS.model_copy(update={"data": str(path)})
    spec = PruneSpec(model=model.spec, method="sink-wanda", calibration=params, out=str(tmp_path / "out"))
    report = pipeline.prune(model, spec, QuietContext(tmp_path))
    facts = report["calibration"] if "calibration" in report else report["facts"]["calibration"]
    assert facts["beside_clean"] is True
    assert facts["masked"][-1] == 1.0
    guess = estimate(model, spec, QuietContext(tmp_path))
    assert guess["total_seconds"] > 0


def test_wanda_reads_clean_text_in_the_blocks_the_model_was_trained_on(model, text):
    seen = []

    def take(batch, layer, name, inputs, routed):
        if (layer, name) == (1, "self_attn.q_proj"):
            seen.append(inputs)

    Resident(model).inputs([torch.from_numpy(text)], take, lambda: None, noised=False)
    handle = model.blocks[1].self_attn.q_proj.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.hidden(torch.from_numpy(text), layout=layout_of(model.architecture, 0))
    handle.remove()
    assert torch.equal(*seen)
