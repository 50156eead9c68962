"""`place`: buffers that fit stay in the scratchpad from their first use to their last.

    %a = memref.alloc() : memref<4x8xf32>

becomes

    %a = npu.buffer {space = "scratchpad", offset = 0 : i64} : memref<4x8xf32, "scratchpad">

Every use of such a buffer saves a transfer. Those with the most bytes used per byte of scratchpad
are placed first, each into the smallest gap that is free while it is needed; what finds none stays
in DRAM. A quarter of the scratchpad at least is kept for tiles that pass through (`tile`): the
module gets the attributes `npu.ring = {start = .., size = ..}` and `npu.target`.

Precondition: `bufferize`. Exact: only places change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, MemRefType, ModuleOp, StringAttr, i64
from xdsl.dialects.memref import AllocOp, ReinterpretCastOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from mxc.dialects.npu import SCRATCHPAD, BufferOp
from mxc.dialects.npu.memory import ALIGNMENT, in_scratchpad, memref_of
from mxc.passes._allocate import Span
from mxc.passes._machine.lifetimes import byte_size, lifetimes, users
from mxc.targets import load_target

RING_SHARE = 4
"""One part in so many of the scratchpad is kept for tiles."""


@dataclass(frozen=True)
class PlacePass(ModulePass):
    """Buffers that fit stay in the scratchpad from their first use to their last."""

    name = "place"

    target: str = "npu"
    """A shipped target, or a `.toml` file."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        memory = load_target(self.target).scratchpad
        size = memory.size // ALIGNMENT * ALIGNMENT if memory else 0
        allocs = [a for a in op.walk() if isinstance(a, AllocOp) and not in_scratchpad(a.memref)]
        spans = lifetimes(op, allocs)
        room = size - size // RING_SHARE // ALIGNMENT * ALIGNMENT
        places = _places([spans[a] for a in allocs], [_uses(a) for a in allocs], room)
        end = 0
        for alloc, offset in zip(allocs, places, strict=True):
            if offset is not None:
                end = max(end, offset + _rounded(byte_size(alloc.memref.type)))
                _move(alloc, offset)
        ring = {"start": IntegerAttr(end, i64), "size": IntegerAttr(size - end, i64)}
        op.attributes["npu.ring"] = DictionaryAttr(ring)
        op.attributes["npu.target"] = StringAttr(self.target)


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _uses(alloc: AllocOp) -> int:
    """How many operations use the buffer."""
    return sum(1 for _ in users(alloc.memref))


def _places(spans: Sequence[Span], uses: Sequence[int], room: int) -> list[int | None]:
    """An offset for each span that gets one; spans needed at the same time lie apart."""
    order = sorted(range(len(spans)), key=lambda i: (-_worth(spans[i], uses[i]), spans[i].first, i))
    offsets: list[int | None] = [None] * len(spans)
    placed: list[int] = []
    for index in order:
        span, size = spans[index], _rounded(spans[index].size)
        if not 0 < size <= room:
            continue
        taken = sorted(
            (offset, _rounded(spans[i].size))
            for i in placed
            if spans[i].first <= span.last and spans[i].last >= span.first
            if (offset := offsets[i]) is not None
        )
        offset = _gap(taken, size, room)
        if offset is not None:
            offsets[index] = offset
            placed.append(index)
    return offsets


def _worth(span: Span, uses: int) -> float:
    """Uses per operation that passes while the bytes are taken."""
    return uses / (span.last - span.first + 1)


def _gap(taken: Sequence[tuple[int, int]], size: int, room: int) -> int | None:
    """The start of the smallest gap of `size` bytes below `room`."""
    best: tuple[int, int] | None = None
    end = 0
    for begin, length in [*taken, (room, 0)]:
        if begin - end >= size and (best is None or begin - end < best[0]):
            best = begin - end, end
        end = max(end, begin + length)
    return None if best is None else best[1]


def _move(alloc: AllocOp, offset: int) -> None:
    """Gives the buffer its place, and its views the memory space."""
    old = memref_of(alloc.memref)
    kind = MemRefType(old.element_type, old.get_shape(), memory_space=SCRATCHPAD)
    new = BufferOp(kind, offset)
    new.location = alloc.location
    Rewriter.replace_op(alloc, new)
    _retype_views(new.result)


def _retype_views(value: SSAValue) -> None:
    for use in list(value.uses):
        cast = use.operation
        if isinstance(cast, ReinterpretCastOp):
            old = memref_of(cast.result)
            kind = MemRefType(old.element_type, old.get_shape(), old.layout, SCRATCHPAD)
            Rewriter.replace_value_with_new_type(cast.result, kind)
