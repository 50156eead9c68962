"""Pooling: the largest, average or norm of every window, over a padded copy of the input.

Batch and channels are one loop dimension. A maximum over larger windows is taken axis by axis,
which gives the same values with fewer comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import Number, compute_type
from mxc.dialects.loops.tensor import BodyFunction, lowest
from mxc.passes.lowering.registry import Node, lowers
from mxc.passes.lowering.windows import Windows, windows_of

Unary = Callable[[Body, Scalar], Scalar]

SEPARABLE = 3
"""From this kernel size on in every axis, maxima are taken axis by axis."""


def _planes(loops: Loops, x: Tensor) -> Tensor:
    """`x` [N, C, *spatial] as [N * C, *spatial]."""
    return loops.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _fold(
    loops: Loops,
    function: BodyFunction,
    padded: Tensor,
    windows: Windows,
    init: Number,
    element: Attribute,
    others: Sequence[tuple[Tensor, Sequence[AffineExpr | int]]] = (),
) -> Tensor:
    """Folds the windows of `padded` [planes, *spatial] into [planes, *output]."""
    shape = (padded.shape[0], *windows.output)
    return loops.generic(
        function,
        [(padded, windows.exprs(1)), *others],
        shape,
        element,
        reduce=windows.kernel,
        init=loops.fill(shape, element, init),
    )


@lowers("MaxPool")
def max_pool(loops: Loops, node: Node) -> list[Tensor | None]:
    """The largest element of every window, and where it lies in the whole input."""
    x = node.tensor(0)
    windows = windows_of(node, x.shape[2:], node.attr("kernel_shape"))
    flat = _planes(loops, x)
    padded = windows.pad(loops, flat, lowest(x.element))
    largest = _max(loops, padded, windows)
    shape = node.shape()
    if not node.wants(1):
        return [loops.reshape(largest, shape)]
    where = _first_index(loops, node, padded, largest, windows)
    return [loops.reshape(largest, shape), loops.reshape(where, shape)]


def _max(loops: Loops, padded: Tensor, windows: Windows) -> Tensor:
    def step(k: Body, value: Scalar, acc: Scalar) -> Scalar:
        return k.maximum(acc, value)

    init = lowest(padded.element)
    if windows.whole and padded.shape[1:] == windows.kernel:
        axes = range(1, padded.rank)
        return loops.reshape(loops.max(padded, axes), (padded.shape[0],) + (1,) * windows.rank)
    if windows.rank < 2 or min(windows.kernel) < SEPARABLE:
        return _fold(loops, step, padded, windows, init, padded.element)
    for axis in reversed(range(windows.rank)):
        padded = _fold_axis(loops, step, padded, windows.axis(axis), axis + 1, init)
    return padded


def _fold_axis(
    loops: Loops, step: BodyFunction, x: Tensor, window: Windows, axis: int, init: Number
) -> Tensor:
    """Folds the windows along one axis of `x`."""
    exprs: list[AffineExpr | int] = [AffineExpr.dimension(i) for i in range(x.rank)]
    exprs[axis] = (
        AffineExpr.dimension(axis) * window.strides[0]
        + AffineExpr.dimension(x.rank) * window.dilations[0]
    )
    shape = list(x.shape)
    shape[axis] = window.output[0]
    start = loops.fill(shape, x.element, init)
    return loops.generic(step, [(x, exprs)], shape, x.element, reduce=window.kernel, init=start)


def _first_index(
    loops: Loops, node: Node, padded: Tensor, largest: Tensor, windows: Windows
) -> Tensor:
    """The flat index, in the input [N, C, *spatial], of each window's first largest element."""
    positions = loops.constant(_positions(padded.shape[1:], windows, node.attr("storage_order")))

    def step(k: Body, value: Scalar, best: Scalar, at: Scalar, found: Scalar) -> Scalar:
        same = value.eq(best)
        if value.is_float:
            same = same | (value.is_nan() & best.is_nan())
        return k.where(same & (found < 0) & (at >= 0), at, found)

    plain = [AffineExpr.dimension(i) for i in range(1 + windows.rank)]
    others = [(largest, plain), (positions, windows.exprs(1)[1:])]
    inside = _fold(loops, step, padded, windows, -1, i64, others)
    return loops.map(
        lambda k, at: at + k.cast(k.index(0), i64) * prod(windows.size), inside, element=i64
    )


def _positions(padded: Sequence[int], windows: Windows, storage_order: int) -> NDArray[Any]:
    """The flat spatial index of each position of a padded plane, -1 in the padding."""
    order = windows.size[::-1] if storage_order else windows.size
    flat = np.arange(prod(windows.size), dtype=np.int64).reshape(order)
    result = np.full(padded, -1, np.int64)
    inside = tuple(slice(b, b + n) for b, n in zip(windows.before, windows.size, strict=True))
    result[inside] = flat.T if storage_order else flat
    return result


@lowers("AveragePool")
def average_pool(loops: Loops, node: Node) -> Tensor:
    """The sum of every window over the number of its elements, with or without padding."""
    x = node.tensor(0)
    windows = windows_of(node, x.shape[2:], node.attr("kernel_shape"))
    total = _sum(loops, _planes(loops, x), windows, lambda k, v: v)
    counts = windows.counts(bool(node.attr("count_include_pad")))
    if (counts == counts.flat[0]).all():
        by = float(counts.flat[0])
        mean = loops.map(lambda k, s: s / by, total, element=x.element)
    else:
        divisor = loops.cast(loops.constant(np.asarray(counts, np.float64)), total.element)
        mean = loops.map(lambda k, s, n: s / n, total, divisor, element=x.element)
    return loops.reshape(mean, node.shape())


def _sum(loops: Loops, flat: Tensor, windows: Windows, prepare: Unary) -> Tensor:
    """The sum of `prepare(k, value)` over every window, in the type of computation."""
    element = compute_type(flat.element)
    if windows.whole:
        total = loops.reduce(
            lambda k, acc, v: acc + v, flat, range(1, flat.rank), 0, prepare=prepare
        )
        return loops.reshape(total, (flat.shape[0],) + (1,) * windows.rank)
    padded = windows.pad(loops, flat, 0)
    return _fold(loops, lambda k, v, acc: acc + prepare(k, v), padded, windows, 0, element)


def _power(p: int) -> tuple[Unary, Unary]:
    """|v| to the power `p`, and the root that undoes it."""
    if p == 1:
        return (lambda k, v: k.abs(v)), (lambda k, s: s)
    if p == 2:
        return (lambda k, v: v * v), (lambda k, s: k.math("sqrt", s))
    return (
        lambda k, v: k.math("pow", k.abs(v), k.like(float(p), v)),
        lambda k, s: k.math("pow", s, k.like(1.0 / p, s)),
    )


@lowers("LpPool")
def lp_pool(loops: Loops, node: Node) -> Tensor:
    """The p-norm of every window."""
    x = node.tensor(0)
    windows = windows_of(node, x.shape[2:], node.attr("kernel_shape"))
    power, root = _power(int(node.attr("p")))
    total = _sum(loops, _planes(loops, x), windows, power)
    return loops.reshape(loops.map(root, total, element=x.element), node.shape())


@lowers("GlobalMaxPool")
def global_max_pool(loops: Loops, node: Node) -> Tensor:
    """The largest element of every channel."""
    x = node.tensor(0)
    return loops.reshape(loops.max(x, range(2, x.rank)), node.shape())


@lowers("GlobalAveragePool")
def global_average_pool(loops: Loops, node: Node) -> Tensor:
    """The average of every channel."""
    x = node.tensor(0)
    by = float(prod(x.shape[2:]))
    total = loops.sum(x, range(2, x.rank))
    mean = loops.map(lambda k, s: s / by, total, element=x.element)
    return loops.reshape(mean, node.shape())


@lowers("GlobalLpPool")
def global_lp_pool(loops: Loops, node: Node) -> Tensor:
    """The p-norm of every channel."""
    x = node.tensor(0)
    power, root = _power(int(node.attr("p")))
    total = loops.reduce(lambda k, acc, v: acc + v, x, range(2, x.rank), 0, prepare=power)
    return loops.reshape(loops.map(root, total, element=x.element), node.shape())
