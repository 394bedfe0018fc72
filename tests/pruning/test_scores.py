"""Magnitude and Wanda scores, selection per row, and pruning a copy."""

import pytest
import torch

from analysis.errors import UserError
from analysis.models.load import load
from analysis.pruning import scores
from analysis.specs import ModelSpec
from tests.conftest import GOLDEN


@pytest.fixture(scope="module")
def model():
    return load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"))


@pytest.fixture(scope="module")
def texts(model):
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, model.geometry.vocabulary, (3, 10), generator=generator) for _ in range(2)]


def test_scores_are_their_formulas():
    weight = torch.tensor([[1.0, -2.0, 3.0], [-0.5, 4.0, 0.0]])
    assert torch.equal(scores.magnitude_score(weight), torch.tensor([[1.0, 2.0, 3.0], [0.5, 4.0, 0.0]]))
    wanda = scores.wanda_score(weight, torch.tensor([10.0, 1.0, 0.5]))
    assert torch.equal(wanda, torch.tensor([[10.0, 2.0, 1.5], [5.0, 4.0, 0.0]]))


def test_wanda_needs_one_norm_a_feature():
    with pytest.raises(ValueError, match="do not fit"):
        scores.wanda_score(torch.ones(2, 3), torch.ones(2))


@pytest.mark.parametrize(("sparsity", "count"), [(0.0, 0), (0.3, 3), (0.7, 7), (0.69, 6), (1.0, 10)])
def test_each_row_loses_its_lowest(sparsity, count):
    score = torch.rand(5, 10, generator=torch.Generator().manual_seed(1))
    pruned = scores.lowest_in_rows(score, sparsity)
    assert pruned.sum(dim=1).tolist() == [count] * 5
    for row, flags in zip(score, pruned, strict=True):
        if 0 < count < 10:
            assert row[flags].max() < row[~flags].min()


def test_ties_go_to_the_first():
    assert scores.lowest_in_rows(torch.ones(2, 4), 0.5).tolist() == [[True, True, False, False]] * 2


@pytest.mark.parametrize("sparsity", [-0.1, 1.1])
def test_impossible_sparsities_are_refused(sparsity):
    with pytest.raises(UserError, match="between 0 and 1"):
        scores.lowest_in_rows(torch.ones(2, 4), sparsity)


def test_feature_norms_are_the_mean_over_sequences(model, texts):
    """Against the inputs of one projection collected by hand: sqrt(Σ x² / sequences), whatever the batching."""
    block = model.blocks[0]
    inputs = []
    handle = block.mlp.up_proj.register_forward_hook(lambda module, args, output: inputs.append(args[0]))
    for text in texts:
        model.predict(text)
    handle.remove()
    expected = (torch.cat(inputs).square().sum(dim=(0, 1)) / 6).sqrt()
    norms = scores.feature_norms(model, block, texts)
    assert set(norms) == set(model.projections(block))
    torch.testing.assert_close(norms["mlp.up_proj"], expected, rtol=1e-5, atol=1e-6)
    at_once = scores.feature_norms(model, block, [torch.cat(texts)])
    torch.testing.assert_close(norms["mlp.up_proj"], at_once["mlp.up_proj"])


def test_wanda_without_text_is_refused(model):
    with pytest.raises(UserError, match="calibration"):
        scores.pruned_copy(model, "wanda", 0.5)


def test_unknown_methods_are_refused(model):
    with pytest.raises(UserError, match="Known: magnitude, wanda"):
        scores.pruned_copy(model, "magic", 0.5)


@pytest.mark.parametrize("method", ["magnitude", "wanda"])
def test_a_copy_is_pruned_and_the_model_is_left_alone(model, texts, method):
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    pruned = scores.pruned_copy(model, method, 0.5, texts)
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    for block, original in zip(pruned.blocks, model.blocks, strict=True):
        for name, module in pruned.projections(block).items():
            weight, old = module.weight, model.projections(original)[name].weight
            gone = weight == 0
            assert (gone.sum(dim=1) == weight.shape[1] // 2).all()
            assert torch.equal(weight[~gone], old[~gone])
    untouched = "model.embed_tokens.weight"
    assert torch.equal(pruned.network.state_dict()[untouched], before[untouched])


def test_methods_choose_differently(model, texts):
    masks = []
    for method in ("magnitude", "wanda"):
        block = scores.pruned_copy(model, method, 0.5, texts).blocks[0]
        masks.append(torch.cat([(m.weight == 0).flatten() for m in model.projections(block).values()]))
    assert not torch.equal(*masks)


def test_later_blocks_are_calibrated_on_pruned_ones(model, texts):
    """The norms of block 1 are those of inputs that passed the pruned block 0."""
    pruned = scores.pruned_copy(model, "wanda", 0.6, texts)
    norms = scores.feature_norms(pruned, pruned.blocks[1], texts)
    name = "self_attn.q_proj"
    original = model.projections(model.blocks[1])[name].weight.data.clone()
    expected = scores.lowest_in_rows(scores.wanda_score(original, norms[name]), 0.6)
    assert torch.equal(pruned.projections(pruned.blocks[1])[name].weight == 0, expected)
    dense = scores.feature_norms(model, model.blocks[1], texts)
    assert not torch.allclose(dense[name], norms[name])


def test_nothing_is_pruned_at_zero(model, texts):
    for method in ("magnitude", "wanda"):
        pruned = scores.pruned_copy(model, method, 0.0, texts)
        tokens = texts[0]
        assert torch.equal(pruned.predict(tokens), model.predict(tokens))
