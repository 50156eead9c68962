"""powf with the special cases of IEEE 754-2019 9.2.1, integer powers, roots."""

from __future__ import annotations

from math import inf, nan

from mxc.passes.math.coefficients import CBRT_F64, LOG_TAIL_F64
from mxc.passes.math.exponential import exp2, exp2_of_sum
from mxc.passes.math.logarithm import log_of_split, split
from mxc.passes.math.scalars import Scalar, horner

_LOG2_E = (float.fromhex("0x1.71547652b82fep+0"), float.fromhex("0x1.777d0ffda0d24p-56"))
_TWO_THIRDS = (float.fromhex("0x1.5555555555555p-1"), float.fromhex("0x1.5555555555555p-55"))

Pair = tuple[Scalar, Scalar]
"""An unevaluated sum: a value and what rounding it lost."""


def _two_sum(a: Scalar, b: Scalar) -> Pair:
    """The exact sum of a and b, if |a| >= |b| or a is 0."""
    total = a + b
    return total, b - (total - a)


def _halves(a: Scalar) -> Pair:
    """`a`, an f64, as the sum of two numbers of 26 bits (Veltkamp)."""
    c = a * 134217729.0
    high = c - (c - a)
    return high, a - high


def _two_product(a: Scalar, b: Scalar) -> Pair:
    """The exact product (Dekker), if nothing over- or underflows."""
    product = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return product, a2 * b2 - (product - a1 * b1 - a2 * b1 - a1 * b2)


def _log2_pair(z: Scalar) -> Pair:
    """log2 of a positive finite f64 to about 2**-63 of its value.

    With s = f / (2 + f): log(1 + f) = s (2 + s**2 (2/3 + s**2 t)), all but t in pairs.
    """
    k, f = split(z)
    u, u_low = _two_sum(f.like(2.0), f)
    s = f / u
    product, product_low = _two_product(s, u)
    s_low = (f - product - product_low - s * u_low) / u
    square, square_low = _two_product(s, s)
    square_low = square_low + (s + s) * s_low
    v, v_low = _two_product(square, s.like(_TWO_THIRDS[0]))
    tail = square * square * horner(square, LOG_TAIL_F64)
    v_low = v_low + (square * _TWO_THIRDS[1] + square_low * _TWO_THIRDS[0] + tail)
    w, w_low = _two_sum(s.like(2.0), v)
    log, log_low = _two_product(s, w)
    log_low = log_low + (s * (w_low + v_low) + s_low * w)
    high, low = _two_product(log, s.like(_LOG2_E[0]))
    low = low + (log * _LOG2_E[1] + log_low * _LOG2_E[0])
    total, lost = _two_sum(k, high)
    return _two_sum(total, lost + low)


def powf(x: Scalar, y: Scalar) -> Scalar:
    """x**y = 2**(y log2 x), with the sign of an odd power; f32 in f64."""
    if x.kind == "f32":
        x, y = x.to("f64"), y.to("f64")
        return _special_powers(x, y, exp2(_bounded(y) * _log2(x.abs()))).to("f32")
    high, low = _log2_pair(x.abs())
    exponent, lost = _two_product(_bounded(y), high)
    exponent = exponent.least(2000.0).most(-2000.0)
    lost = (exponent.abs() < 2000.0).select(lost + _bounded(y) * low, 0.0)
    return _special_powers(x, y, exp2_of_sum(exponent, lost))


def _bounded(y: Scalar) -> Scalar:
    """`y` or a number beyond which every power but that of 1 over- or underflows."""
    return y.least(2.0**65).most(-(2.0**65))


def _log2(z: Scalar) -> Scalar:
    k, f = split(z)
    return log_of_split(f) * _LOG2_E[0] + k


def _special_powers(x: Scalar, y: Scalar, value: Scalar) -> Scalar:
    """x**y, given `value` = |x|**y for finite x other than 0 and y other than NaN."""
    z = x.abs()
    beyond = (z < 1.0).select(-y, y) > 0.0  # for z = 0 or inf
    value = (z.equals(0.0) | z.equals(inf)).select(beyond.select(x.like(inf), 0.0), value)
    half = y * 0.5
    broken = y.trunc().differs(y)
    even = half.trunc().equals(half)
    value = ((x.bits() < 0) & (even | broken).equals(0)).select(-value, value)
    value = ((x < 0.0) & (x > -inf) & broken).select(nan, value)
    value = (x.is_nan() | y.is_nan()).select(x + y, value)
    return (x.equals(1.0) | y.equals(0.0)).select(1.0, value)


def rsqrt(x: Scalar) -> Scalar:
    """1 / sqrt(x), both rounded; an infinity for a zero, NaN below."""
    return 1.0 / x.sqrt()


def cbrt(x: Scalar) -> Scalar:
    """The cube root, of negative numbers too; f32 in f64.

    |x| = 8**q * m with 1 <= m < 8; two steps of Halley's method from a polynomial in m.
    """
    if x.kind == "f32":
        return cbrt(x.to("f64")).to("f32")
    z = x.abs()
    tiny = z < 2.0**-1022
    bits = tiny.select(z * 2.0**54, z).bits()
    exponent = bits >> 52
    third = ((exponent + 3) * 21846 >> 16) - 342  # (exponent - 1023) / 3 rounded down
    m = (bits - ((third * 3) << 52)).as_float()
    t = horner(m, CBRT_F64)
    for _ in range(2):
        cube = t * t * t
        t = t + t * (m - cube) / (cube + cube + m)
    scaled = t * ((third + 1023) << 52).as_float() * tiny.select(z.like(2.0**-18), 1.0)
    return ((z > 0.0) & (z < inf)).select(scaled.with_sign_of(x), x)


def fpowi(x: Scalar, n: Scalar) -> Scalar:
    """x**n for an integer n of 32 bits; f32 in f64."""
    if x.kind == "f32":
        return fpowi(x.to("f64"), n).to("f32")
    return powf(x, n.to("f64"))


def ipowi(x: Scalar, n: Scalar) -> Scalar:
    """x**n in integers that wrap; for n < 0, 1 / x**-n rounded toward zero, and 0 for x = 0."""
    result, base = x.like(1), x
    for bit in range(31 if x.kind == "i32" else 63):
        result = ((n.shift_in_zeros(bit) & 1).differs(0)).select(result * base, result)
        base = base * base
    odd = (n & 1).differs(0)
    of_minus_one = odd.select(x, x.like(1))
    inverse = x.equals(1).select(x, x.equals(-1).select(of_minus_one, 0))
    return (n < 0).select(inverse, result)


def powf_of_constant(x: Scalar, exponent: float) -> Scalar | None:
    """x**exponent where a few exact or once more rounded operations give it; else None.

    Products of up to three factors and reciprocals stay within 1.5 ulp. A square root differs from
    the power for -0 and -inf, which give +0 and +inf.
    """
    match exponent:
        case 1.0:
            return x
        case 2.0:
            return x * x
        case 3.0:
            return x * x * x
        case -1.0:
            return 1.0 / x
        case 0.5:
            return x.equals(-inf).select(inf, (x + 0.0).sqrt())
        case _:
            return None
