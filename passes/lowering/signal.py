"""Discrete Fourier transforms: direct for short lengths, by factors for composite ones.

A transform of n1 * n2 points is n2 transforms of n1 points, a rotation of each result, and n1
transforms of n2 points. Complex values are two tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.dialects.loops.tensor import BodyFunction
from mxc.dialects.onnx.reference import evaluate
from mxc.dialects.types import numpy_dtype
from mxc.passes.lowering.registry import Node, lowers

DIRECT = 32
"""Transforms of so many points at most are sums of products."""


@dataclass(frozen=True)
class Complex:
    """A complex tensor; without imaginary part it is real."""

    real: Tensor
    imaginary: Tensor | None

    def each(self, function: Callable[[Tensor], Tensor]) -> Complex:
        """`function` of both parts."""
        other = None if self.imaginary is None else function(self.imaginary)
        return Complex(function(self.real), other)


def _table(loops: Loops, angles: NDArray[Any], element: Attribute) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the angles, computed in f64."""
    cos, sin = np.cos(angles), np.sin(angles)
    dtype = numpy_dtype(element)
    return loops.constant(cos.astype(dtype)), loops.constant(sin.astype(dtype))


def _turns(rows: int, columns: int, points: int, sign: int) -> NDArray[Any]:
    """Angles sign * 2 pi * row * column / points, from a product reduced modulo `points`."""
    products = np.outer(np.arange(rows), np.arange(columns)) % points
    return sign * 2 * np.pi * products / points


def _direct(loops: Loops, x: Complex, sign: int) -> Complex:
    """The transform along axis 1 of [rows, points, columns], as sums in ascending order."""
    rows, points, columns = x.real.shape
    cos, sin = _table(loops, _turns(points, points, points, sign), x.real.element)
    row, out, column, j = (AffineExpr.dimension(i) for i in range(4))
    at, turn = [row, j, column], [j, out]
    shape = (rows, points, columns)
    zero = loops.fill(shape, x.real.element, 0)

    def summed(function: BodyFunction, *inputs: tuple[Tensor, list[AffineExpr]]) -> Tensor:
        return loops.generic(
            function,
            inputs,
            shape,
            x.real.element,
            reduce=[points],
            init=zero,
        )

    if x.imaginary is None:
        return Complex(
            summed(lambda k, a, c, acc: acc + a * c, (x.real, at), (cos, turn)),
            summed(lambda k, a, s, acc: acc + a * s, (x.real, at), (sin, turn)),
        )
    inputs = [(x.real, at), (x.imaginary, at), (cos, turn), (sin, turn)]
    return Complex(
        summed(lambda k, a, b, c, s, acc: acc + (a * c - b * s), *inputs),
        summed(lambda k, a, b, c, s, acc: acc + (a * s + b * c), *inputs),
    )


def _factor(points: int) -> int:
    """The factor of `points` up to DIRECT that leaves the most even rest; 1 if there is none."""
    factors = [f for f in range(2, DIRECT + 1) if points % f == 0]
    return min(factors, key=lambda f: (f + points // f, f), default=1)


def fourier(loops: Loops, x: Complex, sign: int) -> Complex:
    """The transform of each row of `x` [rows, points], with exp(sign * 2 pi i j k / points)."""
    rows, points = x.real.shape
    first = _factor(points) if points > DIRECT else 1
    if first == 1:
        column = x.each(lambda t: loops.reshape(t, (rows, points, 1)))
        return _direct(loops, column, sign).each(lambda t: loops.reshape(t, (rows, points)))
    second = points // first
    split = x.each(lambda t: loops.reshape(t, (rows, first, second)))
    inner = _direct(loops, split, sign)
    assert inner.imaginary is not None
    cos, sin = _table(loops, _turns(first, second, points, sign), x.real.element)
    parts = (inner.real, inner.imaginary, cos, sin)
    turned = Complex(
        loops.map(lambda k, a, b, c, s: a * c - b * s, *parts),
        loops.map(lambda k, a, b, c, s: a * s + b * c, *parts),
    )
    outer = fourier(loops, turned.each(lambda t: loops.reshape(t, (rows * first, second))), sign)

    def ordered(t: Tensor) -> Tensor:
        return loops.reshape(
            loops.transpose(loops.reshape(t, (rows, first, second)), [0, 2, 1]), (rows, points)
        )

    return outer.each(ordered)


def _parts(loops: Loops, x: Tensor, axis: int) -> Complex:
    """The signal [.., n, .., 1 or 2] as rows [others, n] in the type of computation."""
    order = [a for a in range(x.rank - 1) if a != axis] + [axis]
    parts: list[Tensor] = []
    for i in range(x.shape[-1]):
        start = [0] * (x.rank - 1) + [i]
        one = loops.reshape(loops.slice(x, start, [*x.shape[:-1], 1]), x.shape[:-1])
        moved = loops.transpose(one, order)
        flat = loops.reshape(moved, (prod(moved.shape[:-1]), moved.shape[-1]))
        parts.append(loops.cast(flat, compute_type(x.element)))
    return Complex(parts[0], parts[1] if len(parts) > 1 else None)


def _resized(loops: Loops, x: Tensor, length: int) -> Tensor:
    """Rows cut or filled with zeros to `length`."""
    rows, points = x.shape
    if points >= length:
        return loops.slice(x, [0, 0], [rows, length])
    return loops.pad(x, [0, 0], [0, length - points])


def _mirrored(loops: Loops, x: Complex, length: int) -> Complex:
    """The whole spectrum of a real signal from its first half."""
    rows, kept = x.real.shape
    count = length - kept

    def whole(t: Tensor, sign: float) -> Tensor:
        if count <= 0:
            return t
        tail = loops.slice(t, [0, length - kept], [rows, count], [1, -1])
        tail = loops.map(lambda k, v: v * sign, tail) if sign != 1 else tail
        return loops.concat([t, tail], 1)

    other = None if x.imaginary is None else whole(x.imaginary, -1.0)
    return Complex(whole(x.real, 1.0), other)


def _joined(
    loops: Loops, parts: Sequence[Tensor], shape: Sequence[int], axis: int, element: Attribute
) -> Tensor:
    """Rows [others, n] back in place, the parts along a last axis; `shape` is the result's."""
    order = [a for a in range(len(shape) - 1) if a != axis] + [axis]
    back = [order.index(a) for a in range(len(order))]
    result: list[Tensor] = []
    for part in parts:
        moved = loops.reshape(part, [shape[a] for a in order])
        plain = loops.cast(loops.transpose(moved, back), element)
        result.append(loops.reshape(plain, (*plain.shape, 1)))
    return loops.concat(result, len(shape) - 1)


@lowers("DFT")
def dft(loops: Loops, node: Node) -> Tensor:
    """The transform along `axis`, or its inverse; one-sided ones keep or take half a spectrum."""
    x = node.tensor(0)
    inverse, onesided = bool(node.attr("inverse")), bool(node.attr("onesided"))
    axis = (node.ints(2) or [-2])[0] % x.rank
    given = node.ints(1)
    default = 2 * (x.shape[axis] - 1) if inverse and onesided else x.shape[axis]
    length = given[0] if given else default
    signal = _parts(loops, x, axis)
    kept = length // 2 + 1 if inverse and onesided else length
    signal = signal.each(lambda t: _resized(loops, t, kept))
    if inverse and onesided:
        signal = _mirrored(loops, signal, length)
    result = fourier(loops, signal, 1 if inverse else -1)
    if inverse:
        result = result.each(lambda t: loops.map(lambda k, v: v / float(length), t))
    assert result.imaginary is not None
    parts = [result.real] if inverse and onesided else [result.real, result.imaginary]
    half = length // 2 + 1 if onesided and not inverse else length
    parts = [_resized(loops, part, half) for part in parts]
    return _joined(loops, parts, node.shape(), axis, x.element)


@lowers("STFT")
def stft(loops: Loops, node: Node) -> Tensor:
    """The transforms of windowed frames."""
    x = node.tensor(0)
    (step,) = node.ints(1) or [0]
    if step < 1:
        raise node.error(f"frame_step={step} is not positive")
    window = node.tensor(2) if node.has(2) else None
    given = node.ints(3)
    length = given[0] if given else (window.shape[0] if window is not None else x.shape[1])
    frames = (x.shape[1] - length) // step + 1
    signal = _parts(loops, x, 1)
    row, frame, at = (AffineExpr.dimension(i) for i in range(3))

    def framed(t: Tensor) -> Tensor:
        shape = (x.shape[0], frames, length)
        inputs: list[tuple[Tensor, list[AffineExpr]]] = [(t, [row, frame * step + at])]
        inputs += [(window, [at])] if window is not None else []

        def body(k: Body, v: Scalar, *w: Scalar) -> Scalar:
            return v * w[0] if w else v

        cut = loops.generic(body, inputs, shape, t.element)
        return loops.reshape(cut, (x.shape[0] * frames, length))

    result = fourier(loops, signal.each(framed), -1)
    assert result.imaginary is not None
    kept = node.shape()[2]
    parts = [_resized(loops, part, kept) for part in (result.real, result.imaginary)]
    return _joined(loops, parts, node.shape(), 2, x.element)


@lowers("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix")
def tabulated(loops: Loops, node: Node) -> Tensor:
    """A table that depends on constants alone: it is computed now."""
    values = [node.const(i) for i in range(len(node.inputs))]
    return loops.constant(evaluate(node.op, values)[0], node.element())
