"""Reduce* operators: sums, products, extremes and norms over axes.

Floats narrower than f32 are accumulated in f32, integers wrap. Over an empty set the result is what
the fold starts from.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from xdsl.dialects.builtin import f64, i1
from xdsl.ir import Attribute

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type, is_float
from mxc.passes.lowering.registry import RULES, Node

Reduction = Callable[[Loops, Tensor, list[int]], Tensor]


def reduced_axes(node: Node, rank: int) -> list[int]:
    """The axes to fold: the input or attribute `axes`, else all, or none if the node says so."""
    given = node.ints(1)
    if given:
        wrong = [a for a in given if not -rank <= a < rank]
        if wrong:
            raise node.error(f"axis {wrong[0]} is outside rank {rank}")
        return sorted({a % rank for a in given})
    return [] if node.attr("noop_with_empty_axes") else list(range(rank))


def keep_axes(loops: Loops, x: Tensor, axes: list[int], shape: tuple[int, ...]) -> Tensor:
    """The reduced `x` with size 1 along `axes` of the full `shape`."""
    return loops.reshape(x, [1 if a in axes else n for a, n in enumerate(shape)])


def _smooth_type(element: Attribute) -> Attribute:
    """Where roots and logarithms of `element` are computed."""
    return compute_type(element) if is_float(element) else f64


def _square(k: Body, x: Scalar) -> Scalar:
    return x * x


def _mean(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    count = prod(x.shape[a] for a in axes)
    total = loops.sum(x, axes)
    return loops.map(lambda k, v: v / count, total) if count or is_float(x.element) else total


def _prod(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    return loops.reduce(lambda k, acc, v: acc * v, x, axes, 1)


def _l1(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    return loops.reduce(lambda k, acc, v: acc + v, x, axes, 0, prepare=lambda k, v: k.abs(v))


def _sum_square(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    return loops.reduce(lambda k, acc, v: acc + v, x, axes, 0, prepare=_square)


def _l2(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    total = loops.cast(_sum_square(loops, x, axes), _smooth_type(x.element))
    return loops.map(lambda k, v: k.math("sqrt", v), total)


def _log_sum(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    total = loops.cast(loops.sum(x, axes), _smooth_type(x.element))
    return loops.map(lambda k, v: k.math("log", v), total)


def _log_sum_exp(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    x = loops.cast(x, _smooth_type(x.element))
    top = loops.max(x, axes)
    shift = loops.map(lambda k, v: k.where((v - v).eq(0.0), v, 0.0), top)
    wide = keep_axes(loops, shift, axes, x.shape)
    terms = loops.map(lambda k, v, m: k.math("exp", v - m), x, wide)
    total = loops.sum(terms, axes)
    return loops.map(lambda k, v, m: k.math("log", v) + m, total, shift)


def _max(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    if x.element == i1:
        return loops.reduce(lambda k, acc, v: acc | v, x, axes, 0)
    return loops.max(x, axes)


def _min(loops: Loops, x: Tensor, axes: list[int]) -> Tensor:
    if x.element == i1:
        return loops.reduce(lambda k, acc, v: acc & v, x, axes, 1)
    return loops.min(x, axes)


def _reduction(op_type: str, reduce: Reduction) -> None:
    def rule(loops: Loops, node: Node) -> Tensor:
        x = node.tensor(0)
        axes = reduced_axes(node, x.rank)
        result = loops.cast(reduce(loops, x, axes), node.element())
        return loops.reshape(result, node.shape())

    RULES[op_type] = rule


_REDUCTIONS: dict[str, Reduction] = {
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _max,
    "ReduceMean": _mean,
    "ReduceMin": _min,
    "ReduceProd": _prod,
    "ReduceSum": lambda loops, x, axes: loops.sum(x, axes),
    "ReduceSumSquare": _sum_square,
}
for _name, _reduce in _REDUCTIONS.items():
    _reduction(_name, _reduce)
