"""Prints a module of the machine level as C99: one static function per operation.

Decisions are made in passes; the emitter prints. A rule is a method marked with the operation it
prints; a vendor subclasses `Emitter` and marks others. There is no default rule: an unknown
operation is an error, never a comment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from xdsl.dialects import arith, scf
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.dialects.linalg.attrs import IteratorType
from xdsl.dialects.linalg.ops import FillOp, GenericOp, IndexOp
from xdsl.dialects.memref import CopyOp, LoadOp, ReinterpretCastOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.ir.affine import AffineMap

from mxc.backends.npu import hal
from mxc.backends.npu.access import Access, extents, memref_of, strides_of
from mxc.backends.npu.ctypes_of import c_type
from mxc.backends.npu.function import Function
from mxc.backends.npu.nest import Nest, plan
from mxc.backends.npu.scalars import RULES, expression
from mxc.dialects import npu
from mxc.dialects.location import node_names
from mxc.errors import CannotLower

RuleT = TypeVar("RuleT", bound=Callable[..., None])


def prints(*ops: type[Operation]) -> Callable[[RuleT], RuleT]:
    """Marks a method of an `Emitter` as the rule that prints operations of types `ops`."""

    def mark(rule: RuleT) -> RuleT:
        rule.__dict__["prints"] = ops
        return rule

    return mark


class Emitter:
    """Writes the functions of one model.

    `functions` are the static functions, in order; `body` is the text of the run function, whose
    variables are the parameters of `Function` by the same names.
    """

    rules: ClassVar[dict[type[Operation], Callable[[Any, Any], None]]] = {}

    def __init_subclass__(cls) -> None:
        marked = (rule for rule in vars(cls).values() if hasattr(rule, "prints"))
        cls.rules = {**cls.rules, **{op: rule for rule in marked for op in rule.prints}}

    def __init__(self, function: FuncOp, inputs: int) -> None:
        self.functions: list[str] = []
        self.layers: list[str] = []
        self.main = Function({})
        arguments = function.body.block.args
        self.arguments: dict[SSAValue, str] = {
            a: f"in{i}" if i < inputs else f"out{i - inputs}" for i, a in enumerate(arguments)
        }
        self._count = 0
        self._names: dict[tuple[str, ...], str] = {}
        self._layer = ""
        self.block(function.body.block)
        self.main.line("mxnpu_finish(device);")

    def block(self, block: Block) -> None:
        """Prints the operations of a block."""
        for op in block.ops:
            rule = self.rules.get(type(op))
            if rule is not None:
                rule(self, op)
            elif type(op) in RULES:
                if not op.results[0].uses.get_length():
                    continue
                args = [self.main.scalar(value) for value in op.operands]
                self.main.define(op.results[0], expression(op, args))
            else:
                at = ", ".join(node_names(op))
                raise CannotLower(f"the C backend has no rule for {op.name}", at=at)

    def function(self, returns: str = "void") -> Function:
        """A new static function; `finish` puts it into the file."""
        return Function(self.arguments, returns)

    def finish(self, function: Function, op: Operation, result: str = "") -> None:
        """Adds `function` to the file, unless one like it is there, and a call of it."""
        self.mark(op)
        name = self.define(function, op.name.replace(".", "_"))
        values = function.values(self.arguments, self.main.scalar)
        self.main.line(f"{result}{name}({', '.join(values)});")

    def define(self, function: Function, suffix: str) -> str:
        """The name of a function of the file with the text of `function`; a new one if needed."""
        key = tuple(function.text(suffix))
        if key not in self._names:
            self._names[key] = f"op{len(self._names) + 1}_{suffix}"
            self.functions += function.text(self._names[key])
        return self._names[key]

    def mark(self, op: Operation) -> None:
        """Tells the device which layer follows, if it is another."""
        layer = ", ".join(node_names(op)) or op.name
        if layer == self._layer:
            return
        self._layer = layer
        if layer not in self.layers:
            self.layers.append(layer)
        self.main.line(f"/* {comment_text(layer)} */")
        self.main.line(f"mxnpu_mark(device, {self.layers.index(layer)});")


def comment_text(text: str) -> str:
    """`text` as it may stand in a C comment: printable ASCII, and no end of comment."""
    safe = text.encode("ascii", "backslashreplace").decode()
    safe = "".join(c if c.isprintable() else "?" for c in safe)
    return safe.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


class MachineEmitter(Emitter):
    """Rules for `linalg` on memrefs, `memref`, `scf` and `npu`."""

    @prints(npu.BufferOp, npu.ConstantOp, ReinterpretCastOp, ReturnOp, scf.YieldOp)
    def nothing(self, op: Operation) -> None:
        """These are places, not actions: whoever uses them writes the address."""

    @prints(arith.ConstantOp)
    def constant(self, op: arith.ConstantOp) -> None:
        """Written where it is used; here for what the run function itself computes."""
        users = [use.operation for use in op.result.uses]
        if any(isinstance(u, scf.ForOp) or (type(u) in RULES and _in_main(u)) for u in users):
            self.main.define(op.result, expression(op, ()))

    @prints(scf.ForOp)
    def loop(self, op: scf.ForOp) -> None:
        if op.iter_args:
            raise CannotLower("scf.for carries a scalar; the C backend carries buffers only")
        bounds = [self.main.scalar(value) for value in (op.lb, op.ub, op.step)]
        name = f"i{self.main.fresh()}"
        kind = c_type(op.body.block.args[0].type)
        self.main.open(
            f"for ({kind} {name} = {bounds[0]}; {name} < {bounds[1]}; {name} += {bounds[2]})"
        )
        self.main.name_scalar(op.body.block.args[0], name)
        self.block(op.body.block)
        self.main.close()

    @prints(GenericOp)
    def generic(self, op: GenericOp) -> None:
        out = self.function()
        maps = [attribute.data for attribute in op.get_indexing_maps()]
        values = list(op.operands)
        body = op.body.block
        used = [argument.uses.get_length() > 0 for argument in body.args]
        count = len(op.inputs)
        accesses = [_access(v, m) for v, m in zip(values, maps, strict=True)]
        shapes = [memref_of(v).get_shape() if _is_memref(v) else () for v in values]
        reductions = [k.data != IteratorType.PARALLEL for k in op.get_iterator_types()]
        fixed = [inner.dim.value.data for inner in body.ops if isinstance(inner, IndexOp)]
        reads = [a for a, u in zip(accesses[:count], used, strict=False) if u]
        nest = plan(extents(maps, shapes), reductions, reads, accesses[count:], fixed)
        _GenericText(self, out, op, nest, accesses).write()
        reads = [v for v, u in zip(values[:count], used, strict=False) if u and _is_memref(v)]
        self.launch(out, op, reads)

    @prints(FillOp)
    def fill(self, op: FillOp) -> None:
        out = self.function()
        (target,) = op.outputs
        value = out.scalar(op.inputs[0])
        pointer = out.pointer(target)
        index = _loops_over(out, [target])
        out.line(f"{pointer}[{index[0]}] = {value};")
        _close_all(out)
        self.launch(out, op, [])

    @prints(CopyOp)
    def copy(self, op: CopyOp) -> None:
        out = self.function()
        source = out.pointer(op.source)
        target = out.pointer(op.destination)
        index = _loops_over(out, [op.source, op.destination])
        out.line(f"{target}[{index[1]}] = {source}[{index[0]}];")
        _close_all(out)
        self.launch(out, op, [op.source])

    @prints(LoadOp)
    def load(self, op: LoadOp) -> None:
        """A scalar of the run function, e.g. an index that a scatter reads."""
        kind = c_type(op.res.type)
        out = self.function(kind)
        pointer = out.pointer(op.memref)
        strides = strides_of(op.memref)
        terms = [f"{out.scalar(i)} * {s}" for i, s in zip(op.indices, strides, strict=True)]
        out.line(f"return {pointer}[{' + '.join(terms) or '0'}];")
        self._count += 1
        name = f"element{self._count}"
        self.finish(out, op, f"const {kind} {name} = ")
        self.main.name_scalar(op.res, name)

    @prints(npu.QuantizeOp)
    def quantize(self, op: npu.QuantizeOp) -> None:
        self.call(op, hal.quantize)

    @prints(npu.DequantizeOp)
    def dequantize(self, op: npu.DequantizeOp) -> None:
        self.call(op, hal.dequantize)

    @prints(npu.RequantizeOp)
    def requantize(self, op: npu.RequantizeOp) -> None:
        self.call(op, hal.requantize)

    @prints(npu.MatMulOp)
    def matmul(self, op: npu.MatMulOp) -> None:
        self.call(op, hal.matmul)

    @prints(npu.ConvOp)
    def conv(self, op: npu.ConvOp) -> None:
        self.call(op, hal.conv)

    @prints(npu.DmaOp)
    def dma(self, op: npu.DmaOp) -> None:
        self.call(op, hal.dma)

    @prints(npu.RecordOp)
    def record(self, op: npu.RecordOp) -> None:
        self._count += 1
        event = f"event{self._count}"
        queue = hal.queue(op.queue.data)
        self.main.line(f"const mxnpu_event {event} = mxnpu_record(device, {queue});")
        self.main.name_scalar(op.event, event)

    @prints(npu.WaitOp)
    def wait(self, op: npu.WaitOp) -> None:
        queue = hal.queue(op.queue.data)
        self.main.line(f"mxnpu_wait(device, {queue}, {self.main.scalar(op.event)});")

    @prints(npu.BarrierOp)
    def barrier(self, op: npu.BarrierOp) -> None:
        self.main.line("mxnpu_finish(device);")

    def launch(self, loops: Function, op: Operation, reads: Sequence[SSAValue]) -> None:
        """A kernel of the vector unit whose loops are `loops`, and a function that gives it."""
        suffix = op.name.replace(".", "_")
        out = self.function()
        hal.launch(out, op, loops, self.kernel(loops, suffix), reads)
        self.finish(out, op)

    def kernel(self, loops: Function, suffix: str) -> str:
        """The function that calls `loops` with what the vector unit was given."""
        name = self.define(loops, suffix)
        kernel = f"{name}_kernel"
        if kernel not in self._names.values():
            self._names[(kernel,)] = kernel
            self.functions += hal.kernel(kernel, name, loops)
        return kernel

    def call(self, op: Any, write: Callable[[Function, Any], None]) -> None:
        """A function that is one call of the HAL."""
        out = self.function()
        write(out, op)
        self.finish(out, op)


def _in_main(op: Operation) -> bool:
    return not isinstance(op.parent_op(), GenericOp)


def _is_memref(value: SSAValue) -> bool:
    return hasattr(value.type, "get_shape")


def _access(value: SSAValue, map: AffineMap) -> Access:
    return Access.of(map, strides_of(value) if _is_memref(value) else ())


def _loops_over(out: Function, values: Sequence[SSAValue]) -> list[str]:
    """Opens loops over the elements of memrefs of one shape; the index into each."""
    shape = memref_of(values[0]).get_shape()
    accesses = [Access.of(AffineMap.identity(len(shape)), strides_of(v)) for v in values]
    nest = plan(shape, [False] * len(shape), accesses[:-1], accesses[-1:], ())
    names = open_loops(out, nest, len(shape), 0, len(nest.loops))
    return [access.text(names) for access in accesses]


def open_loops(out: Function, nest: Nest, rank: int, first: int, last: int) -> list[str]:
    """Opens the loops `first` to `last` of a nest; the name of each dim, "0" where none varies."""
    names = ["0"] * rank
    for position, loop in enumerate(nest.loops[:last]):
        names[loop.dim] = f"i{loop.dim}"
        if position >= first:
            name = names[loop.dim]
            out.open(f"for (int64_t {name} = 0; {name} < {loop.extent}; ++{name})")
    return names


def _close_all(out: Function) -> None:
    while out.indent > 1:
        out.close()


class _GenericText:
    """Writes the loops and the body of one `linalg.generic`."""

    def __init__(
        self, emitter: Emitter, out: Function, op: GenericOp, nest: Nest, accesses: list[Access]
    ) -> None:
        self.emitter, self.out, self.op, self.nest = emitter, out, op, nest
        self.inputs, self.outputs = accesses[: len(op.inputs)], accesses[len(op.inputs) :]
        self.rank = len(op.get_iterator_types())
        self.body = op.body.block

    def write(self) -> None:
        out, nest, body = self.out, self.nest, self.body
        inputs = self._pointers()
        targets = [out.pointer(value) for value in self.op.outputs]
        self._outside(body)
        split = nest.sums_outside < len(nest.loops)
        names = open_loops(out, nest, self.rank, 0, nest.sums_outside)
        places = [
            f"{pointer}[{access.text(names)}]"
            for pointer, access in zip(targets, self.outputs, strict=True)
        ]
        accumulators = body.args[len(self.op.inputs) :]
        if split:
            for argument, place in zip(accumulators, places, strict=True):
                out.name_scalar(argument, name := f"sum{argument.index}")
                out.line(f"{c_type(argument.type)} {name} = {place};")
            names = open_loops(out, nest, self.rank, nest.sums_outside, len(nest.loops))
        else:
            for argument, place in zip(accumulators, places, strict=True):
                if argument.uses.get_length():
                    out.define(argument, place)
        results = self._point(inputs, names)
        if not split:
            self._store(places, results)
        else:
            self._store([out.scalar(argument) for argument in accumulators], results)
            for _ in nest.loops[nest.sums_outside :]:
                out.close()
            self._store(places, [out.scalar(argument) for argument in accumulators])
        _close_all(out)

    def _store(self, places: Sequence[str], values: Sequence[str]) -> None:
        for place, value in zip(places, values, strict=True):
            if place != value:
                self.out.line(f"{place} = {value};")

    def _pointers(self) -> list[str | None]:
        """A pointer per operand that the body reads; scalars are passed in."""
        result: list[str | None] = []
        for value, argument in zip(self.op.inputs, self.body.args, strict=False):
            used = argument.uses.get_length() > 0
            if used and not _is_memref(value):
                self.out.name_scalar(argument, self.out.scalar(value))
            is_read = used and _is_memref(value)
            result.append(self.out.pointer(value) if is_read else None)
        return result

    def _outside(self, body: Block) -> None:
        """What the body reads from outside gets its name before the loops begin."""
        for inner in body.ops:
            if isinstance(inner, LoadOp):
                self.out.pointer(inner.memref)
            for value in inner.operands:
                if not _is_memref(value) and not _belongs(value, body):
                    self.out.scalar(value)

    def _point(self, inputs: Sequence[str | None], names: Sequence[str]) -> list[str]:
        """The statements of one point; the names of what it yields."""
        out, body = self.out, self.body
        for argument, pointer, access in zip(body.args, inputs, self.inputs, strict=False):
            if pointer is not None:
                out.define(argument, f"{pointer}[{access.text(names)}]")
        for inner in body.ops:
            if inner is body.last_op:
                break
            self._statement(inner, names)
        assert body.last_op is not None
        return self._stable([out.scalar(value) for value in body.last_op.operands])

    def _stable(self, results: list[str]) -> list[str]:
        """Results that are other sums are copied first: stores must not change what is yielded."""
        sums = [name for name in results if name.startswith("sum")]
        if len(results) < 2 or not sums:
            return results
        copies: list[str] = []
        for name, value in zip(results, self.body.last_op.operands, strict=True):  # type: ignore
            copy = self.out.fresh() if name in sums else name
            if copy != name:
                self.out.line(f"const {c_type(value.type)} {copy} = {name};")
            copies.append(copy)
        return copies

    def _statement(self, inner: Operation, names: Sequence[str]) -> None:
        out = self.out
        if isinstance(inner, IndexOp):
            out.define(inner.result, names[inner.dim.value.data])
        elif isinstance(inner, LoadOp):
            indices = [out.scalar(value) for value in inner.indices]
            strides = strides_of(inner.memref)
            terms = [f"{i} * {s}" for i, s in zip(indices, strides, strict=True)] or ["0"]
            pointer = out.pointer(inner.memref)
            out.define(inner.res, f"{pointer}[{' + '.join(terms)}]")
        elif type(inner) in RULES:
            args = [out.scalar(value) for value in inner.operands]
            out.define(inner.results[0], expression(inner, args))
        else:
            at = ", ".join(node_names(self.op))
            raise CannotLower(f"the C backend has no rule for {inner.name}", at=at)


def _belongs(value: SSAValue, body: Block) -> bool:
    owner = value.owner
    return owner is body or (isinstance(owner, Operation) and owner.parent is body)
