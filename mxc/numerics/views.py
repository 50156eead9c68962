"""What can be done to a block array without touching the value of a code: moves and signs.

Every function is exact: the values of the result are the moved, negated or scaled values of the
input, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.errors import BadInput
from mxc.numerics.blocks import BlockArray, grid_of
from mxc.numerics.formats import FORMATS, Element

NAN_SCALE = 255


def transpose(a: BlockArray, permutation: Sequence[int] | None = None) -> BlockArray:
    """Axis i of the result is axis `permutation[i]` of `a`; without one, the axes reversed."""
    order = tuple(reversed(range(a.ndim))) if permutation is None else tuple(permutation)
    return replace(
        a,
        codes=a.codes.transpose(order),
        scales=a.scales.transpose(order),
        block=tuple(a.block[p] for p in order),
    )


def reshape(a: BlockArray, shape: Sequence[int], block: Sequence[int]) -> BlockArray:
    """The same codes and scales in row-major order; every block must stay whole and in order.

    Raises:
        BadInput: if the numbers of elements or blocks differ.
    """
    grid = grid_of(shape, block)
    if int(np.prod(shape)) != a.size or int(np.prod(grid)) != a.scales.size:
        raise BadInput(f"{tuple(shape)} in blocks of {tuple(block)} does not hold {a}")
    return replace(
        a, codes=a.codes.reshape(shape), scales=a.scales.reshape(grid), block=tuple(block)
    )


def slice_blocks(a: BlockArray, offsets: Sequence[int], sizes: Sequence[int]) -> BlockArray:
    """The elements from `offsets` on, `sizes` of them, both on the block grid."""
    codes = tuple(slice(o, o + n) for o, n in zip(offsets, sizes, strict=True))
    scales = tuple(
        slice(o // b, -(-(o + n) // b)) for o, n, b in zip(offsets, sizes, a.block, strict=True)
    )
    return replace(a, codes=a.codes[codes], scales=a.scales[scales])


def concat(parts: Sequence[BlockArray], axis: int) -> BlockArray:
    """`parts` side by side along `axis`; all but the last are whole numbers of blocks there."""
    return replace(
        parts[0],
        codes=np.concatenate([p.codes for p in parts], axis),
        scales=np.concatenate([p.scales for p in parts], axis),
    )


def gather(a: BlockArray, axis: int, indices: Sequence[int]) -> BlockArray:
    """The rows `indices` along `axis`, whose block is 1."""
    return replace(
        a, codes=np.take(a.codes, indices, axis), scales=np.take(a.scales, indices, axis)
    )


def neg(a: BlockArray) -> BlockArray:
    """The negated values."""
    element = a.format.element
    assert element is not None
    if element.kind == "int":
        return replace(a, codes=-a.codes)
    return replace(
        a, codes=_signed(element, a.codes, a.codes ^ a.codes.dtype.type(element.sign_bit))
    )


def abs_(a: BlockArray) -> BlockArray:
    """The magnitudes."""
    element = a.format.element
    assert element is not None
    if element.kind == "int":
        return replace(a, codes=np.abs(a.codes))
    mask = a.codes.dtype.type(element.sign_bit - 1)
    return replace(a, codes=_signed(element, a.codes, a.codes & mask))


def _signed(element: Element, old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    """`new`, except that codes without a sign (0 and NaN of FNUZ types) stay."""
    if element.negative_zero:
        return new
    return np.where(old & (element.sign_bit - 1), new, old)


def scale_by_power_of_two(a: BlockArray, exponent: int) -> BlockArray:
    """The values times 2**exponent; a scale byte that leaves 0..254 becomes NaN.

    Raises:
        BadInput: if the scales are not E8M0.
    """
    if a.format.scale != "e8m0":
        raise BadInput(f"the scales of {a.format} are no powers of two")
    moved = a.scales.astype(np.int64) + exponent
    fits = (a.scales != NAN_SCALE) & (moved >= 0) & (moved < NAN_SCALE)
    return replace(a, scales=np.where(fits, moved, NAN_SCALE).astype(np.uint8))


def refine(a: BlockArray, block: Sequence[int]) -> BlockArray:
    """The same codes in smaller blocks, which repeat the scales: exact.

    So a DeepSeek block of 1x128 is four MX blocks of 1x32.

    Raises:
        BadInput: if `block` does not divide the blocks of `a`.
    """
    if len(block) != a.ndim or any(b % s for b, s in zip(a.block, block, strict=True)):
        raise BadInput(f"blocks of {a.block} are not made of blocks of {tuple(block)}")
    scales = a.scales
    for axis, (old, new, count) in enumerate(
        zip(a.block, block, grid_of(a.shape, block), strict=True)
    ):
        scales = np.take(np.repeat(scales, old // new, axis), np.arange(count), axis)
    return replace(a, scales=scales, block=tuple(block))


def to_fnuz(a: BlockArray) -> BlockArray:
    """An FP8 block array as the FNUZ type of the same width, bytes remapped: exact.

    Every finite code but -0 stands for half the value there, so the scale byte goes up by one;
    -0 becomes 0, and NaN and infinities become NaN.

    Raises:
        BadInput: if the format is not mxfp8_e4m3 or mxfp8_e5m2, or a scale byte is 254.
    """
    target = FORMATS.get(f"{a.format.name}fnuz")
    element = a.format.element
    if target is None or element is None:
        raise BadInput(f"{a.format} has no FNUZ counterpart")
    if np.any(a.scales == NAN_SCALE - 1):
        raise BadInput("a scale byte of 254 leaves no room to double the scale")
    magnitude = a.codes & np.uint8(0x7F)
    codes = np.where(magnitude == 0, np.uint8(0), a.codes)
    codes = np.where(magnitude > element.max_code, np.uint8(0x80), codes)
    scales = np.where(a.scales == NAN_SCALE, a.scales, a.scales + np.uint8(1))
    return replace(a, codes=codes, scales=scales, format=target)
