"""Views: which elements of which buffer a tensor is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from xdsl.dialects.builtin import MemRefType, StridedLayoutAttr
from xdsl.dialects.memref import ReinterpretCastOp
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.hints import isa

DYNAMIC = -9223372036854775808
"""How xDSL marks an offset that is a value."""


@dataclass(frozen=True)
class View:
    """Element [i, j, ...] is `base[offset + dynamic + i * strides[0] + j * strides[1] + ...]`.

    `base` is a whole buffer, argument or constant; offsets and strides count elements.
    """

    base: SSAValue
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    dynamic: SSAValue | None = None

    @classmethod
    def whole(cls, base: SSAValue) -> View:
        """All of `base`."""
        shape = _memref(base).get_shape()
        return cls(base, shape, row_major(shape))

    @property
    def element(self) -> Attribute:
        """The element type."""
        return _memref(self.base).element_type

    @property
    def is_whole(self) -> bool:
        """Whether this is its base, with the same shape."""
        return self == View.whole(self.base)

    @property
    def covers_base(self) -> bool:
        """Whether this is every element of its base in row-major order, in whatever shape."""
        if self.offset or self.dynamic is not None:
            return False
        return self.is_dense and prod(self.shape) == prod(_memref(self.base).get_shape())

    @property
    def is_dense(self) -> bool:
        """Whether the elements lie one after the other, in row-major order."""
        return same_strides(self.strides, row_major(self.shape), self.shape)

    def transposed(self, permutation: Sequence[int]) -> View:
        """Axis i of the result is axis permutation[i]."""
        shape = tuple(self.shape[p] for p in permutation)
        return replace(self, shape=shape, strides=tuple(self.strides[p] for p in permutation))

    def sliced(self, offsets: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> View:
        """`sizes` elements along each axis, from `offsets` in steps of `steps`."""
        offset = self.offset + sum(o * s for o, s in zip(offsets, self.strides, strict=True))
        strides = tuple(s * step for s, step in zip(self.strides, steps, strict=True))
        return replace(self, shape=tuple(sizes), strides=strides, offset=offset)

    def reshaped(self, shape: Sequence[int]) -> View | None:
        """The same elements in the same row-major order as `shape`; None if strides forbid it."""
        if tuple(shape) == self.shape:
            return self
        strides = _reshaped_strides(self.shape, self.strides, shape)
        return None if strides is None else replace(self, shape=tuple(shape), strides=strides)

    def type(self) -> MemRefType[Attribute]:
        """The memref type of the view."""
        if self.is_whole:
            return _memref(self.base)
        offset = self.offset if self.dynamic is None else None
        return MemRefType(self.element, self.shape, StridedLayoutAttr(self.strides, offset))

    def cast(self) -> ReinterpretCastOp:
        """The operation that makes the view, which is not whole, from its base."""
        assert self.dynamic is None or self.offset == 0, "the offset is part of `dynamic`"
        return ReinterpretCastOp(
            self.base,
            [] if self.dynamic is None else [self.dynamic],
            [],
            [],
            [self.offset if self.dynamic is None else DYNAMIC],
            list(self.shape),
            list(self.strides),
            self.type(),
        )


def _memref(value: SSAValue) -> MemRefType[Attribute]:
    assert isa(value.type, MemRefType), value.type
    return value.type


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a row-major array."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return tuple(strides)


def same_strides(a: Sequence[int], b: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether strides agree wherever there is more than one element to step over."""
    return 0 in shape or all(x == y or n == 1 for x, y, n in zip(a, b, shape, strict=True))


def _reshaped_strides(
    shape: Sequence[int], strides: Sequence[int], target: Sequence[int]
) -> tuple[int, ...] | None:
    """Strides for `target`: every target axis must step through one run of merged axes."""
    if prod(target) == 0:
        return row_major(target)
    runs: list[tuple[int, int]] = []  # (elements, stride of the last one)
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if runs and runs[-1][1] == size * stride:
            runs[-1] = (runs[-1][0] * size, stride)
        else:
            runs.append((size, stride))
    result, rest, step = [1] * len(target), 1, 1
    for axis in range(len(target) - 1, -1, -1):
        if target[axis] == 1:
            continue
        if rest == 1:
            rest, step = runs.pop()
        if rest % target[axis]:
            return None
        result[axis] = step
        rest, step = rest // target[axis], step * target[axis]
    return tuple(result)
