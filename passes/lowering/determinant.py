"""Det, by elimination with row exchanges."""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import i64
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.passes.lowering.registry import Node, lowers

MAX_SIZE = 64
"""The elimination is unrolled; larger matrices are refused."""


@lowers("Det")
def det(loops: Loops, node: Node) -> Tensor:
    """The determinant of each matrix [.., n, n]."""
    x = node.tensor(0)
    n = x.shape[-1]
    if x.rank < 2 or x.shape[-2] != n or n > MAX_SIZE:
        raise node.error(f"{list(x.shape)} are no square matrices of at most {MAX_SIZE} rows")
    element = compute_type(x.element)
    matrix = loops.cast(loops.reshape(x, (prod(x.shape[:-2]), n, n)), element)
    result = loops.fill((matrix.shape[0],), element, 1)
    for step in range(n):
        row = _pivot(loops, matrix, step)
        matrix, pivot = _exchanged(loops, matrix, row, step)
        result = loops.map(
            lambda k, d, p, r, step=step: k.where(r.eq(step), d * p, -(d * p)), result, pivot, row
        )
        if step + 1 < n:
            matrix = _eliminated(loops, matrix, pivot, step)
    return loops.cast(loops.reshape(result, node.shape()), node.element())


def _pivot(loops: Loops, matrix: Tensor, step: int) -> Tensor:
    """The row, from `step` on, whose element in column `step` is largest, per matrix."""
    batch, n, _ = matrix.shape
    b, i = AffineExpr.dimension(0), AffineExpr.dimension(1)

    def body(k: Body, value: Scalar, best: Scalar) -> Scalar:
        at = k.cast(k.index(1), i64) + step
        old = k.load(matrix.value, [k.index(0), best, k.const(step, i64)])
        return k.where(k.abs(value) > k.abs(old), at, best)

    start = loops.fill((batch,), i64, step)
    inputs = [(matrix, [b, i + step, step])]
    return loops.generic(body, inputs, (batch,), i64, reduce=[n - step], init=start)


def _exchanged(loops: Loops, matrix: Tensor, row: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Rows `step` and `row` exchanged, and the pivot this brings to the diagonal."""

    def body(k: Body, r: Scalar) -> Scalar:
        at = k.cast(k.index(1), i64)
        source = k.where(at.eq(step), r, k.where(at.eq(r), k.like(step, r), at))
        return k.load(matrix.value, [k.index(0), source, k.index(2)])

    b = AffineExpr.dimension(0)
    swapped = loops.generic(body, [(row, [b])], matrix.shape, matrix.element)
    pivot = loops.gather_view(swapped, [b, step, step], (matrix.shape[0],))
    return swapped, pivot


def _eliminated(loops: Loops, matrix: Tensor, pivot: Tensor, step: int) -> Tensor:
    """Column `step` cleared below the diagonal; a pivot of 0 clears nothing."""
    b, i, j = (AffineExpr.dimension(d) for d in range(3))

    def body(k: Body, value: Scalar, head: Scalar, top: Scalar, p: Scalar) -> Scalar:
        factor = head / k.where(p.eq(0), 1.0, p)
        below = k.cast(k.index(1), i64) > step
        return k.where(below, value - factor * top, value)

    inputs = [
        (matrix, [b, i, j]),
        (matrix, [b, i, step]),
        (matrix, [b, step, j]),
        (pivot, [b]),
    ]
    return loops.generic(body, inputs, matrix.shape, matrix.element)
