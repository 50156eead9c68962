"""`raise-mx`: blocked ONNX quantisation with E8M0 scales becomes `mx` types, codes untouched.

    %w = onnx.DequantizeLinear(%codes, %scales) <{axis = 1 : i64, block_size = 32 : i64}>

with constant codes and scales becomes

    %b = mx.constant @c_... : tensor<8x64x!mx.block<f8E4M3FN, 1x32>>
    %w = mx.dequantize %b : ... -> tensor<8x64xf32>

Scales may be E8M0, or floats that are all powers of two (a cast of E8M0 that was folded). Codes
computed at run time (a QuantizeLinear before it) give a value v that is exactly representable in
blocks, so `mx.dequantize(mx.quantize(v))` is v: with the rule rceil the new scale is never larger
than the old one, and every element keeps its value (of i8 only if -128 cannot occur).
`mx-quantize` then reads the blocks wherever a contraction wants them
(`tests/passes/test_raise_mx.py` holds both claims).

Must not fire: per-tensor and per-channel scales, scales that are no powers of two, zero points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import Float8E8M0FNUType, Float32Type, ModuleOp, TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.constants import ConstantTable
from mxc.dialects.mx import (
    FORMAT_ELEMENTS,
    BlockType,
    ConstantOp,
    DequantizeOp,
    QuantizeOp,
    RecipeAttr,
    grid_shape,
)
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.types import element_of, shape_of
from mxc.numerics import FORMATS, BlockArray

BIAS = 127
INT8_LARGEST = 127
INT8_FRACTION = 6
"""An MXINT8 code counts 2**-6; ONNX has that factor in the scale."""


@dataclass(frozen=True)
class RaiseMxPass(ModulePass):
    """Recognises blocked DequantizeLinear with power-of-two scales as mx blocks."""

    name = "raise-mx"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        constants = ConstantTable.of(ctx)
        for inner in [*op.walk()]:
            if isinstance(inner, OnnxOp) and inner.op_type == "DequantizeLinear":
                _raise(inner, constants)


def _raise(op: OnnxOp, constants: ConstantTable) -> None:
    block = _block_type(op)
    if block is None or not isinstance(element_of(op.results[0]), Float32Type):
        return
    codes, scales = op.inputs[0], op.inputs[1]
    assert codes is not None
    assert scales is not None
    if isinstance(codes.owner, ConstantOp) and isinstance(scales.owner, ConstantOp):
        value = _constant(constants[codes.owner.key], constants[scales.owner.key], block)
        if value is not None:
            kind = TensorType(block, value.shape)
            source = ConstantOp(constants.add(value), kind)
            _insert(op, source)
            _replace(op, source.output)
    elif _is_e8m0(scales) and _quantised_by(codes, scales, block, constants):
        _through_blocks(op, block)


def _quantised_by(
    codes: SSAValue, scales: SSAValue, block: BlockType, constants: ConstantTable
) -> bool:
    """Whether `codes` are QuantizeLinear's for `scales`; of i8 ones, that -128 is clipped away."""
    owner = codes.owner
    if block.format == "mxint8":
        if not isinstance(owner, OnnxOp) or owner.op_type != "Clip" or len(owner.inputs) < 2:
            return False
        low = owner.inputs[1]
        if low is None or not isinstance(low.owner, ConstantOp) or owner.inputs[0] is None:
            return False
        if constants[low.owner.key] < -INT8_LARGEST:
            return False
        owner = owner.inputs[0].owner
    if not isinstance(owner, OnnxOp) or owner.op_type != "QuantizeLinear":
        return False
    return owner.inputs[1] is scales


def _block_type(op: OnnxOp) -> BlockType | None:
    """The blocks of a DequantizeLinear, if it is blocked, without zero point, of an MX element."""
    codes, scales = op.inputs[0], op.inputs[1]
    size = int(op.attr("block_size") or 0)
    assert codes is not None
    assert scales is not None
    if len(op.inputs) > 2 or size < 2 or element_of(codes) not in FORMAT_ELEMENTS.values():
        return None
    shape = shape_of(codes)
    axis = int(op.attr("axis")) % len(shape)
    block = BlockType(element_of(codes), [size if i == axis else 1 for i in range(len(shape))])
    return block if shape_of(scales) == grid_shape(shape, block.shape) else None


def _is_e8m0(scales: SSAValue) -> bool:
    """Whether the scales are E8M0, as they are or cast to float."""
    if isinstance(element_of(scales), Float8E8M0FNUType):
        return True
    owner = scales.owner
    if not isinstance(owner, OnnxOp) or owner.op_type != "Cast" or owner.inputs[0] is None:
        return False
    return isinstance(element_of(owner.inputs[0]), Float8E8M0FNUType)


def _constant(
    codes: NDArray[np.generic], scales: NDArray[np.generic], block: BlockType
) -> BlockArray | None:
    """The block array of constant codes and scales; None if a scale is no E8M0 power of two."""
    format = FORMATS[block.format]
    values = scales.astype(np.float64)
    mantissa, exponent = np.frexp(values)
    biased = exponent - 1 + BIAS + (INT8_FRACTION if block.format == "mxint8" else 0)
    power = (mantissa == 0.5) & (biased >= 0) & (biased <= 2 * BIAS)
    if not (power | np.isnan(values)).all():
        return None
    scale_bytes = np.where(np.isnan(values), 255, biased).astype(np.uint8)
    bits = np.ascontiguousarray(codes).view(format.code_dtype)
    return BlockArray(bits, scale_bytes, format, block.shape)


def _through_blocks(op: OnnxOp, block: BlockType) -> None:
    """Lets every reader of the value see it as dequantised blocks."""
    value = op.results[0]
    quantize = QuantizeOp(value, block, RecipeAttr("rceil"))
    dequantize = DequantizeOp(quantize.output)
    for new in (quantize, dequantize):
        new.location = op.location
    Rewriter.insert_op((quantize, dequantize), InsertPoint.after(op))
    value.replace_uses_with_if(dequantize.output, lambda use: use.operation is not quantize)


def _insert(op: OnnxOp, new: Operation) -> None:
    new.location = op.location
    Rewriter.insert_op(new, InsertPoint.before(op))


def _replace(op: OnnxOp, blocks: SSAValue) -> None:
    dequantize = DequantizeOp(blocks)
    _insert(op, dequantize)
    Rewriter.replace_op(op, [], [dequantize.output])
