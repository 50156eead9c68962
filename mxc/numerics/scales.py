"""Block scales: the E8M0 byte of a block from the bits of its largest magnitude.

Integers only: a floating-point log2 is wrong just below powers of two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.numerics.formats import Element
from mxc.numerics.recipe import Recipe, ScaleRule

NAN_BYTE = 0xFF
"""The E8M0 code of NaN."""

MAX_BYTE = 0xFE
"""The E8M0 code of 2**127."""

_FRACTION = {4: 23, 8: 52}
"""The fraction bits of f32 and f64, by size."""

SCALE_VALUES: NDArray[np.float32] = np.append(2.0 ** np.arange(-127, 128), np.nan).astype(
    np.float32
)
"""2**(byte - 127) in f32, exact (byte 0 is subnormal); NaN for byte 255."""


def bump_threshold(element: Element, rule: ScaleRule, fraction_bits: int = 23) -> int:
    """The smallest fraction of `amax` (an integer of `fraction_bits`) that bumps the scale.

    2**fraction_bits, which no fraction reaches, for `floor`.
    """
    one = 1 << fraction_bits
    match rule:
        case "floor":
            return one
        case "ceil":
            return 1
        case "rceil":
            return int((element.max_significand - 1) * one) + 1
        case "even":
            return one - (one >> (element.mantissa_bits + 1))


def scale_bytes(amax_bits: NDArray[Any], element: Element, recipe: Recipe) -> NDArray[np.uint8]:
    """The scale byte of each block, from the bits of its `amax`, as uint32 (f32) or uint64 (f64).

    The sign bit must be clear. Among such bits the largest integer is the largest magnitude and
    NaN is above infinity, so `amax` is an integer maximum. A zero block has byte 0.
    """
    size = amax_bits.dtype.itemsize
    fraction_bits = _FRACTION[size]
    infinity = np.array(np.inf, f"f{size}").view(amax_bits.dtype)
    if recipe.min_amax:
        floor = np.array(recipe.min_amax, f"f{size}").view(amax_bits.dtype)
        amax_bits = np.maximum(amax_bits, floor)
    exponent, fraction = _split(amax_bits, fraction_bits)
    bump = fraction >= bump_threshold(element, recipe.scale_rule, fraction_bits)
    bias = (1 << (8 * size - 2 - fraction_bits)) - 1
    byte = exponent + bump - (bias + element.emax - 127)
    byte = np.clip(byte, recipe.min_scale_byte, MAX_BYTE)
    byte[amax_bits == 0] = 0
    byte[amax_bits == infinity] = MAX_BYTE if recipe.special == "saturate" else NAN_BYTE
    byte[amax_bits > infinity] = NAN_BYTE
    return byte.astype(np.uint8)


def _split(bits: NDArray[Any], fraction_bits: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The exponent field and the fraction, as signed integers of the same size.

    A subnormal is normalised as far as it matters: the upper half of them has the exponent of
    field 0. The others get fraction 0, as their scale is clamped to byte 0, bumped or not.
    """
    signed = bits.view(f"i{bits.dtype.itemsize}")
    one = 1 << fraction_bits
    exponent, fraction = signed >> fraction_bits, signed & (one - 1)
    subnormal = exponent == 0
    if subnormal.any():
        fraction[subnormal] = np.maximum(2 * fraction[subnormal] - one, 0)
    return exponent, fraction
