"""Measures of two masks against plain loops over every weight."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.pruned import compare

SHAPES = {"q_proj": (12, 8), "k_proj": (6, 8), "v_proj": (6, 8), "o_proj": (8, 12), "up_proj": (5, 8)}
HEADS, KV_HEADS, LAYERS = 4, 2, 2
WIDTH = 3  # of a head


def drawn(seed, p, q, layers=LAYERS):
    rng = np.random.default_rng(seed)
    return [
        (layer, name, rng.random(shape) < p, rng.random(shape) < q)
        for layer in range(layers)
        for name, shape in SHAPES.items()
    ]


def compared(pairs, layers=LAYERS):
    return compare.compare(pairs, layers, tuple(SHAPES), HEADS, KV_HEADS)


def cells_of_head(name, head, mask):
    """Every (row, column) of a head's slice, one by one."""
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            owner = {"q_proj": row // WIDTH, "o_proj": column // WIDTH}.get(name)
            if name in ("k_proj", "v_proj"):
                owner = row // WIDTH
                if owner == head // (HEADS // KV_HEADS):
                    yield row, column
            elif owner == head:
                yield row, column


def loop(cells, first, second):
    """Disagreement, 1 − Jaccard and sparsity difference, counted weight by weight."""
    cells = list(cells)
    a = sum(bool(first[cell]) for cell in cells)
    b = sum(bool(second[cell]) for cell in cells)
    differ = sum(bool(first[cell]) != bool(second[cell]) for cell in cells)
    both = sum(bool(first[cell] and second[cell]) for cell in cells)
    either = sum(bool(first[cell] or second[cell]) for cell in cells)
    return differ / len(cells), (1 - both / either if either else np.nan), (b - a) / len(cells)


def measured(counts):
    return compare.disagreement(counts), compare.jaccard_distance(counts), compare.sparsity_difference(counts)


probabilities = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), probabilities, probabilities)
def test_every_slice_of_every_head_is_what_a_loop_counts(seed, p, q):
    pairs = drawn(seed, p, q)
    comparison = compared(pairs)
    for layer, name, first, second in pairs:
        every = ((row, column) for row in range(first.shape[0]) for column in range(first.shape[1]))
        index = comparison.names.index(name)
        np.testing.assert_allclose(measured(comparison.projections[layer, index]), loop(every, first, second))
        for head in range(HEADS) if name in compare.HEAD_AXIS else ():
            expected = loop(cells_of_head(name, head, first), first, second)
            np.testing.assert_allclose(measured(comparison.heads[name][layer, head]), expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), probabilities, probabilities)
def test_a_whole_head_and_the_depth_add_their_slices_up(seed, p, q):
    pairs = drawn(seed, p, q)
    comparison = compared(pairs)
    by_layer = {name: pair for layer, name, *pair in pairs if layer == 1}
    for head in range(HEADS):
        differ = weights = 0
        for name in compare.HEAD_AXIS:
            first, second = by_layer[name]
            cells = list(cells_of_head(name, head, first))
            weights += len(cells)
            differ += sum(bool(first[cell]) != bool(second[cell]) for cell in cells)
        whole = comparison.head_parts()[compare.WHOLE_HEAD][1, head]
        assert whole[0] == weights
        assert compare.disagreement(whole) == pytest.approx(differ / weights)
    groups = {compare.ALL: list(SHAPES), compare.ATTENTION: list(compare.HEAD_AXIS), compare.MLP: ["up_proj"]}
    for group, names in groups.items():
        differ = sum(int((by_layer[name][0] != by_layer[name][1]).sum()) for name in names)
        weights = sum(by_layer[name][0].size for name in names)
        assert compare.disagreement(comparison.depth()[group][1]) == pytest.approx(differ / weights)
    assert comparison.total()[0] == LAYERS * sum(rows * columns for rows, columns in SHAPES.values())


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 12))
def test_the_floor_is_the_mean_over_all_placements_of_independent_masks(size, a, b):
    """Any mask against every rotation of another: each weight meets each decision equally often."""
    a, b = min(a, size), min(b, size)
    first, second = np.arange(size) < a, np.arange(size) < b
    mean = np.mean([(first != np.roll(second, shift)).mean() for shift in range(size)])
    both = np.mean([(first & np.roll(second, shift)).sum() for shift in range(size)])
    counts = np.array([size, a, b, 0])
    assert compare.independent_disagreement(counts) == pytest.approx(mean)
    if a + b:
        assert compare.independent_jaccard(counts) == pytest.approx(both / (a + b - both))
    assert compare.least_disagreement(counts) == pytest.approx(abs(a - b) / size)


def test_equal_sparsities_give_two_p_one_minus_p():
    assert compare.independent_disagreement(np.array([100, 30, 30, 0])) == pytest.approx(2 * 0.3 * 0.7)


def test_the_spread_is_that_of_independent_masks():
    rng = np.random.default_rng(0)
    first, second = rng.random((4000, 200)) < 0.5, rng.random((4000, 200)) < 0.3
    seen = (second.mean(axis=1) - first.mean(axis=1)).std()
    counts = np.array([200, 100, 60, 0])
    assert compare.independent_spread(counts) == pytest.approx(seen, rel=0.05)


def test_slices_without_weights_or_pruned_weights_have_no_number():
    nothing = np.zeros(4, np.int64)
    assert np.isnan(compare.disagreement(nothing))
    assert np.isnan(compare.jaccard_distance(np.array([10, 0, 0, 0])))


def per_row(rng, shape, count):
    mask = np.zeros(shape, bool)
    np.put_along_axis(mask, rng.random(shape).argsort(axis=1)[:, :count], True, axis=1)
    return mask


def n_of_m(rng, shape, m):
    groups = rng.random((shape[0], shape[1] // m, m)).argsort(axis=-1) < m // 2
    return groups.reshape(shape)


def fixed_by(draw):
    rng = np.random.default_rng(0)
    shapes = {"q_proj": (16, 16), "k_proj": (16, 16), "v_proj": (16, 16), "o_proj": (16, 16)}
    pairs = [(layer, name, draw(rng, shape), draw(rng, shape)) for layer in range(2) for name, shape in shapes.items()]
    return compare.compare(pairs, 2, tuple(shapes), 2, 2)


def test_what_fixes_a_heads_sparsity_is_found_in_the_masks():
    rows = fixed_by(lambda rng, shape: per_row(rng, shape, 8))
    assert rows.fixed == {"q_proj": "rows", "k_proj": "rows", "v_proj": "rows", "o_proj": ""}
    assert rows.fixed_parts(compare.WHOLE_HEAD) == ({"rows": ["q_proj", "k_proj", "v_proj"]}, ["o_proj"])
    assert not compare.sparsity_difference(rows.heads["q_proj"]).any()
    assert compare.sparsity_difference(rows.heads["o_proj"]).any()
    for pattern, size in (("2:4", 4), ("4:8", 8)):
        comparison = fixed_by(lambda rng, shape, size=size: n_of_m(rng, shape, size))
        assert set(comparison.fixed.values()) == {pattern}
        assert comparison.fixed_parts("o_proj") == ({pattern: ["o_proj"]}, [])
        assert not compare.sparsity_difference(comparison.head_parts()[compare.WHOLE_HEAD]).any()
    free = fixed_by(lambda rng, shape: rng.random(shape) < 0.5)
    assert set(free.fixed.values()) == {""}
    dense = fixed_by(lambda rng, shape: np.zeros(shape, bool))
    assert set(dense.fixed.values()) == {"dense"}


def test_a_pattern_without_a_row_is_found_in_the_masks():
    def one_of_four(rng, shape):
        order = rng.random((*shape[:-1], shape[-1] // 4, 4))
        return (order == order.max(axis=-1, keepdims=True)).reshape(shape)

    assert set(fixed_by(one_of_four).fixed.values()) == {"3:4"}


def test_a_layer_left_dense_does_not_hide_what_fixes_the_others():
    rng = np.random.default_rng(0)
    shape = (16, 16)
    dense = np.zeros(shape, bool)
    pairs = [(0, "o_proj", dense, dense), (1, "o_proj", n_of_m(rng, shape, 4), n_of_m(rng, shape, 4))]
    assert compare.compare(pairs, 2, ("o_proj",), 2, 2).fixed == {"o_proj": "2:4"}


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="layer 0, q_proj"):
        compare.compare([(0, "q_proj", np.zeros((4, 4), bool), np.zeros((2, 4), bool))], 1, ("q_proj",), 2, 2)


@given(st.integers(0, 2**31), st.integers(2, 4))
def test_the_overlap_of_several_masks_is_what_sets_say(seed, count):
    rng = np.random.default_rng(seed)
    shapes = [(3, 5), (7, 2)]
    groups = [[rng.random(shape) < 0.4 for _ in range(count)] for shape in shapes]
    shared, weights = compare.overlap(groups, count)
    sets = [
        {(matrix, *cell) for matrix, group in enumerate(groups) for cell in map(tuple, np.argwhere(group[index]))}
        for index in range(count)
    ]
    assert weights == 15 + 14
    similarity = compare.jaccard(compare.pairs_of(shared, weights))
    for row in range(count):
        for column in range(count):
            either = sets[row] | sets[column]
            expected = len(sets[row] & sets[column]) / len(either) if either else np.nan
            np.testing.assert_allclose(similarity[row, column], expected)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**31))
def test_a_picture_is_the_mean_of_its_blocks_and_never_larger_than_its_limit(rows, columns, high, wide, seed):
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.5
    picture, height, width = compare.shares(mask, (high, wide))
    assert picture.shape[0] <= high
    assert picture.shape[1] <= wide
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            block = mask[row * height : (row + 1) * height, column * width : (column + 1) * width]
            assert picture[row, column] == pytest.approx(block.mean())
    by_input = compare.by_input(picture, mask.shape, height, width)
    assert by_input.tolist() == [int(mask[:, left : left + width].sum()) for left in range(0, columns, width)]


def test_the_slice_of_a_head_is_the_one_that_is_counted():
    pairs = drawn(3, 0.5, 0.5)
    comparison = compared(pairs)
    for layer, name, first, _ in pairs:
        for head in range(HEADS) if name in compare.HEAD_AXIS else ():
            part = compare.head_slice(first, name, head, HEADS, KV_HEADS)
            assert part.shape == compare.slice_shape(first.shape, name, HEADS, KV_HEADS)
            assert [part.size, part.sum()] == comparison.heads[name][layer, head, :2].tolist()
    with pytest.raises(ValueError, match="no slices"):
        compare.head_slice(np.zeros((5, 8), bool), "up_proj", 0, HEADS, KV_HEADS)


def test_the_furthest_projection_lies_most_above_two_seeds_or_differs_most():
    def counted(shares: list[list[float]]) -> compare.Comparison:
        """Masks that differ in these shares of 100 weights, half of them pruned."""
        differ = (50 * np.array(shares)).astype(np.int64)
        return compare.Comparison(("a", "b"), np.stack([50 - differ, differ, differ, 50 - differ], axis=-1), {}, {})

    measure = next(iter(compare.MEASURES.values()))
    between, seeds = counted([[0.1, 0.4], [0.2, 0.3]]), counted([[0.1, 0.38], [0.0, 0.3]])
    assert compare.furthest(measure, between, None) == (0, 1)
    assert compare.furthest(measure, between, seeds) == (1, 0)
