"""`fuse-elementwise`: loops that only feed another loop become part of its body.

    %p = linalg.generic {d0, d1: parallel} ins(%x) { exp } -> tensor<4x8xf32>
    %y = linalg.generic {d0: parallel, d1: reduction} ins(%p) outs(%zero) { add } -> tensor<4xf32>

becomes

    %y = linalg.generic {d0: parallel, d1: reduction} ins(%x) outs(%zero) { exp, add }

so that no value is stored which its only reader could compute. Exact: the producer's operations run
on the same values, in the order they had, and a value that was stored in a short type is still
rounded to it. A producer is all-parallel; its indices become those of the reader by composing
affine maps, which makes transposes, broadcasts and strided reads part of how the reader indexes;
so do views that split dimensions between the two. One-element constants and filled tensors become
scalars in the body.

It does not fire where it would cost more than it saves: a body of more than `CHEAP` is not run more
often than before, indices are not divided twice, and a value with several readers is stored unless
all are loops and recomputing it costs at most `CHEAP` and reads one tensor, as they do now.
`tests/ir/fuse_elementwise.mlir` shows both.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    Float32Type,
    Float64Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    ModuleOp,
    TensorType,
)
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
    AffineMap,
)
from xdsl.passes import ModulePass
from xdsl.utils.hints import isa

from mxc.constants import ConstantTable
from mxc.dialects.mx import ConstantOp
from mxc.passes._effects import erase_dead
from mxc.passes._fuse.cost import cost
from mxc.passes._fuse.inline import PLAIN, inline
from mxc.passes._fuse.nest import Input, Nest, shape_of
from mxc.passes._fuse.views import chain, seen_through

Literal = IntegerAttr[IntegerType | IndexType] | FloatAttr

CHEAP = 2
"""Additions that may be repeated rather than their result stored."""

SELDOM = 4
"""A `CHEAP` body is repeated at most so many times as often; only moving elements is free."""

LONGEST = 400
"""A body is not made longer than this many operations."""


class FuseElementwisePass(ModulePass):
    """Moves loops into the only loop that reads their result, and constants into bodies."""

    name = "fuse-elementwise"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        table = ConstantTable.of(ctx)
        # From the last reader back, so that an operation moves once, into its final place.
        for inner in reversed([o for o in op.walk() if isinstance(o, GenericOp)]):
            if inner.parent is not None and (nest := Nest.of(inner)) is not None:
                _fuse(nest, table)
        erase_dead(op)


def _fuse(nest: Nest, table: ConstantTable) -> None:
    """Visits each input once; what absorbing a producer adds comes last, so is visited too."""
    changed, index = _share_inputs(nest), 0
    while index < len(nest.inputs):
        if _absorb_scalar(nest, index, table) or _absorb_loop(nest, index):
            changed = True
        else:
            index += 1
    changed = _share_inputs(nest) or changed
    changed = _drop_unread(nest) or changed
    if not changed:
        return
    nest.rebuild()
    for producer in nest.absorbed:
        if producer.parent is not None and not any(r.uses for r in producer.results):
            producer.parent.erase_op(producer)


# Scalars.


def _absorb_scalar(nest: Nest, index: int, table: ConstantTable) -> bool:
    value = nest.inputs[index][0]
    rest = nest.inputs[:index] + nest.inputs[index + 1 :]
    if (attribute := _scalar(value, table)) is None or not nest.allows(rest):
        return False
    constant = arith.ConstantOp(attribute)
    constant.location = nest.op.location
    assert nest.block.first_op is not None
    nest.block.insert_op_before(constant, nest.block.first_op)
    nest.block.args[index].replace_all_uses_with(constant.result)
    nest.drop(index)
    return True


def _scalar(value: SSAValue, table: ConstantTable) -> Literal | None:
    """The one value that all elements of a tensor have, if that is known and fits a literal."""
    owner = value.owner
    if isinstance(owner, FillOp):
        source = owner.inputs[0].owner
        known = source.value if isinstance(source, arith.ConstantOp) else None
        return known if isinstance(known, IntegerAttr | FloatAttr) else None
    if not isinstance(owner, ConstantOp) or not isa(value.type, TensorType):
        return None
    if owner.key not in table:
        return None
    array: Any = table[owner.key]
    if not isinstance(array, np.ndarray) or array.size != 1:
        return None
    return _literal(array.reshape(-1)[0], value.type.element_type)


def _literal(value: Any, element: Attribute) -> Literal | None:
    if isinstance(element, Float32Type | Float64Type):
        return FloatAttr(float(value), element)
    if isa(element, IntegerType):
        return IntegerAttr(int(value), element.width.data, truncate_bits=True)
    return None


# Loops.


def _absorb_loop(nest: Nest, index: int) -> bool:
    value = nest.inputs[index][0]
    if (source := seen_through(*nest.inputs[index])) is None:
        return False
    producer = _producer(source[0], nest)
    if producer is None or not _worth_it(nest, value, source[1], producer):
        return False
    at = _loop_values(producer, source[1])
    composed = [(v, _compose(m, at, source[1].num_dims)) for v, m in producer.inputs]
    rest = nest.inputs[:index] + nest.inputs[index + 1 :]
    if not nest.allows([*rest, *composed]) or not _indices_are_plain(producer.block, at):
        return False
    arguments = [nest.append(*one) for one in composed]
    move = _is_last_reader(nest, value)
    yielded = inline(producer.block, nest.block, arguments, at, move=move)
    if move:
        nest.moved.add(producer.op)
    nest.block.args[index].replace_all_uses_with(yielded)
    nest.drop(index)
    nest.absorbed += [v.owner for v in chain(value) if isinstance(v.owner, Operation)]
    return True


def _producer(value: SSAValue, nest: Nest) -> Nest | None:
    """The loop that makes `value`, if it can run inside another.

    It is in the same block, all-parallel, writes each element once and reads nothing of what it
    overwrites.
    """
    owner = value.owner
    if not isinstance(owner, GenericOp) or owner.parent is not nest.op.parent:
        return None
    producer = Nest.of(owner)
    if producer is None or not producer.all_parallel or len(owner.res) != 1:
        return None
    if producer.block.args[len(producer.inputs)].uses:
        return None
    written = [e.position for e in producer.outputs[0][1].results if isinstance(e, AffineDimExpr)]
    each_once = sorted(written) == list(range(len(producer.sizes)))
    return producer if each_once else None


def _is_last_reader(nest: Nest, value: SSAValue) -> bool:
    """Whether nothing but one input of `nest` reads `value` or what it is a view of."""
    times = sum(v is value for v, _ in (*nest.inputs, *nest.outputs))
    only_here = all(use.operation is nest.op or use.operation in nest.moved for use in value.uses)
    return times == 1 and only_here and all(v.has_one_use() for v in chain(value)[1:])


def _worth_it(nest: Nest, value: SSAValue, map: AffineMap, producer: Nest) -> bool:
    if len(nest.block.ops) + len(producer.block.ops) > LONGEST:
        return False
    work = cost(producer.block)
    divides = [_divides(map), any(_divides(m) for _, m in producer.inputs)]
    if all(divides):
        return False
    if nest.volume > producer.volume:
        seldom = nest.volume <= SELDOM * producer.volume
        if any(divides) or work > (CHEAP if seldom else 0):
            return False
    if _is_last_reader(nest, value):
        return True
    reads_one = sum(prod(shape_of(v)) > 1 for v, _ in producer.inputs) <= 1
    return work <= CHEAP and reads_one and _all_readers_are_loops(nest, value)


def _all_readers_are_loops(nest: Nest, value: SSAValue) -> bool:
    """Whether `value` need not be stored at all, if its other readers recompute it too."""
    loops = (use.operation for use in value.uses)
    same_block = all(isinstance(op, GenericOp) and op.parent is nest.op.parent for op in loops)
    return same_block and all(v.has_one_use() for v in chain(value)[1:])


def _divides(map: AffineMap) -> bool:
    kinds = (AffineBinaryOpKind.FloorDiv, AffineBinaryOpKind.Mod, AffineBinaryOpKind.CeilDiv)
    parts = (part for expr in map.results for part in expr.dfs())
    return any(isinstance(part, AffineBinaryOpExpr) and part.kind in kinds for part in parts)


def _loop_values(producer: Nest, map: AffineMap) -> list[AffineExpr]:
    """The producer's loop dimensions as expressions of the reader's, which reads through `map`."""
    values: list[AffineExpr] = [AffineConstantExpr(0)] * len(producer.sizes)
    for dim, expr in zip(producer.outputs[0][1].results, map.results, strict=True):
        assert isinstance(dim, AffineDimExpr)
        values[dim.position] = expr
    return values


def _compose(map: AffineMap, at: list[AffineExpr], dims: int) -> AffineMap:
    return AffineMap(dims, 0, tuple(e.replace_dims_and_symbols(at, ()) for e in map.results))


def _indices_are_plain(body: Block, at: list[AffineExpr]) -> bool:
    """Whether every index that `body` asks for is a loop variable or a number in the reader too."""
    asked = (op for op in body.ops if isinstance(op, IndexOp))
    return all(isinstance(at[op.dim.value.data], PLAIN) for op in asked)


# Inputs.


def _share_inputs(nest: Nest) -> bool:
    """Inputs that read the same elements of the same tensor become one."""
    first: dict[Input, int] = {}
    doubled: list[int] = []
    for i, one in enumerate(nest.inputs):
        if (known := first.setdefault(one, i)) != i:
            nest.block.args[i].replace_all_uses_with(nest.block.args[known])
            doubled.append(i)
    for i in reversed(doubled):
        nest.drop(i)
    return bool(doubled)


def _drop_unread(nest: Nest) -> bool:
    """Inputs that the body does not read go, unless they alone state the size of a loop."""
    before = len(nest.inputs)
    for i in reversed(range(before)):
        rest = nest.inputs[:i] + nest.inputs[i + 1 :]
        if not nest.block.args[i].uses and nest.allows(rest):
            nest.drop(i)
    return len(nest.inputs) != before
