"""How the reference runs `linalg.generic`: vectorised over parallel, sequential over reductions.

An operand becomes a strided view of the whole iteration space (axes of size 1 where it does not
vary), so the loop body runs once on whole arrays. With reductions, the part of the body that does
not depend on the accumulator runs on a chunk of reduction points at once, and only the rest runs
point by point, in lexicographic order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from xdsl.dialects import tensor
from xdsl.dialects.linalg import ops as linalg
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
    AffineMap,
)

from mxc.backends.ref.interpreter import Machine, Values, runs
from mxc.dialects.types import shape_of

Array = NDArray[Any]

CHUNK_ELEMENTS = 1 << 18
"""Reduction points are taken so many at a time that a chunk has about this many elements."""


@dataclass(frozen=True)
class Nest:
    """The loops of a `linalg.generic`: sizes, and which of them are parallel."""

    sizes: tuple[int, ...]
    parallel: tuple[int, ...]
    reduction: tuple[int, ...]

    @classmethod
    def of(cls, op: linalg.GenericOp) -> Nest:
        """The nest of `op`; a loop's size is that of an operand axis indexed by it alone."""
        kinds = [k.data for k in op.iterator_types]
        sizes = loop_sizes(op)
        parallel = tuple(i for i, k in enumerate(kinds) if k == IteratorType.PARALLEL)
        reduction = tuple(i for i, k in enumerate(kinds) if k != IteratorType.PARALLEL)
        return cls(sizes, parallel, reduction)


def loop_sizes(op: linalg.GenericOp) -> tuple[int, ...]:
    """The trip count of every loop of `op`."""
    sizes: dict[int, int] = {}
    for operand, attr in zip(op.operands, op.indexing_maps, strict=True):
        shape = shape_of(operand)
        for expr, size in zip(attr.data.results, shape, strict=True):
            if isinstance(expr, AffineDimExpr):
                sizes.setdefault(expr.position, size)
    return tuple(sizes[i] for i in range(len(op.iterator_types)))


def linear(expr: AffineExpr) -> tuple[dict[int, int], int] | None:
    """`expr` as ({dimension: factor}, constant), or None if it divides."""
    match expr:
        case AffineConstantExpr():
            return {}, expr.value
        case AffineDimExpr():
            return {expr.position: 1}, 0
        case AffineBinaryOpExpr():
            left, right = linear(expr.lhs), linear(expr.rhs)
            if left is None or right is None:
                return None
            if expr.kind == AffineBinaryOpKind.Add:
                factors = dict(left[0])
                for dim, factor in right[0].items():
                    factors[dim] = factors.get(dim, 0) + factor
                return factors, left[1] + right[1]
            if expr.kind == AffineBinaryOpKind.Mul and not right[0]:
                return {d: f * right[1] for d, f in left[0].items()}, left[1] * right[1]
            if expr.kind == AffineBinaryOpKind.Mul and not left[0]:
                return {d: f * left[1] for d, f in right[0].items()}, right[1] * left[1]
            return None
        case _:
            return None


def spread(array: Array, map: AffineMap, sizes: Sequence[int]) -> Array:
    """`array` indexed by `map`, over the whole iteration space: a view, or a copy if it divides."""
    if map.results == tuple(AffineExpr.dimension(i) for i in range(len(sizes))):
        return array
    forms = [linear(expr) for expr in map.results]
    if any(form is None for form in forms):
        return array[tuple(_indices(expr, sizes) for expr in map.results)]
    strides, offset = [0] * len(sizes), 0
    used: set[int] = set()
    for form, stride in zip(forms, array.strides, strict=True):
        assert form is not None
        for dim, factor in form[0].items():
            strides[dim] += factor * stride
            used.add(dim)
        offset += form[1] * stride
    shape = [size if i in used else 1 for i, size in enumerate(sizes)]
    if prod(sizes) == 0:
        return np.empty([n if i in used else 1 for i, n in enumerate(sizes)], array.dtype)
    base = array
    if offset:
        base = array[tuple(slice(f[1], f[1] + 1) for f in forms if f is not None)]
    raw = base.view(f"u{base.itemsize}")  # numpy strides only its own dtypes
    return as_strided(raw, shape, strides, writeable=False).view(base.dtype)


def _indices(expr: AffineExpr, sizes: Sequence[int]) -> Array:
    """The values of `expr` over the iteration space, broadcastable to it."""
    match expr:
        case AffineConstantExpr():
            return np.asarray(expr.value)
        case AffineDimExpr():
            shape = [1] * len(sizes)
            shape[expr.position] = -1
            return np.arange(sizes[expr.position]).reshape(shape)
        case AffineBinaryOpExpr():
            left, right = _indices(expr.lhs, sizes), _indices(expr.rhs, sizes)
            match expr.kind:
                case AffineBinaryOpKind.Add:
                    return left + right
                case AffineBinaryOpKind.Mul:
                    return left * right
                case AffineBinaryOpKind.FloorDiv:
                    return left // right
                case AffineBinaryOpKind.Mod:
                    return left % right
                case AffineBinaryOpKind.CeilDiv:
                    return -(-left // right)
        case _:
            raise AssertionError(expr)


class _Body:
    """The body of a generic, split into what depends on the accumulators and what does not."""

    def __init__(self, machine: Machine, op: linalg.GenericOp, nest: Nest) -> None:
        self.machine = machine
        self.nest = nest
        self.op = op
        block = op.body.block
        count = len(op.inputs)
        self.inputs, self.accumulators = block.args[:count], block.args[count:]
        ops = list(block.ops)
        assert isinstance(ops[-1], linalg.YieldOp)
        self.yielded: Sequence[SSAValue] = ops[-1].operands
        tainted: set[SSAValue] = set(self.accumulators)
        self.free: list[Operation] = []
        self.folding: list[Operation] = []
        for inner in ops[:-1]:
            if any(operand in tainted for operand in inner.operands):
                tainted.update(inner.results)
                self.folding.append(inner)
            else:
                self.free.append(inner)

    def run(
        self,
        ops: Sequence[Operation],
        env: dict[SSAValue, Any],
        index: Callable[[int], Array] | None,
    ) -> None:
        """Runs `ops` in `env`; `index(dimension)` gives the loop index as an array."""
        for op in ops:
            if isinstance(op, linalg.IndexOp):
                assert index is not None
                env[op.result] = index(op.dim.value.data)
            elif isinstance(op, tensor.ExtractOp):
                source = self.machine.value(op.tensor)
                at = tuple(env[i] if i in env else self.machine.value(i) for i in op.indices)
                env[op.result] = source[at]
            else:
                args = [env[v] if v in env else self.machine.value(v) for v in op.operands]
                env[op.results[0]] = self.machine.run_op(op, args)[0]


def run_generic(
    machine: Machine, op: linalg.GenericOp, inputs: Sequence[Array], outs: Sequence[Array]
) -> list[Array]:
    """The results of `op` for the values of its operands, each in the order of its output's axes.

    Output maps select loop dimensions: result axis i runs over the dimension it names.
    """
    nest = Nest.of(op)
    body = _Body(machine, op, nest)
    maps = [attr.data for attr in op.indexing_maps]
    views = [spread(a, m, nest.sizes) for a, m in zip(inputs, maps, strict=False)]
    order = [[cast(AffineDimExpr, e).position for e in m.results] for m in maps[len(inputs) :]]
    with np.errstate(all="ignore"):
        if nest.reduction:
            results = _fold(body, nest, views, outs, order)
        else:
            results = _elementwise(body, nest, views, outs, order)
    return [
        _arrange(value, nest, axes, out)
        for value, axes, out in zip(results, order, outs, strict=True)
    ]


def _arrange(value: Any, nest: Nest, axes: list[int], out: Array) -> Array:
    """`value`, over the parallel dimensions in loop order, as a new array in the output's order."""
    full = np.broadcast_to(np.asarray(value), [nest.sizes[d] for d in nest.parallel])
    position = {d: i for i, d in enumerate(nest.parallel)}
    return np.array(full.transpose([position[a] for a in axes]), dtype=out.dtype, order="C")


def _out_view(out: Array, nest: Nest, axes: list[int]) -> Array:
    """The output's current value over the parallel dimensions in loop order."""
    return out.transpose([axes.index(d) for d in nest.parallel])


def _elementwise(
    body: _Body, nest: Nest, views: list[Array], outs: Sequence[Array], order: list[list[int]]
) -> list[Any]:
    env: dict[SSAValue, Any] = dict(zip(body.inputs, views, strict=True))
    for arg, out, axes in zip(body.accumulators, outs, order, strict=True):
        if arg.uses:
            env[arg] = _out_view(out, nest, axes)
    body.run([*body.op.body.block.ops][:-1], env, partial(_index, nest.sizes))
    return [env[v] if v in env else body.machine.value(v) for v in body.yielded]


def _index(sizes: Sequence[int], dim: int) -> Array:
    shape = [1] * len(sizes)
    shape[dim] = -1
    return np.arange(sizes[dim], dtype=np.int64).reshape(shape)


def _fold(
    body: _Body, nest: Nest, views: list[Array], outs: Sequence[Array], order: list[list[int]]
) -> list[Any]:
    """Folds over the reduction points in lexicographic order, a chunk of free values at a time."""
    loops = [*nest.parallel, *nest.reduction]
    inner = len(nest.parallel)
    sizes = [nest.sizes[d] for d in nest.reduction]
    points = prod(sizes)
    views = [v.transpose(loops) if v.ndim else v for v in views]
    state: list[Any] = [_out_view(out, nest, axes) for out, axes in zip(outs, order, strict=True)]
    parallel = max(1, prod(nest.sizes[d] for d in nest.parallel))
    chunk = max(1, CHUNK_ELEMENTS // parallel)
    for start in range(0, points, chunk):
        count = min(chunk, points - start)
        at = np.unravel_index(np.arange(start, start + count), sizes)
        env: dict[SSAValue, Any] = {
            arg: _points(view, at, inner) for arg, view in zip(body.inputs, views, strict=True)
        }
        body.run(body.free, env, partial(_chunk_index, nest, at, inner))
        state = _fold_chunk(body, env, state, count)
    return state


def _points(view: Array, at: tuple[Array, ...], inner: int) -> Array:
    """`view` at the reduction points `at`, as [points or 1, *parallel]."""
    varies = [i for i in range(len(at)) if view.shape[inner + i] > 1]
    if not varies:
        return view.reshape(view.shape[:inner])[None]
    moved = np.moveaxis(view, range(inner, view.ndim), range(len(at)))
    zero = np.zeros_like(at[0])
    return moved[tuple(at[i] if i in varies else zero for i in range(len(at)))]


def _chunk_index(nest: Nest, at: tuple[Array, ...], inner: int, dim: int) -> Array:
    if dim in nest.reduction:
        return at[nest.reduction.index(dim)].reshape(-1, *[1] * inner)
    shape = [1] * (inner + 1)
    shape[1 + nest.parallel.index(dim)] = -1
    return np.arange(nest.sizes[dim], dtype=np.int64).reshape(shape)


def _fold_chunk(body: _Body, env: dict[SSAValue, Any], state: list[Any], count: int) -> list[Any]:
    """The accumulators after `count` points whose free values are in `env`."""
    needed = {v for op in body.folding for v in op.operands} | set(body.yielded)
    columns = {v: np.asarray(env[v]) for v in needed if v in env}
    folding = body.folding
    for i in range(count):
        local: dict[SSAValue, Any] = dict(zip(body.accumulators, state, strict=True))
        for v, column in columns.items():
            if column.ndim == 0:
                local[v] = column
            else:
                local[v] = column[i] if column.shape[0] > 1 else column[0]
        body.run(folding, local, None)
        state = [local[v] if v in local else body.machine.value(v) for v in body.yielded]
    return state


@runs(linalg.GenericOp)
def generic(machine: Machine, op: linalg.GenericOp, args: Values) -> Values:
    """A generic: on tensors new arrays, the `outs` are not changed; on memrefs they are written."""
    count = len(op.inputs)
    results = run_generic(machine, op, args[:count], args[count:])
    return results if op.res else _store(results, args[count:])


@runs(linalg.FillOp)
def fill(machine: Machine, op: linalg.FillOp, args: Values) -> Values:
    """A new array full of the scalar, or a memref filled with it."""
    results = [np.full(args[1].shape, args[0], args[1].dtype)]
    return results if op.res else _store(results, args[1:])


def _store(results: Values, outs: Values) -> Values:
    for out, result in zip(outs, results, strict=True):
        out[...] = result
    return ()
