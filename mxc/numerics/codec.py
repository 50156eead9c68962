"""Elements: from scaled values to codes and back, exact to the bit.

One formula serves every float element and every width of input. With `n` the magnitude in units
of the spacing `2**(max(E, emin) - mantissa_bits)` at its place, rounded to an integer, the code is
`n + (max(E, emin) - emin) * 2**mantissa_bits`: a carry of the mantissa moves into the exponent by
itself, and subnormals need no case. Adding the power of two whose last bit is the spacing rounds
to nearest even in one IEEE addition.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.numerics.formats import Element
from mxc.numerics.recipe import Recipe

Array = NDArray[Any]

_FRACTION = {4: 23, 8: 52}
"""The fraction bits of f32 and f64, by size."""


def decode(codes: Array, element: Element) -> NDArray[np.float32]:
    """The value of each code (before the scale), f32, exact."""
    return np.take(element.values32, codes.view(np.uint8), mode="clip")


def encode(values: Array, element: Element, recipe: Recipe, index: Array | int = 0) -> Array:
    """The codes of scaled values, f32 or f64: uint8, or int8 for a two's complement element.

    Magnitudes above the largest element saturate (see `Recipe.overflow`). The codes of NaNs are
    unspecified: NaN lives in the scale of the block (HiFloat8, which has no scale, encodes it).
    `index` are the places of the elements in the whole tensor, for stochastic rounding.
    """
    if element.kind == "hif8":
        return _encode_hif8(values, element)
    magnitudes, signs = split_signs(values)
    np.minimum(magnitudes, limit(element, recipe), out=magnitudes)
    return encode_magnitudes(magnitudes, signs, element, recipe, index)


def limit(element: Element, recipe: Recipe) -> float:
    """Magnitudes above this encode as this: the largest element, or the first beyond it."""
    special = recipe.overflow == "special" and element.special != "none"
    return 2.0 ** (element.emax + 1) if special else element.max


def split_signs(values: Array) -> tuple[Array, NDArray[np.uint8]]:
    """The magnitudes, and the signs as bytes: 1 for negative numbers, zeros and NaNs."""
    return np.abs(values), np.signbit(values).view(np.uint8)


def encode_magnitudes(
    magnitudes: Array,
    signs: NDArray[np.uint8],
    element: Element,
    recipe: Recipe,
    index: Array | int = 0,
) -> Array:
    """As `encode`, of `split_signs`; overwrites both. Magnitudes are at most `2**(emax + 1)`."""
    if recipe.tie == "even":
        codes = _nearest_even(magnitudes, element)
    else:
        codes = _by_rule(magnitudes, element, recipe, index)
    special = recipe.overflow == "special" and element.special != "none"
    np.minimum(codes, _filled(codes.shape, "u1", element.max_code + special), out=codes)
    if element.kind == "int":
        np.negative(signs, out=signs)  # two's complement: flip the bits and add one
        codes ^= signs
        codes -= signs
        return codes.view(np.int8)
    if not (element.negative_zero and recipe.negative_zero):
        signs *= codes != 0
    signs *= np.uint8(element.sign_bit)  # numpy shifts bytes one by one, but multiplies many
    codes |= signs
    return codes


def _nearest_even(magnitudes: Array, element: Element) -> NDArray[np.uint8]:
    """The codes of magnitudes, at most `2**(emax + 1)`; overwrites them.

    Adding the spacing leaves the count in the low bits of the sum, as those of the spacing are 0.
    All further sums are of bytes, modulo 256.
    """
    size, fraction = magnitudes.itemsize, _FRACTION[magnitudes.itemsize]
    drop = fraction - element.mantissa_bits
    bits = magnitudes.view(f"i{size}")
    if element.kind == "int":
        magnitudes += 2.0**drop
        return bits.astype(np.uint8)
    base = _bias(size) + element.emin
    exponent = bits & _exponent_mask(size)
    np.maximum(exponent, _filled(exponent.shape, f"i{size}", base << fraction), out=exponent)
    spacing = exponent + (drop << fraction)
    magnitudes += spacing.view(magnitudes.dtype)
    codes = bits.astype(np.uint8)
    exponent >>= drop
    codes += exponent.astype(np.uint8)
    codes -= np.uint8((base << element.mantissa_bits) & 0xFF)
    return codes


@lru_cache(maxsize=8)
def _filled(shape: tuple[int, ...], dtype: str, value: int) -> Array:
    """A constant array: numpy's minimum and maximum are slow with a scalar operand."""
    array = np.full(shape, value, dtype)
    array.flags.writeable = False
    return array


def _by_rule(magnitudes: Array, element: Element, recipe: Recipe, index: Array | int) -> Array:
    """As `_nearest_even`, for the other tie rules."""
    if element.kind == "int":
        return _round(magnitudes * 2.0**element.mantissa_bits, recipe, index).astype(np.uint8)
    size, fraction = magnitudes.itemsize, _FRACTION[magnitudes.itemsize]
    base = _bias(size) + element.emin
    exponent = magnitudes.view(f"i{size}") >> fraction
    np.maximum(exponent, base, out=exponent)
    inverse = (2 * _bias(size) + element.mantissa_bits - exponent) << fraction
    counts = _round(magnitudes * inverse.view(magnitudes.dtype), recipe, index)
    return (counts.astype(np.int64) + ((exponent - base) << element.mantissa_bits)).astype(np.uint8)


def _round(counts: Array, recipe: Recipe, index: Array | int) -> Array:
    """Non-negative counts rounded to integers by a tie rule other than `even`."""
    whole = np.floor(counts)
    rest = counts - whole
    if recipe.tie == "away":
        return whole + (rest >= 0.5)
    if recipe.tie == "zero":
        return whole + (rest > 0.5)
    parts = np.nan_to_num(rest * 2.0**32, nan=0).astype(np.uint64)
    return whole + (parts + random_bits(recipe.seed, index) >= 2**32)


def random_bits(seed: int, index: Array | int) -> NDArray[np.uint64]:
    """The top 32 bits of splitmix64 at counter `seed * 2**32 + index`."""
    with np.errstate(over="ignore"):
        z = np.asarray(index, np.uint64) + np.uint64((seed << 32) % 2**64)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))) >> np.uint64(32)


def _encode_hif8(values: Array, element: Element) -> NDArray[np.uint8]:
    """HiFloat8: nearest, ties away from zero; at least 1.25 * 2**15 is infinity."""
    codes, middles = hif8_steps(element)
    sign = np.signbit(values)
    magnitudes = np.where(np.isnan(values), 0, np.abs(values)).astype(np.float64)
    nearest = np.searchsorted(middles, magnitudes, side="right")
    result = codes[nearest]
    result[sign & (result != 0)] |= 0x80
    result[np.isnan(values)] = 0x80
    return result


def hif8_steps(element: Element) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The positive codes in the order of their values, infinity last; the middles between them."""
    codes = np.arange(0x80, dtype=np.uint8)
    codes = codes[np.argsort(element.values[codes], kind="stable")]
    steps = element.values[codes].copy()
    steps[-1] = 1.5 * element.max  # where the value after the largest would be
    return codes, (steps[1:] + steps[:-1]) / 2


def _bias(size: int) -> int:
    return 127 if size == 4 else 1023


def _exponent_mask(size: int) -> int:
    return 0x7F800000 if size == 4 else 0x7FF0000000000000
