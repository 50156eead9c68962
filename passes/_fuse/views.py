"""Reading through `tensor.collapse_shape` and `tensor.expand_shape`."""

from __future__ import annotations

from xdsl.dialects.tensor import CollapseShapeOp, ExpandShapeOp
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineConstantExpr, AffineExpr, AffineMap

from mxc.passes._fuse.nest import Input, shape_of


def chain(value: SSAValue) -> list[SSAValue]:
    """`value` and the tensors it is a reshaped view of, the last one not a view."""
    found = [value]
    while isinstance(found[-1].owner, CollapseShapeOp | ExpandShapeOp):
        found.append(found[-1].owner.operands[0])
    return found


def seen_through(value: SSAValue, map: AffineMap) -> Input | None:
    """The tensor behind the views and the map that reads the same elements of it.

    None if that needs division: every dimension of the tensor must be a dimension of `value` or
    several adjacent ones taken together.
    """
    source = chain(value)[-1]
    if source is value:
        return value, map
    exprs = _split(shape_of(source), shape_of(value), list(map.results))
    return None if exprs is None else (source, AffineMap(map.num_dims, 0, tuple(exprs)))


def _split(
    coarse: tuple[int, ...], fine: tuple[int, ...], indices: list[AffineExpr]
) -> list[AffineExpr] | None:
    """Indices into the shape `coarse` of the elements at `indices` in the shape `fine`."""
    rest = [(size, index) for size, index in zip(fine, indices, strict=True) if size != 1]
    exprs: list[AffineExpr] = []
    for size in coarse:
        expr: AffineExpr = AffineConstantExpr(0)
        covered = 1
        while covered < size and rest:
            part, index = rest.pop(0)
            expr = expr * part + index
            covered *= part
        if covered != size:
            return None
        exprs.append(expr)
    return None if rest else exprs
