"""Rules on `linalg` and `tensor` operations."""

from __future__ import annotations

from typing import cast

from xdsl.dialects.linalg.ops import GenericOp, YieldOp
from xdsl.dialects.tensor import CollapseShapeOp, ExpandShapeOp
from xdsl.ir import Block, Operation, SSAValue

from mxc.constants import ConstantTable


def reshaped_back(op: Operation, table: ConstantTable) -> SSAValue | None:
    """A view as the shape that the viewed tensor had; views keep the row-major order."""
    source = op.operands[0]
    while isinstance(source.owner, CollapseShapeOp | ExpandShapeOp):
        source = source.owner.operands[0]
        if source.type == op.results[0].type:
            return source
    return None


def copy(op: Operation, table: ConstantTable) -> SSAValue | None:
    """A loop that copies its only input, element by element."""
    generic = cast("GenericOp", op)
    body = generic.body.block
    if len(generic.inputs) != 1 or len(generic.res) != 1 or not _yields_first(body):
        return None
    maps = [attribute.data for attribute in generic.indexing_maps]
    same_place = maps[0] == maps[1] and len(maps[0].results) == maps[0].num_dims
    return (
        generic.inputs[0] if same_place and generic.inputs[0].type == op.results[0].type else None
    )


def _yields_first(body: Block) -> bool:
    last = body.first_op
    return isinstance(last, YieldOp) and last.operands[0] is body.args[0]


RULES = {
    "linalg.generic": copy,
    "tensor.collapse_shape": reshaped_back,
    "tensor.expand_shape": reshaped_back,
}
