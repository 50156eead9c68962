"""MaxUnpool: pooled values back where they came from."""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import IndexType, i64
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor, insert_at, repeat, slice_at
from mxc.passes.lowering.registry import Node, lowers
from mxc.passes.lowering.scatter import MAX_FOLD, fold


@lowers("MaxUnpool")
def max_unpool(loops: Loops, node: Node) -> Tensor:
    """Zeros, with each element of the input at its index in the unpooled tensor [N, C, *].

    Indices count in the shape that the kernel, strides and pads imply; a larger `output_shape`
    adds zeros behind. An index outside writes nothing, or where single writes are made, is clamped.
    """
    x, indices = node.tensor(0), node.tensor(1)
    shape = (*x.shape[:2], *_unpooled(node, x))
    total, count = prod(shape), x.size
    values, places = loops.reshape(x, (count,)), loops.reshape(indices, (count,))
    base = loops.fill((total,), x.element, 0)
    flat = _folded if total * count <= MAX_FOLD else _one_by_one
    y = loops.reshape(flat(loops, values, places, base), shape)
    after = [n - m for n, m in zip(node.shape(), shape, strict=True)]
    if min(after) < 0:
        raise node.error(f"output_shape {list(node.shape())} is smaller than {list(shape)}")
    return loops.pad(y, [0] * len(shape), after)


def _unpooled(node: Node, x: Tensor) -> list[int]:
    kernel, rank = node.attr("kernel_shape"), x.rank - 2
    strides, pads = node.attr("strides") or [1] * rank, node.attr("pads") or [0] * 2 * rank
    return [
        (x.shape[2 + i] - 1) * strides[i] - pads[i] - pads[rank + i] + kernel[i]
        for i in range(rank)
    ]


def _folded(loops: Loops, values: Tensor, places: Tensor, base: Tensor) -> Tensor:
    """Every element looks at all values for the one that is meant for it."""

    def body(k: Body, value: Scalar, place: Scalar, old: Scalar) -> Scalar:
        return k.where(place.eq(k.cast(k.index(0), i64)), value, old)

    step = [AffineExpr.dimension(1)]
    return fold(loops, body, [(values, step), (places, step)], base, values.size)


def _one_by_one(loops: Loops, values: Tensor, places: Tensor, base: Tensor) -> Tensor:
    """Every value is written in turn."""

    def step(inside: Loops, i: Scalar, carried: list[Tensor]) -> list[Tensor]:
        k = i.body
        place = k.load(places.value, [i])
        place = k.where(place < 0, 0, place)
        place = k.where(place > base.size - 1, base.size - 1, place)
        value = slice_at(inside, values, [i], [1])
        return [insert_at(inside, value, carried[0], [k.cast(place, IndexType())])]

    return repeat(loops, values.size, [base], step)[0]
