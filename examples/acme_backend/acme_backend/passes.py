"""A pass of the vendor: the machine has no divider, so what can be a product becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp

from xdsl.context import Context
from xdsl.dialects.arith import ConstantOp, DivfOp, MulfOp
from xdsl.dialects.builtin import FloatAttr, ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)

from mxc.dialects.location import CarryLocations

LARGEST = 100
"""Exponents up to this have a reciprocal that is a normal number in f32."""


def _power_of_two(value: SSAValue) -> float | None:
    """The constant `value` if it is a power of two whose reciprocal is exact."""
    if not isinstance(value.owner, ConstantOp) or not isinstance(value.owner.value, FloatAttr):
        return None
    number = value.owner.value.value.data
    mantissa, exponent = frexp(abs(number))
    return number if mantissa == 0.5 and abs(exponent) <= LARGEST else None


class _Reciprocal(RewritePattern):
    """x / 2**n becomes x * 2**-n: the same value, to the bit."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: DivfOp, rewriter: PatternRewriter) -> None:
        divisor = _power_of_two(op.rhs)
        if divisor is None:
            return
        constant = op.rhs.owner
        factor = ConstantOp(FloatAttr(1.0 / divisor, op.rhs.type))
        rewriter.replace_matched_op([factor, MulfOp(op.lhs, factor.result)])
        if isinstance(constant, ConstantOp) and not constant.result.uses.get_length():
            rewriter.erase_op(constant)


@dataclass(frozen=True)
class AcmeReciprocalPass(ModulePass):
    """Divisions by powers of two become products: the vector unit has no divider."""

    name = "acme-reciprocal"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        pattern = CarryLocations(_Reciprocal())
        PatternRewriteWalker(pattern).rewrite_module(op)
