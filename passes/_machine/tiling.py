"""What the rules of `tile` share: tiles in the ring, and the transfers that fill and empty them."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.dialects.builtin import MemRefType
from xdsl.ir import Operation, SSAValue

from mxc.dialects.npu import SCRATCHPAD, BufferOp, DmaOp
from mxc.dialects.npu.memory import memref_of
from mxc.passes._machine.machine import Machine
from mxc.passes._machine.ring import Ring
from mxc.passes._machine.views import Part, cast_of, row_major

Ranges = Mapping[int, tuple[int, int]]
"""Axis -> (low, high)."""


class Tiling:
    """The operations that take the place of one, as they are written."""

    def __init__(self, machine: Machine, ring: Ring) -> None:
        self.machine, self.ring = machine, ring
        self.ops: list[Operation] = []
        self._casts: dict[Part, SSAValue] = {}
        self._places: dict[SSAValue, int] = {}

    def discard(self) -> None:
        """Forgets what was written."""
        for op in reversed(self.ops):
            op.erase()
        self.ops, self._casts, self._places = [], {}, {}
        self.ring.clear()

    def add(self, op: Operation) -> Operation:
        """Appends `op`."""
        self.ops.append(op)
        return op

    def view(self, part: Part) -> SSAValue:
        """The memref that is `part`."""
        kind = memref_of(part.base)
        whole = (part.offset, part.shape) == (0, kind.get_shape())
        if whole and part.strides == row_major(part.shape):
            return part.base
        if part not in self._casts:
            self._casts[part] = self.add(cast_of(part)).results[0]
        return self._casts[part]

    def tile(self, part: Part) -> Part:
        """Room in the ring for the elements of `part`, dense, its axes in the same order."""
        inner = part.sorted()
        kind = MemRefType(part.element, list(inner.shape), memory_space=SCRATCHPAD)
        place = self.ring.take(part.size)
        base = self.add(BufferOp(kind, place)).results[0]
        self._places[base] = place
        return Part(base, 0, inner.shape, row_major(inner.shape)).unsorted_like(part)

    def load(self, part: Part, purpose: str) -> Part:
        """`part` itself if it lies in the scratchpad, else a copy there."""
        if part.in_scratchpad:
            return part
        tile = self.tile(part)
        self.add(DmaOp(self.view(part.sorted()), self.view(tile.sorted_as(part)), purpose))
        return tile

    def store(self, tile: Part, part: Part, purpose: str) -> None:
        """Copies `tile` to `part`, in DRAM, whose axes it has."""
        self.add(DmaOp(self.view(tile.sorted_as(part)), self.view(part.sorted()), purpose))

    def release(self, *tiles: Part) -> None:
        """Tiles that nothing further on uses; parts of other buffers are left alone."""
        for tile in tiles:
            place = self._places.pop(tile.base, None)
            if place is not None:
                self.ring.give_back(place)


MAX_TILES = 1 << 12
"""Of one contraction: each becomes a few commands. With more it works on DRAM as a whole."""

MAX_CHUNKS = 1 << 10
"""Of one vector operation, likewise."""


def chunks(size: int, step: int) -> list[tuple[int, int]]:
    """0 .. size in ranges of `step`, the last one maybe shorter."""
    return [(low, min(low + step, size)) for low in range(0, size, step)] or [(0, 0)]
