"""The walk that writes the bufferized function, operation by operation, in order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from xdsl.dialects.arith import AddiOp, ConstantOp, MuliOp
from xdsl.dialects.builtin import IndexType, IntegerAttr, MemRefType, TensorType, i8
from xdsl.dialects.func import ReturnOp
from xdsl.dialects.linalg.ops import FillOp
from xdsl.dialects.memref import AllocOp, CopyOp
from xdsl.dialects.tensor import EmptyOp, InsertSliceOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.utils.hints import isa

from mxc.dialects.mx import block_of, grid_shape
from mxc.errors import CannotLower
from mxc.passes._bufferize.destinations import Destinations, chain
from mxc.passes._bufferize.liveness import Liveness
from mxc.passes._bufferize.views import View


@dataclass(frozen=True)
class Splat:
    """A tensor all of whose elements are `scalar`; it gets a buffer when something reads it."""

    scalar: SSAValue


@dataclass(frozen=True)
class Nothing:
    """A tensor whose elements are undefined (`tensor.empty`)."""


Placed = tuple[View, ...] | Splat | Nothing
"""Where a tensor is: one view, two for blocks (codes, scales), or in no buffer yet."""

RuleT = TypeVar("RuleT", bound=Callable[..., None])


def lowers(*ops: type[Operation]) -> Callable[[RuleT], RuleT]:
    """Marks a function `(bufferizer, op)` as the rule for operations of types `ops`."""

    def mark(rule: RuleT) -> RuleT:
        for op in ops:
            assert op not in Bufferizer.rules, op
            Bufferizer.rules[op] = rule
        return rule

    return mark


class Bufferizer:
    """The state of the walk: the new block, where tensors are, and who may be overwritten."""

    rules: ClassVar[dict[type[Operation], Callable[[Any, Any], None]]] = {}

    def __init__(self, block: Block, region: Region) -> None:
        self.block = block
        self.region = region
        self.live = Liveness()
        self.wanted = Destinations()
        self._tensors: dict[SSAValue, Placed] = {}
        self.scalars: dict[SSAValue, SSAValue] = {}
        self._casts: dict[tuple[Block, View], SSAValue] = {}
        self._source: Operation | None = None

    # -- what the rules call

    def add(self, op: Operation) -> Operation:
        """Appends `op`, with the location of the operation it comes from."""
        if self._source is not None:
            op.location = self._source.location
        self.block.add_op(op)
        return op

    def bind(self, value: SSAValue, placed: Placed) -> None:
        """The tensor `value` is in `placed` from now on."""
        self._tensors[value] = placed
        if isinstance(placed, tuple):
            for view in placed:
                self.live.alias(value, view.base)

    def placed(self, value: SSAValue) -> Placed:
        """Where the tensor `value` is."""
        return self._tensors[value]

    def views(self, value: SSAValue) -> tuple[View, ...]:
        """Where the elements of tensor `value` can be read; a splat is written out once."""
        found = self._tensors[value]
        if isinstance(found, tuple):
            return found
        (view,) = self.allocate(value.type)
        if isinstance(found, Splat):
            self.fill(found.scalar, view)
        self.bind(value, (view,))
        return (view,)

    def read(self, value: SSAValue) -> list[SSAValue]:
        """The memrefs of tensor `value`: one, or codes and scales; or the scalar `value`."""
        if not isa(value.type, TensorType):
            return [self.scalars.get(value, value)]
        return [self.memref(view) for view in self.views(value)]

    def memref(self, view: View) -> SSAValue:
        """The value that is `view`: its base, or a cast of it, made once per block."""
        if view.is_whole:
            return view.base
        key = (self.block, view)
        if key not in self._casts:
            shown = view
            if view.dynamic is not None and view.offset:
                shown = replace(view, offset=0, dynamic=self.sum(view.dynamic, view.offset))
            self._casts[key] = self.add(shown.cast()).results[0]
        return self._casts[key]

    def allocate(self, type: Attribute) -> tuple[View, ...]:
        """New buffers for a tensor of `type`, owned by the current block."""
        assert isa(type, TensorType), type
        shape, block = type.get_shape(), block_of(type)
        types = [MemRefType(type.element_type, shape)]
        if block is not None:
            types = [MemRefType(i8, shape), MemRefType(i8, grid_shape(shape, block.shape))]
        return tuple(self._new(each) for each in types)

    def _new(self, type: MemRefType[Attribute]) -> View:
        base = self.add(AllocOp([], [], type)).results[0]
        owner = None if self._source is None else self._source.parent
        assert owner is not None
        self.live.own(base, owner)
        return View.whole(base)

    def target(self, value: SSAValue) -> tuple[View, ...]:
        """Where the result `value`, computed from nothing, shall be written."""
        if value in self.wanted.of:
            return (self.reach(self.wanted.of[value]),)
        return self.allocate(value.type)

    def reach(self, view: View) -> View:
        """`view` of a wanted place, after the fills that come first there."""
        for place, constant in self.wanted.fills.pop(view.base, []):
            scalar = self.add(constant.clone()).results[0]
            self.fill(scalar, place)
        return view

    def fill(self, scalar: SSAValue, view: View) -> None:
        """Writes `scalar` to every element of `view`."""
        self.add(FillOp([scalar], [self.memref(view)], []))

    def copy(self, source: View, target: View) -> None:
        """Copies elements; nothing to do where both are the same."""
        if source != target:
            self.add(CopyOp(self.memref(source), self.memref(target)))

    def sum(self, a: SSAValue | None, b: SSAValue | int) -> SSAValue:
        """The sum of `a` and `b`, of index type."""
        if isinstance(b, int):
            b = self.add(ConstantOp(IntegerAttr(b, IndexType()))).results[0]
        return b if a is None else self.add(AddiOp(a, b)).results[0]

    def product(self, a: SSAValue, b: int) -> SSAValue:
        """The product of `a` and `b`, of index type."""
        factor = self.add(ConstantOp(IntegerAttr(b, IndexType()))).results[0]
        return self.add(MuliOp(a, factor)).results[0]

    # -- the walk

    def function(self, old: Block, results: Sequence[SSAValue], outputs: Sequence[View]) -> None:
        """Writes the body of the function `old`, whose `results` go to `outputs`."""
        for value, view in zip(results, outputs, strict=True):
            self.live.pinned.add(view.base)
            self.wanted.want(value, view)
        self.walk(old)
        last = old.last_op
        assert last is not None
        with self.at(last):
            for value, view in zip(results, outputs, strict=True):
                self.store(value, self.reach(view))
            self.add(ReturnOp())

    @contextmanager
    def at(self, op: Operation) -> Generator[None]:
        """What is added within comes from `op`."""
        before, self._source = self._source, op
        yield
        self._source = before

    def store(self, value: SSAValue, *views: View) -> None:
        """Puts the tensor `value` into `views`."""
        found = self._tensors[value]
        if isinstance(found, Splat):
            self.fill(found.scalar, views[0])
        elif isinstance(found, tuple):
            for source, target in zip(found, views, strict=True):
                self.copy(source, target)

    def walk(self, block: Block) -> None:
        """Lowers every operation of `block` but its terminator."""
        self.live.enter(block)
        self._plan(block)
        for op in block.ops:
            if op is not block.last_op:
                self._lower(op)

    def _lower(self, op: Operation) -> None:
        rule = self.rules.get(type(op))
        with self.at(op):
            if rule is not None:
                rule(self, op)
            elif any(isa(v.type, TensorType) for v in (*op.operands, *op.results)) or op.regions:
                raise CannotLower(f"bufferize has no rule for {op.name}")
            else:
                self.add(op.clone(value_mapper=self.scalars))

    def _plan(self, block: Block) -> None:
        """Decides, backwards, where the values of `block` are wanted."""
        for op in reversed(list(block.ops)):
            for value in op.results:
                if value not in self.wanted.of and self._starts_chain(op):
                    with self.at(op):
                        (view,) = self.allocate(value.type)
                    self.live.pinned.add(view.base)
                    self.wanted.want(value, view)
                if value in self.wanted.of:
                    self.wanted.spread(value)

    @staticmethod
    def _starts_chain(op: Operation) -> bool:
        return isinstance(op, InsertSliceOp) and chain(op) is not None


@lowers(EmptyOp)
def _empty(to: Bufferizer, op: EmptyOp) -> None:
    to.bind(op.tensor, Nothing())


@lowers(FillOp)
def _fill(to: Bufferizer, op: FillOp) -> None:
    if isa(op.inputs[0].type, TensorType):
        raise CannotLower("linalg.fill of a tensor")
    to.bind(op.results[0], Splat(to.scalars.get(op.inputs[0], op.inputs[0])))
