"""A small interpreter: a table of Python functions per operation, values in numpy arrays.

    @runs(arith.AddfOp)
    def addf(machine, op, args): return (args[0] + args[1],)

Values are freed after their last use, so running a model takes the memory of its live values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue

from mxc.constants import ConstantTable
from mxc.dialects.location import node_names
from mxc.errors import CannotLower

Values = Sequence[Any]
Rule = Callable[["Machine", Any, Values], Values]

RULES: dict[type[Operation], Rule] = {}
"""What each operation does: (machine, operation, operand values) -> result values."""


def runs(*kinds: type[Operation]) -> Callable[[Rule], Rule]:
    """Registers a function as the rule for the operations `kinds`."""

    def register(rule: Rule) -> Rule:
        for kind in kinds:
            RULES[kind] = rule
        return rule

    return register


class Machine:
    """Runs the function of a module.

    `watch(op, results)`, if given, sees every operation of the function's body after it ran.
    """

    def __init__(
        self,
        module: ModuleOp,
        constants: ConstantTable,
        watch: Callable[[Operation, Values], None] | None = None,
    ) -> None:
        self.module = module
        self.constants = constants
        self.watch = watch
        self.state: dict[str, Any] = {}
        """What rules keep between operations, e.g. the arena of the machine level."""
        self._values: dict[SSAValue, Any] = {}
        self._last: dict[Block, dict[Operation, list[SSAValue]]] = {}

    def call(self, args: Values, name: str = "main") -> tuple[Any, ...]:
        """Calls function `name` with `args`, one value per argument."""
        function = next(
            op for op in self.module.ops if isinstance(op, FuncOp) and op.sym_name.data == name
        )
        return tuple(self.run_block(function.body.block, args, self.watch))

    def value(self, ssa: SSAValue) -> Any:
        """The value of `ssa`, for regions that read values from outside."""
        return self._values[ssa]

    def run_block(
        self,
        block: Block,
        args: Values,
        watch: Callable[[Operation, Values], None] | None = None,
    ) -> list[Any]:
        """Runs `block` on `args` and gives the operands of its terminator."""
        values = self._values
        values.update(zip(block.args, args, strict=True))
        last = self._last_uses(block)
        result: list[Any] = []
        for op in block.ops:
            operands = [values[operand] for operand in op.operands]
            if op is block.last_op and not op.results and type(op) not in RULES:
                result = operands
            else:
                outputs = self.run_op(op, operands)
                values.update(zip(op.results, outputs, strict=True))
                if watch is not None:
                    watch(op, outputs)
            for dead in last.get(op, ()):
                values.pop(dead, None)
        return result

    def run_op(self, op: Operation, operands: Values) -> Values:
        """Runs one operation on the values of its operands."""
        rule = RULES.get(type(op))
        if rule is None:
            rule = next((RULES[k] for k in type(op).__mro__ if k in RULES), None)
            if rule is None:
                at = ", ".join(node_names(op))
                raise CannotLower(f"the interpreter has no rule for {op.name}", at=at)
            RULES[type(op)] = rule
        return rule(self, op, operands)

    def _last_uses(self, block: Block) -> dict[Operation, list[SSAValue]]:
        """The values of `block` that die with each of its operations."""
        if block in self._last:
            return self._last[block]
        seen: set[SSAValue] = set()
        mine = {*block.args, *(r for op in block.ops for r in op.results)}
        last: dict[Operation, list[SSAValue]] = {}
        for op in reversed(list(block.ops)):
            used = [v for inner in op.walk() for v in inner.operands] + list(op.results)
            for value in used:
                if value in mine and value not in seen:
                    seen.add(value)
                    last.setdefault(op, []).append(value)
        self._last[block] = last
        return last
