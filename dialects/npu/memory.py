"""Memory and DMA of the `npu` dialect.

A memref without a memory space lies in DRAM; one of space "scratchpad" in the NPU's own memory.
Constraints carry labels, (C1), (C2), ...; the verifier quotes the label and a test names it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from xdsl.dialects.builtin import IntegerAttr, MemRefType, NoneAttr, StringAttr, SymbolRefAttr, i64
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import NoMemoryEffect, Pure
from xdsl.utils.hints import isa

from mxc.dialects.mx import require

SCRATCHPAD = StringAttr("scratchpad")
"""The memory space of memrefs in the NPU's own memory."""

ALIGNMENT = 64
"""Bytes: every buffer and constant starts at a multiple of it."""

PARTS = ("data", "codes", "scales")

AnyMemRef = MemRefType[Attribute]


def memref_of(value: SSAValue) -> MemRefType[Any]:
    """The memref type of a value of the machine level."""
    assert isa(value.type, MemRefType), value.type
    return value.type


def in_scratchpad(value: SSAValue) -> bool:
    """Whether the memref `value` lies in the scratchpad; otherwise it lies in DRAM."""
    return memref_of(value).memory_space == SCRATCHPAD


@irdl_attr_definition
class EventType(ParametrizedAttribute, TypeAttribute):
    """The token `!npu.event`: something that will have happened once it is waited for."""

    name = "npu.event"


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A constant array, read-only, in the weights file.

    `part` says which array of the entry: "data" of a plain one, "codes" or "scales" of a blocked
    one. `offset`, in bytes from the start of the weights, is set by `plan-memory`.

    (C1) part is data, codes or scales;
    (C2) the offset, if set, is a multiple of 64 and not negative;
    (C3) the result lies in DRAM, row-major.

        %w = npu.constant @c_5f0c8e21aa907d3b {part = "codes", offset = 128 : i64} : memref<64xi8>
    """

    name = "npu.constant"
    value = prop_def(SymbolRefAttr)
    part = prop_def(StringAttr)
    offset = opt_prop_def(IntegerAttr)
    result = result_def(AnyMemRef)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$value attr-dict `:` type($result)"

    def __init__(self, value: str, part: str, type: Attribute, offset: int | None = None) -> None:
        super().__init__(
            properties={
                "value": SymbolRefAttr(value),
                "part": StringAttr(part),
                "offset": None if offset is None else IntegerAttr(offset, i64),
            },
            result_types=[type],
        )

    @property
    def key(self) -> str:
        """The name in the table of constants."""
        return self.value.root_reference.data

    def verify_(self) -> None:
        require(self, "C1", self.part.data in PARTS, f"part {self.part.data!r} is none of {PARTS}")
        offset = 0 if self.offset is None else self.offset.value.data
        require(self, "C2", offset >= 0 and offset % ALIGNMENT == 0, f"offset {offset}")
        plain = isinstance(memref_of(self.result).layout, NoneAttr)
        plain = plain and not in_scratchpad(self.result)
        require(self, "C3", plain, "the result is strided or not in DRAM")


@irdl_op_definition
class BufferOp(IRDLOperation):
    """A buffer at a fixed place: `offset` bytes into the arena (DRAM) or into the scratchpad.

    Its bytes are undefined until written; buffers whose lifetimes are apart may share bytes.

    (C1) the space is dram or scratchpad, and the result's memory space says the same;
    (C2) the offset is a multiple of 64 and not negative;
    (C3) the result is row-major.

        %b = npu.buffer {space = "dram", offset = 4096 : i64} : memref<4x8xf32>
    """

    name = "npu.buffer"
    space = prop_def(StringAttr)
    offset = prop_def(IntegerAttr)
    result = result_def(AnyMemRef)
    traits = traits_def(NoMemoryEffect())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "attr-dict `:` type($result)"

    def __init__(self, type: Attribute, offset: int) -> None:
        assert isa(type, MemRefType), type
        space = "scratchpad" if type.memory_space == SCRATCHPAD else "dram"
        super().__init__(
            properties={"space": StringAttr(space), "offset": IntegerAttr(offset, i64)},
            result_types=[type],
        )

    def verify_(self) -> None:
        space = "scratchpad" if in_scratchpad(self.result) else "dram"
        require(self, "C1", self.space.data == space, f"{self.space.data!r} holds a {space} memref")
        offset = self.offset.value.data
        require(self, "C2", offset >= 0 and offset % ALIGNMENT == 0, f"offset {offset}")
        plain = isinstance(memref_of(self.result).layout, NoneAttr)
        require(self, "C3", plain, "the result is strided")


VECTOR = "vector"
MATRIX = "matrix"
DMA = "dma"
"""Queues: the units, and channel c of the DMA engine is `dma` followed by c."""


def is_queue(name: str) -> bool:
    """Whether `name` is a queue."""
    return name in (VECTOR, MATRIX) or (name.startswith(DMA) and name[len(DMA) :].isdecimal())


@irdl_op_definition
class DmaOp(IRDLOperation):
    """Copies `source` to `target`, one in DRAM and one in the scratchpad, on channel `channel`.

    `purpose` says what the bytes are, for profiles: weights, activations or scales.

    (C1) shapes and element types agree;
    (C2) exactly one side lies in the scratchpad;
    (C3) the channel is not negative, the purpose is known.

        npu.dma %a, %b {channel = 0 : i64, purpose = "weights"}
          : memref<4x8xf32>, memref<4x8xf32, "scratchpad">
    """

    name = "npu.dma"
    source = operand_def(AnyMemRef)
    target = operand_def(AnyMemRef)
    channel = prop_def(IntegerAttr)
    purpose = prop_def(StringAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$source `,` $target attr-dict `:` type($source) `,` type($target)"

    def __init__(
        self, source: SSAValue, target: SSAValue, purpose: str = "activations", channel: int = 0
    ) -> None:
        super().__init__(
            operands=[source, target],
            properties={"channel": IntegerAttr(channel, i64), "purpose": StringAttr(purpose)},
        )

    def verify_(self) -> None:
        a, b = memref_of(self.source), memref_of(self.target)
        same = a.get_shape() == b.get_shape() and a.element_type == b.element_type
        require(self, "C1", same, f"{a} is copied to {b}")
        sides = [in_scratchpad(self.source), in_scratchpad(self.target)]
        require(self, "C2", sum(sides) == 1, "the copy is not between DRAM and scratchpad")
        known = self.channel.value.data >= 0 and self.purpose.data in PURPOSES
        require(self, "C3", known, f"channel {self.channel.value.data}, {self.purpose.data!r}")


PURPOSES = ("weights", "activations", "scales")
"""What bytes can be, for profiles."""


@irdl_op_definition
class RecordOp(IRDLOperation):
    """The event that happens when every operation given to `queue` so far is over.

    (C1) the queue is known.

        %e = npu.record {queue = "dma0"}
    """

    name = "npu.record"
    queue = prop_def(StringAttr)
    event = result_def(EventType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "attr-dict"

    def __init__(self, queue: str) -> None:
        super().__init__(properties={"queue": StringAttr(queue)}, result_types=[EventType()])

    def verify_(self) -> None:
        require(self, "C1", is_queue(self.queue.data), f"queue {self.queue.data!r}")


@irdl_op_definition
class WaitOp(IRDLOperation):
    """What is given to `queue` from here on begins after `event`.

    (C1) the queue is known.

        npu.wait %e {queue = "matrix"}
    """

    name = "npu.wait"
    event = operand_def(EventType)
    queue = prop_def(StringAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format: ClassVar = "$event attr-dict"

    def __init__(self, event: SSAValue, queue: str) -> None:
        super().__init__(operands=[event], properties={"queue": StringAttr(queue)})

    def verify_(self) -> None:
        require(self, "C1", is_queue(self.queue.data), f"queue {self.queue.data!r}")


@irdl_op_definition
class BarrierOp(IRDLOperation):
    """What is given to any queue from here on begins when all that was given before is over.

    npu.barrier
    """

    name = "npu.barrier"
    assembly_format: ClassVar = "attr-dict"

    def __init__(self) -> None:
        super().__init__()
