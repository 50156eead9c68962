"""Makes a plan real: versions become `mx` operations, contractions read them.

    arc                          operation
    constant                     mx.constant, quantised at compile time
    emit, quantize               mx.quantize behind the op that makes the value
    requantize                   mx.requantize behind the version it starts from
    view, copy                   mx.slice, mx.concat, mx.gather, mx.neg, mx.abs
    keep, weaken                 nothing
    (an alias between a version  mx.transpose, mx.reshape
    and its use)

Whether a quantisation happens in the epilogue of its producer is for later passes to decide; the
plan has counted on it if its arc is `emit`. Versions are made where they are first possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from xdsl.dialects.builtin import StringAttr, TensorType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from mxc import numerics
from mxc.constants import ConstantTable
from mxc.dialects.mx import (
    AbsOp,
    BlockType,
    ConcatOp,
    ConstantOp,
    GatherOp,
    NegOp,
    QuantizeOp,
    RecipeAttr,
    RequantizeOp,
    ReshapeOp,
    SliceOp,
    TransposeOp,
    block_of,
    block_type,
)
from mxc.dialects.mx.recipes import recipe_of
from mxc.dialects.onnx import OnnxOp
from mxc.dialects.types import shape_of
from mxc.passes.layout.extract import Extraction, known, slice_of
from mxc.passes.layout.graph import Arc, ClassGraph, Node, Tag
from mxc.passes.layout.plan import ClassPlan, Plan
from mxc.passes.layout.problem import View
from mxc.passes.layout.storage import Storages

MARKS = ("lhs_as", "rhs_as", "lhs_recipe", "rhs_recipe")


def realise(extraction: Extraction, plan: Plan, constants: ConstantTable) -> None:
    """Rewrites the module that `extraction` came from as `plan` says."""
    maker = _Maker(extraction, constants, Storages(plan.problem))
    for part, graph in zip(plan.classes, plan.graph.classes, strict=True):
        maker.realise(graph, part)
    for op in extraction.contractions.values():
        for mark in MARKS:
            op.properties.pop(mark, None)
        if block_of(op.lhs.type) is not None and block_of(op.rhs.type) is not None:
            op.properties["contract"] = StringAttr("block-exact")


@dataclass(frozen=True)
class _Version:
    """A version as it was made: on which value of its storage, and the SSA value."""

    on: str
    value: SSAValue


class _Maker:
    """Makes the versions of one module."""

    def __init__(
        self, extraction: Extraction, constants: ConstantTable, storages: Storages
    ) -> None:
        self.extraction = extraction
        self.constants = constants
        self.storages = storages
        self.views = {view.output: view for view in extraction.problem.views}
        self.made: dict[Node, _Version] = {}
        self.seen: dict[tuple[Node, str], SSAValue] = {}

    def _recipe(self, node: Node) -> RecipeAttr:
        return self.extraction.recipes[node.format]

    def realise(self, graph: ClassGraph, plan: ClassPlan) -> None:
        """Makes the versions of one class and hands them to its uses."""
        for arc in (graph.arcs[index] for index in plan.arcs):
            if graph.nodes[arc.head].form == "mx":
                self.made[graph.nodes[arc.head]] = self._make(graph, arc)
        for use, pick in zip(graph.uses, plan.picks, strict=True):
            node = graph.nodes[use.options[pick].node]
            if node.form == "mx" and use.op in self.extraction.contractions:
                op = self.extraction.contractions[use.op]
                marked = [i for i, mark in enumerate((op.lhs_as, op.rhs_as)) if mark is not None]
                op.operands[marked[use.operand]] = self._seen_as(node, use.value)

    def _make(self, graph: ClassGraph, arc: Arc) -> _Version:
        node = graph.nodes[arc.head]
        sources = [graph.nodes[tail] for tail in arc.tails]
        if arc.kind in ("keep", "weaken"):
            return self.made[sources[0]]
        if arc.kind in ("view", "copy"):
            return self._view(node, sources)
        if arc.kind == "requantize":
            on = self._member(node, (*node.tags, *sources[0].tags))
            source = self._seen_as(sources[0], on)
            op: Operation = RequantizeOp(source, self._block(node, on), self._recipe(node))
            return _Version(on, self._behind(op, [source]))
        on = self._member(node, node.tags)
        value = self.extraction.values[on]
        if isinstance(value.owner, ConstantOp):
            return _Version(on, self._constant(node, value.owner, on))
        op = QuantizeOp(value, self._block(node, on), self._recipe(node))
        return _Version(on, self._behind(op, [value]))

    def _member(self, node: Node, tags: Sequence[Tag]) -> str:
        """The first value of the storage that has all these axes."""
        members = self.storages.all[node.value].members
        return next(name for name in members if self.storages.sees(name, tuple(tags)))

    def _block(self, node: Node, on: str) -> BlockType:
        """The block type of a version, seen as the value `on`."""
        format = node.format.partition("/")[0]
        size = self.extraction.problem.prices.format(format).block
        tags = [self.storages.tag(on, axis) for axis in range(len(self._shape(on)))]
        first = {tag: axis for axis, tag in reversed(list(enumerate(tags)))}
        along = {first[tag] for tag in node.tags}
        return block_type(format, [size if i in along else 1 for i in range(len(tags))])

    def _shape(self, name: str) -> tuple[int, ...]:
        return self.extraction.problem.by_name[name].shape

    def _behind(self, op: Operation, values: Sequence[SSAValue]) -> SSAValue:
        """Inserts `op` behind the last of the definitions of `values`, with that one's location."""
        block = max((_home(value) for value in values), key=_depth)
        last: Operation | None = None
        for value in values:
            owner = value.owner
            if isinstance(owner, Operation) and owner.parent is block:
                last = owner if last is None or last.is_before_in_block(owner) else last
        if last is None:
            Rewriter.insert_op(op, InsertPoint.at_start(block))
            return op.results[0]
        op.location = last.location
        Rewriter.insert_op(op, InsertPoint.after(last))
        return op.results[0]

    def _constant(self, node: Node, op: ConstantOp, on: str) -> SSAValue:
        block, recipe = self._block(node, on), self._recipe(node)
        quantised = numerics.quantize(
            self.constants[op.key], block.format, block=block.shape,
            recipe=recipe_of(recipe, block.format), tensor_scale=1.0,
        )  # fmt: skip
        made = ConstantOp(self.constants.add(quantised), TensorType(block, self._shape(on)))
        return self._behind(made, [op.output])

    def _seen_as(self, node: Node, name: str) -> SSAValue:
        """A version as the value `name` of its storage, through the aliases in between."""
        version = self.made[node]
        self.seen.setdefault((node, version.on), version.value)
        for step in self._path(version.on, name):
            if (node, step[1]) not in self.seen:
                self.seen[node, step[1]] = self._alias(node, *step)
        return self.seen[node, name]

    def _path(self, start: str, end: str) -> list[tuple[str, str]]:
        """The alias steps from one value of a storage to another."""
        up, down = self._to_root(start), self._to_root(end)
        while len(up) > 1 and len(down) > 1 and up[-2] == down[-2]:
            up.pop()
            down.pop()
        path = [*up, *reversed(down[:-1])]
        return list(pairwise(path))

    def _to_root(self, name: str) -> list[str]:
        chain = [name]
        while (view := self.views.get(chain[-1])) is not None and view.kind == "alias":
            chain.append(view.inputs[0])
        return chain

    def _alias(self, node: Node, source: str, target: str) -> SSAValue:
        """A version of `source` as a version of `target`, which is a view of it or its origin."""
        before = self.seen[node, source]
        forward = target in self.views and self.views[target].inputs[0] == source
        op = self.extraction.views[target if forward else source]
        if isinstance(op, OnnxOp) and op.op_type == "Transpose":
            permutation = [int(p) for p in op.attr("perm") or reversed(range(len(op_shape(op))))]
            if not forward:
                permutation = [permutation.index(i) for i in range(len(permutation))]
            return self._behind(TransposeOp(before, permutation), [before])
        block = self._block(node, target)
        if (self._shape(target), block) == (shape_of(before), block_of(before.type)):
            return before
        return self._behind(ReshapeOp(before, self._shape(target), block.shape), [before])

    def _view(self, node: Node, sources: Sequence[Node]) -> _Version:
        """A version of the output of a view out of versions of its inputs."""
        view = self.views[node.value]
        op = self.extraction.views[node.value]
        values = [
            self._seen_as(source, name) for source, name in zip(sources, view.inputs, strict=True)
        ]
        assert isinstance(op, OnnxOp)
        return _Version(node.value, self._moved(op, view, values))

    def _moved(self, op: OnnxOp, view: View, values: list[SSAValue]) -> SSAValue:
        """The `mx` operation that does to codes what `op` does to floats."""
        target = self._shape(view.output)
        source = shape_of(values[0])
        match op.op_type:
            case "Concat":
                axis = int(op.attr("axis")) % len(target)
                return self._behind(ConcatOp(values, axis), values)
            case "Split":
                start = [0] * len(source)
                axis = int(op.attr("axis")) % len(source)
                output = self.extraction.values[view.output]
                index = next(i for i, result in enumerate(op.results) if result is output)
                start[axis] = sum(shape_of(result)[axis] for result in op.results[:index])
                return self._behind(SliceOp(values[0], start, target), values)
            case "Neg":
                return self._behind(NegOp(values[0]), values)
            case "Abs":
                return self._behind(AbsOp(values[0]), values)
            case _:
                return self._gathered(values[0], self._picked(op, source, target))

    def _picked(
        self, op: OnnxOp, source: Sequence[int], target: Sequence[int]
    ) -> list[Sequence[int]]:
        """The positions that a Slice, Expand or Gather takes along every axis."""
        if op.op_type == "Slice":
            spans = slice_of(op, self.constants)
            assert spans is not None
            return [
                range(start, start + step * n, step)
                for (start, step), n in zip(spans, target, strict=True)
            ]
        picked: list[Sequence[int]] = [
            range(n) if n == m else [0] * m for n, m in zip(source, target, strict=True)
        ]
        if op.op_type == "Gather":
            indices = known(op.operands[1], self.constants)
            assert indices is not None
            axis = int(op.attr("axis")) % len(source)
            picked = [range(n) for n in source]
            picked[axis] = [index % source[axis] for index in indices]
        return picked

    def _gathered(self, value: SSAValue, picked: Sequence[Sequence[int]]) -> SSAValue:
        """The positions `picked` along every axis: a slice where they follow each other."""
        sizes = shape_of(value)
        straight = [tuple(p) == tuple(range(p[0], p[0] + len(p))) for p in picked]
        starts = [p[0] if ok else 0 for p, ok in zip(picked, straight, strict=True)]
        cut = [len(p) if ok else n for p, ok, n in zip(picked, straight, sizes, strict=True)]
        if tuple(cut) != sizes:
            value = self._behind(SliceOp(value, starts, cut), [value])
        for axis, positions in enumerate(picked):
            if not straight[axis]:
                value = self._behind(GatherOp(value, axis, list(positions)), [value])
        return value


def _home(value: SSAValue) -> Block:
    """The block in which `value` is defined."""
    block = value.owner.parent if isinstance(value.owner, Operation) else value.owner
    assert block is not None
    return block


def _depth(block: Block) -> int:
    """How many operations are around `block`."""
    depth, parent = 0, block.parent_op()
    while parent is not None:
        depth, parent = depth + 1, parent.parent_op()
    return depth


def op_shape(op: OnnxOp) -> tuple[int, ...]:
    """The shape of the first input of a view op."""
    return shape_of(op.operands[0])
