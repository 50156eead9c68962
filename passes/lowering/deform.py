"""DeformConv: a convolution whose kernel positions are moved by offsets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.passes.lowering.contractions import matmul
from mxc.passes.lowering.registry import Node, lowers
from mxc.passes.lowering.windows import Windows


def _windows(node: Node, size: Sequence[int], kernel: Sequence[int]) -> Windows:
    rank = len(size)
    pads = node.attr("pads") or [0] * (2 * rank)
    return Windows(
        tuple(size),
        tuple(kernel),
        tuple(node.attr("strides") or [1] * rank),
        tuple(node.attr("dilations") or [1] * rank),
        tuple(pads[:rank]),
        tuple(pads[rank:]),
        node.shape()[2:],
    )


@lowers("DeformConv")
def deform_conv(loops: Loops, node: Node) -> Tensor:
    """Interpolated samples of the input at every kernel position, times the weights."""
    x, w, offset = (node.tensor(i) for i in range(3))
    groups, moved = int(node.attr("group")), int(node.attr("offset_group"))
    if x.shape[1] % moved or x.shape[1] != w.shape[1] * groups:
        raise node.error(f"{x.shape[1]} channels do not fit group={groups}, offset_group={moved}")
    element = compute_type(x.element)
    windows = _windows(node, x.shape[2:], w.shape[2:])
    samples = _samples(loops, node, x, offset, windows, moved, element)
    batch, outputs = x.shape[0], w.shape[0] // groups
    depth = w.shape[1] * prod(windows.kernel)
    columns = loops.reshape(samples, (batch, groups, depth, prod(windows.output)))
    weights = loops.cast(loops.reshape(w, (1, groups, outputs, depth)), element)
    y = loops.reshape(matmul(loops, weights, columns, element), node.shape())
    if not node.has(3):
        return loops.cast(y, node.element())
    bias = loops.reshape(node.tensor(3), (w.shape[0], *[1] * windows.rank))
    return loops.map(lambda k, v, b: v + b, y, bias, element=node.element())


def _samples(
    loops: Loops,
    node: Node,
    x: Tensor,
    offset: Tensor,
    windows: Windows,
    moved: int,
    element: Attribute,
) -> Tensor:
    """The samples, [batch, offset groups, channels of one, *kernel, *output]."""
    batch, rank = x.shape[0], windows.rank
    inner = x.shape[1] // moved
    shape = (batch, moved, inner, *windows.kernel, *windows.output)
    offsets = loops.reshape(offset, (batch, moved, *windows.kernel, rank, *windows.output))
    d = [AffineExpr.dimension(i) for i in range(len(shape))]
    kernel, output = d[3 : 3 + rank], d[3 + rank :]
    inputs: list[tuple[Tensor, list[AffineExpr | int]]] = [
        (offsets, [d[0], d[1], *kernel, i, *output]) for i in range(rank)
    ]
    if node.has(4):
        mask = loops.reshape(node.tensor(4), (batch, moved, *windows.kernel, *windows.output))
        inputs.append((mask, [d[0], d[1], *kernel, *output]))

    def body(k: Body, *values: Scalar) -> Scalar:
        channel = k.cast(k.index(1), i64) * inner + k.cast(k.index(2), i64)
        at = [_place(k, windows, i, values[i], element) for i in range(rank)]
        value = _interpolated(k, x, [k.index(0), channel], at)
        return value * values[rank] if len(values) > rank else value

    return loops.generic(body, inputs, shape, element)


def _place(k: Body, windows: Windows, i: int, offset: Scalar, element: Attribute) -> Scalar:
    """The position along axis `i` of this kernel position of this output, moved by `offset`."""
    tap = k.cast(k.index(3 + i), i64) * windows.dilations[i] - windows.before[i]
    first = k.cast(k.index(3 + windows.rank + i), i64) * windows.strides[i]
    return k.cast(first + tap, element) + offset


def _interpolated(k: Body, x: Tensor, lead: list[Scalar], at: Sequence[Scalar]) -> Scalar:
    """`x` between its elements, linear along each axis, 0 outside."""
    low = [k.math("floor", v) for v in at]
    high_weight = [v - f for v, f in zip(at, low, strict=True)]
    total: Scalar | None = None
    for corner in product((0, 1), repeat=len(at)):
        inside: Scalar | None = None
        weight: Scalar | None = None
        where: list[Scalar] = []
        for axis, step in enumerate(corner):
            size = x.shape[2 + axis]
            place = low[axis] + float(step)
            fits = (place >= 0.0) & (place <= float(size - 1))
            part = high_weight[axis] if step else 1.0 - high_weight[axis]
            inside = fits if inside is None else inside & fits
            weight = part if weight is None else weight * part
            where.append(k.cast(k.where(fits, place, 0.0), i64))
        assert inside is not None
        assert weight is not None
        value = k.where(inside, k.load(x.value, [*lead, *where]) * weight, 0.0)
        total = value if total is None else total + value
    assert total is not None
    return total
