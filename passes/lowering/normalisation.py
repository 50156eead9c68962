"""Normalisation: subtract a mean, divide by a spread, scale and shift.

Means and variances are taken in f32 (f64 for f64), in two passes over the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type
from mxc.dialects.types import numpy_dtype
from mxc.passes.lowering.registry import Node, lowers


def _kept(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """`shape` with 1 for each of `axes`."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _mean(loops: Loops, x: Tensor, axes: Sequence[int]) -> Tensor:
    """The mean over `axes`, kept as axes of 1, in the type of computation."""
    by = float(prod(x.shape[a] for a in axes))
    total = loops.reshape(loops.sum(x, axes), _kept(x.shape, axes))
    return loops.map(lambda k, s: s / by, total)


def _mean_square(loops: Loops, x: Tensor, axes: Sequence[int]) -> Tensor:
    """The mean of the squares over `axes`, kept as axes of 1."""
    by = float(prod(x.shape[a] for a in axes))
    total = loops.reduce(lambda k, acc, v: acc + v, x, axes, 0, prepare=lambda k, v: v * v)
    return loops.map(lambda k, s: s / by, loops.reshape(total, _kept(x.shape, axes)))


def _moments(loops: Loops, x: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The mean over `axes`, and the variance as the mean square of what the mean leaves."""
    mean = _mean(loops, x, axes)
    rest = loops.map(lambda k, v, m: v - m, x, mean, element=compute_type(x.element))
    return mean, _mean_square(loops, rest, axes)


def _inverse_root(loops: Loops, variance: Tensor, epsilon: float) -> Tensor:
    """1 / sqrt(variance + epsilon)."""
    return loops.map(lambda k, v: 1.0 / k.math("sqrt", v + epsilon), variance)


def _scaled(
    loops: Loops,
    x: Tensor,
    mean: Tensor | None,
    factor: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    element: Attribute,
) -> Tensor:
    """(x - mean) * factor * scale + bias, with broadcasting; without what is None."""
    given = [t for t in (mean, bias) if t is not None]

    def body(k: Body, v: Scalar, f: Scalar, s: Scalar, *rest: Scalar) -> Scalar:
        others = list(rest)
        if mean is not None:
            v = v - others.pop(0)
        v = v * f * k.cast(s, v.type)
        return v + k.cast(others.pop(0), v.type) if others else v

    return loops.map(body, x, factor, scale, *given, element=element)


@lowers("BatchNormalization")
def batch_normalization(loops: Loops, node: Node) -> list[Tensor | None]:
    """Each channel times a plus b; in training mode by the moments of the batch, then blended."""
    x, scale, bias, mean, variance = (node.tensor(i) for i in range(5))
    element = compute_type(x.element)
    scale, bias, mean, variance = (loops.cast(t, element) for t in (scale, bias, mean, variance))
    running: list[Tensor | None] = []
    if node.attr("training_mode"):
        momentum = float(node.attr("momentum"))
        axes = [a for a in range(x.rank) if a != 1]
        batch = [loops.reshape(t, scale.shape) for t in _moments(loops, x, axes)]
        for i, (old, new) in enumerate(zip((mean, variance), batch, strict=True)):
            blended = loops.map(lambda k, a, b: a * momentum + b * (1.0 - momentum), old, new)
            running.append(loops.cast(blended, node.element(i + 1)) if node.wants(i + 1) else None)
        mean, variance = batch
    epsilon = float(node.attr("epsilon"))
    known = [] if running else [node.const(i) for i in range(1, 5) if node.is_const(i)]
    if len(known) == 4:
        factor, shift = _folded(loops, known, epsilon, element)
    else:
        factor = loops.map(lambda k, s, v: s / k.math("sqrt", v + epsilon), scale, variance)
        shift = loops.map(lambda k, b, m, f: b - m * f, bias, mean, factor)
    y = _per_channel(loops, x, factor, shift)
    return [y, *running]


def _folded(
    loops: Loops, known: Sequence[NDArray[Any] | None], epsilon: float, element: Attribute
) -> tuple[Tensor, Tensor]:
    """Factor and shift of constant parameters, by the same operations."""
    dtype = numpy_dtype(element)
    scale, bias, mean, variance = (np.asarray(value).astype(dtype) for value in known)
    factor = scale / np.sqrt(variance + dtype.type(epsilon))
    return loops.constant(factor), loops.constant(bias - mean * factor)


def _per_channel(loops: Loops, x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """The tensor x [N, C, *] * factor [C] + shift [C]."""
    if x.rank < 2:
        return loops.map(lambda k, v, f, s: v * f + s, x, factor, shift)
    flat = loops.reshape(x, (*x.shape[:2], prod(x.shape[2:])))
    channel = [AffineExpr.dimension(1)]
    plain = [AffineExpr.dimension(i) for i in range(3)]
    y = loops.generic(
        lambda k, v, f, s: v * f + s,
        [(flat, plain), (factor, channel), (shift, channel)],
        flat.shape,
        x.element,
    )
    return loops.reshape(y, x.shape)


@lowers("InstanceNormalization")
def instance_normalization(loops: Loops, node: Node) -> Tensor:
    """Every channel of every instance on its own."""
    x, scale, bias = (node.tensor(i) for i in range(3))
    flat = loops.reshape(x, (*x.shape[:2], prod(x.shape[2:])))
    mean, variance = _moments(loops, flat, [2])
    factor = _inverse_root(loops, variance, float(node.attr("epsilon")))
    scale, bias = (loops.reshape(t, (*t.shape, 1)) for t in (scale, bias))
    y = _scaled(loops, flat, mean, factor, scale, bias, x.element)
    return loops.reshape(y, x.shape)


@lowers("GroupNormalization")
def group_normalization(loops: Loops, node: Node) -> Tensor:
    """Groups of channels of every instance."""
    x, scale, bias = (node.tensor(i) for i in range(3))
    batch, channels = x.shape[:2]
    groups = int(node.attr("num_groups"))
    if groups < 1 or channels % groups:
        raise node.error(f"{channels} channels do not divide into num_groups={groups}")
    whole = loops.reshape(x, (batch, groups, x.size // (batch * groups)))
    mean, variance = _moments(loops, whole, [2])
    factor = _inverse_root(loops, variance, float(node.attr("epsilon")))
    mean, factor = (loops.reshape(t, (batch, groups, 1, 1)) for t in (mean, factor))
    split = loops.reshape(x, (batch, groups, channels // groups, prod(x.shape[2:])))
    scale, bias = (loops.reshape(t, (groups, channels // groups, 1)) for t in (scale, bias))
    y = _scaled(loops, split, mean, factor, scale, bias, x.element)
    return loops.reshape(y, x.shape)


def _rows(loops: Loops, x: Tensor, axis: int, *vectors: Tensor | None) -> list[Tensor | None]:
    """`x` as [rows, columns] split at `axis`, and vectors over its last axes as [columns]."""
    inner = x.shape[axis:]
    result: list[Tensor | None] = [loops.reshape(x, (prod(x.shape[:axis]), prod(inner)))]
    for vector in vectors:
        if vector is not None and vector.size != 1:
            vector = loops.reshape(loops.broadcast(vector, inner), (prod(inner),))
        elif vector is not None:
            vector = loops.reshape(vector, (1,))
        result.append(vector)
    return result


@lowers("LayerNormalization")
def layer_normalization(loops: Loops, node: Node) -> list[Tensor | None]:
    """The trailing axes from `axis` on; also the mean and the inverse deviation."""
    source, axis = node.tensor(0), node.axis(node.tensor(0).rank)
    bias = node.tensor(2) if node.has(2) else None
    x, scale, bias = _rows(loops, source, axis, node.tensor(1), bias)
    assert x is not None
    assert scale is not None
    mean, variance = _moments(loops, x, [1])
    factor = _inverse_root(loops, variance, float(node.attr("epsilon")))
    y = _scaled(loops, x, mean, factor, scale, bias, source.element)
    results: list[Tensor | None] = [loops.reshape(y, source.shape)]
    for i, value in ((1, mean), (2, factor)):
        if node.wants(i):
            results.append(loops.reshape(loops.cast(value, node.element(i)), node.shape(i)))
        else:
            results.append(None)
    return results


@lowers("RMSNormalization")
def rms_normalization(loops: Loops, node: Node) -> Tensor:
    """The trailing axes from `axis` on, divided by their root mean square."""
    source, axis = node.tensor(0), node.axis(node.tensor(0).rank)
    x, scale = _rows(loops, source, axis, node.tensor(1))
    assert x is not None
    assert scale is not None
    square = _mean_square(loops, x, [1])
    factor = _inverse_root(loops, square, float(node.attr("epsilon")))
    y = _scaled(loops, x, None, factor, scale, None, node.element())
    return loops.reshape(y, source.shape)


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(loops: Loops, node: Node) -> Tensor:
    """(x - mean) / (deviation + 1e-9) over `axes`."""
    x = node.tensor(0)
    axes = sorted(a % x.rank for a in node.attr("axes"))
    mean, variance = _moments(loops, x, axes)
    spread = loops.map(lambda k, v: k.math("sqrt", v) + 1e-9, variance)
    return loops.map(lambda k, v, m, s: (v - m) / s, x, mean, spread)


@lowers("LpNormalization")
def lp_normalization(loops: Loops, node: Node) -> Tensor:
    """The input over its 1-norm or 2-norm along `axis`; 0 where the norm is 0."""
    x, p = node.tensor(0), int(node.attr("p"))
    if p not in (1, 2):
        raise node.error(f"p={p} is not 1 or 2")
    axis = node.axis(x.rank)

    def prepare(k: Body, v: Scalar) -> Scalar:
        return k.abs(v) if p == 1 else v * v

    total = loops.reduce(lambda k, acc, v: acc + v, x, [axis], 0, prepare=prepare)
    total = loops.reshape(total, _kept(x.shape, [axis]))

    def divide(k: Body, v: Scalar, norm: Scalar) -> Scalar:
        empty = norm.eq(0)
        return k.where(empty, 0.0, v / k.where(empty, 1.0, norm))

    root = total if p == 1 else loops.map(lambda k, s: k.math("sqrt", s), total)
    return loops.map(divide, x, root)


@lowers("LRN")
def lrn(loops: Loops, node: Node) -> Tensor:
    """The input over (bias + alpha / size * the sum of squares of the channels around) ^ beta."""
    source, size = node.tensor(0), int(node.attr("size"))
    alpha, beta, bias = (float(node.attr(name)) for name in ("alpha", "beta", "bias"))
    element = compute_type(source.element)
    x = loops.reshape(source, (*source.shape[:2], prod(source.shape[2:])))
    padded = loops.pad(x, (0, (size - 1) // 2, 0), (0, size // 2, 0))
    n, c, p, at = (AffineExpr.dimension(i) for i in range(4))
    total = loops.generic(
        lambda k, v, acc: acc + v * v,
        [(padded, [n, c + at, p])],
        x.shape,
        element,
        reduce=[size],
        init=loops.fill(x.shape, element, 0),
    )

    def divide(k: Body, v: Scalar, s: Scalar) -> Scalar:
        base = s * (alpha / size) + bias
        return v / k.math("pow", base, k.like(beta, base))

    return loops.reshape(loops.map(divide, x, total), source.shape)
