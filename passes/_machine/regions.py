"""Which bytes an operation of the machine level reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.dialects.builtin import IntAttr, NoneAttr, StridedLayoutAttr
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.dialects.memref import CopyOp, LoadOp, ReinterpretCastOp
from xdsl.ir import Operation, SSAValue

from mxc.dialects import npu
from mxc.dialects.npu.memory import in_scratchpad, memref_of
from mxc.dialects.types import numpy_dtype
from mxc.passes._machine.loops import is_memref


@dataclass(frozen=True)
class Region:
    """Elements at `begin` + i * strides[0] + j * strides[1] + ... bytes, in one memory."""

    space: object
    """"scratchpad", "dram", or the argument or constant that is a memory of its own."""

    begin: int
    end: int
    """One past the last byte."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In bytes."""

    def meets(self, other: Region) -> bool:
        """Whether the two may share a byte; True in doubt."""
        if self.space != other.space or self.end <= other.begin or other.end <= self.begin:
            return False
        return not any(
            _apart_in_steps(self, other, step)
            for size, step in zip(self.shape, self.strides, strict=True)
            if size > 1 and step > 0
        )


def _apart_in_steps(a: Region, b: Region, step: int) -> bool:
    """Whether both run in steps of `step` bytes and use different bytes of a step: columns."""
    low = min(a.begin, b.begin)
    at = (a.begin - low) % step, (b.begin - low) % step
    width = _width(a, step), _width(b, step)
    gaps = (at[1] - at[0]) % step, (at[0] - at[1]) % step
    return width[0] <= gaps[0] and width[1] <= gaps[1]


def _width(a: Region, step: int) -> int:
    whole = sum(
        (n - 1) * s for n, s in zip(a.shape, a.strides, strict=True) if n > 1 and s % step == 0
    )
    return a.end - a.begin - whole


def region_of(value: SSAValue) -> Region:
    """The bytes of a memref whose buffer has its place."""
    kind, base = memref_of(value), value
    size = numpy_dtype(kind.element_type).itemsize
    begin, strides = 0, tuple((s or 0) * size for s in kind.get_strides() or ())
    shape = kind.get_shape()
    if isinstance(value.owner, ReinterpretCastOp):
        base = value.owner.source
        offset = offset_of(value)
        if offset is None:
            return region_of(base)
        begin = offset * size
    owner = base.owner
    space: object = base
    if isinstance(owner, npu.BufferOp):
        space = "scratchpad" if in_scratchpad(base) else "dram"
        begin += owner.offset.value.data
    last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    end = begin if 0 in shape else begin + last + size
    return Region(space, begin, end, shape, strides)


def offset_of(value: SSAValue) -> int | None:
    """The offset of a memref in elements; None if it is known only when the model runs."""
    layout = memref_of(value).layout
    if isinstance(layout, NoneAttr):
        return 0
    assert isinstance(layout, StridedLayoutAttr)
    return layout.offset.data if isinstance(layout.offset, IntAttr) else None


def accesses(op: Operation) -> Iterator[tuple[SSAValue, bool]]:
    """The memrefs that `op` touches, and whether it writes them."""
    match op:
        case GenericOp():
            yield from _of_generic(op)
        case FillOp():
            yield op.outputs[0], True
        case CopyOp():
            yield op.source, False
            yield op.destination, True
        case npu.DmaOp():
            yield op.source, False
            yield op.target, True
        case LoadOp():
            yield op.memref, False
        case _:
            written = _written(op)
            for value in op.operands:
                if is_memref(value):
                    yield value, value in written


def _written(op: Operation) -> list[SSAValue]:
    match op:
        case npu.QuantizeOp() | npu.RequantizeOp():
            return [op.codes, op.scales]
        case npu.DequantizeOp():
            return [op.target]
        case npu.MatMulOp() | npu.ConvOp():
            return [op.output]
        case _:
            return list(op.operands)


def _of_generic(op: GenericOp) -> Iterator[tuple[SSAValue, bool]]:
    arguments = op.body.block.args
    for value, argument in zip(op.inputs, arguments, strict=False):
        if is_memref(value) and argument.uses.get_length():
            yield value, False
    for inner in op.body.block.ops:
        if isinstance(inner, LoadOp):
            yield inner.memref, False
    for value in op.outputs:
        yield value, True


def unique_accesses(op: Operation) -> list[tuple[SSAValue, bool]]:
    """The same, each once."""
    return list(dict.fromkeys(accesses(op)))
