"""What operations of the machine level ask of the units, counted; and what their bytes are."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from xdsl.dialects import arith, math
from xdsl.dialects.linalg.ops import GenericOp, IndexOp, YieldOp
from xdsl.dialects.memref import ReinterpretCastOp
from xdsl.ir import Operation, SSAValue

from mxc.dialects.npu import ConstantOp
from mxc.dialects.npu.memory import memref_of
from mxc.passes._machine.loops import extents

FREE = (
    arith.ConstantOp,
    arith.BitcastOp,
    arith.IndexCastOp,
    IndexOp,
    YieldOp,
)
"""Operations of loop bodies that cost nothing."""

SLOW = (
    arith.DivfOp,
    arith.DivSIOp,
    arith.DivUIOp,
    arith.RemSIOp,
    arith.RemUIOp,
    math.SqrtOp,
)
"""Operations that the vector unit does at a fraction of its rate."""

FUNCTION = "mxc.function"
"""The attribute of operations that a function, exp, erf ..., was expanded to."""


@dataclass(frozen=True)
class Work:
    """The loops of one command of the vector unit: `points`, each with so many operations."""

    points: int
    fast: int
    slow: int


def work_of(op: Operation) -> Work:
    """The work of a `linalg.generic`, a fill or a copy."""
    if not isinstance(op, GenericOp):
        return Work(prod(memref_of(op.operands[-1]).get_shape()), 1, 0)
    fast = slow = 0
    for inner in op.body.block.ops:
        if isinstance(inner, FREE):
            continue
        if isinstance(inner, SLOW):
            slow += 1
        else:
            fast += 1
    return Work(prod(extents(op)), max(fast, 0 if slow else 1), slow)


def purpose_of(value: SSAValue) -> str:
    """What the bytes of a memref are: weights, activations or scales."""
    base = value.owner.source if isinstance(value.owner, ReinterpretCastOp) else value
    if not isinstance(base.owner, ConstantOp):
        return "activations"
    return "scales" if base.owner.part.data == "scales" else "weights"
