"""The `npu` dialect: memory, DMA and matrix operations of the machine level, on memrefs."""

from xdsl.ir import Dialect

from mxc.dialects.npu.memory import (
    SCRATCHPAD,
    BufferOp,
    ConstantOp,
    DmaStartOp,
    DmaWaitOp,
    EventType,
)
from mxc.dialects.npu.ops import (
    ConvOp,
    DequantizeOp,
    MatMulOp,
    QuantizeOp,
    RequantizeOp,
)

NPU = Dialect(
    "npu",
    [
        ConstantOp,
        BufferOp,
        DmaStartOp,
        DmaWaitOp,
        QuantizeOp,
        DequantizeOp,
        RequantizeOp,
        MatMulOp,
        ConvOp,
    ],
    [EventType],
)

__all__ = [
    "NPU",
    "SCRATCHPAD",
    "BufferOp",
    "ConstantOp",
    "ConvOp",
    "DequantizeOp",
    "DmaStartOp",
    "DmaWaitOp",
    "EventType",
    "MatMulOp",
    "QuantizeOp",
    "RequantizeOp",
]
