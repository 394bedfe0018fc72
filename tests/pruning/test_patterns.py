"""Which weights go: every pattern against a plain sort, ties, exact counts, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from analysis.errors import UserError
from analysis.models.load import load
from analysis.pruned import masks_file
from analysis.pruning import selection
from analysis.pruning.algorithm import Calibration
from analysis.pruning.pipeline import prune
from analysis.pruning.selection import pruned_mask
from analysis.specs import PATTERNS, ModelSpec, PruneSpec
from tests.conftest import GOLDEN
from tests.helpers import fresh_context

# Few distinct values, so that ties are common.
SCORES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6).map(lambda groups: groups * 8)),
    elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, float("inf")]),
)


def stable_lowest(rows: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of each row after a stable sort: what every pattern is defined by."""
    pruned = np.zeros(rows.shape, bool)
    np.put_along_axis(pruned, np.argsort(rows, axis=-1, kind="stable")[..., :count], True, axis=-1)
    return pruned


@settings(max_examples=60, deadline=None)
@given(score=SCORES, percent=st.integers(0, 99))
def test_rows_are_a_stable_sort(score, percent):
    sparsity = percent / 100
    rows = pruned_mask(torch.from_numpy(score), sparsity, "unstructured")
    count = score.shape[1] * percent // 100
    assert np.array_equal(rows.numpy(), stable_lowest(score, count))


@settings(max_examples=60, deadline=None)
@given(score=SCORES, sparsity=st.floats(0.01, 0.99))
def test_a_matrix_loses_what_the_authors_code_takes(score, sparsity):
    """Every score up to and including the one at int(n · sparsity) of the sorted ones; nothing at a sparsity of 0."""
    threshold = sorted(score.flatten().tolist())[int(score.size * sparsity)]
    matrix = pruned_mask(torch.from_numpy(score), sparsity, "unstructured", over="matrix")
    assert np.array_equal(matrix.numpy(), score <= threshold)
    assert int(matrix.sum()) > int(score.size * sparsity)
    assert not pruned_mask(torch.from_numpy(score), 0.0, "unstructured", over="matrix").any()


@settings(max_examples=60, deadline=None)
@given(score=SCORES, data=st.data())
def test_an_exact_count_is_spread_over_the_rows_or_taken_from_the_matrix(score, data):
    count = data.draw(st.integers(0, score.size - 1))
    rows = pruned_mask(torch.from_numpy(score), 0.5, "unstructured", count=count).numpy()
    lost = rows.sum(axis=1)
    assert lost.sum() == count
    assert lost.max() - lost.min() <= 1
    for row, flags in zip(score, rows, strict=True):
        assert np.array_equal(flags, stable_lowest(row[None], int(flags.sum()))[0])
    matrix = pruned_mask(torch.from_numpy(score), 0.5, "unstructured", over="matrix", count=count).numpy()
    assert np.array_equal(matrix, stable_lowest(score.reshape(1, -1), count).reshape(score.shape))


def test_rows_that_lose_one_more_lie_apart():
    """So that no head gives more than its share: of 12 rows, one in every four."""
    lost = pruned_mask(torch.rand(12, 8), 0.5, "unstructured", count=12 * 3 + 3).sum(dim=1)
    assert lost.view(3, 4).sum(dim=1).tolist() == [13, 13, 13]


@settings(max_examples=60, deadline=None)
@given(score=SCORES, pattern=st.sampled_from(["2:4", "4:8"]))
def test_neighbours_are_a_stable_sort(score, pattern):
    kept, group = (int(part) for part in pattern.split(":"))
    pruned = pruned_mask(torch.from_numpy(score), 0.5, pattern)
    expected = stable_lowest(score.reshape(len(score), -1, group), group - kept)
    assert np.array_equal(pruned.numpy(), expected.reshape(score.shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 100))
def test_pieces_and_precisions_change_nothing(dtype, seed):
    """Rows come in pieces; a piece is smaller than the matrix here."""
    score = torch.rand(9, 64, generator=torch.Generator().manual_seed(seed)).to(dtype)
    expected = stable_lowest(score.float().numpy(), 25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_PIECE", 128)
        assert np.array_equal(selection.lowest(score, 25).numpy(), expected)
        assert np.array_equal(pruned_mask(score, 0.4, "unstructured").numpy(), expected)
        in_fours = stable_lowest(score.float().numpy().reshape(9, -1, 4), 2).reshape(9, 64)
        assert np.array_equal(pruned_mask(score, 0.5, "2:4").numpy(), in_fours)


def test_every_pattern_says_what_it_removes():
    assert {name: row.sparsity for name, row in PATTERNS.items()} == {
        "unstructured": None,
        "2:4": 0.5,
        "4:8": 0.5,
        "structured": None,
        "experts": None,
    }


def test_whole_units_are_no_mask_of_one_matrix():
    with pytest.raises(UserError, match="whole units"):
        pruned_mask(torch.ones(4, 8), 0.5, "structured")


@pytest.mark.parametrize(("pattern", "width"), [("2:4", 6), ("4:8", 12)])
def test_a_width_that_does_not_divide_is_named(pattern, width):
    with pytest.raises(UserError, match=rf"{pattern}.*width is {width}"):
        pruned_mask(torch.ones(2, width), 0.5, pattern)


@pytest.mark.parametrize("shape", [(0, 8), (8, 0)])
def test_a_matrix_without_weights_is_refused(shape):
    with pytest.raises(UserError, match="no weights"):
        pruned_mask(torch.ones(shape), 0.5, "unstructured")


@pytest.mark.parametrize("pattern", [name for name, row in PATTERNS.items() if not row.cuts_units])
def test_scores_that_are_no_numbers_are_refused(pattern):
    score = torch.ones(4, 8)
    score[2, 3] = torch.nan
    with pytest.raises(UserError, match="NaN"):
        pruned_mask(score, 0.5, pattern)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_impossible_sparsities_are_refused(sparsity):
    with pytest.raises(UserError, match="between 0 and 1"):
        pruned_mask(torch.ones(4, 8), sparsity, "unstructured")


def test_neighbours_fix_the_sparsity():
    with pytest.raises(UserError, match=r"exactly 0\.5"):
        pruned_mask(torch.ones(4, 8), 0.3, "2:4")


def test_unknown_patterns_are_refused():
    known = "Known: unstructured, 2:4, 4:8, structured, experts or any N:M with 1 ≤ N < M ≤ 16"
    for pattern in ("3:17", "4:4", "5:3", "0:4", "04:8", "2:4 "):
        with pytest.raises(UserError, match=known):
            pruned_mask(torch.ones(4, 8), 0.5, pattern)


@pytest.mark.parametrize("group", range(2, 17))
def test_any_n_of_m_removes_its_very_share_where_scores_are_lowest(group):
    for kept in range(1, group):
        pattern, score = f"{kept}:{group}", torch.rand(5, 3 * group, generator=torch.Generator().manual_seed(kept))
        gone = pruned_mask(score, PATTERNS[pattern].sparsity, pattern).view(-1, group)
        assert (gone.sum(dim=1) == group - kept).all()
        for flags, scores in zip(gone, score.view(-1, group), strict=True):
            assert scores[flags].max() < scores[~flags].min()


@given(st.integers(1, 15), st.integers(2, 16))
def test_a_pruning_takes_the_sparsity_of_its_pattern_and_refuses_another(kept, group):
    if kept >= group:
        with pytest.raises(ValueError, match="any N:M"):
            PruneSpec(pattern=f"{kept}:{group}")
        return
    share = 1 - kept / group
    assert PruneSpec(pattern=f"{kept}:{group}").sparsity == share
    assert PruneSpec(pattern=f"{kept}:{group}", sparsity=round(share, 3)).sparsity == share
    with pytest.raises(ValueError, match="removes exactly"):
        PruneSpec(pattern=f"{kept}:{group}", sparsity=share / 2)


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sink-wanda", "sink-sparsegpt"])
def test_every_method_prunes_three_of_eight_and_a_width_that_does_not_divide_is_refused(method, tmp_path):
    model = load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu"))
    text = Calibration(np.arange(5, 37).reshape(2, 16) % 60, np.arange(5, 69).reshape(2, 2, 16) % 60)

    def run(pattern, name):
        spec = PruneSpec(model=model.spec, method=method, pattern=pattern, out=str(tmp_path / name))
        return prune(model, spec, fresh_context(tmp_path / name), text)

    assert run("3:8", "p")["sparsity"]["overall"] == 0.625
    masks = masks_file.open_masks(str(tmp_path / "p"))
    for layer, name in masks.weights:
        assert (masks.pruned(layer, name).reshape(-1, 8).sum(axis=1) == 5).all()
    with pytest.raises(UserError, match=r"q_proj.*multiple of 7 weights.*width is "):
        run("3:7", "q")


def test_sparsegpt_works_through_whole_groups_where_its_block_of_columns_holds_no_whole_number_of_them(tmp_path):
    model, out = load(ModelSpec(source=str(GOLDEN / "llada-gqa"), device="cpu")), tmp_path / "p"
    others = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj")
    spec = PruneSpec(model=model.spec, method="sparsegpt", pattern="3:5", skip_projections=others, out=str(out))
    prune(model, spec, fresh_context(out), Calibration(np.arange(5, 37).reshape(2, 16) % 60))
    masks = masks_file.open_masks(str(out))
    assert masks.shape((0, "down_proj"))[1] == 160
    assert (masks.pruned(0, "down_proj").reshape(-1, 5).sum(axis=1) == 2).all()
