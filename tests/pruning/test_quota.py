"""Over which weights a quota is kept: exact to one weight at every scope, the same bits however the model is run."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.errors import UserError
from analysis.models.blocks import skeleton
from analysis.models.files import stored_tensors
from analysis.models.load import load
from analysis.pruning import pipeline
from analysis.pruning.removal import lowest_of_all
from analysis.pruning.sparsegpt import Hessian
from analysis.pruning.sparsegpt import prune as sparsegpt
from analysis.pruning.wanda import wanda_score
from analysis.specs import METHODS, PUBLISHED, QUOTA_SCOPES, CalibrationParams, ModelSpec, PruneSpec
from tests.conftest import GOLDEN
from tests.helpers import fresh_context
from tests.pruning.test_pruning import published_text, written

TEXT = CalibrationParams(samples=4, seq_len=48)
KINDS = ("magnitude", "wanda", "sink-wanda", "sink-sparsegpt")


@pytest.fixture(scope="module")
def model():
    return load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"))


@pytest.fixture(scope="module")
def text():
    from safetensors.torch import load_file

    return published_text(load_file(GOLDEN / "llada-gqa" / "golden.safetensors"))


def pruned(model, text, out, method, **changes):
    """The report, and the written tensors by native name."""
    if changes.get("quota_scope") == "model" and METHODS[method].calibrated:
        changes["ranking"] = "dense"
    spec = PruneSpec(model=model.spec, method=method, calibration=TEXT, out=str(out), **changes)
    return pipeline.prune(model, spec, fresh_context(out), text), written(out, model)


def targets(model) -> dict[int, list[str]]:
    return {
        layer: [f"model.layers.{layer}.{name}.weight" for name in model.projections(block)]
        for layer, block in enumerate(model.blocks)
    }


# --- the threshold ----------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    matrices=st.lists(
        st.lists(
            st.one_of(
                st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, float("inf"), float("-inf"), 1e-45]), st.floats(width=32)
            ).filter(lambda value: value == value),
            min_size=1,
            max_size=20,
        ),
        min_size=1,
        max_size=5,
    ),
    data=st.data(),
)
def test_the_lowest_of_all_matrices_are_those_of_one_stable_sort(matrices, data):
    flat = np.array([value for matrix in matrices for value in matrix], np.float32)
    count = data.draw(st.integers(0, len(flat)))
    expected = np.zeros(len(flat), bool)
    expected[np.argsort(flat, kind="stable")[:count]] = True
    tensors = [torch.tensor([matrix], dtype=torch.float32) for matrix in matrices]
    threshold = lowest_of_all(lambda: iter(tensors), count)
    assert torch.cat([threshold.take(tensor) for tensor in tensors], dim=1)[0].tolist() == expected.tolist()


def test_scores_that_are_no_numbers_and_too_many_are_refused():
    with pytest.raises(UserError, match="NaN"):
        lowest_of_all(lambda: [torch.tensor([[1.0, float("nan")]])], 1)
    with pytest.raises(ValueError, match="cannot be the lowest"):
        lowest_of_all(lambda: [torch.ones(1, 2)], 3)


# --- counts in the written file ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "scope"),
    [(name, scope) for name in ("magnitude", "wanda", "sink-sparsegpt") for scope in METHODS[name].scopes],
    ids=lambda value: value,
)
def test_every_scope_is_exact_to_one_weight(model, text, tmp_path, method, scope):
    sparsity = 0.37
    report, tensors = pruned(model, text, tmp_path / "p", method, quota_scope=scope, sparsity=sparsity)
    zeros = {layer: [tensors[name] == 0 for name in names] for layer, names in targets(model).items()}
    total = sum(flags.numel() for own in zeros.values() for flags in own)
    if scope == "row":
        assert all(
            (flags.sum(dim=1) == int(flags.shape[1] * sparsity + 1e-9)).all() for own in zeros.values() for flags in own
        )
    elif scope == "projection":
        assert all(abs(int(flags.sum()) - sparsity * flags.numel()) <= 1 for own in zeros.values() for flags in own)
    elif scope == "layer":
        for own in zeros.values():
            assert abs(sum(int(flags.sum()) for flags in own) - sparsity * sum(flags.numel() for flags in own)) <= 1
        assert len({int(flags.sum()) / flags.numel() for flags in zeros[0]}) > 1, "projections share one quota"
    if scope != "row":
        assert abs(sum(int(flags.sum()) for own in zeros.values() for flags in own) - sparsity * total) <= 1
    if scope == "model":
        assert len(set(report["sparsity"]["by_layer"].values())) > 1, "layers share one quota"
    assert report["parameters"]["quota_scope"] == scope and f"--quota-scope {scope}" in report["command"]


def test_over_the_model_no_weight_that_stays_scores_below_one_that_went(model, tmp_path):
    _, tensors = pruned(model, None, tmp_path / "p", "magnitude", quota_scope="model")
    original = stored_tensors(model)
    names = [name for own in targets(model).values() for name in own]
    gone = torch.cat([(tensors[name] == 0).flatten() for name in names])
    sizes = torch.cat([original[name].read().abs().flatten() for name in names])
    assert sizes[gone].max() <= sizes[~gone].min()
    assert int(gone.sum()) == round(0.5 * len(gone))


@pytest.mark.parametrize(("method", "scope"), [("wanda", "projection"), ("wanda", "layer"), ("sink-wanda", "model")])
def test_a_model_read_block_by_block_gives_the_same_bits(model, text, tmp_path, method, scope):
    _, whole = pruned(model, text, tmp_path / "whole", method, quota_scope=scope)
    _, streamed = pruned(skeleton(model.spec), text, tmp_path / "streamed", method, quota_scope=scope)
    _, twice = pruned(model, text, tmp_path / "twice", method, quota_scope=scope, byte_budget=0)
    assert all(torch.equal(whole[name], streamed[name]) and torch.equal(whole[name], twice[name]) for name in whole)


@pytest.mark.parametrize(
    ("allocation", "scope"),
    [
        ("owl", "layer"),
        ("owl-projection", "projection"),
        ("owl-projection", "layer"),
        ("alpha", "projection"),
        ("depth", "layer"),
    ],
)
def test_an_allocation_holds_at_every_scope_that_it_can_share_over(model, text, tmp_path, allocation, scope):
    changes = {"quota_scope": scope, "allocation": allocation, "sparsity": 0.45, "owl_threshold": 3.0}
    if (allocation, scope) == ("owl-projection", "layer"):
        with pytest.raises(ValidationError, match="by the scores themselves: choose the allocation uniform"):
            pruned(model, text, tmp_path / "p", "wanda", **changes)
        return
    report, tensors = pruned(model, text, tmp_path / "p", "wanda", **changes)
    zeros = {name: int((tensors[name] == 0).sum()) for own in targets(model).values() for name in own}
    assert abs(sum(zeros.values()) - 0.45 * sum(tensors[name].numel() for name in zeros)) <= 1
    for layer, names in targets(model).items():
        weights = sum(tensors[name].numel() for name in names)
        asked = report["sparsity"]["asked_by_layer"][layer]
        assert abs(sum(zeros[name] for name in names) - asked * weights) <= (len(names) if scope == "projection" else 1)
    assert len({round(share, 6) for share in report["sparsity"]["asked_by_layer"]}) > 1


# --- SparseGPT --------------------------------------------------------------------------------------------------


def test_sparsegpts_rows_each_lose_their_share_of_every_block():
    weight, factor = _problem()
    solved = sparsegpt(weight, factor, 0.4, "unstructured", block=16, scope="row")
    assert (solved.pruned.sum(dim=1) == int(48 * 0.4)).all()
    for start in range(0, 48, 16):
        within = solved.pruned[:, start : start + 16].sum(dim=1)
        assert within.min() == within.max()
    spread = sparsegpt(weight, factor, 0.4, "unstructured", block=16, count=12 * 19 + 5, scope="row").pruned.sum(dim=1)
    assert spread.sum() == 12 * 19 + 5 and spread.max() - spread.min() == 1
    assert ((solved.weight == 0) == solved.pruned).all()


def test_sparsegpt_over_a_projection_is_one_block_of_all_columns():
    weight, factor = _problem()
    whole = sparsegpt(weight, factor, 0.4, "unstructured", block=48, count=230)
    scoped = sparsegpt(weight, factor, 0.4, "unstructured", block=16, count=230, scope="projection")
    assert torch.equal(whole.pruned, scoped.pruned)
    torch.testing.assert_close(whole.weight, scoped.weight, rtol=1e-4, atol=1e-6)


def _problem():
    generator = torch.Generator().manual_seed(0)
    hessian = Hessian()
    hessian.add(torch.randn(4, 60, 48, generator=generator), None)
    return torch.randn(12, 48, generator=generator), hessian.done()


# --- what has no meaning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"pattern": "2:4", "quota_scope": "layer"},
            "quota over every 4 neighbours of a row: leave the quota published",
        ),
        ({"pattern": "structured", "quota_scope": "model"}, "quota over whole units of a block"),
        ({"method": "sparsegpt", "quota_scope": "layer"}, "choose published, row or projection"),
        ({"method": "wanda", "quota_scope": "model"}, "rank by the dense model"),
        ({"quota_scope": "model", "allocation": "depth"}, "choose the allocation uniform"),
        ({"quota_scope": "heap"}, "quota_scope"),
        ({"pattern": "structured", "allocation": "owl-projection"}, "span projections"),
    ],
)
def test_scopes_without_a_meaning_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        PruneSpec(**changes)


def test_published_is_a_scope_of_each_method_or_its_own():
    for row in METHODS.values():
        assert row.scope is None or row.scope in row.scopes
        assert set(row.scopes) <= set(QUOTA_SCOPES) - {PUBLISHED}
    assert PruneSpec(method="wanda").scope == PruneSpec(method="sink-wanda", pattern="2:4").scope == "row"
    assert PruneSpec(method="magnitude").scope == "projection"
    assert PruneSpec(method="sparsegpt").scope is None


def test_scores_are_compared_across_projections_as_they_are():
    """Over a layer a projection whose inputs are small loses more, as |W|·s says."""
    weight = torch.ones(2, 4)
    scores = [wanda_score(weight, torch.full((4,), value)) for value in (1.0, 3.0)]
    threshold = lowest_of_all(lambda: iter(scores), 8)
    assert [int(threshold.take(score).sum()) for score in scores] == [8, 0]
