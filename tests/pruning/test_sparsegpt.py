"""SparseGPT: the published weights, the factor's definition, damping, dead features, patterns, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from analysis.errors import UserError
from analysis.models.load import load
from analysis.pruning import sparsegpt
from analysis.pruning.sparsegpt import factorize, prune
from analysis.specs import ModelSpec
from tests.conftest import GOLDEN


def hessian_of(inputs: torch.Tensor) -> torch.Tensor:
    """(2/n)·Σ XᵀX over n sequences (n, S, F)."""
    flat = inputs.flatten(0, 1)
    return 2 / len(inputs) * flat.T @ flat


def inputs_of(model, block, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """What reaches every projection of a block, by its name."""
    seen = {}
    hooks = [
        module.register_forward_hook(lambda module, args, output, name=name: seen.update({name: args[0]}))
        for name, module in model.projections(block).items()
    ]
    model.predict(tokens)
    for hook in hooks:
        hook.remove()
    return seen


def layer_by_layer(model, tokens: torch.Tensor, token_weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """The published procedure: every block sees inputs that passed the pruned blocks before it."""
    weights = {}
    for layer, block in enumerate(model.blocks):
        seen = inputs_of(model, block, tokens)
        for name, module in model.projections(block).items():
            factor = factorize(hessian_of(seen[name] * token_weight[..., None]))
            assert factor.damping == 0.01
            module.weight.data = prune(module.weight.data, factor, 0.5, "unstructured").weight
            weights[f"{layer}|{name}"] = module.weight.data
    return weights


LLADA_NAMES = {
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.o_proj": "attn_out",
    "mlp.gate_proj": "ff_proj",
    "mlp.up_proj": "up_proj",
    "mlp.down_proj": "ff_out",
}


@pytest.mark.parametrize("features", [3, 256, 600, 2100])
def test_a_hessian_summed_by_columns_is_the_whole_one(features, monkeypatch):
    generator = torch.Generator().manual_seed(features)
    batches = [torch.randn(1, 20, features, generator=generator) for _ in range(2)]
    weights = torch.rand(1, 20, generator=generator)
    summed, seen = sparsegpt.Hessian(), []
    monkeypatch.setattr(sparsegpt, "factorize", lambda hessian: seen.append(hessian) or factorize(torch.eye(2)))
    for batch in batches:
        summed.add(batch, weights)
    summed.done()
    whole = hessian_of(torch.cat(batches) * weights[..., None])
    assert torch.equal(seen[0], seen[0].T)
    assert torch.allclose(seen[0], whole, rtol=1e-5, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("method", ["sparsegpt", "sink-sparsegpt"])
@pytest.mark.parametrize("name", ["llada-mha", "llada-gqa", "dream-gqa"])
def test_weights_equal_the_authors(name, method):
    """The same weights go but for a few, and of what both keep 99.99 % is equal to 1e-3.

    Measured: all masks are equal, and 99.995 % of what is kept.
    """
    model = load(ModelSpec(source=str(GOLDEN / name), device="cpu"))
    golden = load_file(GOLDEN / name / "golden.safetensors")
    weight = torch.ones(golden["clean_ids"].shape)
    if method == "sink-sparsegpt":
        weight = 1 - golden["soft_sink_score"].mean(dim=1)
    ours = layer_by_layer(model, golden["clean_ids"], weight)
    same = close = kept = total = 0
    for place, solved in ours.items():
        layer, projection = place.split("|")
        theirs = golden.get(f"{method}|{place}|weight")
        if theirs is None:
            theirs = golden[f"{method}|{layer}|{LLADA_NAMES[projection]}|weight"]
        both = (solved != 0) & (theirs != 0)
        same += int(((solved != 0) == (theirs != 0)).sum())
        close += int(((solved - theirs).abs() <= 1e-3 * theirs.abs())[both].sum())
        kept += int(both.sum())
        total += theirs.numel()
    assert total == sum(value.numel() for key, value in golden.items() if key.startswith(f"{method}|"))
    assert same / total >= 0.9999, f"{same / total:.6f}"
    assert close / kept >= 0.9999, f"{close / kept:.6f}"


@pytest.fixture(scope="module")
def inputs():
    """Correlated inputs (4, 96, 64), as a network's are: some features vary together."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(64, 64, generator=generator) * torch.logspace(0, -1.5, 64)[:, None]
    return torch.randn(4, 96, 64, generator=generator) @ mixing


@pytest.fixture(scope="module")
def weight():
    return torch.randn(48, 64, generator=torch.Generator().manual_seed(1))


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 40), seed=st.integers(0, 1000))
def test_the_factor_is_of_the_inverse(size, seed):
    """UᵀU·(H + damping·mean·I) = I, U upper triangular."""
    x = torch.randn(3 * size, size, generator=torch.Generator().manual_seed(seed))
    hessian = x.T @ x
    factor = factorize(hessian)
    damped = hessian.double() + 0.01 * hessian.diagonal().mean().double() * torch.eye(size)
    upper = factor.upper.double()
    assert torch.equal(upper, upper.triu())
    assert (upper.diagonal() > 0).all()
    torch.testing.assert_close(upper.T @ upper @ damped, torch.eye(size).double(), atol=1e-3, rtol=0)
    assert (factor.damping, factor.precision) == (0.01, "float32")


@pytest.mark.parametrize("features", [192, 512])
def test_neither_factor_nor_mask_depends_on_the_number_of_threads(features):
    generator = torch.Generator().manual_seed(features)
    batches = [torch.randn(4, 128, features, generator=generator) for _ in range(4)]
    weight = torch.randn(96, features, generator=generator)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            hessian = sparsegpt.Hessian()
            for batch in batches:
                hessian.add(batch, None)
            factor = hessian.done()
            assert torch.get_num_threads() == threads
            found.append((factor.upper, *prune(weight, factor, 0.5, "unstructured")))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_one_row_is_compensated_optimally():
    """With only column j pruned, the later columns get the least-squares solution: the earlier ones are fixed."""
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(2))
    hessian = x.T @ x
    row = torch.tensor([[5.0, 4.0, 0.01, 3.0, -4.0, 6.0]])
    solved = prune(row, factorize(hessian, damping=1e-7), 0.1, "unstructured")
    assert solved.pruned.tolist() == [[False, False, True, False, False, False]]
    later = hessian[3:, 3:].double()
    change = torch.linalg.solve(later, hessian[3:, 2].double() * 0.01)
    torch.testing.assert_close(solved.weight[0, 3:].double(), row[0, 3:].double() + change, rtol=1e-5, atol=1e-6)
    assert torch.equal(solved.weight[0, :2], row[0, :2])


def surgeon(weight: torch.Tensor, hessian: torch.Tensor, sparsity: float, group: int | None, block: int):
    """SparseGPT by its definition, in float64: the Optimal Brain Surgeon's step for one column after the other, with
    the inverse of what is left of H taken anew for each. Weights (out, in) and which went.
    """
    work = weight.double()
    pruned = torch.zeros(work.shape, dtype=torch.bool)
    columns = work.shape[1]
    damped = hessian.double() + 0.01 * hessian.diagonal().double().mean() * torch.eye(columns)
    for column in range(columns):
        every = block if group is None else group
        if column % every == 0:
            scope = range(column, min(column + every, columns))
            left = torch.stack([torch.linalg.inv(damped[other:, other:])[0, 0] for other in scope])
            cost = work[:, scope].square() / left
            if group is None:
                threshold = cost.flatten().sort().values[int(cost.numel() * sparsity)]
                pruned[:, scope] = cost <= threshold
            else:
                order = cost.argsort(dim=1, stable=True)[:, : group // 2]
                pruned[:, scope] = torch.zeros(cost.shape, dtype=torch.bool).scatter(1, order, True)
        inverse = torch.linalg.inv(damped[column:, column:])[0]
        error = work[:, column] * pruned[:, column] / inverse[0]
        work[:, column:] -= error[:, None] * inverse
    return work.masked_fill(pruned, 0), pruned


@pytest.mark.parametrize("block", [16, 64])
@pytest.mark.parametrize(("pattern", "group"), [("unstructured", None), ("2:4", 4), ("4:8", 8)])
def test_it_is_the_surgeons_step_column_by_column(inputs, weight, pattern, group, block):
    hessian = hessian_of(inputs)
    expected, gone = surgeon(weight, hessian, 0.5, group, block)
    solved = prune(weight, factorize(hessian), 0.5, pattern, block)
    assert torch.equal(solved.pruned, gone)
    torch.testing.assert_close(solved.weight.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "4:8"])
def test_compensation_beats_plain_removal(inputs, weight, pattern):
    """The output error is less than without compensating, and the same whatever the block of columns in N:M."""
    hessian = hessian_of(inputs)
    factor = factorize(hessian)
    solved = prune(weight, factor, 0.5, pattern)
    assert torch.equal(solved.weight == 0, solved.pruned)

    def error(pruned: torch.Tensor) -> float:
        difference = pruned - weight
        return float(((difference @ hessian) * difference).sum())

    assert error(solved.weight) < 0.7 * error(weight.masked_fill(solved.pruned, 0))
    if pattern != "unstructured":
        kept, group = (int(part) for part in pattern.split(":"))
        assert (solved.pruned.unflatten(1, (-1, group)).sum(dim=-1) == group - kept).all()
        for block in (16, 24, 64):
            other = prune(weight, factor, 0.5, pattern, block)
            torch.testing.assert_close(other.weight, solved.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
def test_each_block_loses_its_share_over_all_rows(inputs, weight, sparsity):
    pruned = prune(weight, factorize(hessian_of(inputs)), sparsity, "unstructured", block=16).pruned
    for block in pruned.split(16, dim=1):
        assert int(block.sum()) == int(block.numel() * sparsity) + 1
    assert len(set(pruned.sum(dim=1).tolist())) > 1, "rows share one threshold, so their counts differ"


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 48 * 64 - 1), block=st.sampled_from([16, 24, 64]))
def test_an_exact_count_goes_with_its_share_of_every_block(inputs, weight, count, block):
    pruned = prune(weight, factorize(hessian_of(inputs)), 0.5, "unstructured", block, count).pruned
    assert int(pruned.sum()) == count
    for part in pruned.split(block, dim=1):
        assert abs(int(part.sum()) - count * part.shape[1] / 64) <= 1


def test_dead_features_lose_their_weights(inputs, weight):
    dead = inputs.clone()
    dead[..., [3, 40]] = 0
    hessian = hessian_of(dead)
    before = hessian.clone()
    factor = factorize(hessian)
    assert torch.equal(hessian, before)
    assert factor.dead.nonzero()[:, 0].tolist() == [3, 40]
    for pattern in ("unstructured", "2:4"):
        solved = prune(weight, factor, 0.5, pattern)
        assert (solved.weight[:, [3, 40]] == 0).all()
        assert torch.isfinite(solved.weight).all()


def test_damping_grows_until_the_factorization_succeeds():
    """A matrix with an eigenvalue of −0.5 beside a mean diagonal of 1 needs more than 0.5."""
    values, vectors = torch.tensor([-0.5, 1.0, 1.5, 2.0]), torch.linalg.qr(torch.randn(4, 4)).Q
    factor = factorize(vectors @ values.diag() @ vectors.T)
    assert factor.damping == pytest.approx(1.0)
    assert torch.isfinite(factor.upper).all()


def test_double_precision_is_tried_before_more_damping():
    """Rounding makes this one indefinite in float32 at the given damping; in float64 it is not."""
    x = torch.randn(8, 256, generator=torch.Generator().manual_seed(3)).double()
    hessian = (x.T @ x) * torch.logspace(0, 6, 256).double()[:, None] * torch.logspace(0, 6, 256).double()
    factor = factorize(hessian, damping=1e-10)
    assert (factor.damping, factor.precision) == (1e-10, "float64")


def test_nothing_goes_at_zero(inputs, weight):
    solved = prune(weight, factorize(hessian_of(inputs)), 0.0, "unstructured")
    assert torch.equal(solved.weight, weight)
    assert not solved.pruned.any()


def test_precision_is_kept_and_the_matrix_left_alone(inputs, weight):
    half = weight.bfloat16()
    before = half.clone()
    solved = prune(half, factorize(hessian_of(inputs)), 0.5, "unstructured")
    assert solved.weight.dtype == torch.bfloat16
    assert torch.equal(half, before)


def test_broken_input_is_one_sentence(inputs, weight):
    hessian = hessian_of(inputs)
    factor = factorize(hessian)
    for broken in (torch.full((4, 4), torch.nan), torch.full((4, 4), torch.inf)):
        with pytest.raises(UserError, match="not finite"):
            factorize(broken)
    with pytest.raises(UserError, match="square"):
        factorize(torch.zeros(0, 0))
    with pytest.raises(UserError, match="cannot be factorized"):
        factorize(torch.tensor([[1.0, 0.0], [0.0, -1.0]]) * 1e6)
    with pytest.raises(UserError, match="not finite"):
        prune(weight / 0, factor, 0.5, "unstructured")
    with pytest.raises(UserError, match="between 0 and 1"):
        prune(weight, factor, 1.0, "unstructured")
    with pytest.raises(UserError, match="width is 62"):
        prune(weight[:, :62], factorize(hessian[:62, :62]), 0.5, "2:4")
    with pytest.raises(ValueError, match="does not fit"):
        prune(weight[:, :32], factor, 0.5, "unstructured")


def test_ties_and_zeros_are_survived():
    """A matrix of zeros has every score at the threshold: all of it goes, and nothing becomes NaN."""
    solved = prune(torch.zeros(4, 8), sparsegpt.factorize(torch.eye(8)), 0.5, "unstructured")
    assert torch.equal(solved.weight, torch.zeros(4, 8))
