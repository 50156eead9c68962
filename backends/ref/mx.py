"""How the reference runs the `mx` dialect: unpack, call the numerics, pack. No arithmetic here."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from mxc import numerics
from mxc.backends.ref.interpreter import Machine, Values, runs
from mxc.dialects import mx
from mxc.dialects.mx.recipes import recipe_of
from mxc.dialects.types import as_signless, element_of, numpy_dtype, shape_of, signless


@runs(mx.ConstantOp)
def constant(machine: Machine, op: mx.ConstantOp, args: Values) -> Values:
    """The array of the table; below the graph level unsigned integers are reinterpreted."""
    value: Any = machine.constants[op.key]
    element = element_of(op.output)
    if isinstance(value, numerics.BlockArray) or element != signless(element):
        return (value,)
    return (as_signless(cast(NDArray[Any], value)),)


@runs(mx.QuantizeOp)
def quantize(machine: Machine, op: mx.QuantizeOp, args: Values) -> Values:
    """Codes and scales by the recipe; the scale of a whole tensor is a value of its own in IR."""
    block = mx.block_of(op.output.type)
    assert block is not None
    recipe = recipe_of(op.recipe, block.format)
    quantised = numerics.quantize(
        args[0], block.format, block=block.shape, recipe=recipe, tensor_scale=1.0
    )
    return (quantised,)


@runs(mx.DequantizeOp)
def dequantize(machine: Machine, op: mx.DequantizeOp, args: Values) -> Values:
    """The exact values, in f32."""
    return (args[0].dequantize(),)


@runs(mx.RequantizeOp)
def requantize(machine: Machine, op: mx.RequantizeOp, args: Values) -> Values:
    """Other blocks or another format, through the exact values."""
    block = mx.block_of(op.output.type)
    assert block is not None
    recipe = recipe_of(op.recipe, block.format)
    quantised = numerics.requantize(
        args[0], block.format, block=block.shape, recipe=recipe, tensor_scale=1.0
    )
    return (quantised,)


@runs(mx.MatMulOp)
def matmul(machine: Machine, op: mx.MatMulOp, args: Values) -> Values:
    """The product, added up by the contract."""
    return (numerics.matmul(args[0], args[1], op.contract.data),)


@runs(mx.ConvOp)
def conv(machine: Machine, op: mx.ConvOp, args: Values) -> Values:
    """The convolution, added up by the contract."""
    return (
        numerics.conv(
            args[0],
            args[1],
            strides=op.strides.get_values(),
            pads=op.pads.get_values(),
            dilations=op.dilations.get_values(),
            groups=op.groups.value.data,
            contract=op.contract.data,
        ),
    )


@runs(mx.TransposeOp)
def transpose(machine: Machine, op: mx.TransposeOp, args: Values) -> Values:
    """Codes and scales permuted."""
    return (numerics.transpose(args[0], op.permutation.get_values()),)


@runs(mx.ReshapeOp)
def reshape(machine: Machine, op: mx.ReshapeOp, args: Values) -> Values:
    """Codes and scales under the other shape: blocks stay whole, so both reshape in order."""
    block = mx.block_of(op.output.type)
    assert block is not None
    return (numerics.reshape(args[0], shape_of(op.output), block.shape),)


@runs(mx.SliceOp)
def slice_blocks(machine: Machine, op: mx.SliceOp, args: Values) -> Values:
    """Whole blocks from the offsets on."""
    return (numerics.slice_blocks(args[0], op.offsets.get_values(), shape_of(op.output)),)


@runs(mx.ConcatOp)
def concat(machine: Machine, op: mx.ConcatOp, args: Values) -> Values:
    """The parts side by side."""
    return (numerics.concat(args, op.axis.value.data),)


@runs(mx.GatherOp)
def gather(machine: Machine, op: mx.GatherOp, args: Values) -> Values:
    """Rows along an axis without blocks."""
    return (numerics.gather(args[0], op.axis.value.data, op.indices.get_values()),)


@runs(mx.NegOp)
def neg(machine: Machine, op: mx.NegOp, args: Values) -> Values:
    """Signs flipped."""
    return (numerics.neg(args[0]),)


@runs(mx.AbsOp)
def absolute(machine: Machine, op: mx.AbsOp, args: Values) -> Values:
    """Signs dropped."""
    return (numerics.abs_(args[0]),)


@runs(mx.ScaleByPowerOfTwoOp)
def scale_by_power_of_two(machine: Machine, op: mx.ScaleByPowerOfTwoOp, args: Values) -> Values:
    """Scale bytes moved."""
    return (numerics.scale_by_power_of_two(args[0], op.exponent.value.data),)


@runs(mx.PackOp)
def pack(machine: Machine, op: mx.PackOp, args: Values) -> Values:
    """Codes and scales as one block array."""
    block = mx.block_of(op.output.type)
    assert block is not None
    format = numerics.FORMATS[block.format]
    codes, scales = (np.ascontiguousarray(part) for part in args)
    return (
        numerics.BlockArray(
            codes.view(format.code_dtype), scales.view(np.uint8), format, block.shape
        ),
    )


@runs(mx.UnpackOp)
def unpack(machine: Machine, op: mx.UnpackOp, args: Values) -> Values:
    """The bits of codes and scales, in the types of the results."""
    parts = (args[0].codes, args[0].scales)
    return [
        np.ascontiguousarray(part).view(numpy_dtype(element_of(result)))
        for part, result in zip(parts, op.results, strict=True)
    ]
