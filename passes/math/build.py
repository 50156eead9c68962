"""Builds definitions of `Scalar` functions as operations of `arith` and `math`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    AnyFloat,
    Float32Type,
    Float64Type,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    f32,
    f64,
    i1,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue

from mxc.passes.math.scalars import FLOAT_OF, Kind, Machine, Scalar

TYPES: dict[Kind, IntegerType | Float32Type | Float64Type] = {
    "f32": f32,
    "f64": f64,
    "i1": i1,
    "i32": i32,
    "i64": i64,
}
KINDS: dict[Attribute, Kind] = {type: kind for kind, type in TYPES.items()}

_PLAIN: dict[str, Callable[..., Operation]] = {
    op.name: op
    for op in (
        arith.AddfOp,
        arith.SubfOp,
        arith.MulfOp,
        arith.DivfOp,
        arith.NegfOp,
        arith.AddiOp,
        arith.SubiOp,
        arith.MuliOp,
        arith.AndIOp,
        arith.OrIOp,
        arith.XOrIOp,
        arith.ShLIOp,
        arith.ShRSIOp,
        arith.ShRUIOp,
        arith.SelectOp,
        math.SqrtOp,
        math.AbsFOp,
        math.TruncOp,
        math.CopySignOp,
    )
}
_CASTS: dict[str, Callable[[SSAValue, Any], Operation]] = {
    op.name: op
    for op in (
        arith.BitcastOp,
        arith.ExtFOp,
        arith.TruncFOp,
        arith.ExtSIOp,
        arith.TruncIOp,
        arith.SIToFPOp,
    )
}
_COMPARISONS: dict[str, Callable[[SSAValue, SSAValue, str], Operation]] = {
    op.name: op for op in (arith.CmpfOp, arith.CmpiOp)
}


class BlockBuilder(Machine):
    """Adds operations to `block` in front of `before`; constants, each once, at the block's head.

    `before` and `location` are set anew for every function that is built.
    """

    def __init__(self, block: Block, before: Operation, location: LocationAttr) -> None:
        self.block = block
        self.before = before
        self.location = location
        self._constants: dict[tuple[Kind, str], Scalar] = {}

    def constant(self, value: float | int, kind: Kind) -> Scalar:
        # The hex form tells -0.0 from 0.0 and finds NaN equal to NaN.
        key = (kind, float(value).hex() if kind in FLOAT_OF.values() else str(value))
        if (known := self._constants.get(key)) is None:
            known = self._constants[key] = Scalar(self, self._literal(value, kind), kind)
        return known

    def _literal(self, value: float | int, kind: Kind) -> SSAValue:
        type = TYPES[kind]
        if isinstance(type, IntegerType):
            op = arith.ConstantOp(IntegerAttr(int(value), type))
        else:
            op = arith.ConstantOp(FloatAttr(float(value), type))
        op.location = self.location
        first = self.block.first_op
        assert first is not None
        self.block.insert_op_before(op, first)
        return op.result

    def apply(self, name: str, kind: Kind, args: Sequence[Scalar], predicate: str = "") -> Scalar:
        operands: list[SSAValue] = [arg.raw for arg in args]
        if predicate:
            op = _COMPARISONS[name](operands[0], operands[1], predicate)
        elif name in _CASTS:
            op = _CASTS[name](operands[0], TYPES[kind])
        else:
            op = _PLAIN[name](*operands)
        return Scalar(self, self.insert(op), kind)

    def insert(self, op: Operation) -> SSAValue:
        """Adds `op` and gives its only result."""
        op.location = self.location
        self.block.insert_op_before(op, self.before)
        return op.results[0]

    def argument(self, value: SSAValue) -> Scalar | None:
        """`value` as a `Scalar`, short floats widened to f32; None for other types."""
        if value.type in KINDS:
            return Scalar(self, value, KINDS[value.type])
        if isinstance(value.type, AnyFloat) and value.type.bitwidth <= 16:
            return Scalar(self, self.insert(arith.ExtFOp(value, f32)), "f32")
        return None

    def result(self, value: Scalar, type: Attribute) -> SSAValue:
        """`value` as an SSA value of type `type`, rounded if it was widened."""
        if value.raw.type == type:
            return value.raw
        assert isinstance(type, AnyFloat)
        return self.insert(arith.TruncFOp(value.raw, type))
