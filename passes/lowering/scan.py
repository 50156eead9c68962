"""Running sums and products along an axis, in the order of the elements."""

from __future__ import annotations

from math import prod

from mxc.dialects.loops import Loops, Scalar, Tensor, insert_at, repeat, slice_at
from mxc.dialects.loops.scalar import compute_type
from mxc.passes.lowering.registry import Node, lowers


@lowers("CumSum", "CumProd")
def cumulate(loops: Loops, node: Node) -> Tensor:
    """What lies before each element added (multiplied) up, with the element unless `exclusive`."""
    x, axes = node.tensor(0), node.ints(1)
    assert axes is not None
    if not -x.rank <= axes[0] < x.rank:
        raise node.error(f"axis {axes[0]} is outside rank {x.rank}")
    axis = axes[0] % x.rank
    size = x.shape[axis]
    lines = loops.reshape(x, [prod(x.shape[:axis]), size, prod(x.shape[axis + 1 :])])
    window = [lines.shape[0], 1, lines.shape[2]]
    sums, exclusive = node.op_type == "CumSum", bool(node.attr("exclusive"))
    reverse = bool(node.attr("reverse"))

    def step(inside: Loops, i: Scalar, carried: list[Tensor]) -> list[Tensor]:
        total, result = carried
        at = (size - 1) - i if reverse else i
        new = slice_at(inside, lines, [0, at, 0], window)
        after = inside.map(lambda k, a, v: a + v if sums else a * v, total, new)
        shown = inside.cast(total if exclusive else after, x.element)
        return [after, insert_at(inside, shown, result, [0, at, 0])]

    start = loops.fill(window, compute_type(x.element), 0 if sums else 1)
    result = repeat(loops, size, [start, loops.empty(lines.shape, x.element)], step)[1]
    return loops.reshape(result, x.shape)
