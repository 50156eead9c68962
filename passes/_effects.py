"""Which operations may be removed or shared, and the removal of dead ones."""

from __future__ import annotations

from xdsl.dialects.builtin import MemRefType, ModuleOp
from xdsl.dialects.scf import ForOp, IfOp
from xdsl.ir import Block, Operation, Region
from xdsl.traits import IsTerminator, is_side_effect_free

_RANDOM = frozenset(
    {
        "onnx.Bernoulli",
        "onnx.Multinomial",
        "onnx.RandomNormal",
        "onnx.RandomNormalLike",
        "onnx.RandomUniform",
        "onnx.RandomUniformLike",
    }
)
"""Two of these with the same operands are not the same value."""


def is_pure(op: Operation) -> bool:
    """Whether `op` does nothing but compute its results from its operands and captured values."""
    if op.has_trait(IsTerminator) or not op.results:
        return False
    if op.name.startswith("onnx."):
        return op.name not in _RANDOM
    if op.name.startswith(("linalg.", "tensor.")) or isinstance(op, ForOp | IfOp):
        return _on_values(op) and all(_body_is_pure(block) for block in _blocks(op))
    if op.name.startswith(("mx.", "arith.", "math.")):
        return True
    return is_side_effect_free(op)


def _blocks(op: Operation) -> list[Block]:
    return [block for region in op.regions for block in region.blocks]


def _on_values(op: Operation) -> bool:
    return not any(isinstance(value.type, MemRefType) for value in (*op.operands, *op.results))


def _body_is_pure(block: Block) -> bool:
    return all(is_pure(op) or op.has_trait(IsTerminator) for op in block.ops)


def erase_dead(module: ModuleOp) -> None:
    """Erases every pure operation whose results are not used, in one backward sweep."""
    _sweep(module.body)


def _sweep(region: Region) -> None:
    for block in region.blocks:
        op = block.last_op
        while op is not None:
            previous = op.prev_op
            if is_pure(op) and not any(result.uses for result in op.results):
                block.erase_op(op)
            else:
                for inner in op.regions:
                    _sweep(inner)
            op = previous
