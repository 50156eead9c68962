"""log, log2, log10, log1p and the inverse hyperbolic functions.

x = 2**k * m with sqrt(1/2) <= m < sqrt(2), and with f = m - 1, s = f / (2 + f):
log(m) = 2 atanh(s) = f - f*f/2 + s (f*f/2 + R(s*s)).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

from mxc.passes.math.coefficients import LOG_F32, LOG_F64
from mxc.passes.math.scalars import Kind, Scalar, horner


@dataclass(frozen=True)
class _Format:
    """Constants of a float type; the high part of log(2) has room for the exponent's bits."""

    fraction: int
    smallest_normal: float
    sqrt_half_bits: int
    ln2: tuple[float, float]
    rest: tuple[float, ...]


FORMATS: dict[Kind, _Format] = {
    "f32": _Format(
        fraction=23,
        smallest_normal=2.0**-126,
        sqrt_half_bits=0x3F3504F3,
        ln2=(float.fromhex("0x1.62e3p-1"), float.fromhex("0x1.2fefa2p-17")),
        rest=LOG_F32,
    ),
    "f64": _Format(
        fraction=52,
        smallest_normal=2.0**-1022,
        sqrt_half_bits=0x3FE6A09E667F3BCD,
        ln2=(float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")),
        rest=LOG_F64,
    ),
}
_SCALE = 64
"""Subnormal numbers are multiplied by two to this power first."""

_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
_LOG10_E = float.fromhex("0x1.bcb7b1526e50ep-2")
_LOG10_2 = (float.fromhex("0x1.34413509f6p-2"), float.fromhex("0x1.9fef311f12b36p-42"))
_LN2 = float.fromhex("0x1.62e42fefa39efp-1")


def split(x: Scalar) -> tuple[Scalar, Scalar]:
    """(k, f) of a positive finite x = 2**k (1 + f), k as a float."""
    format = FORMATS[x.kind]
    tiny = x < format.smallest_normal
    scaled = tiny.select(x * 2.0**_SCALE, x).bits()
    exponent = (scaled - format.sqrt_half_bits) >> format.fraction
    m = (scaled - (exponent << format.fraction)).as_float()
    return exponent.to(x.kind) + tiny.select(x.like(-_SCALE), 0.0), m - 1.0


def _parts(f: Scalar) -> tuple[Scalar, Scalar]:
    """(h, c) with log(1 + f) = f - (h - c)."""
    s = f / (f + 2.0)
    z = s * s
    half = f * 0.5 * f
    return half, s * (half + z * horner(z, FORMATS[f.kind].rest))


def log_of_split(f: Scalar) -> Scalar:
    """log(1 + f) for the f of `split`."""
    half, rest = _parts(f)
    return f - (half - rest)


def guarded(x: Scalar, value: Scalar) -> Scalar:
    """`value` if x is positive and finite; else what a logarithm gives for 0, x < 0, inf, NaN."""
    special = x.equals(0.0).select(-inf, (x < 0.0).select(nan, x))
    return ((x > 0.0) & (x < inf)).select(value, special)


def log(x: Scalar) -> Scalar:
    """The natural logarithm."""
    k, f = split(x)
    half, rest = _parts(f)
    high, low = FORMATS[x.kind].ln2
    return guarded(x, rest + k * low - half + f + k * high)


def log2(x: Scalar) -> Scalar:
    """The logarithm to base 2; exact for powers of two; f32 in f64."""
    if x.kind == "f32":
        return log2(x.to("f64")).to("f32")
    k, f = split(x)
    return guarded(x, log_of_split(f) * _LOG2_E + k)


def log10(x: Scalar) -> Scalar:
    """The logarithm to base 10; f32 in f64."""
    if x.kind == "f32":
        return log10(x.to("f64")).to("f32")
    k, f = split(x)
    return guarded(x, log_of_split(f) * _LOG10_E + k * _LOG10_2[1] + k * _LOG10_2[0])


def log1p(x: Scalar) -> Scalar:
    """log(1 + x), accurate near zero: log(u) plus what rounding u = 1 + x lost; f32 in f64."""
    if x.kind == "f32":
        return log1p(x.to("f64")).to("f32")
    u = x + 1.0
    lost = (u < 2.0).select(x - (u - 1.0), 1.0 - (u - x)) / u
    value = log(u) + ((u > 0.0) & (u < inf)).select(lost, 0.0)
    return x.equals(0.0).select(x, value)


def asinh(x: Scalar) -> Scalar:
    """log(z + sqrt(z*z + 1)) for z = |x|, by log1p; f32 in f64."""
    if x.kind == "f32":
        return asinh(x.to("f64")).to("f32")
    z = x.abs()
    square = z * z
    near = log1p(z + square / ((square + 1.0).sqrt() + 1.0))
    return (z > 2.0**28).select(log(z) + _LN2, near).with_sign_of(x)


def acosh(x: Scalar) -> Scalar:
    """log(x + sqrt(x*x - 1)) for x >= 1, by log1p; NaN below; f32 in f64."""
    if x.kind == "f32":
        return acosh(x.to("f64")).to("f32")
    t = x - 1.0
    near = log1p(t + t.sqrt() * (t + 2.0).sqrt())
    return (x > 2.0**28).select(log(x) + _LN2, near)


def atanh(x: Scalar) -> Scalar:
    """log1p(2z / (1 - z)) / 2 for z = |x|; NaN beyond 1; f32 in f64."""
    if x.kind == "f32":
        return atanh(x.to("f64")).to("f32")
    z = x.abs()
    return (log1p((z + z) / (1.0 - z)) * 0.5).with_sign_of(x)
