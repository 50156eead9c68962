"""When buffers are needed, and how large they are."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.dialects.memref import AllocOp, ReinterpretCastOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.hints import isa

from mxc.dialects.types import numpy_dtype
from mxc.passes._allocate import Span


def byte_size(type: Attribute) -> int:
    """The bytes of a row-major memref: elements narrower than a byte take one."""
    assert isa(type, MemRefType), type
    return prod(type.get_shape()) * numpy_dtype(type.element_type).itemsize


def lifetimes(module: ModuleOp, allocs: list[AllocOp]) -> dict[AllocOp, Span]:
    """When each allocation is needed, counted in operations in the order of the text."""
    begin, end = _positions(module)
    spans: dict[AllocOp, Span] = {}
    for alloc in allocs:
        uses = [_within(op, alloc.parent) for op in users(alloc.memref)]
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


def users(value: SSAValue) -> Iterator[Operation]:
    """The operations that read or write memory of `value`, through views too."""
    for use in value.uses:
        op = use.operation
        if isinstance(op, ReinterpretCastOp):
            yield from users(op.result)
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
