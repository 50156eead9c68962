"""C types and literals: the compiler reads back exactly the bits that were meant."""

from __future__ import annotations

import math

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float4E2M1FNType,
    Float6E2M3FNType,
    Float6E3M2FNType,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    Float8E8M0FNUType,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
)
from xdsl.ir import Attribute

from mxc.errors import CannotLower

SMALL_FLOATS: dict[type[Attribute], str] = {
    Float16Type: "f16",
    BFloat16Type: "bf16",
    Float8E4M3FNType: "f8e4m3fn",
    Float8E5M2Type: "f8e5m2",
    Float8E4M3FNUZType: "f8e4m3fnuz",
    Float8E5M2FNUZType: "f8e5m2fnuz",
    Float8E8M0FNUType: "f8e8m0fnu",
    Float6E2M3FNType: "f6e2m3fn",
    Float6E3M2FNType: "f6e3m2fn",
    Float4E2M1FNType: "f4e2m1fn",
}
"""Floats that C has no type for: stored as bits, and only converted; the names of the helpers."""


def c_type(type: Attribute) -> str:
    """The C type of a scalar, in registers and in memory.

    Integers are unsigned, because in C only unsigned arithmetic wraps; an operation that reads
    them as signed casts. Integers below 8 bits are the low bits of a byte; what computes clears
    the others, what reads ignores them. Floats below 32 bits are their bits.

    Raises:
        CannotLower: if there is none.
    """
    match type:
        case Float32Type():
            return "float"
        case Float64Type():
            return "double"
        case IndexType():
            return "int64_t"
        case Float16Type() | BFloat16Type():
            return "uint16_t"
        case IntegerType():
            return f"uint{max(8, type.bitwidth)}_t" if type.bitwidth in _WIDTHS else _no(type)
        case _:
            return "uint8_t" if SMALL_FLOATS.get(type.__class__) else _no(type)


_WIDTHS = (1, 2, 4, 8, 16, 32, 64)


def _no(type: Attribute) -> str:
    raise CannotLower(f"the C backend has no type for {type}")


def c_float(value: float, type: Attribute) -> str:
    """`value` as a constant expression of C type float or double with the same bits."""
    suffix = "f" if isinstance(type, Float32Type) else ""
    cast = "" if suffix else "(double)"
    if math.isnan(value):
        return f"{cast}NAN"
    if math.isinf(value):
        return f"{'-' if value < 0 else ''}{cast}INFINITY"
    return f"{value.hex()}{suffix}"


def c_integer(value: int, type: Attribute) -> str:
    """`value`, of an integer or index type, as a constant expression of its C type."""
    if isinstance(type, IndexType):
        return f"INT64_C({value})" if value > -(2**63) else "INT64_MIN"
    assert isinstance(type, IntegerType), type
    width = type.bitwidth
    bits = value & ((1 << width) - 1)
    return f"UINT64_C({bits})" if width == 64 else f"{bits}u"
