"""Pow and Mod, whose cases are many."""

from __future__ import annotations

from xdsl.dialects.builtin import Float64Type, f64, i64

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type, is_float
from mxc.dialects.types import integer_width
from mxc.passes.lowering.elementwise import mapped
from mxc.passes.lowering.registry import Node, lowers


def integer_power(k: Body, base: Scalar, exponent: Scalar) -> Scalar:
    """The power, wrapping, by squares; of a negative exponent the quotient 1 / base^n."""
    result, square = k.like(1, base), base
    for bit in range(integer_width(exponent.type)):
        odd = ((exponent >> bit) & 1).ne(0)
        result = k.where(odd, result * square, result)
        square = square * square
    if exponent.unsigned:
        return result
    unit = base.eq(1) if base.unsigned else base.eq(1) | base.eq(-1)
    return k.where(exponent < 0, k.where(unit, result, 0), result)


@lowers("Pow")
def pow_(loops: Loops, node: Node) -> Tensor:
    """Integers to integers by squares; everything else through the power of floats."""
    element = node.tensor(0).element

    def body(k: Body, base: Scalar, exponent: Scalar) -> Scalar:
        if not base.is_float and not exponent.is_float:
            return integer_power(k, base, exponent)
        kind = compute_type(element) if is_float(element) else f64
        return k.cast(k.math("pow", k.cast(base, kind), k.cast(exponent, kind)), element)

    return mapped(loops, node, body)


def float_remainder(k: Body, a: Scalar, b: Scalar) -> Scalar:
    """The exact remainder of f64 magnitudes, by division in steps of 2^28.

    Each step takes b * 2^s off as often as it fits, less than 2^29 times, so that for numbers that
    come from f32 the product has at most 53 bits and is exact.
    """
    rest = a
    for shift in range(252, -1, -28):
        scaled = b * float(2**shift)
        quotient = k.math("trunc", rest / scaled)
        left = rest - quotient * scaled
        left = k.where(left < 0, left + scaled, left)
        rest = k.where(rest < scaled, rest, left)
    return rest


def long_remainder(k: Body, a: Scalar, b: Scalar) -> Scalar:
    """The same for any f64 magnitudes, in steps of 2^24.

    b is split into halves of 27 and 26 bits, so that both products with a quotient of 25 bits are
    exact. The quotient is rounded to nearest, which keeps the differences within 53 bits. Of a
    number near the largest, whose products would overflow, the half is taken first.
    """
    high = k.bitcast(k.bitcast(b, i64) & -(2**26), f64)
    huge = a > float(2**1000)
    low, rest = b - high, k.where(huge, a * 0.5, a)
    for shift in range(2112, -1, -24):
        scaled = _scaled(b, shift)
        quotient = k.math("roundeven", rest / scaled)
        left = (rest - quotient * _scaled(high, shift)) - quotient * _scaled(low, shift)
        left = k.where(left < 0, left + scaled, left)
        rest = k.where(rest < scaled, rest, left)
    gap = b - rest
    doubled = k.where(rest < gap, rest + rest, rest - gap)
    return k.where(huge, doubled, rest)


def _scaled(x: Scalar, shift: int) -> Scalar:
    """The product x * 2^shift, in factors that a f64 holds."""
    while shift > 0:
        x = x * float(2 ** min(shift, 1000))
        shift -= 1000
    return x


def _float_mod(k: Body, a: Scalar, b: Scalar, *, truncated: bool) -> Scalar:
    kind = a.type
    remainder = long_remainder if isinstance(kind, Float64Type) else float_remainder
    wide_a, wide_b = k.cast(a, f64), k.cast(b, f64)
    rest = k.math("copysign", remainder(k, k.abs(wide_a), k.abs(wide_b)), wide_a)
    if not truncated:
        wrong = rest.ne(0) & ((rest < 0) ^ (wide_b < 0))
        rest = k.where(
            wrong, rest + wide_b, k.where(rest.eq(0), k.math("copysign", rest, wide_b), rest)
        )
    return k.cast(rest, kind)


@lowers("Mod")
def mod(loops: Loops, node: Node) -> Tensor:
    """The remainder, with the sign of the divisor, or with `fmod` of the dividend."""
    truncated = bool(node.attr("fmod"))

    def body(k: Body, a: Scalar, b: Scalar) -> Scalar:
        if a.is_float:
            return _float_mod(k, a, b, truncated=truncated)
        return a % k.safe_divisor(b) if truncated else k.floor_div(a, b)[1]

    return mapped(loops, node, body)
