"""`fold-constants`: ONNX operations on constants become constants.

    %w = mx.constant @c_5f0c : tensor<64x32xf32>
    %t = onnx.Transpose(%w) : (tensor<64x32xf32>) -> tensor<32x64xf32>

becomes

    %t = mx.constant @c_91ab : tensor<32x64xf32>

The value is what the interpreter computes at the graph level, so nothing changes but the time. A
result is folded if it has at most `max-bytes` or is no larger than the constants it is made of:
weights are transposed here, once; a constant that is only broadcast is not blown up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.utils.hints import isa

from mxc.constants import ConstantTable
from mxc.dialects.mx import ConstantOp
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.onnx.reference import evaluate
from mxc.dialects.types import numpy_dtype
from mxc.errors import CannotLower
from mxc.passes._effects import erase_dead, is_pure


@dataclass(frozen=True)
class FoldConstantsPass(ModulePass):
    """Computes ONNX operations whose operands are all constants."""

    name = "fold-constants"

    max_bytes: int = 1 << 20
    """Results up to this size are folded, however small their operands."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        table = ConstantTable.of(ctx)
        for inner in list(op.walk()):
            if isinstance(inner, OnnxOp) and not inner.regions and is_pure(inner):
                self._fold(inner, table)
        erase_dead(op)

    def _fold(self, op: OnnxOp, table: ConstantTable) -> None:
        args = [None if value is None else _array(value, table) for value in op.inputs]
        if any(a is None and v is not None for a, v in zip(args, op.inputs, strict=True)):
            return
        given = sum(arg.nbytes for arg in args if arg is not None)
        if _size(op) > max(self.max_bytes, given):
            return
        try:
            values = evaluate(op, args)
        except CannotLower:  # what the evaluator cannot compute is computed at run time
            return
        _replace(op, values, table)


def _array(value: SSAValue, table: ConstantTable) -> NDArray[Any] | None:
    """The array of a constant of ordinary elements, else None."""
    if not isinstance(value.owner, ConstantOp) or value.owner.key not in table:
        return None
    array = table[value.owner.key]
    return cast("NDArray[Any]", array) if isinstance(array, np.ndarray) else None


def _size(op: Operation) -> int:
    total = 0
    for result in op.results:
        assert isa(result.type, TensorType)
        count = int(np.prod(result.type.get_shape(), dtype=np.int64))
        total += count * numpy_dtype(result.type.element_type).itemsize
    return total


def _replace(op: Operation, values: Sequence[NDArray[Any]], table: ConstantTable) -> None:
    block = op.parent
    assert block is not None
    for result, value in zip(op.results, values, strict=True):
        assert isa(result.type, TensorType)
        constant = ConstantOp(table.add(np.asarray(value, order="C")), result.type)
        constant.location = op.location
        block.insert_op_before(constant, op)
        result.replace_all_uses_with(constant.results[0])
    block.erase_op(op)
