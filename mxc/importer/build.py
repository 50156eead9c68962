"""The walked graph as a module: one `func.func @main` of `onnx` operations and constants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.dialects.tensor import EmptyOp
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.hints import isa

from mxc.constants import ConstantTable
from mxc.dialects.location import locate
from mxc.dialects.loops import Loops, Scalar, Tensor, insert_at, repeat, slice_at
from mxc.dialects.mx import ConstantOp
from mxc.dialects.onnx import op_class
from mxc.dialects.types import element_type
from mxc.errors import CannotLower, ImportFailed
from mxc.importer.values import Node, Repeat, Value


def build(
    ctx: Context, name: str, inputs: Sequence[Value], outputs: dict[str, Value], nodes: list[Node]
) -> ModuleOp:
    """The module that computes `outputs` from `inputs`; nodes nobody needs are left out."""
    live = _live(nodes, outputs.values())
    _check_static(live)
    return _Builder(ctx, inputs).module(name, inputs, outputs, live)


def _live(nodes: list[Node], outputs: Iterable[Value]) -> list[Node]:
    wanted = {id(value.node) for value in outputs if value.const is None and value.node is not None}
    live: list[Node] = []
    for node in reversed(nodes):
        if id(node) in wanted:
            live.append(node)
            if isinstance(node, Repeat):
                node.nodes = _live(node.nodes, [*node.last, *node.rows])
            wanted.update(id(v.node) for v in node.inputs if v is not None and v.const is None)
    return live[::-1]


def _check_static(nodes: list[Node]) -> None:
    """Every output of every node has a known type."""
    for node in nodes:
        if isinstance(node, Repeat):
            _check_static(node.nodes)
        for value in node.outputs:
            if value is None or (value.dtype is not None and value.static_shape is not None):
                continue
            deciding = [f"'{v.name}'" for v in node.inputs if v is not None and v.const is None]
            shape = (
                "?" if value.shape is None else [d if d is not None else "?" for d in value.shape]
            )
            raise ImportFailed(
                f"the size of its output '{value.name}', {shape}, depends on the data in "
                f"{', '.join(deciding) or 'its inputs'}",
                at=f"node '{node.name}' ({node.op_type})",
                hint="bind the model inputs that decide it with --input-value NAME=V, or cut the "
                "model before this node",
            )


class _Builder:
    def __init__(self, ctx: Context, inputs: Sequence[Value]) -> None:
        self.table = ConstantTable.of(ctx)
        self.block = Block(arg_types=[_type(value) for value in inputs])
        self.values: dict[int, SSAValue] = {}
        self.constants: dict[str, SSAValue] = {}
        self.builder = Builder(InsertPoint.at_end(self.block))
        for value, argument in zip(inputs, self.block.args, strict=True):
            argument.name_hint = _hint(value.name)
            self.values[id(value)] = argument

    def module(
        self, name: str, inputs: Sequence[Value], outputs: dict[str, Value], nodes: list[Node]
    ) -> ModuleOp:
        for node in nodes:
            self._node(node)
        results = [self._value(value) for value in outputs.values()]
        self.builder.insert(ReturnOp(*results))
        types = (list(self.block.arg_types), [result.type for result in results])
        main = FuncOp("main", types, Region(self.block))
        attributes: dict[str, Attribute] = {
            "mxc.model": StringAttr(name),
            "mxc.input_names": _strings(value.name for value in inputs),
            "mxc.output_names": _strings(outputs),
        }
        return ModuleOp([main], attributes)

    def _repeat(self, node: Repeat) -> None:
        """A loop: `scf.for` that carries the states, and the stacks as far as they are filled."""
        loops = Loops(InsertPoint.at_end(self.block), self.table, locate([node.name]))
        stacks = node.outputs[len(node.first) :]
        carried = [self._value(value) for value in node.first]
        carried += [self.builder.insert(EmptyOp([], _type(v))).tensor for v in stacks if v]

        def step(inside: Loops, index: Scalar, now: list[Tensor]) -> list[Tensor]:
            block = index.value.owner
            assert isinstance(block, Block)
            return _Body(self, block).trip(node, inside, index, now)

        results = repeat(loops, node.trips, [_tensor(value) for value in carried], step)
        for value, result in zip(node.outputs, results, strict=True):
            self.values[id(value)] = result.value

    def _node(self, node: Node) -> None:
        if isinstance(node, Repeat):
            self._repeat(node)
            return
        operands = [None if value is None else self._value(value) for value in node.inputs]
        types = [None if value is None else _type(value) for value in node.outputs]
        op = op_class(node.op_type).create_node(operands, types, node.attrs)
        op.location = locate([node.name])
        self.builder.insert(op)
        results = iter(op.results)
        for value in node.outputs:
            if value is not None:
                result = next(results)
                result.name_hint = _hint(value.name)
                self.values[id(value)] = result

    def _value(self, value: Value) -> SSAValue:
        if value.const is None:
            return self.values[id(value)]
        kind = _type(value)
        symbol = self.table.add(value.const)
        if symbol not in self.constants:
            op = self.builder.insert(ConstantOp(symbol, kind))
            op.output.name_hint = _hint(value.name)
            self.constants[symbol] = op.output
        return self.constants[symbol]


class _Body(_Builder):
    """Builds the body of a loop, which sees the values around it but keeps its constants."""

    def __init__(self, outer: _Builder, block: Block) -> None:
        self.table, self.block, self.values, self.constants = outer.table, block, outer.values, {}
        self.builder = Builder(InsertPoint.at_end(block))

    def trip(self, node: Repeat, loops: Loops, index: Scalar, now: list[Tensor]) -> list[Tensor]:
        """What is carried after one trip."""
        count = len(node.arguments)
        for value, argument in zip(node.arguments, now[:count], strict=True):
            self.values[id(value)] = argument.value

        def place(backward: bool, rank: int) -> list[int | Scalar]:
            return [node.trips - 1 - index if backward else index, *[0] * (rank - 1)]

        for one in node.scanned:
            source = _tensor(self._value(one.source))
            window = [1, *source.shape[1:]]
            row = slice_at(loops, source, place(one.backward, source.rank), window)
            self.values[id(one.element)] = self._reshaped(row.value, source.shape[1:])
        for inner in node.nodes:
            self._node(inner)
        carried = [_tensor(self._value(value)) for value in node.last]
        for value, stack, backward in zip(node.rows, now[count:], node.backward, strict=True):
            row = _tensor(self._reshaped(self._value(value), [1, *stack.shape[1:]]))
            carried.append(insert_at(loops, row, stack, place(backward, stack.rank)))
        return carried

    def _reshaped(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        target = Value("", np.dtype(np.int64), (len(shape),), const=np.array(shape, np.int64))
        kind = TensorType(_tensor(value).element, shape)
        op = op_class("Reshape").create_node([value, self._value(target)], [kind], {})
        self.builder.insert(op)
        return op.results[0]


def _tensor(value: SSAValue) -> Tensor:
    assert isa(value.type, TensorType)
    return Tensor(value, value.type.element_type)


def _type(value: Value) -> TensorType[Attribute]:
    shape = value.static_shape
    assert shape is not None, value.name
    assert value.dtype is not None, value.name
    try:
        return TensorType(element_type(value.dtype), shape)
    except CannotLower:
        raise ImportFailed(
            f"value '{value.name}' has elements of type {value.dtype}, which is not supported"
        ) from None


def _strings(names: Iterable[str]) -> ArrayAttr[Any]:
    return ArrayAttr([StringAttr(name) for name in names])


def _hint(name: str) -> str | None:
    """`name` as an SSA name: readable IR, nothing depends on it."""
    hint = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return f"v{hint}" if hint[:1].isdigit() else hint or None
