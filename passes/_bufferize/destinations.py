"""Where results should be computed: in an output of the function, or in their place of a concat.

    %r = insert_slice %b into (insert_slice %a into (empty)), return %r

computes %a and %b in their parts of the output buffer: no copy is left.
"""

from __future__ import annotations

from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.linalg.ops import FillOp, GenericOp
from xdsl.dialects.scf import ForOp
from xdsl.dialects.tensor import (
    CollapseShapeOp,
    EmptyOp,
    ExpandShapeOp,
    ExtractSliceOp,
    InsertSliceOp,
)
from xdsl.ir import Block, OpResult, SSAValue
from xdsl.utils.hints import isa

from mxc.dialects.mx import block_of
from mxc.dialects.types import shape_of
from mxc.passes._bufferize.views import DYNAMIC, View


class Destinations:
    """Views that values of one block should be computed in."""

    def __init__(self) -> None:
        self.of: dict[SSAValue, View] = {}
        """Value -> where to compute it."""
        self.fills: dict[SSAValue, list[tuple[View, ConstantOp]]] = {}
        """Buffer -> what to fill, before anything else is written there."""
        self.chained: set[SSAValue] = set()
        """Results of insertions whose fill, if any, is among `fills`."""

    def want(self, value: SSAValue, view: View) -> None:
        """Asks for `value`, of plain elements, in `view`, unless it has a place already."""
        if value not in self.of and isinstance(value, OpResult) and block_of(value.type) is None:
            self.of[value] = view

    def spread(self, value: SSAValue) -> None:
        """Passes the place of `value` on to what its operation reads."""
        view, op = self.of[value], value.owner
        match op:
            case CollapseShapeOp() | ExpandShapeOp():
                source = view.reshaped(shape_of(op.src))
                if source is not None and _single_use(op.src):
                    self._want_beside(op.src, source, op.parent)
            case InsertSliceOp():
                self._spread_insert(op, view)
            case ForOp():
                init = op.iter_args[op.results.index(value)]
                if _single_use(init):
                    self._want_beside(init, view, op.parent)
            case GenericOp():
                self._spread_init(op, value, view)
            case _:
                pass

    def _want_beside(self, value: SSAValue, view: View, block: Block | None) -> None:
        if isinstance(value, OpResult) and value.owner.parent is block:
            self.want(value, view)

    def _spread_init(self, op: GenericOp, value: SSAValue, view: View) -> None:
        """The init of a linalg op is overwritten by its result."""
        init = op.outputs[op.results.index(value)]
        if _single_use(init) and not isinstance(init.owner, FillOp | EmptyOp):
            self._want_beside(init, view, op.parent)

    def _spread_insert(self, op: InsertSliceOp, view: View) -> None:
        parts = chain(op)
        if parts is None:
            if _single_use(op.dest):
                self._want_beside(op.dest, view, op.parent)
            return
        if op.result in self.chained:
            return
        bottom = parts[-1].dest.owner
        if isinstance(bottom, FillOp):
            fill = bottom.inputs[0].owner
            assert isinstance(fill, ConstantOp)
            self.fills.setdefault(view.base, []).append((view, fill))
        for part in parts:
            self.chained.add(part.result)
            self.want(part.result, view)
            place = static_slice(part)
            assert place is not None
            target = view.sliced(*place).reshaped(shape_of(part.source))
            if target is not None:
                self._want_beside(part.source, target, op.parent)


def _single_use(value: SSAValue) -> bool:
    return value.has_one_use()


def chain(op: InsertSliceOp) -> list[InsertSliceOp] | None:
    """`op` and the insertions below it, down to an empty or constant tensor.

    None unless all are static, do not overlap, and are used only by the next.
    """
    parts = [op]
    while isinstance(below := parts[-1].dest.owner, InsertSliceOp):
        if below.parent is not op.parent or not below.result.has_one_use():
            return None
        parts.append(below)
    constant = isinstance(below, FillOp) and isinstance(below.inputs[0].owner, ConstantOp)
    if not (constant or isinstance(below, EmptyOp)):
        return None
    places = [static_slice(part) for part in parts]
    if any(place is None or set(place[2]) - {1} for place in places):
        return None
    boxes = [place[:2] for place in places if place is not None]
    apart = all(_apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    return parts if apart else None


def _apart(a: tuple[list[int], list[int]], b: tuple[list[int], list[int]]) -> bool:
    spans = zip(*a, *b, strict=True)
    return any(x + m <= y or y + n <= x for x, m, y, n in spans)


def static_slice(
    op: InsertSliceOp | ExtractSliceOp,
) -> tuple[list[int], list[int], list[int]] | None:
    """Offsets, sizes and steps of a slice, if none of them is a value."""
    if op.offsets or op.sizes or op.strides:
        return None
    lists = [op.static_offsets, op.static_sizes, op.static_strides]
    values = [list(attribute.get_values()) for attribute in lists]
    assert isa(values, list[list[int]])
    assert not any(DYNAMIC in v for v in values)
    return values[0], values[1], values[2]
