"""A `linalg.generic` whose inputs are being changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from xdsl.dialects.builtin import AffineMapAttr, TensorType
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap
from xdsl.utils.hints import isa

from mxc.dialects.location import locate, node_names

Input = tuple[SSAValue, AffineMap]


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The static shape of a tensor; a scalar operand has none."""
    return value.type.get_shape() if isa(value.type, TensorType) else ()


def _plain(map: AffineMap, value: SSAValue) -> list[tuple[int, int]]:
    """(dimension, size) for every axis of `value` that one loop runs along."""
    pairs = zip(map.results, shape_of(value), strict=True)
    return [(e.position, size) for e, size in pairs if isinstance(e, AffineDimExpr)]


@dataclass
class Nest:
    """The loops of `op`, their sizes, and its inputs as a list to edit; `block` is edited along."""

    op: GenericOp
    inputs: list[Input]
    outputs: list[Input]
    sizes: tuple[int, ...]
    absorbed: list[Operation]
    """Producers that became part of the body, and views that were between, the reader's first."""

    moved: set[Operation] = field(default_factory=set[Operation])
    """Those of them whose operations are no longer in them: what they read, they do not read."""

    @classmethod
    def of(cls, op: GenericOp) -> Nest | None:
        """The nest of `op`; None on buffers or where a loop's size is in no operand."""
        if any(not isa(out.type, TensorType) for out in op.outputs) or not op.res:
            return None
        pairs = list(zip(op.operands, (m.data for m in op.indexing_maps), strict=True))
        count = len(op.inputs)
        nest = cls(op, pairs[:count], pairs[count:], (), [])
        sizes = nest._known_sizes(pairs)
        if sizes is None:
            return None
        nest.sizes = sizes
        return nest

    def _known_sizes(self, operands: Sequence[Input]) -> tuple[int, ...] | None:
        """The size of each loop as the operands state it; None if one is missing or they differ."""
        known: dict[int, int] = {}
        for value, map in operands:
            for dim, size in _plain(map, value):
                if known.setdefault(dim, size) != size:
                    return None
        loops = range(len(self.op.iterator_types))
        return tuple(known[d] for d in loops) if all(d in known for d in loops) else None

    @property
    def block(self) -> Block:
        """The loop body."""
        return self.op.body.block

    @property
    def volume(self) -> int:
        """How often the body runs."""
        return prod(self.sizes)

    @property
    def all_parallel(self) -> bool:
        """Whether no loop is a reduction."""
        return all(kind.data == IteratorType.PARALLEL for kind in self.op.iterator_types)

    def allows(self, inputs: Sequence[Input]) -> bool:
        """Whether the loops would keep their sizes if the inputs were `inputs`."""
        return self._known_sizes([*inputs, *self.outputs]) == self.sizes

    def drop(self, index: int) -> None:
        """Removes input `index`, whose block argument has no uses."""
        del self.inputs[index]
        self.block.erase_arg(self.block.args[index])

    def append(self, value: SSAValue, map: AffineMap) -> SSAValue:
        """A new last input; gives its block argument."""
        element = value.type.element_type if isa(value.type, TensorType) else value.type
        self.inputs.append((value, map))
        return self.block.insert_arg(element, len(self.inputs) - 1)

    def rebuild(self) -> GenericOp:
        """Replaces the operation by one with the inputs as they are now, and gives it."""
        old = self.op
        region = old.detach_region(old.body)
        new = GenericOp(
            [value for value, _ in self.inputs],
            [value for value, _ in self.outputs],
            region,
            [AffineMapAttr(map) for _, map in (*self.inputs, *self.outputs)],
            old.iterator_types,
            old.result_types,
            old.doc,
            old.library_call,
        )
        new.attributes = old.attributes
        names = [name for op in (*reversed(self.absorbed), old) for name in node_names(op)]
        new.location = locate(names)
        assert old.parent is not None
        old.parent.insert_op_before(new, old)
        for before, after in zip(old.results, new.results, strict=True):
            before.replace_all_uses_with(after)
        old.parent.erase_op(old)
        self.op = new
        return new
