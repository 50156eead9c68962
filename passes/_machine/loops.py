"""The loops of a `linalg.generic` on memrefs."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import MemRefType
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap
from xdsl.utils.hints import isa

from mxc.dialects.npu.memory import memref_of


def is_memref(value: SSAValue) -> bool:
    """Whether `value` is memory, not a scalar."""
    return isa(value.type, MemRefType)


def maps_of(op: GenericOp) -> list[AffineMap]:
    """The indexing map of each operand."""
    return [attribute.data for attribute in op.get_indexing_maps()]


def extents(op: GenericOp) -> Sequence[int]:
    """The trip count of each loop."""
    maps = maps_of(op)
    found = [1] * maps[0].num_dims
    for value, map in zip(op.operands, maps, strict=True):
        if is_memref(value):
            for expr, size in zip(map.results, memref_of(value).get_shape(), strict=True):
                if isinstance(expr, AffineDimExpr):
                    found[expr.position] = size
    return found
