"""exp, exp2, expm1 and what is made of them: tanh, sinh, cosh.

e**x = 2**n * e**r with n = round(x / log 2) and |r| <= log(2) / 2. Rounding is done by adding and
subtracting 1.5 * 2**23 (2**52 in f64), which leaves n in the low bits of the sum; r is found by
subtracting n * log(2) in two parts, the first short enough for the product to be exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from mxc.passes.math.coefficients import EXP2_F64, EXP_F32, EXP_F64
from mxc.passes.math.scalars import Kind, Scalar, horner

_LN2 = float.fromhex("0x1.62e42fefa39efp-1")


@dataclass(frozen=True)
class _Format:
    """Constants of a float type. `magic` is 1.5 * 2**fraction plus twice the exponent's bias."""

    fraction: int
    bias: int
    log2_e: float
    ln2: tuple[float, float]
    rest: tuple[float, ...]
    exp_range: tuple[float, float]
    expm1_range: tuple[float, float]
    tanh_limit: float

    @property
    def magic(self) -> float:
        return 1.5 * 2.0**self.fraction + 2 * self.bias


FORMATS: dict[Kind, _Format] = {
    "f32": _Format(
        fraction=23,
        bias=127,
        log2_e=float.fromhex("0x1.715476p+0"),
        ln2=(float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20")),
        rest=EXP_F32,
        exp_range=(-104.0, 89.0),
        expm1_range=(-18.0, 89.0),
        tanh_limit=18.25,
    ),
    "f64": _Format(
        fraction=52,
        bias=1023,
        log2_e=float.fromhex("0x1.71547652b82fep+0"),
        ln2=(float.fromhex("0x1.62e42fefap-1"), float.fromhex("0x1.cf79abc9e3b3ap-40")),
        rest=EXP_F64,
        exp_range=(-746.0, 710.0),
        expm1_range=(-40.0, 710.0),
        tanh_limit=40.0,
    ),
}


def _reduced(x: Scalar, f: _Format) -> tuple[Scalar, Scalar]:
    """(shifted, r): n + 2 * bias in the low bits of `shifted`, and x - n log 2."""
    shifted = x * f.log2_e + f.magic
    n = shifted - f.magic
    return shifted, x - n * f.ln2[0] - n * f.ln2[1]


def _expm1_of_reduced(r: Scalar, f: _Format) -> Scalar:
    return r * r * horner(r, f.rest) + r


def _scaled(value: Scalar, shifted: Scalar, f: _Format) -> Scalar:
    """`value` times 2**n as the product by two powers of two, so that subnormals round once."""
    bits = shifted.bits()
    half = bits.shift_in_zeros(1)
    first, second = half << f.fraction, (bits - half) << f.fraction
    return value * first.as_float() * second.as_float()


def exp(x: Scalar) -> Scalar:
    """e**x; overflows to infinity, underflows through the subnormals."""
    f = FORMATS[x.kind]
    shifted, r = _reduced(x.most(f.exp_range[0]).least(f.exp_range[1]), f)
    return _scaled(_expm1_of_reduced(r, f) + 1.0, shifted, f)


def exp2(x: Scalar) -> Scalar:
    """2**x; exact where x is an integer; f32 in f64."""
    if x.kind == "f32":
        return exp2(x.to("f64")).to("f32")
    return exp2_of_sum(x, None)


def exp2_of_sum(x: Scalar, low: Scalar | None) -> Scalar:
    """2**(x + low) for an f64 x and a `low` that is tiny beside 1."""
    f = FORMATS["f64"]
    clamped = x.most(-1080.0).least(1030.0)
    shifted = clamped + f.magic
    r = clamped - (shifted - f.magic)
    value = r * horner(r, EXP2_F64) + 1.0
    if low is not None:
        value = value + value * (low * _LN2)
    return _scaled(value, shifted, f)


def _power_of_two(shifted: Scalar, f: _Format, less: int) -> Scalar:
    """2**(n - less), for n - less in the range of the normal numbers."""
    return ((shifted.bits() - (f.bias + less)) << f.fraction).as_float()


def expm1(x: Scalar) -> Scalar:
    """e**x - 1, accurate near zero.

    With s = 2**(n-1), which does not overflow: 2 (s (e**r - 1) + (s - 1/2)).
    """
    f = FORMATS[x.kind]
    shifted, r = _reduced(x.most(f.expm1_range[0]).least(f.expm1_range[1]), f)
    s = _power_of_two(shifted, f, 1)
    value = s * _expm1_of_reduced(r, f) + (s - 0.5)
    return _keep_zero((value + value), x)


def _keep_zero(value: Scalar, x: Scalar) -> Scalar:
    return x.equals(0.0).select(x, value)


def tanh(x: Scalar) -> Scalar:
    """(1 - e**-2z) / (1 + e**-2z) for z = |x|; both are sums that round once and never cancel."""
    f = FORMATS[x.kind]
    shifted, r = _reduced((x.abs() * -2.0).most(-f.tanh_limit), f)
    s = _power_of_two(shifted, f, 0)
    rest = s * _expm1_of_reduced(r, f)
    return ((rest + (s - 1.0)) / (rest + (s + 1.0))).with_sign_of(x)


def sinh(x: Scalar) -> Scalar:
    """(e**z - e**-z) / 2 by way of expm1; f32 in f64."""
    if x.kind == "f32":
        return sinh(x.to("f64")).to("f32")
    z = x.abs()
    e = expm1(z)
    small = (e + e / (e + 1.0)) * 0.5
    half = exp(z * 0.5)
    return (z > 22.0).select((half * 0.5) * half, small).with_sign_of(x)


def cosh(x: Scalar) -> Scalar:
    """(e**z + e**-z) / 2; f32 in f64."""
    if x.kind == "f32":
        return cosh(x.to("f64")).to("f32")
    z = x.abs()
    half = exp(z * 0.5)
    e = exp(z)
    return (z > 22.0).select((half * 0.5) * half, e * 0.5 + 0.5 / e)
