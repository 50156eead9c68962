"""Pooling over regions of interest, whose corners are known at run time only."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.dialects.loops.tensor import lowest
from mxc.passes.lowering.registry import Node, lowers


def _clamped(k: Body, index: Scalar, size: int) -> Scalar:
    """An integer index moved inside an axis."""
    index = k.where(index < 0, 0, index)
    return k.where(index > size - 1, size - 1, index)


def _position(k: Body, dimension: int, element: Attribute) -> Scalar:
    """A loop index as a float."""
    return k.cast(k.cast(k.index(dimension), i64), element)


class _Sample:
    """Where one sample of RoiAlign lies along one axis, and how it weighs its two neighbours."""

    def __init__(self, k: Body, at: Scalar, size: int) -> None:
        self.inside = (at >= -1.0) & (at <= float(size))
        at = k.where(at < 0, 0.0, at)
        low = k.math("floor", at)
        last = low >= float(size - 1)
        low = k.where(last, float(size - 1), low)
        self.high_weight = k.where(last, 0.0, at - low)
        self.low_weight = 1.0 - self.high_weight
        self.low = _clamped(k, k.cast(low, i64), size)
        self.high = k.where(last, self.low, self.low + 1)


def _grid(node: Node, pooled: tuple[int, int], scale: float) -> tuple[tuple[int, int], bool]:
    """The most samples per bin along each axis, and whether regions have their own number."""
    ratio = int(node.attr("sampling_ratio"))
    if ratio > 0:
        return (ratio, ratio), False
    if not node.is_const(1):
        raise node.error(
            "sampling_ratio=0 takes a number of samples that depends on run-time regions",
            "export with a positive sampling_ratio, or constant regions",
        )
    rois: Any = node.const(1)
    sizes = (rois[:, [3, 2]] - rois[:, [1, 0]]).astype(np.float64) * scale
    most = [max([1, *(ceil(float(v) / p) for v in sizes[:, i])]) for i, p in enumerate(pooled)]
    return (most[0] + 1, most[1] + 1), True


@lowers("RoiAlign")
def roi_align(loops: Loops, node: Node) -> Tensor:
    """The average or maximum of interpolated samples in every bin of every region."""
    x, rois, batch = (node.tensor(i) for i in range(3))
    mode, coordinates = node.attr("mode"), node.attr("coordinate_transformation_mode")
    if mode not in ("avg", "max") or coordinates not in ("half_pixel", "output_half_pixel"):
        raise node.error(f"mode={mode}, coordinate_transformation_mode={coordinates} is not known")
    pooled = int(node.attr("output_height")), int(node.attr("output_width"))
    scale, element = float(node.attr("spatial_scale")), compute_type(x.element)
    grid, adaptive = _grid(node, pooled, scale)
    shift = 0.5 if coordinates == "half_pixel" else 0.0
    size = x.shape[2:]

    def axis(k: Body, i: int, low: Scalar, high: Scalar) -> tuple[_Sample, Scalar, Scalar]:
        start, end = low * scale - shift, high * scale - shift
        extent = end - start
        if not shift:
            extent = k.where(extent < 1.0, 1.0, extent)
        bin_size = extent / float(pooled[i])
        count = k.math("ceil", bin_size) if adaptive else k.like(float(grid[i]), bin_size)
        safe = k.where(count < 1.0, 1.0, count)
        step = (_position(k, 4 + i, element) + 0.5) * bin_size / safe
        at = start + _position(k, 2 + i, element) * bin_size + step
        return _Sample(k, at, size[i]), count, _position(k, 4 + i, element) < count

    def body(
        k: Body, x1: Scalar, y1: Scalar, x2: Scalar, y2: Scalar, n: Scalar, acc: Scalar
    ) -> Scalar:
        y, rows, row_used = axis(k, 0, y1, y2)
        across, columns, column_used = axis(k, 1, x1, x2)
        image = _clamped(k, n, x.shape[0])

        def corner(v: Scalar, u: Scalar, weight: Scalar) -> Scalar:
            value = k.load(x.value, [image, k.index(1), v, u]) * weight
            return k.where(y.inside & across.inside, value, 0.0)

        corners = [
            corner(v, u, a * b)
            for v, a in ((y.low, y.low_weight), (y.high, y.high_weight))
            for u, b in ((across.low, across.low_weight), (across.high, across.high_weight))
        ]
        used = row_used & column_used
        if mode == "max":
            for value in corners:
                acc = k.where(used, k.maximum(acc, value), acc)
            return acc
        total = corners[0] + corners[1] + corners[2] + corners[3]
        count = rows * columns
        return acc + k.where(used, total / k.where(count < 1.0, 1.0, count), 0.0)

    region = AffineExpr.dimension(0)
    inputs = [*((rois, [region, i]) for i in range(4)), (batch, [region])]
    start = loops.fill(node.shape(), element, lowest(element) if mode == "max" else 0)
    y = loops.generic(body, inputs, node.shape(), element, reduce=grid, init=start)
    return loops.cast(y, node.element())


@lowers("MaxRoiPool")
def max_roi_pool(loops: Loops, node: Node) -> Tensor:
    """The maximum of every bin of every region, on whole pixels; 0 for an empty bin."""
    x, rois = node.tensor(0), node.tensor(1)
    scale, element = float(node.attr("spatial_scale")), compute_type(x.element)
    pooled, size = node.attr("pooled_shape"), x.shape[2:]

    def used(k: Body, i: int, low: Scalar, high: Scalar) -> Scalar:
        start, end = (_rounded(k, v * scale) for v in (low, high))
        extent = end - start + 1.0
        bin_size = k.where(extent < 1.0, 1.0, extent) / float(pooled[i])
        bin_index = _position(k, 2 + i, element)
        first = k.math("floor", bin_index * bin_size) + start
        last = k.math("ceil", (bin_index + 1.0) * bin_size) + start
        here = _position(k, 4 + i, element)
        return (here >= first) & (here < last)

    def body(
        k: Body, n: Scalar, x1: Scalar, y1: Scalar, x2: Scalar, y2: Scalar, acc: Scalar
    ) -> Scalar:
        inside = used(k, 0, y1, y2) & used(k, 1, x1, x2)
        image = _clamped(k, k.cast(n, i64), x.shape[0])
        value = k.load(x.value, [image, k.index(1), k.index(4), k.index(5)])
        return k.where(inside, k.maximum(acc, value), acc)

    region = AffineExpr.dimension(0)
    inputs = [(rois, [region, i]) for i in range(5)]
    start = loops.fill(node.shape(), element, lowest(element))
    y = loops.generic(body, inputs, node.shape(), element, reduce=size, init=start)
    empty = lowest(element)
    return loops.map(lambda k, v: k.where(v.eq(empty), 0.0, v), y, element=node.element())


def _rounded(k: Body, x: Scalar) -> Scalar:
    """To the nearest integer, halves away from zero, as C's round."""
    return k.math("copysign", k.math("floor", k.abs(x) + 0.5), x)
