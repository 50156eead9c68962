"""A check that xDSL does not make: no value is used before it is defined, or out of its scope."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException


def check_order(module: ModuleOp) -> None:
    """Makes sure that every operand is defined above its user, in its block or around it.

    Blocks are taken to run in order, which is so for the structured control flow that mxc uses.

    Raises:
        VerifyException: naming the first operation for which this does not hold.
    """
    _operation(module, set())


def _operation(op: Operation, visible: set[SSAValue]) -> None:
    for operand in op.operands:
        if operand not in visible:
            raise VerifyException(f"{op.name} uses a value that is not defined there: {operand}")
    for region in op.regions:
        for block in region.blocks:
            _block(block, visible)
    visible.update(op.results)


def _block(block: Block, visible: set[SSAValue]) -> None:
    """Checks `block`; what it defines is not visible afterwards."""
    visible.update(block.args)
    for op in block.ops:
        _operation(op, visible)
    visible.difference_update(block.args)
    for op in block.ops:
        visible.difference_update(op.results)
