"""Operations whose single result IEEE-754 defines, but which machines do not all have."""

from __future__ import annotations

from mxc.passes.math.scalars import Scalar


def round_half_away(x: Scalar) -> Scalar:
    """The nearest integer, halves away from zero."""
    whole = x.trunc()
    up = (x - whole).abs() >= 0.5
    return up.select(whole + x.like(1.0).with_sign_of(x), whole).with_sign_of(x)


def maximumf(x: Scalar, y: Scalar) -> Scalar:
    """IEEE 754-2019 `maximum`: NaN if either is; +0 is above -0."""
    zero = (x.bits() < 0).select(y, x)
    value = x.equals(y).select(zero, (x > y).select(x, y))
    return x.is_nan().select(x, value)


def minimumf(x: Scalar, y: Scalar) -> Scalar:
    """IEEE 754-2019 `minimum`: NaN if either is; -0 is below +0."""
    zero = (x.bits() < 0).select(x, y)
    value = x.equals(y).select(zero, (x < y).select(x, y))
    return x.is_nan().select(x, value)


def maxnumf(x: Scalar, y: Scalar) -> Scalar:
    """`maximum`, except that a NaN loses to a number."""
    return y.is_nan().select(x, x.is_nan().select(y, maximumf(x, y)))


def minnumf(x: Scalar, y: Scalar) -> Scalar:
    """`minimum`, except that a NaN loses to a number."""
    return y.is_nan().select(x, x.is_nan().select(y, minimumf(x, y)))
