"""Operators that look for positions: the largest, the smallest, the k best."""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import Float64Type, f64, i32, i64
from xdsl.ir.affine import AffineExpr

from mxc.dialects.loops import Body, Loops, Scalar, Tensor, insert_at, repeat
from mxc.dialects.types import integer_width, is_unsigned, signless
from mxc.passes.lowering.registry import Node, lowers


def first_best(
    loops: Loops, x: Tensor, axis: int, *, smallest: bool = False, last: bool = False
) -> Tensor:
    """Where along `axis` the extreme is, as i32 [outer, inner]; a NaN is more extreme than all."""
    lines = _lines(loops, x, axis)
    outer, size, inner = lines.shape
    best = loops.min(lines, [1]) if smallest else loops.max(lines, [1])
    o, c, along = (AffineExpr.dimension(i) for i in range(3))

    def body(k: Body, value: Scalar, extreme: Scalar, found: Scalar) -> Scalar:
        here = value.eq(extreme)
        if value.is_float:
            here = here | value.is_nan()
        at = k.cast(k.index(2), i32)
        return k.where(here if last else here & (at < found), at, found)

    start = loops.fill([outer, inner], i32, 0 if last else size)
    return loops.generic(
        body,
        [(lines, [o, along, c]), (best, [o, c])],
        [outer, inner],
        i32,
        reduce=[size],
        init=start,
    )


def _lines(loops: Loops, x: Tensor, axis: int) -> Tensor:
    """`x` as [outer, the axis, inner]."""
    return loops.reshape(x, [prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])])


def one_hot_of(loops: Loops, positions: Tensor, like: Tensor, axis: int) -> Tensor:
    """Ones at `positions` [outer, inner] along `axis`, in the shape and type of `like`."""
    outer, inner = positions.shape
    o, c = AffineExpr.dimension(0), AffineExpr.dimension(2)

    def body(k: Body, at: Scalar) -> Scalar:
        return k.cast(at.eq(k.cast(k.index(1), i32)), like.element)

    shape = [outer, like.shape[axis], inner]
    lines = loops.generic(body, [(positions, [o, c])], shape, like.element)
    return loops.reshape(lines, like.shape)


@lowers("ArgMax", "ArgMin")
def arg_extreme(loops: Loops, node: Node) -> Tensor:
    """The position of the first (or last) extreme along the axis."""
    x = node.tensor(0)
    found = first_best(
        loops,
        x,
        node.axis(x.rank),
        smallest=node.op_type == "ArgMin",
        last=bool(node.attr("select_last_index")),
    )
    return loops.cast(loops.reshape(found, node.shape()), i64)


def order_key(k: Body, x: Scalar, largest: bool) -> Scalar:
    """A signed integer in the order of `x` (or the reverse): zeros are equal, NaN is greatest."""
    if x.is_float:
        integer, top = (i64, 2**63 - 1) if isinstance(x.type, Float64Type) else (i32, 2**31 - 1)
        bits = k.bitcast(x + 0.0, integer)
        key = k.where(x.is_nan(), top, k.where(bits < 0, bits ^ top, bits))
    elif x.unsigned:
        flipped = x ^ (1 << (integer_width(x.type) - 1))
        key = Scalar(k, flipped.value)
    else:
        key = x
    return key if largest else ~key


SMALL = 64
"""Up to so many elements are ranked by comparing all pairs."""


@lowers("TopK")
def top_k(loops: Loops, node: Node) -> list[Tensor | None]:
    """The k largest (or smallest) in order; of equal ones, the first."""
    x, axis = node.tensor(0), node.axis(node.tensor(0).rank)
    count = node.shape()[axis]
    lines = _lines(loops, x, axis)
    size = lines.shape[1]
    largest = bool(node.attr("largest"))
    key_type = i64 if signless(x.element) in (i64, f64) else i32

    def key(k: Body, value: Scalar) -> Scalar:
        return k.cast(order_key(k, value, largest), key_type)

    keys = loops.map(key, lines, element=key_type)
    ranked = size <= SMALL or 2 * count >= size
    pick = _by_rank if ranked else _one_by_one
    found = pick(loops, keys, count)

    def value(k: Body, at: Scalar) -> Scalar:
        return k.load(lines.value, [k.index(0), at, k.index(2)], is_unsigned(x.element))

    values = loops.map(value, found, element=x.element)
    indices = loops.cast(found, i64)
    return [loops.reshape(values, node.shape()), loops.reshape(indices, node.shape())]


def _by_rank(loops: Loops, keys: Tensor, count: int) -> Tensor:
    """Positions of the `count` greatest keys: each element counts those that come before it."""
    outer, size, inner = keys.shape
    o, mine, c, other = (AffineExpr.dimension(i) for i in range(4))

    def rank(k: Body, key: Scalar, rival: Scalar, before: Scalar) -> Scalar:
        earlier = rival.eq(key) & (k.index(3) < k.index(1))
        return before + k.cast((rival > key) | earlier, i32)

    ranks = loops.generic(
        rank,
        [(keys, [o, mine, c]), (keys, [o, other, c])],
        keys.shape,
        i32,
        reduce=[size],
        init=loops.fill(keys.shape, i32, 0),
    )

    def place(k: Body, rank: Scalar, found: Scalar) -> Scalar:
        return k.where(rank.eq(k.cast(k.index(1), i32)), k.cast(k.index(3), i32), found)

    shape = [outer, count, inner]
    start = loops.fill(shape, i32, 0)
    return loops.generic(place, [(ranks, [o, other, c])], shape, i32, reduce=[size], init=start)


def _one_by_one(loops: Loops, keys: Tensor, count: int) -> Tensor:
    """The same, each the best of those that come after the previous one."""
    outer, size, inner = keys.shape
    shape = [outer, inner]
    top = 2 ** (integer_width(keys.element) - 1) - 1
    o, c, along = (AffineExpr.dimension(i) for i in range(3))
    line: list[AffineExpr | int] = [o, along, c]

    def remains(k: Body, key: Scalar, previous: Scalar, at: Scalar) -> Scalar:
        later = k.cast(k.index(2), i32) > at
        return (key < previous) | (key.eq(previous) & later)

    def best(k: Body, key: Scalar, previous: Scalar, at: Scalar, found: Scalar) -> Scalar:
        return k.where(remains(k, key, previous, at) & (key > found), key, found)

    def where(
        k: Body, key: Scalar, previous: Scalar, at: Scalar, chosen: Scalar, found: Scalar
    ) -> Scalar:
        here = k.cast(k.index(2), i32)
        wanted = remains(k, key, previous, at) & key.eq(chosen) & (here < found)
        return k.where(wanted, here, found)

    def step(inside: Loops, i: Scalar, carried: list[Tensor]) -> list[Tensor]:
        previous, at, found = carried
        pairs: list[tuple[Tensor, list[AffineExpr | int]]]
        pairs = [(keys, line), (previous, [o, c]), (at, [o, c])]
        low = inside.fill(shape, keys.element, -top - 1)
        chosen = inside.generic(best, pairs, shape, keys.element, reduce=[size], init=low)
        far = inside.fill(shape, i32, size)
        pairs.append((chosen, [o, c]))
        position = inside.generic(where, pairs, shape, i32, reduce=[size], init=far)
        row = inside.reshape(position, [outer, 1, inner])
        return [chosen, position, insert_at(inside, row, found, [0, i, 0])]

    start = [
        loops.fill(shape, keys.element, top),
        loops.fill(shape, i32, -1),
        loops.fill([outer, count, inner], i32, 0),
    ]
    return repeat(loops, count, start, step)[2]
