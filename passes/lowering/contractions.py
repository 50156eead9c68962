"""Contractions that are not the matrix unit's: of integers and f64, with exact or plain sums.

`mx-quantize` makes `mx.matmul` and `mx.conv` of the others; what it leaves of 32 bits and less
becomes an `mx.matmul` here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from xdsl.dialects.builtin import f32, i32
from xdsl.ir import Attribute
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.scalar import compute_type, is_float
from mxc.dialects.loops.tensor import broadcast_shapes
from mxc.dialects.mx import MatMulOp
from mxc.passes.lowering.quantisation import saturate_float, saturate_integer
from mxc.passes.lowering.registry import Node, lowers
from mxc.passes.lowering.windows import windows_of

Product = Callable[[Body, Scalar, Scalar], Scalar]


def matmul(loops: Loops, a: Tensor, b: Tensor, element: Attribute) -> Tensor:
    """`a` [..., M, K] times `b` [..., K, N], as numpy, summed in `element` in ascending k."""
    if element == f32:
        product = loops.insert(MatMulOp(a.value, b.value))
        return Tensor(product, f32)
    batch = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rank, shape = len(batch), (*batch, a.shape[-2], b.shape[-1])
    row, column, depth = (AffineExpr.dimension(rank + i) for i in range(3))
    lhs = [*loops.broadcast_exprs(a.shape[:-2], rank), row, depth]
    rhs = [*loops.broadcast_exprs(b.shape[:-2], rank), depth, column]
    return loops.generic(
        lambda k, x, y, acc: acc + k.cast(x, element) * k.cast(y, element),
        [(a, lhs), (b, rhs)],
        shape,
        element,
        reduce=[a.shape[-1]],
        init=loops.fill(shape, element, 0),
    )


def _with_vectors(loops: Loops, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The operands of a MatMul, vectors as a row and a column."""
    if a.rank == 1:
        a = loops.reshape(a, (1, *a.shape))
    if b.rank == 1:
        b = loops.reshape(b, (*b.shape, 1))
    return a, b


@lowers("MatMul")
def matmul_rule(loops: Loops, node: Node) -> Tensor:
    """The product, as numpy.matmul."""
    a, b = _with_vectors(loops, node.tensor(0), node.tensor(1))
    product = matmul(loops, a, b, compute_type(a.element))
    return loops.reshape(loops.cast(product, node.element()), node.shape())


@lowers("Gemm")
def gemm(loops: Loops, node: Node) -> Tensor:
    """The sum alpha * A * B + beta * C, with A and B transposed as asked."""
    a, b = node.tensor(0), node.tensor(1)
    element = compute_type(a.element)
    a = loops.transpose(a, [1, 0]) if node.attr("transA") else a
    b = loops.transpose(b, [1, 0]) if node.attr("transB") else b
    factors = [_factor(node, name, element) for name in ("alpha", "beta")]
    given = [node.tensor(2)] if node.has(2) else []

    def finish(k: Body, v: Scalar, *c: Scalar) -> Scalar:
        v = v * factors[0] if factors[0] != 1 else v
        if not c:
            return v
        return v + (c[0] * factors[1] if factors[1] != 1 else c[0])

    product = matmul(loops, a, b, element)
    return loops.map(finish, product, *given, element=node.element())


def _factor(node: Node, name: str, element: Attribute) -> float | int:
    value = float(node.attr(name))
    if is_float(element):
        return value
    if not value.is_integer():
        raise node.error(f"{name}={value} does not multiply integers exactly")
    return int(value)


def _along(loops: Loops, parameter: Tensor, axis: int) -> Tensor:
    """A scale or zero point per row (axis -2) or column (axis -1), ready to broadcast."""
    if parameter.size == 1:
        return loops.reshape(parameter, ())
    if parameter.rank == 1 and axis == -2:
        return loops.reshape(parameter, (*parameter.shape, 1))
    return parameter


def _centred(loops: Loops, node: Node, x: int, zero: int, axis: int) -> Tensor:
    """Input `x` minus its zero point, exactly: in i32, or f32 for floats."""
    value = node.tensor(x)
    wide = f32 if is_float(value.element) else i32
    if not node.has(zero):
        return loops.cast(value, wide)
    offset = _along(loops, node.tensor(zero), axis)
    return loops.map(lambda k, v, z: k.cast(v, wide) - k.cast(z, wide), value, offset, element=wide)


@lowers("MatMulInteger")
def matmul_integer(loops: Loops, node: Node) -> Tensor:
    """(A - a_zero) * (B - b_zero) in i32."""
    a, b = _centred(loops, node, 0, 2, -2), _centred(loops, node, 1, 3, -1)
    a, b = _with_vectors(loops, a, b)
    return loops.reshape(loops.cast(matmul(loops, a, b, i32), node.element()), node.shape())


@lowers("QLinearMatMul")
def qlinear_matmul(loops: Loops, node: Node) -> Tensor:
    """The product of quantised matrices, quantised again."""
    a, b = _centred(loops, node, 0, 2, -2), _centred(loops, node, 3, 5, -1)
    a_scale, b_scale = _along(loops, node.tensor(1), -2), _along(loops, node.tensor(4), -1)
    a, b = _with_vectors(loops, a, b)
    product = matmul(loops, a, b, a.element)
    scale, zero = _along(loops, node.tensor(6), -2), _along(loops, node.tensor(7), -2)
    factor = _rescale(loops, a_scale, b_scale, scale)
    y = _requantised(loops, node, product, factor, zero)
    return loops.reshape(y, node.shape())


def _rescale(loops: Loops, a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """The factor a * b / y in f32: what an exact sum of products is multiplied by."""
    return loops.map(lambda k, s, t, u: s * t / u, a, b, y, element=f32)


def _requantised(loops: Loops, node: Node, total: Tensor, factor: Tensor, zero: Tensor) -> Tensor:
    element = node.element()

    def body(k: Body, v: Scalar, f: Scalar, z: Scalar) -> Scalar:
        scaled = k.cast(v, f32) * f
        if is_float(element):
            return saturate_float(k, scaled + z, element)
        return saturate_integer(k, scaled, z, element)

    return loops.map(body, total, factor, zero, element=element)


def conv(loops: Loops, node: Node, x: Tensor, w: Tensor, element: Attribute) -> Tensor:
    """The convolution of `x` [N, C, *] with `w` [O, C / groups, *], summed in `element`.

    The order of the sum: channels, then kernel positions, each ascending.
    """
    windows = windows_of(node, x.shape[2:], w.shape[2:])
    groups = int(node.attr("group"))
    if groups < 1 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise node.error(
            f"{x.shape[1]} channels and weights {list(w.shape)} are not {groups} groups"
        )
    padded = windows.pad(loops, x, 0)
    batch, outputs, rank = x.shape[0], w.shape[0] // groups, windows.rank
    padded = loops.reshape(padded, (batch, groups, w.shape[1], *padded.shape[2:]))
    weights = loops.reshape(w, (groups, outputs, *w.shape[1:]))
    shape = (batch, groups, outputs, *windows.output)
    d, lead = AffineExpr.dimension, 3
    channel, first = d(lead + rank), lead + rank + 1
    spatial = [
        d(lead + i) * windows.strides[i] + d(first + i) * windows.dilations[i] for i in range(rank)
    ]
    total = loops.generic(
        lambda k, a, b, acc: acc + k.cast(a, element) * k.cast(b, element),
        [
            (padded, [d(0), d(1), channel, *spatial]),
            (weights, [d(1), d(2), channel, *(d(first + i) for i in range(rank))]),
        ],
        shape,
        element,
        reduce=[w.shape[1], *windows.kernel],
        init=loops.fill(shape, element, 0),
    )
    return loops.reshape(total, (batch, w.shape[0], *windows.output))


def _channels(loops: Loops, vector: Tensor, rank: int) -> Tensor:
    """A value per output channel, ready to broadcast over [N, C, *]; scalars stay scalars."""
    if vector.size == 1:
        return loops.reshape(vector, ())
    return loops.reshape(vector, (prod(vector.shape), *[1] * (rank - 2)))


@lowers("Conv")
def conv_rule(loops: Loops, node: Node) -> Tensor:
    """The convolution plus the bias, of any type."""
    x, w = node.tensor(0), node.tensor(1)
    total = conv(loops, node, x, w, compute_type(x.element))
    if not node.has(2):
        return loops.cast(total, node.element())
    bias = _channels(loops, node.tensor(2), x.rank)
    return loops.map(lambda k, v, b: v + b, total, bias, element=node.element())


def _kernel_zero(loops: Loops, node: Node, w: int, zero: int) -> Tensor:
    """The weights minus their zero point, which is one or one per output channel."""
    weights = node.tensor(w)
    if not node.has(zero):
        return loops.cast(weights, i32)
    offset = node.tensor(zero)
    shape: Sequence[int] = () if offset.size == 1 else (offset.size, *[1] * (weights.rank - 1))
    return loops.map(
        lambda k, v, z: k.cast(v, i32) - k.cast(z, i32),
        weights,
        loops.reshape(offset, shape),
        element=i32,
    )


@lowers("ConvInteger")
def conv_integer(loops: Loops, node: Node) -> Tensor:
    """The convolution of integers less their zero points; the padding counts as zero."""
    x, w = _centred(loops, node, 0, 2, -1), _kernel_zero(loops, node, 1, 3)
    return loops.cast(conv(loops, node, x, w, i32), node.element())


@lowers("QLinearConv")
def qlinear_conv(loops: Loops, node: Node) -> Tensor:
    """The convolution of quantised tensors plus an i32 bias, quantised again."""
    x, w = _centred(loops, node, 0, 2, -1), _kernel_zero(loops, node, 3, 5)
    total = conv(loops, node, x, w, i32)
    if node.has(8):
        bias = _channels(loops, node.tensor(8), x.rank)
        total = loops.map(lambda k, v, b: v + b, total, bias)
    w_scale = _channels(loops, node.tensor(4), x.rank)
    x_scale, y_scale = (loops.reshape(node.tensor(i), ()) for i in (1, 6))
    factor = _rescale(loops, x_scale, w_scale, y_scale)
    return _requantised(loops, node, total, factor, loops.reshape(node.tensor(7), ()))
