"""Wanda: its scores and norms against their formulas, and what it removes, block by block."""

import pytest
import torch

from analysis.calibration.norms import InputNorms
from analysis.errors import UserError
from analysis.models.load import load
from analysis.pruning.selection import pruned_mask
from analysis.pruning.wanda import magnitude_score, wanda_score
from analysis.specs import ModelSpec
from tests.conftest import GOLDEN
from training.measure import pruned_copy

QUERY = "self_attn.q_proj"


@pytest.fixture(scope="module")
def model():
    return load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"))


@pytest.fixture(scope="module")
def texts(model):
    """Token ids of two lengths."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, model.geometry.vocabulary, shape, generator=generator) for shape in ((3, 10), (4, 7))]


def query_norms(model, layer, texts) -> torch.Tensor:
    """sqrt(Σ x² / sequences) of what q_proj of a block reads while the whole model runs, text by text."""
    inputs: list[torch.Tensor] = []
    module = model.projections(model.blocks[layer])[QUERY]
    handle = module.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    for text in texts:
        model.predict(text)
    handle.remove()
    return (torch.stack([given.square().sum(dim=(0, 1)) for given in inputs]).sum(0) / sum(map(len, texts))).sqrt()


def test_scores_are_their_formulas():
    weight = torch.tensor([[1.0, -2.0, 3.0], [-0.5, 4.0, 0.0]])
    assert torch.equal(magnitude_score(weight), torch.tensor([[1.0, 2.0, 3.0], [0.5, 4.0, 0.0]]))
    wanda = wanda_score(weight, torch.tensor([10.0, 1.0, 0.5]))
    assert torch.equal(wanda, torch.tensor([[10.0, 2.0, 1.5], [5.0, 4.0, 0.0]]))


def test_wanda_needs_one_score_a_feature():
    with pytest.raises(ValueError, match="do not fit"):
        wanda_score(torch.ones(2, 3), torch.ones(2))


def test_norms_are_the_mean_over_sequences_however_they_are_batched():
    inputs = torch.randn(6, 10, 8, generator=torch.Generator().manual_seed(0))
    for sizes in ((6,), (3, 3), (1, 5)):
        norms = InputNorms()
        for batch in inputs.split(sizes):
            norms.add(batch, None)
        torch.testing.assert_close(norms.done(), (inputs.square().sum(dim=(0, 1)) / 6).sqrt())


def test_norms_of_nothing_are_refused():
    with pytest.raises(UserError, match="at least one calibration sequence"):
        InputNorms().done()


@pytest.mark.parametrize("method", ["magnitude", "wanda"])
def test_the_model_is_left_alone_and_what_stays_is_as_it_was(model, texts, method):
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    pruned = pruned_copy(model, method, 0.5, texts)
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    for block, original in zip(pruned.blocks, model.blocks, strict=True):
        for name, module in pruned.projections(block).items():
            weight, old = module.weight, model.projections(original)[name].weight
            gone = weight == 0
            if method == "wanda":
                assert (gone.sum(dim=1) == weight.shape[1] // 2).all()
            assert abs(int(gone.sum()) - weight.numel() // 2) <= 1
            assert torch.equal(weight[~gone], old[~gone])
    untouched = "model.embed_tokens.weight"
    assert torch.equal(pruned.network.state_dict()[untouched], before[untouched])


def test_later_blocks_are_calibrated_on_pruned_ones(model, texts):
    """The norms of block 1 are those of inputs that passed the pruned block 0, of texts of both lengths."""
    pruned = pruned_copy(model, "wanda", 0.6, texts)
    norms, dense = query_norms(pruned, 1, texts), query_norms(model, 1, texts)
    original = model.projections(model.blocks[1])[QUERY].weight.detach()
    expected = pruned_mask(wanda_score(original, norms), 0.6, "unstructured")
    assert torch.equal(pruned.projections(pruned.blocks[1])[QUERY].weight == 0, expected)
    assert not torch.allclose(dense, norms)


def test_nothing_is_pruned_at_zero(model, texts):
    for method in ("magnitude", "wanda"):
        assert torch.equal(pruned_copy(model, method, 0.0, texts).predict(texts[0]), model.predict(texts[0]))
