"""The values of block tensors, looked up code by code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import TensorType, f32, i8
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineExpr
from xdsl.utils.hints import isa

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.mx import UnpackOp, block_of, grid_shape
from mxc.dialects.types import element_type, shape_of
from mxc.errors import CannotLower
from mxc.numerics import FORMATS
from mxc.numerics.scales import SCALE_VALUES

BYTE = element_type(np.uint8)


def unpacked(loops: Loops, value: SSAValue) -> tuple[Tensor, Tensor]:
    """The elements' values without scales, and the scales, one per block; both in f32.

    Raises:
        CannotLower: if scales are no powers of two.
    """
    block, shape = block_of(value.type), shape_of(value)
    assert block is not None
    format = FORMATS[block.format]
    if format.scale != "e8m0" or format.element is None:
        raise CannotLower(f"{format} has scales that are no powers of two")
    types = [TensorType(i8, shape), TensorType(i8, grid_shape(shape, block.shape))]
    op = UnpackOp.build(operands=[value], result_types=types)
    loops.insert(op)
    parts = [Tensor(part, BYTE) for part in op.results]
    tables = (format.element.values32, SCALE_VALUES)
    codes, scales = (
        _looked_up(loops, *pair) for pair in zip(parts, map(np.asarray, tables), strict=True)
    )
    return codes, scales


def _looked_up(loops: Loops, codes: Tensor, table: np.ndarray) -> Tensor:
    source = loops.constant(table.astype(np.float32))

    def look(k: Body, code: Scalar) -> Scalar:
        return k.load(source.value, [code])

    return loops.map(look, codes, element=f32)


def block_index(index: Sequence[AffineExpr | int], block: Sequence[int]) -> list[AffineExpr | int]:
    """Where the scale of the element at `index` lies."""
    return [
        i if b == 1 or isinstance(i, int) else i // b for i, b in zip(index, block, strict=True)
    ]


def values(loops: Loops, value: SSAValue) -> Tensor:
    """A block tensor or a float one, in f32; see `mx.dequantize`."""
    block = block_of(value.type)
    if block is None:
        return loops.cast(_plain(value), f32)
    codes, scales = unpacked(loops, value)
    index = [AffineExpr.dimension(i) for i in range(codes.rank)]
    pairs = [(codes, index), (scales, block_index(index, block.shape))]
    return loops.generic(lambda k, v, s: v * s, pairs, codes.shape, f32)


def _plain(value: SSAValue) -> Tensor:
    kind = value.type
    assert isa(kind, TensorType)
    return Tensor(value, kind.element_type)
