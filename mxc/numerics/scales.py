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
    bits = _normalised(amax_bits, fraction_bits) if element.emax == 0 else amax_bits
    # A fraction from the threshold on carries into the exponent field: the bump.
    carry = (1 << fraction_bits) - bump_threshold(element, recipe.scale_rule, fraction_bits)
    byte = (bits + bits.dtype.type(carry)) >> bits.dtype.type(fraction_bits)
    byte = byte.view(f"i{size}")
    byte -= (1 << (8 * size - 2 - fraction_bits)) - 1 + element.emax - 127
    np.maximum(byte, recipe.min_scale_byte, out=byte)
    np.minimum(byte, MAX_BYTE, out=byte)
    if recipe.min_scale_byte:
        byte[amax_bits == 0] = 0
    special = amax_bits >= infinity
    if special.any():
        byte[special] = MAX_BYTE if recipe.special == "saturate" else NAN_BYTE
        byte[amax_bits > infinity] = NAN_BYTE
    return byte.astype(np.uint8)


def _normalised(bits: NDArray[Any], fraction_bits: int) -> NDArray[Any]:
    """The bits with the fractions of subnormals as if field 0 were one binade of normal numbers.

    For an element with `emax` 0 the upper half of the subnormals may be bumped to byte 1; the
    others have byte 0 anyway. For a larger `emax` all have.
    """
    one = bits.dtype.type(1 << fraction_bits)
    upper = np.where(bits >= one // 2, 2 * bits - one, 0)
    return np.where(bits < one, upper, bits).astype(bits.dtype)
