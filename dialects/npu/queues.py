"""Which queue does an operation of the machine level."""

from __future__ import annotations

from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.dialects.memref import CopyOp
from xdsl.ir import Operation

from mxc.dialects.npu.memory import DMA, MATRIX, VECTOR, DmaOp, memref_of
from mxc.dialects.npu.ops import ConvOp, DequantizeOp, MatMulOp, QuantizeOp, RequantizeOp

FEW_CHANNELS = 16
"""Convolutions in groups of fewer channels are done by the vector unit."""

_ON_VECTOR = (GenericOp, FillOp, CopyOp, QuantizeOp, DequantizeOp, RequantizeOp)


def queue_of(op: Operation) -> str | None:
    """The queue that `op` is given to; None if it is no command."""
    match op:
        case DmaOp():
            return f"{DMA}{op.channel.value.data}"
        case MatMulOp():
            return MATRIX
        case ConvOp():
            few = memref_of(op.rhs).get_shape()[1] < FEW_CHANNELS
            return VECTOR if few and op.groups.value.data > 1 else MATRIX
        case _:
            return VECTOR if isinstance(op, _ON_VECTOR) else None
