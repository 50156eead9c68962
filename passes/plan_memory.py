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

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects.builtin import DictionaryAttr, IntegerAttr, MemRefType, ModuleOp, i64
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.dialects.memref import AllocOp, ReinterpretCastOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter
from xdsl.utils.hints import isa

from mxc.dialects.npu import BufferOp, ConstantOp
from mxc.dialects.npu.memory import ALIGNMENT, in_scratchpad
from mxc.dialects.types import numpy_dtype
from mxc.passes._allocate import Span, allocate


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
            report |= {space: plan.total, f"{space}_peak": plan.peak}
        report["weights"] = _place_constants(op)
        numbers = {key: IntegerAttr(value, i64) for key, value in report.items()}
        op.attributes["npu.plan"] = DictionaryAttr(numbers)


def byte_size(type: Attribute) -> int:
    """The bytes of a row-major memref: elements narrower than a byte take one."""
    assert isa(type, MemRefType), type
    return prod(type.get_shape()) * numpy_dtype(type.element_type).itemsize


def lifetimes(module: ModuleOp, allocs: list[AllocOp]) -> dict[AllocOp, Span]:
    """When each allocation is needed, counted in operations in the order of the text."""
    begin, end = _positions(module)
    spans: dict[AllocOp, Span] = {}
    for alloc in allocs:
        uses = [_within(op, alloc.parent) for op in _users(alloc.memref)]
        first = min((begin[op] for op in uses), default=0)
        last = max((end[op] for op in uses), default=0)
        spans[alloc] = Span(byte_size(alloc.memref.type) if uses else 0, first, last)
    return spans


def _positions(module: ModuleOp) -> tuple[dict[Operation, int], dict[Operation, int]]:
    """Where each operation begins and ends; bodies lie between the two."""
    begin: dict[Operation, int] = {}
    end: dict[Operation, int] = {}
    clock = 0

    def number(op: Operation) -> None:
        nonlocal clock
        clock += 1
        begin[op] = end[op] = clock
        if isinstance(op, GenericOp):
            return  # its body runs on scalars
        for region in op.regions:
            for block in region.blocks:
                for inner in block.ops:
                    number(inner)
        end[op] = clock

    number(module)
    return begin, end


def _users(value: SSAValue) -> Iterator[Operation]:
    """The operations that read or write memory of `value`, through views too."""
    for use in value.uses:
        op = use.operation
        if isinstance(op, ReinterpretCastOp):
            yield from _users(op.result)
        elif not (isinstance(op, GenericOp) and _only_gives_extents(op, use.index)):
            yield op


def _only_gives_extents(op: GenericOp, operand: int) -> bool:
    return operand < len(op.inputs) and not op.body.block.args[operand].uses.get_length()


def _within(op: Operation, block: Block | None) -> Operation:
    """The operation of `block` that is or contains `op`."""
    while op.parent is not block:
        parent = op.parent_op()
        assert parent is not None
        op = parent
    return op


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
