"""`schedule-dma`: what the matrix unit works on is brought into the scratchpad, and results back.

    npu.matmul %a, %b into %y {contract = "sequential"} : ...

becomes

    %sa = memref.alloc() : memref<4x8xf32, "scratchpad">
    %ea = npu.dma_start %a, %sa : memref<4x8xf32>, memref<4x8xf32, "scratchpad">
    ...
    npu.dma_wait %ea
    npu.matmul %sa, %sb into %sy {contract = "sequential"} : ...
    %ey = npu.dma_start %sy, %y : ...
    npu.dma_wait %ey

A tile is the whole operand: an operation whose operands and result do not fit into `capacity`
bytes together works on DRAM, as it did before. A transposed operand is copied as it lies in memory
and transposed in the scratchpad by its strides, so that a transfer is one contiguous run.

Precondition: `bufferize`; before `plan-memory`, which gives the new buffers their places. Exact:
values are only copied (`tests/backends/npu/test_random.py` runs modules with and without).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import MemRefType, ModuleOp, StridedLayoutAttr
from xdsl.dialects.memref import AllocOp, ReinterpretCastOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.dialects.npu import SCRATCHPAD, ConvOp, DmaStartOp, DmaWaitOp, MatMulOp
from mxc.dialects.npu.memory import ALIGNMENT, memref_of
from mxc.dialects.types import numpy_dtype


@dataclass(frozen=True)
class ScheduleDmaPass(ModulePass):
    """What the matrix unit works on is brought into the scratchpad, and results back."""

    name = "schedule-dma"

    capacity: int = 4194304
    """Bytes of the scratchpad; 0 if the target has none."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for each in list(op.walk()):
            if isinstance(each, MatMulOp | ConvOp) and _footprint(each) <= self.capacity:
                _stage(each)


def _footprint(op: Operation) -> int:
    """The bytes of all operands, each rounded up to whole buffers."""
    return sum(-(-_bytes(value) // ALIGNMENT) * ALIGNMENT for value in op.operands)


def _bytes(value: SSAValue) -> int:
    kind = memref_of(value)
    return prod(kind.get_shape()) * numpy_dtype(kind.element_type).itemsize


def _stage(op: MatMulOp | ConvOp) -> None:
    """Puts the transfers of `op` around it."""
    output = len(op.operands) - 1
    before: list[Operation] = []
    waits: list[Operation] = []
    after: list[Operation] = []
    for index, value in enumerate(list(op.operands)):
        staged = _Staged(value)
        before += staged.ops
        if index == output:
            start = DmaStartOp(staged.inside, staged.outside)
            after = [start, DmaWaitOp(start.event)]
        else:
            start = DmaStartOp(staged.outside, staged.inside)
            before.append(start)
            waits.append(DmaWaitOp(start.event))
        op.operands[index] = staged.tile
    for new in (*before, *waits, *after):
        new.location = op.location
    Rewriter.insert_op([*before, *waits], InsertPoint.before(op))
    Rewriter.insert_op(after, InsertPoint.after(op))


class _Staged:
    """A memref in DRAM and its place in the scratchpad.

    `outside` and `inside` are what a transfer copies, with axes in the order in which they lie in
    memory; `tile` is `inside` with its axes in the order of the memref.
    """

    def __init__(self, value: SSAValue) -> None:
        self.ops: list[Operation] = []
        kind = memref_of(value)
        strides = [s or 0 for s in kind.get_strides() or ()]
        shape = kind.get_shape()
        order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], axis))
        sorted_shape = [shape[axis] for axis in order]
        if order == sorted(order) or not isinstance(value.owner, ReinterpretCastOp):
            self.outside = value
            self.inside = self.tile = self._alloc(kind, shape)
            return
        self.outside = self._cast(value.owner, sorted_shape, [strides[axis] for axis in order])
        self.inside = self._alloc(kind, sorted_shape)
        dense = MemRefType.strides_for_shape(sorted_shape)
        inner = [0] * len(order)
        for axis, stride in zip(order, dense, strict=True):
            inner[axis] = stride or 0
        layout = StridedLayoutAttr(inner)
        target = MemRefType(kind.element_type, shape, layout, SCRATCHPAD)
        cast = ReinterpretCastOp(self.inside, [], [], [], [0], list(shape), inner, target)
        self.ops.append(cast)
        self.tile = cast.result

    def _alloc(self, kind: MemRefType[Attribute], shape: Sequence[int]) -> SSAValue:
        type = MemRefType(kind.element_type, shape, memory_space=SCRATCHPAD)
        self.ops.append(alloc := AllocOp([], [], type))
        return alloc.memref

    def _cast(
        self, old: ReinterpretCastOp, shape: Sequence[int], strides: Sequence[int]
    ) -> SSAValue:
        """`old` with its axes in another order."""
        kind = memref_of(old.result)
        assert isinstance(kind.layout, StridedLayoutAttr)
        layout = StridedLayoutAttr(strides, kind.layout.offset)
        target = MemRefType(kind.element_type, shape, layout)
        offsets = list(old.static_offsets.get_values())
        self.ops.append(
            cast := ReinterpretCastOp(
                old.source, list(old.offsets), [], [], offsets, list(shape), list(strides), target
            )
        )
        return cast.result
