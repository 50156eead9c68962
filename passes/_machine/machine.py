"""What commands cost on a target, in cycles: the model that tiles and schedules are chosen by.

It is the model of the host HAL's timeline (`mxnpu_host.h`), which measures what emitted C gives; a
test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, StringAttr
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.dialects.memref import LoadOp
from xdsl.ir import Operation, SSAValue

from mxc.dialects import npu
from mxc.dialects.npu.memory import VECTOR, in_scratchpad, memref_of
from mxc.dialects.npu.ops import Contraction
from mxc.dialects.types import numpy_dtype
from mxc.passes._machine.loops import extents
from mxc.passes._machine.regions import accesses, unique_accesses
from mxc.passes._machine.views import runs_of
from mxc.passes._machine.work import work_of
from mxc.targets import Target


def up(value: int, unit: int) -> int:
    """`value` rounded up to a multiple of `unit`."""
    return -(-value // unit) * unit


def cycles(work: float, rate: float) -> int:
    """Whole cycles for `work` at `rate` per cycle."""
    return ceil(work / rate)


@dataclass(frozen=True)
class Cost:
    """Cycles of a command's unit, and bytes that it moves from or to DRAM."""

    busy: int
    dram: int


class Machine:
    """The cost of commands on `target`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.dram_rate = target.dram.bytes_per_cycle
        self.latency = target.dma.latency if target.dma else 0
        self.burst = target.dma.burst if target.dma else 1
        self.channels = target.dma.channels if target.dma else 1
        self.capacity = target.scratchpad.size if target.scratchpad else 0

    def rate(self, format: str) -> tuple[float, bool]:
        """Multiply-accumulates per cycle of operands in `format`; whether they are decoded."""
        rates = self.target.matrix.macs_per_cycle
        bf16 = rates.get("bf16", max(rates.values()))
        if format == "f32":
            return rates.get("f32", bf16 / 4), False
        if format in ("bf16", "f16"):
            return bf16, False
        return (rates[format], False) if format in rates else (bf16, True)

    def cost(self, op: Operation) -> Cost:
        """The cost of a command."""
        if isinstance(op, GenericOp):
            return Cost(self.busy(op), self._gathered(op))
        dram = sum(self.bus_bytes(v) for v, _ in accesses(op) if not in_scratchpad(v))
        return Cost(self.busy(op), dram)

    def _gathered(self, op: GenericOp) -> int:
        """Bytes that loops move from or to DRAM; of what they gather, an element per point."""
        points, total = prod(extents(op)), 0
        loaded = [x.memref for x in op.body.block.ops if isinstance(x, LoadOp)]
        for value, writes in unique_accesses(op):
            if in_scratchpad(value):
                continue
            bytes = self.bus_bytes(value)
            if value in loaded and not writes:
                size = numpy_dtype(memref_of(value).element_type).itemsize
                bytes = min(bytes, points * size)
            total += bytes
        return total

    def busy(self, op: Operation) -> int:
        """Cycles of the unit that does `op`."""
        match op:
            case npu.DmaOp():
                return 0
            case npu.MatMulOp():
                return self._matmul(op)
            case npu.ConvOp():
                return self._conv(op)
            case npu.QuantizeOp() | npu.RequantizeOp():
                again = isinstance(op, npu.RequantizeOp)
                each = self.target.vector.quantize_ops + again
                return self._vector(prod(memref_of(op.codes).get_shape()) * each)
            case npu.DequantizeOp():
                return self._vector(prod(memref_of(op.codes).get_shape()))
            case _:
                work = work_of(op)
                slow = work.slow * self.target.vector.slow_factor
                return self._vector(work.points * (work.fast + slow))

    def _vector(self, operations: int) -> int:
        return cycles(operations, self.target.vector.lanes)

    def _matmul(self, op: npu.MatMulOp) -> int:
        *batch, m, n = memref_of(op.output).get_shape()
        k = memref_of(op.lhs).get_shape()[-1]
        unit = self.target.matrix
        padded = prod(batch) * up(m, unit.m) * up(n, unit.n) * up(k, unit.k)
        count = prod(batch)
        return self.matrix(op, padded, count * m * k, count * k * n)

    def _conv(self, op: npu.ConvOp) -> int:
        x, w, y = (memref_of(v).get_shape() for v in (op.lhs, op.rhs, op.output))
        groups, taps, unit = op.groups.value.data, prod(w[2:]), self.target.matrix
        if npu.queue_of(op) == VECTOR:
            return self._vector(prod(y) * w[1] * taps)
        exact = op.contract.data == "block-exact"
        depth = up(w[1], unit.k) * taps if exact else up(w[1] * taps, unit.k)
        padded = y[0] * groups * up(w[0] // groups, unit.m) * up(prod(y[2:]), unit.n) * depth
        return self.matrix(op, padded, prod(x), prod(w))

    def matrix(self, op: Contraction, macs: int, elements_a: int, elements_b: int) -> int:
        """Cycles of the matrix unit for `macs`, padded ones included."""
        (rate_a, decode_a), (rate_b, decode_b) = (self.rate(f) for f in formats_of(op))
        decoded = decode_a * elements_a + decode_b * elements_b
        multiply = cycles(macs, min(rate_a, rate_b))
        speed = self.target.matrix.decode_per_cycle
        return max(multiply, cycles(decoded, speed)) if speed else multiply

    def bus_bytes(self, value: SSAValue) -> int:
        """Bytes on the bus for a memref: each run of neighbouring bytes in whole bursts."""
        kind = memref_of(value)
        strides = [stride or 0 for stride in kind.get_strides() or ()]
        size = numpy_dtype(kind.element_type).itemsize
        return self.on_bus(*runs_of(kind.get_shape(), strides, size))

    def on_bus(self, run: int, runs: int) -> int:
        """Bytes on the bus for runs of `run` bytes."""
        return up(run, self.burst) * runs

    def transfer(self, bytes: int) -> int:
        """Cycles that `bytes` keep DRAM busy."""
        return cycles(bytes, self.dram_rate)


def formats_of(op: Contraction) -> tuple[str, str]:
    """The formats of both operands of a contraction."""
    pairs = ((op.lhs, op.lhs_format), (op.rhs, op.rhs_format))
    return tuple(_format(value, name) for value, name in pairs)  # pyright: ignore


def _format(value: SSAValue, name: StringAttr | None) -> str:
    if name is not None:
        return name.data
    element = memref_of(value).element_type
    names = {Float32Type: "f32", BFloat16Type: "bf16", Float16Type: "f16"}
    return names[type(element)]
