"""Operators that read at computed positions.

Positions that are constants become affine maps (`take`). Others are brought into range: a negative
one counts from the end, and what is still outside is clamped, where ONNX leaves it undefined.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor
from mxc.dialects.types import is_unsigned
from mxc.passes.lowering._take import Run, box, take
from mxc.passes.lowering.registry import Node, lowers


def in_range(k: Body, index: Scalar, size: int) -> Scalar:
    """`index` into an axis of `size` elements: negative ones from the end, clamped."""
    if not index.unsigned:
        index = k.where(index < 0, index + size, index)
    return k.clamp(index, 0, size - 1)


def positions(values: Sequence[int], size: int, node: Node) -> list[int]:
    """Constant indices into an axis of `size` elements, made positive; an error if outside."""
    wrong = [v for v in values if not -size <= v < size]
    if wrong:
        raise node.error(f"index {wrong[0]} is outside an axis of {size} elements")
    return [v % size for v in values]


@lowers("Gather")
def gather(loops: Loops, node: Node) -> Tensor:
    """Slices along `axis`, at the positions that `indices` hold."""
    x, indices = node.tensor(0), node.tensor(1)
    axis = node.axis(x.rank)
    if node.is_const(1):
        known = positions(node.ints(1) or [], x.shape[axis], node)
        return loops.reshape(take(loops, x, axis, known), node.shape())
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    shape = [prod(before), x.shape[axis], prod(after)]
    data = loops.reshape(x, shape)
    flat = loops.reshape(indices, [indices.size])

    def body(k: Body, index: Scalar) -> Scalar:
        at = [k.index(0), in_range(k, index, shape[1]), k.index(2)]
        return k.load(data.value, at, is_unsigned(x.element))

    result = loops.generic(
        body, [(flat, [AffineExpr.dimension(1)])], [shape[0], flat.size, shape[2]], x.element
    )
    return loops.reshape(result, node.shape())


@lowers("GatherElements")
def gather_elements(loops: Loops, node: Node) -> Tensor:
    """result[.., i, ..] = x[.., indices[.., i, ..], ..]."""
    x, indices = node.tensor(0), node.tensor(1)
    axis = node.axis(x.rank)

    def body(k: Body, index: Scalar) -> Scalar:
        at = [in_range(k, index, x.shape[a]) if a == axis else k.index(a) for a in range(x.rank)]
        return k.load(x.value, at, is_unsigned(x.element))

    return loops.map(body, indices, element=x.element)


def linear_index(k: Body, parts: Sequence[Scalar], shape: Sequence[int]) -> Scalar:
    """The row-major position of the index tuple `parts` in `shape`, each part brought in range."""
    total = in_range(k, parts[0], shape[0])
    for part, size in zip(parts[1:], shape[1:], strict=True):
        total = total * size + in_range(k, part, size)
    return total


def constant_tuples(node: Node, shape: Sequence[int]) -> NDArray[Any]:
    """The constant index tuples of input 1 into `shape`, [n, axes], made positive."""
    values = node.const(1)
    assert values is not None
    columns = values.reshape(-1, len(shape)).T
    return np.stack(
        [
            positions([int(v) for v in column], size, node)
            for column, size in zip(columns, shape, strict=True)
        ],
        -1,
    )


def window_of(loops: Loops, x: Tensor, found: Sequence[Run]) -> Tensor:
    """The part of `x` that the runs take from its first axes."""
    rest = x.shape[len(found) :]
    return loops.slice(
        x,
        [start for start, _, _ in found] + [0] * len(rest),
        [count for _, _, count in found] + list(rest),
        [step for _, step, _ in found] + [1] * len(rest),
    )


def index_columns(
    indices: Tensor, lead: Sequence[AffineExpr]
) -> list[tuple[Tensor, list[AffineExpr | int]]]:
    """The components of index tuples, one input of a loop each; `lead` selects the tuple."""
    return [(indices, [*lead, i]) for i in range(indices.shape[-1])]


@lowers("GatherND")
def gather_nd(loops: Loops, node: Node) -> Tensor:
    """Slices at index tuples, the last axis of `indices`, in each of the batches."""
    x, indices = node.tensor(0), node.tensor(1)
    batch = int(node.attr("batch_dims"))
    length = indices.shape[-1]
    if batch == 0 and node.is_const(1):
        found = box(constant_tuples(node, x.shape[:length]))
        if found is not None:
            return loops.reshape(window_of(loops, x, found), node.shape())
    outer, inner = prod(x.shape[:batch]), prod(x.shape[batch + length :])
    indexed = x.shape[batch : batch + length]
    data = loops.reshape(x, [outer, prod(indexed), inner])
    tuples = loops.reshape(indices, [outer, prod(indices.shape[batch:-1]), length])

    def body(k: Body, *parts: Scalar) -> Scalar:
        at = [k.index(0), linear_index(k, parts, indexed), k.index(2)]
        return k.load(data.value, at, is_unsigned(x.element))

    columns = index_columns(tuples, [AffineExpr.dimension(0), AffineExpr.dimension(1)])
    shape = [outer, tuples.shape[1], inner]
    return loops.reshape(loops.generic(body, columns, shape, x.element), node.shape())


@lowers("ReverseSequence")
def reverse_sequence(loops: Loops, node: Node) -> Tensor:
    """In each batch, the first `sequence_lens` elements in reverse order."""
    x, lengths = node.tensor(0), node.tensor(1)
    batch, time = node.axis(x.rank, "batch_axis"), node.axis(x.rank, "time_axis")

    def body(k: Body, length: Scalar) -> Scalar:
        step = k.cast(k.index(time), length.type)
        mirrored = k.clamp(k.where(step < length, length - 1 - step, step), 0, x.shape[time] - 1)
        at = [mirrored if a == time else k.index(a) for a in range(x.rank)]
        return k.load(x.value, at, is_unsigned(x.element))

    return loops.generic(body, [(lengths, [AffineExpr.dimension(batch)])], x.shape, x.element)


@lowers("Compress")
def compress(loops: Loops, node: Node) -> Tensor:
    """The slices whose `condition`, a constant, holds."""
    x, condition = node.tensor(0), node.const(1)
    assert condition is not None
    axis = 0
    if node.attr("axis") is None:
        x = loops.reshape(x, [x.size])
    else:
        axis = node.axis(x.rank)
    chosen = [int(i) for i in np.flatnonzero(condition) if i < x.shape[axis]]
    return take(loops, x, axis, chosen)


@lowers("NonZero", "Unique")
def sized_by_data(loops: Loops, node: Node) -> Tensor:
    """Refused: the importer has evaluated it already where its input is constant."""
    raise node.error(
        "the size of its result depends on data computed at run time",
        "bind the inputs that decide it with --input-value",
    )
