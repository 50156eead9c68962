"""`expand-math`: functions become operations that have one IEEE-754 result.

    %y = math.rsqrt %x : f32

becomes

    %one = arith.constant 1.0 : f32
    %root = math.sqrt %x : f32
    %y = arith.divf %one, %root : f32

and `math.exp`, `tanh`, `erf`, `powf` ... become polynomials, bit operations and comparisons. From
here on an interpreter, a C compiler and a vector unit must agree to the last bit, because nothing
is left that a library may round its own way. The definitions are in `mxc.passes.math`; their
accuracy, at most 2 ulp in f32, is measured by `tests/passes/math`.

Short floats (f16, bf16) are widened to f32, computed there and rounded once more.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from mxc.dialects.location import node_names
from mxc.errors import CannotLower
from mxc.passes.math import EXPANSIONS
from mxc.passes.math.build import BlockBuilder
from mxc.passes.math.power import powf_of_constant
from mxc.passes.math.scalars import Scalar

KEPT = frozenset(
    op.name
    for op in (
        math.SqrtOp,
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
)
"""Operations of `math` that have one result already."""


@dataclass(frozen=True)
class ExpandMathPass(ModulePass):
    """Expands exp, log, sin, pow ... to operations that every machine rounds alike."""

    name = "expand-math"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        builders: dict[Block, BlockBuilder] = {}
        for inner in list(op.walk()):
            if inner.name in EXPANSIONS:
                _expand(inner, builders)
            elif inner.name.startswith("math.") and inner.name not in KEPT:
                raise _unknown(inner, "there is no expansion of it")


def _expand(op: Operation, builders: dict[Block, BlockBuilder]) -> None:
    block = op.parent
    assert block is not None
    builder = builders.get(block)
    if builder is None:
        builder = builders[block] = BlockBuilder(block, op, op.location)
    builder.before, builder.location = op, op.location
    args = [_argument(builder, op, operand) for operand in op.operands]
    result = builder.result(_value(op, args), op.results[0].type)
    op.results[0].replace_all_uses_with(result)
    block.erase_op(op)


def _argument(builder: BlockBuilder, op: Operation, operand: SSAValue) -> Scalar:
    if (argument := builder.argument(operand)) is None:
        raise _unknown(op, f"{operand.type} is not a scalar type it is defined on")
    return argument


def _value(op: Operation, args: list[Scalar]) -> Scalar:
    if isinstance(op, math.PowFOp) and (exponent := _constant(op.rhs)) is not None:
        shortcut = powf_of_constant(args[0], exponent)
        if shortcut is not None:
            return shortcut
    return EXPANSIONS[op.name](*args)


def _constant(value: SSAValue) -> float | None:
    owner = value.owner
    if not isinstance(owner, arith.ConstantOp) or not isinstance(owner.value, FloatAttr):
        return None
    return owner.value.value.data


def _unknown(op: Operation, why: str) -> CannotLower:
    names = ", ".join(node_names(op))
    return CannotLower(
        f"expand-math cannot expand {op.name}: {why}", at=names and f"node '{names}'"
    )
