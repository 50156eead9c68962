"""Packed layouts: block arrays as the bytes that a file format or a machine wants.

A layout changes no value: unpacking gives the codes and scales that were packed. The names:

* `onnx`: elements row-major, 4 bits with the even element in the low nibble, 6 bits as a stream
  from the least significant bit on, the end filled with zeros; scales row-major. For MXINT8 the
  scale bytes are 6 less, as ONNX counts int8 in ones and not in 1/64.
* `ocp-interleaved`: per block, row-major over the grid, the scale byte and the elements of the
  block as in `onnx`; short blocks are filled with code 0.
* `npu`: the tensor filled with code 0 up to whole blocks, elements as in `onnx`; scales row-major.
* `ggml`: `block_mxfp4`, 17 bytes per 32 elements of a row: the scale byte, then 16 bytes with
  element j in the low and j + 16 in the high nibble. MXFP4, whole blocks along the last axis.
* `cublas`: elements as in `onnx`; scales of the blocks along the last axis of a matrix in tiles of
  128 rows x 4 blocks, as cuBLAS and tcgen05.mma want them, filled with byte 0.
* `deepgemm`: elements as in `onnx`; scales as int32 words of 4 blocks along the last axis (the
  first in the low byte), [words, rows filled to a multiple of 4]: the rows lie next to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc.errors import BadInput
from mxc.numerics.blocks import BlockArray, grid_of
from mxc.numerics.formats import Format

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

_INT8_SHIFT = 6


@dataclass(frozen=True, eq=False)
class Packed:
    """A packed block array, and what unpacking needs to know."""

    layout: str
    format: Format
    shape: tuple[int, ...]
    block: tuple[int, ...]
    elements: Bytes
    """The elements; in interleaved layouts the scales too."""
    scales: Array
    """The scales; empty in interleaved layouts."""
    tensor_scale: float = 1.0


def pack(a: BlockArray, layout: str) -> Packed:
    """`a` in a named layout.

    Raises:
        BadInput: for an unknown layout, or one that does not take this format or block.
    """
    _check(layout, a.format, a.shape, a.block)
    elements, scales = _LAYOUTS[layout][0](a)
    return Packed(layout, a.format, a.shape, a.block, elements, scales, a.tensor_scale)


def from_packed(packed: Packed) -> BlockArray:
    """The block array that was packed; the inverse of `pack`.

    Raises:
        BadInput: as `pack`, or if there are too few bytes.
    """
    _check(packed.layout, packed.format, packed.shape, packed.block)
    codes, scales = _LAYOUTS[packed.layout][1](packed)
    codes = codes.reshape(packed.shape).view(packed.format.code_dtype)
    if packed.format.element is not None and packed.format.element.kind == "int":
        codes = np.ascontiguousarray(codes)
    return BlockArray(
        codes, np.ascontiguousarray(scales), packed.format, packed.block, packed.tensor_scale
    )


def pack_bits(codes: Array, bits: int) -> Bytes:
    """Codes of 4, 6 or 8 bits as a stream of bytes, the first in the least significant bits."""
    flat = np.ascontiguousarray(codes).reshape(-1).view(np.uint8)
    if bits == 8:
        return flat
    per = 2 if bits == 4 else 4
    groups = np.zeros((-(-flat.size // per), per), np.uint32)
    groups.reshape(-1)[: flat.size] = flat & ((1 << bits) - 1)
    words = np.bitwise_or.reduce(groups << np.arange(0, bits * per, bits, dtype=np.uint32), axis=1)
    size = bits * per // 8
    stream = words.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :size].reshape(-1)
    return stream[: -(-flat.size * bits // 8)]


def unpack_bits(stream: Bytes, bits: int, count: int) -> Bytes:
    """The first `count` codes of a stream of `pack_bits`.

    Raises:
        BadInput: if the stream is too short.
    """
    if stream.size * 8 < count * bits:
        raise BadInput(f"{stream.size} bytes hold fewer than {count} codes of {bits} bits")
    if bits == 8:
        return stream[:count].copy()
    per, size = (2, 1) if bits == 4 else (4, 3)
    groups = -(-count // per)
    words = np.zeros((groups, 4), np.uint8)
    padded = np.zeros(groups * size, np.uint8)
    used = min(stream.size, padded.size)
    padded[:used] = stream[:used]
    words[:, :size] = padded.reshape(groups, size)
    shifts = np.arange(0, bits * per, bits, dtype=np.uint32)
    codes = (words.view("<u4") >> shifts) & ((1 << bits) - 1)
    return codes.reshape(-1)[:count].astype(np.uint8)


def swizzle_128x4(scales: Bytes) -> Bytes:
    """Scales [rows, blocks] in the 512-byte tiles of cuBLAS; missing ones are byte 0."""
    rows, columns = grid_of(scales.shape, (128, 4))
    padded = np.zeros((rows * 128, columns * 4), np.uint8)
    padded[: scales.shape[0], : scales.shape[1]] = scales
    tiles = padded.reshape(rows, 4, 32, columns, 4)
    return tiles.transpose(0, 3, 2, 1, 4).reshape(-1)


def unswizzle_128x4(stream: Bytes, rows: int, blocks: int) -> Bytes:
    """The scales [rows, blocks] of a stream of `swizzle_128x4`."""
    tiles = grid_of((rows, blocks), (128, 4))
    padded = stream.reshape(*tiles, 32, 4, 4).transpose(0, 3, 2, 1, 4)
    return padded.reshape(tiles[0] * 128, tiles[1] * 4)[:rows, :blocks]


def _check(layout: str, format: Format, shape: tuple[int, ...], block: tuple[int, ...]) -> None:
    if layout not in _LAYOUTS:
        raise BadInput(f"unknown layout '{layout}'", hint=f"known are {', '.join(_LAYOUTS)}")
    if format.element is None:
        raise BadInput(f"{format} has no packed layouts", hint="its codes are the bits")
    last_axis = all(b == 1 for b in block[:-1])
    if layout in ("cublas", "deepgemm") and not (len(shape) == 2 and last_axis):
        raise BadInput(f"{layout} takes matrices with blocks along the last axis, not {block}")
    if layout == "ggml" and (format.name != "mxfp4" or not last_axis or block[-1] != 32):
        raise BadInput(f"ggml has no {format} in blocks of {block}", hint="mxfp4 in blocks of 32")
    if layout == "ggml" and shape[-1] % 32:
        raise BadInput(f"ggml rows are whole blocks of 32, not {shape[-1]} elements")


def _stream(a: BlockArray) -> Bytes:
    return pack_bits(a.codes, a.format.bits)


def _unstream(packed: Packed) -> Bytes:
    return unpack_bits(packed.elements, packed.format.bits, int(np.prod(packed.shape)))


def _pack_onnx(a: BlockArray) -> tuple[Bytes, Array]:
    if a.format.element is None or a.format.element.kind != "int":
        return _stream(a), a.scales
    zero = a.scales == 0  # a block of zeros: its scale does not matter
    if np.any((a.scales < _INT8_SHIFT) & ~zero) or (zero.any() and _scaled_by_zero(a)):
        raise BadInput(f"ONNX has no scale for {a.format} blocks with bytes below {_INT8_SHIFT}")
    shifted = np.where(zero | (a.scales == 255), a.scales, a.scales - np.uint8(_INT8_SHIFT))
    return _stream(a), shifted.astype(np.uint8)


def _scaled_by_zero(a: BlockArray) -> bool:
    """True if a block with scale byte 0 has elements."""
    from mxc.numerics.blocks import spread

    return bool(np.any((spread(a.scales, a.block, a.shape) == 0) & (a.codes != 0)))


def _unpack_onnx(packed: Packed) -> tuple[Bytes, Bytes]:
    scales = packed.scales.reshape(grid_of(packed.shape, packed.block))
    element = packed.format.element
    if element is not None and element.kind == "int":
        kept = (scales == 0) | (scales == 255)
        scales = np.where(kept, scales, scales + np.uint8(_INT8_SHIFT)).astype(np.uint8)
    return _unstream(packed), scales


def _padded_shape(shape: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(g * b for g, b in zip(grid_of(shape, block), block, strict=True))


def _padded(a: BlockArray) -> Bytes:
    full = np.zeros(_padded_shape(a.shape, a.block), np.uint8)
    full[tuple(slice(n) for n in a.shape)] = a.codes.view(np.uint8)
    return full


def _pack_npu(a: BlockArray) -> tuple[Bytes, Array]:
    return pack_bits(_padded(a), a.format.bits), a.scales


def _unpack_npu(packed: Packed) -> tuple[Bytes, Bytes]:
    full = _padded_shape(packed.shape, packed.block)
    codes = unpack_bits(packed.elements, packed.format.bits, int(np.prod(full))).reshape(full)
    scales = packed.scales.reshape(grid_of(packed.shape, packed.block))
    return np.ascontiguousarray(codes[tuple(slice(n) for n in packed.shape)]), scales


def _split_axes(shape: tuple[int, ...], block: tuple[int, ...]) -> list[int]:
    return [d for n, b in zip(shape, block, strict=True) for d in (n // b, b)]


def _pack_interleaved(a: BlockArray) -> tuple[Bytes, Array]:
    full, rank = _padded(a), a.ndim
    blocked = full.reshape(_split_axes(full.shape, a.block))
    order = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    size = int(np.prod(a.block))
    _whole_bytes(a.format, size)
    stream = pack_bits(blocked.transpose(order), a.format.bits)
    records = [a.scales.reshape(-1, 1), stream.reshape(-1, _bytes(a.format, size))]
    return np.concatenate(records, axis=1).reshape(-1), a.scales[:0]


def _unpack_interleaved(packed: Packed) -> tuple[Bytes, Bytes]:
    size, rank = int(np.prod(packed.block)), len(packed.shape)
    grid = grid_of(packed.shape, packed.block)
    records = packed.elements.reshape(-1, 1 + _bytes(packed.format, size))
    codes = unpack_bits(records[:, 1:].reshape(-1), packed.format.bits, len(records) * size)
    order = [axis for i in range(rank) for axis in (i, rank + i)]
    full = codes.reshape(*grid, *packed.block).transpose(order)
    full = full.reshape(_padded_shape(packed.shape, packed.block))
    cut = full[tuple(slice(n) for n in packed.shape)]
    return np.ascontiguousarray(cut), records[:, 0].reshape(grid)


def _bytes(format: Format, size: int) -> int:
    return size * format.bits // 8


def _whole_bytes(format: Format, size: int) -> None:
    if size * format.bits % 8:
        raise BadInput(f"{size} elements of {format} are no whole bytes")


def _pack_ggml(a: BlockArray) -> tuple[Bytes, Array]:
    halves = a.codes.reshape(-1, 2, 16)
    nibbles = halves[:, 0] | halves[:, 1] << np.uint8(4)
    records = np.concatenate([a.scales.reshape(-1, 1), nibbles], axis=1)
    return records.reshape(-1), a.scales[:0]


def _unpack_ggml(packed: Packed) -> tuple[Bytes, Bytes]:
    records = packed.elements.reshape(-1, 17)
    nibbles = records[:, 1:]
    codes = np.stack([nibbles & np.uint8(15), nibbles >> np.uint8(4)], axis=1)
    return codes.reshape(-1), records[:, 0].reshape(grid_of(packed.shape, packed.block))


def _pack_cublas(a: BlockArray) -> tuple[Bytes, Array]:
    return _stream(a), swizzle_128x4(a.scales)


def _unpack_cublas(packed: Packed) -> tuple[Bytes, Bytes]:
    rows, blocks = grid_of(packed.shape, packed.block)
    return _unstream(packed), unswizzle_128x4(packed.scales, rows, blocks)


def _pack_deepgemm(a: BlockArray) -> tuple[Bytes, Array]:
    rows, words = grid_of(a.scales.shape, (4, 4))
    padded = np.zeros((rows * 4, words * 4), np.uint8)
    padded[: a.scales.shape[0], : a.scales.shape[1]] = a.scales
    return _stream(a), np.ascontiguousarray(padded.view("<i4").T)


def _unpack_deepgemm(packed: Packed) -> tuple[Bytes, Bytes]:
    rows, blocks = grid_of(packed.shape, packed.block)
    words = np.ascontiguousarray(packed.scales.T).view(np.uint8)
    return _unstream(packed), words[:rows, :blocks]


_Pack = Callable[[BlockArray], tuple[Bytes, Array]]
_Unpack = Callable[[Packed], tuple[Bytes, Bytes]]
_LAYOUTS: dict[str, tuple[_Pack, _Unpack]] = {
    "onnx": (_pack_onnx, _unpack_onnx),
    "ocp-interleaved": (_pack_interleaved, _unpack_interleaved),
    "npu": (_pack_npu, _unpack_npu),
    "ggml": (_pack_ggml, _unpack_ggml),
    "cublas": (_pack_cublas, _unpack_cublas),
    "deepgemm": (_pack_deepgemm, _unpack_deepgemm),
}
LAYOUTS = tuple(_LAYOUTS)
"""The names of the layouts."""
