"""TfIdfVectorizer of integers: how often each n-gram of a pool occurs in each row."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from xdsl.dialects.builtin import f32, i1, i32, i64
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.passes.lowering._take import take
from mxc.passes.lowering.registry import Node, lowers


@lowers("TfIdfVectorizer")
def tfidf_vectorizer(loops: Loops, node: Node) -> Tensor:
    """Counts (TF), whether there are any (IDF), either times the weights of the columns."""
    mode, pool = node.attr("mode"), node.attr("pool_int64s")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise node.error(f"mode={mode} is not known", "use TF, IDF or TFIDF")
    if not pool:
        raise node.error("its pool holds strings", "use pool_int64s")
    x, shape = node.tensor(0), node.shape()
    rows = loops.cast(loops.reshape(x, (1, x.size) if x.rank < 2 else x.shape), i64)
    parts, places = [loops.fill([rows.shape[0], 1], i32, 0)], [0] * shape[-1]
    taken, skips = 1, int(node.attr("max_skip_count")) + 1
    for size, first, grams in _grams(node, pool):
        parts.append(_counts(loops, rows, grams, 1 if size == 1 else skips))
        for i in range(len(grams)):
            places[node.attr("ngram_indexes")[first + i]] = taken + i
        taken += len(grams)
    counts = take(loops, loops.concat(parts, 1), 1, places)
    return loops.reshape(_weighted(loops, counts, mode, node.attr("weights")), shape)


def _grams(node: Node, pool: list[int]) -> list[tuple[int, int, list[list[int]]]]:
    """The n-grams that count, by size: (size, number of n-grams before, n-grams)."""
    bounds = [*node.attr("ngram_counts"), len(pool)]
    wanted = range(node.attr("min_gram_length"), node.attr("max_gram_length") + 1)
    found: list[tuple[int, int, list[list[int]]]] = []
    before = 0
    for size, (start, end) in enumerate(pairwise(bounds), 1):
        grams = [pool[at : at + size] for at in range(start, end - size + 1, size)]
        if grams and size in wanted:
            found.append((size, before, grams))
        before += len(grams)
    return found


def _counts(loops: Loops, rows: Tensor, grams: list[list[int]], strides: int) -> Tensor:
    """For each row and n-gram, at how many places it occurs with its items 1 .. `strides` apart."""
    batch, length = rows.shape
    table = loops.constant(np.array(grams, np.int64))
    gram = AffineExpr.dimension(1)

    def body(k: Body, *scalars: Scalar) -> Scalar:
        items, total = scalars[:-1], scalars[-1]
        apart, start = k.index(2) + 1, k.index(3)
        found = k.const(1, i1)
        for i, item in enumerate(items):
            at = start + apart * i
            value = k.load(rows.value, [k.index(0), k.clamp(at, 0, length - 1)])
            found = found & (at < length) & value.eq(item)
        return total + k.cast(found, i32)

    columns = [(table, [gram, i]) for i in range(len(grams[0]))]
    shape = [batch, len(grams)]
    start = loops.fill(shape, i32, 0)
    return loops.generic(body, columns, shape, i32, reduce=[strides, length], init=start)


def _weighted(loops: Loops, counts: Tensor, mode: str, weights: list[float] | None) -> Tensor:
    if mode == "IDF":
        counts = loops.map(lambda k, n: k.cast(n > 0, i32), counts)
    values = loops.cast(counts, f32)
    if mode == "TF" or not weights:
        return values
    factors = loops.constant(np.array(weights, np.float32))
    return loops.map(lambda k, v, w: v * w, values, factors)
