"""The common case of quantisation, with as few passes over memory as numpy allows.

f32 in dense blocks of the last axis, elements that are floats with a -0, rounded to nearest even:
what `quantize` does otherwise, the same bits (`test_dense_is_the_general_way`), in buffers that
stay in a level 2 cache and are allocated once. Per element it comes to a dozen operations of numpy,
each a loop over a buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.numerics.formats import Element
from mxc.numerics.recipe import Recipe
from mxc.numerics.scales import MAX_BYTE, SCALE_VALUES, bump_threshold

Array = NDArray[Any]

CHUNK = 1 << 16
"""Elements per buffer."""

ROW = 2048
"""Elements that share an operand of a minimum or maximum."""

_FRACTION = 23
_BIAS = 127
INFINITY_BITS = 0x7F800000


def is_dense(x: Array, element: Element, recipe: Recipe, block: tuple[int, ...]) -> bool:
    """Whether `DenseQuantizer` does what is asked for."""
    plain = recipe == Recipe(scale_rule=recipe.scale_rule)
    float_element = element.kind == "float" and element.negative_zero and element.emax > 0
    rows = x.dtype == np.float32 and x.flags.c_contiguous and x.size > 0
    size = block[-1]
    whole = rows and set(block[:-1]) <= {1} and x.shape[-1] % size == 0
    return plain and float_element and whole and 4 <= size <= 256


@dataclass
class DenseQuantizer:
    """Quantises up to `capacity` elements, a multiple of `block`, at a time."""

    element: Element
    recipe: Recipe
    block: int
    capacity: int

    def __post_init__(self) -> None:
        e, n = self.element, self.capacity
        drop = _FRACTION - e.mantissa_bits
        base = _BIAS + e.emin
        self.starts = np.arange(0, n, self.block)
        self.magnitudes = np.empty(n, np.float32)
        self.factors = np.empty(n, np.float32)  # and spacings, when the factors are done with
        self.signs = np.empty(n, np.bool_)
        # numpy's minimum and maximum are slow with a scalar operand, but not with a row
        self.least = np.full(ROW, base, np.int32)
        self.largest = np.full(ROW, e.max_code, np.uint8)
        self.twice = np.int32((1 << _FRACTION) + (1 << e.mantissa_bits))
        low = -(base << e.mantissa_bits) & 0xFF
        self.lift = np.int32((drop << _FRACTION) + low)
        threshold = bump_threshold(e, self.recipe.scale_rule, _FRACTION)
        self.carry = np.uint32((1 << _FRACTION) - threshold)
        self.bytes = np.clip(np.arange(256) - e.emax, 0, MAX_BYTE).astype(np.uint8)
        # In rows, so that a factor for every element is one copy for each block.
        self.reciprocals = np.repeat(SCALE_VALUES[MAX_BYTE - self.bytes][:, None], self.block, 1)
        self.saturates = self.recipe.scale_rule in ("floor", "even")

    def run(self, x: Array, codes: NDArray[np.uint8], scales: NDArray[np.uint8]) -> bool:
        """Codes and scales of `x`, all one-dimensional; False if it has a NaN or an infinity."""
        n = x.size
        magnitudes = np.abs(x, out=self.magnitudes[:n])
        signs = np.signbit(x, out=self.signs[:n]).view(np.uint8)
        amax = np.maximum.reduceat(magnitudes.view(np.uint32), self.starts[: n // self.block])
        if amax.max() >= INFINITY_BITS:
            return False
        dead = None if amax.min() else amax == 0
        amax += self.carry  # a fraction from the threshold on carries into the exponent field
        amax >>= np.uint32(_FRACTION)
        field = amax.astype(np.intp)
        np.take(self.bytes, field, out=scales, mode="clip")
        factors = self.factors[:n]
        rows = factors.reshape(-1, self.block)
        np.take(self.reciprocals, field, axis=0, out=rows, mode="clip")
        magnitudes *= factors
        self._encode(magnitudes, signs, codes)
        if dead is not None:
            codes.reshape(-1, self.block)[dead] = 0
        return True

    def _encode(
        self, magnitudes: NDArray[np.float32], signs: NDArray[np.uint8], codes: NDArray[np.uint8]
    ) -> None:
        """As `mxc.numerics.codec`: the sum with the spacing has the count in its low bits.

        The spacing itself has the exponent of the code there, so that the low byte of the sum is
        the code. What it has there is even where elements have a mantissa, so ties stay ties.
        """
        n = magnitudes.size
        width = gcd(n, ROW)
        spacing = self.factors[:n].view(np.int32)
        np.right_shift(magnitudes.view(np.int32), np.int32(_FRACTION), out=spacing)
        rows = spacing.reshape(-1, width)
        np.maximum(rows, self.least[:width], out=rows)
        spacing *= self.twice  # the exponent where a float has it, and where the code has it
        spacing += self.lift
        magnitudes += spacing.view(np.float32)
        np.copyto(codes, magnitudes.view(np.int32), casting="unsafe")
        if self.saturates:
            lines = codes.reshape(-1, width)
            np.minimum(lines, self.largest[:width], out=lines)
        signs *= np.uint8(self.element.sign_bit)
        codes |= signs
