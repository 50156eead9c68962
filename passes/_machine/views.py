"""Parts of memrefs, as views of the buffers they lie in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import MemRefType, StridedLayoutAttr
from xdsl.dialects.memref import ReinterpretCastOp
from xdsl.ir import Attribute, SSAValue

from mxc.dialects.npu import SCRATCHPAD
from mxc.dialects.npu.memory import memref_of
from mxc.dialects.types import numpy_dtype
from mxc.passes._machine.regions import offset_of


@dataclass(frozen=True)
class Part:
    """Elements of a buffer: element [i, j, ...] is base[offset + i * strides[0] + ...]."""

    base: SSAValue
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, value: SSAValue) -> Part | None:
        """All of a memref; None if it begins where only a run tells."""
        offset = offset_of(value)
        if offset is None:
            return None
        base = value.owner.source if isinstance(value.owner, ReinterpretCastOp) else value
        kind = memref_of(value)
        strides = tuple(stride or 0 for stride in kind.get_strides() or ())
        return cls(base, offset, kind.get_shape(), strides)

    @property
    def element(self) -> Attribute:
        """The element type."""
        return memref_of(self.base).element_type

    @property
    def element_bytes(self) -> int:
        """Bytes of an element."""
        return numpy_dtype(self.element).itemsize

    @property
    def size(self) -> int:
        """Bytes of all elements."""
        return prod(self.shape) * self.element_bytes

    @property
    def in_scratchpad(self) -> bool:
        """Whether it lies there; otherwise it lies in DRAM."""
        return memref_of(self.base).memory_space == SCRATCHPAD

    def cut(self, ranges: Mapping[int, tuple[int, int]]) -> Part:
        """The part from `low` to `high` along each axis given."""
        offset, shape = self.offset, list(self.shape)
        for axis, (low, high) in ranges.items():
            offset += low * self.strides[axis]
            shape[axis] = high - low
        return Part(self.base, offset, tuple(shape), self.strides)

    @property
    def order(self) -> list[int]:
        """The axes in the order in which they lie in memory, the outermost first."""
        return sorted(range(len(self.shape)), key=lambda axis: (-self.strides[axis], axis))

    def sorted(self) -> Part:
        """The same elements with the axes in the order in which they lie in memory."""
        return self.sorted_as(self)

    def sorted_as(self, other: Part) -> Part:
        """The same elements with the axes in the order in which those of `other` lie in memory.

        Axes of size 1 may lie anywhere; a copy must take them in one order on both sides.
        """
        shape = tuple(self.shape[axis] for axis in other.order)
        return Part(self.base, self.offset, shape, tuple(self.strides[a] for a in other.order))

    def unsorted_like(self, outer: Part) -> Part:
        """The part, whose axes are those of `outer.sorted()`, with the axes of `outer`."""
        shape, strides = [0] * len(self.shape), [0] * len(self.shape)
        for place, axis in enumerate(outer.order):
            shape[axis], strides[axis] = self.shape[place], self.strides[place]
        return Part(self.base, self.offset, tuple(shape), tuple(strides))

    def runs(self) -> tuple[int, int]:
        """(bytes of each run of neighbouring elements, how many there are)."""
        return runs_of(self.shape, self.strides, self.element_bytes)


def runs_of(shape: Sequence[int], strides: Sequence[int], size: int) -> tuple[int, int]:
    """(bytes of each run of neighbours, how many runs) of elements of `size` bytes."""
    run, count = size, 1
    if 0 in shape:
        return 0, 0
    steps = ((s * size, n) for s, n in zip(strides, shape, strict=True) if n > 1 and s)
    for step, n in sorted(steps):
        if count == 1 and step == run:
            run *= n
        else:
            count *= n
    return run, count


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of a dense array."""
    return tuple(stride or 0 for stride in MemRefType.strides_for_shape(list(shape)))


def cast_of(part: Part) -> ReinterpretCastOp:
    """The view of its buffer that `part` is."""
    kind = memref_of(part.base)
    layout = StridedLayoutAttr(list(part.strides), part.offset)
    target = MemRefType(kind.element_type, list(part.shape), layout, kind.memory_space)
    return ReinterpretCastOp(
        part.base, [], [], [], [part.offset], list(part.shape), list(part.strides), target
    )
