"""Operators that write at computed positions.

Every element of the result looks at all updates in order and folds those that are meant for it, so
duplicates act in the written order and an index outside the tensor writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import i1, i64
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor, insert_at, repeat, slice_at
from mxc.dialects.loops.scalar import compute_type
from mxc.dialects.types import is_unsigned
from mxc.passes.lowering._take import Run, box, take
from mxc.passes.lowering.gather import (
    constant_tuples,
    index_columns,
    linear_index,
    window_of,
)
from mxc.passes.lowering.registry import Node, lowers

Combine = Callable[[Body, Scalar, Scalar], Scalar]

_REDUCTIONS: dict[str, Combine] = {
    "none": lambda k, old, new: new,
    "add": lambda k, old, new: old + new,
    "mul": lambda k, old, new: old * new,
    "max": lambda k, old, new: k.maximum(new, old),
    "min": lambda k, old, new: k.minimum(new, old),
}


_OF_BOOLEANS: dict[str, Combine] = {
    "none": lambda k, old, new: new,
    "add": lambda k, old, new: old | new,
    "mul": lambda k, old, new: old & new,
    "max": lambda k, old, new: old | new,
    "min": lambda k, old, new: old & new,
}

MAX_FOLD = 1 << 24
"""With more pairs of elements and updates than this, updates are applied one by one instead."""


def _combine(node: Node) -> Combine:
    """How the node's `reduction` combines an old value and an update."""
    reduction = node.attr("reduction")
    table = _OF_BOOLEANS if node.tensor(0).element == i1 else _REDUCTIONS
    if reduction not in table:
        raise node.error(f"reduction={reduction} is not known")
    return table[reduction]


def _normal(k: Body, index: Scalar, size: int) -> Scalar:
    """`index` with a negative one counted from the end."""
    return index if index.unsigned else k.where(index < 0, index + size, index)


@lowers("ScatterElements")
def scatter_elements(loops: Loops, node: Node) -> Tensor:
    """The tensor with updates[.., i, ..] folded in at [.., indices[.., i, ..], ..]."""
    x, indices, updates = (node.tensor(i) for i in range(3))
    if not indices.size:
        return x
    axis, combine = node.axis(x.rank), _combine(node)
    count = indices.shape[axis]
    inner = tuple(n for a, n in enumerate(indices.shape) if a != axis)
    outer = tuple(n for a, n in enumerate(x.shape) if a != axis)
    window = [x.shape[axis] if a == axis else n for a, n in enumerate(indices.shape)]
    base = x if inner == outer else loops.slice(x, [0] * x.rank, window)
    exprs: list[AffineExpr | int] = [AffineExpr.dimension(a) for a in range(x.rank)]
    exprs[axis] = AffineExpr.dimension(x.rank)

    def body(k: Body, index: Scalar, update: Scalar, old: Scalar) -> Scalar:
        here = _normal(k, index, x.shape[axis]).eq(k.cast(k.index(axis), index.type))
        return k.where(here, combine(k, old, update), old)

    pairs = [(indices, exprs), (updates, exprs)]
    result = fold(loops, body, pairs, base, count)
    return result if inner == outer else loops.insert_slice(result, x, [0] * x.rank)


def fold(
    loops: Loops,
    body: Callable[..., Scalar],
    pairs: Sequence[tuple[Tensor, Sequence[AffineExpr | int]]],
    base: Tensor,
    count: int,
) -> Tensor:
    """`base` with `count` updates folded in, computed in the type its elements are computed in."""
    wide = compute_type(base.element)
    start = loops.cast(base, wide)
    result = loops.generic(body, pairs, base.shape, wide, reduce=[count], init=start)
    return loops.cast(result, base.element)


@lowers("ScatterND")
def scatter_nd(loops: Loops, node: Node) -> Tensor:
    """The tensor with each update, a slice, folded in at its index tuple."""
    x, indices, updates = (node.tensor(i) for i in range(3))
    if not indices.size:
        return x
    length, combine = indices.shape[-1], _combine(node)
    plain = node.attr("reduction") == "none"
    if node.is_const(1):
        known = constant_tuples(node, x.shape[:length])
        found = box(known)
        if found is not None:
            return _into_window(loops, x, updates, found, None if plain else combine)
        if plain:
            return _by_table(loops, x, updates, known)
    indexed, inner = x.shape[:length], prod(x.shape[length:])
    count = prod(indices.shape[:-1])
    base = loops.reshape(x, [prod(indexed), inner])
    tuples = loops.reshape(indices, [count, length])
    rows = loops.reshape(updates, [count, inner])
    if base.size * count > MAX_FOLD:
        result = _one_by_one(loops, base, tuples, rows, indexed, combine)
        return loops.reshape(result, x.shape)
    step = AffineExpr.dimension(2)

    def body(k: Body, update: Scalar, *rest: Scalar) -> Scalar:
        old, parts = rest[-1], rest[:-1]
        position = _normal(k, parts[0], indexed[0])
        inside = k.const(1, i1)
        for part, size in zip(parts[1:], indexed[1:], strict=True):
            part = _normal(k, part, size)
            inside = inside & (part >= 0) & (part < size)
            position = position * size + part
        here = inside & position.eq(k.cast(k.index(0), position.type))
        return k.where(here, combine(k, old, update), old)

    columns = index_columns(tuples, [step])
    pairs = [(rows, [step, AffineExpr.dimension(1)]), *columns]
    return loops.reshape(fold(loops, body, pairs, base, count), x.shape)


def _into_window(
    loops: Loops, x: Tensor, updates: Tensor, found: Sequence[Run], combine: Combine | None
) -> Tensor:
    """`x` with the updates in, or combined with, the part that the runs select."""
    rest = x.shape[len(found) :]
    old = window_of(loops, x, found)
    new = loops.reshape(updates, old.shape)
    both = loops.map(lambda k, a, b: combine(k, a, b), old, new) if combine else new
    starts = [start for start, _, _ in found] + [0] * len(rest)
    steps = [step for _, step, _ in found] + [1] * len(rest)
    return loops.insert_slice(both, x, starts, steps)


def _by_table(loops: Loops, x: Tensor, updates: Tensor, tuples: NDArray[Any]) -> Tensor:
    """`x` with the updates in place of what they overwrite, chosen row by row while compiling."""
    length = tuples.shape[1]
    indexed, inner = x.shape[:length], prod(x.shape[length:])
    rows = prod(indexed)
    source = np.arange(rows)
    source[np.ravel_multi_index(tuple(tuples.T), indexed)] = rows + np.arange(len(tuples))
    parts = [loops.reshape(x, [rows, inner]), loops.reshape(updates, [len(tuples), inner])]
    chosen = take(loops, loops.concat(parts, 0), 0, [int(i) for i in source])
    return loops.reshape(chosen, x.shape)


def _one_by_one(
    loops: Loops,
    base: Tensor,
    tuples: Tensor,
    rows: Tensor,
    indexed: Sequence[int],
    combine: Combine,
) -> Tensor:
    """A loop over the updates; indices outside are clamped."""
    inner = base.shape[1]

    def step(inside: Loops, i: Scalar, carried: list[Tensor]) -> list[Tensor]:
        k = i.body
        parts = [
            k.load(tuples.value, [i, k.const(c, i.type)], is_unsigned(tuples.element))
            for c in range(len(indexed))
        ]
        at = k.cast(linear_index(k, parts, indexed), i.type)
        new = slice_at(inside, rows, [i, 0], [1, inner])
        old = slice_at(inside, carried[0], [at, 0], [1, inner])
        both = inside.map(lambda b, x, y: combine(b, x, y), old, new)
        return [insert_at(inside, both, carried[0], [at, 0])]

    return repeat(loops, tuples.shape[0], [base], step)[0]


@lowers("TensorScatter")
def tensor_scatter(loops: Loops, node: Node) -> Tensor:
    """The cache with `update` written from each batch's `write_indices` on, along `axis`."""
    cache, update = node.tensor(0), node.tensor(1)
    axis, circular = node.axis(cache.rank), node.attr("mode") == "circular"
    length, size = update.shape[axis], cache.shape[axis]
    inputs: list[tuple[Tensor, list[AffineExpr]]] = [
        (cache, [AffineExpr.dimension(a) for a in range(cache.rank)])
    ]
    if node.has(2):
        inputs.append((node.tensor(2), [AffineExpr.dimension(0)]))

    def body(k: Body, old: Scalar, *start: Scalar) -> Scalar:
        position = k.cast(k.index(axis), i64)
        offset = position - k.cast(start[0], i64) if start else position
        if circular:
            offset = k.floor_div(offset, k.const(size, i64))[1]
        inside = (offset >= 0) & (offset < length)
        at = [
            k.clamp(offset, 0, length - 1) if a == axis else k.index(a) for a in range(cache.rank)
        ]
        return k.where(inside, k.load(update.value, at, is_unsigned(update.element)), old)

    return loops.generic(body, inputs, cache.shape, cache.element)
