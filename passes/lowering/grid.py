"""Sampling at computed places: GridSample, AffineGrid; and Col2Im, which adds windows up."""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.dialects.builtin import Float64Type, f32, i1, i32
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type, is_float
from mxc.dialects.types import is_unsigned
from mxc.passes.lowering.registry import Node, lowers

CUBIC = -0.75


@lowers("AffineGrid")
def affine_grid(loops: Loops, node: Node) -> Tensor:
    """For every place of the output, `theta` times its coordinates, which run from -1 to 1."""
    theta, shape = node.tensor(0), node.shape()
    spatial = shape[1:-1]
    rank = len(spatial)
    kind = compute_type(theta.element)
    n, row = AffineExpr.dimension(0), AffineExpr.dimension(rank + 1)
    dtype = np.float64 if isinstance(kind, Float64Type) else np.float32
    inputs: list[tuple[Tensor, list[AffineExpr | int]]] = []
    for i, size in reversed(list(enumerate(spatial))):  # x is the last axis
        places = _places(size, bool(node.attr("align_corners"))).astype(dtype)
        inputs.append((loops.constant(places), [AffineExpr.dimension(i + 1)]))
    inputs += [(theta, [n, row, column]) for column in range(rank + 1)]

    def body(k: Body, *scalars: Scalar) -> Scalar:
        at, factors = scalars[:rank], scalars[rank:]
        total = factors[0] * at[0]
        for factor, coordinate in zip(factors[1:], at[1:], strict=False):
            total = total + factor * coordinate
        return total + factors[-1]

    return loops.generic(body, inputs, shape, theta.element)


def _places(size: int, align_corners: bool) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The coordinates of `size` elements in [-1, 1]: the ends are corners, or half outside."""
    if align_corners:
        return np.linspace(-1.0, 1.0, size) if size > 1 else np.array([-1.0])
    return (np.arange(size) * 2.0 + 1.0) / size - 1.0


class _Line:
    """One spatial axis of `size` elements, read at coordinates that are normalised to [-1, 1]."""

    def __init__(self, size: int, padding: str, align_corners: bool) -> None:
        self.size = size
        self.padding = padding
        self.align_corners = align_corners
        self.low = 0.0 if align_corners else -0.5
        self.high = size - 1.0 if align_corners else size - 0.5

    def place(self, k: Body, x: Scalar, mode: str) -> Scalar:
        """Where `x` lies, in elements; brought inside as the padding asks."""
        if self.align_corners:
            x = (x + 1.0) / 2.0 * (self.size - 1.0)
        else:
            x = ((x + 1.0) * float(self.size) - 1.0) / 2.0
        if mode == "nearest":
            x = k.math("roundeven", x)
        outside = (x < self.low) | (x > self.high)
        if self.padding == "border" and mode != "cubic":  # whose taps are clamped one by one
            return k.where(outside, k.clamp(x, 0.0, self.size - 1.0), x)
        if self.padding == "reflection":
            return k.where(outside, self.reflect(k, x), x)
        return x

    def reflect(self, k: Body, x: Scalar) -> Scalar:
        """`x` mirrored at both ends until it is between them."""
        span = self.high - self.low
        if span == 0:
            return k.like(self.low, x)
        below = x < self.low
        excess = k.where(below, self.low - x, x - self.high)
        turns = k.math("trunc", excess / span)
        rest = excess - turns * span
        half = turns * 0.5
        even = half.eq(k.math("floor", half))
        from_low = k.where(below, even, ~even)
        inside = k.where(from_low, rest + self.low, self.high - rest)
        return k.where(below | (x > self.high), inside, x)

    def element(self, k: Body, x: Scalar) -> tuple[Scalar, Scalar]:
        """The index of the whole number `x`, clamped, and whether it was inside."""
        if self.padding == "reflection":
            x = k.math("trunc", self.reflect(k, x))
        inside = (x >= 0.0) & (x <= self.size - 1.0)
        index = k.cast(k.clamp(x, 0.0, self.size - 1.0), i32)
        return index, inside if self.padding == "zeros" else k.const(1, i1)


def _cubic_weights(x: Scalar) -> list[Scalar]:
    a = CUBIC

    def far(t: Scalar) -> Scalar:
        return ((t * a - 5 * a) * t + 8 * a) * t - 4 * a

    def near(t: Scalar) -> Scalar:
        return (t * (a + 2) - (a + 3)) * t * t + 1.0

    return [far(x + 1.0), near(x), near(1.0 - x), far(2.0 - x)]


Taps = list[tuple[Scalar, Scalar, Scalar | None]]
"""Along one axis: index, whether it is inside, weight."""


def _taps(k: Body, line: _Line, coordinate: Scalar, mode: str) -> Taps:
    x = line.place(k, coordinate, mode)
    if mode == "nearest":
        return [(*line.element(k, x), None)]
    low = k.math("floor", x)
    fraction = x - low
    if mode == "linear":
        steps, weights = [0.0, 1.0], [1.0 - fraction, fraction]
    else:
        steps, weights = [-1.0, 0.0, 1.0, 2.0], _cubic_weights(fraction)
    return [
        (*line.element(k, low + step), weight) for step, weight in zip(steps, weights, strict=True)
    ]


class _Sampler:
    """Reads one element of the output."""

    def __init__(self, k: Body, x: Tensor, taps: list[Taps], kind: Attribute) -> None:
        self.k = k
        self.x = x
        self.taps = taps
        self.kind = kind

    def value(self, at: list[Scalar], inside: Scalar) -> Scalar:
        """The weighted sum over the axes from `len(at)` on; `at` are the indices before."""
        k, axis = self.k, len(at) - 2
        if axis == len(self.taps):
            read = k.cast(k.load(self.x.value, at, is_unsigned(self.x.element)), self.kind)
            return k.where(inside, read, 0)
        total: Scalar | None = None
        for index, valid, weight in self.taps[axis]:
            part = self.value([*at, index], inside & valid)
            if weight is not None:
                part = k.cast(weight, self.kind) * part
            total = part if total is None else total + part
        assert total is not None
        return total


@lowers("GridSample")
def grid_sample(loops: Loops, node: Node) -> Tensor:
    """The input, interpolated at the places that `grid` holds, x first."""
    x, grid, shape = node.tensor(0), node.tensor(1), node.shape()
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(node.attr("mode"), node.attr("mode"))
    padding = node.attr("padding_mode")
    if mode not in ("nearest", "linear", "cubic"):
        raise node.error(f"mode={mode} is not known", "use nearest, linear or cubic")
    if padding not in ("zeros", "border", "reflection"):
        raise node.error(f"padding_mode={padding} is not known")
    sizes = x.shape[2:]
    rank = len(sizes)
    lines = [_Line(size, padding, bool(node.attr("align_corners"))) for size in sizes]
    kind = x.element if mode == "nearest" and not is_float(x.element) else compute_type(x.element)
    kind = kind if is_float(kind) or mode == "nearest" else f32
    place = [AffineExpr.dimension(0), *(AffineExpr.dimension(i + 2) for i in range(rank))]

    def body(k: Body, *coordinates: Scalar) -> Scalar:
        taps = [
            _taps(k, line, coordinate, mode)
            for line, coordinate in zip(lines, coordinates, strict=True)
        ]
        sampler = _Sampler(k, x, taps, kind)
        return sampler.value([k.index(0), k.index(1)], k.const(1, i1))

    pairs = [(grid, [*place, rank - 1 - i]) for i in range(rank)]
    return loops.generic(body, pairs, shape, x.element)


@lowers("Col2Im")
def col2im(loops: Loops, node: Node) -> Tensor:
    """Each element of the image is the sum of the columns' elements that windows put there."""
    x, shape = node.tensor(0), node.shape()
    kernel = node.ints(2)
    if kernel is None:
        raise node.error("block_shape is missing")
    image, rank = shape[2:], len(kernel)
    strides = node.attr("strides") or [1] * rank
    dilations = node.attr("dilations") or [1] * rank
    pads = node.attr("pads") or [0] * (2 * rank)
    blocks = [
        (image[i] + pads[i] + pads[i + rank] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    if prod(blocks) != x.shape[2]:
        raise node.error(f"{x.shape[2]} columns do not fit {prod(blocks)} windows")
    columns = loops.reshape(x, [shape[0], shape[1], *kernel, *blocks])
    kind = compute_type(x.element)

    def body(k: Body, total: Scalar) -> Scalar:
        inside, window, place = k.const(1, i1), list[Scalar](), list[Scalar]()
        for i in range(rank):
            step = k.index(2 + rank + i)
            offset = k.index(2 + i) + pads[i] - step * dilations[i]
            inside = inside & (offset >= 0)
            offset = k.where(offset < 0, 0, offset)
            at = offset / strides[i]
            inside = inside & (offset % strides[i]).eq(0) & (at < blocks[i])
            window.append(step)
            place.append(k.clamp(at, 0, blocks[i] - 1))
        indices = [k.index(0), k.index(1), *window, *place]
        value = k.load(columns.value, indices, is_unsigned(x.element))
        return k.where(inside, total + value, total)

    start = loops.fill(shape, kind, 0)
    return loops.cast(loops.generic(body, [], shape, kind, reduce=kernel, init=start), x.element)
