"""`mx-legalize`: block operations become what the target has.

    %m = mx.matmul %q, %w {contract = "block-exact"}

becomes `mx.matmul` with the contract of the target's matrix unit, if its backend supports that, and
else plain loops with the semantics of `block-exact`: f64 holds the exact sum of a block's products,
which is scaled, rounded to f32 and added up (`_legalize/contractions.py`). Contractions of floats
get the target's float contract, or loops. `mx.requantize` becomes dequantise and quantise where the
backend lacks it, `mx.dequantize` a look-up of codes and scales.

What loops cannot say exactly is an error that names the node and the backend's reason.

Precondition: the loops level. Rounds where the contract changes; loops are exact, shown for every
format in `tests/passes/test_mx_legalize.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.constants import ConstantTable
from mxc.dialects.location import node_names
from mxc.dialects.loops import Loops, Tensor
from mxc.dialects.mx import (
    Contraction,
    ConvOp,
    DequantizeOp,
    MatMulOp,
    QuantizeOp,
    RequantizeOp,
    block_of,
)
from mxc.errors import CannotLower
from mxc.numerics import known_contracts
from mxc.passes._capabilities import Supports, support_of
from mxc.passes._legalize.contractions import conv, matmul
from mxc.passes._legalize.values import values

EXACT, PLAIN = "block-exact", "sequential"
"""The contracts that the pipeline writes; another one is what somebody asked for, and stays."""


@dataclass(frozen=True)
class _Target:
    """What the rewriting asks."""

    supports: Supports
    block_contract: str
    float_contract: str
    constants: ConstantTable

    def loops(self, op: Operation) -> Loops:
        """A builder of loops in front of `op`."""
        return Loops(InsertPoint.before(op), self.constants, op.location)


def _contraction(op: Contraction, target: _Target) -> None:
    """Gives `op` the contract of the target, or makes loops of it."""
    blocks = block_of(op.lhs.type) is not None and block_of(op.rhs.type) is not None
    before = op.contract.data
    wanted = target.block_contract if before == EXACT and blocks else before
    wanted = target.float_contract if before == PLAIN else wanted
    op.properties["contract"] = StringAttr(wanted)
    reason = target.supports(op)
    if reason is None:
        return
    if wanted == target.block_contract:
        op.properties["contract"] = StringAttr(before)
    try:
        result = _LOOPS[type(op)](target.loops(op), op)
    except CannotLower as error:
        what = f"the backend lacks {op.name} ({reason}), and loops cannot do it: {error.message}"
        raise CannotLower(what, at=_where(op), hint=error.hint) from None
    Rewriter.replace_op(op, [], [result.value])


def _dequantize(op: DequantizeOp, target: _Target) -> None:
    if target.supports(op) is not None:
        Rewriter.replace_op(op, [], [values(target.loops(op), op.input).value])


def _requantize(op: RequantizeOp, target: _Target) -> None:
    if target.supports(op) is None:
        return
    block = block_of(op.output.type)
    assert block is not None
    floats = DequantizeOp(op.input)
    again = QuantizeOp(floats.output, block, op.recipe)
    for new in (floats, again):
        new.location = op.location
        Rewriter.insert_op(new, InsertPoint.before(op))
    Rewriter.replace_op(op, [], [again.output])
    _dequantize(floats, target)


def _quantize(op: QuantizeOp, target: _Target) -> None:
    reason = target.supports(op)
    if reason is not None:
        raise CannotLower(f"the backend cannot quantise ({reason})", at=_where(op))


def _where(op: Operation) -> str:
    names = ", ".join(node_names(op))
    return f"node '{names}'" if names else ""


_LOOPS: dict[type[Operation], Callable[[Loops, Any], Tensor]] = {
    MatMulOp: matmul,
    ConvOp: conv,
}

_RULES: dict[type[Operation], Callable[[Any, _Target], None]] = {
    MatMulOp: _contraction,
    ConvOp: _contraction,
    DequantizeOp: _dequantize,
    RequantizeOp: _requantize,
    QuantizeOp: _quantize,
}


@dataclass(frozen=True)
class MxLegalizePass(ModulePass):
    """Gives contractions the contract of the target; rewrites what its backend lacks to loops."""

    name = "mx-legalize"
    backend: str = ""
    """Whose capabilities count; empty: everything is supported."""
    block_contract: str = EXACT
    float_contract: str = PLAIN

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for contract in (self.block_contract, self.float_contract):
            if contract not in known_contracts():
                raise CannotLower(f"dot contract {contract!r} is unknown")
        constants = ConstantTable.of(ctx)
        supports = support_of(self.backend)
        target = _Target(supports, self.block_contract, self.float_contract, constants)
        for inner in list(op.walk()):
            rule = _RULES.get(type(inner))
            if rule is not None:
                rule(inner, target)
