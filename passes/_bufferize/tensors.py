"""Rules for `tensor`, `linalg` and `scf`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.dialects.memref import LoadOp
from xdsl.dialects.scf import ForOp, YieldOp
from xdsl.dialects.tensor import (
    CollapseShapeOp,
    ExpandShapeOp,
    ExtractOp,
    ExtractSliceOp,
    InsertSliceOp,
)
from xdsl.ir import Block, Region, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap
from xdsl.rewriter import Rewriter
from xdsl.utils.hints import isa

from mxc.dialects.types import shape_of
from mxc.errors import CannotLower
from mxc.passes._bufferize.builder import Bufferizer, Nothing, Splat, lowers
from mxc.passes._bufferize.destinations import Destinations
from mxc.passes._bufferize.views import DYNAMIC, View

# -- linalg


@lowers(GenericOp)
def _generic(to: Bufferizer, op: GenericOp) -> None:
    arguments = op.body.block.args
    inputs = [
        _input(to, value, argument.uses.get_length() > 0)
        for value, argument in zip(op.inputs, arguments, strict=False)
    ]
    reused: list[SSAValue] = []
    targets = [_output(to, op, index, reused) for index in range(len(op.results))]
    body = _body(to, op.body)
    maps, iterators = op.get_indexing_maps(), op.get_iterator_types()
    outputs = [to.memref(view) for view in targets]
    to.add(GenericOp(inputs, outputs, body, maps, iterators, (), op.doc, op.library_call))
    for result, view in zip(op.results, targets, strict=True):
        to.bind(result, (view,))


def _input(to: Bufferizer, value: SSAValue, is_read: bool) -> SSAValue:
    """The memref of an operand; one that only gives the loops their extents gets no contents."""
    if not is_read and isa(value.type, TensorType) and not isinstance(to.placed(value), tuple):
        return to.memref(to.allocate(value.type)[0])
    (memref,) = to.read(value)
    return memref


def _output(to: Bufferizer, op: GenericOp, index: int, reused: list[SSAValue]) -> View:
    """Where result `index` goes, holding the init if the body reads it."""
    init, result = op.outputs[index], op.results[index]
    found = to.placed(init)
    if not op.body.block.args[len(op.inputs) + index].uses.get_length():
        found = Nothing()
    if isinstance(found, Nothing):
        again = None if result in to.wanted.of else _reusable(to, op, index, reused)
        return again or to.target(result)[0]
    if isinstance(found, Splat):
        (view,) = to.target(result)
        to.fill(found.scalar, view)
        return view
    return _updated(to, op, found[0], init, result)


def _updated(
    to: Bufferizer, op: GenericOp | InsertSliceOp, old: View, init: SSAValue, result: SSAValue
) -> View:
    """A view that holds the tensor `init`, now in `old`, and may be written by `op`."""
    if result not in to.wanted.of and to.live.may_overwrite(old.base, op, init):
        return old
    (view,) = to.target(result)
    to.copy(old, view)
    return view


def _reusable(to: Bufferizer, op: GenericOp, index: int, reused: list[SSAValue]) -> View | None:
    """The place of an operand that dies here and that result `index` may overwrite."""
    maps = [attribute.data for attribute in op.get_indexing_maps()]
    goal = maps[len(op.inputs) + index]
    if not _is_permutation(goal):
        return None
    for value in op.inputs:
        if not isa(value.type, TensorType) or value.type != op.results[index].type:
            continue
        found = to.placed(value)
        if not isinstance(found, tuple) or not found[0].covers_base:
            continue
        base = found[0].base
        uses = [m for v, m in zip(op.inputs, maps, strict=False) if v is value]
        free = base not in to.live.pinned and base not in reused
        if not free or any(m != goal for m in uses):
            continue
        if to.live.may_overwrite(base, op, value, len(uses)):
            reused.append(base)
            return found[0]
    return None


def _is_permutation(map: AffineMap) -> bool:
    """Whether every loop is exactly one axis: each element is visited once."""
    dims = [e.position for e in map.results if isinstance(e, AffineDimExpr)]
    return len(dims) == len(map.results) and sorted(dims) == list(range(map.num_dims))


def _body(to: Bufferizer, old: Region) -> Region:
    """A copy of a body in which gathers from tensors are loads from memrefs."""
    captured = [op.tensor for op in old.walk() if isinstance(op, ExtractOp)]
    sources = [to.read(tensor)[0] for tensor in captured]
    new = Region()
    old.clone_into(new, value_mapper=dict(to.scalars))
    gathers = [op for op in new.walk() if isinstance(op, ExtractOp)]
    for op, source in zip(gathers, sources, strict=True):
        Rewriter.replace_op(op, LoadOp.get(source, op.indices))
    return new


# -- tensor


@lowers(CollapseShapeOp, ExpandShapeOp)
def _reshape(to: Bufferizer, op: CollapseShapeOp | ExpandShapeOp) -> None:
    found = to.placed(op.src)
    if isinstance(found, tuple):
        found = (reshaped(to, found[0], op.result),)
    to.bind(op.result, found)


def reshaped(to: Bufferizer, view: View, result: SSAValue) -> View:
    """`view` in the shape of `result`; a copy where strides cannot say it."""
    again = view.reshaped(shape_of(result))
    if again is not None:
        return again
    (target,) = to.allocate(result.type)
    flat = target.reshaped(view.shape)
    assert flat is not None, "a new buffer is contiguous"
    to.copy(view, flat)
    return target


def _sliced(to: Bufferizer, view: View, op: ExtractSliceOp | InsertSliceOp) -> View:
    """The elements of `view` that `op` takes or replaces."""
    if op.sizes or op.strides:
        raise CannotLower(f"{op.name} with sizes or strides that are not constants")
    static = list(op.static_offsets.get_values())
    offsets = iter(op.offsets)
    dynamic = view.dynamic
    for axis, offset in enumerate(static):
        if offset == DYNAMIC:
            value = next(offsets)
            step = to.product(to.scalars.get(value, value), view.strides[axis])
            dynamic = step if dynamic is None else to.sum(dynamic, step)
            static[axis] = 0
    sizes, steps = op.static_sizes.get_values(), op.static_strides.get_values()
    return replace(view.sliced(static, sizes, steps), dynamic=dynamic)


@lowers(ExtractSliceOp)
def _extract_slice(to: Bufferizer, op: ExtractSliceOp) -> None:
    found = to.placed(op.source)
    if isinstance(found, Splat | Nothing):
        to.bind(op.result, found)
        return
    view = _sliced(to, found[0], op).reshaped(shape_of(op.result))
    assert view is not None, "dropping axes of size 1 keeps strides"
    to.bind(op.result, (view,))


@lowers(InsertSliceOp)
def _insert_slice(to: Bufferizer, op: InsertSliceOp) -> None:
    found = to.placed(op.dest)
    if isinstance(found, tuple):
        view = _updated(to, op, found[0], op.dest, op.result)
    else:
        (view,) = to.target(op.result)
        if isinstance(found, Splat) and op.result not in to.wanted.chained:
            to.fill(found.scalar, view)
    part = _sliced(to, view, op).reshaped(shape_of(op.source))
    assert part is not None, "dropping axes of size 1 keeps strides"
    to.store(op.source, part)
    to.bind(op.result, (view,))


@lowers(ExtractOp)
def _extract(to: Bufferizer, op: ExtractOp) -> None:
    (source,) = to.read(op.tensor)
    indices = [to.scalars.get(value, value) for value in op.indices]
    to.scalars[op.result] = to.add(LoadOp.get(source, indices)).results[0]


# -- scf


@lowers(ForOp)
def _for(to: Bufferizer, op: ForOp) -> None:
    old = op.body.block
    is_tensor = [isa(value.type, TensorType) for value in op.iter_args]
    carried = _carry(to, op, is_tensor)
    arguments = [a for a, t in zip(old.args[1:], is_tensor, strict=True) if not t]
    new = Block(arg_types=[old.args[0].type, *(a.type for a in arguments)])
    for before, after in zip([old.args[0], *arguments], new.args, strict=True):
        after.name_hint = before.name_hint
        to.scalars[before] = after
    bases = [view.base for views in carried.values() for view in views]
    states = [to.live.take(base, old) for base in bases]
    for index, views in carried.items():
        to.bind(old.args[1 + index], views)
    inits = [v for v, t in zip(op.iter_args, is_tensor, strict=True) if not t]
    _walk_body(to, op, new, carried)
    low, high, step, *first = (to.scalars.get(v, v) for v in (op.lb, op.ub, op.step, *inits))
    loop = to.add(ForOp(low, high, step, first, Region(new)))
    for base, state in zip(bases, states, strict=True):
        to.live.give_back(base, state)
    scalars = iter(loop.results)
    for index, result in enumerate(op.results):
        if index in carried:
            to.bind(result, carried[index])
        else:
            to.scalars[result] = next(scalars)


def _carry(to: Bufferizer, op: ForOp, is_tensor: Sequence[bool]) -> dict[int, tuple[View, ...]]:
    """The buffers that carried tensors live in during the loop, holding their first values."""
    carried: dict[int, tuple[View, ...]] = {}
    taken: list[SSAValue] = []
    for index, (init, result) in enumerate(zip(op.iter_args, op.results, strict=True)):
        if not is_tensor[index]:
            continue
        found = to.placed(init)
        mine = isinstance(found, tuple) and result not in to.wanted.of
        if isinstance(found, tuple) and mine:
            bases = [view.base for view in found]
            mine = not any(base in taken for base in bases)
            mine = mine and all(to.live.may_overwrite(base, op, init) for base in bases)
        if isinstance(found, tuple) and mine:
            views = found
        else:
            views = to.target(result)
            if any(view.base in taken for view in views):
                views = to.allocate(result.type)
            to.store(init, *views)
        taken += [view.base for view in views]
        carried[index] = views
    return carried


def _walk_body(to: Bufferizer, op: ForOp, new: Block, carried: dict[int, tuple[View, ...]]) -> None:
    """Lowers the loop's body into `new`, ending with the carried values in their buffers."""
    outer, wanted = to.block, to.wanted
    to.block, to.wanted = new, Destinations()
    old = op.body.block
    to.walk(old)
    last = old.last_op
    assert isinstance(last, YieldOp)
    with to.at(last):
        moves = [
            move
            for index, views in carried.items()
            for move in _moves(to, last.arguments[index], views)
        ]
        _move_all(to, moves)
        scalars = [v for i, v in enumerate(last.arguments) if i not in carried]
        to.add(YieldOp(*(to.scalars.get(v, v) for v in scalars)))
    to.block, to.wanted = outer, wanted


def _moves(to: Bufferizer, value: SSAValue, views: tuple[View, ...]) -> list[tuple[View, View]]:
    """What must be copied so that `views` hold the tensor `value`."""
    found = to.placed(value)
    if isinstance(found, Nothing):
        return []
    pairs = zip(to.views(value), views, strict=True)
    return [(source, target) for source, target in pairs if source != target]


def _move_all(to: Bufferizer, moves: list[tuple[View, View]]) -> None:
    """Copies as if all sources were read before any target is written."""
    written = [target.base for _, target in moves]
    safe: list[tuple[View, View]] = []
    for source, target in moves:
        if source.base in written:
            shape = TensorType(source.element, source.shape)
            (spare,) = to.allocate(shape)
            to.copy(source, spare)
            source = spare
        safe.append((source, target))
    for source, target in safe:
        to.copy(source, target)
