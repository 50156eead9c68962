"""Operators whose result follows from positions: ranges, diagonals, triangles, one-hot rows."""

from __future__ import annotations

from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.passes.lowering.registry import Node, lowers


@lowers("ConstantOfShape")
def constant_of_shape(loops: Loops, node: Node) -> Tensor:
    """A tensor full of `value`, 0.0 by default."""
    value = node.attr("value")
    number = 0 if value is None else value.reshape(-1)[0].item()
    return loops.fill(node.shape(), node.element(), number)


@lowers("Range")
def range_(loops: Loops, node: Node) -> Tensor:
    """The numbers start + i * delta; the number of elements is known from the output's shape."""
    element = node.element()

    def body(k: Body, start: Scalar, delta: Scalar) -> Scalar:
        position = k.cast(k.index(0), element)
        return start + k.cast(position, delta.type) * delta

    pairs: list[tuple[Tensor, list[AffineExpr]]] = [(node.tensor(0), []), (node.tensor(2), [])]
    return loops.generic(body, pairs, node.shape(), element)


@lowers("EyeLike")
def eye_like(loops: Loops, node: Node) -> Tensor:
    """Ones on the diagonal that lies `k` above the main one."""
    above = int(node.attr("k"))
    element = node.element()

    def body(k: Body) -> Scalar:
        return k.cast((k.index(0) + above).eq(k.index(1)), element)

    return loops.generic(body, [], node.shape(), element)


@lowers("Trilu")
def trilu(loops: Loops, node: Node) -> Tensor:
    """The upper or lower triangle, zeros elsewhere; `k` may be computed at run time."""
    x = node.tensor(0)
    upper = bool(node.attr("upper"))
    shift = loops.reshape(node.tensor(1), ()) if node.has(1) else None
    inputs: list[tuple[Tensor, list[AffineExpr]]] = [
        (x, [AffineExpr.dimension(i) for i in range(x.rank)])
    ]
    if shift is not None:
        inputs.append((shift, []))

    def body(k: Body, value: Scalar, *amount: Scalar) -> Scalar:
        row, column = k.index(x.rank - 2), k.index(x.rank - 1)
        diagonal = row + k.cast(amount[0], row.type) if amount else row
        keep = column >= diagonal if upper else column <= diagonal
        return k.where(keep, value, 0)

    return loops.generic(body, inputs, x.shape, x.element)


@lowers("OneHot")
def one_hot(loops: Loops, node: Node) -> Tensor:
    """values[1] where the axis' position is the index, else values[0]; no row for other indices."""
    indices, values = node.tensor(0), node.tensor(2)
    shape = node.shape()
    axis = node.axis(len(shape))
    depth = shape[axis]
    rest = [AffineExpr.dimension(i) for i in range(len(shape)) if i != axis]

    def body(k: Body, index: Scalar, off: Scalar, on: Scalar) -> Scalar:
        index = k.where(index < 0, index + depth, index) if not index.unsigned else index
        position = k.cast(k.index(axis), index.type)
        return k.where(index.eq(position), on, off)

    pairs = [(indices, rest), (values, [0]), (values, [1])]
    return loops.generic(body, pairs, shape, values.element)
