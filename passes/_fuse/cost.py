"""How much work a loop body is, in units of one addition."""

from __future__ import annotations

from xdsl.dialects import arith, math, tensor
from xdsl.dialects.linalg.ops import IndexOp, YieldOp
from xdsl.ir import Block, Operation

_FREE = (arith.ConstantOp, IndexOp, YieldOp)
_SLOW = (
    arith.DivfOp,
    arith.DivSIOp,
    arith.DivUIOp,
    arith.RemSIOp,
    arith.RemUIOp,
    math.SqrtOp,
    tensor.ExtractOp,
)
_SIMPLE = (
    math.FmaOp,
    math.FloorOp,
    math.CeilOp,
    math.TruncOp,
    math.RoundEvenOp,
    math.AbsFOp,
    math.CopySignOp,
    math.AbsIOp,
    math.CountLeadingZerosOp,
)


def cost(body: Block) -> int:
    """The cost of one run of `body`."""
    return sum(_cost(op) for op in body.ops)


def _cost(op: Operation) -> int:
    if isinstance(op, _FREE):
        return 0
    if isinstance(op, _SLOW):
        return 4
    if op.name.startswith("math.") and not isinstance(op, _SIMPLE):
        return 20  # what `expand-math` will make of it
    return 1
