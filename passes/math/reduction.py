"""x modulo pi/2 for the trigonometric functions: exact enough for every finite x.

Moderate numbers: x - n * pi/2 with pi/2 in three parts (Cody and Waite). Large ones: the product
of x's significand and the bits of 2/pi that matter, in integers (Payne and Hanek). Both are
computed, one is selected; a lane that would take the other costs nothing extra in vector code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mxc.passes.math.scalars import Kind, Scalar

TWO_OVER_PI = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e006492eea"
    "09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f49c845f8bbdf9283b"
    "1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d7527bac7ebe5f17b3d0739f7"
    "8a5292ea6bfb5fb11f8d5d0856033046fc7b6babf0cfbc209af4361d",
    16,
)
"""The first 1280 bits of 2/pi behind the binary point."""

_PARTS = tuple(
    float.fromhex(c) for c in ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69")
)
_PI_OVER_2 = float.fromhex("0x1.921fb54442d18p+0")
_INVERSE = float.fromhex("0x1.45f306dc9c883p-1")
_MAGIC = 1.5 * 2.0**52
_LARGE = 2.0**20
"""From here on n * _PARTS[0] is no longer exact."""

_LIMB = 0xFFFFFFFF


@dataclass(frozen=True)
class _Format:
    """`zeros` limbs of 32 zero bits precede 2/pi, `levels` bits choose the first limb used."""

    fraction: int
    bias: int
    zeros: int
    levels: int
    window: int


FORMATS: dict[Kind, _Format] = {
    "f32": _Format(fraction=23, bias=127, zeros=1, levels=3, window=3),
    "f64": _Format(fraction=52, bias=1023, zeros=2, levels=6, window=6),
}


def reduced(z: Scalar) -> tuple[Scalar, Scalar]:
    """(n, r): the nearest multiple of pi/2 and the rest, z = n * pi/2 + r, for z >= 0.

    n is an i64 of which the two lowest bits are right, r an f64 with |r| <= pi/4 and a relative
    error of about 2**-52 (f32: 2**-30).
    """
    wide = z.to("f64")
    shifted = wide * _INVERSE + _MAGIC
    n = shifted - _MAGIC
    r = wide - n * _PARTS[0] - n * _PARTS[1]
    if z.kind == "f64":
        r = r - n * _PARTS[2]
    large_n, large_r = _large(z)
    large = wide >= _LARGE
    return large.select(large_n, shifted.bits()), large.select(large_r, r)


def _large(z: Scalar) -> tuple[Scalar, Scalar]:
    format = FORMATS[z.kind]
    bits = z.bits().to("i64") if z.kind == "f32" else z.bits()
    exponent = bits.shift_in_zeros(format.fraction)
    significand = (bits & ((1 << format.fraction) - 1)) | (1 << format.fraction)
    # The first bit of the window has the weight 2 in the product, so the quadrant is on top.
    skipped = exponent - (format.bias + format.fraction - 32 * format.zeros + 2)
    window = _window(skipped, format)
    if z.kind == "f32":
        high, low = _narrow_product(significand, window), None
    else:
        high, low = _wide_product(significand, window)
    n = (high + (1 << 61)).shift_in_zeros(62)
    rest = (high - (n << 62)).to("f64")
    if low is not None:
        rest = rest + low.shift_in_zeros(1).to("f64") * 2.0**-63
    return n, rest * (_PI_OVER_2 * 2.0**-62)


def _window(skipped: Scalar, format: _Format) -> list[Scalar]:
    """Limbs of 32 bits of 2/pi, the first `skipped` bits left out, the highest limb first."""
    count = (1 << format.levels) // 2 + format.window + 1 + (1 if format.zeros > 1 else 0)
    digits = [(TWO_OVER_PI >> (1280 - 32 * (i + 1))) & _LIMB for i in range(40)]
    limbs = [skipped.like(d) for d in [*[0] * format.zeros, *digits][:count]]
    needed = format.window + 1
    for level in reversed(range(format.levels)):
        step = 1 << level
        chosen = ((skipped >> (5 + level)) & 1).differs(0)
        limbs = [
            chosen.select(limbs[i + step], limb) if i + step < len(limbs) else limb
            for i, limb in enumerate(limbs[: needed + step - 1])
        ]
    shift = skipped & 31
    back = 32 - shift
    return [((a << shift) | (b >> back)) & _LIMB for a, b in pairwise(limbs)]


def _narrow_product(m: Scalar, w: Sequence[Scalar]) -> Scalar:
    """The top 64 of 96 bits of m * w, modulo 2**96."""
    return ((m * w[0]) << 32) + m * w[1] + (m * w[2]).shift_in_zeros(32)


def _wide_product(m: Scalar, w: Sequence[Scalar]) -> tuple[Scalar, Scalar]:
    """The top 64 and the next 64 of 192 bits of m * w, modulo 2**192; m has 53 bits."""
    m0, m1 = m & _LIMB, m.shift_in_zeros(32)
    low = [m0 * limb for limb in reversed(w)]
    high = [m1 * limb for limb in reversed(w[1:])]
    # Column i gets the low halves of its products and what columns below carry into it.
    columns = [(low[1] & _LIMB) + (high[0] & _LIMB) + low[0].shift_in_zeros(32)]
    for i in range(2, len(w)):
        carry = columns[-1].shift_in_zeros(32) + low[i - 1].shift_in_zeros(32)
        carry = carry + high[i - 2].shift_in_zeros(32)
        columns.append((low[i] & _LIMB) + (high[i - 1] & _LIMB) + carry)
    c2, c3, c4 = (column & _LIMB for column in columns[1:4])
    return (columns[4] << 32) | c4, (c3 << 32) | c2
