"""`canonicalize`: operations that do nothing are removed, chains of views become one view.

    %a = onnx.Transpose(%x) <{perm = [1, 0]}>
    %b = onnx.Transpose(%a) <{perm = [1, 0]}>
    %c = onnx.Identity(%b)
    %y = onnx.Mul(%c, %one)

becomes `%x`. Every rule is exact for all values, NaN, infinities and signed zeros included: x * 1
is x, but x + 0 is not, since -0 + 0 is +0; x + -0 and x - 0 are. Rules look at the operation and at
what produced its operands, so one sweep in program order applies them all. Names of nodes that
vanish into another operation stay in its location.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from mxc.constants import ConstantTable
from mxc.passes._canonical import loops, nodes
from mxc.passes._effects import erase_dead

Rule = Callable[[Operation, ConstantTable], SSAValue | None]

RULES: dict[str, Rule] = {**nodes.RULES, **loops.RULES}
"""Operation -> the value that can stand for its first result, or None."""


class CanonicalizePass(ModulePass):
    """Removes operations that do nothing and merges chains of views."""

    name = "canonicalize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        table = ConstantTable.of(ctx)
        for inner in list(op.walk()):
            rule = RULES.get(inner.name)
            if rule is None or (value := rule(inner, table)) is None:
                continue
            inner.results[0].replace_all_uses_with(value)
            if inner.parent is not None and not any(r.uses for r in inner.results):
                inner.parent.erase_op(inner)
        erase_dead(op)
