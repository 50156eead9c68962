"""Quantisation as ONNX has it: scales and zero points per tensor, per axis or per block."""

from __future__ import annotations

from typing import Any, cast

import ml_dtypes
import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import Float8E8M0FNUType, f32, i32
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type, is_float
from mxc.dialects.loops.tensor import Exprs, highest, lowest
from mxc.dialects.types import element_type, numpy_dtype
from mxc.passes.lowering.registry import Node, lowers

PRECISION: dict[int, Attribute] = {
    1: f32,
    10: element_type(np.float16),
    16: element_type(ml_dtypes.bfloat16),
}
"""TensorProto data type -> the type in which a quotient is rounded."""


def saturate_integer(k: Body, value: Scalar, zero: Scalar | None, element: Attribute) -> Scalar:
    """The float `value` rounded to nearest even, plus `zero`, in the range of `element`.

    NaN becomes the smallest value.
    """
    low = k.like(float(lowest(element)), value)
    high = k.like(float(highest(element)), value)
    if zero is not None:
        shift = k.cast(zero, value.type)
        low, high = low - shift, high - shift
    value = k.math("roundeven", value)
    value = k.where(value > low, value, low)
    value = k.where(value < high, value, high)
    result = k.emit(arith.FPToSIOp(value.value, i32))
    if zero is not None:
        result = result + k.cast(zero, i32)
    return k.cast(result, element)


def saturate_float(k: Body, value: Scalar, element: Attribute, saturate: bool = True) -> Scalar:
    """The f32 `value` rounded to the small float type `element`; NaN stays NaN.

    Without `saturate`, what is too large becomes infinite, or NaN where there is no infinity.
    """
    finfo: Any = cast(Any, ml_dtypes).finfo
    top = float(finfo(numpy_dtype(element)).max)
    return k.cast(k.clamp(value, -top, top) if saturate else value, element)


def _spread(node: Node, parameter: Tensor, shape: tuple[int, ...]) -> Exprs:
    """How a scale or zero point is indexed in a loop over `shape`: by its granularity."""
    rank, d = len(shape), AffineExpr.dimension
    if parameter.size == 1:
        return [0] * parameter.rank
    axis = node.axis(rank)
    if parameter.rank == 1 and parameter.shape[0] == shape[axis]:
        return [d(axis)]
    block = int(node.attr("block_size"))
    blocks = [-(-n // block) if i == axis and block else n for i, n in enumerate(shape)]
    if parameter.shape != tuple(blocks) or not block:
        raise node.error(
            f"a scale of shape {list(parameter.shape)} fits no granularity of an input of shape "
            f"{list(shape)} with axis={axis} and block_size={block}"
        )
    return [d(i) // block if i == axis and block > 1 else d(i) for i in range(rank)]


@lowers("DequantizeLinear")
def dequantize_linear(loops: Loops, node: Node) -> Tensor:
    """(x - zero point) * scale; integers are subtracted exactly."""
    x, given = node.tensor(0), [node.tensor(1)]
    if _has_zero(node):
        given.append(node.tensor(2))

    def body(k: Body, v: Scalar, scale: Scalar, *zero: Scalar) -> Scalar:
        if zero and not v.is_float:
            v = k.cast(v, i32) - k.cast(zero[0], i32)
        v = k.cast(v, f32)
        if zero and zero[0].is_float:
            v = v - zero[0]
        return v * scale

    plain = [AffineExpr.dimension(i) for i in range(x.rank)]
    inputs = [(x, plain), *((t, _spread(node, t, x.shape)) for t in given)]
    return loops.generic(body, inputs, x.shape, node.element())


def _has_zero(node: Node) -> bool:
    """Whether there is a zero point that is not known to be 0."""
    if not node.has(2):
        return False
    if not node.is_const(2):
        return True
    value = node.const(2)
    return value is not None and bool(np.any(value.astype(np.float32) != 0))


@lowers("QuantizeLinear")
def quantize_linear(loops: Loops, node: Node) -> Tensor:
    """The quotient x / scale rounded, plus the zero point, saturated."""
    x, scale, element = node.tensor(0), node.tensor(1), node.element()
    given = [scale, node.tensor(2)] if _has_zero(node) else [scale]
    precision = _precision(node, scale.element)
    saturate = bool(node.attr("saturate"))

    def body(k: Body, v: Scalar, s: Scalar, *zero: Scalar) -> Scalar:
        quotient = k.cast(v, f32) / k.cast(s, f32)
        quotient = k.cast(k.cast(quotient, precision), f32)
        if not is_float(element):
            return saturate_integer(k, quotient, zero[0] if zero else None, element)
        return saturate_float(k, quotient + zero[0] if zero else quotient, element, saturate)

    plain = [AffineExpr.dimension(i) for i in range(x.rank)]
    inputs = [(x, plain), *((t, _spread(node, t, x.shape)) for t in given)]
    return loops.generic(body, inputs, x.shape, element)


def _precision(node: Node, scale: Attribute) -> Attribute:
    chosen = int(node.attr("precision") or 0)
    if chosen:
        if chosen not in PRECISION:
            raise node.error(f"precision={chosen} is not float, float16 or bfloat16")
        return PRECISION[chosen]
    return scale if is_float(scale) and scale != Float8E8M0FNUType() else f32


@lowers("DynamicQuantizeLinear")
def dynamic_quantize_linear(loops: Loops, node: Node) -> list[Tensor]:
    """To uint8 by a scale and zero point that cover the input and 0."""
    x = node.tensor(0)
    axes, kind = range(x.rank), compute_type(x.element)
    top, bottom = loops.max(x, axes), loops.min(x, axes)

    def scale_of(k: Body, high: Scalar, low: Scalar) -> Scalar:
        width = k.maximum(high, 0.0) - k.minimum(low, 0.0)
        return k.where(width.eq(0), 1.0, width / 255.0)

    def zero_of(k: Body, low: Scalar, scale: Scalar) -> Scalar:
        return saturate_integer(k, -k.minimum(low, 0.0) / scale, None, node.element(2))

    scale = loops.map(scale_of, top, bottom, element=kind)
    zero = loops.map(zero_of, bottom, scale, element=node.element(2))
    y = loops.map(
        lambda k, v, s, z: saturate_integer(k, v / s, z, node.element()),
        x,
        scale,
        zero,
        element=node.element(),
    )
    return [y, scale, zero]
