"""Sums that f64 cannot hold: operands split into parts, and parts added with one rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.errors import BadInput
from mxc.numerics.blocks import BlockArray, block_values
from mxc.numerics.formats import Element

Array = NDArray[Any]

F64_BITS = 53
"""Integers of at most this many bits, and their sums in any order, are exact in f64."""


def sum_bits(a: Element, b: Element, terms: int) -> int:
    """The bits of a sum of products of elements, in units of the product of smallest values."""
    return _bits(terms * (a.max / a.min_subnormal) * (b.max / b.min_subnormal))


def _bits(count: float) -> int:
    return math.ceil(math.log2(count))


def exact_values(a: BlockArray) -> NDArray[np.float64]:
    """The values of `a` without its tensor scale."""
    return block_values(replace(a, tensor_scale=1.0))


def split(a: BlockArray, other: Element, terms: int) -> list[NDArray[np.float64]]:
    """`exact_values(a)` as a sum of disjoint parts, so that f64 holds each part's dot products.

    The elements are sorted into the parts by magnitude. One part is enough unless `a` and `other`
    have wide exponents (E5M2 with an FP8, HiFloat8).
    """
    element = a.format.element
    assert element is not None
    values = exact_values(a)
    if sum_bits(element, other, terms) <= F64_BITS:
        return [values]
    room = F64_BITS - sum_bits(element, other, terms) + _bits(element.max / element.min_subnormal)
    binades = room - element.mantissa_bits - 1
    if binades < 1:
        raise BadInput(f"no exact sum of products of {element.name} and {other.name} is known")
    part_of = _part_of_code(element, binades)[a.codes.view(np.uint8)]
    count = int(part_of.max(initial=0)) + 1
    return [np.where(part_of == part, values, 0.0) for part in range(count)]


def _part_of_code(element: Element, binades: int) -> NDArray[np.intp]:
    """The part of each code: 0 for the largest magnitudes, and for NaN; 0 is in the last."""
    _, exponent = np.frexp(np.abs(element.values))
    distance = element.emax + 1 - exponent
    parts = distance // binades
    odd = ~np.isfinite(element.values) | (element.values == 0)
    return np.where(odd, 0, parts)


def round_sum(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """The exact sum of f64 arrays, rounded once to f32.

    The parts become a non-overlapping expansion (Shewchuk 1997, grow-expansion). Summed from its
    small end, the last partial sum is within one unit in the last place of the total, and the sign
    of what is left is exact: enough to round to odd, after which the rounding to f32 is right.
    """
    expansion: list[NDArray[np.float64]] = [parts[0]]
    for part in parts[1:]:
        grown: list[NDArray[np.float64]] = []
        for term in expansion:
            part, error = two_sum(part, term)
            grown.append(error)
        expansion = [*grown, part]
    total, rest = expansion[0], np.zeros_like(expansion[0])
    for term in expansion[1:]:
        total, error = two_sum(term, total)
        rest = error + rest
    return to_odd(total, rest).astype(np.float32)


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded sum and its error: `a + b` exactly (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def to_odd(total: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """`total + rest` rounded to odd, with `total` within one unit in the last place of it."""
    bits = total.view(np.int64)
    inexact = (rest != 0) & (bits & 1 == 0)
    step = np.where((rest > 0) == (total > 0), 1, -1)
    return (bits + np.where(inexact, step, 0)).view(np.float64)
