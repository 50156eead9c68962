"""The walked graph as a module: one `func.func @main` of `onnx` operations and constants."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from mxc.constants import ConstantTable
from mxc.dialects.location import locate
from mxc.dialects.mx import ConstantOp
from mxc.dialects.onnx import op_class
from mxc.dialects.types import element_type
from mxc.errors import CannotLower, ImportFailed
from mxc.importer.values import Node, Value


def build(
    ctx: Context, name: str, inputs: Sequence[Value], outputs: dict[str, Value], nodes: list[Node]
) -> ModuleOp:
    """The module that computes `outputs` from `inputs`; nodes nobody needs are left out."""
    live = _live(nodes, outputs.values())
    _check_static(live)
    return _Builder(ctx, inputs).module(name, inputs, outputs, live)


def _live(nodes: list[Node], outputs: Iterable[Value]) -> list[Node]:
    wanted = {id(value.node) for value in outputs if value.const is None}
    live: list[Node] = []
    for node in reversed(nodes):
        if id(node) in wanted:
            live.append(node)
            wanted.update(id(v.node) for v in node.inputs if v is not None and v.const is None)
    return live[::-1]


def _check_static(nodes: list[Node]) -> None:
    """Every output of every node has a known type."""
    for node in nodes:
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

    def _node(self, node: Node) -> None:
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
