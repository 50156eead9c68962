"""Quantisation: floating-point arrays to `BlockArray`, by a format and a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from mxc.errors import BadInput
from mxc.numerics.blocks import (
    BlockArray,
    block_shape,
    block_values,
    chunks,
    grid_of,
    plain_dtype,
)
from mxc.numerics.codec import encode, encode_magnitudes, limit, split_signs
from mxc.numerics.dense import CHUNK as DENSE_CHUNK
from mxc.numerics.dense import DenseQuantizer, is_dense
from mxc.numerics.formats import E4M3, Element, Format, format_of
from mxc.numerics.presets import preset
from mxc.numerics.recipe import Recipe, default_recipe, with_rule
from mxc.numerics.scales import MAX_BYTE, NAN_BYTE, SCALE_VALUES, scale_bytes

Array = NDArray[Any]

_RECIPROCALS = np.append(SCALE_VALUES[MAX_BYTE::-1], np.float32(0))
"""2**(127 - byte); 0 for NaN."""

_INPUTS = (np.dtype("f2"), np.dtype("f4"), np.dtype("f8"), np.dtype(ml_dtypes.bfloat16))


def quantize(
    x: Array,
    format: str | Format,
    axis: int = -1,
    *,
    scale_rule: str | None = None,
    recipe: Recipe | str | None = None,
    block: Sequence[int] | None = None,
    tensor_scale: float | None = None,
) -> BlockArray:
    """`x` (f16, bf16, f32 or f64, rounded once) in blocks of `format`.

    The blocks are the format's own along `axis`, or `block` (a shape; ones are put in front of it
    up to the rank of `x`). The conversion is `recipe` (or the
    name of a preset, see `mxc.numerics.presets`), by default that of the format; `scale_rule`
    replaces its scale rule. Signs of zeros are kept if the element has -0, except in blocks of
    zeros only, which are all +0 with scale byte 0.

    `tensor_scale` is the f32 scale of the whole tensor in NVFP4, by default 1 / 2688 of the largest
    magnitude; other formats have none, so it must be 1.

    Raises:
        BadInput: for other dtypes, a 0-d array, an axis out of range, unknown names, a tensor scale
            that the format does not have or that is not finite and positive.
    """
    format = format_of(format)
    if x.dtype not in _INPUTS:
        raise BadInput(f"cannot quantise {x.dtype}", hint="f16, bf16, f32 and f64 are known")
    recipe = preset(recipe) if isinstance(recipe, str) else recipe
    recipe = with_rule(recipe, scale_rule) if recipe else default_recipe(format, scale_rule)
    shape = block_shape(format, x.shape, axis, block)
    _check_tensor_scale(format, tensor_scale)
    with np.errstate(all="ignore"):
        if format.element is None:
            return _plain(x, format, shape)
        if format.scale == "e4m3":
            return _two_level(x, format, recipe, shape, tensor_scale)
        if format.scale == "none":
            return _unscaled(x, format, format.element, recipe, shape)
        return _power_of_two(x, format, format.element, recipe, shape)


def requantize(
    a: BlockArray,
    format: str | Format,
    axis: int = -1,
    *,
    scale_rule: str | None = None,
    recipe: Recipe | str | None = None,
    block: Sequence[int] | None = None,
    tensor_scale: float | None = None,
) -> BlockArray:
    """The exact values of `a` in another format, or in other blocks; see `quantize`."""
    x = block_values(a)
    return quantize(
        x, format, axis,
        scale_rule=scale_rule, recipe=recipe, block=block, tensor_scale=tensor_scale,
    )  # fmt: skip


def _check_tensor_scale(format: Format, tensor_scale: float | None) -> None:
    if tensor_scale is None or (tensor_scale == 1 and format.scale != "e4m3"):
        return
    if format.scale != "e4m3":
        raise BadInput(f"{format} has no tensor scale", hint="nvfp4 has one")
    if not np.isfinite(np.float32(tensor_scale)) or np.float32(tensor_scale) <= 0:
        raise BadInput(f"the tensor scale is {tensor_scale}", hint="a positive f32 is needed")


def _power_of_two(
    x: Array, format: Format, element: Element, recipe: Recipe, block: tuple[int, ...]
) -> BlockArray:
    """Formats with an E8M0 scale per block."""
    if is_dense(x, element, recipe, block):
        return _dense(x, format, element, recipe, block)
    return _general(x, format, element, recipe, block)


def _dense(
    x: Array, format: Format, element: Element, recipe: Recipe, block: tuple[int, ...]
) -> BlockArray:
    """As `_general`, for what `DenseQuantizer` can do; parts with a NaN or an infinity apart."""
    codes, scales = np.empty(x.shape, np.uint8), np.empty(grid_of(x.shape, block), np.uint8)
    flat, flat_codes, flat_scales = x.reshape(-1), codes.reshape(-1), scales.reshape(-1)
    size = block[-1]
    step = min(DENSE_CHUNK // size * size, x.size)
    quantizer = DenseQuantizer(element, recipe, size, step)
    for start in range(0, x.size, step):
        part, grid = slice(start, start + step), slice(start // size, (start + step) // size)
        if not quantizer.run(flat[part], flat_codes[part], flat_scales[grid]):
            a = _general(flat[part], format, element, recipe, (size,))
            flat_codes[part], flat_scales[grid] = a.codes, a.scales
    return BlockArray(codes, scales, format, block)


def _general(
    x: Array, format: Format, element: Element, recipe: Recipe, block: tuple[int, ...]
) -> BlockArray:
    """Any dtype, any blocks, any recipe."""
    codes = np.empty(x.shape, format.code_dtype)
    scales = np.empty(grid_of(x.shape, block), np.uint8)
    # An f32 scaled by its block's amax is below 2**(emax + 1), unless infinities are kept.
    bounded = x.dtype != np.float64 and (recipe.special, recipe.overflow) == ("nan", "saturate")
    for part, grid in chunks(x.shape, block):
        magnitudes, signs = split_signs(_padded(x[part], block))
        amax = block_amax(magnitudes, block)
        scales[grid] = bytes_ = scale_bytes(amax, element, recipe)
        scale_blocks(magnitudes, np.take(_RECIPROCALS, bytes_, mode="clip"), block)
        index = _places(x.shape, part, signs.shape) if recipe.tie == "stochastic" else 0
        if not bounded:
            np.minimum(magnitudes, limit(element, recipe), out=magnitudes)
        coded = encode_magnitudes(magnitudes, signs, element, recipe, index)
        dead = (bytes_ == NAN_BYTE) | (amax == 0)
        if dead.any():
            _clear(coded, dead, block)
        codes[part] = coded[tuple(slice(n) for n in codes[part].shape)]
    return BlockArray(codes, scales, format, block)


def _padded(part: Array, block: tuple[int, ...]) -> Array:
    """The values as f32 or f64, contiguous, with zeros up to whole blocks."""
    dtype = np.float64 if part.dtype == np.float64 else np.float32
    full = tuple(g * b for g, b in zip(grid_of(part.shape, block), block, strict=True))
    if full == part.shape:
        return np.ascontiguousarray(part, dtype)
    work = np.zeros(full, dtype)
    work[tuple(slice(n) for n in part.shape)] = part
    return work


def _blocked(a: Array, block: tuple[int, ...]) -> Array:
    """A view with two axes per axis: the blocks, and the elements in a block."""
    return a.reshape([d for n, b in zip(a.shape, block, strict=True) for d in (n // b, b)])


def block_amax(magnitudes: Array, block: tuple[int, ...]) -> Array:
    """The bits of the largest magnitude of each block; a NaN is larger than everything."""
    bits = magnitudes.view(f"u{magnitudes.itemsize}")
    grid = grid_of(bits.shape, block)
    if all(b == 1 for b in block[:-1]):
        starts = np.arange(0, bits.size, block[-1])
        return np.maximum.reduceat(bits.reshape(-1), starts).reshape(grid)
    bits = _blocked(bits, block)
    for axis in range(len(block)):
        bits = bits.max(2 * axis + 1, keepdims=True)
    return bits.reshape(grid)


def scale_blocks(work: Array, factors: Array, block: tuple[int, ...]) -> None:
    """Multiplies each block by its factor, in place."""
    if all(b == 1 for b in block[:-1]):
        flat = work.reshape(-1)
        flat *= np.repeat(factors.reshape(-1), block[-1])
    else:
        view = _blocked(work, block)
        view *= factors.reshape([d for g in factors.shape for d in (g, 1)])


def _clear(codes: Array, dead: Array, block: tuple[int, ...]) -> None:
    """Sets the codes of some blocks to 0."""
    view = _blocked(codes, block)
    view *= ~dead.reshape([d for g in dead.shape for d in (g, 1)])


def _places(shape: tuple[int, ...], part: tuple[slice, ...], padded: tuple[int, ...]) -> Array:
    """The row-major index in a tensor of `shape` of each element of a part of it."""
    index = np.zeros((), np.uint64)
    for n, cut, size in zip(shape, part, padded, strict=True):
        along = np.arange(cut.start, cut.start + size, dtype=np.uint64)
        index = index[..., None] * np.uint64(n) + along
    return index


def _two_level(
    x: Array, format: Format, recipe: Recipe, block: tuple[int, ...], tensor_scale: float | None
) -> BlockArray:
    """NVFP4: E4M3 scales under one f32 scale of the tensor, which puts the largest at 448 * 6.

    In f32, each operation rounded: `enc = 2688 / amax`, `dec = 1 / enc`, block scale `s =
    e4m3(amax_b / 6 * enc)`, not below 2**-9 in a block with values, element
    `e2m1(x * (1 / (s * dec)))`. Source: arXiv 2509.25149, section 2 and appendix C. A given tensor
    scale is `dec`, and `enc` its reciprocal.
    """
    assert format.element is not None
    x = x.astype(np.float32, copy=False)
    enc = (
        _encoding_scale(x, format.element) if tensor_scale is None else 1 / np.float32(tensor_scale)
    )
    dec = np.float32(1) / enc if tensor_scale is None else np.float32(tensor_scale)
    codes, scales = np.empty(x.shape, np.uint8), np.empty(grid_of(x.shape, block), np.uint8)
    for part, grid in chunks(x.shape, block):
        magnitudes, signs = split_signs(_padded(x[part], block))
        bits = block_amax(magnitudes, block)
        tops = bits.view(np.float32)
        bytes_ = encode(tops / np.float32(format.element.max) * enc, E4M3, Recipe())
        bytes_ = np.where(bits > 0, np.maximum(bytes_, 1), 0).astype(np.uint8)
        poisoned = ~np.isfinite(tops)
        bytes_[poisoned] = 0x7F
        scales[grid] = bytes_
        factors = np.float32(1) / (E4M3.values32[bytes_] * dec)
        scale_blocks(magnitudes, np.minimum(factors, np.finfo(np.float32).max), block)
        np.minimum(magnitudes, format.element.max, out=magnitudes)
        index = _places(x.shape, part, signs.shape) if recipe.tie == "stochastic" else 0
        coded = encode_magnitudes(magnitudes, signs, format.element, recipe, index)
        _clear(coded, poisoned | (bits == 0), block)
        codes[part] = coded[tuple(slice(n) for n in codes[part].shape)]
    return BlockArray(codes, scales, format, block, float(dec))


def _encoding_scale(x: NDArray[np.float32], element: Element) -> np.float32:
    """What puts the largest finite magnitude at the largest element times the largest scale."""
    amax = np.max(np.abs(x), initial=0, where=np.isfinite(x))
    enc = np.float32(element.max * E4M3.max) / amax if amax > 0 else np.float32(1)
    return np.float32(enc if np.isfinite(enc) else np.finfo(np.float32).max)


def _unscaled(
    x: Array, format: Format, element: Element, recipe: Recipe, block: tuple[int, ...]
) -> BlockArray:
    """Formats without a scale (HiFloat8)."""
    codes = np.empty(x.shape, np.uint8)
    for part, _ in chunks(x.shape, (1,) * x.ndim):
        codes[part] = encode(_padded(x[part], (1,) * x.ndim), element, recipe)
    return BlockArray(codes, _ones(x.shape, block), format, block)


def _plain(x: Array, format: Format, block: tuple[int, ...]) -> BlockArray:
    """bf16, f16, f32: the bits."""
    dtype = plain_dtype(format)
    if x.dtype == np.float64 and dtype == np.dtype(ml_dtypes.bfloat16):
        x = round_to_odd(x)
    codes = x.astype(dtype).view(format.code_dtype)
    return BlockArray(codes, _ones(x.shape, block), format, block)


def _ones(shape: tuple[int, ...], block: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.full(grid_of(shape, block), 127, np.uint8)


def round_to_odd(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """f64 to f32 so that a second rounding, to fewer than 23 bits, is as good as one."""
    y = x.astype(np.float32)
    bits = y.view(np.int32)
    away = np.abs(y.astype(np.float64)) > np.abs(x)
    inexact = (y.astype(np.float64) != x) & ~np.isnan(x)
    bits -= away & inexact  # toward zero: the bits of a magnitude count down, infinity too
    bits |= inexact
    return y
