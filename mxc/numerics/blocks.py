"""`BlockArray`: codes and scales of a tensor, and its exact values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

from mxc.errors import BadInput
from mxc.numerics.formats import E4M3, Format, format_of
from mxc.numerics.scales import SCALE_VALUES

if TYPE_CHECKING:
    from mxc.numerics.layouts import Packed

Array = NDArray[Any]

CHUNK = 1 << 16
"""How many elements are worked on at a time: the buffers stay in a level 2 cache of 1 to 2 MiB."""


@dataclass(frozen=True, eq=False)
class BlockArray:
    """A tensor in a block format.

    The value of element `i, j, ...` is `code * scale[i // b0, j // b1, ...] * tensor_scale`,
    exactly. Where a dimension is no multiple of its block, the last block is shorter; nothing is
    padded here (packed layouts do).

    Raises:
        BadInput: if the shapes or dtypes do not fit the format.
    """

    codes: Array
    """The shape of the tensor; uint8, int8 for mxint8, uint16 and uint32 for plain floats."""
    scales: NDArray[np.uint8]
    """One byte per block: the block grid, `ceil(shape / block)`."""
    format: Format
    block: tuple[int, ...]
    """The block shape; it has the tensor's rank."""
    tensor_scale: float = 1.0
    """An f32 that scales the whole tensor (NVFP4); 1 in every other format."""

    def __post_init__(self) -> None:
        if len(self.block) != self.codes.ndim or min(self.block, default=1) < 1:
            raise BadInput(f"block {self.block} does not fit a tensor of shape {self.codes.shape}")
        if self.scales.shape != grid_of(self.codes.shape, self.block):
            raise BadInput(
                f"scales have shape {self.scales.shape}",
                hint=f"{self.codes.shape} in blocks of {self.block} has "
                f"{grid_of(self.codes.shape, self.block)} of them",
            )
        if self.codes.dtype != self.format.code_dtype or self.scales.dtype != np.uint8:
            raise BadInput(
                f"codes are {self.codes.dtype}, scales {self.scales.dtype}",
                hint=f"{self.format} has {self.format.code_dtype} and uint8",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return self.codes.shape

    @property
    def ndim(self) -> int:
        """The rank of the tensor."""
        return self.codes.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.codes.size

    def dequantize(self, dtype: DTypeLike = np.float32) -> Array:
        """The values, rounded once to `dtype` (f32, f64, f16, bf16).

        f64 is exact, and so is f32 except for overflow to infinity above its range and for the
        rounding of NVFP4's tensor scale.
        """
        return values_of(self, np.dtype(dtype))

    def pack(self, layout: str) -> Packed:
        """The bytes in a named layout; see `mxc.numerics.layouts`."""
        from mxc.numerics.layouts import pack

        return pack(self, layout)

    @staticmethod
    def from_packed(packed: Packed) -> BlockArray:
        """The block array that `pack` packed."""
        from mxc.numerics.layouts import from_packed

        return from_packed(packed)

    def __repr__(self) -> str:
        shape, block = ("x".join(map(str, s)) for s in (self.shape, self.block))
        return f"BlockArray({shape}, {self.format}, blocks of {block})"


def grid_of(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    """How many blocks there are along each axis."""
    return tuple(-(-n // b) for n, b in zip(shape, block, strict=True))


def scale_values(a: BlockArray) -> NDArray[np.float64]:
    """The scale of each block, tensor scale left out; exact."""
    if a.format.scale == "e4m3":
        return E4M3.values[a.scales]
    return SCALE_VALUES[a.scales].astype(np.float64)


def block_values(a: BlockArray, dtype: DTypeLike = np.float64) -> Array:
    """The exact values of `a`, as f64 unless said otherwise; see `BlockArray.dequantize`."""
    return values_of(a, np.dtype(dtype))


def spread(per_block: Array, block: Sequence[int], shape: Sequence[int]) -> Array:
    """One value per block -> one value per element, of `shape`."""
    for axis, (b, n) in enumerate(zip(block, shape, strict=True)):
        if b > 1:
            per_block = np.repeat(per_block, b, axis)
            per_block = per_block[(slice(None),) * axis + (slice(n),)]
    return per_block


def values_of(a: BlockArray, dtype: np.dtype[Any]) -> Array:
    """The values of `a` in `dtype`; see `BlockArray.dequantize`."""
    out = np.empty(a.shape, dtype)
    if a.format.element is None:
        out[...] = a.codes.view(plain_dtype(a.format))
        return out
    wide = dtype == np.float64 or a.format.scale == "e4m3"
    table = a.format.element.values if wide else a.format.element.values32
    scales = scale_values(a) * a.tensor_scale if wide else SCALE_VALUES[a.scales]
    codes = a.codes.view(np.uint8)
    with np.errstate(all="ignore"):
        for part, grid in chunks(a.shape, a.block):
            values = np.take(table, codes[part], mode="clip")
            values *= spread(scales[grid], a.block, values.shape)
            out[part] = values
    return out


def plain_dtype(format: Format) -> np.dtype[Any]:
    """The numpy dtype of a plain float format."""
    return np.dtype(ml_dtypes.bfloat16 if format.plain == "bfloat16" else format.plain)


Slices = tuple[slice, ...]


def chunks(
    shape: Sequence[int], block: Sequence[int], limit: int = CHUNK
) -> Iterator[tuple[Slices, Slices]]:
    """Cuts a tensor at block boundaries into parts of about `limit` elements.

    Gives the slices of each part and of its blocks in the grid, in row-major order.
    """
    if 0 in shape:
        return
    grid = grid_of(shape, block)
    steps = list(grid)
    size = math.prod(g * b for g, b in zip(grid, block, strict=True))
    for axis, count in enumerate(grid):
        if size <= limit:
            break
        steps[axis] = max(1, count * limit // size)
        size = size // count * steps[axis]
    for start in np.ndindex(*grid_of(grid, steps)):
        first = [i * s for i, s in zip(start, steps, strict=True)]
        last = [min(f + s, g) for f, s, g in zip(first, steps, grid, strict=True)]
        cut = tuple(slice(f, e) for f, e in zip(first, last, strict=True))
        yield tuple(slice(c.start * b, c.stop * b) for c, b in zip(cut, block, strict=True)), cut


def block_shape(
    format: str | Format, shape: Sequence[int], axis: int, block: Sequence[int] | None
) -> tuple[int, ...]:
    """The block shape, of the tensor's rank: `block` with ones put in front, or the format's own.

    The format's own blocks lie along `axis` (its last dimension there, others on the axes before).
    A format with one scale per tensor has one block as large as the tensor.

    Raises:
        BadInput: for a 0-d tensor, an axis out of range, or a block that does not fit.
    """
    format, rank = format_of(format), len(shape)
    if rank == 0:
        raise BadInput("a 0-d array has no axis to put blocks on", hint="reshape it to (1,)")
    if not -rank <= axis < rank:
        raise BadInput(f"axis {axis} is out of range for {rank} dimensions")
    if block is None and not format.block:
        return tuple(max(n, 1) for n in shape)
    axis %= rank
    if block is None:
        own = format.block
        if axis + 1 < len(own):
            raise BadInput(f"blocks of {format} need {len(own)} axes up to axis {axis}")
        full = [1] * rank
        full[axis + 1 - len(own) : axis + 1] = own
        return tuple(full)
    if len(block) > rank or min(block, default=1) < 1:
        raise BadInput(f"block {tuple(block)} does not fit {rank} dimensions")
    return (1,) * (rank - len(block)) + tuple(block)
