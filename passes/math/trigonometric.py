"""sin, cos, tan and their inverses, in f64: for f32 only the last rounding counts."""

from __future__ import annotations

from math import inf

from mxc.passes.math.coefficients import ASIN_F64, ATAN_F64, COS_F32, COS_F64, SIN_F32, SIN_F64
from mxc.passes.math.reduction import reduced
from mxc.passes.math.scalars import Kind, Scalar, horner

_PI_OVER_2 = (float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54"))
_PI_OVER_4 = (_PI_OVER_2[0] / 2, _PI_OVER_2[1] / 2)
_PI = (_PI_OVER_2[0] * 2, _PI_OVER_2[1] * 2)
_TAN_PI_OVER_8 = float.fromhex("0x1.a827999fcef32p-2")
_TAN_3PI_OVER_8 = float.fromhex("0x1.3504f333f9de6p+1")


def _sin_and_cos(r: Scalar, kind: Kind) -> tuple[Scalar, Scalar]:
    """Of |r| <= pi/4, to the accuracy that a result of type `kind` needs."""
    sin, cos = (SIN_F32, COS_F32) if kind == "f32" else (SIN_F64, COS_F64)
    z = r * r
    half = z * 0.5
    w = 1.0 - half
    cos_r = w + ((1.0 - w - half) + z * z * horner(z, cos))
    return r + r * z * horner(z, sin), cos_r


def _signed(value: Scalar, bit: Scalar) -> Scalar:
    """`value`, negated if the lowest bit of the i64 `bit` is set."""
    return (value.bits() ^ (bit << 63)).as_float()


def _finish(x: Scalar, value: Scalar) -> Scalar:
    """`value` in the type of x; NaN where x is not finite."""
    return (x.abs() < inf).select(value.to(x.kind), x - x)


def sin(x: Scalar) -> Scalar:
    """The sine; x in radians, of any size."""
    n, r = reduced(x.abs())
    sin_r, cos_r = _sin_and_cos(r, x.kind)
    value = _signed((n & 1).differs(0).select(cos_r, sin_r), n >> 1)
    negative = x.to("f64").bits().shift_in_zeros(63)
    return _finish(x, _signed(value, negative))


def cos(x: Scalar) -> Scalar:
    """The cosine; x in radians, of any size."""
    n, r = reduced(x.abs())
    sin_r, cos_r = _sin_and_cos(r, x.kind)
    value = (n & 1).differs(0).select(sin_r, cos_r)
    return _finish(x, _signed(value, (n + 1) >> 1))


def tan(x: Scalar) -> Scalar:
    """The tangent; x in radians, of any size."""
    n, r = reduced(x.abs())
    sin_r, cos_r = _sin_and_cos(r, x.kind)
    odd = (n & 1).differs(0)
    value = odd.select(-cos_r, sin_r) / odd.select(sin_r, cos_r)
    negative = x.to("f64").bits().shift_in_zeros(63)
    return _finish(x, _signed(value, negative))


def _atan_of_quotient(a: Scalar, b: Scalar) -> Scalar:
    """atan(a / b) for a, b >= 0: in [0, pi/2].

    By the addition theorem a quotient above tan(pi/8) becomes (a-b) / (a+b), one above
    tan(3pi/8) becomes -b / a, so the polynomial sees at most tan(pi/8).
    """
    middle = a > b * _TAN_PI_OVER_8
    big = a > b * _TAN_3PI_OVER_8
    above = big.select(-b, middle.select(a - b, a))
    below = big.select(a, middle.select(a + b, b))
    q = above / below
    high = big.select(q.like(_PI_OVER_2[0]), middle.select(q.like(_PI_OVER_4[0]), 0.0))
    low = big.select(q.like(_PI_OVER_2[1]), middle.select(q.like(_PI_OVER_4[1]), 0.0))
    z = q * q
    return high + (q + (q * z * horner(z, ATAN_F64) + low))


def atan(x: Scalar) -> Scalar:
    """The arc tangent, in [-pi/2, pi/2]."""
    if x.kind == "f32":
        return atan(x.to("f64")).to("f32")
    z = x.abs()
    return _atan_of_quotient(z, z.like(1.0)).with_sign_of(x)


def atan2(y: Scalar, x: Scalar) -> Scalar:
    """The angle of the point (x, y), in [-pi, pi], with the signed zeros of IEEE 754-2019 9.2.1."""
    if x.kind == "f32":
        return atan2(y.to("f64"), x.to("f64")).to("f32")
    a, b = y.abs(), x.abs()
    huge = (a > 2.0**1000) | (b > 2.0**1000)
    a, b = (huge.select(v * 2.0**-60, v) for v in (a, b))
    infinite = a.equals(inf) & b.equals(inf)
    a, b = (infinite.select(1.0, v) for v in (a, b))
    b = (a.equals(0.0) & b.equals(0.0)).select(1.0, b)
    angle = _atan_of_quotient(a, b)
    behind = _PI[0] - (angle - _PI[1])
    return (x.bits() < 0).select(behind, angle).with_sign_of(y)


def _asin_rest(x: Scalar) -> Scalar:
    """asin(x) - x for |x| <= 1/2."""
    z = x * x
    return x * z * horner(z, ASIN_F64)


def asin(x: Scalar) -> Scalar:
    """The arc sine, in [-pi/2, pi/2]; NaN beyond 1."""
    if x.kind == "f32":
        return asin(x.to("f64")).to("f32")
    z = x.abs()
    root = ((1.0 - z) * 0.5).sqrt()
    far = _PI_OVER_2[0] - ((root + _asin_rest(root)) * 2.0 - _PI_OVER_2[1])
    near = z + _asin_rest(z)
    return (z < 0.5).select(near, far).with_sign_of(x)


def acos(x: Scalar) -> Scalar:
    """The arc cosine, in [0, pi]; NaN beyond 1."""
    if x.kind == "f32":
        return acos(x.to("f64")).to("f32")
    z = x.abs()
    root = ((1.0 - z) * 0.5).sqrt()
    twice = (root + _asin_rest(root)) * 2.0
    far = (x < 0.0).select(_PI[0] - (twice - _PI[1]), twice)
    near = _PI_OVER_2[0] - (x - (_PI_OVER_2[1] - _asin_rest(x)))
    return (z < 0.5).select(near, far)
