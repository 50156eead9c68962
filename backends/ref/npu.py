"""How the reference runs the `npu` dialect: unpack, call the numerics, store; no arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mxc import numerics
from mxc.backends.ref.interpreter import Machine, Values, runs
from mxc.backends.ref.memref import POISON
from mxc.dialects import npu
from mxc.dialects.mx.recipes import recipe_of
from mxc.dialects.types import numpy_dtype
from mxc.numerics import BlockArray, format_of

Array = NDArray[Any]


@runs(npu.ConstantOp)
def constant(machine: Machine, op: npu.ConstantOp, args: Values) -> Values:
    """The array of the table, or one part of a blocked one."""
    value = machine.constants[op.key]
    kind: Any = op.result.type
    array = value if op.part.data == "data" else getattr(value, op.part.data)
    return (array.view(numpy_dtype(kind.element_type)),)


@runs(npu.BufferOp)
def buffer(machine: Machine, op: npu.BufferOp, args: Values) -> Values:
    """A view of the bytes of its memory."""
    kind: Any = op.result.type
    memory = _memory(machine, op.space.data)
    dtype, start = numpy_dtype(kind.element_type), op.offset.value.data
    part = memory[start : start + _bytes(op)]
    return (part.view(dtype).reshape(kind.get_shape()),)


def _memory(machine: Machine, space: str) -> Array:
    """The bytes of a memory: as many as the module's plan states or, before it, buffers reach."""
    if space not in machine.state:
        plan: Any = machine.module.attributes.get("npu.plan")
        size = _reach(machine, space) if plan is None else plan.data[space].value.data
        machine.state[space] = np.full(size, POISON, np.uint8)
    return machine.state[space]


def _reach(machine: Machine, space: str) -> int:
    buffers = [op for op in machine.module.walk() if isinstance(op, npu.BufferOp)]
    return max(op.offset.value.data + _bytes(op) for op in buffers if op.space.data == space)


def _bytes(op: npu.BufferOp) -> int:
    kind: Any = op.result.type
    return int(np.prod(kind.get_shape(), dtype=np.int64)) * numpy_dtype(kind.element_type).itemsize


@runs(npu.DmaOp)
def dma(machine: Machine, op: npu.DmaOp, args: Values) -> Values:
    """The copy happens at once: commands are given in an order in which they may be done."""
    args[1][...] = args[0]
    return ()


@runs(npu.RecordOp)
def record(machine: Machine, op: npu.RecordOp, args: Values) -> Values:
    """Everything given is done."""
    return (None,)


@runs(npu.WaitOp, npu.BarrierOp)
def wait(machine: Machine, op: npu.WaitOp | npu.BarrierOp, args: Values) -> Values:
    """There is nothing to wait for. Missing events are found by the checks of the host HAL."""
    return ()


def _blocks(codes: Array, scales: Array, format: str, block: Sequence[int]) -> BlockArray:
    full = format_of(format)
    return BlockArray(codes.view(full.code_dtype), scales.view(np.uint8), full, tuple(block))


def _store(value: BlockArray, codes: Array, scales: Array) -> Values:
    codes[...] = value.codes.view(np.int8)
    scales[...] = value.scales.view(np.int8)
    return ()


@runs(npu.QuantizeOp)
def quantize(machine: Machine, op: npu.QuantizeOp, args: Values) -> Values:
    """Codes and scales by the recipe."""
    block, recipe = op.block.get_values(), recipe_of(op.recipe, op.format.data)
    value = numerics.quantize(args[0], op.format.data, block=block, recipe=recipe)
    return _store(value, args[1], args[2])


@runs(npu.DequantizeOp)
def dequantize(machine: Machine, op: npu.DequantizeOp, args: Values) -> Values:
    """The exact values, in f32."""
    args[2][...] = _blocks(args[0], args[1], op.format.data, op.block.get_values()).dequantize()
    return ()


@runs(npu.RequantizeOp)
def requantize(machine: Machine, op: npu.RequantizeOp, args: Values) -> Values:
    """Other blocks or another format, through the exact values."""
    source = _blocks(args[0], args[1], op.source_format.data, op.source_block.get_values())
    block, recipe = op.block.get_values(), recipe_of(op.recipe, op.format.data)
    value = numerics.requantize(source, op.format.data, block=block, recipe=recipe)
    return _store(value, args[2], args[3])


def _sides(op: npu.MatMulOp | npu.ConvOp, args: Values) -> tuple[Any, Any, Array]:
    """Both operands, blocked ones put together, and the output."""
    values = iter(args)
    sides: list[Any] = []
    for scales, format, block in (
        (op.lhs_scales, op.lhs_format, op.lhs_block),
        (op.rhs_scales, op.rhs_format, op.rhs_block),
    ):
        data = next(values)
        if scales is not None and format is not None and block is not None:
            data = _blocks(data, next(values), format.data, block.get_values())
        sides.append(data)
    return sides[0], sides[1], next(values)


@runs(npu.MatMulOp)
def matmul(machine: Machine, op: npu.MatMulOp, args: Values) -> Values:
    """The product, added up by the contract."""
    lhs, rhs, output = _sides(op, args)
    output[...] = numerics.matmul(lhs, rhs, op.contract.data)
    return ()


@runs(npu.ConvOp)
def conv(machine: Machine, op: npu.ConvOp, args: Values) -> Values:
    """The convolution, added up by the contract."""
    lhs, rhs, output = _sides(op, args)
    output[...] = numerics.conv(
        lhs,
        rhs,
        strides=op.strides.get_values(),
        pads=op.pads.get_values(),
        dilations=op.dilations.get_values(),
        groups=op.groups.value.data,
        contract=op.contract.data,
    )
    return ()
