"""Putting the body of one loop into another."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType, IntegerAttr
from xdsl.dialects.linalg.ops import IndexOp, YieldOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineDimExpr, AffineExpr

PLAIN = (AffineDimExpr, AffineConstantExpr)
"""What an index of the inlined body may be in the loops of the other."""


def inline(
    body: Block,
    into: Block,
    arguments: Sequence[SSAValue],
    at: Sequence[AffineExpr],
    *,
    move: bool,
) -> SSAValue:
    """Puts the operations of `body` in front of those of `into`; gives what `body` yields.

    `arguments` stand for the first block arguments of `body`, `at` for its loop dimensions. With
    `move` the operations are taken away from `body`, otherwise copied.
    """
    anchor = into.first_op
    assert anchor is not None
    values: dict[SSAValue, SSAValue] = dict(zip(body.args, arguments, strict=False))
    for op in list(body.ops):
        if isinstance(op, YieldOp):
            return values.get(op.operands[0], op.operands[0])
        if isinstance(op, IndexOp):
            new = _index(at[op.dim.value.data])
            new.location = op.location
        elif move:
            op.detach()
            op.operands = [values.get(v, v) for v in op.operands]
            new = op
        else:
            new = op.clone(value_mapper=dict(values))
            new.location = op.location
        into.insert_op_before(new, anchor)
        values.update(zip(op.results, new.results, strict=True))
    raise AssertionError("a loop body ends in linalg.yield")


def _index(expr: AffineExpr) -> Operation:
    if isinstance(expr, AffineDimExpr):
        return IndexOp(expr.position)
    assert isinstance(expr, AffineConstantExpr)
    return arith.ConstantOp(IntegerAttr(expr.value, IndexType()))
