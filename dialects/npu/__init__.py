"""The `npu` dialect: memory, DMA and matrix operations of the machine level, on memrefs."""

from xdsl.ir import Dialect

from mxc.dialects.npu.memory import (
    SCRATCHPAD,
    BarrierOp,
    BufferOp,
    ConstantOp,
    DmaOp,
    EventType,
    RecordOp,
    WaitOp,
)
from mxc.dialects.npu.ops import (
    ConvOp,
    DequantizeOp,
    MatMulOp,
    QuantizeOp,
    RequantizeOp,
)
from mxc.dialects.npu.queues import queue_of

NPU = Dialect(
    "npu",
    [
        ConstantOp,
        BufferOp,
        DmaOp,
        RecordOp,
        WaitOp,
        BarrierOp,
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
    "BarrierOp",
    "BufferOp",
    "ConstantOp",
    "ConvOp",
    "DequantizeOp",
    "DmaOp",
    "EventType",
    "MatMulOp",
    "QuantizeOp",
    "RecordOp",
    "RequantizeOp",
    "WaitOp",
    "queue_of",
]
