"""Triton kernels that sum attention over the queries without holding scores: one pass over the keys for each query's
highest score and the sum of its exponentials, one over the queries for each key's mass. Needs Triton.

Scores are those of `AttentionInputs.probabilities`: products summed in float32, masked ones the lowest float32.
"""

import triton
import triton.language as tl

NO_MASK, ALLOWED, ADDED = 0, 1, 2  # kinds of mask: none, 1 where a key may be attended to, added to scores


@triton.jit
def loaded(start, places, count, width, row, column, D: tl.constexpr):
    """Return features (N, D) of some of `count` queries or keys, at strides of row and column; 0 beyond the last."""
    features = tl.arange(0, D)
    return tl.load(
        start + places[:, None].to(tl.int64) * row + features[None, :] * column,
        mask=(places[:, None] < count) & (features[None, :] < width),
        other=0.0,
    )


@triton.jit
def scores_of(
    query,
    key,
    mask,
    rows,
    columns,
    queries,
    keys,
    scaling,
    mask_row,
    mask_column,
    causal: tl.constexpr,
    kind: tl.constexpr,
    widened: tl.constexpr,
):
    """Return the scores of a block of queries (M, D) and keys (N, D): (M, N) float32; -inf beyond the last key.

    widened: multiply as float32 whatever their precision, which changes no product of halves and takes longer.
    """
    if widened:
        query, key = query.to(tl.float32), key.to(tl.float32)
    scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scaling
    lowest = -3.4028234663852886e38
    if kind != 0:
        there = (rows[:, None] < queries) & (columns[None, :] < keys)
        places = rows[:, None].to(tl.int64) * mask_row + columns[None, :].to(tl.int64) * mask_column
        if kind == 1:
            scores = tl.where(tl.load(mask + places, mask=there, other=0) != 0, scores, lowest)
        else:
            scores += tl.load(mask + places, mask=there, other=0.0).to(tl.float32)
    if causal:
        scores = tl.where(columns[None, :] > rows[:, None], lowest, scores)
    return tl.where(columns[None, :] < keys, scores, float("-inf"))


@triton.jit
def normalise(
    query,
    key,
    mask,
    highest,
    total,
    heads,
    group,
    queries,
    keys,
    width,
    scaling,
    query_batch,
    query_head,
    query_row,
    query_column,
    key_batch,
    key_head,
    key_row,
    key_column,
    mask_batch,
    mask_row,
    mask_column,
    causal: tl.constexpr,
    kind: tl.constexpr,
    widened: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
):
    """Compute each query's highest score and the sum of exponentials relative to it: together its log-sum-exp, kept
    apart as their sum would lose a fully masked row's by rounding. One program per block of M queries.
    """
    batch, head = (tl.program_id(1) // heads).to(tl.int64), (tl.program_id(1) % heads).to(tl.int64)
    rows = tl.program_id(0) * M + tl.arange(0, M)
    query += batch * query_batch + head * query_head
    of_rows = loaded(query, rows, queries, width, query_row, query_column, D)
    key += batch * key_batch + (head // group) * key_head
    mask += batch * mask_batch
    top = tl.full((M,), float("-inf"), tl.float32)
    summed = tl.zeros((M,), tl.float32)
    end = tl.minimum(keys, (tl.program_id(0) + 1) * M) if causal else keys
    for first in range(0, end, N):
        columns = first + tl.arange(0, N)
        of_columns = loaded(key, columns, keys, width, key_row, key_column, D)
        scores = scores_of(
            of_rows,
            of_columns,
            mask,
            rows,
            columns,
            queries,
            keys,
            scaling,
            mask_row,
            mask_column,
            causal,
            kind,
            widened,
        )
        above = tl.maximum(top, tl.max(scores, axis=1))
        base = tl.where(above == float("-inf"), 0.0, above)  # no score yet: -inf minus -inf is NaN
        summed = summed * tl.exp(top - base) + tl.sum(tl.exp(scores - base[:, None]), axis=1)
        top = above
    places = tl.program_id(1).to(tl.int64) * queries + rows
    tl.store(highest + places, top, mask=rows < queries)
    tl.store(total + places, summed, mask=rows < queries)


@triton.jit
def sum_over_queries(
    query,
    key,
    mask,
    highest,
    total,
    mass,
    heads,
    group,
    queries,
    keys,
    width,
    scaling,
    query_batch,
    query_head,
    query_row,
    query_column,
    key_batch,
    key_head,
    key_row,
    key_column,
    mask_batch,
    mask_row,
    mask_column,
    causal: tl.constexpr,
    kind: tl.constexpr,
    widened: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
):
    """The mass of each key: its scores again, as probabilities, summed over the queries in order. One program a block
    of N keys, so that no two add to the same number."""
    batch, head = (tl.program_id(1) // heads).to(tl.int64), (tl.program_id(1) % heads).to(tl.int64)
    columns = tl.program_id(0) * N + tl.arange(0, N)
    key += batch * key_batch + (head // group) * key_head
    of_columns = loaded(key, columns, keys, width, key_row, key_column, D)
    query += batch * query_batch + head * query_head
    mask += batch * mask_batch
    summed = tl.zeros((N,), tl.float32)
    begin = (tl.program_id(0) * N // M) * M if causal else 0
    for first in range(begin, queries, M):
        rows = first + tl.arange(0, M)
        of_rows = loaded(query, rows, queries, width, query_row, query_column, D)
        scores = scores_of(
            of_rows,
            of_columns,
            mask,
            rows,
            columns,
            queries,
            keys,
            scaling,
            mask_row,
            mask_column,
            causal,
            kind,
            widened,
        )
        places = tl.program_id(1).to(tl.int64) * queries + rows
        top = tl.load(highest + places, mask=rows < queries, other=0.0)
        whole = tl.load(total + places, mask=rows < queries, other=1.0)
        probabilities = tl.exp(scores - top[:, None]) / whole[:, None]
        summed += tl.sum(tl.where(rows[:, None] < queries, probabilities, 0.0), axis=0)
    tl.store(mass + tl.program_id(1).to(tl.int64) * keys + columns, summed, mask=columns < keys)
