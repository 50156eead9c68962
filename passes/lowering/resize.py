"""Resize: axis by axis, with positions and weights that are known while compiling."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isclose, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import f32, f64, i1
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type, is_float
from mxc.dialects.types import integer_width, is_unsigned
from mxc.passes.lowering import _sampling as sampling
from mxc.passes.lowering._sampling import Axis
from mxc.passes.lowering._take import affine_position, take
from mxc.passes.lowering.registry import Node, lowers


@lowers("Resize")
def resize(loops: Loops, node: Node) -> Tensor:
    """Elements of the output are weighted means of elements of the input."""
    x = node.tensor(0)
    axes = _axes(node, x)
    if node.attr("mode") == "nearest":
        return _nearest(loops, node, x, axes)
    kind = compute_type(x.element)
    if not is_float(kind):
        kind = f32 if integer_width(kind) < 32 else f64
    result = loops.cast(x, kind)
    for a, axis in axes.items():
        indices, weights = axis.taps(_weights(node, axis), bool(node.attr("exclude_outside")))
        result = _weighted(loops, result, a, indices, weights)
        result = _extrapolated(loops, node, result, a, axis)
    if is_float(x.element):
        return loops.cast(result, x.element)
    return loops.map(lambda k, v: k.math("roundeven", v), result, element=x.element)


def _axes(node: Node, x: Tensor) -> dict[int, Axis]:
    """The axes that change."""
    scales, region = _scales(node, x), _regions(node, x)
    coordinates = node.attr("coordinate_transformation_mode")
    found: dict[int, Axis] = {}
    for a, (size, output) in enumerate(zip(x.shape, node.shape(), strict=True)):
        same = output == size and isclose(scales[a], 1.0)
        if not same or region[a] != (0.0, 1.0):
            found[a] = Axis(size, output, scales[a], coordinates, region[a])
    try:
        for axis in found.values():
            axis.positions()
    except ValueError:
        raise node.error(f"coordinate_transformation_mode={coordinates} is not known") from None
    return found


def _listed(node: Node, rank: int) -> list[int]:
    """The axes that `scales`, `sizes` and `roi` speak of."""
    axes = node.attr("axes")
    return list(range(rank)) if axes is None else [a % rank for a in axes]


def _scales(node: Node, x: Tensor) -> list[float]:
    """The factor of every axis."""
    listed, factors = _listed(node, x.rank), [1.0] * x.rank
    scales = node.const(2)
    if scales is not None and scales.size:
        for a, scale in zip(listed, scales.reshape(-1), strict=True):
            factors[a] = float(scale)
        return factors
    sizes = node.ints(3)
    if not sizes:
        raise node.error("neither scales nor sizes are given")
    ratios = [n / x.shape[a] for a, n in zip(listed, sizes, strict=True)]
    policy = node.attr("keep_aspect_ratio_policy")
    if policy in ("not_larger", "not_smaller"):
        ratios = [min(ratios) if policy == "not_larger" else max(ratios)] * len(ratios)
    elif policy != "stretch":
        raise node.error(f"keep_aspect_ratio_policy={policy} is not known")
    for a, ratio in zip(listed, ratios, strict=True):
        factors[a] = ratio
    return factors


def _regions(node: Node, x: Tensor) -> list[tuple[float, float]]:
    """The part of every axis that is taken: all of it but for `tf_crop_and_resize`."""
    regions = [(0.0, 1.0)] * x.rank
    if node.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return regions
    roi = node.const(1)
    if roi is None:
        raise node.error("tf_crop_and_resize needs the input roi")
    listed = _listed(node, x.rank)
    values = [float(v) for v in roi.reshape(-1)]
    for i, a in enumerate(listed):
        regions[a] = (values[i], values[i + len(listed)])
    return regions


def _weights(node: Node, axis: Axis) -> sampling.Weights:
    mode, a = node.attr("mode"), float(node.attr("cubic_coeff_a"))
    antialias = bool(node.attr("antialias"))
    choices: dict[tuple[str, bool], Callable[[float], list[float]]] = {
        ("linear", False): sampling.linear,
        ("cubic", False): partial(sampling.cubic, a=a),
        ("linear", True): partial(sampling.linear_antialias, scale=axis.scale),
        ("cubic", True): partial(sampling.cubic_antialias, scale=axis.scale, a=a),
    }
    if (mode, antialias) not in choices:
        raise node.error(f"mode={mode} is not known", "use nearest, linear or cubic")
    return choices[mode, antialias]


def _nearest(loops: Loops, node: Node, x: Tensor, axes: dict[int, Axis]) -> Tensor:
    if node.attr("antialias"):
        raise node.error("antialias has no meaning with mode=nearest")
    rounding = node.attr("nearest_mode")
    try:
        chosen = {a: axis.nearest(rounding) for a, axis in axes.items()}
    except ValueError:
        raise node.error(f"nearest_mode={rounding} is not known") from None
    exprs = [AffineExpr.dimension(a) for a in range(x.rank)]
    affine = {a: affine_position(p, exprs[a]) for a, p in chosen.items()}
    if all(expr is not None for expr in affine.values()):
        moved = [affine.get(a) or exprs[a] for a in range(x.rank)]
        result = loops.gather_view(x, moved, node.shape())
    else:
        result = x
        for a, positions in chosen.items():
            result = take(loops, result, a, positions)
    for a, axis in axes.items():
        result = _extrapolated(loops, node, result, a, axis)
    return result


def _weighted(
    loops: Loops, x: Tensor, a: int, indices: NDArray[Any], weights: NDArray[Any]
) -> Tensor:
    """Along axis `a`, the sum of the source elements `indices` times `weights`, in order."""
    lines = loops.reshape(x, [prod(x.shape[:a]), x.shape[a], prod(x.shape[a + 1 :])])
    output, count = indices.shape
    kind: Attribute = x.element
    at = loops.constant(indices.astype(np.int32))
    by = loops.constant(weights.astype(np.float64 if kind == f64 else np.float32))
    row, tap = AffineExpr.dimension(1), AffineExpr.dimension(3)

    def body(k: Body, position: Scalar, weight: Scalar, total: Scalar) -> Scalar:
        value = k.load(lines.value, [k.index(0), position, k.index(2)], is_unsigned(x.element))
        return total + value * weight

    shape = [lines.shape[0], output, lines.shape[2]]
    pairs = [(at, [row, tap]), (by, [row, tap])]
    start = loops.fill(shape, kind, 0)
    result = loops.generic(body, pairs, shape, kind, reduce=[count], init=start)
    return loops.reshape(result, [*x.shape[:a], output, *x.shape[a + 1 :]])


def _extrapolated(loops: Loops, node: Node, x: Tensor, a: int, axis: Axis) -> Tensor:
    """`x` with `extrapolation_value` where axis `a` reaches outside the source."""
    outside = axis.outside()
    if not outside.any():
        return x
    mask = loops.constant(outside.reshape([-1 if i == a else 1 for i in range(x.rank)]), i1)
    value = float(node.attr("extrapolation_value"))
    return loops.map(lambda k, v, m: k.where(m, value, v), x, mask)
