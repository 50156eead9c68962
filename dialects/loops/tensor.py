"""Loops over whole tensors: every method appends `linalg`/`tensor` operations and returns a Tensor.

What a loop computes is fixed by its `linalg.generic`: each point of the parallel dimensions on its
own, the reduction points in lexicographic order. Sums are split into lanes here, in the IR, so the
order of every sum is written down once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects import arith, tensor
from xdsl.dialects.builtin import (
    AffineMapAttr,
    ArrayAttr,
    DenseArrayBase,
    IntegerAttr,
    LocationAttr,
    TensorType,
    i1,
    i64,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.attrs import IteratorType, IteratorTypeAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineExpr, AffineMap
from xdsl.rewriter import InsertPoint, Rewriter

from mxc.constants import ConstantTable
from mxc.dialects.loops.scalar import Body, Number, Scalar, compute_type, constant_op, is_float
from mxc.dialects.mx import ConstantOp
from mxc.dialects.types import integer_width, is_unsigned, signless, tensor_type

LANES = 16
"""A sum along a tensor's last axis runs in this many interleaved partial sums."""

PARALLEL = IteratorTypeAttr(IteratorType.PARALLEL)
REDUCTION = IteratorTypeAttr(IteratorType.REDUCTION)

Exprs = Sequence[AffineExpr | int]
S = Scalar
BodyFunction = (
    Callable[[Body], S]
    | Callable[[Body, S], S]
    | Callable[[Body, S, S], S]
    | Callable[[Body, S, S, S], S]
    | Callable[[Body, S, S, S, S], S]
    | Callable[[Body, S, S, S, S, S], S]
    | Callable[..., S]
)
"""What a loop does at one point: a `Body`, one Scalar per operand that is read -> the result."""


@dataclass(frozen=True)
class Tensor:
    """A tensor value of the loops level and the element type the graph level gave it (`ui8`)."""

    value: SSAValue
    element: Attribute

    @property
    def shape(self) -> tuple[int, ...]:
        """The static shape."""
        return self.value.type.get_shape()  # pyright: ignore

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)


def dims(count: int) -> list[AffineExpr]:
    """The loop dimensions d0, d1, ..."""
    return [AffineExpr.dimension(i) for i in range(count)]


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The numpy broadcast of `shapes`."""
    return np.broadcast_shapes(*(tuple(s) for s in shapes))


class Loops:
    """Appends loops-level operations at an insertion point, all with one location."""

    def __init__(
        self, at: InsertPoint, constants: ConstantTable, location: LocationAttr | None = None
    ) -> None:
        self.at = at
        self.constants = constants
        self.location = location

    def insert(self, op: Operation) -> SSAValue:
        """Inserts `op` with this builder's location and gives its first result."""
        if self.location is not None:
            op.location = self.location
        Rewriter.insert_op(op, self.at)
        return op.results[0]

    def _wrap(self, op: Operation, element: Attribute) -> Tensor:
        return Tensor(self.insert(op), element)

    # Making tensors.

    def constant(self, array: NDArray[Any], element: Attribute | None = None) -> Tensor:
        """`array` as a constant of the module's table."""
        kind = tensor_type(array)
        element = kind.element_type if element is None else element
        bare = TensorType(signless(element), array.shape)
        return self._wrap(ConstantOp(self.constants.add(array), bare), element)

    def empty(self, shape: Sequence[int], element: Attribute) -> Tensor:
        """A tensor whose elements are not read before they are written."""
        kind = TensorType(signless(element), shape)
        return self._wrap(tensor.EmptyOp((), kind), element)

    def fill(self, shape: Sequence[int], element: Attribute, value: Number) -> Tensor:
        """A tensor full of `value`."""
        scalar = self.insert(constant_op(value, signless(element)))
        out = self.empty(shape, element)
        return self._wrap(linalg.FillOp([scalar], [out.value], [out.value.type]), element)

    # The general loop.

    def generic(
        self,
        function: BodyFunction,
        inputs: Sequence[tuple[Tensor, Exprs]],
        shape: Sequence[int],
        element: Attribute,
        *,
        reduce: Sequence[int] = (),
        init: Tensor | None = None,
    ) -> Tensor:
        """One `linalg.generic`.

        `shape` is the result's; the loop dimensions are those of `shape` and then `reduce`, the
        sizes of the reduction loops. Each input comes with its index expressions in them. The body
        gets `k` (a `Body`), one Scalar per input and, if there is a reduction or `init` is given,
        the accumulated Scalar; floats narrower than f32 arrive as f32 and are rounded on yield.

        The size of every loop must show in an operand's shape: where no input is indexed by a
        reduction dimension alone, an operand that is never read (a `tensor.empty` of i1) states
        it, as linalg's own pooling operations do.
        """
        folds = bool(reduce) or init is not None
        target = init if init is not None else self.empty(shape, element)
        shapes = self._shape_operands([exprs for _, exprs in inputs], len(shape), reduce)
        operands = [*inputs, *shapes]
        count = len(shape) + len(reduce)
        maps = [AffineMap(count, 0, tuple(_expr(e) for e in exprs)) for _, exprs in operands]
        maps.append(AffineMap.identity(len(shape)) if not reduce else _leading(len(shape), count))
        block = Block(arg_types=[signless(t.element) for t in (*(t for t, _ in operands), target)])
        body = Body(block)
        scalars = [_enter(body, block.args[i], t.element) for i, (t, _) in enumerate(inputs)]
        if folds:
            scalars.append(_enter(body, block.args[-1], element))
        result = cast(Callable[..., Scalar], function)(body, *scalars)
        block.add_op(linalg.YieldOp(body.cast(result, element).value))
        op = linalg.GenericOp(
            [t.value for t, _ in operands],
            [target.value],
            Region(block),
            [AffineMapAttr(m) for m in maps],
            [PARALLEL] * len(shape) + [REDUCTION] * len(reduce),
            [TensorType(signless(element), shape)],
        )
        return self._wrap(op, element)

    def _shape_operands(
        self, exprs: Sequence[Exprs], parallel: int, reduce: Sequence[int]
    ) -> list[tuple[Tensor, Exprs]]:
        plain = {e for row in exprs for e in row}
        loops = [AffineExpr.dimension(parallel + i) for i in range(len(reduce))]
        if all(loop in plain for loop in loops):
            return []
        return [(self.empty(reduce, i1), loops)]

    def map(
        self,
        function: BodyFunction,
        *inputs: Tensor,
        element: Attribute | None = None,
        shape: Sequence[int] | None = None,
    ) -> Tensor:
        """`function` on every element; inputs broadcast as in numpy (and to `shape`)."""
        full = broadcast_shapes(*(t.shape for t in inputs), *([shape] if shape is not None else []))
        pairs = [(t, self.broadcast_exprs(t.shape, len(full))) for t in inputs]
        element = inputs[0].element if element is None else element
        return self.generic(function, pairs, full, element)

    @staticmethod
    def broadcast_exprs(shape: Sequence[int], rank: int) -> list[AffineExpr | int]:
        """Index expressions that read a tensor of `shape`, broadcast, in a loop of `rank`."""
        offset = rank - len(shape)
        return [0 if n == 1 else AffineExpr.dimension(offset + i) for i, n in enumerate(shape)]

    def cast(self, x: Tensor, element: Attribute) -> Tensor:
        """Every element as `element`, by the rules of `Body.cast`."""
        if x.element == element:
            return x
        if signless(x.element) == signless(element):
            return Tensor(x.value, element)
        return self.map(lambda k, v: k.cast(v, element), x, element=element)

    # Moving elements.

    def gather_view(self, x: Tensor, exprs: Exprs, shape: Sequence[int]) -> Tensor:
        """result[d0, d1, ...] = x[exprs], for affine expressions of the result's dimensions."""
        exprs = [_expr(e) for e in exprs]
        used = [
            shape[e.position] if isinstance(e, AffineDimExpr) else size
            for e, size in zip(exprs, x.shape, strict=True)
        ]
        x = self.slice(x, [0] * x.rank, used)  # a loop over a dimension reaches its end
        if is_float(x.element) and compute_type(x.element) != x.element:
            return self._move_bits(x, exprs, shape)
        return self.generic(lambda k, v: v, [(x, exprs)], shape, x.element)

    def _move_bits(self, x: Tensor, exprs: Exprs, shape: Sequence[int]) -> Tensor:
        return self._raw(x, exprs, shape, x.element)

    def bit_cast(self, x: Tensor, element: Attribute) -> Tensor:
        """The bits of every element as an `element` of the same width."""
        return self._raw(x, dims(x.rank), x.shape, element)

    def _raw(self, x: Tensor, exprs: Exprs, shape: Sequence[int], element: Attribute) -> Tensor:
        """Elements moved without a conversion to the type they are computed in."""
        source, kind = signless(x.element), signless(element)
        target = self.empty(shape, element)
        maps = [AffineMap(len(shape), 0, tuple(_expr(e) for e in exprs))]
        maps.append(AffineMap.identity(len(shape)))
        block = Block(arg_types=[source, kind])
        value: SSAValue = block.args[0]
        if source != kind:
            cast = arith.BitcastOp(value, kind)
            block.add_op(cast)
            value = cast.result
        block.add_op(linalg.YieldOp(value))
        op = linalg.GenericOp(
            [x.value],
            [target.value],
            Region(block),
            [AffineMapAttr(m) for m in maps],
            [PARALLEL] * len(shape),
            [target.value.type],
        )
        return self._wrap(op, element)

    def transpose(self, x: Tensor, permutation: Sequence[int]) -> Tensor:
        """result[i_perm[0], ...] = x[i_0, ...]."""
        if list(permutation) == sorted(permutation):
            return x
        exprs: list[AffineExpr] = [AffineExpr.dimension(0)] * x.rank
        for new, old in enumerate(permutation):
            exprs[old] = AffineExpr.dimension(new)
        return self.gather_view(x, exprs, [x.shape[p] for p in permutation])

    def broadcast(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """`x` repeated to `shape`, as in numpy."""
        if x.shape == tuple(shape):
            return x
        return self.gather_view(x, self.broadcast_exprs(x.shape, len(shape)), shape)

    def slice(
        self,
        x: Tensor,
        starts: Sequence[int],
        sizes: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> Tensor:
        """result[i, ...] = x[starts[0] + steps[0] * i, ...]; steps may be negative."""
        steps = [1] * x.rank if steps is None else steps
        if tuple(sizes) == x.shape and set(steps) <= {1}:
            return x
        if 0 in sizes:
            return self.empty(sizes, x.element)
        if all(step > 0 for step in steps):
            op = tensor.ExtractSliceOp.from_static_parameters(x.value, starts, sizes, steps)
            return self._wrap(op, x.element)
        exprs = [d * t + s for d, s, t in zip(dims(x.rank), starts, steps, strict=True)]
        return self.gather_view(x, exprs, sizes)

    def insert_slice(
        self,
        source: Tensor,
        into: Tensor,
        offsets: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> Tensor:
        """`into` with the elements from `offsets` on (every `steps`) replaced by `source`."""
        op = tensor.InsertSliceOp.from_static_parameters(
            source.value, into.value, offsets, source.shape, steps
        )
        return self._wrap(op, into.element)

    def pad(
        self, x: Tensor, before: Sequence[int], after: Sequence[int], value: Number = 0
    ) -> Tensor:
        """`x` with `value` around it; amounts are not negative."""
        if not any(before) and not any(after):
            return x
        shape = [b + n + a for b, n, a in zip(before, x.shape, after, strict=True)]
        return self.insert_slice(x, self.fill(shape, x.element, value), before)

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """`parts` side by side along `axis`."""
        parts = [p for p in parts if p.size] or list(parts[:1])
        if len(parts) == 1:
            return parts[0]
        shape = list(parts[0].shape)
        shape[axis] = sum(p.shape[axis] for p in parts)
        result, at = self.empty(shape, parts[0].element), 0
        for part in parts:
            offsets = [0] * len(shape)
            offsets[axis] = at
            result = self.insert_slice(part, result, offsets)
            at += part.shape[axis]
        return result

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """The same elements in row-major order under another shape; no data moves."""
        if x.shape == tuple(shape):
            return x
        assert prod(shape) == x.size, (x.shape, shape)
        if not x.rank:  # xDSL's expand_shape has no form for rank 0
            return self.gather_view(x, [], shape)
        flat = x if x.rank == 1 else self._view(tensor.CollapseShapeOp, x, (x.size,))
        if len(shape) == 1:
            return flat
        if not shape:
            return self._view(tensor.CollapseShapeOp, flat, ())
        return self._expand(flat, shape)

    def _view(self, op: Any, x: Tensor, shape: Sequence[int]) -> Tensor:
        groups = [list(range(x.rank))] if shape else []
        built = op.build(
            operands=[x.value],
            properties={"reassociation": _groups(groups)},
            result_types=[TensorType(signless(x.element), shape)],
        )
        return self._wrap(built, x.element)

    def _expand(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        groups = [list(range(len(shape)))]
        op = tensor.ExpandShapeOp(
            x.value,
            [],
            _groups(groups),
            DenseArrayBase.from_list(i64, list(shape)),
            TensorType(signless(x.element), shape),
        )
        return self._wrap(op, x.element)

    # Reductions.

    def reduce(
        self,
        function: Callable[[Body, Scalar, Scalar], Scalar],
        x: Tensor,
        axes: Sequence[int],
        init: Number,
        *,
        element: Attribute | None = None,
        prepare: Callable[[Body, Scalar], Scalar] | None = None,
    ) -> Tensor:
        """Folds `function(k, accumulated, value)` over `axes`, from `init`, in the type `element`.

        `prepare(k, value)` is applied to each value first. Where the last axis is folded the
        values go to `LANES` interleaved accumulators, which are then folded in order, so
        `function` has to be associative up to rounding.
        """
        element = compute_type(x.element) if element is None else element
        axes = sorted(a % x.rank for a in axes) if x.rank else []
        kept = [x.shape[a] for a in range(x.rank) if a not in axes]

        def step(k: Body, value: Scalar, acc: Scalar) -> Scalar:
            value = prepare(k, value) if prepare else k.cast(value, element)
            return function(k, acc, value)

        x, axes = self._merge(x, axes)
        result = self._fold(step, function, x, axes, init, element)
        return self.reshape(result, kept)

    def _merge(self, x: Tensor, axes: Sequence[int]) -> tuple[Tensor, list[int]]:
        """`x` with touching folded axes merged, and touching kept axes too."""
        shape: list[int] = []
        folded: list[bool] = []
        for axis, size in enumerate(x.shape):
            fold = axis in axes
            if folded and folded[-1] == fold:
                shape[-1] *= size
            else:
                shape.append(size)
                folded.append(fold)
        return self.reshape(x, shape), [i for i, fold in enumerate(folded) if fold]

    def _fold(
        self,
        step: Callable[[Body, Scalar, Scalar], Scalar],
        function: Callable[[Body, Scalar, Scalar], Scalar],
        x: Tensor,
        axes: list[int],
        init: Number,
        element: Attribute,
    ) -> Tensor:
        kept = [a for a in range(x.rank) if a not in axes]
        shape = [x.shape[a] for a in kept]
        last = x.rank - 1
        length = x.shape[last] if axes and axes[-1] == last else 0
        if length < 2 * LANES:
            return self._fold_plain(step, x, axes, kept, self.fill(shape, element, init))
        whole = length // LANES
        order: dict[int, AffineExpr] = {a: AffineExpr.dimension(i) for i, a in enumerate(kept)}
        lane, rank = AffineExpr.dimension(len(kept)), len(kept) + 1
        for i, axis in enumerate(axes):
            order[axis] = AffineExpr.dimension(rank + i)
        exprs: list[AffineExpr | int] = [order[a] for a in range(x.rank)]
        exprs[last] = order[last] * LANES + lane
        sizes = [x.shape[a] for a in axes[:-1]] + [whole]
        start = self.fill([*shape, LANES], element, init)
        lanes = self.generic(step, [(x, exprs)], [*shape, LANES], element, reduce=sizes, init=start)
        total = self._fold_plain(
            lambda k, v, acc: function(k, acc, v),
            lanes,
            [len(kept)],
            list(range(len(kept))),
            self.fill(shape, element, init),
        )
        if length % LANES == 0:
            return total
        return self._fold_plain(step, x, axes, kept, total, whole * LANES)

    def _fold_plain(
        self,
        step: Callable[[Body, Scalar, Scalar], Scalar],
        x: Tensor,
        axes: list[int],
        kept: list[int],
        init: Tensor,
        start: int = 0,
    ) -> Tensor:
        """Folds over `axes` in order; along the last one from `start`."""
        order = {a: i for i, a in enumerate([*kept, *axes])}
        exprs: list[AffineExpr | int] = [AffineExpr.dimension(order[a]) for a in range(x.rank)]
        sizes = [x.shape[a] for a in axes]
        if start:
            exprs[axes[-1]] = AffineExpr.dimension(order[axes[-1]]) + start
            sizes[-1] -= start
        return self.generic(step, [(x, exprs)], init.shape, init.element, reduce=sizes, init=init)

    def sum(self, x: Tensor, axes: Sequence[int], element: Attribute | None = None) -> Tensor:
        """The sum over `axes`, in lanes where the last axis is folded."""
        return self.reduce(lambda k, acc, v: acc + v, x, axes, 0, element=element)

    def max(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """The maximum over `axes`; NaN if one is NaN."""
        return self.reduce(lambda k, acc, v: k.maximum(acc, v), x, axes, lowest(x.element))

    def min(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """The minimum over `axes`; NaN if one is NaN."""
        return self.reduce(lambda k, acc, v: k.minimum(acc, v), x, axes, highest(x.element))


def lowest(element: Attribute) -> Number:
    """The identity of maximum in `element`: -inf, or the smallest integer."""
    if is_float(element):
        return float("-inf")
    width = integer_width(element)
    return 0 if is_unsigned(element) or width == 1 else -(2 ** (width - 1))


def highest(element: Attribute) -> Number:
    """The identity of minimum in `element`: inf, or the largest integer."""
    if is_float(element):
        return float("inf")
    width = integer_width(element)
    return 2**width - 1 if is_unsigned(element) or width == 1 else 2 ** (width - 1) - 1


def _leading(count: int, total: int) -> AffineMap:
    return AffineMap(total, 0, tuple(dims(count)))


def _groups(groups: Sequence[Sequence[int]]) -> ArrayAttr[Any]:
    return ArrayAttr(ArrayAttr(IntegerAttr(i, i64) for i in g) for g in groups)


def _expr(value: AffineExpr | int) -> AffineExpr:
    return AffineExpr.constant(value) if isinstance(value, int) else value


def _enter(body: Body, arg: SSAValue, element: Attribute) -> Scalar:
    scalar = Scalar(body, arg, is_unsigned(element))
    return body.cast(scalar, compute_type(element)) if is_float(element) else scalar
