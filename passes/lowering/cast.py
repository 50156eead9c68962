"""Operators that change the element type."""

from __future__ import annotations

from xdsl.dialects.builtin import (
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    f32,
    i1,
    i8,
    i32,
)
from xdsl.ir import Attribute

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import is_float
from mxc.dialects.types import integer_width, signless
from mxc.passes.lowering.registry import Node, lowers

LARGEST: dict[Attribute, float] = {
    Float8E4M3FNType(): 448.0,
    Float8E4M3FNUZType(): 240.0,
    Float8E5M2Type(): 57344.0,
    Float8E5M2FNUZType(): 57344.0,
}
"""The largest finite value of the types that `saturate` is about."""


@lowers("Cast", "CastLike")
def cast(loops: Loops, node: Node) -> Tensor:
    """The nearest value of another type, ties to even; see `Body.cast` for integers.

    A float becomes an integer of less than 8 bits by dropping the high bits.
    """
    x, element = node.tensor(0), node.element()
    saturate = bool(node.attr("saturate"))
    if element == Float8E8M0FNUType():
        return _to_e8m0(loops, node, x)
    if element in LARGEST and x.element != element:
        return loops.map(lambda k, v: _to_float8(k, v, element, saturate), x, element=element)
    if is_float(x.element) and not is_float(element) and 1 < integer_width(element) < 8:
        return loops.map(lambda k, v: k.cast(k.cast(v, i32), element), x, element=element)
    return loops.cast(x, element)


def _to_float8(k: Body, x: Scalar, element: Attribute, saturate: bool) -> Scalar:
    x = k.cast(x, f32)
    return k.clamp(x, -LARGEST[element], LARGEST[element]) if saturate else x


def _to_e8m0(loops: Loops, node: Node, x: Tensor) -> Tensor:
    """The exponent of |x|, rounded by `round_mode`; the byte 255 is NaN."""
    mode, saturate = node.attr("round_mode"), bool(node.attr("saturate"))
    if mode not in ("up", "down", "nearest"):
        raise node.error(f"round_mode={mode} is not known", "use up, down or nearest")

    def body(k: Body, value: Scalar) -> Scalar:
        bits = k.bitcast(k.cast(value, f32), i32)
        exponent = (bits >> 23) & 0xFF
        fraction = bits & 0x7FFFFF
        if mode == "nearest":
            half = k.where(exponent > 0, k.like(0x400000, bits), 0x400001)
            up = fraction >= half
        else:
            up = fraction.ne(0) if mode == "up" else k.const(0, i1)
        last = 0xFE if saturate else 0xFF
        rounded = k.where(up & (exponent < last), exponent + 1, exponent)
        return k.bitcast(k.cast(rounded, i8), Float8E8M0FNUType())

    return loops.map(body, x, element=Float8E8M0FNUType())


@lowers("BitCast")
def bit_cast(loops: Loops, node: Node) -> Tensor:
    """The same bits as another type of the same width; a bool is a byte, 0 or 1."""
    x, element = node.tensor(0), node.element()
    if signless(x.element) == signless(element):
        return Tensor(x.value, element)
    if i1 in (x.element, element):
        return loops.cast(x, element)
    return loops.bit_cast(x, element)
