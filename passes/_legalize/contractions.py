"""Contractions as loops, in the order and with the roundings of their contract.

`sequential` and `sequential-fma` are one sum over k. `block-exact` is two: the products of a step
are summed in f64, which is exact as long as 53 bits hold the sum; the sums of the steps, scaled and
rounded to f32, are added in ascending order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod

from xdsl.dialects.builtin import f32, f64
from xdsl.ir import SSAValue
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.loops.tensor import BodyFunction, Exprs
from mxc.dialects.mx import ConvOp, MatMulOp, block_of
from mxc.dialects.types import shape_of
from mxc.errors import CannotLower
from mxc.numerics import FORMATS, Element
from mxc.numerics.exact import sum_bits
from mxc.passes._legalize.values import block_index, unpacked, values

STEP = 32
"""The most products that are summed exactly before a rounding."""

F64_BITS = 53

d = AffineExpr.dimension


def _plain(k: Body, a: Scalar, b: Scalar, acc: Scalar) -> Scalar:
    return acc + a * b


def _fused(k: Body, a: Scalar, b: Scalar, acc: Scalar) -> Scalar:
    return k.math("fma", a, b, acc)


def _fold(contract: str) -> BodyFunction:
    """The body that adds a product to a sum of floats.

    Raises:
        CannotLower: for a vendor's contract.
    """
    if contract == "sequential":
        return _plain
    if contract == "sequential-fma":
        return _fused
    raise CannotLower(f"contract {contract!r} has no loops")


@dataclass(frozen=True)
class _Side:
    """A block operand: elements and scales apart, and the block shape."""

    elements: Tensor
    scales: Tensor
    block: tuple[int, ...]

    @classmethod
    def of(cls, loops: Loops, value: SSAValue) -> _Side:
        """The operand `value`."""
        block = block_of(value.type)
        assert block is not None
        return cls(*unpacked(loops, value), block.shape)

    def scale_at(self, index: Exprs) -> tuple[Tensor, Exprs]:
        """The scale of the element at `index`, as an operand of a loop."""
        return self.scales, _within(block_index(index, self.block), self.scales.shape)


def _within(index: Exprs, shape: Sequence[int]) -> Exprs:
    """`index`, 0 along axes of one element, which broadcast or are one block."""
    return [0 if n == 1 else i for i, n in zip(index, shape, strict=True)]


def _step(op: MatMulOp | ConvOp, depth: int) -> int:
    """The products of one exact sum: no block ends within.

    Raises:
        CannotLower: if f64 is too narrow for the sum.
    """
    step, elements = STEP, list[Element]()
    for value, axis in ((op.lhs, op.lhs_axis), (op.rhs, op.rhs_axis)):
        block = block_of(value.type)
        assert block is not None
        element = FORMATS[block.format].element
        assert element is not None
        elements.append(element)
        if block.shape[axis] < shape_of(value)[axis]:
            step = gcd(step, block.shape[axis])
    bits = sum_bits(elements[0], elements[1], step)
    if bits > F64_BITS:
        names = " and ".join(block_of(v.type).format for v in (op.lhs, op.rhs))  # type: ignore
        raise CannotLower(
            f"an exact sum of {step} products of {names} takes {bits} bits, f64 has {F64_BITS}",
            hint="choose another format for the node with --config",
        )
    return min(step, max(depth, 1))


def _grown(loops: Loops, x: Tensor, axis: int, multiple: int) -> Tensor:
    """`x` with zeros behind, so that axis is a multiple."""
    after = [0] * x.rank
    after[axis] = -x.shape[axis] % multiple
    return loops.pad(x, [0] * x.rank, after)


def _product(k: Body, a: Scalar, b: Scalar, acc: Scalar) -> Scalar:
    return acc + k.cast(a, f64) * k.cast(b, f64)


def _rounded(k: Body, total: Scalar, a: Scalar, b: Scalar, acc: Scalar) -> Scalar:
    return acc + k.cast(total * (k.cast(a, f64) * k.cast(b, f64)), f32)


def matmul(loops: Loops, op: MatMulOp) -> Tensor:
    """`mx.matmul` as loops."""
    shape, depth = shape_of(op.output), shape_of(op.lhs)[-1]
    rank = len(shape)
    batch, m, n = [d(i) for i in range(rank - 2)], d(rank - 2), d(rank - 1)

    def places(lhs: Tensor, rhs: Tensor, k: AffineExpr) -> tuple[Exprs, Exprs]:
        fronts = [_within(batch[rank - t.rank :], t.shape[:-2]) for t in (lhs, rhs)]
        return [*fronts[0], m, k], [*fronts[1], k, n]

    if op.contract.data != "block-exact":
        a, b = values(loops, op.lhs), values(loops, op.rhs)
        at = places(a, b, d(rank))
        pairs = [(a, at[0]), (b, at[1])]
        return _folded(loops, op.contract.data, pairs, shape, [depth])
    step = _step(op, depth)
    lhs, rhs = _Side.of(loops, op.lhs), _Side.of(loops, op.rhs)
    a, b = _grown(loops, lhs.elements, -1, step), _grown(loops, rhs.elements, -2, step)
    steps = a.shape[-1] // step
    at = places(a, b, d(rank) * step + d(rank + 1))
    sums = _exact(loops, [(a, at[0]), (b, at[1])], [*shape, steps], [step])
    at = places(a, b, d(rank) * step)
    scales = [lhs.scale_at(at[0]), rhs.scale_at(at[1])]
    return _added(loops, sums, scales, shape, [steps])


def _folded(
    loops: Loops,
    contract: str,
    pairs: Sequence[tuple[Tensor, Exprs]],
    shape: Sequence[int],
    reduce: Sequence[int],
) -> Tensor:
    """The sum of products of floats; zeros where there is nothing to add."""
    init = loops.fill(shape, f32, 0.0)
    if not prod(reduce):
        return init
    body = _fold(contract)
    return loops.generic(body, pairs, shape, f32, reduce=reduce, init=init)


def _exact(
    loops: Loops, pairs: Sequence[tuple[Tensor, Exprs]], shape: Sequence[int], reduce: Sequence[int]
) -> Tensor:
    init = loops.fill(shape, f64, 0.0)
    return loops.generic(_product, pairs, shape, f64, reduce=reduce, init=init)


def _added(
    loops: Loops,
    sums: Tensor,
    scales: Sequence[tuple[Tensor, Exprs]],
    shape: Sequence[int],
    reduce: Sequence[int],
) -> Tensor:
    """The sums of the steps, scaled, rounded and added up."""
    init = loops.fill(shape, f32, 0.0)
    if not prod(reduce):
        return init
    pairs = [(sums, [d(i) for i in range(sums.rank)]), *scales]
    return loops.generic(_rounded, pairs, shape, f32, reduce=reduce, init=init)


def conv(loops: Loops, op: ConvOp) -> Tensor:
    """`mx.conv` as loops."""
    return _Convolution(loops, op).result()


class _Convolution:
    """The loops of one convolution: [image, group, channel of the group, *positions]."""

    def __init__(self, loops: Loops, op: ConvOp) -> None:
        self.loops, self.op = loops, op
        shape, weights = shape_of(op.output), shape_of(op.rhs)
        self.groups = op.groups.value.data
        self.channels, self.kernel = weights[1], weights[2:]
        self.spatial = len(self.kernel)
        per_group = shape[1] // self.groups
        self.shape = [shape[0], self.groups, per_group, *shape[2:]]
        self.strides = op.strides.get_values()
        self.dilations = op.dilations.get_values()
        pads = op.pads.get_values()
        self.before = [0, 0, *pads[: self.spatial]]
        self.after = [0, 0, *pads[self.spatial :]]

    def result(self) -> Tensor:
        """The output, in the shape of the operation."""
        op, loops = self.op, self.loops
        if op.contract.data == "block-exact":
            found = self._blocks()
        else:
            x = loops.pad(values(loops, op.lhs), self.before, self.after)
            w = values(loops, op.rhs)
            first = 3 + self.spatial
            taps = [d(first + i) for i in range(self.spatial)]
            at = self._places(taps, d(first + self.spatial))
            reduce = [*self.kernel, self.channels]
            pairs = [(x, at[0]), (w, at[1])]
            found = _folded(loops, op.contract.data, pairs, self.shape, reduce)
        return loops.reshape(found, shape_of(op.output))

    def _places(self, taps: Sequence[AffineExpr], channel: AffineExpr) -> tuple[Exprs, Exprs]:
        """Where input and weight are read, at a kernel position and channel of the group."""
        at = [d(3 + i) * self.strides[i] + tap * self.dilations[i] for i, tap in enumerate(taps)]
        x = [d(0), d(1) * self.channels + channel, *at]
        w = [d(1) * self.shape[2] + d(2), channel, *taps]
        return x, w

    def _blocks(self) -> Tensor:
        op, loops = self.op, self.loops
        step = _step(op, self.channels)
        if self.groups > 1 and self.channels % step:
            raise CannotLower(f"groups of {self.channels} channels cut steps of {step}")
        x, w = _Side.of(loops, op.lhs), _Side.of(loops, op.rhs)
        if set(x.block[2:]) != {1}:
            raise CannotLower(f"blocks {x.block} of the input lie across positions")
        elements = loops.pad(x.elements, self.before, self.after)
        elements = _grown(loops, elements, 1, step)
        weights = _grown(loops, w.elements, 1, step)
        scales = loops.pad(x.scales, self.before, self.after, 1.0)
        steps = weights.shape[1] // step
        first = 3 + self.spatial
        taps = [d(first + i) for i in range(self.spatial)]
        place = d(first + self.spatial) * step
        at = self._places(taps, place + d(first + self.spatial + 1))
        full = [*self.shape, *self.kernel, steps]
        sums = _exact(loops, [(elements, at[0]), (weights, at[1])], full, [step])
        at = self._places(taps, place)
        padded = _Side(elements, scales, x.block)
        sides = [padded.scale_at(at[0]), w.scale_at(at[1])]
        return _added(loops, sums, sides, self.shape, [*self.kernel, steps])
