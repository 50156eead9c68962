"""`plan-memory`: every buffer and constant gets its place.

    %a = memref.alloc() : memref<4x8xf32>

becomes

    %a = npu.buffer {space = "dram", offset = 4096 : i64} : memref<4x8xf32>

and each `npu.constant` its `offset` in the weights. Two buffers share bytes only if no operation
needs both. A buffer is needed from the first operation that uses it, or a view of it, to the last;
one that a loop uses but does not own is needed during the whole loop. Offsets are multiples of 64.

The module gets the attribute `npu.plan = {dram = N, dram_peak = P, scratchpad = ..,
scratchpad_peak = .., weights = W}` in bytes; the peak is the largest sum of sizes that one
operation needs, which no plan can go below.

Precondition: `bufferize`. Exact: the interpreter runs the result on one array of bytes, so a wrong
plan shows as wrong results (`tests/backends/npu/test_random.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, ModuleOp, i64
from xdsl.dialects.memref import AllocOp
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from mxc.dialects.npu import BufferOp, ConstantOp
from mxc.dialects.npu.memory import ALIGNMENT, in_scratchpad
from mxc.passes._allocate import allocate
from mxc.passes._machine.lifetimes import byte_size, lifetimes


@dataclass(frozen=True)
class PlanMemoryPass(ModulePass):
    """Every buffer and constant gets its place."""

    name = "plan-memory"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        report: dict[str, int] = {}
        allocs = [each for each in op.walk() if isinstance(each, AllocOp)]
        spans = lifetimes(op, allocs)
        for space in ("dram", "scratchpad"):
            mine = [a for a in allocs if in_scratchpad(a.memref) == (space == "scratchpad")]
            plan = allocate([spans[a] for a in mine], ALIGNMENT)
            for alloc, offset in zip(mine, plan.offsets, strict=True):
                new = BufferOp(alloc.memref.type, offset)
                new.location = alloc.location
                Rewriter.replace_op(alloc, new)
            end = max(plan.total, _end_of_placed(op, space))
            report |= {space: end, f"{space}_peak": plan.peak if mine else end}
        report["weights"] = _place_constants(op)
        numbers = {key: IntegerAttr(value, i64) for key, value in report.items()}
        op.attributes["npu.plan"] = DictionaryAttr(numbers)


def _end_of_placed(module: ModuleOp, space: str) -> int:
    """Where the buffers end that have their place already: tiles in the scratchpad."""
    placed = [op for op in module.walk() if isinstance(op, BufferOp) and op.space.data == space]
    ends = [op.offset.value.data + byte_size(op.result.type) for op in placed]
    return -(-max(ends, default=0) // ALIGNMENT) * ALIGNMENT


def _place_constants(module: ModuleOp) -> int:
    """Gives equal constants one place in the weights, in order of appearance; their size."""
    places: dict[tuple[str, str], int] = {}
    end = 0
    for op in module.walk():
        if not isinstance(op, ConstantOp):
            continue
        key = (op.key, op.part.data)
        if key not in places:
            places[key] = end
            end += -(-byte_size(op.result.type) // ALIGNMENT) * ALIGNMENT
        op.offset = IntegerAttr(places[key], i64)
    return end
